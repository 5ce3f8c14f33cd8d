"""Bytes of the C library's code and state, estimated before there are weights.

Fitted to libraries linked for a Cortex-M33 by GCC 12.2 -O2: to 0.3 KiB of flash and 1.3 KiB of RAM for DS-CNN,
BC-ResNet, MobileNet and YAMNet.
"""

from collections.abc import Sequence

CODE = 8350
"""Of the kernels that every net has, and of the front end."""

KERNELS = {"add": 3250}
"""Of the kernels of nets with residuals and curves, by a kind of layer that these have."""

WEIGHTED = ("conv", "depthwise", "dense")
CALLS = (150, 45)
"""To call a layer, with weights and without."""

STATE = 1300
"""Of the net's scratch and the program's buffers, beside the arena."""

STACK = 600
"""Deepest, of net and front end."""


def code(kinds: Sequence[str]) -> int:
    """Bytes of code of a net and its front end.

    Args:
        kinds: Of its layers.
    """
    calls = sum(CALLS[kind not in WEIGHTED] for kind in kinds)
    return CODE + sum(size for kind, size in KERNELS.items() if kind in kinds) + calls
