"""Folders of configurations, models, data, published weights and cache; only this module reads their variables."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_dir(package: Path, name: str) -> Path:
    """A folder of files that travel with the code: inside the package, or in a checkout beside it.

    Args:
        package: Folder of the package ``aed``.
        name: Of the folder.
    """
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


CONFIG_DIR = shipped_dir(_PACKAGE, "configs")
"""Folder of the YAML files; absolute, since Hydra takes a relative path as relative to the calling module."""

ZOO_DIR = shipped_dir(_PACKAGE, "zoo")
"""Folder of the trained models that are shipped; :mod:`aed.base.zoo` knows their names."""


def data_dir() -> Path:
    """``$AED_DATA_DIR``, else ``data`` in the current folder."""
    return Path(os.environ.get("AED_DATA_DIR") or "data")


def cache_dir() -> Path:
    """``$AED_CACHE_DIR``, else ``aed`` in the user's cache folder (XDG)."""
    if named := os.environ.get("AED_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aed"


def pretrained_dir() -> Path:
    """``$AED_PRETRAINED_DIR``, else ``pretrained`` in the cache folder."""
    named = os.environ.get("AED_PRETRAINED_DIR")
    return Path(named) if named else cache_dir() / "pretrained"
