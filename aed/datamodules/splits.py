"""Assignment of clips to train, val and test: pure functions from a clip table to a split of each row."""

import logging
import math
from typing import Any, Literal

import numpy as np
import pandas as pd

from aed.base.errors import AedError

log = logging.getLogger(__name__)

SplitMethod = Literal["folds", "random", "source"]


def assign_splits(
    table: pd.DataFrame,
    *,
    method: SplitMethod,
    test_fold: int | None,
    val_fold: int | None,
    test_fraction: float,
    val_fraction: float,
    seed: int,
) -> "pd.Series[str]":
    """The split (train, val, test, calibration) of each row of ``table``, same index.

    Rows whose ``split`` column is set (sets with a csv of their own) keep it, and no further clips are taken
    for a split that the data set fixes.

    Args:
        table: Columns ``labels``, ``fold``, ``src_file``, ``split``; missing values where unknown.
        method: ``folds``: by the data set's published numbers. ``random``: stratified by class, blind to
            recordings: parts of one recording land on both sides. ``source``: random, but a source recording
            (``src_file``) is on one side only.
        test_fold: Fold to test on; ``None`` for no test set.
        val_fold: Fold that picks the checkpoint; ``None`` trains on all others with a fixed schedule.
        test_fraction: ``random`` and ``source``: share of the clips to test on.
        val_fraction: ``random`` and ``source``: share of the clips that pick the checkpoint; may be 0.
        seed: ``random`` and ``source``.

    Raises:
        AedError: A column is missing, a fold does not exist, or a class has too few clips or sources.
    """
    split = table["split"].copy()
    free = table[split.isna()]
    fixed_parts = set(split.dropna())
    wanted = {
        "test": (test_fold, test_fraction),
        "val": (val_fold, val_fraction),
    }
    if method == "folds" and not fixed_parts & {"test", "val"} and test_fold is not None and test_fold == val_fold:
        raise AedError(
            f"data: test_fold and val_fold are both {test_fold}; the checkpoint would be chosen on test clips"
        )
    if method != "folds" and test_fraction + val_fraction >= 1:
        raise AedError(f"data: test_fraction {test_fraction} and val_fraction {val_fraction} leave nothing to train on")
    for part, (fold, fraction) in wanted.items():
        if part in fixed_parts or (fold is None if method == "folds" else fraction == 0):
            continue
        if method == "folds":
            chosen = _fold(free, part, fold)
        elif free.empty:
            raise AedError(
                f"data.{part}_fraction={fraction:g}: each clip has its split already; use 0 or provide a {part} set"
            )
        else:
            # a share of all clips, also when the test clips are gone already
            share = fraction * int(table["split"].isna().sum()) / max(1, len(free))
            chosen = (_random if method == "random" else _by_source)(free, part, share, seed)
        split.loc[chosen] = part
        free = free.drop(chosen)
    return split.fillna("train")


def _fold(table: pd.DataFrame, part: str, fold: int | None) -> "pd.Index[Any]":
    if table["fold"].isna().any():
        raise AedError(
            "data.split=folds: the csv has no fold number for every clip; add a column 'fold', name it where it is "
            "(data.clips.columns=[filename,category,fold]), or use data.split=source (needs 'src_file') or "
            "data.split=random"
        )
    chosen: pd.Index = table.index[table["fold"] == fold]
    if chosen.empty:
        folds = sorted(int(value) for value in table["fold"].unique())
        raise AedError(f"data.{part}_fold: the csv has the folds {folds}, got {fold}")
    return chosen


def _random(table: pd.DataFrame, part: str, share: float, seed: int) -> "pd.Index[Any]":
    from sklearn.model_selection import train_test_split  # 2.6 s, and only this split needs it

    _check_share(part, share)
    if (table["labels"].map(len) != 1).any():  # most combinations of labels are rare: each class for itself
        return _balanced(table["labels"], table.index.to_series(), share, seed)
    strata = table["labels"].map(",".join)
    counts = strata.value_counts()
    if rare := sorted(counts.index[counts < 2]):
        raise AedError(
            f"data.split=random: {part} and train each need at least one clip per class, {rare} have one; add clips, "
            f"leave these out of data.class_names, or use data.{part}_fraction=0"
        )
    wanted = math.ceil(share * len(table))
    if not len(counts) <= wanted <= len(table) - len(counts):  # which scikit-learn refuses
        log.warning(
            "data.%s_fraction: a share of %.3g of %d clips is less than one of each of %d classes for %s or train; "
            "each class gives it at least one, and keeps one",
            part,
            share,
            len(table),
            len(counts),
            part,
        )
        return _balanced(table["labels"], table.index.to_series(), share, seed)
    _, chosen = train_test_split(table.index.to_numpy(), test_size=share, random_state=seed, stratify=strata.to_numpy())
    picked: pd.Index[Any] = pd.Index(chosen)
    return picked


def _by_source(table: pd.DataFrame, part: str, share: float, seed: int) -> "pd.Index[Any]":
    _check_share(part, share)
    unknown = table["src_file"].isna()
    if unknown.all():
        raise AedError(
            "data.split=source: no clip's recording is known; add a column 'src_file' to the list or, if file names "
            "contain it, set data.clips.source_pattern; or use data.split=folds or data.split=random"
        )
    if unknown.any():
        log.warning(
            "data.split=source: %d of %d clips have no known recording (e.g. %s): each is treated as its own recording",
            unknown.sum(),
            len(table),
            table["path"][unknown].iloc[0] if "path" in table else table.index[unknown][0],
        )
    own = pd.Series([f"clip {number}" for number in range(len(table))], table.index, dtype=object)
    return _balanced(table["labels"], table["src_file"].where(~unknown, own), share, seed)


def _balanced(labels: "pd.Series[Any]", source: "pd.Series[Any]", share: float, seed: int) -> "pd.Index[Any]":
    """Rows of whole recordings: near to a share of each class, and of the rows without one."""
    pairs = pd.DataFrame({"src_file": source, "labels": labels}).explode("labels")
    sources = pairs.groupby("labels")["src_file"].nunique()
    if few := sorted(sources.index[sources < 2]):
        raise AedError(f"data.split: {few} come from one recording each; a split needs two per class")
    crosstab = pd.crosstab(pairs["src_file"], pairs["labels"].fillna(""))
    counts = crosstab.to_numpy()
    wanted = share * counts.sum(axis=0)
    taken = np.zeros_like(wanted)
    left = (counts > 0).sum(axis=0)  # recordings of each class on the other side
    chosen: list[int] = []

    def cost(row: int) -> float:
        """Change of the distance from the share, over its classes, if a recording is taken."""
        return float(np.abs(taken + counts[row] - wanted).sum() - np.abs(taken - wanted).sum())

    def may_go(row: int) -> bool:
        """Whether each of its classes keeps a recording on the other side."""
        return bool((left[counts[row] > 0] > 1).all())

    def choose(row: int) -> None:
        nonlocal taken, left
        chosen.append(row)
        taken, left = taken + counts[row], left - (counts[row] > 0)

    for row in np.random.default_rng([seed, len(labels)]).permutation(len(counts)).tolist():
        if cost(row) < 0 and may_go(row):
            choose(row)
    for category in range(counts.shape[1]):  # a class whose recordings are all larger than the share
        free = [row for row in np.flatnonzero(counts[:, category]).tolist() if may_go(row)]
        if free and taken[category] == 0:
            choose(min(free, key=cost))
    picked: pd.Index[Any] = labels.index[source.isin(crosstab.index[chosen])]
    return picked


def _check_share(part: str, share: float) -> None:
    if not 0 < share < 1:
        raise AedError(f"data.{part}_fraction: need a share between 0 and 1 of the clips left, got {share:.3g}")


def shared_sources(table: pd.DataFrame) -> list[str]:
    """Source recordings that stand in more than one of train, val and test, ascending; [] if unknown.

    Args:
        table: Columns ``src_file`` and ``split``.
    """
    known = table[table["src_file"].notna() & table["split"].isin(["train", "val", "test"])]
    splits = known.groupby("src_file")["split"].nunique()
    return sorted(str(source) for source in splits.index[splits > 1])
