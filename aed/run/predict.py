"""The predict stage: what the run's model hears in recordings of the user's."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.inference.opening import open_classifier
from aed.inference.prediction import WRITERS, Predictor, find_files, hear
from aed.run.state import FLOAT, INT8, Run

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
"""File of a run."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What is heard.

    Args:
        files: Recordings, folders (recursive), globs.
        timeline: A row a patch instead of one a recording.
        unknown_threshold: Posterior that a class has to reach, else the answer is ``unknown``; 0: none has to; null:
            what the model card says.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
    """

    files: tuple[str, ...] = ()
    timeline: bool = False
    unknown_threshold: float | None = None
    strict: bool = False


def check(config: PredictConfig) -> list[str]:
    """The recordings that are asked for, by name.

    Raises:
        AedError: There are none.
    """
    if not config.files:
        raise AedError("stages: predict needs recordings; give predict.files=[...]")
    return find_files(config.files)


def predict(run: Run) -> None:
    """The stage: leaves ``predictions.csv``, by the last model in the run's folder: int8, float or checkpoint."""
    config: PredictConfig = instantiate(run.config.predict, _convert_="all")
    names = check(config)
    made = [run.folder / name for name in (INT8, FLOAT) if (run.folder / name).is_file()]
    model: Path = made[0] if made else run.need_checkpoint("predict")
    text = io.StringIO()
    writer = WRITERS["csv"](text, config.timeline)
    bad = hear(
        Predictor(open_classifier(model, net_class=run.net_class), config.unknown_threshold),
        names,
        writer,
        config.strict,
    )
    writer.close()
    if bad == len(names):
        raise AedError("predict.files: no recording could be used")
    write_whole(run.folder / PREDICTIONS, lambda file: file.write(text.getvalue().encode()))
    log.info("%s: %d recordings heard by %s", run.folder / PREDICTIONS, len(names) - bad, model.name)
