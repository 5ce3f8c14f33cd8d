"""ST's firmware on this machine: its project, and the paths of a package's files in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from aed.base.errors import AedError
from aed.target.firmware.stm32.headers import CONFIG, Variant
from aed.target.firmware.stm32.package import HEADERS, MANIFEST, NETWORK

CONFIGURATIONS: dict[Variant, str] = {"u5": "Debug", "n6": "BM"}
"""Build configurations to begin with."""

IMAGES: dict[Variant, str] = {"u5": ".elf", "n6": ".bin"}


@dataclass(frozen=True)
class Project:
    """ST's firmware on this machine.

    Args:
        root: The user's folder: sources and project.
        folder: Of the STM32CubeIDE project in it.
        name: Of that project.
        configuration: What is built.
        variant: Of the firmware.
    """

    root: Path
    folder: Path
    name: str
    configuration: str
    variant: Variant

    @property
    def output(self) -> Path:
        """Folder in which the IDE builds."""
        return self.folder / self.configuration


def find_project(root: Path, variant: Variant, configuration: str | None = None) -> Project:
    """ST's firmware in a folder.

    Args:
        root: Its folder, with one STM32CubeIDE project in it.
        variant: Which firmware it is.
        configuration: Build configuration; None: the usual one.

    Raises:
        AedError: There is no project, more than one, or it lacks the configuration.
    """
    if not root.is_dir():
        raise AedError(f"stm32.project={root}: no such folder; unpack ST's 'getting started' audio firmware there")
    root = root.resolve()
    folders = sorted(path.parent for path in root.rglob(".cproject"))
    if len(folders) != 1:
        listed = ", ".join(str(path) for path in folders) or "none"
        raise AedError(
            f"stm32.project={root}: need a folder with one STM32CubeIDE project (.cproject), there are: {listed}"
        )
    try:
        name = ElementTree.parse(folders[0] / ".project").getroot().findtext("name")
        settings = ElementTree.parse(folders[0] / ".cproject").getroot().iter("cconfiguration")
        known = [
            str(part.get("name")) for item in settings for part in item.findall("storageModule") if part.get("name")
        ]
    except (OSError, ElementTree.ParseError) as error:
        raise AedError(f"stm32.project={folders[0]}: its .project or .cproject cannot be read ({error})") from error
    if not name:
        raise AedError(f"stm32.project={folders[0]}: its .project has no name")
    chosen = configuration or CONFIGURATIONS[variant]
    if known and chosen not in known:
        raise AedError(f"stm32.configuration={chosen}: {name} has {known}")
    return Project(root, folders[0], name, chosen, variant)


def destinations(package: Path, project: Project, network_dir: Path | None = None) -> dict[Path, Path]:
    """The path of each C file of a package in a project: over the file of that name, else beside its siblings.

    Args:
        package: Folder of a complete package.
        project: ST's firmware.
        network_dir: Folder under the project's root for network code, where the project came without any.

    Raises:
        AedError: The package is none, or the project has no folder, or several, for a file.
    """
    if not (package / MANIFEST).is_file():
        raise AedError(f"{package}: no deployment package ({MANIFEST} is missing)")
    there: dict[str, list[Path]] = {}
    for path in project.root.rglob("*.[ch]"):
        if package.resolve() not in path.parents:
            there.setdefault(path.name, []).append(path)
    near = ("network.c", "network.h")
    placed: dict[Path, Path] = {}
    for source in sorted((package / HEADERS).glob("*.[ch]")):
        placed[source] = _destination((source.name, f"user_mel_tables{source.suffix}", CONFIG), there, project)
    for source in sorted((package / NETWORK).rglob("*.[ch]")):
        if network_dir is not None:
            placed[source] = project.root / network_dir / source.name
        else:
            names = (source.name, f"network{source.suffix}", f"network_data{source.suffix}", *near)
            placed[source] = _destination(names, there, project)
    return placed


def _destination(names: Sequence[str], there: dict[str, list[Path]], project: Project) -> Path:
    """The path for the first of ``names``: over itself, else beside the first of the others that is there."""
    for candidate in names:
        paths = there.get(candidate, [])
        if len(paths) > 1:
            listed = ", ".join(str(path.relative_to(project.root)) for path in paths)
            raise AedError(
                f"stm32.project={project.root}: {candidate} is there {len(paths)} times ({listed}); name one part of it"
            )
        if paths:
            return paths[0].with_name(names[0])
    advice = (
        "is it ST's audio firmware?" if CONFIG in names else "say where network code goes, stm32.network_dir=<folder>"
    )
    raise AedError(f"stm32.project={project.root}: no {names[-1]} in it, so no folder for {names[0]}; {advice}")
