"""What the features of a machine depend on, so that machines with the same compute the same."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aed.dsp.frontend import FrontendConfig

LIBRARIES = ("torch", "torchaudio", "numpy", "scipy", "soundfile", "soxr")
"""That read recordings and compute log-mel."""

_PACKAGE = Path(__file__).parents[2]
_CODE = ("audio", "base", "dsp", "datamodules/cache")


def fingerprint(frontend: Mapping[str, Any]) -> dict[str, str]:
    """Version and code of this package, versions of libraries, and the front end as this code understands it.

    Args:
        frontend: ``dataclasses.asdict`` of a front end.

    Raises:
        AedError: This version does not know such a front end.
    """
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "aed": version("aed"),
        "code of aed": digest.hexdigest()[:16],
        **{name: version(name) for name in LIBRARIES},
        "front end": FrontendConfig.from_dict(frontend).feature_key[:16],
    }
