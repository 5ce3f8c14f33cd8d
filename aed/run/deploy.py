"""What goes to a board: the deploy stage."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate
from rich.progress import Progress

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.events import EventSource
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on
from aed.run.state import INT8, Run
from aed.target.boards import load_board
from aed.target.codegen.prefix import DEFAULT, check_prefix
from aed.target.firmware.library import write_firmware
from aed.target.firmware.stm32 import Tools, build_and_flash, deploy_stm32, variant_of
from aed.target.stedgeai import StEdgeAi
from aed.target.stedgeai.options import Choices

log = logging.getLogger(__name__)

TARGETS = ("c", "stm32")
ACTIONS = ("package", "build", "flash")


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """What is made of a model.

    Args:
        target: ``c``: a library of C for any project. ``stm32``: a package for ST's audio firmware.
        prefix: c: of all names that other files see: ``doorbell`` makes ``doorbell_net_run`` and ``DOORBELL_CLASSES``,
            so that libraries of several models can be in one firmware.
        board: stm32: with such a firmware.
        action: stm32: ``package`` alone, or also ``build`` the firmware and ``flash`` it to the board.
        project: stm32, build and flash: folder of ST's firmware.
        configuration: stm32: of the build; null: the usual one.
        network_dir: stm32: where the network's code goes in a project that comes without.
        probe: stm32: serial number of the ST-LINK; needed where several are plugged in.
        dry_run: stm32: print the commands of build and flash instead of running them.
        unknown_threshold: stm32: probability that a class has to exceed, else the firmware says so; 0: none has to;
            null: what the model card says. The library of C has the card's.
        rtos: stm32: which of ST's applications.
        tool: stm32: ``stedgeai`` or its folder; null: looked for.
        cube_ide: stm32: ``stm32cubeidec`` or its folder; null: looked for.
        programmer: stm32: ``STM32_Programmer_CLI`` or its folder; null: looked for.
        signing_tool: stm32: ``STM32_SigningTool_CLI`` or its folder; null: looked for.
        timeout_s: stm32: seconds after which ``stedgeai`` is stopped.
    """

    target: Literal["c", "stm32"] = "c"
    prefix: str = DEFAULT
    board: str = "b-u585i-iot02a"
    action: Literal["package", "build", "flash"] = "package"
    project: str | None = None
    configuration: str | None = None
    network_dir: str | None = None
    probe: str | None = None
    dry_run: bool = False
    unknown_threshold: float | None = None
    rtos: Literal["freertos", "threadx"] = "freertos"
    tool: str | None = None
    cube_ide: str | None = None
    programmer: str | None = None
    signing_tool: str | None = None
    timeout_s: float = 1800.0


def check(config: DeployConfig) -> None:
    """Refuses what cannot be delivered, before anything is made.

    Raises:
        AedError: A name is unknown, or something is missing.
    """
    for name, value, allowed in (("target", config.target, TARGETS), ("action", config.action, ACTIONS)):
        if value not in allowed:
            raise AedError(f"{name}: need one of {allowed}, got {value!r}")
    check_prefix(config.prefix)
    if config.target == "stm32" and config.prefix != DEFAULT:
        raise AedError("prefix: only of target=c; ST's firmware has the names of its own tools")
    if config.target == "stm32":
        variant_of(load_board(config.board))
        if config.action != "package" and config.project is None:
            raise AedError(f"action={config.action}: give ST's firmware, project=<folder>")


def deploy(run: Run) -> None:
    """The stage: delivers ``model_int8.onnx`` of the run's folder."""
    path = run.need_file("deploy", INT8, "quantize")
    config: DeployConfig = instantiate(run.config.deploy, _convert_="all")
    deliver(path, run.folder / "target" / config.target, config, test_clips(run.data))


def test_clips(data: PatchDataModule) -> list[tuple[Path, int]]:
    """Path and class of each test clip; none where a recording has several, at once or one after the other."""
    if data.multi_label or isinstance(data.clips, EventSource):
        return []
    rows = data.rows("test")
    return list(zip(rows["path"], data.targets(rows).tolist(), strict=True))


def deliver(model: Path, folder: Path, config: DeployConfig, clips: Sequence[tuple[Path, int]] = ()) -> None:
    """Writes the package for a board.

    Args:
        model: int8 ``.onnx`` with a model card.
        folder: New, or one of an earlier package, which is replaced once the new one is whole.
        config: What it is.
        clips: stm32: on which the effect of the firmware's own front end is measured.

    Raises:
        AedError: The model has no C form, the folder holds something else, or a tool fails.
    """
    check(config)
    if config.target == "c":
        graph = load_model(model)
        with onnx_runtime_on(model):
            write_firmware(graph, read_model_card(graph, model), folder, model.stem, config.prefix)
        log.info("%s: add src/ and include/ to your project; README.md says how", folder)
        return
    _package(model, folder, config, clips)


def _package(model: Path, folder: Path, config: DeployConfig, clips: Sequence[tuple[Path, int]]) -> None:
    board = load_board(config.board)
    variant = variant_of(board)
    legacy = Choices(c_api="legacy") if variant == "u5" else Choices()
    generator = StEdgeAi(_path(config.tool), timeout_s=config.timeout_s, choices=legacy)
    with Progress(transient=True) as progress:
        task = progress.add_task("effect of ST's front end", total=len(clips) or None)
        made = deploy_stm32(
            model,
            folder,
            board,
            generator,
            clips=clips,
            unknown_threshold=config.unknown_threshold,
            rtos=config.rtos,
            done=lambda number: progress.update(task, completed=number),
        )
    accuracy = made.manifest["accuracy"]
    if clips:
        trained, there = (100 * accuracy[key]["clip_acc"] for key in ("trained", "firmware"))
        log.info("clips: %.2f %% with the trained front end, %.2f %% with ST's firmware's", trained, there)
    if config.action == "package" or config.project is None:
        return
    tools = Tools(
        cube_ide=_path(config.cube_ide),
        programmer=_path(config.programmer),
        signing_tool=_path(config.signing_tool),
    )
    build_and_flash(
        folder,
        Path(config.project),
        variant,
        configuration=config.configuration,
        action=config.action,
        network_dir=_path(config.network_dir),
        probe=config.probe,
        tools=tools,
        dry_run=config.dry_run,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
