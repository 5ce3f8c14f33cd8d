"""MaxPool and AveragePool."""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from aed.target.codegen.program import Program
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk
from aed.target.codegen.window import WindowLayer, is_explicit, pair, window_of


@dataclass(frozen=True, kw_only=True)
class Pool(WindowLayer):
    """A kernel that takes ``aed_pool_t`` and both scales, whose function is ``row``."""

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel."""
        x, y = program.ends(self)
        scales = f".in_scale = {c_float(x.scale)}, .out_scale = {c_float(y.scale)}"
        order = f".by_column = {int(program.turned)}"
        layer = source.struct("aed_pool_t", f"layer{number}", [self.window(x, y), scales, order])
        return [self.row_call(source, layer, 0)]


@dataclass(frozen=True, kw_only=True)
class MaxPool(Pool):
    """The largest value in each window."""

    kind: ClassVar[str] = "max_pool"
    row: ClassVar[str] = "aed_max_pool_row"


@dataclass(frozen=True, kw_only=True)
class AveragePool(Pool):
    """The mean of each window."""

    kind: ClassVar[str] = "average_pool"
    row: ClassVar[str] = "aed_average_pool_row"


def _pool(walk: Walk, node: onnx.NodeProto) -> None:
    facts = walk.attributes(node)
    if facts.get("ceil_mode") or not is_explicit(facts):
        raise walk.refusal(node, "only explicit padding without ceil_mode")
    x, y = walk.input(node), walk.output(node)
    is_max = node.op_type == "MaxPool"
    if not is_max and any(facts.get("pads", ())):
        raise walk.refusal(node, "only without padding")
    layer = (MaxPool if is_max else AveragePool)(
        name=node.name, inputs=(x.name,), output=y.name, kernel=pair(facts["kernel_shape"]), **window_of(facts)
    )
    walk.program.layers.append(layer)


LOWERINGS: dict[str, Lowering] = {"MaxPool": _pool, "AveragePool": _pool}
