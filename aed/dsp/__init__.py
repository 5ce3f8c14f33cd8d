"""Signal processing, pure: a recording goes in, log-mel patches come out."""

from aed.dsp.frontend import PRESETS, FrontendConfig

__all__ = ["PRESETS", "FrontendConfig"]
