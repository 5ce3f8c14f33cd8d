"""The library of a small net, for tests of what is made of it."""

from pathlib import Path

import nets

from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.run.deploy import DeployConfig, deliver
from aed.scoring.rule import EventRule
from aed.target.firmware.settings import CSettings

NAMES = ("dog", 'quo"te\\', "<Türe> ??/ & ]]>", "a=b\nversion=9.9.9\r\x07")
"""Classes whose names mean something in C, XML, JSON and properties."""


def save_small(path: Path, name: str = "awkward", classes: int = 4) -> Path:
    """Writes an int8 model of one of the nets in ``nets`` with a smoothed event rule."""
    graph = to_onnx(nets.make(name), nets.FRONTEND, ExportConfig())
    made = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    facts = quantization_facts(made, QuantizeConfig(), ())
    rule = EventRule(on=(0.3,), smoothing="exponential", weight=0.25)
    card = ModelCard(frontend=nets.FRONTEND, class_names=NAMES[:classes], rule=rule, quantization=facts)
    save_model(path, made, card)
    return path


def small_library(folder: Path, model: Path, **settings: object) -> Path:
    """Writes its library."""
    deliver(model, folder, DeployConfig(c=CSettings(**settings)))  # type: ignore[arg-type]
    return folder
