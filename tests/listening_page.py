"""A model that hears a bell, and a server that runs: what tests of the page share."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from listeners import FRONTEND
from torch import nn

from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.scoring.rule import EventRule

pytest.importorskip("ziglang", reason="pip install -e '.[dev]'")
NAMES = ("bell", "quiet", "neither")
Server = TypeVar("Server", bound=ThreadingHTTPServer)


def level_int8(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    """An int8 net that hears level alone: the first class is what is loud."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, len(names)))
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([[4.0], [-4.0], *([[0.0]] * (len(names) - 2))]))
        net[2].bias.copy_(torch.tensor([16.0, -16.0, *([0.0] * (len(names) - 2))]))
    shape = (32, 1, FRONTEND.n_mels, FRONTEND.patch_frames)
    patches = np.random.default_rng(0).standard_normal(shape) + np.linspace(-9, 2, 32)[:, None, None, None]
    made = quantize(to_onnx(net.eval(), FRONTEND, ExportConfig()), patches.astype(np.float32), QuantizeConfig())
    card = ModelCard(
        frontend=FRONTEND,
        class_names=names,
        rule=EventRule(on=(0.6, *([None] * (len(names) - 1))), off=(0.3,) * len(names)),
        quantization=quantization_facts(made, QuantizeConfig(), ()),
    )
    save_model(path, made, card)
    return path


def serving(server: Server) -> Iterator[Server]:
    """The server, while it serves in a thread."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with server:
        yield server
        server.shutdown()
    thread.join()
