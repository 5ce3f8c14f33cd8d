"""Front end, net and classes of the model that a run starts from replace the configured ones.

The log says which, before anything is computed, as overrides of the command line.
"""

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from aed.base.errors import AedError
from aed.base.overrides import override
from aed.base.paths import CONFIG_DIR
from aed.datamodules.selection import class_settings
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card
from aed.modules.rebuild import net_facts
from aed.modules.trained import Trained

log = logging.getLogger(__name__)


def take_over(config: DictConfig, folder: Path) -> Trained | ModelCard | None:
    """Copies front end, net and classes of the model that a run starts from into its configuration.

    A run that trains on has to be configured as the checkpoint was; others take over settings that were not typed.

    Args:
        config: Of the run, changed in place.
        folder: Of the run; without ``ckpt_path``, the model is its ``checkpoints/best.ckpt``, else its ``model.onnx``.

    Returns:
        The model; None where the run starts anew.

    Raises:
        AedError: The model cannot be read, or a setting that was typed, or that training needs, differs from it.
    """
    trains = "fit" in config.stages
    if trains and not config.ckpt_path:
        return None
    checkpoint = Path(config.ckpt_path or folder / "checkpoints" / "best.ckpt")
    path = checkpoint if checkpoint.is_file() else folder / "model.onnx"
    if not path.is_file():
        return None
    model = (
        Trained.load(path, str(config.model.net.get("_target_")))
        if path == checkpoint
        else read_model_card(load_model(path), path)
    )
    theirs, typed = fixed_settings(model), set(_typed())
    if "model.aggregate" in typed and not trains:  # how clips are scored may be changed
        del theirs["model.aggregate"]
    other = differing_settings(config, theirs)
    overrides = [*_choice_of_net(other), *(override(key, value) for key, value in other.items() if key != _TARGET)]
    if trains and overrides:
        raise AedError(
            f"ckpt_path: {path} was trained with other settings; to train on from it, add {' '.join(overrides)}"
        )
    if _TARGET not in other:
        typed.discard("model.net")  # the class alone, which is the model's
    if clash := sorted(item for item in typed if any(f"{key}.".startswith(f"{item}.") for key in other)):
        raise AedError(
            f"{', '.join(clash)}: front end, net and classes are those of {path}; leave it out, or type the same: "
            f"{' '.join(overrides)}"
        )
    if not trains:
        _put(config, theirs, isinstance(model, Trained))
        if overrides:
            log.info("%s: settings used from it: %s", path, " ".join(overrides))
    return model


_TARGET = "model.net._target_"


def differing_settings(config: DictConfig, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model that are others in a configuration, by key; class names that are not set are not."""
    ours = _defaults(config) | {key: _plain(config, key) for key in theirs if _is_set(config, key)}
    if ours.get("data.class_names") is None:  # those of the data, whose order may be the same
        ours["data.class_names"] = theirs["data.class_names"]
    return {key: value for key, value in theirs.items() if ours.get(key) != value}


def fixed_settings(model: Trained | ModelCard) -> dict[str, Any]:
    """The settings that a model fixes, by the keys of a run's configuration."""
    settings: dict[str, Any] = {f"frontend.{key}": value for key, value in asdict(model.frontend).items()}
    settings["model.aggregate"] = model.decision.aggregate
    settings["data.multi_label"] = model.task == "multi_label"
    settings |= {f"data.{key}": value for key, value in class_settings(model.class_names, model.data).items()}
    if isinstance(model, Trained):
        facts = net_facts(model.net)
        settings[_TARGET] = facts["class"]
        settings |= {f"model.net.{key}": _listed(value) for key, value in facts["arguments"].items()}
        del settings["model.net.num_classes"]  # the data's
    return settings


def _listed(value: Any) -> Any:
    """Tuples as lists, as a configuration has them."""
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _is_set(config: DictConfig, key: str) -> bool:
    return OmegaConf.select(config, key, throw_on_missing=False, default=_NOTHING) is not _NOTHING


_NOTHING = object()


def _defaults(config: DictConfig) -> dict[str, Any]:
    """Arguments of the configured net that its class has defaults for, by the keys of a configuration."""
    try:
        parameters = inspect.signature(get_class(config.model.net.get("_target_"))).parameters.values()
    except Exception:  # whatever a user's module raises; reported where the net is built
        return {}
    return {f"model.net.{own.name}": _listed(own.default) for own in parameters if own.default is not own.empty}


def _plain(config: DictConfig, key: str) -> Any:
    value = OmegaConf.select(config, key, throw_on_missing=False)
    if key == _TARGET and value:
        try:
            cls = get_class(value)
        except Exception:  # whatever a user's module raises; reported where the net is built
            return value
        return f"{cls.__module__}.{cls.__qualname__}"
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _choice_of_net(other: Mapping[str, Any]) -> list[str]:
    """The override that chooses another class of net."""
    if _TARGET not in other:
        return []
    name = other[_TARGET].rpartition(".")[2].lower()
    ours = other[_TARGET].startswith("aed.") and (CONFIG_DIR / "model" / "net" / f"{name}.yaml").is_file()
    return [f"model/net={name}"] if ours else ["model/net=user", override(_TARGET, other[_TARGET])]


def _typed() -> Iterable[str]:
    """Keys that were typed, with dots."""
    items = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return [item.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".") for item in items]


def _put(config: DictConfig, theirs: Mapping[str, Any], has_net: bool) -> None:
    with open_dict(config):
        for key, value in theirs.items():
            if not key.startswith("model.net."):
                OmegaConf.update(config, key, value)
        if has_net:
            start = "model.net."
            own = {key.removeprefix(start): value for key, value in theirs.items() if key.startswith(start)}
            config.model.net = OmegaConf.create({"num_classes": MISSING, **own}, flags={"struct": False})
            config.model.pretrained = False  # its weights are in the checkpoint, as is a head that was solved for
            config.model.head, config.model.head_constant = "trained", None
