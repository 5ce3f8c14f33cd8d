"""What the int8 net of a trial costs in truth: its library linked, and run on an emulated board."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.processes import is_available
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on
from aed.run.benchmark import TARGETS, BenchmarkConfig
from aed.run.deploy import DeployConfig
from aed.run.search.costs import Costs, costs_of
from aed.run.search.trial import LOG, own_log
from aed.run.state import INT8
from aed.scoring import tables
from aed.target.boards import Board, emulated
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import lower
from aed.target.firmware.library import planned_sources
from aed.target.firmware.readme import library_sizes

_TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")


def measured_costs(board: Board, config: DictConfig, folder: Path) -> tuple[Costs, str]:
    """Costs of the int8 net of a run, and where they are from: ``emulated``, or ``estimated`` where the tools lack.

    Args:
        board: That it is to run on.
        config: Of the run.
        folder: Of the run.
    """
    path = folder / INT8
    graph = load_model(path)
    card = read_model_card(graph, path)
    delivery: DeployConfig = instantiate(config.deploy, _convert_="all")
    planning = delivery.c.planning
    with onnx_runtime_on(path):
        chosen = choose_plan(partial(lower, graph), planning, card.frontend.patch_hop)
        costs = costs_of(chosen, card.frontend, board)
        if "emulator" not in board.backends or not all(map(is_available, _TOOLS)):
            return costs, "estimated"
        _, sources = planned_sources(graph, card, planning, delivery.c.learn, "deploy.c.")
    stand_in = emulated(board)
    flash, ram, _ = library_sizes(sources, stand_in)
    settings = BenchmarkConfig(board=board.name)
    place = folder / "target" / "emulator" / stand_in.name
    place.mkdir(parents=True, exist_ok=True)
    with own_log(folder / LOG):
        report = TARGETS["emulator"](settings).backend().benchmark(path, board, place)
    tables.write_json(place / "report.json", {"model": path.name} | report.content())
    net, frontend = report.net.figures, report.frontend.figures if report.frontend else {}
    columns_per_s = card.frontend.sample_rate / card.frontend.hop_length
    per_column = frontend["instructions"].value / card.frontend.patch_frames if frontend else 0.0
    decisions_per_s = columns_per_s / (chosen.plan.schedule.hop or card.frontend.patch_hop)
    stack = max(part["stack_bytes"].value for part in (net, frontend) if part)
    load = report.details.get("listening", {}).get("load")
    return (
        replace(
            costs,
            instructions=decisions_per_s * net["instructions"].value + columns_per_s * per_column,
            flash_bytes=flash,
            ram_bytes=ram + stack,
            load=load["value"] if load else costs.load,
        ),
        "emulated",
    )
