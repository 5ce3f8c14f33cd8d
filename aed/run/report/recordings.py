"""Where the recordings of a run's clips lie, and their sound as the net hears it, small enough for a page."""

import base64
import inspect
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import soundfile as sf

from aed import datamodules
from aed.audio.audio_file import AudioFile
from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.events import EventSource
from aed.dsp.frontend import FrontendConfig
from aed.dsp.waveform import Wave, cut_clip, mono
from aed.run.report.jobs import Job

log = logging.getLogger(__name__)


class Recordings:
    """Recordings by the names that the files of a run have for them.

    Args:
        paths: All that the data set has.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths: dict[str, list[Path]] = {}
        for path in paths:
            self._paths.setdefault(path.name, []).append(path)

    def find(self, name: str) -> Path | None:
        """The one existing recording of that name, which begins with folders where the file's own is not enough."""
        own = self._paths.get(Path(name).name, [])
        found = [path for path in own if len(own) == 1 or path.as_posix().endswith(f"/{name}")]
        return found[0] if len(found) == 1 and found[0].is_file() else None


def recordings_of(job: Job, folder: str | None) -> tuple[Recordings, str]:
    """The recordings of a run, and why there are none, in words, or "".

    Args:
        job: Whose configuration names the data set: one of the project's own; no other class is constructed.
        folder: Instead: where they lie, however deep.

    Raises:
        AedError: There is no such folder.
    """
    if folder is not None:
        if not Path(folder).is_dir():
            raise AedError(f"audio: {folder}: no such folder")
        return Recordings(path for path in Path(folder).rglob("*") if path.is_file()), ""
    data = job.config.get("data")
    clips = data.get("clips") if isinstance(data, dict) else None
    kind = clips.get("_target_", "") if isinstance(clips, dict) else ""
    name = str(kind).rpartition(".")[2]
    known = getattr(datamodules, name) if name in datamodules.__all__ else None
    if not (inspect.isclass(known) and issubclass(known, ClipSource) and f"{known.__module__}.{name}" == kind):
        return Recordings(()), "The run's folder does not say where its recordings lie: give audio=<folder>."
    assert isinstance(clips, dict)
    if issubclass(known, EventSource):
        return Recordings(()), "The clips of annotated recordings have no player."
    try:
        source = known(**_settings(clips, job.cwd))
        return Recordings(source.table()["path"]), ""
    except (AedError, TypeError, OSError) as error:
        log.warning("no sound in the report: %s", error)
        return Recordings(()), f"The recordings are not where they were: {error}"


def _settings(clips: dict[str, Any], cwd: Path) -> dict[str, Any]:
    """Arguments of the data set; of names of files, those that were relative to where the command was typed."""
    own = {key: value for key, value in clips.items() if key != "_target_"}
    moved = {
        key: str(cwd / value)
        for key, value in own.items()
        if isinstance(value, str) and value and (cwd / value).exists()
    }
    return own | moved | ({"download": False} if "download" in own else {})


def heard(path: Path, frontend: FrontendConfig) -> Wave:
    """A clip as the net hears it: mono, at the front end's rate, without the silence that is trimmed, ``(T,)``.

    Raises:
        AudioError: It cannot be read.
    """
    with AudioFile(path) as file:
        samples = mono(file.read(int(frontend.max_length_s * file.rate)))
        return cut_clip(samples, file.rate, frontend, path)[0]


def data_uri(wave: Wave, rate: int, form: Literal["FLAC", "OGG"]) -> str:
    """Samples as FLAC, or as Ogg Vorbis of a fifth the size.

    Args:
        wave: ``(T,)``.
        rate: In Hz.
        form: Vorbis is encoded nine times as fast as Opus by the same library, in as few bytes.
    """
    file = io.BytesIO()
    subtype = "PCM_16" if form == "FLAC" else "VORBIS"
    with sf.SoundFile(file, "w", rate, 1, subtype=subtype, format=form) as sound:
        for start in range(0, len(wave), rate):  # libsndfile's stack cannot hold long ones at once
            sound.write(wave[start : start + rate])
    return f"data:audio/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
