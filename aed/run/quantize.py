"""The quantize stage: the exported model in int8, and a report of the loss of each layer."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.datamodules.calibration import Calibration
from aed.export import fidelity, qat
from aed.export.card import ModelCard, not_for_c
from aed.export.embedding import with_embedding, without_embedding
from aed.export.evidence import JudgedModel
from aed.export.graph import save_model, strip_ends
from aed.export.precision import float_layers
from aed.export.quantize import QuantizeConfig, quantization_facts
from aed.export.search import Candidate, Search
from aed.inference.onnx import OnnxClassifier
from aed.run.run_models import card_metrics, read_model
from aed.run.split_scores import score_classifier, some_patches
from aed.run.state import FLOAT, INT8, SCORED, Run
from aed.scoring import tables
from aed.scoring.levels import HEADLINE
from aed.scoring.pictures.layers import plot_layers
from aed.target.codegen.footprint import planned_footprint

log = logging.getLogger(__name__)

REPORT = "quantization.json"
"""File of a run."""

HEAD_PATCHES = 2048
"""Most patches over which the last layer is solved anew."""

REPORTED_PATCHES = 128
"""Real patches over which layers, and ways to int8, are compared."""


def quantize(run: Run) -> None:
    """Writes ``model_int8.onnx``, ``quantization.json``, a picture and a table of the loss of each layer.

    Raises:
        AedError: There is no exported model, or ONNX Runtime cannot quantise it.
    """
    config: QuantizeConfig = instantiate(run.config.quantization, _convert_="all")
    model, card = read_model(run, "quantize", FLOAT)
    model = without_embedding(model)
    if config.method == "qat" and card.outputs == "probabilities":
        raise AedError("quantization=qat: fine-tunes towards logits; use export.softmax=false")
    if config.method == "qat" and card.decision.nearness is not None:
        raise AedError(
            "quantization=qat: changes the embeddings that the model's means are of; use quantization=ptq, or a model "
            "without decision.means"
        )
    run.drop_metrics(tuple(f"{split}_int8" for split in SCORED))
    card = replace(card, metrics=card_metrics(run))
    calibration = run.data.calibration(config.n_calibration)
    embeds = card.decision.nearness is not None
    search = Search(
        model,
        calibration.patches,
        config,
        lambda graph: _judge(graph, card, calibration),
        embeds,
        partial(some_patches, calibration.training, HEAD_PATCHES),
        some_patches(calibration.judging, REPORTED_PATCHES),
        partial(some_patches, run.data.datasets["train"], HEAD_PATCHES),
    )
    best = search.run()
    if config.method == "qat":
        batches = partial(run.data.training_patches, calibration.training)
        tuned, int8, student = qat.fine_tune(model, best.int8, batches, config, calibration.patches, card.task)
        agreement = qat.agreement(student, int8, some_patches(calibration.judging, REPORTED_PATCHES))
        detail = f"{config.qat_epochs} epochs; torch and ONNX Runtime agree on {100 * agreement:.2f} % of patches"
        best = search.try_requested("qat", tuned, int8, detail, best.reference)
    search.conclude()
    facts = quantization_facts(best.int8, config, calibration.clips)
    graph = with_embedding(best.int8) if embeds else best.int8
    graph = graph if config.io == "float" else strip_ends(graph, output=config.io == "int8")
    save_model(run.folder / INT8, graph, replace(card, quantization=facts))
    run.metrics["quantization/float_layers"] = float(len(facts.float_layers))
    content = _facts(model, card, best, search, calibration, config)
    tables.write_json(run.folder / REPORT, content)
    plot_layers(run.folder / "plots" / "quantization.png", content["layers"], run.subject)
    tables.print_layers(content)
    log.info("%s: %s", run.folder / INT8, ", ".join(step.name for step in search.steps if step.kept))
    if facts.note:
        log.warning("%s %s", run.folder / INT8, facts.note)


def _judge(graph: onnx.ModelProto, card: ModelCard, calibration: Calibration) -> JudgedModel:
    """The headline metric of the judging clips, and the posteriors and the target of each."""
    plain = replace(card, decision=replace(card.decision, nearness=None))  # what is unknown counts for neither
    classifier = OnnxClassifier(graph, plain, Path("candidate"))
    scores = score_classifier(classifier, calibration.judging, card.class_names).scores
    return JudgedModel(scores.metrics[HEADLINE[card.task]], scores.clip_posteriors, scores.clip_target)


def _facts(
    model: onnx.ModelProto,
    card: ModelCard,
    best: Candidate,
    search: Search,
    calibration: Calibration,
    config: QuantizeConfig,
) -> dict[str, Any]:
    """Content of ``quantization.json``."""
    cost, left = planned_footprint(model), float_layers(best.int8)
    rows = fidelity.layer_errors(best.reference, best.int8, some_patches(calibration.judging, REPORTED_PATCHES), cost)
    return {
        "scheme": config.facts(),
        "calibration": {"patches": len(calibration.patches), "clips": list(calibration.clips)},
        "judging": {
            "split": calibration.judging_split,
            "clips": calibration.judging.num_clips,
            "metric": HEADLINE[card.task],
            "float": search.in_float.score,
            "int8": best.score,
            "loss": search.loss.facts(),
            "max_drop": config.max_drop,
            "outcome": search.outcome,
        },
        "steps": [step.facts() for step in search.steps],
        "float_layers": list(left),
        "note": not_for_c(left) if left else "",
        "footprint": {
            "macc": cost.macc,
            "weights_bytes": cost.weights_bytes,
            "activations_bytes": cost.activations_bytes,
            "peak_layer": cost.peak_layer,
            "planned": cost.planned,
        },
        "layers": [row.facts() for row in rows],
    }
