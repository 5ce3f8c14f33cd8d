"""C of emx-onnx-cgen for an int8 net, in the form that the emulator's harness runs; used by ``bench_target.py``."""

import subprocess
from dataclasses import replace
from pathlib import Path

from aed.target.boards import Board
from aed.target.codegen.generate import net_sources
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Program
from aed.target.codegen.text import c_float
from aed.target.emulator.toolchain import machine_of

HEAP_MIB = 8
"""Heap of the C of emx-onnx-cgen, which allocates its tensors."""

RAM_MIB = 16
"""RAM that QEMU's machines have, more than the boards in ``configs/``."""


def with_heap(board: Board) -> Board:
    """The board with all the RAM of QEMU's machine; the heap fits in those of the MPS2 boards."""
    machine = machine_of(board)
    if not machine.machine.startswith("mps2"):
        return board
    return replace(board, machine=replace(machine, ram=(machine.ram[0], RAM_MIB << 20)))


def emx_sources(tool: Path, model: Path, program: Program, plan: Plan, folder: Path) -> dict[str, str]:
    """File name -> content: its C, and what lets the harness run it.

    The last four bytes of the output are the bytes of the heap that it took.

    Args:
        tool: ``emx-onnx-cgen``.
        model: int8.
        program: Of the model, for its ends.
        plan: For ``aed_net.h``.
        folder: For its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--large-weight-threshold", "0", "--model-name", "emx_net")
    subprocess.run([tool, "compile", *options, model, folder / "emx.c"], check=True, capture_output=True)
    x, y = program.tensors[program.input], program.tensors[program.output]
    header = net_sources(program, plan)["aed_net.h"]
    header = header.replace(f"AED_NET_OUTPUT_SIZE {y.size}", f"AED_NET_OUTPUT_SIZE {y.size + 4}")
    glue = f"""#include <math.h>
#include <stddef.h>
#include <string.h>
#include "aed_net.h"
void emx_net(const float *in, float *out);
static char heap[{HEAP_MIB} << 20];
static size_t used;
static size_t most;
static size_t first; /* of the first run: later ones find pieces of other sizes free */
void *_sbrk(ptrdiff_t more) {{
    char *const at = heap + used;
    used += (size_t)more;
    most = used > most ? used : most;
    return used > sizeof heap ? (void *)-1 : at;
}}
void aed_net_run(aed_net *net, const int8_t *in, int8_t *out) {{
    (void)net;
    static float real[{x.size}];
    float result[{y.size}];
    for (int i = 0; i < {x.size}; ++i) {{
        real[i] = {c_float(x.scale)} * (float)(in[i] - ({x.zero}));
    }}
    emx_net(real, result);
    for (int i = 0; i < {y.size}; ++i) {{
        const float step = rintf(result[i] / {c_float(y.scale)}) + {y.zero};
        out[i] = (int8_t)(step > 127 ? 127 : step < -128 ? -128 : step);
    }}
    first = first == 0 ? most : first;
    memcpy(out + {y.size}, &first, 4);
}}
"""
    return {"aed_net.h": header, "glue.c": glue, "emx.c": (folder / "emx.c").read_text(encoding="utf-8")}
