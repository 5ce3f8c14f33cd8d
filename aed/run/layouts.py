"""What a folder of sounds looks like, on what evidence, and what to type; nothing is read as that or changed."""

import shlex
from pathlib import Path

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.datamodules.sources.layout import Layout
from aed.datamodules.sources.layouts import recognised


def tell(folder: Path) -> list[Layout]:
    """Prints the layouts that a folder looks like, and returns them.

    Raises:
        AedError: There is no such folder, or it looks like none.
    """
    layouts = recognised(folder)
    if not layouts:
        raise AedError(
            f"{folder}: looks like no data set that is known here; need a folder per class, a list, or a layout of "
            "docs/data.md. Name its own folder, not one above or below"
        )
    console = PlainConsole(width=None if PlainConsole().is_terminal else 160)
    for layout in layouts:
        console.print(f"{folder}: this looks like {layout.name}: {layout.evidence}.", soft_wrap=True)
        if layout.settings:
            typed = " ".join(map(shlex.quote, layout.settings))
            console.print(f"    aed data inspect {typed}", soft_wrap=True)
            console.print(f"    aed train experiment={layout.experiment} {typed}", soft_wrap=True)
        if layout.advice:
            console.print(f"    {layout.advice}", soft_wrap=True)
    return layouts
