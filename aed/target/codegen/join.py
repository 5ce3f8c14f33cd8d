"""Join: the embedding after the outputs of the classes, as the one output of a program."""

from dataclasses import dataclass
from typing import ClassVar

from aed.base.errors import AedError
from aed.export.embedding import EMBEDDING
from aed.target.codegen.program import Layer, Program, Rows, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.walk import Walk

OUTPUT = "output and embedding"
"""Name of the tensor."""


@dataclass(frozen=True, kw_only=True)
class Join(Layer):
    """Bytes of two vectors, one after the other."""

    kind: ClassVar[str] = "join"

    def rows(self, index: int, program: Program) -> Rows:
        """The one row of each."""
        return Rows()

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that copy both."""
        lines, start = [], 0
        for name in self.inputs:
            size = program.tensors[name].size
            lines.append(f"memcpy({source.addresses[self.output]} + {start}, {source.addresses[name]}, {size});")
            start += size
        return lines

    def instructions(self, program: Program, pixels: int) -> float:
        """Of copies of words."""
        return 20 + program.tensors[self.output].size / 2


def join_embedding(walk: Walk) -> None:
    """Makes outputs and embedding of a walk's program one output.

    Raises:
        AedError: The embedding is a flattened image.
    """
    program = walk.program
    producer = walk.producers.get(EMBEDDING)
    name = walk.home(
        producer.input[0] if producer is not None and producer.op_type == "DequantizeLinear" else EMBEDDING
    )
    if name in walk.order or program.tensors[name].shape[:2] != (1, 1):
        raise AedError("the C code has no means of flattened images; train with decision.means=0, or end in a mean")
    y, embedding = program.tensors[program.output], program.tensors[name]
    both = Tensor(OUTPUT, (1, 1, y.size + embedding.size), y.scale, y.zero)
    program.tensors[OUTPUT] = both
    program.layers.append(Join(name=OUTPUT, inputs=(y.name, embedding.name), output=OUTPUT))
    program.output, program.embedding = OUTPUT, name
