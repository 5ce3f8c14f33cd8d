"""A board for tests of the recorder: its frames, written by this file alone, and its C as a program of this machine."""

import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np

from aed.target.firmware.recorder import recorder_files

RATE = 16000


def frame(
    number: int, position: int, samples: np.ndarray, rate_hz: int = RATE, form: tuple[int, int] = (1, 1)
) -> bytes:
    """A frame as aed_record.h says it."""
    head = struct.pack("<4B2BHIII", 0xAE, 0xD5, 0xEA, 0x5D, *form, len(samples), number, position, rate_hz)
    body = head + np.asarray(samples, "<i2").tobytes()
    return body + struct.pack("<I", zlib.crc32(body))


def frames(samples: np.ndarray, rate_hz: int = RATE, size: int = 160) -> list[bytes]:
    """The frames of a stream."""
    starts = range(0, len(samples) - size + 1, size)
    return [frame(number, at, samples[at : at + size], rate_hz) for number, at in enumerate(starts)]


def speech(seconds: float, rate: int = RATE, seed: int = 0, gain: float = 0.25) -> np.ndarray:
    """Something like speech: bursts of low-passed noise and tones, with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    noise = np.convolve(rng.standard_normal(len(t)), np.ones(8) / 8, "same")
    voiced = np.sin(2 * np.pi * 180 * t) + 0.5 * np.sin(2 * np.pi * 1270 * t) + 0.3 * noise
    loud = (np.sin(2 * np.pi * 2.3 * t) > 0) + 0.003
    return np.round(32767 * np.clip(gain * loud * voiced / 1.9, -1, 1) + rng.standard_normal(len(t))).astype(np.int16)


def program(folder: Path, main: str | None = None) -> Path:
    """The board's C, compiled for this machine."""
    folder.mkdir(exist_ok=True)
    for name, text in (recorder_files() | ({"main.c": main} if main else {})).items():
        (folder / name).write_text(text)
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    units = [folder / "aed_record.c", folder / "main.c"]
    subprocess.run(["gcc", *flags, "-o", folder / "recorder", *units], check=True)
    return folder / "recorder"
