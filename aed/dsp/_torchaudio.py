"""torchaudio's transforms, imported so that a CPU-only torch can load them.

torchaudio's Linux wheel carries one compiled extension, built against CUDA; with a CPU torch, importing it
raises ``OSError`` (libc10_cuda.so is missing). The extension serves only the RNN-T loss and forced alignment,
which nothing here uses, so on that error a stand-in replaces it. No other file imports torchaudio.
"""

import sys
from types import ModuleType


def _import_torchaudio() -> None:
    try:
        import torchaudio.transforms  # noqa: F401
    except OSError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        stand_in = ModuleType("torchaudio._extension")
        stand_in._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
        stand_in._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
        stand_in.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
        stand_in._check_cuda_version = lambda: None  # type: ignore[attr-defined]
        sys.modules["torchaudio._extension"] = stand_in


_import_torchaudio()

from torchaudio import transforms  # noqa: E402

__all__ = ["transforms"]
