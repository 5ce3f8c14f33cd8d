"""An experiment composed and checked as ``aed train`` does it, up to the data and the weights."""

import functools
import re
from typing import Any

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from aed.base.errors import AedError, find_aed_error
from aed.base.paths import CONFIG_DIR
from aed.run.check_config import check_training
from aed.run.pipeline import check_stages
from aed.run.registry import check_net_class, register
from aed.run.stages import choose_stages
from aed.settings.composing import beside_hydra
from aed.settings.hydra_errors import check, explain

_NAME = "migrated"

_ELSEWHERE = ("predict", "evaluate")
"""Stages whose recordings and tools, as the data, may be on another machine."""


def check_experiment(tree: dict[str, Any]) -> None:
    """Refuses an experiment that a training would refuse.

    Args:
        tree: Content of its file.

    Raises:
        AedError: It does not compose, or a value is out of range.
    """
    try:
        config = _composed(tree)
        check(config, CONFIG_DIR)
        stages = choose_stages(config.stages, config.operation_mode, config.evaluate.on)
        config.stages = [name for name in stages if name not in _ELSEWHERE]
        check_stages(config)
        check_training(config.trainer, config.stages)
        check_net_class(config.model.net)
        instantiate(config.data, _convert_="all")
        for callback in config.callbacks.values():
            instantiate(callback, _convert_="all")
        classes = len(config.data.class_names or ()) + bool(config.data.garbage_class)
        model = instantiate(config.model, net={"num_classes": max(2, classes)}, pretrained=False, _convert_="all")
        model.try_schedule(config.trainer.max_epochs)
    except AedError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        known = find_aed_error(error) or explain(error, CONFIG_DIR)
        raise known or AedError(str(error).splitlines()[0]) from error


def _composed(tree: dict[str, Any]) -> DictConfig:
    """The configuration, as Hydra makes it of a file: first its choices, then its values."""
    choices = tuple(next(iter(choice.items())) for choice in tree["defaults"])
    values = _without_environment({key: value for key, value in tree.items() if key != "defaults"})
    config = OmegaConf.merge(_of_choices(choices), values)
    assert isinstance(config, DictConfig)
    return config


def _without_environment(value: Any) -> Any:
    """Texts with a word in place of each variable of the environment, which may be another where training runs."""
    if isinstance(value, dict):
        return {key: _without_environment(own) for key, own in value.items()}
    return re.sub(r"\$\{oc\.env:\w+\}", "variable", value) if isinstance(value, str) else value


@functools.cache  # most of the time of many files; they differ in values
def _of_choices(choices: tuple[tuple[str, str], ...]) -> DictConfig:
    register()
    node = OmegaConf.create({"defaults": [dict([choice]) for choice in choices]})
    ConfigStore.instance().store(group="experiment", name=_NAME, node=node, package="_global_")
    with beside_hydra():
        config = compose("train", overrides=[f"experiment={_NAME}"])
    with open_dict(config):
        config.output_dir = "."
        config.pop("logger")  # named by the run
    return config
