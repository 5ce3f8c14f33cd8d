"""The stage evaluate: int8 beside float on val and test; of the last of them also ST's code, on a board or here."""

from dataclasses import replace
from typing import Any

from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.export.graph import save_model
from aed.inference.onnx import OnnxClassifier
from aed.run.int8_programs import score_on_board
from aed.run.program_choice import TITLES, ProgramConfig, st_program
from aed.run.quantize import REPORT
from aed.run.reject import reject
from aed.run.run_models import card_metrics, read_model
from aed.run.split_scores import Result, agreement, compare, score_classifier, write_scores
from aed.run.state import FLOAT, INT8, SCORED, Run
from aed.scoring import tables


def evaluate(run: Run) -> None:
    """Scores the int8 file beside the float one on val and test; adds both to the cards and to the report."""
    files = {file: read_model(run, "evaluate", file) for file in (INT8, FLOAT)}
    if files[INT8][1].float_sha256 != files[FLOAT][1].float_sha256:
        raise AedError(f"stages: {INT8} was quantised from another {FLOAT}; add quantize before evaluate")
    in_float, int8 = (OnnxClassifier(*files[file], run.folder / file) for file in (FLOAT, INT8))
    config: ProgramConfig = instantiate(run.config.evaluate, _convert_="all")
    splits = [split for split in SCORED if split in run.data.datasets]
    results = {split: _compare(run, split, in_float, int8) for split in splits}
    comparisons = {split: comparison for split, (comparison, _) in results.items()}
    if config.on == "board":
        _on_board(run, splits[-1], int8, config, results[splits[-1]][1])
    for file, (model, card) in files.items():
        save_model(run.folder / file, model, replace(card, metrics=card_metrics(run)))
    content = tables.read_json(run.folder / REPORT)
    tables.write_json(run.folder / REPORT, content | {"comparison": comparisons})
    tables.print_comparison(comparisons, run.data.note(in_float.card.weights))


def _compare(run: Run, split: str, in_float: OnnxClassifier, int8: OnnxClassifier) -> tuple[dict[str, Any], Result]:
    """Adds the scores of both models on a split to the run's metrics; returns their comparison, and those of int8."""
    data, names = run.data.datasets[split], run.data.clip_names(split)
    before, after = (score_classifier(model, data, run.data.class_names) for model in (in_float, int8))
    prefix = f"{split}_int8"
    run.metrics |= before.metrics(split) | after.metrics(prefix)
    tables.write_clips(run.folder / f"{split}_clips.csv", names, before.scores, run.data.class_names)
    if split == "test":
        if "test" not in (*run.done, *run.config.stages):
            run.metrics |= reject(run, split, lambda: in_float, before.scores)
        run.metrics |= reject(run, prefix, lambda: int8, after.scores)
    comparison = compare(in_float.card, before, after, names)
    for key in ("patch_agreement", "clip_agreement"):
        run.metrics[f"{prefix}/{key}"] = comparison[key]
    run.metrics[f"{prefix}/sqnr_db"] = comparison["sqnr_db"]["median"]
    write_scores(run.folder, prefix, after.scores, names, run.data.class_names, run.subject)
    return comparison, after


def _on_board(run: Run, split: str, int8: OnnxClassifier, config: ProgramConfig, on_runtime: Result) -> None:
    """Adds the scores of ST's code on a split to the run's metrics, and prints them beside those of ONNX Runtime."""
    program = st_program(int8, config, run.folder)
    result = score_on_board(program, run.data.datasets[split], run.data.class_names, run.folder)
    prefix, alike = f"{split}_board", agreement(on_runtime, result)
    run.metrics |= result.metrics(prefix) | {f"{prefix}/{name}": share for name, share in alike.items()}
    write_scores(run.folder, prefix, result.scores, run.data.clip_names(split), run.data.class_names, run.subject)
    rows = [(TITLES["runtime"], on_runtime.scores.metrics), (TITLES["board"], result.scores.metrics | alike)]
    tables.print_programs(split, rows, run.data.note(int8.card.weights))
