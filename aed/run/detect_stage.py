"""The stage detect: scores of a run's models as listeners, on recordings that nothing was trained on."""

import logging
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.inference.detection import Detector, rule_of
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import hear, read_truth
from aed.run.core_load import board_with_estimate, core_load
from aed.run.state import FLOAT, INT8, Run
from aed.run.stream_record import STREAMS, Record
from aed.run.stream_report import never_open
from aed.run.stream_scores import Scored, score_programs

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Settings of the stage detect: annotated recordings, and how their scores are taken.

    Args:
        files: Recordings, folders (recursive), globs.
        reference: What occurs in them, as for the verb.
        ambient: Further recordings, in which nothing occurs: a folder, file or glob.
        collar_s: How far onsets and offsets may lie from the reference's, for event scores, s.
        slack_s: Time after an event in which an alarm still finds it, s.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
        board: A file in ``configs/boards``, on whose core the load of the int8 model is estimated; null: none.
    """

    files: tuple[str, ...] = ()
    reference: str | None = None
    ambient: str | None = None
    collar_s: float = 0.2
    slack_s: float = 2.0
    strict: bool = False
    board: str | None = None


def check(config: DetectConfig) -> tuple[list[str], list[str], str]:
    """The recordings with events and without, and the reference.

    Raises:
        AedError: Something is missing.
    """
    if not config.files or config.reference is None:
        raise AedError("stages: detect needs detect.files=[...] and detect.reference=<what occurs in them>")
    if not Path(config.reference).exists():
        raise AedError(f"detect.reference: {config.reference}: no such file or folder")
    if config.board is not None:
        board_with_estimate(config.board, "detect.board")
    quiet = find_files([config.ambient]) if config.ambient else []
    return find_files(config.files), quiet, config.reference


def detect(run: Run) -> None:
    """The stage: scores the exported models, or the checkpoint; adds metrics, writes scores and pictures."""
    config: DetectConfig = instantiate(run.config.detect, _convert_="all")
    models = {"detect": run.folder / FLOAT, "detect_int8": run.folder / INT8}
    models = {prefix: path for prefix, path in models.items() if path.is_file()}
    models = models or {"detect": run.need_checkpoint("detect")}
    run.drop_metrics(("detect/", "detect_int8/"))
    for prefix, path in models.items():
        scored, record = _scored(path, run.net_class, config)
        metrics = scored.result.metrics | scored.duty.metrics
        run.metrics |= {f"{prefix}/{key}": value for key, value in metrics.items()}
        scored.show(PlainConsole(), path.name)
        scored.write(run.folder / f"{prefix}_scores.json")
        record.write(run.folder / f"{prefix}_{STREAMS}")
        scored.draw(run.folder / "plots" / f"{prefix}_det.png", f"{run.subject}, {path.name}")


def _scored(model: Path, net_class: str, config: DetectConfig) -> tuple[Scored, Record]:
    names, quiet, reference = check(config)
    classifier = open_classifier(model, net_class=net_class)
    detector = Detector(classifier, rule_of(classifier.card))
    truth = read_truth(reference, names, quiet, detector.names, "detect.reference")
    heard = {"runtime": hear(truth.names, detector.decisions, config.strict)}
    if wrong := never_open(detector, heard["runtime"].duty(detector)):
        log.warning("%s: %s", model.name, wrong)
    load = None
    if config.board is not None and classifier.kind == "int8":
        load = core_load(classifier, config.board, "detect.board")
    scored = score_programs(detector, heard, truth, config.collar_s, config.slack_s, load)
    return scored, Record(str(model), "runtime", detector, heard["runtime"], truth, scored, config.slack_s)
