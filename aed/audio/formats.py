"""Files that are recordings: what they are called, and what to do with those that cannot be read."""

import shlex
from pathlib import Path

import soundfile as sf

NOT_UTF8 = "the name is not UTF-8; rename the file"
"""Why a file cannot be used."""

SUFFIXES_OF = {
    "WAV": (".wav", ".wave", ".bwf"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".opus", ".oga"),
    "MP3": (".mp3", ".mp2", ".mpga"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "W64": (".w64",),
    "RF64": (".rf64",),
    "CAF": (".caf",),
    "AU": (".au", ".snd"),
    "NIST": (".sph", ".nist"),
}
"""Formats of libsndfile that are read, and the suffixes that mean them.

Not headerless ones, nor those of samplers and of the nineties: of one that is cut off nothing would tell.
"""

FORMATS = frozenset(SUFFIXES_OF) | {"WAVEX"}
"""Names that libsndfile gives to what is read."""

AUDIO_SUFFIXES = tuple(suffix for name, own in SUFFIXES_OF.items() if name in sf.available_formats() for suffix in own)
"""Of files that are taken for recordings."""

FOREIGN_SUFFIXES = frozenset(
    (
        ".3ga", ".3gp", ".8svx", ".aac", ".ac3", ".adts", ".alac", ".amr", ".ape", ".asf", ".avi",
        ".avr", ".awb", ".dff", ".dsf", ".dts", ".eac3", ".gsm", ".ircam", ".m4a", ".m4b", ".m4r",
        ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".paf", ".pvf", ".qcp", ".ra", ".rm", ".shn",
        ".spx", ".tak", ".tta", ".voc", ".webm", ".weba", ".wma", ".wv",
    )
)  # fmt: skip
"""Of sounds that ffmpeg reads, and libsndfile does not, or not without a look at where they end."""


def conversion(path: Path, options: str = "") -> str:
    """The command that makes a wav of a recording, to be typed in a shell; it writes over nothing."""
    made = path.with_suffix(".wav")
    if made.exists():
        made = path.with_name(f"{path.stem}_{path.suffix.strip('.').lower()}.wav")
    return f"ffmpeg -i {shlex.quote(str(path))}{options} {shlex.quote(str(made))}"


def bad_name(path: Path) -> str:
    """Says of a file, escaped so that it can be printed, that its name is not UTF-8; archives of Windows hold such."""
    return f"{str(path)!a}: {NOT_UTF8}"
