"""A page as one HTML file: its own style and script, charts by uPlot, and the data as text that nothing executes."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal

_PAGE = Path(__file__).with_name("page")
Kind = Literal["report", "data"]
"""Of a page: its last script draws it."""

_SCRIPTS: dict[Kind, tuple[str, ...]] = {
    "report": ("dom", "charts", "clips", "matrix", "tables", "map", "streams", "search", "compared", "report"),
    "data": ("dom", "clips", "data"),
}
"""In the order of what they need."""


def to_html(kind: Kind, title: str, content: Mapping[str, Any]) -> str:
    """The page.

    Args:
        kind: What it shows.
        title: Of the page.
        content: What the scripts in ``page/js`` draw, plain types without NaN.
    """
    own = "\n".join(_read(f"js/{name}.js") for name in _SCRIPTS[kind])
    script = f'{_read("uplot/uPlot.iife.min.js")}\n(() => {{\n"use strict";\n{own}}})();\n'
    style = f"{_read('uplot/uPlot.min.css')}\n{_read('page.css')}"
    data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Template(_read("index.html")).substitute(
        policy=_policy(script, style),
        title=html.escape(title),
        style=style,
        data=data.replace("<", "\\u003c"),  # no tag begins in there
        licence=_read("uplot/LICENSE"),
        script=script,
    )


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Content-Security-Policy that allows this script, this style, and pictures and sound within the page."""
    script_hash, style_hash = (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (script, style)
    )
    return (
        f"default-src 'none'; script-src {script_hash}; style-src {style_hash}; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
