"""What a board runs to send its microphone's sound to ``aed record``: C for any project, with a loop to copy."""

from importlib.resources import files
from pathlib import Path

from aed.audio.board_frames import HIGHEST_HZ, LOWEST_HZ
from aed.base.errors import AedError
from aed.base.files import whole_folder
from aed.target.codegen.prefix import DEFAULT, renamed

MARK = "aed_record.h"
"""A folder without it was not written by aed and is not replaced."""

LINE = "#define RATE_HZ 16000U "
"""Of ``main.c``, with the rate of the microphone."""


def recorder_files(rate_hz: int = 16000, prefix: str = DEFAULT) -> dict[str, str]:
    """File name -> content.

    Args:
        rate_hz: Of the microphone.
        prefix: Of every name that another file of a firmware can see; checked.
    """
    folder = files("aed.target.firmware") / "c" / "recorder"
    names = ("aed_record.c", "aed_record.h", "main.c", "README.md")
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    texts["main.c"] = texts["main.c"].replace(LINE, LINE.replace("16000", str(rate_hz)))
    return {renamed(name, prefix): renamed(text, prefix) for name, text in texts.items()}


def write_recorder(folder: Path, rate_hz: int = 16000) -> None:
    """Writes the sources; the folder is whole or, where something fails, as it was before.

    Raises:
        AedError: The rate is none, or the folder holds something else.
    """
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise AedError(f"rate: need {LOWEST_HZ} to {HIGHEST_HZ} Hz, got {rate_hz}")
    with whole_folder(folder, MARK) as staging:
        for name, text in recorder_files(rate_hz).items():
            (staging / name).write_text(text, encoding="utf-8")
