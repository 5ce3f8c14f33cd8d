"""Import of a model that ST's zoo trained with Keras: a checkpoint and an ONNX file with a model card."""

import csv
import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.base.overrides import override
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.export.card import ModelCard, read_card
from aed.export.graph import graph_sha256, load_model, save_model
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.inference.onnx import OnnxClassifier
from aed.modules.checkpoint import write_checkpoint
from aed.modules.classifier import ClipClassifier
from aed.modules.rebuild import net_facts
from aed.modules.trained import Trained
from aed.modules.weights.keras import KerasModel
from aed.modules.weights.keras_nets import Converted, convert
from aed.run.export import LIBRARIES
from aed.run.zoo.document import Document, read_document
from aed.run.zoo.frontend import exact_front_end
from aed.scoring.labels import OTHER

log = logging.getLogger(__name__)


def import_keras(
    files: list[str],
    class_names: list[str] | str | None = None,
    frontend: FrontendConfig | None = None,
    st_config: str | None = None,
    folder: str | None = None,
    onnx: bool = True,
) -> list[Path]:
    """Writes each model as ``<name>.ckpt`` and ``<name>.onnx`` with a model card; returns the files.

    Args:
        files: Keras ``.h5`` models, as ST's zoo saves them; with its augmentation around them or without.
        class_names: The classes, or a file of them: text, a name a line, or csv with a column ``category``. They are
            sorted as ST's zoo sorts them, which is their order in the model. Default: those of ``st_config``.
        frontend: Front end, exactly. Default: that of ``st_config``, else ST's zoo's for the architecture.
        st_config: The ``user_config.yaml`` that the model was trained with: front end and class names. That of the zoo
            of 2023, of version 2, 3 or 4.
        folder: Where to write; default: beside each file.
        onnx: Whether to write the ``.onnx`` too.

    Raises:
        AedError: A file is no such model, the classes do not fit it, or other files are in the way.
    """
    if st_config is not None and frontend is not None:
        raise AedError("frontend and st_config: give one of them; each defines the front end")
    settings = read_document(Path(st_config)) if st_config is not None else None
    names = _names(class_names, settings)
    return [path for file in files for path in _import(Path(file), names, frontend, settings, folder, onnx)]


def _import(
    file: Path,
    names: tuple[str, ...],
    frontend: FrontendConfig | None,
    settings: Document | None,
    folder: str | None,
    onnx: bool,
) -> list[Path]:
    model = KerasModel.read(file)
    converted = convert(model)
    _check_names(file, names, len(converted.net.get_submodule("head.1").get_parameter("bias")))
    used = frontend or (exact_front_end(settings) if settings else _usual_frontend(converted.preset, model, file))
    if (used.n_mels, used.patch_frames) != model.shape[:2]:
        raise AedError(
            f"{file}: takes patches of {model.shape[0]} mel bands and {model.shape[1]} frames, the front end "
            f"computes {used.n_mels} and {used.patch_frames}"
        )
    card = _card(file, model, converted, used, names)
    parent = Path(folder) if folder is not None else file.parent
    checkpoint, exported = (parent / f"{file.stem}{suffix}" for suffix in (".ckpt", ".onnx"))
    written = [checkpoint, exported] if onnx else [checkpoint]
    for path in written:
        _check_ours(path)
    net = net_facts(converted.net)
    log.info("%s: %s %s, %s", file, net["class"].rpartition(".")[2], net["arguments"], converted.task)
    log.info(
        "logits differ from those of the file's own layers by at most %.2g on random patches", converted.difference
    )
    if onnx:
        _write_onnx(exported, converted, card)
    _write_checkpoint(checkpoint, converted, card)
    log.info("wrote %s; classes in the order %s", " and ".join(map(str, written)), ", ".join(names))
    log.info(
        "int8, calibrated and scored on your sounds, a folder per class: %s", _to_int8(converted.preset, checkpoint)
    )
    return written


_EXPERIMENTS = {"yamnet_64x96": "esc10_yamnet", "miniresnet_64x50": "esc10_miniresnet"}
"""Preset -> experiment with the settings of a run; net, front end and classes come from the checkpoint."""


def _to_int8(preset: str, checkpoint: Path) -> str:
    """The command that converts it to int8."""
    data = "data=folder data.clips.root=sounds"
    stages, path = override("stages", ["export", "quantize", "evaluate"]), override("ckpt_path", str(checkpoint))
    return f"aed train experiment={_EXPERIMENTS[preset]} {data} {stages} {path}"


def _check_names(file: Path, names: tuple[str, ...], num_classes: int) -> None:
    if not names:
        raise AedError(
            f"{file}: a .h5 does not name its {num_classes} classes; give class_names=[dog,rain,...], a file of them, "
            "or st_config=user_config.yaml"
        )
    if len(names) != num_classes:
        garbage = f"; with use_garbage_class there is one more, {OTHER!r}" if num_classes == len(names) + 1 else ""
        raise AedError(f"{file}: {num_classes} outputs, but {len(names)} class names: {', '.join(names)}{garbage}")


def _card(
    file: Path, model: KerasModel, converted: Converted, used: FrontendConfig, names: tuple[str, ...]
) -> ModelCard:
    weights = {
        "file": file.name,
        "sha256": sha256_of(file),
        "source": f"trained with Keras {model.keras}, imported",
    }
    # a name of its own, so that no split of a data set is taken for the one it was trained on
    data: dict[str, Any] = {"name": f"unknown, {file.name} was imported", "clips": {}}
    return ModelCard(frontend=used, class_names=names, task=converted.task, data=data, weights=weights)


def _usual_frontend(preset: str, model: KerasModel, file: Path) -> FrontendConfig:
    """The preset, exactly as ST's zoo computes it."""
    usual = replace(PRESETS[preset], trim="compatible", sample_bits=None)
    if (usual.n_mels, usual.patch_frames) != model.shape[:2]:
        raise AedError(
            f"{file}: takes patches of {model.shape[0]} mel bands and {model.shape[1]} frames, not those of "
            f"{preset}; give st_config=user_config.yaml or frontend=... with its parameters"
        )
    return usual


def _names(source: list[str] | str | None, settings: Document | None) -> tuple[str, ...]:
    """Class names in the model's order; () where there are none."""
    where = "class_names"
    if source is None and settings is not None:
        where, source = f"{settings.name}: dataset.class_names", settings.names("dataset.class_names")
        if source is not None and settings.flag("dataset.use_garbage_class"):
            source = [*source, OTHER]
    names: Any = _read_names(Path(source)) if isinstance(source, str) else source or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise AedError(
            f"{where}: need a list of names, got {names!r}; put values that YAML would not read as text in quotes"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise AedError(f"{where}: {doubled} twice")
    return tuple(sorted(names))


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AedError(f"class_names: {path} cannot be read ({error}); a list is class_names=[dog,rain]") from error
    if path.suffix.lower() != ".csv":
        return [line.strip() for line in lines if line.strip()]
    rows = csv.DictReader(lines)
    if "category" not in (rows.fieldnames or ()):
        raise AedError(f"class_names: {path} needs a column 'category', it has {rows.fieldnames}")
    return sorted({row["category"].strip() for row in rows if row["category"]})


def _check_ours(path: Path) -> None:
    """Refuses to replace a file that this project did not write: ST's zoo has .onnx beside its .h5."""
    if not path.exists():
        return
    try:
        ours = path.suffix == ".ckpt" and bool(Trained.load(path))
        ours = ours or (path.suffix == ".onnx" and read_card(load_model(path), str(path)) is not None)
    except AedError:
        ours = False
    if not ours:
        raise AedError(f"{path}: is there already, and not of this project; give folder=...")


def _write_onnx(path: Path, converted: Converted, card: ModelCard) -> None:
    graph = to_onnx(converted.net, card.frontend, ExportConfig())
    versions = {name: version(name) for name in LIBRARIES}
    card = replace(card, versions=versions, float_sha256=graph_sha256(graph))
    shape = (8, 1, card.frontend.n_mels, card.frontend.patch_frames)
    patches = np.random.default_rng(0).uniform(card.frontend.silence, 3, shape).astype(np.float32)
    difference_to_torch(OnnxClassifier(graph, card, path).outputs(patches), converted.net, patches)
    save_model(path, graph, card)


def _write_checkpoint(path: Path, converted: Converted, card: ModelCard) -> None:
    """A checkpoint as Lightning saves it before the first step: every stage reads it, training continues from it."""
    model = ClipClassifier(converted.net, card.frontend)
    model.class_names, model.data_facts, model.weights, model.task = (
        card.class_names,
        card.data,
        card.weights,
        card.task,
    )
    saved: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {name: value.contiguous() for name, value in model.state_dict().items()},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    model.on_save_checkpoint(saved)
    write_checkpoint(path, saved)
