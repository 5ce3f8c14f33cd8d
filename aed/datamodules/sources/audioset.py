"""AudioSet: Google's lists of segments, and recordings that were fetched and cut by any of the usual programs.

J. F. Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events, ICASSP 2017. A list has three
lines of comments, the last with the columns ``YTID, start_seconds, end_seconds, positive_labels``; labels are mids.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd

from aed.audio.recordings import recordings_below
from aed.base import paths
from aed.base.errors import AedError, in_brief
from aed.datamodules.sources.data_path import DataPath
from aed.datamodules.sources.lists import is_number
from aed.datamodules.sources.ontology import Ontology
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table, rows_of, usable

log = logging.getLogger(__name__)

MOST_NAMED = 1000
"""Segments of a list without a recording that are named one by one."""

COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
LISTS: dict[str, tuple[str, ...]] = {
    "balanced": ("balanced_train",),
    "unbalanced": ("unbalanced_train",),
    "both": ("balanced_train", "unbalanced_train"),
}


class AudioSet(PublishedSource):
    """AudioSet (J. F. Gemmeke et al., 2017): 10 s of a video per clip, any number of 527 classes.

    Read are ``balanced_train_segments.csv`` (or unbalanced) and ``eval_segments.csv``, which is the test set, and the
    recordings below ``audio_dir`` at any depth, one a segment, cut already. They are called ``<YTID>``, ``Y<YTID>``, or
    ``<YTID>_`` and the start, or start and end, in seconds or milliseconds. The video is the source. Segments without a
    recording, which are many, as videos vanish, are left out and counted.

    Args:
        root: Folder of the lists; default ``audioset`` in ``$AED_DATA_DIR``.
        audio_dir: Folder of the recordings; default: the root.
        train: ``balanced``, ``unbalanced``, or ``both`` lists of training segments.
        labels: ``smeared``: as published. ``unsmeared``: only those that no other label of the clip implies.
        ontology: AudioSet's ontology.json; default: in the root, or ``audioset`` in ``$AED_DATA_DIR``.
    """

    name = "audioset"
    audio_dir = DataPath()

    def __init__(
        self,
        root: str | None = None,
        audio_dir: str | None = None,
        train: Literal["balanced", "unbalanced", "both"] = "balanced",
        labels: Literal["smeared", "unsmeared"] = "smeared",
        ontology: str | None = None,
    ) -> None:
        super().__init__(root, "audioset")
        for key, value, allowed in (("train", train, tuple(LISTS)), ("labels", labels, ("smeared", "unsmeared"))):
            if value not in allowed:
                raise AedError(f"data.clips.{key}: need one of {', '.join(allowed)}, got {value!r}")
        self.audio_dir = audio_dir or root or paths.data_dir() / self.folder
        self.train, self.labels = train, labels
        self.ontology = Path(ontology) if ontology else None

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table; training segments of a video that is tested are left out."""
        if not self.audio_dir.is_dir():
            raise AedError(f"data.clips.audio_dir: {self.audio_dir} is no folder")
        errors, ontology = Errors(), self._ontology_file()
        names = class_names(ontology)
        present: dict[str, Path] = {}
        for path in recordings_below(self.audio_dir):
            if (other := present.setdefault(path.stem, path)) != path:
                errors[path] = f"{path}: {other} has the same name; one segment has one recording"
        parts, tested = [], set[str]()
        for part in ("eval", *LISTS[self.train]):
            csv = self.find(f"{part}_segments.csv")
            rows = rows_of(csv, COLUMNS)
            mids = rows["positive_labels"].map(_mids)
            found = [_recording(row, present) for row in rows[list(COLUMNS[:3])].itertuples(index=False)]
            rows = rows.assign(path=pd.Series(found, rows.index, dtype=object), mids=mids)
            lacking = rows.index[rows["path"].isna()]
            if len(lacking) > MOST_NAMED:  # of two million segments, each with its reason would fill gigabytes
                errors[csv] = f"{csv}: {len(lacking) - MOST_NAMED} more of {len(rows)} segments have no recording"
                rows = rows.drop(lacking[MOST_NAMED:])
            rows = usable(rows, csv, _reasons(rows, names, tested), errors)
            rows = rows.assign(split="test" if part == "eval" else "")
            tested |= set(rows["YTID"]) if part == "eval" else set()
            parts.append(rows)
        rows = pd.concat(parts, ignore_index=True)
        split = rows["split"].astype(object).where(rows["split"] != "", pd.NA)
        own: list[tuple[str, ...]] = list(rows["mids"])
        own = Ontology.read(ontology).unsmear_all(own) if self.labels == "unsmeared" else own
        sorted_names = {mids: tuple(sorted(names[mid] for mid in mids)) for mids in set(own)}
        labels = [sorted_names[mids] for mids in own]
        return clip_table(rows, path=rows["path"], labels=labels, src_file=rows["YTID"], split=split), errors

    def _ontology_file(self) -> Path:
        if self.ontology:
            return self.ontology
        places = (self.root / "ontology.json", paths.data_dir() / "audioset" / "ontology.json")
        if (found := next((place for place in places if place.is_file()), None)) is None:
            raise AedError(
                f"{places[0]}: no such file, which has the names of AudioSet's labels; put ontology.json of "
                "github.com/audioset/ontology there, or type data.clips.ontology=..."
            )
        return found


def class_names(ontology: Path) -> dict[str, str]:
    """Mid -> name of all classes of AudioSet's ontology.

    Raises:
        AedError: The file is missing or no such list.
    """
    Ontology.read(ontology)  # says what is wrong with it
    try:
        return {str(item["id"]): str(item["name"]) for item in json.loads(ontology.read_text(encoding="utf-8-sig"))}
    except (KeyError, TypeError) as error:
        raise AedError(f"{ontology}: a class has no name ({in_brief(error)}); need AudioSet's ontology.json") from error


def _reasons(rows: pd.DataFrame, names: dict[str, str], tested: set[str]) -> dict[str, "pd.Series[bool]"]:
    """Why a row cannot be used -> whether that is so."""
    return {
        "no YTID": rows["YTID"] == "",
        "{YTID} stands in the list before": rows["YTID"].duplicated(),
        "{YTID} is in eval_segments.csv, too": rows["YTID"].isin(tested),
        "no time {start_seconds} to {end_seconds}": ~(
            rows["start_seconds"].map(is_number) & rows["end_seconds"].map(is_number)
        ),
        "{YTID} has no label": rows["mids"].map(len) == 0,
        "{YTID} has a label that is not in the ontology: {positive_labels}": rows["mids"].map(
            lambda own: not names.keys() >= set(own)
        ),
        "no recording of {YTID}": rows["path"].isna(),
    }


def _mids(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mid for part in cell.split(",") if (mid := part.strip())))


def _recording(row: tuple[str, str, str], present: dict[str, Path]) -> Path | None:
    """The recording of a segment, by the names that programs give it."""
    return next((present[stem] for stem in _stems(*row) if stem in present), None)


def _stems(ytid: str, start: str, end: str) -> Iterator[str]:
    """Names that a segment's recording may have, without their ending."""
    times = [""]
    if is_number(start) and is_number(end):
        for scale, digits in ((1, 0), (1, 1), (1, 3), (1000, 0)):
            first, last = (f"{float(time) * scale:.{digits}f}" for time in (start, end))
            times += [f"_{first}", f"_{first}_{last}", f"_{first}-{last}"]
    for prefix in ("", "Y"):
        for time in times:
            yield f"{prefix}{ytid}{time}"
