"""Folders of configurations, data, published weights and cache; only this module reads their environment variables."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def config_dir(package: Path) -> Path:
    """The YAML files of an installation: inside the package, or in a checkout beside it.

    Args:
        package: Folder of the package ``aed``.
    """
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


CONFIG_DIR = config_dir(_PACKAGE)
"""Folder of the YAML files; absolute, since Hydra takes a relative path as relative to the calling module."""


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
