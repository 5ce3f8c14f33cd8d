"""Protocols of a backend: the costs of a model on a board, and the settings that a configuration can hold."""

from pathlib import Path
from typing import Protocol

from aed.target.boards import Board
from aed.target.report import Report


class Backend(Protocol):
    """Measures the costs of an int8 model with a card on a board.

    Every method takes the model's file, the board and a folder for the backend's own files, and raises an AedError
    with advice.
    """

    @property
    def name(self) -> str:
        """As users type it, ``target=<name>``."""

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory and multiply-accumulates; nothing is run."""

    def benchmark(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory and time, or instructions."""


class Settings(Protocol):
    """A frozen dataclass: its fields are keys, ``<backend>.<field>``, and its docstring is their help."""

    def backend(self) -> Backend:
        """The backend with these settings; its module is imported here, so that others need not be."""
