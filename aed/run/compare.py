"""Runs beside each other: decisions about the same test clips, and what the nets cost."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aed.base.errors import AedError
from aed.base.files import check_replaceable, whole_folder
from aed.run.compare_tables import print_costs, print_differences, print_scores
from aed.run.costs import Costs, read_costs
from aed.run.tested import FILES, Tested, read_tested, runs_in
from aed.scoring.compared import Compared
from aed.scoring.paired import DRAWS, Difference, Right, difference, holm, interval
from aed.scoring.pictures.differences import plot_differences
from aed.scoring.tables import write_rows

log = logging.getLogger(__name__)

DIFFERENCES = "differences.csv"
"""In the folder of results; a folder with such a file may be replaced."""

RUNS = "runs.csv"
"""Beside it: where the runs lie."""


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Args:
        folders: Of runs or multiruns.
        names: Short ones, for tables.
        tested: Model -> decisions of each.
        intervals: Model -> interval of the share of right clips of each.
        rows: Of each but the first, each model and part of the clips.
    """

    folders: Sequence[Path]
    names: Sequence[str]
    tested: Mapping[str, Sequence[Tested]]
    intervals: Mapping[str, Sequence[tuple[float, float]]]
    rows: Sequence[Compared]

    def unlike(self) -> Iterator[list[str]]:
        """A row for each clip that not all decide alike: the share of the seeds that were right, of each."""
        for model, sides in self.tested.items():
            shares = [side.right.mean(axis=1).tolist() for side in sides]
            for clip, label, fold, *own in zip(
                sides[0].labels, sides[0].labels.values(), sides[0].folds, *shares, strict=True
            ):
                if len(set(own)) > 1:
                    yield [model, clip, label, fold, *(f"{share:.4g}" for share in own)]

    def scores(self) -> Iterator[list[str | int]]:
        """A row for each model and run."""
        for model, sides in self.tested.items():
            for name, side, (low, high) in zip(self.names, sides, self.intervals[model], strict=True):
                shares = (f"{share:.6f}" for share in (side.right.mean(), low, high))
                yield [model, name, len(side.right), len(side.seeds), *shares]

    def differences(self) -> Iterator[list[str | int]]:
        """A row for each of :attr:`rows`."""
        for row in self.rows:
            yield [row.model, row.run, self.names[0], row.scope, row.name, *_cells(row)]


_ENDS = ("low", "high")

HEADS: dict[str, list[str]] = {
    DIFFERENCES: ["model", "run", "beside", "scope", "name", "clips", "difference", *_ENDS, "better", "worse"],
    "scores.csv": ["model", "run", "clips", "seeds", "right", *_ENDS],
    "clips.csv": ["model", "filename", "category", "fold"],
}
HEADS[DIFFERENCES] += ["p", "p_holm"]
"""Columns of tables; that of clips has one more for each run."""


def compared(folders: Sequence[Path], draws: int = DRAWS, seed: int = 0) -> Comparison:
    """How much better or worse runs decide about the same test clips than the first.

    Args:
        folders: Of runs or of multiruns over folds and seeds.
        draws: Resamples of clips and seeds behind an interval.
        seed: Of the resamples.

    Raises:
        AedError: A folder is no run, or the runs were tested on other clips or classes.
    """
    names = short_names(folders)
    tested = _same_models(folders)
    rows = [
        row for model, sides in tested.items() for row in _adjusted(list(_compare(model, names, sides, draws, seed)))
    ]
    intervals = {model: [interval(side.right, draws, seed) for side in sides] for model, sides in tested.items()}
    return Comparison(folders, names, tested, intervals, rows)


def compare_runs(files: list[str], output: str | None = None, draws: int = DRAWS, seed: int = 0) -> list[Compared]:
    """Prints how much better or worse runs decide about the same test clips than the first, and their costs.

    Args:
        files: Folders of runs or of multiruns over folds and seeds, at least two; all are compared with the first.
        output: Folder for the tables as csv and a picture, of which ``aed report`` makes a page; null: they are
            printed only.
        draws: Resamples of clips and seeds behind an interval.
        seed: Of the resamples.

    Returns:
        A row for each run but the first, model and part of the clips.

    Raises:
        AedError: A folder is no run, or the runs were tested on other clips or classes.
    """
    if len(files) < 2:
        raise AedError(f"files: need at least two folders of runs, got {len(files)}: aed compare runA runB")
    if draws < 100:
        raise AedError(f"draws: need at least 100, got {draws}")
    if output is not None:
        check_replaceable(Path(output), DIFFERENCES)
    folders = [Path(name) for name in files]
    found = compared(folders, draws, seed)
    costs = [read_costs(runs_in(folder)) for folder in folders]
    print_scores(found.names, found.tested, found.intervals)
    print_differences(found.names[0], found.rows)
    print_costs(found.names, costs)
    if output is not None:
        _write(Path(output), found, costs)
    return list(found.rows)


def short_names(folders: Sequence[Path]) -> list[str]:
    """Names of folders without the part that all share; a name that occurs again gets a number."""
    paths = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100 - links keep their names
    above = os.path.commonpath(paths)
    above = os.path.dirname(above) if above in paths else above  # noqa: PTH120
    names = [os.path.relpath(path, above) for path in paths]
    return [f"{name} ({before + 1})" if (before := names[:at].count(name)) else name for at, name in enumerate(names)]


def _same_models(folders: Sequence[Path]) -> dict[str, list[Tested]]:
    """The models that every run has, each with the decisions of all runs.

    Raises:
        AedError: As :func:`compare_runs`.
    """
    found = {}
    for model in FILES:
        sides = {folder: read_tested(folder, model) for folder in folders}
        if lacking := [str(folder) for folder, side in sides.items() if side is None]:
            log.warning(
                "%s: no int8 model was tested (stages: quantize, evaluate); float alone is compared", lacking[0]
            )
            continue
        found[model] = [side for folder in folders if (side := sides[folder]) is not None]
        for side in found[model][1:]:
            check_same_clips(found[model][0], side)
    return found


def check_same_clips(one: Tested, other: Tested) -> None:
    """Refuses runs that were not tested on the same clips with the same labels.

    Raises:
        AedError: Says what differs.
    """
    both = f"{one.folder} and {other.folder}"
    if one.task != other.task:
        raise AedError(f"{both}: one has one class a clip, the other any number; they cannot be compared")
    if set(one.class_names) != set(other.class_names):
        name = min(set(one.class_names) ^ set(other.class_names))
        owner = one if name in one.class_names else other
        raise AedError(f"{both} know other classes: {name!r} is in {owner.folder} alone; train them on the same ones")
    for left, right in ((one, other), (other, one)):
        if lacking := sorted(set(left.labels) - set(right.labels)):
            raise AedError(
                f"{both} were tested on other clips: {len(lacking)} of {left.folder}, {lacking[0]} first, are not in "
                f"{right.folder}; test them on the same: data, data.test_fold, seed of a random split"
            )
    if changed := [clip for clip, label in one.labels.items() if other.labels[clip] != label]:
        raise AedError(
            f"{both}: {changed[0]} is {one.labels[changed[0]]!r} in the one and {other.labels[changed[0]]!r} in the "
            "other; test them on the same labels"
        )


def _compare(model: str, names: Sequence[str], sides: Sequence[Tested], draws: int, seed: int) -> Iterator[Compared]:
    first = sides[0]
    for run, side in zip(names[1:], sides[1:], strict=True):
        for scope, name, own, other in _parts(first, side):
            yield Compared(model, run, scope, name, difference(own, other, draws, seed))


def _parts(first: Tested, side: Tested) -> Iterator[tuple[str, str, Right, Right]]:
    """Scope, name, and decisions of a run and of the first about each part of the clips."""
    yield "all", "", side.right, first.right
    for name, other in first.by_class.items():
        yield "class", name, side.by_class[name], other
    if side.folds == first.folds:
        folds = side.by_fold()
        for name, other in first.by_fold().items():
            yield "fold", name, folds[name], other


def _adjusted(rows: Sequence[Compared]) -> list[Compared]:
    found = []
    for scope in ("all", "class", "fold"):
        own = [row for row in rows if row.scope == scope]
        found += [replace(row, p_holm=p) for row, p in zip(own, holm([r.difference.p for r in own]), strict=True)]
    return found


def _write(output: Path, found: Comparison, costs: Sequence[Costs]) -> None:
    with whole_folder(output, DIFFERENCES) as folder:
        write_rows(folder / DIFFERENCES, HEADS[DIFFERENCES], list(found.differences()))
        write_rows(folder / "scores.csv", HEADS["scores.csv"], list(found.scores()))
        columns = list(dict.fromkeys(key for cost in costs for part in cost for key in part))
        parts = [
            [name, *(part.get(key, "") for key in columns)]
            for name, cost in zip(found.names, costs, strict=True)
            for part in cost
        ]
        write_rows(folder / "costs.csv", ("run", *columns), parts)
        write_rows(folder / "clips.csv", (*HEADS["clips.csv"], *found.names), list(found.unlike()))
        places = [[name, str(own.resolve())] for name, own in zip(found.names, found.folders, strict=True)]
        write_rows(folder / RUNS, ("run", "folder"), places)
        plot_differences(folder / "differences.png", found.names[0], _drawn(found.rows))
    log.info("differences.csv, scores.csv, costs.csv, clips.csv, runs.csv, differences.png in %s", output)


def _cells(row: Compared) -> list[str | int]:
    own = row.difference
    shares = [f"{value:.6f}" for value in (own.value, own.low, own.high)]
    return [own.clips, *shares, own.better, own.worse, f"{own.p:.6g}", f"{row.p_holm:.6g}"]


def _drawn(rows: Sequence[Compared]) -> dict[str, dict[str, Difference]]:
    """Run and model -> part of the clips -> difference."""
    found: dict[str, dict[str, Difference]] = {}
    for row in rows:
        part = f"{row.scope} {row.name}" if row.scope == "fold" else row.name or "all clips"
        found.setdefault(f"{row.run}, {row.model}", {})[part] = row.difference
    return found
