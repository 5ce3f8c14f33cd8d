"""From an ONNX graph to a program of integer layers, channels last.

The arithmetic is that of ONNX Runtime's integer kernels: 32-bit sums, one float32 factor a channel, rounding half to
even, so that C code gives the same bits.
"""

import onnx

from aed.base.errors import AedError
from aed.export.card import not_for_c
from aed.export.embedding import embedding_size, without_embedding
from aed.export.graph import QDQ
from aed.export.precision import float_layers
from aed.target.codegen.join import join_embedding
from aed.target.codegen.operators import OPERATORS
from aed.target.codegen.program import Program
from aed.target.codegen.walk import Sketch, Walk

AS_INT8 = (
    "quantise anew in its run's folder, hydra.run.dir=<folder> stages=[quantize,evaluate] "
    "quantization.float_layers=refused and no quantization.exclude_nodes or quantization.exclude_ops"
)
"""Advice for a model with float layers."""


def lower(model: onnx.ModelProto, turned: bool = False) -> Program:
    """The integer program of an int8 model of aed, with float or int8 input and output.

    Args:
        model: QDQ, batch 1, as :func:`aed.export.quantize.quantize` returns it; an embedding that is its second output
            follows the first in the output of the program.
        turned: Whether the rows of all images are ONNX's columns: those of a patch are then its frames.

    Raises:
        AedError: An operator, or a form of it, that the C code does not have; names node, operator and shapes.
    """
    if not any(node.op_type in QDQ for node in model.graph.node):
        raise AedError("the model is float, C needs int8: give model_int8.onnx, which the stage quantize writes")
    walk = Walk(model, turned)
    try:
        program = walk.run(OPERATORS)
        if embedding_size(model):
            join_embedding(walk)
        return program
    except AedError as error:
        nodes, floats = {node.name: node for node in model.graph.node}, float_layers(model)
        for node in (nodes[name] for name in floats):
            if node.op_type not in OPERATORS:
                raise walk.refusal(node, f"the C code has no {node.op_type}") from error
        if floats:
            raise AedError(f"{not_for_c(floats)}; {AS_INT8} ({error})") from error
        raise


def sketch(model: onnx.ModelProto, turned: bool = False) -> Program:
    """The program that :func:`lower` will return for the int8 version of ``model``: all scales 1, weights 0.

    Args:
        model: Float, batch 1, as :func:`aed.export.onnx.to_onnx` returns it.
        turned: As for :func:`lower`.

    Raises:
        AedError: As :func:`lower`.
    """
    return Sketch(without_embedding(model), turned).run(OPERATORS)
