"""What Hydra does anew for each configuration, done once: tests compose thousands of them in one process."""

import copy
import functools
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hydra._internal import config_repository
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

from aed.settings import typed

parsed = functools.cache(lambda text: OmegaConf.load(io.StringIO(text)))


def load(file: Any) -> Any:
    """What ``OmegaConf.load`` does, which reads the same YAML for long."""
    text = file.read()
    try:
        return copy.deepcopy(parsed(text))
    except Exception:  # whose message names the file
        file.seek(0)
        return OmegaConf.load(file)


def begin_repository(self: Any, delegate: Any) -> None:
    """A repository with a list of sources of its own; Hydra's copies all schemas, and then each that it reads again."""
    self.delegate, self.cache = copy.copy(delegate), {}


def mode_of(asked: Callable[..., Any]) -> Callable[..., Any]:
    """A configuration is composed for ``hydra.mode`` only where somebody may have said it."""

    def get_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        return asked(self, config_name, overrides) if "hydra" in "".join(overrides) else None

    return get_mode


def once(composes: Callable[..., Any]) -> Callable[..., Any]:
    """The configuration that knows which keys are text, composed once for the same choices; it is only read."""
    known: dict[tuple[object, ...], Any] = {}

    def compose(name: str, overrides: list[str], return_hydra_config: bool) -> Any:
        key = (typed.CONFIG_DIR, name, *overrides)
        if key not in known:
            known[key] = composes(name, overrides=overrides, return_hydra_config=return_hydra_config)
        return known[key]

    return compose


def install(patch: pytest.MonkeyPatch) -> None:
    """Makes Hydra in this process quick."""
    for source in (file_config_source, importlib_resources_config_source):
        patch.setattr(source, "OmegaConf", SimpleNamespace(load=load))
    patch.setattr(config_repository.CachingConfigRepository, "__init__", begin_repository)
    patch.setattr(Hydra, "get_mode", mode_of(Hydra.get_mode))
    patch.setattr(typed, "compose", once(typed.compose))
