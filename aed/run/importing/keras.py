"""A model that ST's zoo trained with Keras as a checkpoint and an ONNX file with a model card."""

import logging
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from aed.base.errors import AedError
from aed.base.overrides import override
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.export.card import ModelCard
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.inference.onnx import OnnxClassifier
from aed.modules.checkpoint import write_checkpoint
from aed.modules.rebuild import model_facts, net_facts
from aed.modules.weights.keras import KerasModel
from aed.modules.weights.keras_nets import Converted, convert
from aed.run.importing.names import Given, check_number
from aed.run.importing.written import Ready, origin, unknown_data

log = logging.getLogger(__name__)


def from_keras(file: Path, given: Given, has_graph: bool) -> Ready:
    """A Keras model, ready to be written.

    Args:
        file: ``.keras`` or ``.h5``; with ST's augmentation around it or without.
        given: Its class names; its front end, by default that of ST's zoo for the architecture.
        has_graph: Whether the graph is wanted.

    Raises:
        AedError: The file is no such model, or the classes or the front end do not fit it.
    """
    model = KerasModel.read(file)
    converted = convert(model)
    check_number(file, given.names, len(converted.net.get_submodule("head.1").get_parameter("bias")))
    used = given.frontend or _usual_frontend(converted.preset, model, file)
    if (used.n_mels, used.patch_frames) != model.shape[:2]:
        raise AedError(
            f"{file}: takes patches of {model.shape[0]} mel bands and {model.shape[1]} frames, the front end "
            f"computes {used.n_mels} and {used.patch_frames}"
        )
    card = ModelCard(
        frontend=used,
        class_names=given.names,
        task=converted.task,
        data=unknown_data(file),
        weights=origin(file, f"trained with Keras {model.keras}, imported"),
    )
    graph = _graph(converted, card, file) if has_graph else None
    net = net_facts(converted.net)
    log.info("%s: %s %s, %s", file, net["class"].rpartition(".")[2], net["arguments"], converted.task)
    log.info(
        "logits differ from those of the file's own layers by at most %.2g on random patches", converted.difference
    )
    return Ready(
        card=card,
        graph=graph,
        write_checkpoint=partial(_write_checkpoint, converted=converted, card=card),
        to_int8=partial(_to_int8, converted.preset),
    )


_EXPERIMENTS = {"yamnet_64x96": "esc10_yamnet", "miniresnet_64x50": "esc10_miniresnet"}
"""Preset -> experiment with the settings of a run; net, front end and classes come from the checkpoint."""


def _to_int8(preset: str, checkpoint: Path) -> str:
    """The command that converts it to int8."""
    data = "data=folder data.clips.root=sounds"
    stages, path = override("stages", ["export", "quantize", "evaluate"]), override("ckpt_path", str(checkpoint))
    return f"aed train experiment={_EXPERIMENTS[preset]} {data} {stages} {path}"


def _usual_frontend(preset: str, model: KerasModel, file: Path) -> FrontendConfig:
    """The preset, exactly as ST's zoo computes it."""
    usual = replace(PRESETS[preset], trim="compatible", sample_bits=None)
    if (usual.n_mels, usual.patch_frames) != model.shape[:2]:
        raise AedError(
            f"{file}: takes patches of {model.shape[0]} mel bands and {model.shape[1]} frames, not those of "
            f"{preset}; give st_config=user_config.yaml or frontend=... with its parameters"
        )
    return usual


def _graph(converted: Converted, card: ModelCard, file: Path) -> onnx.ModelProto:
    """The net as a graph, compared with torch on random patches."""
    graph = to_onnx(converted.net, card.frontend, ExportConfig())
    shape = (8, 1, card.frontend.n_mels, card.frontend.patch_frames)
    patches = np.random.default_rng(0).uniform(card.frontend.silence, 3, shape).astype(np.float32)
    difference_to_torch(OnnxClassifier(graph, card, file).outputs(patches), converted.net, patches)
    return graph


def _write_checkpoint(path: Path, converted: Converted, card: ModelCard) -> None:
    """A checkpoint as Lightning saves it before the first step: every stage reads it, training continues from it."""
    state = converted.net.state_dict()
    saved: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {f"net.{name}": value.contiguous() for name, value in state.items()},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "aed": {
            **model_facts(
                converted.net, card.frontend, card.class_names, card.task, card.decision, card.weights, card.data
            ),
            "plateau": None,
        },
    }
    write_checkpoint(path, saved)
