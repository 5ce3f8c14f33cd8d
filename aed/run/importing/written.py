"""What is written of an imported model: its card, and files that replace none of others."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.export.card import ModelCard, library_versions, read_card
from aed.export.graph import graph_sha256, load_model, save_model


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A model that was read and checked, of which nothing is written yet.

    Args:
        card: Of its file.
        graph: In ONNX; None: it was not asked for.
        write_checkpoint: Writes it as a checkpoint; None: no net of ours computes the same.
        to_int8: Of the path of the checkpoint: the command that makes int8 of it; None: there is none.
    """

    card: ModelCard
    graph: onnx.ModelProto | None
    write_checkpoint: Callable[[Path], None] | None = None
    to_int8: Callable[[Path], str] | None = None


def origin(file: Path, source: str) -> dict[str, str]:
    """Entry of the card about the file that a model was imported from."""
    return {"file": file.name, "sha256": sha256_of(file), "source": source}


def unknown_data(file: Path) -> dict[str, Any]:
    """Entry of the card about data that is not known; of a name of its own, so that no data set is taken for it."""
    return {"name": f"unknown, {file.name} was imported", "clips": {}}


def check_ours(path: Path) -> None:
    """Refuses to replace a file that this project did not write: ST's zoo has .onnx beside its .h5.

    Raises:
        AedError: It is there, and of others.
    """
    if not path.exists():
        return
    try:
        if path.suffix == ".ckpt":
            from aed.modules.trained import Trained  # here: an .onnx is imported without it

            ours = bool(Trained.load(path))
        else:
            ours = read_card(load_model(path), str(path)) is not None
    except AedError:
        ours = False
    if not ours:
        raise AedError(f"{path}: is there already, and not of this project; give folder=...")


def write_onnx(path: Path, graph: onnx.ModelProto, card: ModelCard) -> None:
    """Writes a graph with its card, which gets the versions of the libraries; a float one's digest, too."""
    digest = card.float_sha256 if card.quantization else graph_sha256(graph)
    save_model(path, graph, replace(card, versions=library_versions(), float_sha256=digest))
