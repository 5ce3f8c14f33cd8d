"""Predictions for recordings: the verb, for any model file, and the stage, for the model of a run."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate

from aed.audio.recordings import check_output
from aed.base.errors import AedError
from aed.base.files import temporary_folder, write_whole
from aed.dsp.frontend import FrontendConfig
from aed.inference.classifier import Classifier
from aed.inference.files import find_files, predict_all
from aed.inference.opening import open_classifier
from aed.inference.prediction import Predictor
from aed.inference.writers import WRITERS
from aed.run.program_choice import ProgramConfig, need_program, st_program
from aed.run.state import FLOAT, INT8, Run

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
"""File of a run."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ProgramConfig):
    """Settings of the stage predict.

    Args:
        files: Recordings, folders (recursive), globs.
        timeline: One row per patch instead of one per recording.
        unknown_threshold: Posterior that a class has to reach, of a model with means that weigh the score, else the
            answer is ``unknown``; 0: no threshold; null: the threshold of the model card.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
    """

    files: tuple[str, ...] = ()
    timeline: bool = False
    unknown_threshold: float | None = None
    strict: bool = False


def check(config: PredictConfig) -> list[str]:
    """Recordings that the settings name.

    Raises:
        AedError: There are none, or there is no such program.
    """
    if not config.files:
        raise AedError("stages: predict needs recordings; give predict.files=[...]")
    need_program(config)
    return find_files(config.files)


@contextmanager
def _program(classifier: Classifier, config: ProgramConfig) -> Iterator[Classifier]:
    """The classifier, or what ST's tool makes of it, by a run of the tool for each recording.

    Raises:
        AedError: The model is not int8, or there is no such board or no tool.
    """
    if config.on == "runtime":
        yield classifier
        return
    with temporary_folder("aed_predict") as folder:
        yield st_program(classifier, config, folder)


def predict(run: Run) -> None:
    """The stage: writes ``predictions.csv`` by the last model in the run's folder: int8, float or checkpoint."""
    config: PredictConfig = instantiate(run.config.predict, _convert_="all")
    names = check(config)
    exported = [run.folder / name for name in (INT8, FLOAT) if (run.folder / name).is_file()]
    model: Path = exported[0] if exported else run.need_checkpoint("predict")
    classifier = open_classifier(model, net_class=run.net_class)
    text = io.StringIO()
    with _program(classifier, config) as program:
        predictor = Predictor(program, config.unknown_threshold)
        bad = predict_all(predictor, names, WRITERS["csv"](text, config.timeline), config.strict)
    write_whole(run.folder / PREDICTIONS, lambda file: file.write(text.getvalue().encode()))
    log.info("%s: predictions of %s for %d recordings", run.folder / PREDICTIONS, model.name, len(names) - bad)


def predict_files(
    model_file: str,
    files: list[str],
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    format: Literal["table", "csv", "json"] = "table",
    timeline: bool = False,
    unknown_threshold: float | None = None,
    mode: Literal["auto", "clip", "stream"] = "auto",
    top: int | None = None,
    output: str | None = None,
    strict: bool = False,
    threads: int = 0,
    net_class: str | None = None,
    config: ProgramConfig = ProgramConfig(),  # noqa: B008 - frozen
) -> None:
    """Prints, or writes, a model's predictions for recordings.

    Args:
        model_file: ``.ckpt`` or ``.onnx``; ``yamnet_audioset``: Google's YAMNet, which knows 521 classes of AudioSet;
            ``mn04_audioset``: EfficientAT's mn04, 527 classes, of 5 s of sound every 2.5 s;
            ``zoo/esc10_200k``: a shipped model, ``aed models`` lists them.
        files: Recordings, folders (recursive), globs; ``-``: wav, ogg or au on standard input.
        frontend: Front end of an ``.onnx`` without a model card.
        class_names: Classes of an ``.onnx`` without a model card, in the order of its outputs.
        format: Form of the output.
        timeline: One row per patch instead of one per recording.
        unknown_threshold: Posterior that a class has to reach, of a model with means that weigh the score, else the
            answer is ``unknown``; 0: no threshold; null: the threshold of the model card.
        mode: ``clip``: the start of a recording, up to ``max_length_s``, with its silence trimmed, as in training and
            evaluation. ``stream``: all of it, untrimmed. ``auto``: ``clip`` for recordings up to ``max_length_s``,
            else ``stream``.
        top: Most classes to name; null: 1, of a multi-label model 3 or, by the card's thresholds, all.
        output: File to write instead of printing.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: Class of your own net, for its ``.ckpt``: ``my_pkg.MyNet``.
        config: Which program runs the model.

    Raises:
        AedError: The model or, with ``strict``, a recording cannot be used; or none can.
    """
    if format not in WRITERS:
        raise AedError(f"format: need one of {sorted(WRITERS)}, got {format!r}")
    names = find_files(files)
    if output is not None:
        check_output("output", Path(output), [*names, model_file])
    own_names = tuple(class_names) if class_names else None
    classifier = open_classifier(Path(model_file), frontend, own_names, threads, net_class)
    text = io.StringIO()
    with _program(classifier, config) as program:
        predictor = Predictor(program, unknown_threshold, mode, top)
        predict_all(predictor, names, WRITERS[format](sys.stdout if output is None else text, timeline), strict)
    if output is not None:
        write_whole(Path(output), lambda file: file.write(text.getvalue().encode()))
