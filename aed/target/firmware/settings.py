"""Settings of the library of C and of the package for ST's audio firmware."""

from dataclasses import dataclass
from typing import Literal

from aed.target.codegen.prefix import DEFAULT
from aed.target.codegen.settings import PlanKind, PlanSettings
from aed.target.firmware.formats.delivery import FormatKind


@dataclass(frozen=True, kw_only=True)
class CSettings:
    """The library of C.

    Args:
        prefix: First part of every name that other files see: ``doorbell`` gives ``doorbell_net_run`` and
            ``DOORBELL_CLASSES``, so that the libraries of several models can be in one firmware.
        plan: ``layers``: each layer for the whole patch, then the next. ``rows``: a row of each layer at a time, as far
            as that takes the least RAM. ``auto``: one of them, the least RAM at no more than a few percent more
            instructions. ``stream``: each column of features once, for nets without padding along time.
        hop: Columns between two decisions of a stream, a multiple of the net's stride along time; null: the front end's
            ``patch_hop``.
        learn: Sounds that the device can learn from examples; each takes as many bytes of RAM as an embedding has
            values. The model needs ``decision.means``.
        format: Whose tools take the folder in; it is a package of CMake in any case. ``zephyr``: a module. ``arduino``,
            ``platformio``: a library. ``cmsis``: a CMSIS-Pack. ``all``: all of these at once.
        url: Address of the project that the library belongs to, for these manifests.
    """

    prefix: str = DEFAULT
    plan: PlanKind = "auto"
    hop: int | None = None
    learn: int = 0
    format: FormatKind = "cmake"
    url: str = "https://example.com"

    @property
    def planning(self) -> PlanSettings:
        """Those of how the net is run."""
        return PlanSettings(plan=self.plan, hop=self.hop)


@dataclass(frozen=True, kw_only=True)
class Stm32Settings:
    """The package for ST's audio firmware, its build and its flashing.

    Args:
        board: One of the files in ``configs/boards`` that names such a firmware.
        action: ``package`` alone, or also ``build`` the firmware, or also ``flash`` it to the board.
        project: Folder of ST's firmware, for ``build`` and ``flash``.
        configuration: Build configuration; null: ``Debug`` for the U5, ``BM`` for the N6.
        original: The ``.tflite``, int8 in and float out, that the model was imported from: ST's tool makes its C of
            that file as it is; null: of the model.
        network_dir: Folder under ``project`` for the network's code, where the project has none yet.
        probe: Serial number of the ST-LINK; needed where several are plugged in.
        dry_run: Print the commands of build and flash instead of running them.
        unknown_threshold: Probability that a class has to exceed, else the firmware answers ``unknown``; 0: none;
            null: that of the model card. The library of C always has the card's.
        silence_threshold: Sum of a patch's magnitudes that must be exceeded for an answer; -1: none; null: ST's.
        rtos: Which of ST's applications.
        neural_art: ``profile`` or ``profile@file.json`` for the Neural-ART accelerator; null: the tool's default.
        memory_pool: JSON file with the board's memories, for ``stedgeai``; null: the tool's default.
        tool: ``stedgeai`` or its folder; null: searched for on the PATH and in the usual folders.
        cube_ide: ``stm32cubeidec`` or its folder; null: searched for.
        programmer: ``STM32_Programmer_CLI`` or its folder; null: searched for.
        signing_tool: ``STM32_SigningTool_CLI`` or its folder; null: searched for.
        timeout_s: Seconds after which ``stedgeai`` is stopped.
    """

    board: str = "b-u585i-iot02a"
    action: Literal["package", "build", "flash"] = "package"
    project: str | None = None
    configuration: str | None = None
    original: str | None = None
    network_dir: str | None = None
    probe: str | None = None
    dry_run: bool = False
    unknown_threshold: float | None = None
    silence_threshold: int | None = None
    rtos: Literal["freertos", "threadx"] = "freertos"
    neural_art: str | None = None
    memory_pool: str | None = None
    tool: str | None = None
    cube_ide: str | None = None
    programmer: str | None = None
    signing_tool: str | None = None
    timeout_s: float = 1800.0
