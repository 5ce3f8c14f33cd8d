"""Outputs of a net: logits, or probabilities that only look like them.

A softmax over probabilities flattens them: of ten classes none can exceed 0.23, and every threshold rejects everything.
"""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.scoring.decision import Task

Form = Literal["softmax", "sigmoid", "log"]

TRIALS = 24
"""Sets of random weights that are tried. With two of three, a net whose last layer is linear leaves [0, 1]."""

TOLERANCE = 1e-3
"""Of a row's sum; a foreign graph may compute in float16."""


def trial_patches(number: int, n_mels: int, patch_frames: int, silence: float) -> Tensor:
    """Patches ``(number, 1, n_mels, patch_frames)`` between silence and loud, some quiet, the same each time.

    Args:
        number: Of patches.
        n_mels: Of the front end.
        patch_frames: Of the front end.
        silence: Its value of digital silence.
    """
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(number, 1, n_mels, patch_frames, generator=generator)
    loudest = silence + (3.0 - silence) * torch.linspace(0.2, 1.0, number).view(-1, 1, 1, 1)
    return silence + patches * (loudest - silence)


def forms(outputs: Tensor) -> set[Form]:
    """Functions that may have computed these outputs ``(rows, num_classes)``; {}: none of the three."""
    possible: set[Form] = set()
    is_share = bool(((outputs >= -TOLERANCE) & (outputs <= 1 + TOLERANCE)).all())
    if is_share:
        possible.add("sigmoid")
    if is_share and bool((outputs.sum(dim=1) - 1).abs().max() < TOLERANCE):
        possible.add("softmax")
    if bool((outputs <= TOLERANCE).all()):
        possible.add("log")
    return possible


@torch.no_grad()
def form_of(net: nn.Module, patches: Tensor) -> Form | None:
    """The function that a net ends in, whatever it is written as; None: its outputs are not bound to any.

    The outputs of an untrained net may lie in [0, 1] by chance. So its weights are drawn anew, again and again: a bound
    that always holds is that of the last function.

    Args:
        net: In training or in evaluation; left as it is.
        patches: ``(B, 1, n_mels, patch_frames)``.
    """
    trial, generator = copy.deepcopy(net).cpu(), torch.Generator().manual_seed(0)
    possible: set[Form] = {"softmax", "sigmoid", "log"}
    seen = False
    with torch.random.fork_rng(devices=[]):
        for number in range(TRIALS):
            for weight in trial.parameters():
                width = 3.0 if number % 2 else 1.0
                inputs = weight[0].numel() if weight.ndim > 1 else 1
                weight.copy_(torch.randn(weight.shape, generator=generator) * width / inputs**0.5)
            outputs = trial(patches)
            if bool(outputs.isfinite().all()):  # else the draw was too wild for this net
                possible, seen = possible & forms(outputs), True
            if not possible:
                return None
    # a softmax is within [0, 1], too
    return next((form for form in ("softmax", "sigmoid", "log") if form in possible), None) if seen else None


@torch.no_grad()
def check_num_logits(net: nn.Module, patches: Tensor, num_classes: int) -> None:
    """Refuses a net that does not fit the patches or the classes.

    Args:
        net: In inference mode.
        patches: ``(B, 1, n_mels, patch_frames)`` on its device.
        num_classes: Logits of a patch.

    Raises:
        AedError: Names both shapes.
    """
    name, shape = type(net).__name__, tuple(patches.shape)
    try:
        logits = net(patches)
    except RuntimeError as error:
        raise AedError(f"{name} does not take patches of shape {shape}: {error}") from error
    if logits.shape != (len(patches), num_classes):
        raise AedError(
            f"{name} gives logits of shape {tuple(logits.shape)} for {len(patches)} patches; "
            f"{num_classes} classes need ({len(patches)}, {num_classes})"
        )


_REASONS: dict[Form, str] = {
    "softmax": "its outputs lie in [0, 1] and each row sums to 1, as those of a softmax",
    "sigmoid": "its outputs lie in [0, 1], as those of a sigmoid",
    "log": "none of its outputs is over 0, as of logarithms of probabilities",
}


def check_outputs(net: nn.Module, patches: Tensor, task: Task) -> None:
    """Refuse, before training, a net whose outputs are no logits.

    Logarithms of probabilities pass where a clip has one class: the softmax of a log_softmax is the softmax. The
    sigmoid of one never exceeds 0.5.

    Args:
        net: Untrained or not; left as it is.
        patches: Trial patches; at least two, for layers that need a batch in training.
        task: Of the data.

    Raises:
        AedError: Names the function its outputs look like, and what to type.
    """
    for training in (True, False):
        trial = copy.deepcopy(net).train(training)
        form = form_of(trial, patches)
        if form is None or (form == "log" and task == "single_label"):
            continue
        own = "softmax" if task == "single_label" else "sigmoid"
        after = " (export.softmax=true puts one into the .onnx)" if task == "single_label" else ""
        raise AedError(
            f"{type(net).__name__} does not output logits in {'training' if training else 'evaluation'}: "
            f"{_REASONS[form]}. Loss and decisions would apply a {own} to them once more; leave the last one "
            f"out of the net{after}, or, if they are to be treated as logits as they are, type "
            "model.outputs_are_logits=true"
        )
