"""Trained models that are shipped: ``zoo/<name>`` in place of a model's file."""

from pathlib import Path

from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.base.paths import ZOO_DIR

PREFIX = "zoo/"


def shipped_models() -> dict[str, Path]:
    """Their names and files, by name."""
    return {f"{PREFIX}{path.stem}": path for path in sorted(ZOO_DIR.glob("*.onnx"))}


def model_file(model: str) -> str:
    """The file of ``model``: of a shipped model its own, else ``model`` as it is.

    Args:
        model: A path, the name of a published net, or ``zoo/<name>``, which has no suffix.

    Raises:
        AedError: No shipped model has this name.
    """
    if not model.startswith(PREFIX) or Path(model).suffix:
        return model
    known = shipped_models()
    if model not in known:
        near = nearest(model, known)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise AedError(f"model={model}: no shipped model has this name; there are {', '.join(known) or 'none'}{meant}")
    return str(known[model])


def folder_beside(model: Path) -> Path:
    """Where files that belong to a model go if no place is given: its folder, of a shipped model the working folder."""
    return Path() if model.parent == ZOO_DIR else model.parent
