"""Which program of an int8 model runs, and on which board; loads nothing that a prediction does not need."""

from aed.base.errors import AedError
from aed.inference.classifier import Classifier
from aed.inference.onnx import OnnxClassifier
from aed.target.boards import Board, emulated, load_board, need_backend


def choose_board(on: str, name: str) -> Board | None:
    """The board that a program runs on; None: it needs none.

    Raises:
        AedError: There is no such board, or it cannot run that program.
    """
    if on == "emulator":
        return emulated(load_board(name))
    if on == "board":
        board = load_board(name)
        need_backend(board, "stedgeai")
        return board
    return None


def refuse_unused(on: str, serial: str | None, tool: str | None) -> None:
    """Refuses settings of ST's tool where it is not used.

    Raises:
        AedError: Names the first.
    """
    unused = [name for name, value in (("serial", serial), ("tool", tool)) if value is not None]
    if on != "board" and unused:
        raise AedError(f"{unused[0]}: only used with on=board, here on={on}; leave it out, or add on=board")


def int8_graph(classifier: Classifier, on: str) -> OnnxClassifier:
    """The classifier, if C can be generated from it.

    Raises:
        AedError: It is not int8, or has a front end that no device can compute.
    """
    if classifier.kind != "int8" or not isinstance(classifier, OnnxClassifier):
        raise AedError(f"on={on}: need an int8 .onnx, {classifier.path.name} is float; give model_int8.onnx")
    if on != "board" and classifier.card.frontend.include_last_patch:
        raise AedError(f"on={on}: frontend.include_last_patch needs a clip's end, which a device does not know")
    return classifier
