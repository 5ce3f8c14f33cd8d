"""Costs of a net on a board: one form of report for every backend, every figure with its source."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Source = Literal["measured", "emulated", "estimated", "vendor"]
"""``measured``: on the board; ``emulated``: by QEMU; ``estimated``: by arithmetic; ``vendor``: by ST's tools."""

FIGURES = (
    "flash_bytes",
    "ram_bytes",
    "stack_bytes",
    "worst_stack_bytes",
    "weights_bytes",
    "activations_bytes",
    "library_flash_bytes",
    "library_ram_bytes",
    "macc",
    "instructions",
    "cycles",
    "inference_ms",
    "accuracy",
    "cos",
    "rmse",
)
"""Keys of the figures. ``flash_bytes`` and ``ram_bytes`` are totals: code and weights, activations and state, without
the stack, of which the worst is what no call goes beyond; an unknown figure is null, never 0."""


@dataclass(frozen=True)
class Figure:
    """A number and its source."""

    value: float
    source: Source


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of a part of a program.

    Args:
        figures: By key of :data:`FIGURES`; an unknown one is left out.
        layers: A row a layer: ``name``, ``kind`` and figures.
        functions: A row a C function: ``name``, ``share`` of the instructions.
    """

    figures: Mapping[str, Figure]
    layers: tuple[Mapping[str, Any], ...] = ()
    functions: tuple[Mapping[str, Any], ...] = ()

    def content(self) -> dict[str, Any]:
        """For JSON."""
        known = {key: dataclasses.asdict(value) for key, value in self.figures.items()}
        rows = {"layers": list(self.layers), "functions": list(self.functions)}
        return {key: known.get(key) for key in FIGURES} | {key: value for key, value in rows.items() if value}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Costs of a model on a board, by a backend.

    Args:
        target: The backend.
        action: What was done: ``analyze``, ``benchmark``, ``generate`` or ``validate``.
        board: Name.
        core: ``cortex-m33``.
        net: The net, one patch.
        frontend: The log-mel front end, one patch; None: not part of it.
        tools: Name -> version of the tools behind the figures.
        limits: Limits of the figures, in sentences.
        details: Further facts of this backend; JSON.
    """

    target: str
    action: str
    board: str
    core: str
    net: Cost
    frontend: Cost | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    limits: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """For ``report.json``: the net's figures stand at the top."""
        head = {"target": self.target, "action": self.action, "board": self.board, "core": self.core}
        tail = {"frontend": self.frontend.content() if self.frontend else None, "tools": dict(self.tools)}
        return head | self.net.content() | tail | {"limits": self.limits, "details": dict(self.details)}
