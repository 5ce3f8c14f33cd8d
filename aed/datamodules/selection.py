"""Clips and their classes: pure functions from a clip table to the classes a net is to distinguish."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.datamodules.sources.clips import check_agreement
from aed.datamodules.sources.lists import class_name
from aed.scoring.labels import BACKGROUND, OTHER

log = logging.getLogger(__name__)


def composed(table: pd.DataFrame) -> pd.DataFrame:
    """A clip table whose class names are those of :func:`aed.datamodules.sources.lists.class_name`."""
    known = {name: class_name(name) for own in table["labels"] for name in own}
    labels = table["labels"].map(lambda own: tuple(dict.fromkeys(known[name] for name in own)))
    return table.assign(labels=labels.astype(object))


def alike(names: Iterable[str]) -> list[list[str]]:
    """Class names that differ in case, spaces, quotes, ``-`` or ``_`` alone, and so may be meant as one; sorted."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[\s_\-'\"]+", "", unicodedata.normalize("NFKC", name).casefold()), set()).add(name)
    return sorted(sorted(own) for own in groups.values() if len(own) > 1)


def check_names(chosen: Sequence[str] | None, available: Sequence[str], source: str, multi_label: bool) -> list[str]:
    """The class names in the order of the logits: ``chosen`` or, where it is None, ``available``.

    Args:
        chosen: ``data.class_names``.
        available: Those of the data set, in alphabetical order.
        source: Its name, for messages.
        multi_label: Whether one class is enough.

    Raises:
        AedError: A name is unknown or duplicate, or there are too few.
    """
    names = [class_name(name) for name in chosen] if chosen else list(available)
    if unknown := [name for name in names if name not in available]:
        hint = "".join(f"; did you mean {near[0]!r}?" for name in unknown if (near := nearest(name, available)))
        raise AedError(f"data.class_names: {source} has no clips of {unknown}; it has {list(available)}{hint}")
    if len(set(names)) != len(names):
        raise AedError(f"data.class_names: duplicate name in {names}")
    if len(names) < (1 if multi_label else 2):
        need = "one class" if multi_label else "two classes, or data.multi_label=true for a detector of one"
        raise AedError(f"data.class_names: need at least {need}, got {names}")
    return names


def class_settings(class_names: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a DataModule that give the class names of a model.

    Args:
        class_names: Of the model, in the order of its outputs.
        facts: Of the data that it was trained on, as its card has them.
    """
    names, garbage = list(class_names), bool(facts.get("garbage_class"))
    if garbage and OTHER in names:
        names.remove(OTHER)
    return {"class_names": names, "garbage_class": garbage}


def one_row_a_clip(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The table with the rows of one file in one split as a single one, which has all their labels.

    Args:
        table: A clip table. A file may be in ``calibration`` and in another split.
        source: The data set's name, for messages.

    Raises:
        AedError: Such rows have different folds or source recordings.
    """
    again = table.duplicated(["path", "split"])
    if not again.any():
        return table
    log.warning("%s: %d rows repeat a clip; its labels are those of all its rows", source, again.sum())
    rows = table.groupby(["path", "split"], sort=False, dropna=False)
    check_agreement(table, ["path", "split"], ("fold", "src_file"), source)
    labels = [tuple(dict.fromkeys(name for names in own for name in names)) for _, own in rows["labels"]]
    return (
        table[~again].assign(labels=pd.Series(labels, index=table.index[~again], dtype=object)).reset_index(drop=True)
    )


def single_labels(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The rows with one label; the others are counted in a warning.

    Raises:
        AedError: None is left.
    """
    count = table["labels"].map(len)
    for name, wrong in (("several labels", count > 1), ("no label", count == 0)):
        if wrong.any():
            log.warning(
                "%s: %d of %d clips have %s and are left out; data.multi_label=true keeps them",
                source,
                wrong.sum(),
                len(table),
                name,
            )
    if not (count == 1).any():
        raise AedError(f"{source}: no clip has a single label; data.multi_label=true keeps them")
    return table[count == 1].reset_index(drop=True)


def within(labels: "pd.Series[Any]", names: Sequence[str]) -> "pd.Series[Any]":
    """Each row's labels that are among ``names``; () where there is none."""
    chosen = set(names)
    return labels.map(lambda own: tuple(name for name in own if name in chosen))


def draw_garbage(
    table: pd.DataFrame,
    drawn_from: "pd.Series[Any]",
    num_classes: int,
    share: float,
    seed: int,
    per_class: int | None = None,
) -> pd.DataFrame:
    """``table`` with as many rows of :data:`OTHER` in each split as a class has there on average.

    They are drawn without replacement and evenly over the classes they are from; where one has too few, the others
    give more, unless a number is given for each.

    Args:
        table: Columns ``labels`` and ``split``; candidates are labelled ``("other",)``.
        drawn_from: What each row was labelled before, same index.
        num_classes: Of the others.
        share: Of the mean class: 1 makes it as large.
        seed: Which are drawn.
        per_class: Rows of each unused class in each split, or all where it has fewer; instead of ``share``.

    Raises:
        AedError: There is no candidate for the training split.
    """
    is_other = table["labels"].map(lambda own: own == (OTHER,))
    keep = (~is_other).to_numpy(copy=True)
    for number, split in enumerate(sorted(table["split"].unique())):
        inside = table["split"] == split
        wanted = max(1, round(share * int((inside & ~is_other).sum()) / num_classes))
        candidates = table.index[inside & is_other]
        if candidates.empty and split == "train":
            raise AedError(
                "data.garbage_class=true: there is no training clip of an unused class; leave some classes out of "
                "data.class_names, or use false"
            )
        generator = np.random.default_rng([seed, number])
        queues = [
            generator.permutation(rows.to_numpy()).tolist()
            for _, rows in sorted(candidates.groupby(drawn_from[candidates].map(",".join)).items())
        ]
        order = generator.permutation(len(queues)).tolist()  # who gives one more where it does not come out even
        turns = range(max(map(len, queues), default=0) if per_class is None else per_class)
        if per_class is not None:
            wanted = per_class * len(queues)
        drawn = [queues[queue][turn] for turn in turns for queue in order if turn < len(queues[queue])]
        keep[table.index.get_indexer(pd.Index(drawn[:wanted]))] = True
        if len(drawn) < wanted:
            log.warning("%s: only %d clips of unused classes, %d were wanted", split, len(drawn), wanted)
    return table[keep].reset_index(drop=True)


def targets(labels: "pd.Series[Any]", names: Sequence[str], multi_label: bool) -> npt.NDArray[Any]:
    """Targets of each row.

    Args:
        labels: Tuples of names, all among ``names``.
        names: In the order of the logits.
        multi_label: As below.

    Returns:
        ``(rows,)`` int64, or ``(rows, num_classes)`` float32 of 0 and 1.
    """
    index = {name: number for number, name in enumerate(names)}
    if not multi_label:
        return np.array([index[own[0]] for own in labels], dtype=np.int64)
    matrix = np.zeros((len(labels), len(names)), dtype=np.float32)
    pairs = [(row, index[name]) for row, own in enumerate(labels) for name in own]
    if pairs:
        matrix[tuple(np.array(pairs).T)] = 1
    return matrix


def one_hot(target: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.float32]:
    """What :func:`targets` gives, as ``(rows, num_classes)`` of 0 and 1 in any case."""
    return np.eye(num_classes, dtype=np.float32)[target] if target.ndim == 1 else target


def class_counts(target: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.int64]:
    """Clips of each class, ``(num_classes,)``, of what :func:`targets` gives."""
    one = target.ndim == 1
    counts: npt.NDArray[np.int64] = (
        np.bincount(target, minlength=num_classes) if one else np.count_nonzero(target, axis=0)
    )
    return counts


def check_classes(
    source: str, names: Sequence[str], counts: Mapping[str, npt.NDArray[np.int64]], skipped: Mapping[Path, str]
) -> None:
    """Refuses splits in which nothing can be learned or scored, and warns of classes without a clip.

    Args:
        source: The data set's name, for messages.
        names: In the order of the logits.
        counts: Good clips of each class ``(num_classes,)`` in ``train`` and, where there are any, ``val`` and ``test``.
        skipped: Files that are left out, with the reason.

    Raises:
        AedError: A class but ``background`` has no training clip, or no clip that is scored is of any class.
    """
    named = {
        split: [name for name, count in zip(names, own, strict=True) if not count and name != BACKGROUND]
        for split, own in counts.items()
    }
    if empty := named["train"]:
        reason = f", as {next(iter(skipped.values()))}" if skipped else ""
        raise AedError(f"{source}: no readable training clip of {empty} ({len(skipped)} files were left out{reason})")
    for split in ("val", "test"):
        if split not in counts:
            continue
        if not counts[split].any():
            raise AedError(f"{source}: no {split} clip is of any class: nothing can be scored on it")
        if named[split]:
            log.warning("%s: no %s clip of %s", source, split, named[split])


def check_counterexamples(source: str, names: Sequence[str], patches: npt.NDArray[np.int64], number: int) -> None:
    """Refuses, or warns of, classes of which every training patch is.

    Args:
        source: The data set's name, for messages.
        names: In the order of the logits.
        patches: Training patches of each class, ``(num_classes,)``.
        number: Training patches.

    Raises:
        AedError: All classes are such.
    """
    always = patches == number
    if always.all():
        raise AedError(
            f"{source}: every training patch is of {list(names)}: there is nothing to tell "
            "them from; add recordings without them (docs/data.md, A detector of one sound)"
        )
    if own := [name for name, is_always in zip(names, always, strict=True) if is_always]:
        log.warning(
            "%s: every training patch is of %s: there is nothing to tell them from, and their scores mean "
            "nothing; add other classes or data.garbage_class=true",
            source,
            own,
        )
