"""The stages that turn a checkpoint into int8: export, quantize, evaluate; they need no training code."""

import copy
import logging
import math
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hydra.utils import instantiate
from torch import nn

from aed.base.errors import AedError, place
from aed.base.overrides import differing, override
from aed.datamodules.calibration import Calibration
from aed.datamodules.patches import PatchDataset
from aed.datamodules.sources.lists import class_name
from aed.dsp.frontend import FrontendConfig
from aed.export import fidelity, qat
from aed.export.card import ModelCard, not_for_c
from aed.export.evidence import Verdict
from aed.export.footprint import Budget
from aed.export.graph import float_layers, graph_sha256, load_model, read_model_card, save_model, strip_ends
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.export.quantize import QuantizeConfig, check_names, quantization_facts
from aed.export.quantize import quantize as to_int8
from aed.export.search import Candidate, Search
from aed.inference.onnx import OnnxClassifier
from aed.modules.checkpoint import Trained, build_net, net_facts
from aed.modules.outputs import trial_patches
from aed.run import decide
from aed.run.evaluate import compare, evaluate, write_scores
from aed.run.state import FLOAT, INT8, Run
from aed.scoring import pictures, tables
from aed.scoring.levels import HEADLINE
from aed.target.codegen.footprint import on_board, planned_footprint
from aed.target.codegen.lower import sketch

log = logging.getLogger(__name__)

REPORT = "quantization.json"
"""Files of a run."""

COMPARED_PATCHES = 64
"""Real patches on which the exported graph is held against torch."""

REPORTED_PATCHES = 128
"""Real patches over which layers are compared."""

LIBRARIES = ("aed", "torch", "torchaudio", "onnx", "onnxruntime", "numpy", "soxr")
"""Whose versions the card has: they can change a number."""


def check_net(run: Run) -> None:
    """Refuses, before anything is trained, a net that the run's stages or its budget cannot use.

    A net that C code cannot do is refused where a stage needs that C; else a warning tells, for ST's tools may do it.

    Raises:
        AedError: What the net lacks: its form, an operator (node and shapes are named), or a limit that is passed
            (names the layer to blame).
    """
    if run.config.export.softmax and run.data.multi_label:
        raise AedError("export.softmax=true: data.multi_label=true makes classes independent of each other; use false")
    budget = on_board(instantiate(run.config.budget, _convert_="all"))
    stages = list(run.config.stages or ())
    int8: QuantizeConfig = instantiate(run.config.quantization, _convert_="all")
    if "quantize" in stages:
        _check_settings(int8, run)
    _check_frontend(run)
    if "fit" in stages:
        _check_form(run.model.net, run.model.frontend, run.data.num_classes)
    elif budget == Budget():
        return
    try:
        model = to_onnx(run.model.net, run.model.frontend, ExportConfig())
    except AedError as error:
        if "export" in stages or budget != Budget():
            raise
        log.warning("%s; training goes on, for no stage exports it", error)
        return
    if "fit" in stages:
        if "quantize" in stages:
            check_names(model, int8)
        _check_c(model, int8, run)
    budget.check(planned_footprint(model))


def _check_form(net: nn.Module, frontend: FrontendConfig, num_classes: int) -> None:
    """Rebuilds the net as from a checkpoint, and tries it on two patches, in training and in evaluation.

    Whether what it gives are logits, :class:`aed.modules.classifier.ClipClassifier` looks at.

    Raises:
        AedError: It does not keep its arguments, does not take patches, or gives other logits than are needed.
    """
    name, patches = type(net).__name__, trial_patches(2, frontend.n_mels, frontend.patch_frames, frontend.silence)
    facts, trial = net_facts(net), copy.deepcopy(net).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        if _shapes(build_net(facts, facts["class"])) != _shapes(net):
            raise AedError(
                f"{name}: built anew with {facts['arguments']} it has other parameters; keep the arguments as "
                "attributes just as they are given, for checkpoints rebuild the net from them"
            )
        for training in (True, False):
            way = "in training" if training else "in evaluation"
            try:
                logits = trial.train(training)(patches)
            except Exception as error:  # whatever a user's code raises
                raise AedError(
                    f"{name} does not take patches of shape {tuple(patches.shape)} {way}: {type(error).__name__}: "
                    f"{error}{place(error)}"
                ) from error
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            if shape != (2, num_classes):
                raise AedError(
                    f"{name} gives {shape} for two patches {way}; {num_classes} classes need logits (2, {num_classes})"
                )
            if not logits.isfinite().all():
                raise AedError(f"{name} gives NaN or infinity for two patches between silence and loud {way}")


def _shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}


def _check_settings(int8: QuantizeConfig, run: Run) -> None:
    """Refuses settings that can end in float layers where the run needs int8 throughout.

    Raises:
        AedError: Those settings, and what needs it.
    """
    needing = [f"stages: {stage}" for stage in _stages_in_c(run)]
    needing += ["quantization.io=int8"] if int8.io == "int8" else []
    if needing and int8.may_leave_float:
        raise AedError(
            f"{' and '.join(int8.may_leave_float)} can leave layers in float, which are not for C; leave it out, for "
            f"{' and '.join(needing)} needs all layers in int8"
        )


def _check_frontend(run: Run) -> None:
    """Warns before training of a front end that no device can compute."""
    reasons = "; ".join(run.model.frontend.not_streamable)
    if reasons and "fit" in run.config.stages and run.speaks:
        log.warning(
            "frontend: %s; accuracies here will not be those of a device, and aed.deploy target=c will make C of the "
            "net alone",
            reasons,
        )


def _stages_in_c(run: Run) -> list[str]:
    """Stages of the run that need C code of the net."""
    config = run.config
    wanted = (("benchmark", config.benchmark.target, "emulator"), ("deploy", config.deploy.target, "c"))
    return [
        stage
        for stage, targets, target in wanted
        if stage in config.stages and target in [name.strip() for name in targets.split(",")]
    ]


def _check_c(model: onnx.ModelProto, int8: QuantizeConfig, run: Run) -> None:
    """Warns of a graph that C code cannot do; refuses it where a stage needs that C, or int8 ends that it cannot have.

    Raises:
        AedError: Node, operator and shapes.
    """
    try:
        sketch(model)
        return
    except Exception as error:  # others than AedError: a graph that the lowering never met
        reason = str(error) if isinstance(error, AedError) else f"{type(error).__name__}: {error}"
    net = type(run.model.net).__name__
    if needing := _stages_in_c(run):
        raise AedError(
            f"stages: {' and '.join(needing)} would need C code, which cannot do {net}: {reason}; change the net, "
            "leave the stage out, or take ST's tools: benchmark.target=stedgeai, deploy.target=stm32"
        )
    if int8.io == "int8" and "quantize" in run.config.stages:
        frontend = run.model.frontend
        noise = np.random.default_rng(0).standard_normal((1, 1, frontend.n_mels, frontend.patch_frames))
        quantization_facts(to_int8(model, noise.astype(np.float32), int8), int8, ())
    if run.speaks:
        log.warning(
            "the C code cannot do %s: %s; for ONNX Runtime, and perhaps for ST's tools, it is none the worse",
            net,
            reason,
        )


def export(run: Run) -> None:
    """Leaves ``model.onnx``, held against torch on real patches, with its card.

    Raises:
        AedError: The checkpoint does not fit the configuration, or the graph does not give what torch does.
    """
    config: ExportConfig = instantiate(run.config.export, _convert_="all")
    trained = Trained.load(run.need_checkpoint("export"), run.net_class)
    _check_fits(run, "the checkpoint", trained)
    if "test" not in run.config.stages:  # scores in this folder are those of an earlier model
        run.metrics = {key: value for key, value in run.metrics.items() if not key.startswith(_SCORED)}
    if "fit" not in run.config.stages:  # else said before training
        for reason in trained.frontend.not_streamable:
            log.warning("frontend: %s; accuracies here will not be those of a device", reason)
    decision = decide.read(run, trained)
    temperature = decision.temperature
    model = to_onnx(trained.net, trained.frontend, config, temperature)
    card = ModelCard(
        frontend=trained.frontend,
        class_names=trained.class_names,
        outputs="probabilities" if config.softmax else "logits",
        task=trained.task,
        decision=decision,
        data=trained.data,
        metrics=_accuracies(run),
        weights=trained.weights,
        versions={name: version(name) for name in LIBRARIES},
        float_sha256=graph_sha256(model),
    )
    path = run.folder / FLOAT
    patches = _spread(run.data.datasets["train"], COMPARED_PATCHES)
    outputs = OnnxClassifier(model, card, path).outputs(patches)
    difference = difference_to_torch(outputs, trained.net, patches, temperature if config.softmax else None)
    save_model(path, model, card)
    log.info("%s: differs from torch by at most %.2g on %d patches", path, difference, len(patches))


_SCORED = ("val", "test")
_INT8_SCORES = tuple(f"{split}_int8" for split in _SCORED)


def _check_fits(run: Run, what: str, model: Trained | ModelCard) -> None:
    """Refuses a model of another front end, other classes or another split than the run's data.

    Raises:
        AedError: What differs.
    """
    if model.frontend != run.data.frontend:
        needed = differing(asdict(model.frontend), asdict(run.data.frontend), "frontend.")
        raise AedError(f"frontend: {what} was trained with another one; add {' '.join(needed)}")
    if tuple(map(class_name, model.class_names)) != run.data.class_names:
        raise AedError(
            f"data.class_names: {what} has the classes {list(model.class_names)}, the data "
            f"{list(run.data.class_names)}; choose data that has them"
        )
    facts = run.data.facts()
    if model.data.get("name") != facts["name"]:
        return
    theirs, ours = model.data["clips"], facts["clips"]
    for here, there in ((theirs, ours), (ours, theirs)):
        held_out = {clip for split in _SCORED for clip in there.get(split, ())}
        if held_out.intersection(here.get("train", ())):
            known = [key for key in model.data if key not in ("name", "clips", "leaking_sources", "skipped_clips")]
            needed = [
                override("seed" if key == "seed" else f"data.{key}", model.data[key])
                for key in known
                if facts.get(key) != model.data[key]
            ]
            raise AedError(
                f"data: {what} was trained on another split of {facts['name']}; "
                f"{'add ' + ' '.join(needed) if needed else 'its clips were others then'}"
            )


def _spread(data: PatchDataset, number: int) -> Any:
    """Up to ``number`` patches ``(N, 1, n_mels, patch_frames)``, evenly over ``data``."""
    positions = np.linspace(0, len(data) - 1, min(len(data), number)).round().astype(int)
    return data.__getitems__(positions.tolist()).patches.numpy()


def _accuracies(run: Run) -> dict[str, float]:
    """What the card says of val and test: scores that are numbers."""
    return {key: value for key, value in run.metrics.items() if key.startswith(_SCORED) and math.isfinite(value)}


def quantize(run: Run) -> None:
    """Leaves ``model_int8.onnx``, ``quantization.json``, a picture and a table of what int8 costs each layer.

    Raises:
        AedError: There is no exported model, or ONNX Runtime cannot quantise it.
    """
    config: QuantizeConfig = instantiate(run.config.quantization, _convert_="all")
    model, card = _exported(run, FLOAT, "quantize")
    if config.method == "qat" and card.outputs == "probabilities":
        raise AedError("quantization=qat: fine-tunes towards logits; use export.softmax=false")
    # not the scores of an earlier int8 model in this folder
    run.metrics = {key: value for key, value in run.metrics.items() if not key.startswith(_INT8_SCORES)}
    card = replace(card, metrics=_accuracies(run))
    calibration = run.data.calibration(config.n_calibration)
    search = Search(model, calibration.patches, config, lambda graph: _judge(graph, card, calibration))
    best = search.run()
    if config.method == "qat":
        batches = partial(run.data.training_patches, calibration.training)
        tuned, int8, student = qat.fine_tune(model, best.int8, batches, config, calibration.patches, card.task)
        agreement = qat.agreement(student, int8, _spread(calibration.judging, REPORTED_PATCHES))
        detail = f"{config.qat_epochs} epochs; torch and ONNX Runtime agree on {100 * agreement:.2f} % of patches"
        best = search.offer("qat", tuned, int8, detail, best.reference)
    search.conclude()
    facts = quantization_facts(best.int8, config, calibration.clips)
    made = strip_ends(best.int8) if config.io == "int8" else best.int8
    save_model(run.folder / INT8, made, replace(card, quantization=facts))
    run.metrics["quantization/float_layers"] = float(len(facts.float_layers))
    content = _facts(model, card, best, search, calibration, config)
    tables.write_json(run.folder / REPORT, content)
    pictures.plot_layers(run.folder / "plots" / "quantization.png", content["layers"])
    tables.print_layers(content)
    log.info("%s: %s", run.folder / INT8, ", ".join(step.name for step in search.steps if step.kept))
    if facts.note:
        log.warning("%s %s", run.folder / INT8, facts.note)


def _exported(run: Run, file: str, stage: str) -> tuple[onnx.ModelProto, ModelCard]:
    path = run.need_file(stage, file, "export" if file == FLOAT else "quantize")
    model = load_model(path)
    card = read_model_card(model, path)
    _check_fits(run, file, card)
    return model, card


def _judge(graph: onnx.ModelProto, card: ModelCard, calibration: Calibration) -> Verdict:
    """The headline metric of the judging clips, and what was said of each."""
    classifier = OnnxClassifier(graph, card, Path("candidate"))
    scores = evaluate(classifier, calibration.judging, card.class_names).scores
    return Verdict(scores.metrics[HEADLINE[card.task]], scores.clip_posteriors, scores.clip_target)


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
    rows = fidelity.layer_errors(best.reference, best.int8, _spread(calibration.judging, REPORTED_PATCHES), cost)
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


def evaluate_exported(run: Run) -> None:
    """Scores the int8 file beside the float one on val and test; leaves both in the cards and in the report."""
    files = {file: _exported(run, file, "evaluate") for file in (INT8, FLOAT)}
    if files[INT8][1].float_sha256 != files[FLOAT][1].float_sha256:
        raise AedError(f"stages: {INT8} was made of another {FLOAT}; add quantize before evaluate")
    models = [OnnxClassifier(*files[file], run.folder / file) for file in (FLOAT, INT8)]
    comparisons: dict[str, Any] = {}
    for split in _SCORED:
        if split not in run.data.datasets:
            continue
        data, names = run.data.datasets[split], run.data.clip_names(split)
        scored, int8 = (evaluate(model, data, run.data.class_names) for model in models)
        run.metrics |= scored.metrics(split) | int8.metrics(f"{split}_int8")
        if split == "test":
            if "test" not in run.config.stages:
                run.metrics |= decide.reject(run, split, lambda: models[0], scored.scores)
            run.metrics |= decide.reject(run, f"{split}_int8", lambda: models[1], int8.scores)
        comparisons[split] = compare(files[FLOAT][1], scored, int8, names)
        for key in ("patch_agreement", "clip_agreement"):
            run.metrics[f"{split}_int8/{key}"] = comparisons[split][key]
        run.metrics[f"{split}_int8/sqnr_db"] = comparisons[split]["sqnr_db"]["median"]
        write_scores(run.folder, f"{split}_int8", int8.scores, names, run.data.class_names)
    for file, (model, card) in files.items():
        save_model(run.folder / file, model, replace(card, metrics=_accuracies(run)))
    content = tables.read_json(run.folder / REPORT)
    tables.write_json(run.folder / REPORT, content | {"comparison": comparisons})
    tables.print_comparison(comparisons, run.data.note(files[FLOAT][1].weights))
