"""A row of a comparison of runs."""

from dataclasses import dataclass

from aed.scoring.paired import Difference


@dataclass(frozen=True)
class Compared:
    """A part of the clips, decided by a run and by the first.

    Args:
        model: ``float`` or ``int8``.
        run: Its short name.
        scope: ``all``, ``class`` or ``fold``.
        name: Of the class or fold; "": all clips.
        difference: To the first run.
        p_holm: Its p, adjusted for all of this model and scope.
    """

    model: str
    run: str
    scope: str
    name: str
    difference: Difference
    p_holm: float = 1.0
