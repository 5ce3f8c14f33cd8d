"""Errors end in one line: which of them, and in what words."""

import errno
import logging
import sqlite3
from pathlib import Path

import pytest

from aed.base.errors import KNOWN, AedError
from aed.base.files import WriteError, write_whole
from aed.settings.entry import clear_errors, in_words


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except type(error) as made:
        return made


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WriteError("a.csv: cannot be written"), "a.csv: cannot be written"),
        (raised(RuntimeError("of a library"), WriteError("a.csv: cannot be written")), "a.csv: cannot be written"),
        (raised(OSError(errno.ENOSPC, "full"), AedError("this disk is full")), "this disk is full"),
        (OSError(errno.ENOSPC, "full"), "output: no space left"),
        (PermissionError(errno.EACCES, "no", "a.csv"), "a.csv: permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "no", "a/b"), "a/b: a file lies where a folder is needed"),
        (raised(RuntimeError("MLflow"), sqlite3.OperationalError("database or disk is full")), "disk is full"),
        (sqlite3.DatabaseError("file is not a database"), "file is not a database; logger=csv"),
        (OSError(errno.EBADF, "a fault of ours"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_what_a_user_can_put_right_is_said_in_words(
    error: BaseException, words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    said = in_words(error)
    assert (said is None) == (words is None) and (words or "") in (said or "")
    with pytest.raises(SystemExit if words else type(error)) as caught, clear_errors(logging.getLogger("x")):
        raise error
    assert words is None or (caught.value.code == 1 and words in caplog.text)


@pytest.mark.parametrize("place", ["file/a.csv", "/proc/nothing/a.csv", "/dev/full"])
def test_a_failed_write_of_ours_is_among_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / place, lambda file: file.write(bytes(9000)))
    assert f"{tmp_path / place}: cannot be written" in str(in_words(caught.value))


def test_reasons_are_words_not_numbers() -> None:
    assert all(text[0].islower() and "Errno" not in text for text in KNOWN.values())
