"""A torch net as a plain ONNX graph: BatchNorm and padding folded, no Transpose, byte-identical each time."""

import copy
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from aed.base.errors import AedError
from aed.base.files import WriteError
from aed.dsp.frontend import FrontendConfig
from aed.export import forms, rewrite
from aed.export.graph import tidy

OPSET = 17
"""The newest that both ST's tools and ONNX Runtime's quantiser support."""

INPUT, OUTPUT = "patches", "output"

TOLERANCE = 1e-4
"""Most difference to torch, of logits of about 1."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Form of the exported graph.

    Args:
        softmax: End with a softmax: ST's firmware wants probabilities, our own code logits.
        dynamic_batch: Leave the batch size open instead of 1.
    """

    softmax: bool = False
    dynamic_batch: bool = False


class _Softmax(nn.Module):
    """Probabilities of logits over a temperature."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """``(N, num_classes)`` of the same shape."""
        # a product: the C code and the interpreter have no Div
        return (logits if self.temperature == 1 else logits * (1 / self.temperature)).softmax(dim=1)


def to_onnx(
    net: nn.Module, frontend: FrontendConfig, config: ExportConfig, temperature: float = 1.0
) -> onnx.ModelProto:
    """The graph of ``net``: patches ``(1, 1, n_mels, patch_frames)`` float32 in, logits or probabilities out.

    A BatchNorm that no convolution before it can take in becomes a 1x1 depthwise convolution: int8 with one scale
    a channel then holds its factors exactly.

    Args:
        net: ``forward(patches) -> logits``; left as it is.
        frontend: Gives the input's shape.
        config: Form of the graph.
        temperature: Logits are divided by it before a softmax.

    Raises:
        AedError: A weight is not finite, or the net has an operator that cannot be exported.
    """
    for name, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            raise AedError(
                f"{type(net).__name__}.{name} holds NaN or infinite values: the training diverged; "
                "train anew with a lower learning rate"
            )
    own = copy.deepcopy(net)
    whole: Any = nn.Sequential(own, _Softmax(temperature)) if config.softmax else own
    # contiguous weights whatever the training's memory format: one net, one file
    whole = whole.cpu().eval().to(memory_format=torch.contiguous_format)
    patch = torch.zeros(1, 1, frontend.n_mels, frontend.patch_frames)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the tracing exporter: torch's newer one stays at opset 18 and turns global pooling into ReduceMean
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                whole,
                (patch,),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if config.dynamic_batch else None,
            )
            folded = rewrite.folded(forms.ceil_in_numbers(onnx.load_from_string(buffer.getvalue())).SerializeToString())
        except WriteError:
            raise
        except Exception as error:  # neither exporter nor ONNX Runtime has one base class
            raise AedError(f"{type(net).__name__} cannot be exported: {error}") from error
    plain = tidy(forms.in_one_form(rewrite.norms_as_layers(folded)))
    return tidy(rewrite.readable(plain))


def difference_to_torch(
    outputs: npt.NDArray[np.float32], net: nn.Module, patches: npt.NDArray[np.float32], temperature: float | None = None
) -> float:
    """Most absolute difference between ``outputs`` of the exported graph and those of ``net``.

    Args:
        outputs: ``(N, num_classes)``.
        net: The original.
        patches: ``(N, 1, n_mels, patch_frames)``.
        temperature: Of the softmax that the graph ends with; null: it ends with the logits.

    Raises:
        AedError: It is over :data:`TOLERANCE` times the largest output (or 1).
    """
    with torch.no_grad():
        logits = net(torch.from_numpy(patches))
        expected = (logits if temperature is None else (logits / temperature).softmax(dim=1)).numpy()
    difference = float(np.abs(outputs - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise AedError(
            f"{type(net).__name__}: the exported graph differs from torch by {difference:.2g} on {len(patches)} "
            "patches; its forward pass depends on something that tracing does not see (data-dependent control flow)"
        )
    return difference
