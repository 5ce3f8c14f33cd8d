"""Packages that only some tasks need: which extra of the installation brings one, and the error where it is missing."""

from importlib.util import find_spec

from aed.base.errors import AedError

EXTRAS = {
    "mlflow": "train",
    "tensorboard": "train",
    "h5py": "keras",
    "tflite": "tflite",
    "requests": "cloud",
    "ziglang": "web",
    "distributed": "dask",
    "s3fs": "s3",
    "umap": "umap",
    "cbor2": "cbor",
}
"""Package -> the extra in ``pyproject.toml`` that installs it."""


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported; does not import it."""
    return find_spec(package) is not None


def install_command(package: str) -> str:
    """The command that installs a package of :data:`EXTRAS`."""
    return f"pip install 'aed[{EXTRAS[package]}]'"


def need(package: str, purpose: str) -> None:
    """Refuses to go on without a package of :data:`EXTRAS`; call it before importing the package.

    Args:
        package: Name of the import.
        purpose: What needs it, as the user knows it: a key with its value, or a file.

    Raises:
        AedError: It is not installed; names the command that installs it.
    """
    if not is_installed(package):
        raise AedError(f"{purpose} needs {package}: {install_command(package)}")
