"""FSDKaggle2018 and FSDKaggle2019: their lists, as published after the competitions or on Kaggle.

E. Fonseca et al., General-purpose Tagging of Freesound Audio with AudioSet Labels, DCASE 2018, and Audio Tagging with
Noisy Labels and Minimal Supervision, DCASE 2019; zenodo.org/records/2552860 and 3612637.
Folders and columns as in their READMEs.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.sources.lists import read_rows
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table, rows_of, unlisted, usable

log = logging.getLogger(__name__)

WITHDRAWN = ("f76181c4", "77b925c2", "6a1f682a", "c7db12aa", "7752cc8a", "1d44b0bd")
"""Curated clips of 2019 whose labels, and one whose sound, its authors say are wrong."""

Labels = Callable[[str], tuple[str, ...]]


class FSDKaggle2018(PublishedSource):
    """FSDKaggle2018 (E. Fonseca et al.; CC BY 4.0): 11,073 clips of 41 classes, one each.

    The published test clips are the test set; validation clips are drawn from the training set. The recording of
    Freesound (``freesound_id``) is the source, where the lists have it.

    Args:
        root: Folder that holds ``FSDKaggle2018.audio_train``, ``.audio_test`` and ``.meta``; or Kaggle's own
            ``audio_train``, ``audio_test`` and ``train.csv``. Default ``FSDKaggle2018`` in ``$AED_DATA_DIR``.
        verified: Only training clips whose label a person has checked (``manually_verified``).
    """

    name = "fsdkaggle2018"
    origin = "Freesound"

    def __init__(self, root: str | None = None, verified: bool = False) -> None:
        super().__init__(root, "FSDKaggle2018")
        self.verified = verified

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table; the test folder's clips that were never scored are in no list."""
        meta, errors = "FSDKaggle2018.meta", Errors()
        csv = self.find(f"{meta}/train_post_competition.csv", "train.csv")
        audio = self.find("FSDKaggle2018.audio_train", "audio_train")
        train = rows_of(csv, ("fname", "label", "manually_verified"))
        unchecked = ~train["manually_verified"].isin(["0", "1"])
        is_out = (train["manually_verified"] == "0") & self.verified
        names = [audio / name for name in train["fname"]]
        train = usable(train, csv, {"manually_verified {manually_verified} is neither 0 nor 1": unchecked}, errors)
        train = train[~is_out.reindex(train.index)]
        parts = [_clips(train, csv, audio, "label", _one, None, errors)]
        errors |= unlisted(audio, names, csv)
        files = (f"{meta}/test_post_competition_scoring_clips.csv", "test_post_competition_scoring_clips.csv")
        csv = self.find(*files, f"{meta}/test_post_competition.csv", "test_post_competition.csv")
        audio = self.find("FSDKaggle2018.audio_test", "audio_test")
        test = rows_of(csv, ("fname", "label"))
        if "usage" in test:
            test = test[test["usage"] != "Ignored"]
        known = {name for own in parts[0]["labels"] for name in own}
        parts.append(_clips(test, csv, audio, "label", _one, known if not self.verified else None, errors, "test"))
        return pd.concat(parts, ignore_index=True), errors


class FSDKaggle2019(PublishedSource):
    """FSDKaggle2019 (E. Fonseca et al.; CC BY 4.0): 29,266 clips with any number of 80 labels.

    The published test clips are the test set; validation clips are drawn from the training set. The source is the
    recording of Freesound (``freesound_id``) or the video of Flickr. Six curated clips that their authors say are
    wrong are left out.

    Args:
        root: Folder that holds ``FSDKaggle2019.audio_train_curated``, ``.audio_test`` and ``.meta``, or these without
            the part before the dot. Default ``FSDKaggle2019`` in ``$AED_DATA_DIR``.
        train: Training clips: ``curated`` by people, ``noisy`` (labelled by a program), or ``both``.
    """

    name = "fsdkaggle2019"
    origin = "Freesound"

    def __init__(self, root: str | None = None, train: Literal["curated", "noisy", "both"] = "curated") -> None:
        super().__init__(root, "FSDKaggle2019")
        if train not in ("curated", "noisy", "both"):
            raise AedError(f"data.clips.train: need curated, noisy or both, got {train!r}")
        self.train = train

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table; rows with a label that ``vocabulary.csv`` lacks are left out."""
        errors, parts = Errors(), []
        vocabulary = self._vocabulary()
        chosen = ("curated", "noisy") if self.train == "both" else (self.train,)
        for part in (*(f"train_{kind}" for kind in chosen), "test"):
            names = (f"{part}_post_competition.csv", f"{part}.csv")
            csv = self.find(*(f"{meta}{name}" for meta in ("FSDKaggle2019.meta/", "meta/", "") for name in names))
            audio = self.find(f"FSDKaggle2019.audio_{part}", f"audio_{part}", part)
            rows = rows_of(csv, ("fname", "labels"))
            errors |= unlisted(audio, [audio / name for name in rows["fname"]], csv)
            if part == "train_curated":
                wrong = rows["fname"].str.removesuffix(".wav").isin(WITHDRAWN)
                log.info("%s: %d clips that their authors say are wrong are left out", csv, wrong.sum())
                rows = rows[~wrong]
            split = "test" if part == "test" else pd.NA
            parts.append(_clips(rows, csv, audio, "labels", _several, vocabulary, errors, split))
        return pd.concat(parts, ignore_index=True), errors

    def _vocabulary(self) -> set[str] | None:
        """The 80 class names; None where the list of them is not there, as on Kaggle."""
        file = self.root / "FSDKaggle2019.meta" / "vocabulary.csv"
        return set(read_rows(file, ("number", "name")).iloc[:, -1]) if file.is_file() else None


def _one(cell: str) -> tuple[str, ...]:
    return (cell,) if cell else ()


def _several(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in cell.split(",") if (name := part.strip())))


def _clips(
    rows: pd.DataFrame,
    csv: Path,
    audio: Path,
    column: str,
    labels_of: Labels,
    known: set[str] | None,
    errors: Errors,
    split: object = pd.NA,
) -> pd.DataFrame:
    """Clip table of a list: rows without name or label, repeated ones, and unknown labels go into ``errors``."""
    labels = rows[column].map(labels_of)
    bad = {
        "no fname": rows["fname"] == "",
        "{fname} stands in the list before": rows["fname"].duplicated(),
        "{fname} has no label": labels.map(len) == 0,
        f"{{fname}} has a label that is none of the {len(known or ())} classes: {{{column}}}": labels.map(
            lambda own: known is not None and not known.issuperset(own)
        ),
    }
    rows = usable(rows, csv, bad, errors)
    return clip_table(
        rows,
        path=[audio / name for name in rows["fname"]],
        labels=rows[column].map(labels_of),
        src_file=_first_known(rows, ("freesound_id", "flickr_video_URL")),
        split=split,
    )


def _first_known(rows: pd.DataFrame, columns: Sequence[str]) -> "pd.Series[Any]":
    """The cell of the first of some columns that the list has; NA where it is empty or there is none."""
    name = next((column for column in columns if column in rows), None)
    cells = rows[name] if name else pd.Series(pd.NA, rows.index, dtype=object)
    return cells.where(cells != "", pd.NA) if name else cells
