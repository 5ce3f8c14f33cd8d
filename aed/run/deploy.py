"""The stage deploy: a library of C, a package for ST's audio firmware, or a page that listens."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate
from rich.progress import Progress

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.events import EventSource
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on
from aed.inference.detection import rule_of
from aed.run.model_data import model_data
from aed.run.rule_changes import RuleChanges
from aed.run.state import INT8, Run
from aed.run.targets import refuse_others
from aed.target.boards import load_board
from aed.target.codegen.prefix import check_prefix
from aed.target.firmware.formats.write import check_format
from aed.target.firmware.library import write_firmware
from aed.target.firmware.settings import CSettings, Stm32Settings
from aed.target.firmware.stm32 import Tools, build_and_flash, deploy_stm32, variant_of
from aed.target.stedgeai.backend import StEdgeAi
from aed.target.stedgeai.options import Choices
from aed.target.web.compiler import compiler
from aed.target.web.package import write_page
from aed.target.web.settings import WebSettings

log = logging.getLogger(__name__)

TARGETS = ("c", "stm32", "web")
ACTIONS = ("package", "build", "flash")


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """Settings of a delivery to a firmware project.

    Args:
        target: ``c``: a library of C for any project. ``stm32``: a package for ST's audio firmware. ``web``: a page
            that listens, the same C as WebAssembly.
        rule: c, web: what differs from the card's event rule.
        c: Settings of ``target=c``.
        stm32: Settings of ``target=stm32``.
        web: Settings of ``target=web``.
    """

    target: Literal["c", "stm32", "web"] = "c"
    rule: RuleChanges = RuleChanges()  # noqa: RUF009 - frozen
    c: CSettings = CSettings()  # noqa: RUF009 - frozen
    stm32: Stm32Settings = Stm32Settings()  # noqa: RUF009 - frozen
    web: WebSettings = WebSettings()  # noqa: RUF009 - frozen


def check(config: DeployConfig, prefix: str = "") -> None:
    """Refuses what cannot be delivered, before anything is written.

    Args:
        config: Composed.
        prefix: Of its keys, as users type them.

    Raises:
        AedError: A name is unknown, something is missing, or a setting belongs to another target.
    """
    stm32 = config.stm32
    if config.target not in TARGETS:
        raise AedError(f"{prefix}target: need one of {TARGETS}, got {config.target!r}")
    if config.target == "stm32" and config.rule != RuleChanges():
        raise AedError(f"{prefix}rule: ST's firmware has no event rule, got target=stm32; leave rule out")
    if config.target == "web":
        compiler()
    refuse_others(config, [config.target], prefix, others=["rule"])
    if stm32.action not in ACTIONS:
        raise AedError(f"{prefix}stm32.action: need one of {ACTIONS}, got {stm32.action!r}")
    check_prefix(config.c.prefix, f"{prefix}c.prefix")
    check_format(config.c, f"{prefix}c.")
    if config.target == "stm32":
        variant_of(load_board(stm32.board, f"{prefix}stm32.board"))
        if stm32.action != "package" and stm32.project is None:
            key = f"{prefix}stm32"
            raise AedError(f"{key}.action={stm32.action}: give ST's firmware, {key}.project=<folder>")


def deploy(run: Run) -> None:
    """The stage: delivers ``model_int8.onnx`` of the run's folder."""
    path = run.need_file("deploy", INT8, "quantize")
    config: DeployConfig = instantiate(run.config.deploy, _convert_="all")
    check(config, "deploy.")
    deliver(path, run.folder / "target" / config.target, config, test_clips(run.data))


def test_clips(data: PatchDataModule) -> list[tuple[Path, int]]:
    """Path and class of each test clip; none where a recording has several, at once or one after the other."""
    if data.multi_label or isinstance(data.clips, EventSource):
        return []
    rows = data.rows("test")
    return list(zip(rows["path"], data.targets(rows).tolist(), strict=True))


def deliver(model: Path, folder: Path, config: DeployConfig, clips: Sequence[tuple[Path, int]] = ()) -> None:
    """Writes the library or the package, builds and flashes as configured.

    Args:
        model: int8 ``.onnx`` with a model card.
        folder: New, or one of an earlier delivery, which is replaced once the new one is whole.
        config: Which of them, and how.
        clips: Path and class index of the clips on which the effect of ST's front end is measured; target stm32.

    Raises:
        AedError: The configuration cannot be used, the model has no C form, the folder holds something else, or a
            tool fails.
    """
    check(config)
    if config.target != "stm32":
        _generate(model, folder, config)
        return
    _package(model, folder, config.stm32, clips)
    if config.stm32.action != "package" and config.stm32.project is not None:
        _build(folder, config.stm32, Path(config.stm32.project))


def _generate(model: Path, folder: Path, config: DeployConfig) -> None:
    """The C of the model as a library, or compiled for a page."""
    graph = load_model(model)
    card = read_model_card(graph, model)
    if config.rule != RuleChanges():
        card = replace(card, rule=config.rule.apply(rule_of(card)))
    with onnx_runtime_on(model):
        if config.target == "web":
            write_page(graph, card, folder, model.stem, config.web)
            log.info("%s: put it on any web server with https, or python -m http.server -d %s", folder, folder)
            return
        write_firmware(graph, card, folder, model.stem, config.c)
    log.info("%s: add it to your project as its README.md says", folder)


def _package(model: Path, folder: Path, settings: Stm32Settings, clips: Sequence[tuple[Path, int]]) -> None:
    board = load_board(settings.board)
    choices = Choices(
        c_api="legacy" if variant_of(board) == "u5" else None,
        neural_art=settings.neural_art,
        memory_pool=settings.memory_pool,
    )
    generator = StEdgeAi(_path(settings.tool), timeout_s=settings.timeout_s, choices=choices)
    with Progress(transient=True) as progress:
        task = progress.add_task("effect of ST's front end", total=len(clips) or None)
        package = deploy_stm32(
            model,
            folder,
            board,
            generator,
            clips=clips,
            unknown_threshold=settings.unknown_threshold,
            silence_threshold=settings.silence_threshold,
            rtos=settings.rtos,
            original=_path(settings.original),
            done=lambda number: progress.update(task, completed=number),
        )
    accuracy = package.manifest["accuracy"]
    if clips:
        trained, there = (100 * accuracy[key]["clip_acc"] for key in ("trained", "firmware"))
        log.info("clips: %.2f %% with the trained front end, %.2f %% with ST's firmware's", trained, there)


def _build(package: Path, settings: Stm32Settings, project: Path) -> None:
    build_and_flash(
        package,
        project,
        variant_of(load_board(settings.board)),
        configuration=settings.configuration,
        action="flash" if settings.action == "flash" else "build",
        network_dir=_path(settings.network_dir),
        probe=settings.probe,
        tools=Tools(
            cube_ide=_path(settings.cube_ide),
            programmer=_path(settings.programmer),
            signing_tool=_path(settings.signing_tool),
        ),
        dry_run=settings.dry_run,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def deploy_file(
    model_file: str,
    folder: str,
    config: DeployConfig,
    data: Callable[..., PatchDataModule] | None = None,
    seed: int = 0,
) -> None:
    """The verb: delivers a model; see :func:`deliver`.

    Args:
        model_file: int8 ``.onnx`` with a model card, or a shipped model: ``zoo/esc10_200k``.
        folder: A new one, or that of an earlier package.
        config: Contents of the package.
        data: stm32: data set on whose test clips the firmware's front end is judged.
        seed: Seed of a random split.

    Raises:
        AedError: A setting belongs to another target, or the model or the data cannot be used.
    """
    check(config)
    if data is not None and config.target != "stm32":
        raise AedError(f"data: only target stm32 reads it, got target={config.target}; leave data out")
    clips: list[tuple[Path, int]] = []
    if data is not None:
        card = read_model_card(load_model(Path(model_file)), Path(model_file))
        module = model_data(partial(data, seed=seed), card, "test", "card", list(card.class_names))
        module.prepare_data()
        module.setup()
        clips = test_clips(module)
    deliver(Path(model_file), Path(folder), config, clips)
