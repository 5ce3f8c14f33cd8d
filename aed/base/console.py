"""Printing of tables: names of classes, files and folders appear unchanged, whatever characters they contain."""

from typing import IO, Any

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    """The text with unprintable characters, and with those that control a terminal, as escapes."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


class PlainConsole(Console):
    """A console that prints text literally: no markup, emoji codes or highlighting; styled text is passed as ``Text``.

    Args:
        file: Default: standard output.
        stderr: Standard error instead.
        width: Characters per line; default: the terminal's.
    """

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text unchanged, line by line."""
        text = "\n".join(map(printable, text.split("\n")))
        return super().render_str(text, **options | {"markup": False, "emoji": False, "highlight": False})
