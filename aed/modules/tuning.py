"""How the layers of a pretrained net are trained further: which of them, at which rates, with which statistics."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from aed.base.errors import AedError
from aed.modules.closed_form import softmax_regression
from aed.modules.embeddings import embedded


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """Rates and statistics of the backbone with ``fine_tune``; the defaults treat it as the head.

    Args:
        frozen_layers: Of the backbone, from its input on, that stay as they are.
        frozen_norm: Statistics of BatchNorm stay those of the pretrained net.
        weight_rate: Rate of a weight tensor of the backbone: this times its RMS, as a factor of the optimizer's rate,
            so that tensors of any scale change by the same share; null: the optimizer's rate.
        vector_rate: Rate of a bias or of a vector of BatchNorm there, as a factor of the optimizer's.
        solved_head: The head, one dense layer, starts where softmax regression on the embeddings puts it.

    Raises:
        AedError: A value is out of its range.
    """

    frozen_layers: int = 0
    frozen_norm: bool = False
    weight_rate: float | None = None
    vector_rate: float = 1.0
    solved_head: bool = False

    def __post_init__(self) -> None:
        if self.frozen_layers < 0:
            raise AedError(f"model.tuning.frozen_layers: need 0 or more, got {self.frozen_layers}")
        for name in ("weight_rate", "vector_rate"):
            if (value := getattr(self, name)) is not None and not 0 < value < 1e6:
                raise AedError(f"model.tuning.{name}: need a factor over 0, got {value}")

    @property
    def rests(self) -> bool:
        """Whether a part of the backbone stays in inference mode."""
        return self.frozen_norm or self.frozen_layers > 0

    @property
    def by_layer(self) -> bool:
        """Whether rates differ from layer to layer."""
        return self.weight_rate is not None or self.vector_rate != 1


def freeze_layers(backbone: nn.Module, number: int) -> None:
    """Has the first layers of a backbone keep their weights.

    Raises:
        AedError: It has no such layers in a row, or none would be left.
    """
    if number and (not isinstance(backbone, nn.Sequential) or number >= len(backbone)):
        has = f"{len(backbone)} layers" if isinstance(backbone, nn.Sequential) else "no layers in a row"
        raise AedError(f"model.tuning.frozen_layers={number}: the backbone has {has}; use fewer")
    for layer in list(backbone.children())[:number]:
        layer.requires_grad_(False)


def resting(backbone: nn.Module, config: TuningConfig) -> Iterator[nn.Module]:
    """The layers of a backbone that stay in inference mode while it is trained."""
    yield from list(backbone.children())[: config.frozen_layers]
    if config.frozen_norm:
        yield from (layer for layer in backbone.modules() if isinstance(layer, _BatchNorm))


def parameter_groups(net: nn.Module, others: list[nn.Parameter], config: TuningConfig) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer, each with the ``scale`` of its rate.

    Args:
        net: With a ``backbone``.
        others: Trained parameters outside of the backbone.
        config: The rates.
    """
    groups: list[dict[str, Any]] = [{"params": others, "scale": 1.0}] if others else []
    vectors: list[Tensor] = []
    for parameter in net.get_submodule("backbone").parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim == 1 or config.weight_rate is None:
            vectors.append(parameter)
            continue
        root_mean_square = float(parameter.detach().square().mean().sqrt())
        groups.append({"params": [parameter], "scale": config.weight_rate * root_mean_square})
    return [*groups, *([{"params": vectors, "scale": config.vector_rate}] if vectors else [])]


def scale_rates(optimizer: Optimizer) -> None:
    """Multiplies the rate of each group by its ``scale``."""
    for group in optimizer.param_groups:
        scale = group.get("scale", 1.0)
        group["lr"] = group["lr"] * (torch.as_tensor(scale) if isinstance(group["lr"], Tensor) else scale)


@torch.no_grad()
def solve_head(net: nn.Module, data: Any, num_classes: int, label_smoothing: float) -> None:
    """Gives the head of a net the weights of softmax regression on the embeddings of training patches.

    Args:
        net: With a ``backbone``, and a ``head`` that ends in a dense layer after nothing but dropout.
        data: Patches of the grid, one class each; see :class:`aed.datamodules.patches.PatchDataset`.
        num_classes: Of the head.
        label_smoothing: Share of the target spread over all classes.

    Raises:
        AedError: The head has more layers, or the net has no such parts.
    """
    head = getattr(net, "head", None)
    layers = [layer for layer in head.modules() if not list(layer.children())] if isinstance(head, nn.Module) else []
    dense = [layer for layer in layers if not isinstance(layer, nn.Dropout)]
    if len(dense) != 1 or not isinstance(dense[0], nn.Linear):
        raise AedError("model.tuning.solved_head=true: needs a head of one dense layer; use model.net.head_hidden=null")
    was_training = net.training
    backbone = net.eval().get_submodule("backbone")
    embeddings = embedded(backbone, data, next(net.parameters()).device).cpu().numpy()
    net.train(was_training)
    solved = softmax_regression(embeddings, data.patch_targets, num_classes, smoothing=label_smoothing)
    dense[0].weight.copy_(torch.from_numpy(solved.weight))
    dense[0].bias.copy_(torch.from_numpy(solved.bias))
