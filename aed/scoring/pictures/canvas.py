"""Shared by all pictures: colours, titles, the PNG on disk. Matplotlib takes long to import: only drawing does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aed.base.files import write_whole
from aed.scoring.pictures import fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREEN, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#7F7F7F"
"""Told apart with any colour vision. Source: M. Okabe and K. Ito, "Color Universal Design", 2008."""

DPI = 110

PROGRAMS = {"c": "int8 in C", "emulator": "int8 in C, emulated", "board": "int8 in ST's code"}
"""Words for what follows the split in the names of files and metrics."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, for whose parts Matplotlib finds the places."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def placed_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches whose parts are placed by :func:`place`.

    That takes a third of the time of a layout that Matplotlib solves for: for what each run draws several times.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def place(figure: "Figure", left: float, right: float, bottom: float, top: float, **between: float) -> None:
    """Leaves margins of a size in inches around the axes of a figure; ``between``: as in ``subplots_adjust``."""
    width, height = figure.get_size_inches()
    sides = {"left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**sides, **between)


def widest(texts: Sequence[str], size: float) -> float:
    """Inches of the widest of some texts in a font size."""
    from matplotlib.figure import Figure

    sheet = Figure(dpi=DPI)
    return max((sheet.text(0, 0, text, size=size).get_window_extent().width for text in texts), default=0.0) / DPI


def title_of(subject: str, split: str, *facts: str) -> str:
    """A title of one or two lines: model and data set, then split and facts.

    Args:
        subject: Model and data set, ``YAMNet on esc10``; may be empty.
        split: ``test``, ``test_int8``, ...
        facts: What is shown and its figures.
    """
    name, _, program = split.partition("_")
    named = f"{name}, {PROGRAMS.get(program, program)}" if program else name
    return "\n".join(part for part in (fonts.drawable(subject), f"{named}: {', '.join(facts)}") if part)


def plural(number: int, unit: str) -> str:
    """``1 clip``, ``2 clips``, ``2 patches``, ``2 classes``."""
    ending = "" if number == 1 else "es" if unit in ("patch", "class") else "s"
    return f"{number:,} {unit}{ending}"


def save(path: Path, texts: Sequence[str], draw: Callable[[], "Figure | None"]) -> None:
    """Writes the figure that ``draw`` returns as a PNG without dates; nothing for None.

    Args:
        path: Of the picture.
        texts: Names in it that may need other fonts than Matplotlib's own.
        draw: Draws it.
    """
    import matplotlib as mpl

    # a class may be called $x$, which is no formula
    settings: Any = {"font.family": fonts.families_for("".join(texts)), "text.parse_math": False}
    with mpl.rc_context(settings):
        figure = draw()
        if figure is not None:
            options: dict[str, Any] = {"format": "png", "dpi": DPI, "metadata": {"Software": None}}
            write_whole(path, lambda file: figure.savefig(file, **options))
