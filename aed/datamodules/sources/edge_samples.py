"""Samples in Edge Impulse's data acquisition format, JSON or CBOR, as 16-bit sound.

docs.edgeimpulse.com/tools/specifications/data-acquisition/json-cbor: ``protected`` says how the file is signed,
``payload`` has ``interval_ms``, ``sensors`` (a name and units each) and ``values``, a number or a list of numbers for
each point in time. Sound has one sensor, whose values are those of 16-bit PCM. The signature is not checked.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from aed.base.errors import AedError, in_brief
from aed.base.extras import need
from aed.base.files import write_whole

SUFFIXES = (".json", ".cbor")

LEAST_HZ = 4000.0
"""What is sampled more slowly than this is no sound: accelerometers and the like have 10 to 1000 Hz."""


def read_sample(file: Path) -> tuple[npt.NDArray[np.int16], int]:
    """Samples ``(T,)`` and their rate in Hz.

    Raises:
        AedError: It is no such file, or holds no sound of one channel.
    """
    payload = _payload(file)
    sensors = payload.get("sensors")
    names = [str(own.get("name")) for own in sensors if isinstance(own, dict)] if isinstance(sensors, list) else []
    if len(names) != 1:
        raise AedError(f"{file}: need the one sensor of a sound, it has {len(names)}: {names}")
    return _samples(payload.get("values"), file), _rate_hz(payload.get("interval_ms"), names[0], file)


def as_wav(file: Path, folder: Path) -> Path:
    """The sample as a wav in ``folder``, written at first use; its name is that of the file and of its content.

    Raises:
        AedError: As :func:`read_sample`.
        WriteError: It cannot be written.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise AedError(f"{file}: cannot be read ({error.strerror})") from error
    wav = folder / digest / f"{file.stem}.wav"
    if not wav.is_file():
        samples, rate_hz = read_sample(file)
        content = io.BytesIO()
        sf.write(content, samples, rate_hz, subtype="PCM_16", format="WAV")
        write_whole(wav, lambda opened: opened.write(content.getbuffer()))
    return wav


def _payload(file: Path) -> dict[str, Any]:
    """What the file holds besides its signature; raises AedError where it is no such file."""
    try:
        if file.suffix.lower() == ".cbor":
            need("cbor2", str(file))
            import cbor2

            content = cbor2.loads(file.read_bytes())
        else:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
    except AedError:
        raise
    except Exception as error:  # whatever a decoder raises
        raise AedError(f"{file}: not readable as {file.suffix[1:].upper()} ({in_brief(error)})") from error
    payload = content.get("payload") if isinstance(content, dict) else None
    if not isinstance(payload, dict):
        raise AedError(f"{file}: is not in Edge Impulse's data acquisition format, which has a payload")
    return payload


def _samples(values: Any, file: Path) -> npt.NDArray[np.int16]:
    """The values as 16-bit samples; those of one sensor may each be a list of one."""
    if not isinstance(values, list) or not values:
        raise AedError(f"{file}: no values")
    flat = [own[0] if isinstance(own, list) and len(own) == 1 else own for own in values]
    for number, value in enumerate(flat):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AedError(f"{file}: value {number} is {str(value)[:40]!r}, need a number")
        if not -32768 <= value <= 32767:
            raise AedError(f"{file}: value {number} is {str(value)[:40]}, beyond 16 bits (-32768 to 32767)")
        if value != int(value):
            raise AedError(f"{file}: value {number} is {value:g}, need whole numbers, those of 16-bit samples")
    return np.array(flat, dtype=np.int16)


def _rate_hz(interval_ms: Any, sensor: str, file: Path) -> int:
    """The sample rate, to a whole number: 44.1 kHz is written as 0.0227 ms or 0.02267573696145125 ms."""
    is_number = isinstance(interval_ms, int | float) and not isinstance(interval_ms, bool)
    if not (is_number and interval_ms > 0 and np.isfinite(interval_ms)):
        raise AedError(f"{file}: interval_ms {interval_ms!r}, need more than 0")
    rate_hz = 1000 / float(interval_ms)
    if not LEAST_HZ <= rate_hz <= 384_000:
        raise AedError(
            f"{file}: interval_ms {interval_ms:g} is {rate_hz:g} Hz of {sensor!r}; need sound, {LEAST_HZ:g} Hz or more"
        )
    return round(rate_hz)
