"""What a net and its front end will cost on a board, before anything is trained, and whether that is too much.

Estimates, by arithmetic alone: instructions as the planner of the C code counts them, memories as the planner lays them
out, code by :mod:`aed.target.codegen.sizes`. A core without SMLAD, or with MVE, takes another number of instructions;
theirs are compared as if it were a Cortex-M33.
"""

from dataclasses import asdict, dataclass
from functools import partial

from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.export.onnx import ExportConfig, to_onnx
from aed.run.pipeline import created
from aed.run.registry import check_net_class
from aed.target.boards import Board
from aed.target.codegen import costs, sizes
from aed.target.codegen.choose import Chosen, choose_plan
from aed.target.codegen.frontend import column_instructions, frontend_sources, table_bytes
from aed.target.codegen.lower import sketch
from aed.target.codegen.settings import PlanSettings
from aed.target.firmware.readme import listener_bytes
from aed.target.load import Load, no_estimate


@dataclass(frozen=True)
class Costs:
    """Costs of net and front end together.

    Args:
        instructions: A second of sound.
        flash_bytes: Weights, tables and code.
        ram_bytes: Activations, state, patch and stack.
        load: Share of the core's cycles; None: not known of this board.
    """

    instructions: float
    flash_bytes: float
    ram_bytes: float
    load: float | None = None

    def metrics(self) -> dict[str, float]:
        """For the metrics of a run."""
        return {f"search/{name}": value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Limits:
    """The most that a net may cost; None: no limit.

    Args:
        flash_kib: KiB.
        ram_kib: KiB.
        load: Share of the core's cycles.
    """

    flash_kib: float | None
    ram_kib: float | None
    load: float | None

    def excess(self, own: Costs) -> dict[str, float]:
        """By how much each limit is passed, as a share of it; 0 or less: it is kept."""
        figures = {
            "flash": (own.flash_bytes / 1024, self.flash_kib),
            "ram": (own.ram_bytes / 1024, self.ram_kib),
            "load": (own.load, self.load),
        }
        return {
            name: value / limit - 1
            for name, (value, limit) in figures.items()
            if limit is not None and value is not None
        }

    def why_not(self, own: Costs) -> str:
        """Why something does not fit, in words; "": it does."""
        over = {name for name, share in self.excess(own).items() if share > 0}
        words = []
        if "flash" in over:
            words.append(f"{own.flash_bytes / 1024:.1f} KiB of flash, there are {self.flash_kib:g}")
        if "ram" in over:
            words.append(f"{own.ram_bytes / 1024:.1f} KiB of RAM, there are {self.ram_kib:g}")
        if "load" in over and own.load is not None and self.load is not None:
            words.append(f"{100 * own.load:.0f} % of the core's cycles, {100 * self.load:g} are allowed")
        return f"needs {' and '.join(words)}" if words else ""


def limits_of(board: Board, flash_kib: float | None, ram_kib: float | None, load: float | None) -> Limits:
    """The limits of a board, or smaller ones that the user gives.

    A board with memory beside the chip has as much flash as one needs.

    Raises:
        AedError: One is not over 0, or more than the board has.
    """
    own_flash = None if board.external or not board.flash_kib else board.flash_kib
    own_ram = None if board.external else board.ram_kib
    for key, value, most in (("flash_kib", flash_kib, own_flash), ("ram_kib", ram_kib, own_ram), ("load", load, None)):
        if value is not None and not value > 0:
            raise AedError(f"{key}: need more than 0, got {value}")
        if value is not None and most is not None and value > most:
            raise AedError(f"{key}: {board.name} has {most:g}, got {value:g}; leave it out for all of it")
    return Limits(flash_kib or own_flash, ram_kib or own_ram, load)


def estimate(config: DictConfig, num_classes: int, board: Board) -> Costs:
    """The costs of the net of a training's configuration, with its front end.

    Args:
        config: Composed and checked.
        num_classes: Of the data.
        board: That it is to run on.

    Raises:
        AedError: Net or front end cannot be built, or have no C form.
    """
    frontend: FrontendConfig = created("frontend", config.frontend)
    frontend_sources(frontend, 1 / 16, 0)  # refuses one that the C code cannot have
    check_net_class(config.model.net)
    net = created("model.net", config.model.net, num_classes=num_classes)
    planning: PlanSettings = instantiate(config.deploy.c, _convert_="all").planning
    model = to_onnx(net.eval(), frontend, ExportConfig())
    return costs_of(choose_plan(partial(sketch, model), planning, frontend.patch_hop, "deploy.c."), frontend, board)


def costs_of(chosen: Chosen, frontend: FrontendConfig, board: Board) -> Costs:
    """The estimated costs of a planned net with its front end."""
    columns_per_s = frontend.sample_rate / frontend.hop_length
    decisions_per_s = columns_per_s / (chosen.plan.schedule.hop or frontend.patch_hop)
    net, column = chosen.facts["instructions_estimated"], column_instructions(frontend)
    kinds = [layer.kind for layer in chosen.program.layers]
    load = None
    if board.clock_mhz is not None and not no_estimate(board):
        load = Load(board.clock_mhz, costs.CYCLES * net, costs.CYCLES * column, decisions_per_s, columns_per_s).share(1)
    return Costs(
        instructions=decisions_per_s * net + columns_per_s * column,
        flash_bytes=chosen.program.weight_bytes + table_bytes(frontend) + sizes.code(kinds),
        ram_bytes=chosen.plan.size + listener_bytes(frontend, chosen.plan) + sizes.STATE + sizes.STACK,
        load=load,
    )
