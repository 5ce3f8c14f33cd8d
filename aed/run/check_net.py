"""Trial of a net before it is trained: whether every later stage of the run can use it."""

import copy
import json
import logging
from dataclasses import asdict
from functools import partial

import numpy as np
import onnx
import torch
from hydra.utils import instantiate
from torch import nn

from aed.base.errors import AedError, source_line
from aed.dsp.frontend import FrontendConfig
from aed.export.footprint import Budget
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, check_names, quantization_facts, quantize
from aed.modules.outputs import trial_patches
from aed.modules.rebuild import build_net, net_facts
from aed.run.state import Run
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.footprint import on_board, planned_footprint
from aed.target.codegen.lower import sketch
from aed.target.codegen.settings import PlanSettings

log = logging.getLogger(__name__)


def check_net(run: Run) -> None:
    """Refuses, before anything is trained, a net that the run's stages or its budget cannot use.

    A net that cannot be written in C is refused where a stage needs that C; elsewhere a warning says so, as ST's tools
    may still take it.

    Raises:
        AedError: The net's form, an operator (node and shapes are named), or a limit of the budget that it passes (the
            largest layer is named).
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
        model = _exported(run.model.net, run.model.frontend)
    except AedError as error:
        if "export" in stages or budget != Budget():
            raise
        log.warning("%s; training goes on, for no stage exports it", error)
        return
    if "fit" in stages:
        if "quantize" in stages:
            check_names(model, int8)
        _check_c(model, int8, run)
    if budget != Budget():
        budget.check(planned_footprint(model, _planning(run), run.model.frontend.patch_hop))


_tried: dict[str, onnx.ModelProto] = {}
"""The last net that was exported for a trial: the jobs of a sweep have the same one, whatever its weights."""


def _exported(net: nn.Module, frontend: FrontendConfig) -> onnx.ModelProto:
    """The graph of a net, its weights aside.

    Raises:
        AedError: It cannot be exported.
    """
    facts = json.dumps([net_facts(net), asdict(frontend)], sort_keys=True, default=str)
    if facts not in _tried:
        model = to_onnx(net, frontend, ExportConfig())
        _tried.clear()
        _tried[facts] = model
    return _tried[facts]


def _planning(run: Run) -> PlanSettings:
    """How the run's library of C will run the net."""
    return PlanSettings(plan=run.config.deploy.c.plan, hop=run.config.deploy.c.hop)


def _check_form(net: nn.Module, frontend: FrontendConfig, num_classes: int) -> None:
    """Rebuilds the net as from a checkpoint, and tries it on two patches, in training and in evaluation mode.

    That its outputs are logits is checked by :class:`aed.modules.classifier.ClipClassifier`.

    Raises:
        AedError: It has not its arguments as attributes, does not take patches, or its output has a wrong shape or
            values that are not finite.
    """
    name, patches = type(net).__name__, trial_patches(2, frontend.n_mels, frontend.patch_frames, frontend.silence)
    facts, trial = net_facts(net), copy.deepcopy(net).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        if _shapes(build_net(facts, facts["class"])) != _shapes(net):
            raise AedError(
                f"{name}: rebuilding it with {facts['arguments']} gives different parameters; keep the arguments as "
                "attributes just as they are passed, for checkpoints rebuild the net from them"
            )
        for training in (True, False):
            way = "in training" if training else "in evaluation"
            try:
                logits = trial.train(training)(patches)
            except AedError:
                raise
            except Exception as error:  # whatever a user's code raises
                raise AedError(
                    f"{name} does not take patches of shape {tuple(patches.shape)} {way}: {type(error).__name__}: "
                    f"{error}{source_line(error)}"
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
        AedError: Names those settings, and what needs int8.
    """
    needing = [f"stages: {stage}" for stage in _stages_in_c(run)]
    needing += [f"quantization.io={int8.io}"] if int8.io != "float" else []
    if needing and int8.may_leave_float:
        raise AedError(
            f"{' and '.join(int8.may_leave_float)} can leave layers in float, which C code cannot run; leave it out, "
            f"for {' and '.join(needing)} needs all layers in int8"
        )


def _check_frontend(run: Run) -> None:
    """Warns before training of a front end that no device can compute."""
    reasons = "; ".join(run.model.frontend.not_streamable)
    if reasons and "fit" in run.config.stages and run.is_main_process:
        log.warning(
            "frontend: %s; accuracies here will not be those of a device, and aed deploy target=c will write C for the "
            "net only",
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
    """Warns of a graph that cannot be written in C; refuses it where a stage needs that C, or int8 ends it cannot have.

    Raises:
        AedError: Names node, operator and shapes.
    """
    try:
        if "deploy" in _stages_in_c(run):
            choose_plan(partial(sketch, model), _planning(run), run.model.frontend.patch_hop, "deploy.c.")
        else:
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
    if int8.io != "float" and "quantize" in run.config.stages:
        frontend = run.model.frontend
        noise = np.random.default_rng(0).standard_normal((1, 1, frontend.n_mels, frontend.patch_frames))
        quantization_facts(quantize(model, noise.astype(np.float32), int8), int8, ())
    if run.is_main_process:
        log.warning(
            "the C code cannot do %s: %s; ONNX Runtime, and perhaps ST's tools, can still run it",
            net,
            reason,
        )
