"""Settings of ST's command-line tool."""

from dataclasses import dataclass
from pathlib import Path

from aed.target.protocol import Backend
from aed.target.stedgeai.options import Choices


@dataclass(frozen=True, kw_only=True)
class StEdgeAiSettings(Choices):
    """ST's command-line tool.

    Args:
        tool: ``stedgeai`` or its folder; null: searched for on the PATH and in the usual folders.
        serial: Port of a board that runs ST's validation program, ``serial``, ``serial:COM3:921600``: time is
            measured there; null: memory only.
        timeout_s: Seconds after which the tool is stopped.
        optimization: What the tool minimises.
        c_name: Prefix of the generated functions and files; on a board the one its validation program has.
        c_api: ``legacy``: the C API before Core 3.0; null: the version's own.
        neural_art: ``profile`` or ``profile@file.json`` for the Neural-ART accelerator; null: the tool's default.
        hsp: Layers run on the board's HSP where it can run them; false: all on the core.
        memory_pool: JSON file with the board's memories; null: the tool's default.
        extra: Further options of the tool, word by word: ``[--compression,high]``.
    """

    tool: str | None = None
    serial: str | None = None
    timeout_s: float = 1800.0

    def backend(self) -> Backend:
        """ST's tool."""
        from aed.target.stedgeai.backend import StEdgeAi

        return StEdgeAi(Path(self.tool) if self.tool else None, self.serial, self.timeout_s, self)
