"""Flashing ST's firmware: probes, signing, and what goes to which address.

The command lines are those of ST's model zoo and of the scripts beside its firmware; they were tried on stand-ins of
the programs, not on the programs themselves.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import finish
from aed.target.firmware.stm32.package import NETWORK
from aed.target.firmware.stm32.project import Project
from aed.target.firmware.stm32.tools import Command

log = logging.getLogger(__name__)

FSBL_ADDRESS, APPLICATION_ADDRESS, WEIGHTS_ADDRESS = 0x70000000, 0x70100000, 0x70180000
"""In the external flash of the STM32N6570-DK: first boot loader, signed application, weights."""

LOADER = "ExternalLoader/MX66UW1G45G_STM32N6570-DK.stldr"
"""Beside STM32_Programmer_CLI."""

FSBL = "fsbl_fw_lrun_v*.bin"
WEIGHTS = "network_atonbuf.xSPI2.raw"

BOOT_SWITCH = {
    "before": "STM32N6570-DK: set BOOT1 to the right (development boot) and reset the board before flashing.",
    "after": "STM32N6570-DK: set BOOT1 back to the left (boot from flash) and reset the board.",
}

_PROGRAMMER_ERROR = re.compile(r"^\s*Error\s*:.*$", re.M | re.I)
_PROBE = re.compile(r"^\s*ST-LINK SN\s*:\s*(\S+)\s*$", re.M | re.I)


def flash_commands(
    project: Project, image: Path, programmer: Path, signing_tool: Path | None, probe: str | None
) -> list[Command]:
    """The commands that write an image to the board.

    Args:
        project: ST's firmware.
        image: ``.elf`` for the U5, ``.bin`` for the N6.
        programmer: ``STM32_Programmer_CLI``.
        signing_tool: ``STM32_SigningTool_CLI``, for the N6.
        probe: Serial number; None: the only one.
    """
    serial = [] if probe is None else [f"sn={probe}"]
    if project.variant == "u5":
        words = [str(programmer), "-c", "port=swd", *serial, "-d", str(image), "-s", "-q"]
        return [Command("flash the firmware", tuple(words), 600)]
    signed = image.with_name(f"{image.stem}_signed.bin")
    sign = [str(signing_tool), "-s", "-bin", str(image), "-nk", "-t", "ssbl", "-hv", "2.3", "-o", str(signed)]
    loader = programmer.parent / LOADER
    parts = [("boot loader", _fsbl(project), FSBL_ADDRESS), ("application", signed, APPLICATION_ADDRESS)]
    parts += [("weights", weights_image(project), WEIGHTS_ADDRESS)]
    connect = [str(programmer), "-c", "port=swd", *serial, "mode=HOTPLUG", "ap=1", "--extload", str(loader)]
    writes = [Command(f"flash the {what}", (*connect, "-w", str(path), hex(to)), 600) for what, path, to in parts]
    return [Command("sign the application", tuple(sign), 120), *writes]


def weights_of(package: Path) -> Path:
    """The file of the N6's weights in the package; the usual path where there is none."""
    return next(iter(sorted(package.rglob(WEIGHTS))), package / NETWORK / WEIGHTS)


def weights_image(project: Project) -> Path:
    """The path of the weights under a name that the programmer takes."""
    return project.output / WEIGHTS.replace(".raw", ".bin")


def _fsbl(project: Project) -> Path:
    images = sorted(project.root.rglob(FSBL))
    return images[-1] if images else project.root / FSBL.replace("*", "1.2.0")


def list_probes(programmer: Path) -> list[str]:
    """Serial numbers of the ST-LINK probes that are plugged in.

    Raises:
        AedError: The program fails.
    """
    done = finish([programmer, "-l"], 60)
    sections = re.split(r"^=====\s*(.*?)\s*=====\s*$", done.output, flags=re.M)
    # without headings: all of it; with: not the serial ports, where a probe is named again
    texts = [text for name, text in zip(sections[1::2], sections[2::2], strict=True) if "link" in name.lower()]
    probes = list(dict.fromkeys(_PROBE.findall("\n".join(texts or sections))))
    if done.code and not probes:
        raise AedError(f"{programmer.name} -l failed with exit code {done.code}: {done.tail}")
    return probes


def choose_probe(probes: Sequence[str], wanted: str | None) -> str:
    """The probe to flash with.

    Raises:
        AedError: There is none, the wanted one is missing, or there are several and none is wanted.
    """
    if not probes:
        raise AedError("no ST-LINK probe found: plug the board's ST-LINK in, look at cable and driver (udev rules)")
    if wanted is not None:
        if wanted not in probes:
            raise AedError(f"stm32.probe={wanted}: there is no such probe; there are {list(probes)}")
        return wanted
    if len(probes) > 1:
        raise AedError(f"{len(probes)} probes are plugged in: say which, stm32.probe=SN with one of {list(probes)}")
    return probes[0]


def check_n6(project: Project, package: Path, programmer: Path) -> None:
    """Refuses, before the build, to flash an N6 where a file is missing."""
    needed = {
        weights_of(package): "the network's weights; is the package for the N6?",
        _fsbl(project): "ST's first boot loader, of the firmware's Binaries folder",
        programmer.parent / LOADER: "the loader of the board's external flash, part of STM32CubeProgrammer",
    }
    for path, what in needed.items():
        if not path.is_file():
            raise AedError(f"{path}: missing; it is {what}")


def run_command(command: Command) -> None:
    """Runs a flash or sign command.

    Raises:
        AedError: It failed, by its exit code or by its output.
    """
    log.info("%s: %s", command.what, command)
    if "-o" in command.words:  # an old file would pass for a new one
        Path(command.words[-1]).unlink(missing_ok=True)
    done = finish(command.words, command.timeout_s)
    error = _PROGRAMMER_ERROR.search(done.output)
    if done.code or error:
        reason = error.group().strip() if error else done.tail or "it printed nothing"
        raise AedError(f"{command.what} failed (exit code {done.code}): {reason}")
    if "-o" in command.words and not Path(command.words[-1]).is_file():
        raise AedError(f"{command.what}: {command.words[-1]} was not written: {done.tail or 'it printed nothing'}")
