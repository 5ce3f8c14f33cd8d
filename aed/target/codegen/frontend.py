"""The tables of the C front end: all values of ``c/aed_frontend.c`` that depend on the front end.

The numbers come from :mod:`aed.dsp.tables`, which training uses too.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.dsp.frontend import AMIN_POWER
from aed.dsp.gate import new_samples
from aed.dsp.tables import mel_table, window_table
from aed.target.codegen import costs
from aed.target.codegen.fixed import EXACT, fixed_sources
from aed.target.codegen.text import c_float, c_lines

Array = npt.NDArray[np.float64]

MIN_N_FFT, MAX_N_FFT = 16, 65536
"""FFT lengths the C code takes: at least one pass with twiddles, and offsets that fit uint16_t."""

FILES = (EXACT, "aed_spectrum.h", "aed_spectrum.c", "aed_frontend.h", "aed_frontend.c")
"""The C code that is the same for every front end."""

SMALLEST_WEIGHT = 2.0**-37
"""Smaller mel weights are 0: no product gets so small that a core with MVE, which knows no denormals, sees 0 for it."""

_NAME = "aed_frontend_tables"


def frontend_kernel() -> dict[str, str]:
    """File name -> content of the C code that is the same for every front end."""
    return fixed_sources(FILES)


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
    window, first, count = _window(config)
    points = config.n_fft // 2
    halvings = sum(step.halvings for step in _passes(points))
    input_bits = _input_bits(window)
    split = _unit_circle(np.arange(1, points // 2 + 1) / config.n_fft, bits=31)
    runs, weights = _mel_runs(config)

    constants = {
        "SAMPLE_RATE": str(config.sample_rate),
        "N_FFT": str(config.n_fft),
        "POINTS": str(points),
        "LOG2_POINTS": str(points.bit_length() - 1),
        "HOP_LENGTH": str(config.hop_length),
        "WINDOW_FIRST": str(first),
        "WINDOW_COUNT": str(count),
        "INPUT_BITS": str(input_bits),
        "HALVINGS": str(halvings),
        "POWER": str(int(config.power)),
        "N_MELS": str(config.n_mels),
        "PATCH_FRAMES": str(config.patch_frames),
        "PATCH_HOP": str(config.patch_hop),
        "TO_DB": str(int(config.to_db)),
        **_logarithm(config),
        "SCALE": c_float(input_scale),
        "ZERO_POINT": f"({input_zero_point})",
    }
    twiddles = _twiddles(points)
    tables = {
        f"int32_t aed_fe_window[{len(window)}]": map(str, _fixed(window, input_bits + 1)),
        f"int32_t aed_fe_twiddles[{len(twiddles)}]": map(str, twiddles),
        f"int32_t aed_fe_split[{len(split)}][2]": (f"{{{c}, {s}}}" for c, s in split),
        f"uint16_t aed_fe_order[{points // 4}]": (str(8 * index) for index in _bit_reversed(points // 4)),
        f"uint16_t aed_fe_mel_first[{len(runs)}]": (str(begin) for begin, _ in runs),
        f"uint16_t aed_fe_mel_count[{len(runs)}]": (str(end - begin) for begin, end in runs),
        f"float aed_fe_mel_weights[{len(weights)}]": map(c_float, weights.tolist()),
    }
    return {f"{_NAME}.h": _header(constants, tables), f"{_NAME}.c": _source(tables)}


def column_state_bytes(config: FrontendConfig) -> int:
    """``sizeof(aed_columns)`` on a 32-bit core."""
    return 2 * config.n_fft + 2 * 4 + 4 * (config.n_fft + 1)  # samples; fill, skip; work buffer


def state_bytes(config: FrontendConfig) -> int:
    """``sizeof(aed_frontend)`` on a 32-bit core."""
    return column_state_bytes(config) + -(-config.n_mels * config.patch_frames // 4) * 4 + 2 * 4  # ring; next, wanted


def table_bytes(config: FrontendConfig) -> int:
    """Bytes of the tables of :func:`frontend_sources`."""
    points = config.n_fft // 2
    runs, weights = _mel_runs(config)
    words = config.n_fft + len(_twiddles(points)) + 2 * (points // 2) + len(weights)
    return 4 * words + 2 * (points // 4 + 2 * len(runs))


def column_instructions(config: FrontendConfig) -> float:
    """Instructions of a column of features on a core with SMLAD, estimated; see :mod:`aed.target.codegen.costs`."""
    passes, weights = len(_passes(config.n_fft // 2)), len(_mel_runs(config)[1])
    return costs.column(config.n_fft, passes, config.n_mels, weights, new_samples(config))


def _check(config: FrontendConfig, scale: float, zero_point: int) -> None:
    if config.not_streamable:
        raise AedError(f"a device cannot compute this front end: {'; '.join(config.not_streamable)}")
    if not MIN_N_FFT <= config.n_fft <= MAX_N_FFT or config.n_fft & (config.n_fft - 1):
        raise AedError(
            f"frontend.n_fft: the C front end needs a power of two, {MIN_N_FFT} to {MAX_N_FFT}, got {config.n_fft}"
        )
    if config.sample_bits not in (16, None):
        raise AedError(f"frontend.sample_bits: the C front end takes 16-bit samples, got {config.sample_bits}")
    if config.filters_samples:
        raise AedError(
            "frontend.pre_emphasis: the C front end weighs bands and does not filter samples; type "
            f"frontend.trained_rate={config.sample_rate} for the same in training"
        )
    if config.power not in (1.0, 2.0):
        raise AedError(f"frontend.power: the C front end needs 1 (magnitude) or 2 (power spectrum), got {config.power}")
    if not (math.isfinite(scale) and np.finfo(np.float32).tiny <= scale <= np.finfo(np.float32).max):
        raise AedError(f"input scale: need a positive float32, got {scale}")
    if not -128 <= zero_point <= 127:
        raise AedError(f"input zero point: need an int8, -128 to 127, got {zero_point}")


def _window(config: FrontendConfig) -> tuple[Array, int, int]:
    """The window, ``(n_fft,)`` with zeros around, and where it is not 0: first sample and count, in eights.

    ``torch.stft`` centres it: ``(n_fft - win_length) // 2`` zeros come first.
    """
    window = window_table(config.window, config.win_length)
    if window.min() <= -0.999 or window.max() > 1 + 1e-6:
        raise AedError(f"frontend.window: the C front end needs values in (-0.999, 1], {config.window!r} has others")
    before = (config.n_fft - config.win_length) // 2
    whole = np.pad(window, (before, config.n_fft - config.win_length - before)).clip(max=1)
    first, end = before // 8 * 8, -(-(before + config.win_length) // 8) * 8
    return whole, first, end - first


class _Pass(NamedTuple):
    """A pass of the FFT with twiddles: points of its transforms before and after, and how often it halves."""

    length: int
    end: int
    halvings: int


def _passes(points: int) -> list[_Pass]:
    """Of radix 4 from 4 points on, the first of radix 2 where the number of points is no power of 4.

    The first one and the last two halve once, the others twice: see ``aed_spectrum.c``.
    """
    ends = [4, 8] if points.bit_length() % 2 == 0 else [4]
    while ends[-1] < points:
        ends.append(4 * ends[-1])
    return [_Pass(*run, 1 if run[0] == 4 or run[1] >= points // 4 else 2) for run in pairwise(ends)]


def _input_bits(window: Array) -> int:
    """Bits of the windowed samples, at most 28, such that no pass of the FFT gives more than 2^31.

    A value is at most the sum of all samples it is made of. 2^15 are left for rounding. In the results of the last two
    passes, two halvings more may be chosen for a sound.
    """
    points = len(window) // 2
    passes = _passes(points)
    halvings, room = 0, [2.0**28]
    for end, more in [(4, 0), *((step.end, step.halvings) for step in passes)]:
        halvings += more
        extra = 2 if len(passes) > 1 and end >= points // 4 else 0
        loudest = np.abs(window).reshape(end, points // end, 2).sum(axis=(0, 2)).max()
        room.append((2**31 - 2**15) * 2 ** (halvings + extra) / loudest)
    return math.floor(math.log2(min(room)))


def _twiddles(points: int) -> list[int]:
    """(cos, sin) of all passes in the order ``aed_spectrum.c`` reads them; their unit divides as the pass has to."""
    values: list[int] = []
    for length, end, halvings in _passes(points):
        for angle in range(1, end // length):
            turns = angle * np.arange(length) / end
            values += (part for pair in _unit_circle(turns, 32 - halvings) for part in pair)
    return values


def _unit_circle(turns: Array, bits: int) -> list[tuple[int, int]]:
    """cos and sin of angles in units of 2^-bits, at most 2^31 - 1."""
    return list(zip(*(_fixed(part(2 * np.pi * turns), bits) for part in (np.cos, np.sin)), strict=True))


def _mel_runs(config: FrontendConfig) -> tuple[list[tuple[int, int]], npt.NDArray[np.float32]]:
    """First bin and end of each mel band, and the weights from there to there, band after band.

    A band beyond half the rate is one bin of weight 0.
    """
    table = mel_table(config)
    bands = np.where(table < SMALLEST_WEIGHT, np.float32(0), table)
    silent = bands.max(axis=1) == 0
    if empty := np.flatnonzero(silent & (table.max(axis=1) > 0)).tolist():
        raise AedError(
            f"frontend: mel bands {empty} have no weight over {SMALLEST_WEIGHT:.0e}; use another f_min or f_max"
        )
    used = [np.flatnonzero(band) if band.any() else np.array([0]) for band in bands]
    runs = [(int(bins[0]), int(bins[-1]) + 1) for bins in used]
    return runs, np.concatenate([band[begin:end] for band, (begin, end) in zip(bands, runs, strict=True)])


def _logarithm(config: FrontendConfig) -> dict[str, str]:
    """Constants of :func:`aed.dsp.logmel.compress`."""
    if config.to_db:
        assert config.db_ref is not None  # not_streamable
        decibel = 20 / config.power
        least = {"FLOOR": c_float(AMIN_POWER ** (config.power / 2))}
        factor, mean = decibel / math.log(10), decibel * math.log10(config.db_ref) + config.log_mean
    else:
        least = {"LOG_OFFSET": c_float(config.log_offset)}
        factor, mean = 1.0, config.log_mean
    factor, shift = factor / config.log_std, mean / config.log_std
    scales = int((factor, shift) != (1, 0))
    return least | {"SCALES_LOG": str(scales), "LOG_FACTOR": c_float(factor), "LOG_SHIFT": c_float(shift)}


def _bit_reversed(points: int) -> list[int]:
    bits = points.bit_length() - 1
    return [int(f"{index:0{bits}b}"[::-1], 2) for index in range(points)]


def _fixed(values: Array, bits: int) -> list[int]:
    """Values in units of 2^-bits, saturated to 32 bits."""
    integers: list[int] = np.rint(values * 2.0**bits).clip(max=2**31 - 1).astype(np.int64).tolist()
    return integers


def _header(constants: dict[str, str], tables: Iterable[str]) -> str:
    defines = "\n".join(f"#define AED_FE_{name} {value}" for name, value in constants.items())
    externs = "\n".join(f"extern const {declaration};" for declaration in tables)
    return f"""\
/* Generated by aed.target.codegen.frontend: sizes and tables of aed_frontend.c and aed_spectrum.c. */
#ifndef AED_FRONTEND_TABLES_H
#define AED_FRONTEND_TABLES_H

#include <stdint.h>

{defines}

/*
 * window in units of 2^-(AED_FE_INPUT_BITS + 1); twiddles (cos, sin) pass after pass; split: those of the real bins;
 * order: where the first pass writes its butterflies; mel weights band after band
 */
{externs}

#endif /* AED_FRONTEND_TABLES_H */
"""


def _source(tables: Mapping[str, Iterable[str]]) -> str:
    bodies = "\n".join(f"const {name} = {{\n{c_lines(items)}\n}};\n" for name, items in tables.items())
    return f'/* Generated by aed.target.codegen.frontend. */\n#include "{_NAME}.h"\n\n{bodies}'
