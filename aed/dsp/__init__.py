"""Signal processing from recordings to log-mel patches: pure functions of a FrontendConfig."""

from aed.dsp.frontend import PRESETS, FrontendConfig

__all__ = ["PRESETS", "FrontendConfig"]
