"""Int8 outputs of the C code, on this machine and on emulated cores, that are not ONNX Runtime's.

    python scripts/bench_exact.py --models yamnet=outputs/.../model_int8.onnx dscnn=... [--real 200] [--random 200]
        [--boards mps2-an505 ...] [--json FILE]

Each net runs on patches of ESC-10, as ``aed evaluate`` computes them, spread evenly over the clips of all folds, and on
random ones over the whole int8 range, by every plan it has. The folder of ESC-10 is in ``AED_DATA_DIR``.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench_target import BOARDS, expected, write
from rich.console import Console
from rich.table import Table

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.spacing import evenly
from aed.datamodules import ESC10, PatchDataModule
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card
from aed.run.model_data import SplitClips, model_data
from aed.target.boards import Board, load_board
from aed.target.codegen.choose import Chosen, choose_plan
from aed.target.codegen.generate import kernel_sources, net_sources, run_name
from aed.target.codegen.lower import lower
from aed.target.codegen.program import Int8, Program
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build, harness_sources
from aed.target.host import build_library, net_memory, pointer

AT_ONCE = 25
"""Patches in one run of an emulator, which is stopped after minutes."""

Run = Callable[[Chosen, Int8, Path], Int8]
"""Outputs ``(N, size)`` for inputs, of C built in a folder."""

COUNTERS = 8
"""Bytes that the harness writes after each output."""


def real_patches(card: ModelCard, number: int) -> np.ndarray:
    """Patches of ESC-10 ``(number, 1, n_mels, patch_frames)``, float32, with the front end of a model."""
    module = model_data(partial(PatchDataModule, clips=ESC10()), card, "all", "card", list(card.class_names))
    dataset = SplitClips(module, "all").dataset
    patches: np.ndarray = dataset.__getitems__(evenly(len(dataset), number)).patches.numpy()
    return patches


def to_steps(patches: np.ndarray, program: Program) -> Int8:
    """``patches`` as the int8 inputs ``(N, size)`` of a program: rounded half to even, as QuantizeLinear does."""
    x = program.tensors[program.input]
    steps = np.clip(np.rint(patches / x.scale) + x.zero, -128, 127).astype(np.int8)
    return steps.transpose((0, 3, 2, 1) if program.turned else (0, 2, 3, 1)).reshape(len(steps), -1)


def plans(graph: onnx.ModelProto, card: ModelCard) -> Iterator[tuple[str, Chosen]]:
    """Whole layers, rows, and a stream where the net can be one."""
    for kind in ("layers", "rows", "stream"):
        try:
            yield kind, choose_plan(partial(lower, graph), PlanSettings(plan=kind), card.frontend.patch_hop)
        except AedError:
            if kind != "stream":
                raise


def on_host(chosen: Chosen, steps: Int8, folder: Path) -> Int8:
    """Outputs ``(N, size)`` of the C compiled for this machine."""
    sources = kernel_sources() | net_sources(chosen.program, chosen.plan)
    run = getattr(build_library(folder, sources), run_name(chosen.plan))
    outputs = np.empty((len(steps), chosen.program.tensors[chosen.program.output].size), np.int8)
    memory = net_memory(chosen.plan)
    for patch, output in zip(steps, outputs, strict=True):
        run(memory, pointer(patch), pointer(output))
    return outputs


def on_board(board: Board, chosen: Chosen, steps: Int8, folder: Path) -> Int8:
    """Outputs ``(N, size)`` of the C on an emulated board."""
    sources = kernel_sources() | net_sources(chosen.program, chosen.plan) | harness_sources("run_net.c")
    elf = build(folder, sources, board)
    size = chosen.program.tensors[chosen.program.output].size
    parts = [steps[first : first + AT_ONCE] for first in range(0, len(steps), AT_ONCE)]
    raw = b"".join(run_program(elf, folder, part.tobytes(), board, count=False) for part in parts)
    return np.frombuffer(raw, np.int8).reshape(len(steps), size + COUNTERS)[:, :size]


def rows(name: str, model: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each plan and core of a net; as many cores at once as there are CPUs."""
    graph = load_model(model)
    card = read_model_card(graph, model)
    real = real_patches(card, arguments.real)
    on: dict[str, Run] = {"host": on_host}
    on |= {board.core: partial(on_board, board) for board in map(load_board, arguments.boards)}
    for kind, chosen in plans(graph, card):
        size = chosen.program.tensors[chosen.program.input].size
        random = np.random.default_rng(0).integers(-128, 128, (arguments.random, size)).astype(np.int8)
        inputs = {"real": to_steps(real, chosen.program), "random": random}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(partial(compared, graph, chosen, inputs), on.values())
            for core, row in zip(on, found, strict=True):
                yield {"net": name, "plan": kind, "core": core} | row


def compared(graph: onnx.ModelProto, chosen: Chosen, inputs: dict[str, Int8], run: Run) -> dict[str, int]:
    """Numbers of patches and outputs, and of outputs that are not ONNX Runtime's, for each kind of input."""
    row, steps = {}, np.concatenate(list(inputs.values()))
    with temporary_folder() as folder:
        away = np.abs(run(chosen, steps, folder / "program") - expected(graph, steps, chosen.program).astype(int))
    last = np.cumsum([len(each) for each in inputs.values()])[:-1]
    for key, part in zip(inputs, np.split(away, last), strict=True):
        row |= {key: len(part), f"{key}_differing": int((part > 0).sum())}
    return row | {"outputs": away.size, "steps": int(away.max())}


def main() -> None:
    """Prints a row for each net, plan and core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--boards", nargs="*", default=BOARDS)
    parser.add_argument("--real", type=int, default=200, help="patches of ESC-10")
    parser.add_argument("--random", type=int, default=200, help="patches over the whole int8 range")
    parser.add_argument("--json", type=Path, help="its rows of the same nets are replaced, others stay")
    arguments = parser.parse_args()
    found = []
    table = Table("net", "plan", "core", "real patches", "random", "outputs", "differ", "largest step")
    for text in arguments.models:
        name, _, model = text.partition("=")
        for row in rows(name, Path(model), arguments):
            found.append(row)
            differ = f"{row['real_differing']} + {row['random_differing']}"
            head = [row[key] for key in ("net", "plan", "core", "real", "random", "outputs")]
            table.add_row(*map(str, head), differ, str(row["steps"]))
            if arguments.json:
                write(found, arguments.json)
    Console(width=120).print(table)


if __name__ == "__main__":
    try:
        main()
    except AedError as error:
        sys.exit(str(error))
