"""``ai_model_config.h`` and ``user_mel_tables.{c,h}``, as ST's 'getting started' audio firmware reads them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.tables import mel_table, window_table
from aed.scoring.labels import OTHER
from aed.target.codegen.text import c_float, c_lines, c_string
from aed.target.firmware.stm32.st_frontend import default_silence_threshold

Variant = Literal["u5", "n6"]

RATES_HZ = (16000, 48000)
FFT_LENGTHS = tuple(2**k for k in range(5, 13))
"""Of CMSIS-DSP's real float32 FFT."""

CONFIG, TABLES_H, TABLES_C = "ai_model_config.h", "user_mel_tables.h", "user_mel_tables.c"

_TYPES = {"u5": "float32_t", "n6": "PREPROC_FLOAT_T"}
_INCLUDES = {"u5": ("arm_math.h",), "n6": ("arm_math.h", "preproc_dpu.h")}


def check_frontend(config: FrontendConfig) -> None:
    """Refuses what the firmware cannot compute at all; a step it computes in another way is no error but a difference.

    Raises:
        AedError: Names the field, the values the firmware takes and the one that came.
    """
    rules: tuple[tuple[str, bool, str], ...] = (
        ("sample_rate", config.sample_rate in RATES_HZ, f"one of {RATES_HZ} Hz"),
        ("n_fft", config.n_fft in FFT_LENGTHS, f"a power of two from {FFT_LENGTHS[0]} to {FFT_LENGTHS[-1]}"),
        ("window", config.window == "hann", "'hann'"),
        ("power", config.power in (1.0, 2.0), "1 (magnitude) or 2 (power)"),
        ("pre_emphasis", not config.filters_samples, "0, or any with frontend.trained_rate"),
        ("log_mean", config.log_mean == 0, "0"),
        ("log_std", config.log_std == 1, "1"),
        ("f_min", config.f_min.is_integer(), "whole Hz"),
        ("f_max", config.f_max.is_integer(), "whole Hz"),
    )
    for field, ok, what in rules:
        if not ok:
            raise AedError(f"frontend.{field}: ST's firmware takes {what}, got {getattr(config, field)!r}")


def check_class_name(name: str) -> None:
    """Refuses a class name that the firmware cannot print in one line.

    Raises:
        AedError: It is empty, no Unicode text, or holds a control character, such as a newline.
    """
    if not name or any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029" for char in name):
        raise AedError(f"class name {name!r}: need text without line breaks and other control characters")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise AedError(f"class name {name!r}: no Unicode text ({error.reason})") from error


@dataclass(frozen=True)
class PackedMel:
    """A mel filter bank without its zeros.

    Args:
        coefficients: Row after row, ``(sum(stop - start + 1),)`` float32.
        start: First bin of each row that is not 0, ``(n_mels,)``.
        stop: Last such bin, inclusive.
    """

    coefficients: npt.NDArray[np.float32]
    start: npt.NDArray[np.uint32]
    stop: npt.NDArray[np.uint32]


def pack_mel(table: npt.NDArray[np.float32]) -> PackedMel:
    """The bank ``(n_mels, bins)`` as the firmware holds it.

    Raises:
        AedError: A band holds no bin; names it.
    """
    if empty := np.flatnonzero(~(table > 0).any(axis=1)).tolist():
        raise AedError(
            f"mel bands {empty} hold no FFT bin: the firmware has no filter for them; use fewer n_mels or a larger "
            "n_fft"
        )
    start = (table > 0).argmax(axis=1)
    stop = table.shape[1] - 1 - (table[:, ::-1] > 0).argmax(axis=1)
    rows = [table[band, start[band] : stop[band] + 1] for band in range(len(table))]
    return PackedMel(np.concatenate(rows), start.astype(np.uint32), stop.astype(np.uint32))


def config_header(
    config: FrontendConfig,
    class_names: Sequence[str],
    *,
    unknown_threshold: float = 0.0,
    silence_threshold: int | None = None,
) -> str:
    """The text of ``ai_model_config.h``, the same for U5 and N6.

    Older firmware reads ``CTRL_X_CUBE_AI_MODE_*``, newer one for the N6 ``CTRL_X_CUBE_AI_MODEL_*``; both are there.

    Args:
        config: The trained front end.
        class_names: In the order of the net's outputs: the firmware prints the name at the index of the largest.
        unknown_threshold: Probability a class has to exceed, else the firmware answers ``unknown``; 0: none.
        silence_threshold: Sum of a patch's magnitudes under which there is no answer; None: ST's, see
            :func:`aed.target.firmware.stm32.st_frontend.default_silence_threshold`.

    Raises:
        AedError: The firmware cannot compute this front end, or an argument is outside its range.
    """
    check_frontend(config)
    _check_decision(class_names, unknown_threshold)
    silence = default_silence_threshold(config) if silence_threshold is None else silence_threshold
    if isinstance(silence, bool) or not isinstance(silence, int) or not -1 <= silence <= 2**24:
        raise AedError(f"silence_threshold: need a whole number, -1 (none) to {2**24}, got {silence!r}")
    shared = _shared_macros(class_names)
    both = [(f"CTRL_X_CUBE_AI_MODE_{name}", value) for name, value in shared]
    both += [(f"CTRL_X_CUBE_AI_MODEL_{name}", f"CTRL_X_CUBE_AI_MODE_{name}") for name, _ in shared]
    sensor = {
        "SENSOR_TYPE": "COM_TYPE_MIC",
        "SENSOR_NAME": '"imp34dt05"',
        "SENSOR_ODR": f"({config.sample_rate}.0F)",
        "SENSOR_FS": "(112.5F)",
        "NB_SAMPLES": "(0U)",
        "PREPROC": "(CTRL_AI_SPECTROGRAM_LOG_MEL)",
    }
    single = [*sensor.items(), *((f"SPECTROGRAM_{key}", value) for key, value in _spectrogram(config, silence).items())]
    single.append(("OOD_THR", f"({c_float(unknown_threshold)})"))
    macros = [*both, *((f"CTRL_X_CUBE_AI_{name}", value) for name, value in single)]
    macros.append(("CTRL_SEQUENCE", "{CTRL_CMD_PARAM_AI,0}"))
    return _guarded("AI_MODEL_CONFIG_H", [f"#define {name:<40} {value}" for name, value in macros])


def _check_decision(class_names: Sequence[str], unknown_threshold: float) -> None:
    if not class_names:
        raise AedError("class_names: need at least one")
    for name in class_names:
        check_class_name(name)
    if not (math.isfinite(unknown_threshold) and 0 <= unknown_threshold < 1):
        raise AedError(f"unknown_threshold: need a probability in [0, 1), got {unknown_threshold}")
    if unknown_threshold and OTHER in class_names:
        raise AedError(
            f"unknown_threshold={unknown_threshold}: the net has a class {OTHER!r} already for what is none of the "
            "rest; use unknown_threshold=0"
        )


def _shared_macros(class_names: Sequence[str]) -> list[tuple[str, str]]:
    """Macros that differ in name between generations of the firmware."""
    names = ",\\\n    ".join(c_string(name) for name in class_names)
    return [
        ("NAME", '"X-CUBE-AI AED"'),
        ("NB_OUTPUT", "(1U)"),
        ("OUTPUT_1", "(CTRL_AI_CLASS_DISTRIBUTION)"),
        ("CLASS_NUMBER", f"({len(class_names)}U)"),
        ("CLASS_LIST", f"{{\\\n    {names}}}"),
    ]


def _spectrogram(config: FrontendConfig, silence: int) -> dict[str, str]:
    return {
        "NMEL": f"({config.n_mels}U)",
        "COL": f"({config.patch_frames}U)",
        "HOP_LENGTH": f"({config.hop_length}U)",
        "NFFT": f"({config.n_fft}U)",
        "WINDOW_LENGTH": f"({config.win_length}U)",
        "NORMALIZE": "(1U)" if config.norm == "slaney" else "(0U)",
        "FORMULA": "(MEL_HTK)" if config.mel_scale == "htk" else "(MEL_SLANEY)",
        "FMIN": f"({int(config.f_min)}U)",
        "FMAX": f"({int(config.f_max)}U)",
        "TYPE": "(SPECTRUM_TYPE_MAGNITUDE)" if config.power == 1 else "(SPECTRUM_TYPE_POWER)",
        "LOG_FORMULA": "(LOGMELSPECTROGRAM_SCALE_DB)" if config.to_db else "(LOGMELSPECTROGRAM_SCALE_LOG)",
        # a whole number: one of the applications reads it in an #if
        "SILENCE_THR": f"({silence})",
        "WIN": "(user_win)",
        "MEL_LUT": "(user_melFiltersLut)",
        "MEL_START_IDX": "(user_melFiltersStartIndices)",
        "MEL_STOP_IDX": "(user_melFiltersStopIndices)",
    }


def _guarded(guard: str, lines: Iterable[str]) -> str:
    """A header: guard, C linkage."""
    head = [f"#ifndef {guard}", f"#define {guard}", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    tail = ["", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */", ""]
    return "\n".join(["/* Written by aed; the next deployment overwrites it. */", *head, *lines, *tail])


def _tables(config: FrontendConfig, variant: Variant) -> dict[str, tuple[str, Sequence[str]]]:
    """Type and items of each table, by name."""
    mel = pack_mel(mel_table(config))
    kind = _TYPES[variant]
    return {
        "user_win": (kind, [c_float(value) for value in window_table(config.window, config.win_length)]),
        "user_melFiltersStartIndices": ("uint32_t", [f"{bin_}U" for bin_ in mel.start]),
        "user_melFiltersStopIndices": ("uint32_t", [f"{bin_}U" for bin_ in mel.stop]),
        "user_melFiltersLut": (kind, [c_float(value) for value in mel.coefficients]),
    }


def tables_header(config: FrontendConfig, variant: Variant) -> str:
    """The text of ``user_mel_tables.h``.

    Args:
        config: A front end that passed :func:`check_frontend`.
        variant: Of the firmware: it decides on the type of the tables.
    """
    includes = ["#include <stdint.h>", *(f'#include "{name}"' for name in _INCLUDES[variant]), ""]
    tables = _tables(config, variant).items()
    lines = [f"extern const {kind} {name}[{len(items)}];" for name, (kind, items) in tables]
    return _guarded("_MEL_USER_TABLES_H", [*includes, *lines])


def tables_source(config: FrontendConfig, variant: Variant) -> str:
    """The text of ``user_mel_tables.c``.

    Args:
        config: A front end that passed :func:`check_frontend`.
        variant: Of the firmware.
    """
    parts = [f'/* Written by aed; the next deployment overwrites it. */\n#include "{TABLES_H}"\n']
    for name, (kind, items) in _tables(config, variant).items():
        parts.append(f"const {kind} {name}[{len(items)}] = {{\n{c_lines(items)}\n}};\n")
    return "\n".join(parts)
