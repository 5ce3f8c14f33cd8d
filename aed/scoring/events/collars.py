"""Events matched by onset and offset within collars, as sed_eval's event-based metrics do (Mesaros et al., 2016)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.counts import EventCounts
from aed.scoring.events.lists import EventList


@dataclass(frozen=True)
class Collars:
    """How far a detection may lie from the reference it finds.

    Args:
        collar_s: Of onsets, and the least of offsets.
        offset_share: The offset may also lie this share of the reference's length away.
        onset: Whether onsets have to match.
        offset: Whether offsets have to match.
    """

    collar_s: float = 0.2
    offset_share: float = 0.5
    onset: bool = True
    offset: bool = True

    def __post_init__(self) -> None:
        if self.collar_s < 0 or self.offset_share < 0:
            raise AedError(f"collars: need 0 or more, got {self.collar_s} s and a share of {self.offset_share}")
        if not (self.onset or self.offset):
            raise AedError("collars: onset or offset has to match")

    def match(self, reference: EventList, detected: EventList) -> npt.NDArray[np.bool_]:
        """Which detections may find which references, ``(R, D)``; classes are not looked at."""
        fits: npt.NDArray[np.bool_] = reference.recording[:, None] == detected.recording[None]
        if self.onset:
            fits &= np.abs(reference.onset_s[:, None] - detected.onset_s[None]) <= self.collar_s
        if self.offset:
            most = np.maximum(self.collar_s, self.offset_share * reference.length_s)
            fits &= np.abs(reference.offset_s[:, None] - detected.offset_s[None]) <= most[:, None]
        return fits


def event_based(
    reference: EventList, detected: EventList, num_classes: int, num_recordings: int, collars: Collars | None = None
) -> EventCounts:
    """Counts of the best one-to-one matching of each class.

    Args:
        reference: What occurs.
        detected: What was detected.
        num_classes: Classes in all.
        num_recordings: Recordings in all.
        collars: Default: 0.2 s, offsets also within half of an event.
    """
    collars = collars or Collars()
    hits, substitutions = np.zeros(num_classes, np.int64), 0
    spans = zip(reference.in_recordings(num_recordings), detected.in_recordings(num_recordings), strict=True)
    for own, others in spans:
        one, other = _part(reference, own), _part(detected, others)
        if not len(one) or not len(other):
            continue
        fits = collars.match(one, other)
        matched = best_matching(fits & (one.target[:, None] == other.target[None]))
        found = matched >= 0
        hits += np.bincount(one.target[found], minlength=num_classes)
        free = np.ones(len(other), np.bool_)
        free[matched[found]] = False
        for row in np.flatnonzero(~found).tolist():
            if (open_ := np.flatnonzero(fits[row] & free)).size:
                free[open_[0]] = False
                substitutions += 1
    occurring, named = (np.bincount(part.target, minlength=num_classes) for part in (reference, detected))
    return EventCounts(occurring, named, hits, substitutions)


def best_matching(fits: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A largest one-to-one matching, by augmenting paths (Kuhn, 1955): the column of each row ``(R,)``, or -1.

    Args:
        fits: ``(R, D)``, which may be matched.
    """
    row_of = np.full(fits.shape[1], -1, np.int64)
    columns = [np.flatnonzero(row).tolist() for row in fits]
    for start in range(len(columns)):
        # depth first, without recursion: a path of rows, each with the columns that are left to be tried
        seen: set[int] = set()
        path, waiting = [start], [iter(columns[start])]
        taken: list[int] = []
        while path:
            column = next((item for item in waiting[-1] if item not in seen), None)
            if column is None:
                path.pop()
                waiting.pop()
                if taken:
                    taken.pop()
                continue
            seen.add(column)
            taken.append(column)
            if row_of[column] < 0:
                for row, own in zip(path, taken, strict=True):
                    row_of[own] = row
                break
            path.append(int(row_of[column]))
            waiting.append(iter(columns[path[-1]]))
    column_of = np.full(fits.shape[0], -1, np.int64)
    used = np.flatnonzero(row_of >= 0)
    column_of[row_of[used]] = used
    return column_of


def _part(events: EventList, span: slice) -> EventList:
    return EventList(events.recording[span], events.target[span], events.onset_s[span], events.offset_s[span])
