"""The test stage: the trained checkpoint on val and test, by the decision rule chosen on val."""

from functools import partial
from typing import Any

from aed.base.errors import AedError
from aed.run import decide
from aed.run.nearness import tested
from aed.run.reject import reject
from aed.run.resume import restoring
from aed.run.split_scores import write_scores
from aed.run.state import Run
from aed.scoring import tables
from aed.scoring.decision import Decision
from aed.scoring.scores import Scores


def test(run: Run) -> None:
    """Tests the chosen checkpoint; writes the decision rule, metrics, a row per clip, pictures and a table.

    The validation set, where there is one, is scored with the same checkpoint, and the rule is chosen on it.
    """
    run.data.setup()
    splits = ["val", "test"] if "val" in run.data.datasets else ["test"]
    scores, rule = _score(run, splits, "test")
    if run.is_main_process:
        run.metrics |= reject(run, "test", partial(tested, run, rule), scores["test"])


def validate(run: Run) -> None:
    """Scores the validation set alone with the chosen checkpoint; writes the validation part of :func:`test`'s files.

    Raises:
        AedError: There is no validation set.
    """
    run.data.setup()
    if "val" not in run.data.datasets:
        raise AedError("data: there is no validation set; set data.val_fold or data.val_fraction")
    _score(run, ["val"], "validate")


def _score(run: Run, splits: list[str], stage: str) -> tuple[dict[str, Scores], Decision]:
    """Scores of some splits, the last of which is printed, and the decision rule."""
    arguments: dict[str, Any] = {
        "model": run.model, "datamodule": run.data, "ckpt_path": str(run.need_checkpoint(stage)), "verbose": False,
        "weights_only": True,
    }  # fmt: skip
    for split in splits:
        with restoring(arguments["ckpt_path"]):
            (run.trainer.validate if split == "val" else run.trainer.test)(**arguments)
    rule = decide.choose(run)
    scores = {split: decide.rescore(run, split, rule) for split in splits}
    for split in splits:
        run.metrics[f"{split}/loss"] = decide.loss(run, split, rule)
        _write_scores(run, split, scores[split], is_printed=split == splits[-1])
    return scores, rule


def _write_scores(run: Run, split: str, scores: Scores, is_printed: bool) -> None:
    names = run.data.class_names
    run.metrics |= {f"{split}/{key}": value for key, value in scores.metrics.items()}
    if not run.is_main_process:
        return
    if is_printed:
        counts = run.data.class_counts(split).tolist()
        tables.print_scores(split, run.metrics, counts, names, run.data.note(run.model.weights))
    write_scores(run.folder, split, scores, run.data.clip_names(split), names, run.subject)
