"""Instructions, cycles, flash, RAM and exactness of int8 nets on emulated cores, beside other projects' C.

    python scripts/bench_target.py --models yamnet=outputs/.../model_int8.onnx dscnn=... [--boards mps2-an505 ...]
        [--cmsis-nn DIR] [--emx DIR/bin/emx-onnx-cgen] [--json FILE]

Each build runs on the same inputs and is compared with ONNX Runtime, value by value; instructions are those of the
first input. CMSIS-NN (a checkout of ARM-software/CMSIS-NN) is called by our generator; emx-onnx-cgen is a package of
its own.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table
from target_peers import HEAP_MIB, CmsisNet, emx_sources, find_cmsis_nn, with_heap

from aed.base.errors import AedError
from aed.export.graph import load_model
from aed.export.runtime import open_exact
from aed.target.boards import Board, load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.generate import kernel_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import make_plan
from aed.target.codegen.program import Int8, Program
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator.measure import EmulatedRun, measure_net, measure_sources

PLANS = ("layers", "rows")
"""Of our own C: whole layers, and the plan with the least RAM."""

BOARDS = ("mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
"""Cortex-M4, M7, M33, M55."""


def expected(graph: onnx.ModelProto, steps: Int8, program: Program) -> Int8:
    """ONNX Runtime's int8 outputs for ``steps`` ``(N, size)``, in the order of ``program``."""
    session = open_exact(graph)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in program.images(steps)])


Build = Callable[[Int8], EmulatedRun]
"""Runs inputs ``(N, size)``."""


def builds(
    model: Path, graph: onnx.ModelProto, board: Board, arguments: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Program, Build]]:
    """Names of builds, the programs whose order of the input they take, and what runs them."""
    for kind in PLANS:
        chosen = choose_plan(lambda turned: lower(graph, turned), PlanSettings(plan=kind))
        yield f"aed, {kind}", chosen.program, partial(measure_net, chosen.program, chosen.plan, board=board)
    program = lower(graph)
    y, plan = program.tensors[program.output], make_plan(program, overlap=False)
    if arguments.cmsis_nn:
        library = find_cmsis_nn(arguments.cmsis_nn)
        net = CmsisNet(program, plan, library, board.core == "cortex-m55", folder / "cmsis")
        yield (
            "CMSIS-NN",
            program,
            lambda inputs: measure_sources(kernel_sources() | net.sources(), y.size, 0, inputs, board, library),
        )
    if arguments.emx:

        def with_emx(inputs: Int8) -> EmulatedRun:
            sources = emx_sources(arguments.emx, model, program, plan, folder / "emx")
            run = measure_sources(sources, y.size + 4, 0, inputs, with_heap(board))
            heap = int(run.outputs[:, y.size :].copy().view("<u4").max())
            ram = run.ram_bytes - (HEAP_MIB << 20) + heap
            return replace(run, outputs=run.outputs[:, : y.size], ram_bytes=ram)

        yield "emx-onnx-cgen", program, with_emx


def rows(name: str, model: Path, board: Board, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row a build; a build that fails has its reason instead of figures."""
    found, graph = [], load_model(model)
    with tempfile.TemporaryDirectory() as folder:
        for build, program, run in builds(model, graph, board, arguments, Path(folder)):
            size = program.tensors[program.input].size
            inputs = np.random.default_rng(0).integers(-128, 128, (arguments.inputs, size)).astype(np.int8)
            wanted = expected(graph, inputs, program)
            row: dict[str, object] = {"net": name, "core": board.core, "build": build}
            try:
                cost = run(inputs)
            except (AedError, subprocess.CalledProcessError) as error:
                found.append(row | {"failed": str(error)})
                continue
            differing = np.abs(cost.outputs.astype(int) - wanted)
            row |= {"instructions": cost.instructions, "cycles": cost.cycles, "flash": cost.flash_bytes}
            row |= {"ram": cost.ram_bytes, "stack": cost.stack_bytes, "outputs": wanted.size}
            found.append(row | {"differing": int((differing > 0).sum()), "steps": int(differing.max())})
    return found


def main() -> None:
    """Prints a row for each net, core and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--boards", nargs="+", default=BOARDS)
    parser.add_argument("--cmsis-nn", type=Path)
    parser.add_argument("--emx", type=Path)
    parser.add_argument("--inputs", type=int, default=4, help="random inputs over the whole int8 range")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = Table(
        "net", "core", "build", "M instr.", "M cycles, estimated", "flash KiB", "RAM KiB", "stack B", "differ"
    )
    found = []
    for text in arguments.models:
        name, _, model = text.partition("=")
        for board in map(load_board, arguments.boards):
            for row in rows(name, Path(model), board, arguments):
                found.append(row)
                table.add_row(*cells(row))
    Console(width=140).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text."""
    head = [row["net"], row["core"], row["build"]]
    if "failed" in row:
        return [*head, row["failed"].splitlines()[0][:80]]
    cycles = "-" if row["cycles"] is None else f"{row['cycles'] / 1e6:.2f}"
    differ = f"{row['differing']}/{row['outputs']}" + (f", <= {row['steps']}" if row["steps"] else "")
    sizes = [f"{row[key] / 1024:.1f}" for key in ("flash", "ram")]
    return [*head, f"{row['instructions'] / 1e6:.2f}", cycles, *sizes, str(row["stack"]), differ]


if __name__ == "__main__":
    main()
