"""Adds the files of formats to a library's folder."""

import re
from pathlib import Path

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.target.firmware.formats.arduino import arduino_files, check_arduino
from aed.target.firmware.formats.cmsis import description_file, pack_name, packed
from aed.target.firmware.formats.delivery import FORMATS, Delivery, FormatKind
from aed.target.firmware.formats.platformio import platformio_files
from aed.target.firmware.formats.zephyr import zephyr_files
from aed.target.firmware.settings import CSettings

_FILES = {
    "zephyr": zephyr_files,
    "platformio": platformio_files,
    "arduino": arduino_files,
    "cmsis": description_file,
}


def check_format(settings: CSettings, key: str = "c.") -> None:
    """Refuses a format that is not known, or one that cannot have the prefix as a name.

    Args:
        settings: Their prefix is checked.
        key: Before the keys of the configuration.

    Raises:
        AedError: Says what to type.
    """
    if settings.format not in FORMATS:
        raise AedError(f"{key}format: need one of {FORMATS}, got {settings.format!r}")
    if not re.fullmatch(r"https?://[!-~]+", settings.url):
        raise AedError(f"{key}url: need an address, {key}url=https://..., got {settings.url!r}")
    if settings.format in ("arduino", "all"):
        check_arduino(settings.prefix, f"{key}prefix")


def headers_folder(kind: FormatKind) -> str:
    """Where the headers lie: Arduino looks for them beside the sources alone."""
    return "src" if kind in ("arduino", "all") else "include"


def write_formats(folder: Path, settings: CSettings, card: ModelCard, public: list[str]) -> None:
    """Adds a format's files, or those of all, to a library.

    Args:
        folder: Of the library, whole.
        settings: Which, and names; ``cmake`` adds nothing, for every library is a CMake package.
        card: Of the model.
        public: Names of the headers for programs.
    """
    kind = settings.format

    def delivery() -> Delivery:
        return Delivery(
            prefix=settings.prefix,
            url=settings.url,
            class_names=tuple(card.class_names),
            headers=headers_folder(kind),
            public=tuple(sorted(public)),
            streams=card.frontend.streamable,
            files=tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())),
        )

    for name, make in _FILES.items():
        if kind in (name, "all"):
            for path, text in make(delivery()).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
    if kind in ("cmsis", "all"):
        whole = delivery()
        contents = packed({path: (folder / path).read_bytes() for path in whole.files})
        (folder / pack_name(whole)).write_bytes(contents)
