"""Writes docs/c_api.md, the interface of the C library, from the comments of its headers.

Some headers are generated: those of a small untrained net are taken, without its numbers.
"""

import base64
from pathlib import Path

import numpy as np
import torch

from aed.dsp.frontend import PRESETS
from aed.export.card import ModelCard
from aed.export.embedding import with_embedding
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.modules.nets.dscnn import DSCNN
from aed.scoring.decision import Decision
from aed.scoring.nearness import Nearness
from aed.target.codegen.settings import PlanSettings
from aed.target.firmware.api import api_page
from aed.target.firmware.library import own_headers, planned_sources

PAGE = Path(__file__).resolve().parents[1] / "docs" / "c_api.md"


def page() -> str:
    """The page's text."""
    torch.manual_seed(0)
    frontend, size = PRESETS["yamnet_64x96"], 8
    graph = to_onnx(DSCNN(2, channels=size, n_blocks=1, time_padding="valid").eval(), frontend, ExportConfig())
    draw = np.random.default_rng(0)
    patches = draw.normal(size=(4, 1, frontend.n_mels, frontend.patch_frames)).astype(np.float32)
    int8 = quantize(graph, patches, QuantizeConfig())
    means = base64.b64encode(np.eye(2, size, dtype=np.int8).tobytes()).decode()
    card = ModelCard(
        frontend=frontend,
        class_names=("dog", "rain"),
        decision=Decision(unknown_threshold=0.5, nearness=Nearness(weight=0.5, size=size, means=means)),
        quantization=quantization_facts(int8, QuantizeConfig(), ()),
    )
    _, sources = planned_sources(with_embedding(int8), card, PlanSettings(plan="rows"), 4, "c.")
    return api_page(own_headers(sources), values=False)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
