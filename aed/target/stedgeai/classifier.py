"""A model as ST's code runs it, on a board or on this machine, as a classifier like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.inference.classifier import Classifier
from aed.target.boards import Board
from aed.target.stedgeai.backend import StEdgeAi

Array = npt.NDArray[np.float32]


class StClassifier(Classifier):
    """Outputs of ST's code; each call runs the tool once.

    Args:
        classifier: The same model in ONNX Runtime; int8.
        tool: ST's, with the port of a board or without.
        board: With a series.
        folder: For the tool's files.

    Raises:
        AedError: The model's decisions need its embedding, or there is no tool.
    """

    def __init__(self, classifier: Classifier, tool: StEdgeAi, board: Board, folder: Path) -> None:
        card = classifier.card
        if card.decision.by_nearness:
            raise AedError(
                f"on=board: what {classifier.path.name} decides depends on its embedding, which ST's code does not "
                "return; use on=c or on=emulator"
            )
        _ = tool.tool  # refused here where there is none
        self.path, self.kind = classifier.path, classifier.kind
        self.card = replace(card, decision=replace(card.decision, nearness=None))
        self.tool, self.board, self.folder = tool, board, folder

    def outputs(self, patches: Array) -> Array:
        """As of every classifier; none for no patches."""
        if not len(patches):
            return np.empty((0, len(self.card.class_names)), np.float32)
        return self.tool.compare(self.path, self.board, self.folder, patches).outputs
