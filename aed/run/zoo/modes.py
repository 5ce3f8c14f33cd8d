"""What a document is for: its operation mode as stages of an experiment, and as commands to type."""

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from aed.base.console import printable
from aed.base.overrides import nearest, override
from aed.run.program_choice import ST_BOARD
from aed.run.stages import MODES
from aed.run.zoo.data import needs_data
from aed.run.zoo.draft import Draft
from aed.run.zoo.frontend import exact_front_end, has_front_end, nearest_preset
from aed.run.zoo.tools import board_of, map_benchmark, map_deployment
from aed.scoring.labels import OTHER

_TRAINING = ("training", "chain_tqe", "chain_tqeb", "chain_tbqeb")
_UNMEASURED = {"benchmarking": "quantization", "chain_qb": "quantization", "chain_eqeb": "chain_eqe"}
_UNMEASURED |= {"chain_tqeb": "chain_tqe", "chain_tbqeb": "chain_tqe"}
"""Mode -> what is left of it without a board."""

_OF_A_FILE = ("evaluation", "prediction", "benchmarking")
"""Modes that take an ``.onnx`` of others; the others need a checkpoint."""

_EXPANDED = re.compile(r"[\w./: -]*(?:\$\{\w+\}[\w./: -]*)+", re.ASCII)
"""Paths with variables of the environment, and nothing else that means something to a shell."""

_TARGETS = {"host": None, "stedgeai_host": ST_BOARD, "stedgeai_n6": "stm32n6570-dk", "stedgeai_h7p": ST_BOARD}
"""Where the zoo evaluates and predicts -> the board of ours, unless the document names another."""


def mode_of(draft: Draft) -> str:
    """The operation mode; 2023 had none: its keys say it.

    Raises:
        AedError: There is none of the name.
    """
    document, key = draft.document, "operation_mode"
    mode = document.text(key)
    if mode is not None:
        if mode not in MODES:
            near = nearest(mode, MODES)
            hint = f"; did you mean {near[0]}?" if near else f"; need one of {', '.join(MODES)}"
            raise draft.fail(key, f"no mode {printable(mode)}{hint}")
        draft.note("mapped", key, f"operation_mode={mode}")
        return mode
    if any(own.startswith("training.") and not own.startswith("training.model.") for own in document.leaves):
        if document.generation != "2023":
            return "training"
        is_int8, is_measured = document.flag("quantization.quantize"), document.raw("benchmarking.board")
        return ("chain_tqeb" if is_measured else "chain_tqe") if is_int8 else "training"
    return "deployment" if "deployment.c_project_path" in document.leaves else "evaluation"


def map_mode(draft: Draft) -> str:
    """Sets the stages, and what they need; returns the mode."""
    document, mode = draft.document, mode_of(draft)
    stages = MODES[mode]
    model = document.file("general.model_path")
    if mode in _TRAINING:
        ways = [key for key in ("training.resume_training_from", "general.model_path") if document.text(key)]
        if len(ways) > 1:
            raise draft.fail(
                ways[0], f"and {document.path(ways[1])} are two models to start from; leave one of them out"
            )
        needs_data(draft)
    draft.values["operation_mode"] = mode
    map_benchmark(draft, "benchmark" in stages)
    if "benchmark" in stages and "benchmark.board" not in draft.values:
        draft.values["operation_mode"] = _UNMEASURED[mode]
        draft.note("none", "operation_mode", f"operation_mode={_UNMEASURED[mode]}, without a board to measure on")
    map_deployment(draft, "deploy" in stages)
    files = document.file("prediction.test_files_path")
    draft.set("prediction.test_files_path", "predict.files", [files] if files else None)
    if mode == "prediction" and not files:
        draft.values["predict.files"] = ["recordings"]
    for section, verb in (("evaluation", "evaluate"), ("prediction", "predict")):
        draft.one_of(f"{section}.target", _TARGETS)
        words = " ".join(_on_board(draft, section))
        draft.note("mapped", f"{section}.target", f"aed {verb} {words or 'on=runtime, the default'}")
        if section == mode or verb in stages:
            own = dict(word.split("=") for word in _on_board(draft, section))
            draft.values |= {f"{verb}.{key}": value for key, value in own.items()}
    if model:
        _model(draft, mode, model)
    return mode


def _model(draft: Draft, mode: str, model: str) -> None:
    key, end = "general.model_path", PurePosixPath(model).suffix.lower()
    if mode in _TRAINING:
        draft.note(
            "none", key, "a training starts from published weights (model.pretrained) or a checkpoint (ckpt_path)"
        )
    elif _is_imported(end, mode):
        draft.note("mapped", key, "aed import_model, then ckpt_path= or model=")
    elif end == ".onnx" and mode in _OF_A_FILE:
        draft.note("mapped", key, "model=, with frontend= and class_names=")
    elif end == ".onnx":
        draft.note("none", key, "what is exported, quantised and deployed is a checkpoint: train the net")
    else:
        draft.note(
            "none",
            key,
            f"a {end or 'file without suffix'} is not read here; take the .keras or .h5, or train it",
        )


def _is_imported(end: str, mode: str) -> bool:
    """Whether ``aed import_model`` makes what a mode needs of a file of this suffix."""
    return end in (".h5", ".keras") or (end == ".tflite" and mode in (*_OF_A_FILE, "deployment"))


def commands(draft: Draft, mode: str, document: str, experiment: str) -> list[str]:
    """The commands to type, in order.

    Args:
        draft: The whole experiment.
        mode: Of the document.
        document: Path of the document.
        experiment: Path of the experiment.
    """
    model = draft.document.file("general.model_path") or ""
    end, stem = PurePosixPath(model).suffix.lower(), PurePosixPath(model).stem
    train = " ".join(["aed train", override("experiment", experiment), *draft.words])
    if mode in _TRAINING:
        return [train]
    if end == ".onnx" and mode in _OF_A_FILE:
        return [_of_model(draft, mode, _setting("model", model), _bare(draft))]
    if _is_imported(end, mode):
        first = f"aed import_model {_word(model)} {override('st_config', document)} folder=imported"
        if end == ".tflite" or mode in ("evaluation", "prediction"):
            return [first, _of_model(draft, mode, _setting("model", f"imported/{stem}.onnx"))]
        return [first, f"{train} {override('ckpt_path', f'imported/{stem}.ckpt')}"]
    trained = f"{train} operation_mode=chain_tqe hydra.run.dir=trained"
    if set(MODES[mode]) <= {"test", "export", "quantize", "evaluate"}:
        return [trained]
    return [trained, _of_model(draft, mode, "model=trained/model_int8.onnx")]


def _word(path: str) -> str:
    """A path as a word of a command line."""
    return f'"{path}"' if _EXPANDED.fullmatch(path) else shlex.quote(path)


def _setting(key: str, value: Any) -> str:
    """A setting as a word of a command line; the shell expands variables of the environment in it."""
    if isinstance(value, str) and _EXPANDED.fullmatch(value):
        return f'"{key}={value}"'
    return override(key, value)


def _bare(draft: Draft) -> list[str]:
    """The zoo's own front end and classes, for its ``.onnx``, which has no model card, as words of a command line."""
    document = draft.document
    if not has_front_end(document):
        return []
    preset, differing = nearest_preset(exact_front_end(document))
    words = [f"frontend={preset}", *(override(f"frontend.{key}", value) for key, value in differing.items())]
    names = document.names("dataset.class_names") or []
    names += [OTHER] if draft.values.get("data.garbage_class") else []
    return words + ([override("class_names", sorted(names))] if names else [])


def _of_model(draft: Draft, mode: str, model: str, bare: Sequence[str] = ()) -> str:
    """The command for a mode on a model file, with words for one without a model card."""
    if mode == "prediction":
        files = _word(draft.values["predict.files"][0])
        return " ".join(["aed predict", model, *bare, files, *_on_board(draft, "prediction")])
    if mode in ("benchmarking", "chain_qb", "chain_eqeb"):
        target, board = draft.values.get("benchmark.target", "emulator"), draft.values.get("benchmark.board")
        return f"aed benchmark {model} board={board or 'mps2-an505'} target={target if board else 'emulator'}"
    if mode in ("deployment", "chain_qd"):
        own = {key.removeprefix("deploy."): value for key, value in draft.values.items() if key.startswith("deploy.")}
        return " ".join(["aed deploy", model, *(_setting(key, value) for key, value in own.items())])
    data = [
        f"data={draft.groups['data']}",
        *(_setting(key, value) for key, value in draft.values.items() if key.startswith("data.clips.")),
    ]
    chosen = ("data.class_names", "data.garbage_class", "data.multi_label")
    data += [override(key, draft.values[key]) for key in chosen if key in draft.values]
    on = _on_board(draft, "evaluation")
    return " ".join(["aed evaluate", model, *bare, *data, "split=all", "split_by=data", *on])


def _on_board(draft: Draft, section: str) -> list[str]:
    """The words that let ST's code run a model: on the board at a port or, for ``stedgeai_host``, on this machine."""
    target = (draft.document.text(f"{section}.target") or "host").lower()
    usual = _TARGETS.get(target)
    if usual is None:
        return []
    named = board_of(draft, "benchmarking.board") if target != "stedgeai_n6" else None
    return ["on=board", f"board={named or usual}", *([] if target == "stedgeai_host" else ["serial=serial"])]
