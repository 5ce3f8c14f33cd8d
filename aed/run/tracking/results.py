"""All results of a run, passed on to its loggers once its stages have ended: metrics, pictures, files, models."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import OmegaConf

from aed.base.files import sha256_of
from aed.run.tracking.mlflow_logger import MLFlowLogger
from aed.run.tracking.names import without_secrets
from aed.scoring.tables import read_metrics

if TYPE_CHECKING:
    import onnx

    from aed.run.state import Run

log = logging.getLogger(__name__)

_KINDS = {".csv", ".html", ".json", ".md", ".png", ".yaml"}
"""Files of a run that people read."""

_PARTS = ("checkpoints", "tensorboard")
"""Folders of a run that hold none of them."""

_SETTINGS = Path(".hydra")

_REQUIREMENTS = ("onnx", "onnxruntime")
"""Of a logged model."""


def pass_on(run: "Run", loggers: Sequence[Logger], status: str) -> None:
    """Tells MLflow and TensorBoard what is in the folder of a run whose stages have ended; never raises.

    Args:
        run: The run.
        loggers: Opened.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
    """
    metrics = read_metrics(run.folder / "metrics.json")
    step = _last_step(run)
    for logger in loggers:
        if isinstance(logger, MLFlowLogger):
            logger.log_metrics(metrics, step)
            logger.attempt("files", _log_files, logger, run.folder)
            logger.attempt("models", _log_models, logger, run.folder)
            logger.end(status)
        elif isinstance(logger, TensorBoardLogger):
            try:
                _show(logger, run, metrics, step)
            except (OSError, ValueError) as error:
                log.warning("TensorBoard: pictures and results cannot be written (%s)", error)


def _last_step(run: "Run") -> int:
    """The last step that Lightning has logged at: what comes now is newer."""
    return max(run.trainer.global_step, run.trainer.fit_loop.epoch_loop._batches_that_stepped)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folder in MLflow, and file: what people read, and the settings of the command."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        is_shown = not any(part.startswith(".") or part in _PARTS for part in inside.parts)
        if path.suffix in _KINDS and path.is_file() and (is_shown or inside.parent == _SETTINGS):
            yield inside.parent.as_posix().lstrip("."), path


def _log_files(logger: MLFlowLogger, folder: Path) -> None:
    for place, path in _files(folder):
        if place == _SETTINGS.name.lstrip("."):  # as typed: anything may stand there
            text = without_secrets(path.read_text(encoding="utf-8"))
            logger.experiment.log_text(logger.run_id, text, f"{place}/{path.name}")
        else:
            logger.experiment.log_artifact(logger.run_id, str(path), place or None)


def _log_models(logger: MLFlowLogger, folder: Path) -> None:
    """Logs each exported model once, with its signature and its card."""
    tags = logger.experiment.get_run(logger.run_id).data.tags
    for path in sorted(folder.glob("*.onnx")):
        tag, digest = f"aed.{path.name}.sha256", sha256_of(path)
        if tags.get(tag) != digest:
            _log_model(logger, path)
            logger.experiment.set_tag(logger.run_id, tag, digest)


def prepare_models() -> None:
    """Imports what logs models, and has MLflow look which packages are installed: 2 s that need not be at the end."""
    import mlflow.onnx  # noqa: F401
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    warn_dependency_requirement_mismatches([*_REQUIREMENTS])


def _log_model(logger: MLFlowLogger, path: Path) -> None:
    import mlflow.onnx
    from mlflow.models import Model

    from aed.export.card import read_card
    from aed.export.graph import load_model

    model = load_model(path)
    card = read_card(model, str(path))
    text = card.to_json() if card else ""
    mlflow.set_tracking_uri(logger._tracking_uri)  # what follows has no client of its own
    mlflow.set_experiment(experiment_id=logger.experiment_id)  # else the run's model lies in another experiment
    Model.log(
        None,
        mlflow.onnx,
        name=path.stem,
        run_id=logger.run_id,
        metadata={"aed_card": text},
        onnx_model=model,
        signature=_signature(model),
        pip_requirements=[*_REQUIREMENTS],  # else MLflow looks for them by loading the model elsewhere
        save_as_external_data=False,
    )
    logger.experiment.log_text(logger.run_id, text, f"{path.stem}.card.json")


def _signature(model: "onnx.ModelProto") -> Any:
    """Types and shapes of a graph's ends; -1 is any number."""
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def ends(values: Any) -> Any:
        specs: list[Any] = []
        for value in values:
            tensor = value.type.tensor_type
            shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
            kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            specs.append(TensorSpec(kind, shape, value.name))
        return Schema(specs)

    constants = {constant.name for constant in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    return ModelSignature(inputs=ends(inputs), outputs=ends(model.graph.output))


def _show(logger: TensorBoardLogger, run: "Run", metrics: dict[str, float], step: int) -> None:
    """Shows hyperparameters beside the results, and the pictures."""
    from PIL import Image

    settings = without_secrets(OmegaConf.to_container(run.config, resolve=True, throw_on_missing=False))
    # names of their own: a curve of the training would get a point of another kind
    logger.log_hyperparams(settings, {f"final/{key}": value for key, value in metrics.items()}, step)
    for path in sorted((run.folder / "plots").glob("*.png")):
        with Image.open(path) as picture:
            logger.experiment.add_image(path.stem, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
    logger.experiment.flush()
