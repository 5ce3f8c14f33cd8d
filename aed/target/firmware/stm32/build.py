"""Building ST's firmware with a deployment package, and flashing it.

The build's command line is that of ST's model zoo; it was tried on a stand-in of STM32CubeIDE, not on the program.
"""

import logging
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from aed.base.errors import AedError
from aed.base.files import temporary_folder, write_whole
from aed.base.processes import finish
from aed.target.firmware.stm32 import flash
from aed.target.firmware.stm32.headers import Variant
from aed.target.firmware.stm32.project import IMAGES, Project, destinations, find_project
from aed.target.firmware.stm32.tools import IDE, PROGRAMMER, SIGNING_TOOL, Command, Tools

log = logging.getLogger(__name__)

_COMPILER_ERROR = re.compile(
    r"^.*(?:\berror: |undefined reference to |cannot find -l|region `\S+' overflowed).*$", re.MULTILINE
)


def build_command(project: Project, ide: Path, workspace: Path) -> Command:
    """The headless build.

    Args:
        project: ST's firmware.
        ide: ``stm32cubeidec``.
        workspace: An empty folder for the IDE.
    """
    words = [str(ide), "--launcher.suppressErrors", "-nosplash"]
    words += ["-application", "org.eclipse.cdt.managedbuilder.core.headlessbuild"]
    words += ["-import", str(project.folder), "-data", str(workspace)]
    words += ["-cleanBuild", f"{project.name}/{project.configuration}"]
    return Command("build the firmware", tuple(words), 1800)


def build_and_flash(
    package: Path,
    root: Path,
    variant: Variant,
    *,
    configuration: str | None = None,
    action: Literal["build", "flash"] = "flash",
    network_dir: Path | None = None,
    probe: str | None = None,
    tools: Tools | None = None,
    dry_run: bool = False,
    show: Callable[[str], object] = print,
) -> list[Command]:
    """Puts a package into ST's firmware, builds it, flashes the board; returns the commands.

    Args:
        package: Folder of a complete package.
        root: Folder of ST's firmware, with one STM32CubeIDE project; its headers and network code are overwritten.
        variant: Which firmware it is.
        configuration: Build configuration; None: ``Debug`` for the U5, ``BM`` for the N6.
        action: ``build`` stops before the board.
        network_dir: Folder under ``root`` for network code; None: where there is some already.
        probe: Serial number of the ST-LINK; None: the only one.
        tools: Paths of ST's programs; None: searched for.
        dry_run: Only show what would be copied and run; nothing has to be installed.
        show: Takes a line: a copy, a command, an instruction for the board's switches.

    Raises:
        AedError: A program is missing or fails, the build leaves no image, or the probe is not clear.
    """
    tools = tools or Tools()
    project = find_project(root, variant, configuration)
    targets = destinations(package, project, network_dir)
    ide = tools.path(IDE, dry_run)
    programmer = tools.path(PROGRAMMER, dry_run) if action == "flash" else None
    signing_tool = tools.path(SIGNING_TOOL, dry_run) if action == "flash" and variant == "n6" else None
    if programmer is not None and not dry_run:
        probe = flash.choose_probe(flash.list_probes(programmer), probe)  # before a build of minutes
        if variant == "n6":
            flash.check_n6(project, package, programmer)
    for source, path in targets.items():
        if dry_run:
            show(f"cp {shlex.quote(str(source))} {shlex.quote(str(path))}")
        else:
            content = source.read_bytes()
            write_whole(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
    if dry_run:
        image = project.output / f"{project.name}{IMAGES[variant]}"
        commands = [build_command(project, ide, Path("WORKSPACE"))]
        show(str(commands[0]))
    else:
        with temporary_folder("aed_cubeide_") as workspace:
            commands = [build_command(project, ide, workspace)]
            image = _build(project, commands[0])
    if programmer is None:
        return commands
    flashing = flash.flash_commands(project, image, programmer, signing_tool, probe)
    if variant == "n6":
        show(flash.BOOT_SWITCH["before"])
        weights, to = flash.weights_of(package), flash.weights_image(project)
        show(f"cp {shlex.quote(str(weights))} {shlex.quote(str(to))}")
        if not dry_run:  # the programmer goes by the suffix
            shutil.copyfile(weights, to)
    for command in flashing:
        show(str(command))
        if not dry_run:
            flash.run_command(command)
    if variant == "n6":
        show(flash.BOOT_SWITCH["after"])
    return [*commands, *flashing]


def _build(project: Project, command: Command) -> Path:
    """Runs the build and returns its image."""
    suffix = IMAGES[project.variant]
    before = {path: path.stat().st_mtime_ns for path in project.output.glob(f"*{suffix}")}
    log.info("%s: %s", command.what, command)
    done = finish(command.words, command.timeout_s)
    if "no config matched" in done.output.lower():
        raise AedError(
            f"{project.name} has no build configuration {project.configuration}; choose stm32.configuration="
        )
    error = _COMPILER_ERROR.search(done.output)
    first = error.group().strip() if error else done.tail or "it printed nothing"
    if done.code:
        raise AedError(f"build of {project.name}/{project.configuration} failed (exit code {done.code}): {first}")
    images = sorted(path for path in project.output.glob(f"*{suffix}") if not path.stem.endswith("_signed"))
    images = [path for path in images if before.get(path) != path.stat().st_mtime_ns]
    if not images and suffix == ".bin" and any(project.output.glob("*.elf")):
        raise AedError(f"{project.output}: no new .bin; let the project convert its .elf to binary (post-build output)")
    if len(images) != 1:
        what = (
            f"no new {suffix}"
            if not images
            else f"{len(images)} new {suffix} ({', '.join(path.name for path in images)})"
        )
        raise AedError(f"build of {project.name}/{project.configuration} left {what} in {project.output}: {first}")
    return images[0]
