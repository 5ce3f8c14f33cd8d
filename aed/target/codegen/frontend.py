"""The tables of the C front end: all values of ``c/aed_frontend.c`` that depend on the front end.

The numbers come from :mod:`aed.dsp.tables`, which training uses too.
"""

import math
from collections.abc import Iterable, Mapping
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.dsp.frontend import AMIN_POWER
from aed.dsp.tables import mel_table, window_table
from aed.target.codegen.text import c_float, c_lines

Array = npt.NDArray[np.float64]

MIN_N_FFT, MAX_N_FFT = 16, 65536
"""FFT lengths the C code takes: at least one radix-4 pass, and bins that fit uint16_t."""

Q30 = 1 << 30
"""1.0 in the fixed-point tables."""

_NAME = "aed_frontend_tables"


def frontend_kernel() -> dict[str, str]:
    """File name -> content of the C code that is the same for every front end."""
    folder = files("aed.target.codegen") / "c"
    return {name: (folder / name).read_text(encoding="utf-8") for name in ("aed_frontend.h", "aed_frontend.c")}


def frontend_sources(config: FrontendConfig, input_scale: float, input_zero_point: int) -> dict[str, str]:
    """File name -> content of the tables that ``aed_frontend.c`` is compiled with; the same bytes on every run.

    Args:
        config: The front end.
        input_scale: Of the net's int8 input: log-mel value = scale * (q - zero_point).
        input_zero_point: Of the net's int8 input.

    Raises:
        AedError: The front end cannot run on a stream, or its sample width, FFT length, power, window or
            quantisation is one that the C code does not support.
    """
    _check(config, input_scale, input_zero_point)
    window, first = _window(config)
    points = config.n_fft // 2
    angle = 2 * np.pi * np.arange(3 * config.n_fft // 4) / config.n_fft
    twiddles = (f"{{{c}, {s}}}" for c, s in zip(_q30(np.cos(angle)), _q30(np.sin(angle)), strict=True))
    bands = mel_table(config)
    runs = [(int(used[0]), int(used[-1]) + 1) for used in map(np.flatnonzero, bands)]
    weights = np.concatenate([band[begin:end] for band, (begin, end) in zip(bands, runs, strict=True)])

    constants = {
        "SAMPLE_RATE": str(config.sample_rate),
        "N_FFT": str(config.n_fft),
        "POINTS": str(points),
        "LOG2_POINTS": str(points.bit_length() - 1),
        "HOP_LENGTH": str(config.hop_length),
        "WINDOW_FIRST": str(first),
        "WINDOW_COUNT": str(len(window)),
        "INPUT_BITS": str(_input_bits(config.n_fft, window)),
        "POWER": str(int(config.power)),
        "N_MELS": str(config.n_mels),
        "PATCH_FRAMES": str(config.patch_frames),
        "PATCH_HOP": str(config.patch_hop),
        "TO_DB": str(int(config.to_db)),
        **_logarithm(config),
        "SCALE": c_float(input_scale),
        "ZERO_POINT": f"({input_zero_point})",
    }
    tables = {
        f"int32_t aed_fe_window[{len(window)}]": map(str, _q30(window)),
        f"int32_t aed_fe_twiddles[{len(angle)}][2]": twiddles,
        f"uint16_t aed_fe_order[{points}]": map(str, _bit_reversed(points)),
        f"uint16_t aed_fe_mel_first[{len(runs)}]": (str(begin) for begin, _ in runs),
        f"uint16_t aed_fe_mel_count[{len(runs)}]": (str(end - begin) for begin, end in runs),
        f"float aed_fe_mel_weights[{len(weights)}]": map(c_float, weights.tolist()),
    }
    return {f"{_NAME}.h": _header(constants, tables), f"{_NAME}.c": _source(tables)}


def state_bytes(config: FrontendConfig) -> int:
    """``sizeof(aed_frontend)`` on a 32-bit core."""
    samples, columns = 2 * config.n_fft, config.n_mels * config.patch_frames
    aligned = [-(-size // 4) * 4 for size in (samples, columns)]
    return sum(aligned) + 4 * (config.n_fft + 1) + 4 * 4  # work buffer; fill, skip, next, wanted


def table_bytes(config: FrontendConfig) -> int:
    """Bytes of the tables of :func:`frontend_sources`."""
    window, _ = _window(config)
    bands = [np.flatnonzero(band) for band in mel_table(config)]
    weights = sum(int(used[-1]) + 1 - int(used[0]) for used in bands)
    return 4 * len(window) + 8 * (3 * config.n_fft // 4) + 2 * config.n_fft // 2 + 4 * config.n_mels + 4 * weights


def _check(config: FrontendConfig, scale: float, zero_point: int) -> None:
    if config.not_streamable:
        raise AedError(f"a device cannot compute this front end: {'; '.join(config.not_streamable)}")
    if not MIN_N_FFT <= config.n_fft <= MAX_N_FFT or config.n_fft & (config.n_fft - 1):
        raise AedError(
            f"frontend.n_fft: the C front end needs a power of two, {MIN_N_FFT} to {MAX_N_FFT}, got {config.n_fft}"
        )
    if config.sample_bits not in (16, None):
        raise AedError(f"frontend.sample_bits: the C front end takes 16-bit samples, got {config.sample_bits}")
    if config.power not in (1.0, 2.0):
        raise AedError(f"frontend.power: the C front end needs 1 (magnitude) or 2 (power spectrum), got {config.power}")
    if not (math.isfinite(scale) and np.finfo(np.float32).tiny <= scale <= np.finfo(np.float32).max):
        raise AedError(f"input scale: need a positive float32, got {scale}")
    if not -128 <= zero_point <= 127:
        raise AedError(f"input zero point: need an int8, -128 to 127, got {zero_point}")


def _window(config: FrontendConfig) -> tuple[Array, int]:
    """The window, zeros added so that it begins and ends between pairs of samples, and its first sample in the frame.

    ``torch.stft`` centres it: ``(n_fft - win_length) // 2`` zeros come first.
    """
    window = window_table(config.window, config.win_length)
    if window.min() <= -0.999 or window.max() > 1 + 1e-6:
        raise AedError(f"frontend.window: the C front end needs values in (-0.999, 1], {config.window!r} has others")
    first = (config.n_fft - config.win_length) // 2
    before = first % 2
    return np.pad(window, (before, (before + len(window)) % 2)).clip(max=1), first - before


def _input_bits(n_fft: int, window: Array) -> int:
    """Bits of the windowed samples such that the passes of the FFT can halve their sum to under 2^30.

    A first radix-4 pass halves once, a first radix-2 pass not at all, every later radix-4 pass twice: together
    ``log2(n_fft) - 2`` times. The sum is rounded up by a sample's ``n_fft / 4``.
    """
    room = (2**30 - 2**15) * (n_fft // 4) - n_fft * n_fft // 4
    return min(29, math.floor(math.log2(room / np.abs(window).sum())))


def _logarithm(config: FrontendConfig) -> dict[str, str]:
    """Constants of :func:`aed.dsp.logmel.compress`."""
    if not config.to_db:
        return {"LOG_OFFSET": c_float(config.log_offset)}
    assert config.db_ref is not None  # not_streamable
    factor = 20 / config.power
    return {
        "FLOOR": c_float(AMIN_POWER ** (config.power / 2)),
        "DB_FACTOR": c_float(factor / math.log(10)),
        "DB_REF": c_float(factor * math.log10(config.db_ref)),
    }


def _bit_reversed(points: int) -> list[int]:
    bits = points.bit_length() - 1
    return [int(f"{index:0{bits}b}"[::-1], 2) for index in range(points)]


def _q30(values: Array) -> list[int]:
    integers: list[int] = np.rint(values * Q30).astype(np.int64).tolist()
    return integers


def _header(constants: dict[str, str], tables: Iterable[str]) -> str:
    defines = "\n".join(f"#define AED_FE_{name} {value}" for name, value in constants.items())
    externs = "\n".join(f"extern const {declaration};" for declaration in tables)
    return f"""\
/* Generated by aed.target.codegen.frontend: sizes and tables of aed_frontend.c. */
#ifndef AED_FRONTEND_TABLES_H
#define AED_FRONTEND_TABLES_H

#include <stdint.h>

{defines}

/* window and twiddles (cos, sin) in units of 2^-30; mel weights band after band */
{externs}

#endif /* AED_FRONTEND_TABLES_H */
"""


def _source(tables: Mapping[str, Iterable[str]]) -> str:
    bodies = "\n".join(f"const {name} = {{\n{c_lines(items)}\n}};\n" for name, items in tables.items())
    return f'/* Generated by aed.target.codegen.frontend. */\n#include "{_NAME}.h"\n\n{bodies}'
