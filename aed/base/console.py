"""Where tables are printed: texts appear as they are, whatever characters a class, a file or a folder is named with."""

from typing import IO, Any

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    """The text with what a terminal cannot show, or would obey, as escapes."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


class PlainConsole(Console):
    """A console to which no text is markup, a picture's name or a number to colour: styles come as ``Text`` alone.

    Args:
        file: Default: standard output.
        stderr: Standard error instead.
        width: Characters of a line; default: the terminal's.
    """

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it is, in as many lines."""
        text = "\n".join(map(printable, text.split("\n")))
        return super().render_str(text, **options | {"markup": False, "emoji": False, "highlight": False})
