"""The folder of the page: the C of a device as WebAssembly, the page around it, and the facts that it shows."""

import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import onnx

from aed.base.errors import AedError
from aed.base.files import temporary_folder, whole_folder
from aed.export.card import ModelCard
from aed.inference.detection import rule_of
from aed.target.firmware.library import planned_sources
from aed.target.web.compiler import build_wasm
from aed.target.web.settings import WebSettings

MARK = "aed_web.json"
"""Facts for the page; a folder without it was not written by aed and is not replaced."""

LEARN = 4
"""Sounds that a page can learn where nothing is said."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: nothing but the folder's own files, and no script in the page itself."""

SCRIPTS = ("engine", "sounds", "microphone", "spectrum", "lanes", "learned", "events", "store", "sources", "page")
"""Parts of ``aed.js``, in their order."""


def page_files() -> dict[str, bytes]:
    """File name -> content of what is the same for every model."""
    folder = files("aed.target.web") / "page"
    index = Template((folder / "index.html").read_text(encoding="utf-8"))
    parts = [(folder / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return {
        "index.html": index.substitute(csp=html.escape(POLICY)).encode(),
        "aed.js": "\n".join(parts).encode(),
        **{name: (folder / name).read_bytes() for name in ("aed.css", "worklet.js")},
    }


def glue_sources() -> dict[str, str]:
    """File name -> content of the C that the page calls; it needs that of a device, with its self-test."""
    return {"aed_web.c": (files("aed.target.web") / "c" / "aed_web.c").read_text(encoding="utf-8")}


def page_facts(card: ModelCard, title: str, hop: int, learn: int) -> dict[str, Any]:
    """What the page knows of a model, JSON.

    Args:
        card: Of the model.
        title: Its name.
        hop: Columns from one decision to the next.
        learn: Sounds that the page can learn.
    """
    frontend, rule = card.frontend, rule_of(card)
    return {
        "title": title,
        "classes": list(card.class_names),
        "rate": frontend.sample_rate,
        "hop_length": frontend.hop_length,
        "n_mels": frontend.n_mels,
        "hop_s": hop * frontend.hop_length / frontend.sample_rate,
        "patch_s": frontend.patch_samples / frontend.sample_rate,
        "gate_dbfs": rule.gate_dbfs,
        "learn": learn,
    }


def write_page(model: onnx.ModelProto, card: ModelCard, folder: Path, title: str, settings: WebSettings) -> None:
    """Writes the folder; it is whole or, where something fails, as it was before.

    Args:
        model: int8.
        card: Its card, whose event rule is the page's.
        folder: New, or one that this function wrote earlier.
        title: Of the page.
        settings: Of the C.

    Raises:
        AedError: There is no compiler, the model has no C form or its front end no stream, or the folder holds
            something else.
    """
    if not card.frontend.streamable:
        raise AedError(f"target=web: no stream with this front end: {'; '.join(card.frontend.not_streamable)}")
    learn = settings.learn
    if learn is None:
        learn = LEARN if card.decision.nearness is not None else 0
    chosen, sources = planned_sources(model, card, settings.planning, learn, "web.")
    facts = page_facts(card, title, chosen.plan.schedule.hop or card.frontend.patch_hop, learn)
    with whole_folder(folder, MARK) as staging:
        for name, content in page_files().items():
            (staging / name).write_bytes(content)
        with temporary_folder("aed_web") as build:
            (staging / "aed.wasm").write_bytes(build_wasm(build, sources | glue_sources()).read_bytes())
        (staging / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
