"""The models in a run's folder, checked against the run's data."""

import math
from dataclasses import asdict

import onnx

from aed.base.errors import AedError
from aed.base.overrides import differing, override
from aed.datamodules.sources.lists import class_name
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card
from aed.modules.trained import Trained
from aed.run.state import FLOAT, SCORED, Run


def read_model(run: Run, stage: str, file: str) -> tuple[onnx.ModelProto, ModelCard]:
    """The graph and the card of an exported model of the run.

    Args:
        run: In whose folder it is.
        stage: Needs it.
        file: :data:`aed.run.state.FLOAT` or :data:`aed.run.state.INT8`.

    Raises:
        AedError: It is not there, or does not fit the run's data.
    """
    path = run.need_file(stage, file, "export" if file == FLOAT else "quantize")
    graph = load_model(path)
    card = read_model_card(graph, path)
    check_fits(run, file, card)
    return graph, card


def check_fits(run: Run, name: str, model: Trained | ModelCard) -> None:
    """Refuses a model of another front end, other classes or another split than the run's data.

    Args:
        run: Gives the data.
        name: Of the model, for messages.
        model: A checkpoint or a card.

    Raises:
        AedError: What differs.
    """
    if model.frontend != run.data.frontend:
        needed = differing(asdict(model.frontend), asdict(run.data.frontend), "frontend.")
        raise AedError(f"frontend: {name} was trained with another one; add {' '.join(needed)}")
    if tuple(map(class_name, model.class_names)) != run.data.class_names:
        raise AedError(
            f"data.class_names: {name} has the classes {list(model.class_names)}, the data "
            f"{list(run.data.class_names)}; choose data that has them"
        )
    facts = run.data.facts()
    if model.data.get("name") != facts["name"]:
        return
    theirs, ours = model.data["clips"], facts["clips"]
    for here, there in ((theirs, ours), (ours, theirs)):
        held_out = {clip for split in SCORED for clip in there.get(split, ())}
        if held_out.intersection(here.get("train", ())):
            known = [key for key in model.data if key not in ("name", "clips", "leaking_sources", "skipped_clips")]
            needed = [
                override("seed" if key == "seed" else f"data.{key}", model.data[key])
                for key in known
                if facts.get(key) != model.data[key]
            ]
            raise AedError(
                f"data: {name} was trained on another split of {facts['name']}; "
                f"{'add ' + ' '.join(needed) if needed else 'the data set has changed since'}"
            )


def card_metrics(run: Run) -> dict[str, float]:
    """The metrics that a card has: scores of val, of test and of candidates for the head, if they are numbers."""
    return {
        key: value for key, value in run.metrics.items() if key.startswith((*SCORED, "head/")) and math.isfinite(value)
    }
