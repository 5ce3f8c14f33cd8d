"""Predictions for files: which recordings are meant, and one after the other through a predictor to a writer."""

import glob
import logging
from collections.abc import Sequence
from pathlib import Path

from aed.audio.audio_file import STDIN
from aed.audio.recordings import list_recordings
from aed.base.errors import AedError, AudioError
from aed.inference.prediction import Predictor
from aed.inference.writers import Writer

log = logging.getLogger(__name__)


def find_files(names: Sequence[str]) -> list[str]:
    """The recordings meant by files, folders (recursive), globs and ``-``; each once, in order.

    Raises:
        AedError: A name matches nothing.
    """
    files: list[str] = []
    for name in names:
        path = Path(name).expanduser()
        if name == STDIN or path.is_file():
            files.append(name if name == STDIN else str(path))
        elif path.is_dir():
            inside = list_recordings(path)
            if not inside:
                raise AedError(f"files: {name} holds no recording (wav, flac, ogg, mp3, aif ...)")
            files += map(str, inside)
        else:
            # pathlib's glob takes no absolute pattern
            matches = sorted(item for item in glob.glob(str(path), recursive=True) if Path(item).is_file())  # noqa: PTH207
            if not matches:
                raise AedError(f"files: {name}: no such file, folder or match")
            files += matches
    if not files:
        raise AedError("files: name recordings, folders or globs, or - for standard input")
    return list(dict.fromkeys(files))


def predict_all(predictor: Predictor, names: Sequence[str], writer: Writer, strict: bool = False) -> int:
    """Writes the predictions of one recording after the other; returns how many recordings could not be used.

    A warning names each of these, a last one their number.

    Args:
        predictor: Of a model.
        names: As :func:`find_files` returns them.
        writer: Of the predictions; closed after the last recording.
        strict: Stop at the first that cannot be used.

    Raises:
        AudioError: ``strict``, and a recording cannot be used.
        AedError: None can be used.
    """
    bad = 0
    for name in names:
        recording = predictor.recording(name)
        try:
            for prediction in recording:
                writer.patch(recording, prediction)
            writer.end(recording)
        except AudioError as error:
            if strict:
                raise
            writer.discard()
            log.warning("left out: %s", error)
            bad += 1
    writer.close()
    if bad:
        log.warning("%d of %d recordings could not be used", bad, len(names))
    if bad == len(names):
        raise AedError("files: no recording could be used")
    return bad
