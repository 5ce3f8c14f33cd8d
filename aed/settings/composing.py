"""Configurations composed within a command whose own configuration Hydra has composed already."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from aed.base.errors import AedError, find_aed_error
from aed.base.paths import CONFIG_DIR
from aed.settings.hydra_errors import explain


@contextmanager
def aside() -> Iterator[None]:
    """Puts the Hydra of the command itself aside, so that there can be another one."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer


@contextmanager
def beside_hydra() -> Iterator[None]:
    """Lets :func:`hydra.compose` read the configuration files, whatever the command itself has composed."""
    with aside(), initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        yield


def compose_beside(name: str, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """A configuration as the command line composes it.

    Args:
        name: The primary configuration; its schemas are registered.
        overrides: As typed, quoted for Hydra.
        with_hydra: Whether it has Hydra's own part, which says what was chosen of each group.

    Raises:
        AedError: It does not compose; in the words of the command line.
    """
    try:
        with beside_hydra():
            return compose(name, overrides=list(overrides), return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        known = find_aed_error(error) or explain(error, CONFIG_DIR)
        raise known or AedError(str(error).splitlines()[0]) from error
