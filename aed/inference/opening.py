"""The classifier of a model file, by its suffix."""

from pathlib import Path

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.export.card import read_card
from aed.export.graph import load_model, need_own
from aed.inference.classifier import TAGGERS, Classifier
from aed.inference.onnx import OnnxClassifier, Outputs, open_foreign
from aed.scoring.decision import Task


def open_classifier(
    path: Path,
    frontend: FrontendConfig | None = None,
    class_names: tuple[str, ...] | None = None,
    threads: int = 0,
    net_class: str | None = None,
    outputs: Outputs | None = None,
    task: Task | None = None,
) -> Classifier:
    """The model of a file, by its suffix.

    Args:
        path: ``.ckpt``, ``.onnx``, or one of :data:`aed.inference.classifier.TAGGERS`.
        frontend: For a model without a card.
        class_names: For a model without a card.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: For a ``.ckpt`` whose net is of a class of the user's: that class.
        outputs: For a model without a card; see :func:`open_foreign`.
        task: For a model without a card; see there.

    Raises:
        AedError: It cannot be used, or is described otherwise than its card does.
    """
    need_own(path)
    if str(path) not in TAGGERS and path.suffix not in (".ckpt", ".onnx"):
        raise AedError(f"{path}: need a .ckpt or a .onnx file")
    if str(path) in TAGGERS:
        if frontend is not None or class_names is not None:  # before a download
            raise AedError(f"{path}: it has its own front end and class names; leave frontend= and class_names= out")
        from aed.inference.audioset import AudioSetClassifier  # builds the net: rarely needed

        opened: Classifier = AudioSetClassifier(str(path))
    elif path.suffix == ".ckpt":
        from aed.inference.checkpoint import TorchClassifier  # here: an .onnx is opened without torch

        opened = TorchClassifier(path, net_class)
    else:
        model = load_model(path)
        card = read_card(model, str(path))
        if card is None:
            return open_foreign(model, path, frontend, class_names, threads, outputs, task)
        opened = OnnxClassifier(model, card, path, threads)
    if frontend not in (None, opened.card.frontend):
        raise AedError(f"{path}: its card has the model's own front end; leave frontend= out")
    if class_names not in (None, opened.card.class_names):
        raise AedError(f"{path}: its card has the model's own class names: {list(opened.card.class_names)}")
    if outputs not in (None, opened.card.outputs):
        raise AedError(f"{path}: its model card says its outputs are {opened.card.outputs}; leave outputs= out")
    return opened
