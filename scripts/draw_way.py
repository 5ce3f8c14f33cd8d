"""Draws docs/img/way.svg: a recording on its way to an event.

``python scripts/draw_way.py sounds/beep/beep_03.wav``, a recording of docs/own_sounds.md; wave and patch are drawn from
it, the probabilities are those that its C library gave.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import load_clip

TARGET = Path(__file__).resolve().parents[1] / "docs" / "img" / "way.svg"
PROBABILITIES = {"beep": 0.995, "knock": 0.0, "water": 0.004, "whistle": 0.0}
"""Of the first patch, by ``aed_probabilities``."""

SIDE, GAP, MARGIN, TOP = 132, 24, 16, 44
"""Of the panels, SVG units."""

INK, GREY, LINE, ACCENT = "#1f2328", "#59636e", "#d0d7de", "#0d9488"
HEAT = ("#f0fdfa", "#ccfbf1", "#99f6e4", "#5eead4", "#2dd4bf", "#0d9488", "#115e59", "#042f2e")
SANS = "font-family='system-ui,Segoe UI,Helvetica,Arial,sans-serif'"
MONO = "font-family='ui-monospace,SFMono-Regular,Menlo,Consolas,monospace'"

STAGES = ((48, 32), (24, 64), (24, 128), (12, 128), (12, 256))
"""Frames and channels after YAMNet-256's stages, those of one size drawn once."""


def text(x: float, y: float, words: str, size: int = 12, fill: str = GREY, more: str = "text-anchor='middle'") -> str:
    """One line of text."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{fill}' {more}>{words}</text>"


def wave_shape(wave: np.ndarray) -> str:
    """Least and greatest sample of each of the panel's columns."""
    columns = np.array_split(wave, SIDE)
    peak = np.abs(wave).max()
    ends = [(column.min() / peak, column.max() / peak) for column in columns]
    path = "".join(f"M{x} {66 - 58 * high:.1f}V{66 - 58 * low + 0.5:.1f}" for x, (low, high) in enumerate(ends))
    return f"<path d='{path}' stroke='{ACCENT}' fill='none'/>"


def patch_shape(patch: np.ndarray) -> str:
    """A patch ``(64, 96)``, a cell for four values, in steps of grey; low bands below."""
    cells = patch.reshape(32, 2, 48, 2).mean(axis=(1, 3))[::-1]
    scale = (cells - cells.min()) / np.ptp(cells)
    steps = np.minimum((scale * len(HEAT)).astype(int), len(HEAT) - 1)
    width, height = SIDE / 48, SIDE / 32
    paths = []
    for step, colour in enumerate(HEAT):
        runs = "".join(
            f"M{x * width:g} {y * height:g}h{length * width:g}v{height:g}h{-length * width:g}z"
            for y, row in enumerate(steps == step)
            for x, length in runs_of(row)
        )
        paths.append(f"<path d='{runs}' fill='{colour}' shape-rendering='crispEdges'/>" if runs else "")
    return "".join(paths)


def runs_of(row: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and length of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(row, int), [0]])))
    return [(int(start), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def net_shape() -> str:
    """Blocks as high as the image, as wide as its channels, roughly."""
    sizes = [(16 + 2 * frames, 5 + channels / 12) for frames, channels in STAGES]
    parts, x = [], (SIDE - sum(width + 8 for _, width in sizes) + 8) / 2
    for height, width in sizes:
        parts.append(
            f"<rect x='{x:g}' y='{66 - height / 2:g}' width='{width:g}' height='{height:g}' rx='2' fill='{ACCENT}' "
            f"fill-opacity='0.25' stroke='{ACCENT}'/>"
        )
        x += width + 8
    return "".join(parts)


def int8_shape() -> str:
    """A curve, and the steps that int8 makes of it."""
    x = np.arange(0, SIDE - 15, 2.0)
    y = 66 - 44 * np.sin(x / 19) * np.exp(-x / 160)
    curve = " ".join(f"{a + 8:g},{b:.1f}" for a, b in zip(x, y, strict=True))
    steps = np.round(y / 11) * 11
    stairs = f"M8 {steps[0]:g}" + "".join(f"H{a + 8:g}V{b:g}" for a, b in zip(x, steps, strict=True))
    return (
        f"<polyline points='{curve}' fill='none' stroke='{LINE}' stroke-width='3'/>"
        f"<path d='{stairs}' fill='none' stroke='{ACCENT}' stroke-width='2'/>"
    )


def chip_shape() -> str:
    """Calls of the library, in a chip."""
    pins = "".join(
        f"<path d='M{x} 2v9M{x} 121v9M2 {x}h9M121 {x}h9' stroke='{GREY}' stroke-width='3'/>" for x in range(24, 120, 14)
    )
    calls = ("aed_frontend_feed", "aed_frontend_patch", "aed_net_run", "aed_decide")
    lines = "".join(
        text(66, 42 + 19 * row, call, 9, INK, f"text-anchor='middle' {MONO}") for row, call in enumerate(calls)
    )
    return f"{pins}<rect x='11' y='11' width='110' height='110' rx='6' fill='#fff' stroke='{GREY}'/>{lines}"


def event_shape() -> str:
    """A bar a class."""
    parts = []
    for row, (name, probability) in enumerate(PROBABILITIES.items()):
        y, first = 8 + 31 * row, probability == max(PROBABILITIES.values())
        fill = ACCENT if first else "#9ca3af"
        parts.append(text(8, y + 9, f"{name} {probability:.3f}", 11, INK if first else GREY, ""))
        parts.append(f"<rect x='8' y='{y + 13}' width='116' height='8' rx='2' fill='#eff1f3'/>")
        parts.append(
            f"<rect x='8' y='{y + 13}' width='{max(2, 116 * probability):.1f}' height='8' rx='2' fill='{fill}'/>"
        )
    return "".join(parts)


def draw(path: Path) -> str:
    """The SVG."""
    frontend = FrontendConfig()
    wave = load_clip(path, frontend)[: frontend.patch_samples]
    patch = LogMel(frontend)(torch.from_numpy(wave.copy())).numpy()
    panels = (
        ("recording", "16 bits, 16 kHz", wave_shape(wave)),
        ("log-mel patch", "64 bands, 96 frames", patch_shape(patch)),
        ("net", "23.9 M MACC", net_shape()),
        ("int8", "134 KiB of weights", int8_shape()),
        ("C99", "the bits of ONNX Runtime", chip_shape()),
        ("event", "every 0.72 s", event_shape()),
    )
    width, height = 2 * MARGIN + len(panels) * SIDE + (len(panels) - 1) * GAP, TOP + SIDE + 76
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {SANS}>",
        "<title>From a recording to an event</title>",
        f"<rect x='0.5' y='0.5' width='{width - 1}' height='{height - 1}' rx='8' fill='#fff' stroke='{LINE}'/>",
    ]
    for number, (title, caption, shape) in enumerate(panels):
        x = MARGIN + number * (SIDE + GAP)
        parts.append(text(x + SIDE / 2, 30, title, 15, INK, "text-anchor='middle' font-weight='600'"))
        parts.append(text(x + SIDE / 2, TOP + SIDE + 18, caption, 11))
        parts.append(f"<g transform='translate({x} {TOP})'>{shape}</g>")
        if number + 1 < len(panels):
            y, end = TOP + SIDE / 2, x + SIDE + GAP - 5
            parts.append(
                f"<path d='M{x + SIDE + 5} {y:g}H{end}m-5 -5l5 5l-5 5' stroke='{GREY}' fill='none' stroke-width='1.5'/>"
            )
    for words, first, last in (("aed train", 0, 3), ("aed deploy", 4, 4), ("your firmware", 5, 5)):
        left, right = MARGIN + first * (SIDE + GAP), MARGIN + last * (SIDE + GAP) + SIDE
        y = TOP + SIDE + 34
        parts.append(f"<path d='M{left} {y - 4}v4H{right}v-4' stroke='{LINE}' fill='none' stroke-width='1.5'/>")
        parts.append(text((left + right) / 2, y + 21, words, 13, INK, f"text-anchor='middle' {MONO}"))
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(draw(Path(sys.argv[1])), encoding="utf-8")
