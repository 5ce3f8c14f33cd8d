"""The load of the core of a named board by a model that listens."""

from aed.base.errors import AedError
from aed.export.runtime import onnx_runtime_on
from aed.inference.classifier import Classifier
from aed.inference.onnx import OnnxClassifier
from aed.target.boards import Board, load_board
from aed.target.load import Load, estimated_load, no_estimate


def board_with_estimate(name: str, key: str = "board") -> Board:
    """The board of this name.

    Raises:
        AedError: There is none, or no estimate of a load for it.
    """
    board = load_board(name, key)
    if why := no_estimate(board):
        raise AedError(f"{key}={name}: {why}")
    return board


def core_load(classifier: Classifier, name: str, key: str = "board") -> Load:
    """The load of a board with an estimate.

    Args:
        classifier: Of any model.
        name: Of the board.
        key: That names it on the command line.

    Raises:
        AedError: There is no such board, no estimate for it, or none for the model.
    """
    board = board_with_estimate(name, key)
    if classifier.kind != "int8" or not isinstance(classifier, OnnxClassifier):
        raise AedError(
            f"{key}={name}: the load is that of the C library, which needs an int8 .onnx; {classifier.path.name} is "
            f"{classifier.kind}"
        )
    with onnx_runtime_on(classifier.path):
        return estimated_load(classifier.model, classifier.card.frontend, board)
