"""Lists beside recordings: of which independent sections they are, and whose background is heard when."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.sources.lists import is_number, need_columns, read_rows

SECTIONS = "sections.csv"
"""``filename``, ``onset``, ``offset`` of each section."""

BACKGROUNDS = "backgrounds.csv"
"""``filename``, ``onset``, ``background``: the name of the place, or recording, that is heard from then on."""

Listed = TypeVar("Listed")


def count_sections(recordings: Sequence[Path]) -> list[int]:
    """Of how many independent sections each recording is: 1, or as :data:`SECTIONS` beside it says.

    Raises:
        AedError: That list is damaged.
    """
    known = _beside(
        recordings, SECTIONS, ("filename", "onset", "offset"), lambda rows, _: rows["filename"].value_counts()
    )
    return [int(known[own.parent].get(own.name, 1)) if own.parent in known else 1 for own in recordings]


def backgrounds(recordings: Sequence[Path]) -> list[list[tuple[float, str]]]:
    """Onset, s, and place of each piece of each recording; the whole is one of its own where no list is beside it.

    Raises:
        AedError: A list is damaged.
    """
    known = _beside(recordings, BACKGROUNDS, ("filename", "onset", "background"), _pieces)
    return [known.get(own.parent, {}).get(own.name, [(0.0, str(own))]) for own in recordings]


def _pieces(rows: pd.DataFrame, file: Path) -> dict[str, list[tuple[float, str]]]:
    """Those of each recording, by onset."""
    found: dict[str, list[tuple[float, str]]] = {}
    columns = (rows[name].tolist() for name in ("filename", "onset", "background"))
    for number, (name, onset, background) in enumerate(zip(*columns, strict=True)):
        if not is_number(onset) or float(onset) < 0 or not background:
            raise AedError(
                f"{file}: row {number + 1}: need seconds from 0 on and the name of a background, got onset "
                f"{onset!r}, background {background!r}"
            )
        found.setdefault(name, []).append((float(onset), background))
    return {name: sorted(pieces, key=lambda piece: piece[0]) for name, pieces in found.items()}


def _beside(
    recordings: Sequence[Path], name: str, columns: tuple[str, ...], read: Callable[[pd.DataFrame, Path], Listed]
) -> dict[Path, Listed]:
    """What lists of a name say, by the folders of recordings that have one."""
    found = {}
    for folder in {recording.parent for recording in recordings}:
        if (file := folder / name).is_file():
            rows = read_rows(file)
            need_columns(rows, columns, file)
            found[folder] = read(rows, file)
    return found
