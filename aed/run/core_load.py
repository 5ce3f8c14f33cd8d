"""The load of the core of a named board by a model that listens."""

from aed.base.errors import AedError
from aed.export.runtime import onnx_runtime_on
from aed.inference.classifier import Classifier
from aed.inference.onnx import OnnxClassifier
from aed.target.boards import load_board
from aed.target.load import Load, estimated_load, no_estimate


def core_load(classifier: Classifier, name: str, key: str = "board", required: bool = True) -> Load | None:
    """The load; None: there is no estimate, and none is required.

    Args:
        classifier: Of any model.
        name: Of the board.
        key: That names it on the command line.
        required: Whether the board was named for its load alone.

    Raises:
        AedError: There is no such board or, where it is required, no estimate.
    """
    board = load_board(name, key)
    if why := no_estimate(board):
        if required:
            raise AedError(f"{key}={name}: {why}")
        return None
    if classifier.kind != "int8" or not isinstance(classifier, OnnxClassifier):
        raise AedError(
            f"{key}={name}: the load is that of the C library, which needs an int8 .onnx; {classifier.path.name} is "
            f"{classifier.kind}"
        )
    with onnx_runtime_on(classifier.path):
        return estimated_load(classifier.model, classifier.card.frontend, board)
