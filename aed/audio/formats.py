"""Formats and file names of recordings, and the conversion of those that cannot be read."""

import shlex
from pathlib import Path

import soundfile as sf

NOT_UTF8 = "the name is not UTF-8; rename the file"
"""Reason why a file cannot be used."""

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
"""libsndfile's names of the formats that are read, and their suffixes.

Headerless formats, and those of samplers and the nineties, are left out: a truncated file could not be detected.
"""

FORMATS = frozenset(SUFFIXES_OF) | {"WAVEX"}
"""libsndfile's names of all formats that are read."""

AUDIO_SUFFIXES = tuple(suffix for name, own in SUFFIXES_OF.items() if name in sf.available_formats() for suffix in own)
"""Suffixes of the recordings that the installed libsndfile reads."""

FOREIGN_SUFFIXES = frozenset(
    (
        ".3ga", ".3gp", ".8svx", ".aac", ".ac3", ".adts", ".alac", ".amr", ".ape", ".asf", ".avi",
        ".avr", ".awb", ".dff", ".dsf", ".dts", ".eac3", ".gsm", ".ircam", ".m4a", ".m4b", ".m4r",
        ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".paf", ".pvf", ".qcp", ".ra", ".rm", ".shn",
        ".spx", ".tak", ".tta", ".voc", ".webm", ".weba", ".wma", ".wv",
    )
)  # fmt: skip
"""Suffixes of formats that ffmpeg reads and libsndfile does not, or whose end it does not check."""


def conversion(path: Path, options: str = "") -> str:
    """The shell command that converts a recording to wav; its output is a new file."""
    output = path.with_suffix(".wav")
    if output.exists():
        output = path.with_name(f"{path.stem}_{path.suffix.strip('.').lower()}.wav")
    return f"ffmpeg -i {shlex.quote(str(path))}{options} {shlex.quote(str(output))}"


def bad_name(path: Path) -> str:
    """The message that a file name is not UTF-8, with the name escaped; archives written on Windows contain such."""
    return f"{str(path)!a}: {NOT_UTF8}"
