"""Instructions, cycles, flash, RAM and exactness of int8 nets on emulated cores, beside other projects' C.

    python scripts/bench_target.py --models yamnet=outputs/.../model_int8.onnx dscnn=... [--boards mps2-an505 ...]
        [--cmsis-nn DIR [--layers]] [--emx DIR/bin/emx-onnx-cgen] [--json FILE]

Each build runs on the same inputs and is compared with ONNX Runtime, value by value; instructions are those of the
first input. CMSIS-NN (a checkout of ARM-software/CMSIS-NN) is called by our generator; emx-onnx-cgen is a package of
its own. ``--layers`` compares our kernels with CMSIS-NN's, layer by layer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from peer_cmsis_nn import calling_cmsis_nn, compiled, find_cmsis_nn
from peer_emx import HEAP_MIB, emx_sources, with_heap
from rich.console import Console
from rich.table import Table

from aed.base.errors import AedError
from aed.base.files import json_text, write_whole
from aed.export.graph import load_model
from aed.export.runtime import open_exact
from aed.target.boards import Board, load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.library import Library
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import Plan, make_plan
from aed.target.codegen.program import Int8, Program
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator.measure import EmulatedRun, measure_net, measure_sources

PLANS = ("layers", "rows")
"""Of our own C: whole layers, and the plan with the least RAM."""

CMSIS_NN = "CMSIS-NN"

BOARDS = ("mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
"""Cortex-M4, M7, M33, M55."""


def expected(graph: onnx.ModelProto, steps: Int8, program: Program) -> Int8:
    """ONNX Runtime's int8 outputs for ``steps`` ``(N, size)``, in the order of ``program``."""
    session = open_exact(graph)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in program.images(steps)])


@dataclass(frozen=True)
class Build:
    """A form of a net's C.

    Args:
        name: For the table.
        program: Whose order of the input it takes.
        run: Runs inputs ``(N, size)`` on a board.
        plan: How it runs its layers; None: they are not told apart.
    """

    name: str
    program: Program
    run: Callable[[Int8, Board], EmulatedRun]
    plan: Plan | None = None


def builds(model: Path, graph: onnx.ModelProto, arguments: argparse.Namespace, folder: Path) -> Iterator[Build]:
    """Our own C by each of its plans, and that of others as far as ``arguments`` say where it is."""
    for kind in PLANS:
        chosen = choose_plan(partial(lower, graph), PlanSettings(plan=kind))
        yield Build(f"aed, {kind}", chosen.program, partial(measure_net, chosen.program, chosen.plan), chosen.plan)
    if arguments.cmsis_nn:
        yield with_cmsis_nn(graph, arguments.cmsis_nn, folder / "cmsis")
    if arguments.emx:
        yield with_emx(model, lower(graph), arguments.emx, folder / "emx")


def with_cmsis_nn(graph: onnx.ModelProto, library: Library, folder: Path) -> Build:
    """Our program with the kernels of CMSIS-NN."""
    program = calling_cmsis_nn(lower(graph), library, folder)
    plan = make_plan(program)

    def run(inputs: Int8, board: Board) -> EmulatedRun:
        return measure_net(program, plan, inputs, board, compiled(library, board, folder))

    return Build(CMSIS_NN, program, run, plan)


def with_emx(model: Path, program: Program, tool: Path, folder: Path) -> Build:
    """The C of emx-onnx-cgen."""
    size = program.tensors[program.output].size

    def run(inputs: Int8, board: Board) -> EmulatedRun:
        sources = emx_sources(tool, model, program, make_plan(program), folder)
        found = measure_sources(sources, size + 4, 0, inputs, with_heap(board))
        heap = int(found.outputs[:, size:].copy().view("<u4").max())
        return replace(found, outputs=found.outputs[:, :size], ram_bytes=found.ram_bytes - (HEAP_MIB << 20) + heap)

    return Build("emx-onnx-cgen", program, run)


def layers(build: Build, cost: EmulatedRun) -> list[dict[str, object]]:
    """Instructions of each layer, with its share of those around the runs of layers."""
    assert build.plan is not None
    schedule, program = build.plan.schedule, build.program
    runs = [schedule.heights[number] // stage.rows for number, stage in enumerate(schedule.stages, 1)]
    around = (cost.instructions - sum(cost.layers)) / sum(runs)
    return [
        {"layer": layer.name, "kind": layer.kind, "macc": layer.macc(program), "instructions": inside + around * number}
        for layer, inside, number in zip(program.layers, cost.layers, runs, strict=True)
    ]


def rows(name: str, model: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a board and build; as many boards at once as there are CPUs."""
    graph = load_model(model)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        forms = list(builds(model, graph, arguments, Path(folder)))

        def on(board: Board) -> list[dict[str, Any]]:
            return [{"net": name} | measured(build, graph, board, arguments) for build in forms]

        for found in pool.map(on, map(load_board, arguments.boards)):
            yield from found


def measured(build: Build, graph: onnx.ModelProto, board: Board, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a build; of one that fails the reason instead."""
    size = build.program.tensors[build.program.input].size
    inputs = np.random.default_rng(0).integers(-128, 128, (arguments.inputs, size)).astype(np.int8)
    row: dict[str, Any] = {"core": board.core, "build": build.name}
    try:
        cost = build.run(inputs, board)
    except (AedError, subprocess.CalledProcessError) as error:
        return row | {"failed": str(error)}
    differing = np.abs(cost.outputs.astype(int) - expected(graph, inputs, build.program))
    row |= {"instructions": cost.instructions, "cycles": cost.cycles, "flash": cost.flash_bytes}
    row |= {"ram": cost.ram_bytes, "stack": cost.stack_bytes, "outputs": differing.size}
    row |= {"differing": int((differing > 0).sum()), "steps": int(differing.max())}
    return row | ({"layers": layers(build, cost)} if arguments.layers and build.plan else {})


def write(found: list[dict[str, Any]], path: Path) -> None:
    """Writes rows to a file of them, whose rows of the same nets and cores they replace."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    new = {(row["net"], row["core"]) for row in found}
    kept = [row for row in known if (row["net"], row["core"]) not in new]
    write_whole(path, lambda file: file.write(json_text(kept + found).encode()))


def by_kind(found: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Cells of a row for each kind of layer of a net and core: our kernels beside CMSIS-NN's."""
    for row in found:
        if row["build"] != CMSIS_NN or "layers" not in row:
            continue
        own = next(each for each in found if each["build"] == "aed, layers" and each["core"] == row["core"])
        pairs = list(zip(own["layers"], row["layers"], strict=True))
        for kind in dict.fromkeys(layer["kind"] for layer in row["layers"]):
            same = [pair for pair in pairs if pair[0]["kind"] == kind]
            ours, theirs = (sum(pair[side]["instructions"] for pair in same) for side in (0, 1))
            ratios = {pair[0]["layer"]: pair[0]["instructions"] / pair[1]["instructions"] for pair in same}
            worst = max(ratios, key=ratios.__getitem__)
            sums = [f"{ours / 1e3:.1f}", f"{theirs / 1e3:.1f}", f"{ours / theirs:.2f}"]
            yield [row["net"], row["core"], kind, str(len(same)), *sums, f"{worst} {ratios[worst]:.2f}"]


def main() -> None:
    """Prints a row for each net, core and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--boards", nargs="+", default=BOARDS)
    parser.add_argument("--cmsis-nn", type=lambda text: find_cmsis_nn(Path(text)), metavar="DIR")
    parser.add_argument("--layers", action="store_true", help="compare each layer with CMSIS-NN's")
    parser.add_argument("--emx", type=Path)
    parser.add_argument("--inputs", type=int, default=4, help="random inputs over the whole int8 range")
    parser.add_argument("--json", type=Path, help="its rows of the same nets and cores are replaced, others stay")
    arguments = parser.parse_args()
    if arguments.layers and not arguments.cmsis_nn:
        parser.error("--layers: add --cmsis-nn <checkout>")
    table = Table(
        "net", "core", "build", "M instr.", "M cycles, estimated", "flash KiB", "RAM KiB", "stack B", "differ"
    )
    kinds = Table("net", "core", "kind", "layers", "k instr.", "CMSIS-NN's", "ratio", "largest ratio")
    for text in arguments.models:
        name, _, model = text.partition("=")
        own = []
        for row in rows(name, Path(model), arguments):
            own.append(row)
            table.add_row(*cells(row))
            if arguments.json:
                write(own, arguments.json)
        for line in by_kind(own):
            kinds.add_row(*line)
    console = Console(width=160)
    console.print(table)
    if arguments.layers:
        console.print(kinds)


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
    try:
        main()
    except AedError as error:
        sys.exit(str(error))
