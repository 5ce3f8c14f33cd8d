"""python -m aed.benchmark model=<int8.onnx> board=<name>: what a model costs on an emulated microcontroller."""

import logging
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from aed import config, report
from aed.entry import clear_errors, with_model_file
from aed.errors import AedError
from aed.export.card import ModelCard
from aed.export.classifier import open_exact
from aed.export.graph import load_model, read_model_card
from aed.target import emulator
from aed.target.lower import Program, lower
from aed.target.plan import make_plan

log = logging.getLogger("aed.benchmark")

LIMITS = "QEMU counts instructions, not cycles: no caches, wait states or DMA; the kernels are this project's."


def benchmark(model_file: str, folder: str, board: str = "mps2-an505", inputs: int = 4) -> dict[str, Any]:
    """Builds net and front end for a board, runs them in QEMU, proves the outputs and returns the report.

    Args:
        model_file: int8 ``.onnx`` with a model card.
        folder: For ``report.json``.
        board: One of :data:`aed.target.emulator.BOARDS`.
        inputs: Random inputs over the whole int8 range on which C and ONNX Runtime have to give the same bits.

    Raises:
        AedError: The model has no C form, a tool is missing, or an output differs.
    """
    if board not in emulator.BOARDS:
        raise AedError(f"board: need one of {sorted(emulator.BOARDS)}, got {board!r}")
    if inputs < 1:
        raise AedError(f"inputs: need at least 1, got {inputs}")
    path = Path(model_file)
    model = load_model(path)
    card = read_model_card(model, path)
    program = lower(model)
    plan = make_plan(program)
    given = program.tensors[program.input]
    steps = np.random.default_rng(0).integers(-128, 128, (inputs, given.size)).astype(np.int8)
    chosen = emulator.BOARDS[board]
    net = emulator.emulate_net(program, plan, steps, chosen)
    expected = _expected(model, program, steps)
    if differing := int((net.outputs != expected).sum()):
        raise AedError(f"{board}: {differing} of {expected.size} outputs differ from ONNX Runtime's")
    content = {
        "model": path.name,
        "board": board,
        "core": chosen.cpu,
        "source": "emulated",
        "limits": LIMITS,
        "versions": emulator.versions(),
        "inputs": inputs,
        "differing_outputs": differing,
        "net": _figures(net) | {"layers": _layers(program, net)},
        "frontend": _frontend(card, program, chosen),
    }
    report.write_json(Path(folder) / "report.json", content)
    _print(content)
    log.info("outputs in %s", folder)
    return content


def _expected(model: Any, program: Program, steps: emulator.Int8) -> emulator.Int8:
    """ONNX Runtime's integers for channels-last ``steps``."""
    height, width, channels = program.tensors[program.input].shape
    images = steps.reshape(len(steps), height, width, channels).transpose(0, 3, 1, 2)
    session = open_exact(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in images])


def _frontend(card: ModelCard, program: Program, board: emulator.Board) -> dict[str, Any] | None:
    """Figures of the front end; None where it cannot be computed on a device."""
    if reasons := card.frontend.not_streamable:
        log.warning("no C front end: %s", "; ".join(reasons))
        return None
    given = program.tensors[program.input]
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, card.frontend.patch_samples).astype(np.int16)
    return _figures(emulator.emulate_frontend(card.frontend, float(given.scale), given.zero, samples, board))


def _figures(run: emulator.Emulated) -> dict[str, Any]:
    values = {
        "instructions": round(run.instructions),
        "flash_bytes": run.flash_bytes,
        "ram_bytes": run.ram_bytes,
        "stack_bytes": run.stack_bytes,
    }
    return {key: {"value": value, "source": "emulated"} for key, value in values.items()}


def _layers(program: Program, run: emulator.Emulated) -> list[dict[str, Any]]:
    return [
        {"name": layer.name, "kind": layer.kind, "instructions": round(count)}
        for layer, count in zip(program.layers, run.layers, strict=True)
    ]


def _print(content: dict[str, Any]) -> None:
    table = Table(title=f"{content['model']} on {content['core']} ({content['board']}, emulated)", caption=LIMITS)
    for column in ("", "M instructions", "flash KiB", "RAM KiB", "stack KiB"):
        table.add_column(column, justify="left" if not column else "right")
    for part, name in (("net", "net, one patch"), ("frontend", "front end, first patch")):
        if figures := content[part]:
            value = {key: figures[key]["value"] for key in ("instructions", "flash_bytes", "ram_bytes", "stack_bytes")}
            kib = (f"{value[key] / 1024:.1f}" for key in ("flash_bytes", "ram_bytes", "stack_bytes"))
            table.add_row(name, f"{value['instructions'] / 1e6:.2f}", *kib)
    Console().print(table)


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="benchmark")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log):
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        benchmark(**plain)  # type: ignore[arg-type]


def main() -> None:
    """Entry point."""
    sys.argv[1:] = with_model_file(sys.argv[1:])
    config.store("schema", "benchmark", config.command(benchmark))
    _task()


if __name__ == "__main__":
    main()
