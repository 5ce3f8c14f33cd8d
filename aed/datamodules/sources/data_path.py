"""Folders and files of a data set that are given by a path, or by an address, which is copied once."""

from pathlib import Path
from typing import overload

from aed.base.remote import folder_of, is_url


class DataPath:
    """An attribute of a data set: set to a path or an address, it is read as a path.

    What an address names is copied when the attribute is first read, so that nothing is before a table is asked for.

    Args:
        key: The argument that gives it, for messages; None: it is called like the attribute.
    """

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    def __set_name__(self, owner: type, name: str) -> None:
        """Its name in the class."""
        self.name, self.key = name, self.key or name

    def __set__(self, source: object, given: "str | Path") -> None:
        """Takes a path or an address."""
        source.__dict__[self.name] = given

    @overload
    def __get__(self, source: None, owner: type) -> "DataPath": ...

    @overload
    def __get__(self, source: object, owner: type | None = None) -> Path: ...

    def __get__(self, source: object, owner: type | None = None) -> "Path | DataPath":
        """The path; of the class, this.

        Raises:
            AedError: The store denies, or has nothing there.
        """
        if source is None:
            return self
        given = source.__dict__[self.name]
        if isinstance(given, str):
            source.__dict__[self.name] = given = folder_of(f"data.clips.{self.key}", given)
        path: Path = given
        return path


def parent_of(given: str) -> str:
    """The folder of a file that is given by a path or an address."""
    return given.rstrip("/").rpartition("/")[0] if is_url(given) else str(Path(given).parent)
