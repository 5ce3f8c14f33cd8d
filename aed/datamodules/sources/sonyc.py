"""SONYC-UST: recordings of a city's sensors, each tagged by several people.

M. Cartwright et al., SONYC Urban Sound Tagging, DCASE 2019, and SONYC-UST-V2, DCASE 2020 (zenodo.org/records/3966543).
Columns and the meaning of ``annotator_id`` as its README and baseline read them: 0 is what the authors agreed on, below
0 one of the authors, above 0 a volunteer; ``<number>_<name>_presence`` is 1, 0, or -1 where nobody was asked.
"""

import re
from typing import Literal

import pandas as pd

from aed.audio.recordings import recordings_below
from aed.base.errors import AedError
from aed.datamodules.sources.clips import check_agreement
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table, rows_of, usable

SPLITS = {"train": "train", "validate": "val", "test": "test"}

_COLUMN = {
    "coarse": re.compile(r"\d+_(?P<name>.+)_presence"),
    "fine": re.compile(r"\d+-(?:\d+|X)_(?P<name>.+)_presence"),
}


class SONYCUST(PublishedSource):
    """SONYC-UST (M. Cartwright et al., 2019 and 2020; CC BY 4.0): 10 s of a sensor in New York, any number of tags.

    Read are ``annotations.csv`` and the recordings below the root, in any folders. A clip has the tags that the authors
    agreed on, where they did (annotator 0); else those of their own people, else of volunteers, by ``votes``. Train and
    validation have different sensors; the test set was recorded later, also by sensors of the training set.

    Args:
        root: Folder that holds ``annotations.csv``; default ``SONYC-UST`` in ``$AED_DATA_DIR``.
        level: ``coarse``: 8 classes. ``fine``: the finer ones, and those of a kind that could not be told.
        votes: A tag counts if ``any`` annotator gave it, as in the authors' baseline, or the ``majority``.
        official_split: As published. False: ``data.split=source`` keeps each sensor on one side.
    """

    name = "sonyc_ust"

    def __init__(
        self,
        root: str | None = None,
        level: Literal["coarse", "fine"] = "coarse",
        votes: Literal["any", "majority"] = "any",
        official_split: bool = True,
    ) -> None:
        super().__init__(root, "SONYC-UST")
        for key, value, allowed in (("level", level, _COLUMN), ("votes", votes, ("any", "majority"))):
            if value not in allowed:
                raise AedError(f"data.clips.{key}: need {' or '.join(allowed)}, got {value!r}")
        self.level, self.votes, self.official_split = level, votes, official_split

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table, one row for all annotators of a recording."""
        csv, errors = self.find("annotations.csv"), Errors()
        rows = rows_of(csv, ("split", "sensor_id", "audio_filename", "annotator_id"))
        names = {column: match["name"] for column in map(str, rows) if (match := _COLUMN[self.level].fullmatch(column))}
        if not names:
            raise AedError(f"{csv}: no column <number>_<name>_presence of level={self.level}")
        presence = rows[list(names)]
        bad = {
            "no audio_filename": rows["audio_filename"] == "",
            "annotator_id {annotator_id} is no whole number": ~rows["annotator_id"].str.fullmatch(r"-?\d+"),
            "annotator {annotator_id} stands in the list before for {audio_filename}": rows.duplicated(
                ["audio_filename", "annotator_id"]
            ),
            "split {split} is none of train, validate and test": ~rows["split"].isin(SPLITS),
            "a presence is none of 1, 0 and -1": ~presence.isin(["1", "0", "-1"]).all(axis=1),
        }
        rows = usable(rows, csv, bad, errors)
        places = {path.name: path for path in recordings_below(self.root)}
        rows = rows.assign(path=[places.get(name, csv.parent / "audio" / name) for name in rows["audio_filename"]])
        check_agreement(rows, ["path"], ("split", "sensor_id"), str(csv))
        listed = set(rows["path"])
        errors |= {path: f"{path}: no row of {csv} names it" for path in places.values() if path not in listed}
        kept = self._deciding(rows)
        tags = self._tags(kept, list(names))
        clips = kept.drop_duplicates("path").set_index("path", drop=False)
        present = {path: tuple(sorted(names[own] for own in row.index[row])) for path, row in tags.iterrows()}
        return clip_table(
            clips,
            path=clips["path"],
            labels=[present[path] for path in clips["path"]],
            src_file=clips["audio_filename" if self.official_split else "sensor_id"],
            split=clips["split"].map(SPLITS) if self.official_split else pd.NA,
        ), errors

    def _deciding(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the annotators that count: the agreed one, else the authors', else the volunteers'."""
        number = rows["annotator_id"].astype(int)
        rank = (number < 0).astype(int) + 2 * (number > 0)
        return rows[rank == rank.groupby(rows["path"]).transform("min")]

    def _tags(self, rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        """Whether each tag is present in each recording, one row a path; nobody asked counts as absent."""
        votes = rows[columns].astype(int).set_axis(pd.Index(rows["path"], name="path"))
        given, asked = (votes == 1).groupby(level=0).sum(), (votes >= 0).groupby(level=0).sum()
        return given > 0 if self.votes == "any" else 2 * given > asked
