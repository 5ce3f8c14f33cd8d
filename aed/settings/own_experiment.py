"""An experiment file outside of ``configs/``: ``experiment=folder/mine.yaml``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from aed.base.errors import AedError

EXPERIMENT = "experiment="
"""Beginning of the word that chooses one."""

_ENDS = (".yaml", ".yml")


def with_own_experiments(arguments: Sequence[str], config_dir: Path) -> list[str]:
    """Command-line arguments with the names of experiment files in place of their paths; the files are registered.

    Args:
        arguments: Without the program.
        config_dir: Folder of the configuration files, whose experiments keep their names.

    Raises:
        AedError: A file cannot be read, is no mapping, names a class, or is called like another experiment.
    """
    own: dict[str, Path] = {}
    return [_named(word, config_dir, own) if _is_file(word) else word for word in arguments]


def _is_file(word: str) -> bool:
    return word.startswith(EXPERIMENT) and word.endswith(_ENDS)


def _named(word: str, config_dir: Path, own: dict[str, Path]) -> str:
    value = word.removeprefix(EXPERIMENT)
    files = [value] if Path(value).is_file() else value.split(",")
    return EXPERIMENT + ",".join(
        _registered(Path(file), config_dir, own) if file.endswith(_ENDS) else file for file in files
    )


def _registered(path: Path, config_dir: Path, own: dict[str, Path]) -> str:
    name = path.stem
    if not path.is_file():
        raise AedError(f"experiment={path}: no such file")
    if (config_dir / "experiment" / f"{name}.yaml").exists() or own.setdefault(name, path) != path:
        raise AedError(f"experiment={path}: there is another experiment {name}; rename the file")
    try:
        node = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise AedError(f"experiment={path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(node, DictConfig):
        raise AedError(f"experiment={path}: need keys and values, as in {config_dir / 'experiment'}")
    if key := _class_key(OmegaConf.to_container(node, resolve=False), ""):
        raise AedError(f"experiment={path}: {key}: a class is named on the command line, not by a file; {key}=...")
    ConfigStore.instance().store(group="experiment", name=name, node=node, package="_global_")
    return name


def _class_key(value: Any, path: str) -> str:
    """The first key that names what is to be imported; empty if there is none."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in parts:
        whole = f"{path}.{key}".lstrip(".")
        if key == "_target_" or (whole := _class_key(own, whole)):
            return whole
    return ""
