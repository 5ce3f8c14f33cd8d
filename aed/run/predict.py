"""The predict stage: the run's model on recordings of the user's."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.inference.files import find_files, predict_files
from aed.inference.opening import open_classifier
from aed.inference.prediction import Predictor
from aed.inference.writers import WRITERS
from aed.run.state import FLOAT, INT8, Run

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
"""File of a run."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Recordings for the stage predict.

    Args:
        files: Recordings, folders (recursive), globs.
        timeline: A row a patch instead of one a recording.
        unknown_threshold: Posterior that a class has to reach, else the label is ``unknown``; 0: none has to; null:
            the model card's thresholds.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
    """

    files: tuple[str, ...] = ()
    timeline: bool = False
    unknown_threshold: float | None = None
    strict: bool = False


def check(config: PredictConfig) -> list[str]:
    """The recordings that the configuration names.

    Raises:
        AedError: There are none.
    """
    if not config.files:
        raise AedError("stages: predict needs recordings; give predict.files=[...]")
    return find_files(config.files)


def predict(run: Run) -> None:
    """Writes ``predictions.csv``, by the last model of the run: int8, float or checkpoint."""
    config: PredictConfig = instantiate(run.config.predict, _convert_="all")
    names = check(config)
    exported = [run.folder / name for name in (INT8, FLOAT) if (run.folder / name).is_file()]
    model: Path = exported[0] if exported else run.need_checkpoint("predict")
    predictor = Predictor(open_classifier(model, net_class=run.net_class), config.unknown_threshold)
    text = io.StringIO()
    bad = predict_files(predictor, names, WRITERS["csv"](text, config.timeline), config.strict)
    write_whole(run.folder / PREDICTIONS, lambda file: file.write(text.getvalue().encode()))
    log.info("%s: predictions of %s for %d recordings", run.folder / PREDICTIONS, model.name, len(names) - bad)
