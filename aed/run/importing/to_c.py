"""The C library of an imported model."""

from pathlib import Path

from aed.base.errors import AedError
from aed.base.files import check_replaceable
from aed.run.importing.written import Ready
from aed.target.codegen.lower import lower
from aed.target.firmware.library import MARK


def check_for_c(file: Path, ready: Ready, folder: Path) -> None:
    """Refuses a model of which there is no C library, before anything is written.

    Raises:
        AedError: It is float, an operator has no C form, or the folder holds something else.
    """
    if ready.card.quantization is None or ready.graph is None:
        raise AedError(f"c: {file} is float, C needs int8; give recordings too: calibrate=<folder>")
    check_replaceable(folder, MARK)
    try:
        lower(ready.graph)
    except AedError as error:
        raise AedError(f"c: {file}: {error}") from error


def deliver_c(model: Path, folder: Path) -> None:
    """Writes the C library of an int8 model; see :func:`aed.run.deploy.deliver`."""
    from aed.run.deploy import DeployConfig, deliver  # here: it brings what reads data sets

    deliver(model, folder, DeployConfig(target="c"))
