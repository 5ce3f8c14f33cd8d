"""Quantisation-aware training: the int8 graph itself is fine-tuned with simulated int8 rounding.

The trained graph is exactly the QDQ graph of static quantisation: per-channel symmetric weights, per-tensor
asymmetric activations with their calibrated ranges, int32 biases, gradients straight through the rounding
(Y. Bengio et al., arXiv:1308.3432; B. Jacob et al., arXiv:1712.05877). The target is the float model's output
(distillation), so that int8 comes nearer to it without using labels again.
"""

import logging
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.export.curves import in_real_values
from aed.export.fidelity import outputs
from aed.export.graph import constants, copy_of, producers, replace_constants
from aed.export.interpreter import GraphNet, round_through
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import Patches, QuantizeConfig, quantize
from aed.scoring.decision import Task

log = logging.getLogger(__name__)

WEIGHT_STEPS = 127
"""Largest int8 of a symmetric weight."""


class FakeQuantNet(GraphNet):
    """A QDQ graph with trainable float weights, rounded as ONNX Runtime's quantiser rounds them.

    Args:
        model: The float graph.
        int8: Its QDQ form.
    """

    def __init__(self, model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
        int8 = in_real_values(int8)
        super().__init__(int8)
        producer, arrays = producers(int8), constants(model)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        self.weight_inputs: dict[str, tuple[str, str, int | None]] = {}
        self.bias_inputs: dict[str, tuple[str, str]] = {}
        for number, node in enumerate(node for node in int8.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")):
            dequantizer = producer.get(node.input[1])
            if dequantizer is None or dequantizer.op_type != "DequantizeLinear":
                continue  # a layer left in float keeps its weights
            name = dequantizer.input[0].removesuffix("_quantized")
            axis = next((item.i for item in dequantizer.attribute if item.name == "axis"), 1)
            per_channel = self.constants[dequantizer.input[1]].numel() > 1
            weight = torch.from_numpy(arrays[name].copy())
            key = f"{number}"
            # in units of its own largest value a weight of any channel learns at one rate
            self.register_buffer(f"unit_{key}", _largest(weight, axis if per_channel else None))
            self.weights[key] = nn.Parameter(weight / self.get_buffer(f"unit_{key}"))
            self.weight_inputs[key] = (name, node.input[1], axis if per_channel else None)
            if len(node.input) > 2 and node.input[2]:
                bias = node.input[2]
                step = producer[node.input[0]].input[1]
                self.biases[key] = nn.Parameter(torch.from_numpy(arrays[bias].copy()))
                self.bias_inputs[key] = (bias, step)

    def forward(self, patches: Tensor) -> Tensor:
        """The graph's output ``(B, num_classes)``, with simulated int8 rounding."""
        rounded: dict[str, Tensor] = {}
        for key, (_, tensor, axis) in self.weight_inputs.items():
            weight = self._weight(key)
            step = _largest(weight, axis) * (2 / (2 * WEIGHT_STEPS))
            rounded[tensor] = round_through(weight / step).clamp(-WEIGHT_STEPS, WEIGHT_STEPS) * step
            if key in self.bias_inputs:
                name, scale = self.bias_inputs[key]
                bias_step = self.constants[scale].reshape(()) * step.flatten()
                rounded[name] = round_through(self.biases[key] / bias_step) * bias_step
        return self.run(patches, rounded)[self.output]

    def _weight(self, key: str) -> Tensor:
        weight: Tensor = self.weights[key] * self.get_buffer(f"unit_{key}")
        return weight

    def trained(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights and biases, by the float graph's names."""
        arrays = {name: self._weight(key).detach().numpy() for key, (name, _, _) in self.weight_inputs.items()}
        return arrays | {name: self.biases[key].detach().numpy() for key, (name, _) in self.bias_inputs.items()}


def _largest(weight: Tensor, axis: int | None) -> Tensor:
    """Largest absolute weight of each channel, or of all, in a shape that broadcasts; tiny instead of 0."""
    size = weight.detach().abs()
    if axis is None:
        return size.max().clamp(min=torch.finfo(torch.float32).tiny)
    return size.amax(dim=[other for other in range(weight.ndim) if other != axis], keepdim=True).clamp(
        min=torch.finfo(torch.float32).tiny
    )


def fine_tune(
    model: onnx.ModelProto,
    int8: onnx.ModelProto,
    batches: Callable[[int], Iterable[Tensor]],
    config: QuantizeConfig,
    patches: Patches,
    task: Task,
) -> tuple[onnx.ModelProto, onnx.ModelProto, FakeQuantNet]:
    """The float graph with fine-tuned weights, its QDQ form with the ranges of ``int8``, and the net trained.

    Args:
        model: The float graph, which is the teacher too; its output is logits.
        int8: Its QDQ form.
        batches: Gives the training patches ``(B, 1, n_mels, patch_frames)`` of an epoch, counted from 0.
        config: Epochs and rate.
        patches: One calibration patch or more, as :func:`aed.export.quantize.quantize` wants.
        task: Meaning of the logits.

    Raises:
        AedError: The training diverged.
    """
    student, teacher = FakeQuantNet(model, int8), GraphNet(model)
    optimizer = torch.optim.Adam(student.parameters(), lr=config.qat_lr)
    for epoch in range(config.qat_epochs):
        total, count = 0.0, 0
        for part in batches(epoch):
            with torch.no_grad():
                wanted = teacher(part)
            loss = _divergence(student(part), wanted, task)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, count = total + float(loss.detach()) * len(part), count + len(part)
        for group in optimizer.param_groups:
            group["lr"] = config.qat_lr * (1 - (epoch + 1) / config.qat_epochs)
        if not np.isfinite(total):
            raise AedError("quantization=qat: the fine-tuning diverged; lower quantization.qat_lr")
        log.info("qat epoch %d of %d: %.3g nats from the float model", epoch + 1, config.qat_epochs, total / count)
    tuned = copy_of(model)
    replace_constants(tuned, dict(student.trained()))
    ranges = activation_ranges(int8)
    return tuned, quantize(tuned, patches, config, ranges=ranges, float_layers=float_layers(int8)), student


def _divergence(logits: Tensor, wanted: Tensor, task: Task) -> Tensor:
    """KL divergence from ``wanted`` to ``logits``, nats."""
    if task == "multi_label":
        target = wanted.sigmoid()
        of = F.binary_cross_entropy_with_logits
        return of(logits, target) - of(wanted, target)
    target = wanted.softmax(dim=1)
    return F.cross_entropy(logits, target) - F.cross_entropy(target.log().clamp(min=-100), target)


@torch.no_grad()
def agreement(student: FakeQuantNet, int8: onnx.ModelProto, patches: Patches) -> float:
    """Share of ``patches`` of which torch's fake int8 and ONNX Runtime's real one name the same class."""
    fake = torch.cat([student(part) for part in torch.split(torch.from_numpy(patches), 64)]).numpy()
    return float(np.mean(fake.argmax(axis=1) == outputs(int8, patches).argmax(axis=1)))
