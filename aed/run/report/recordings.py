"""Where the recordings of a run's clips lie."""

import inspect
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aed import datamodules
from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.events import EventSource
from aed.dsp.frontend import FrontendConfig
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


def recordings_below(folder: str) -> Recordings:
    """All files of a folder, however deep.

    Raises:
        AedError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise AedError(f"audio: {folder}: no such folder")
    return Recordings(path for path in Path(folder).rglob("*") if path.is_file())


def recordings_of(job: Job, folder: str | None) -> tuple[Recordings, str]:
    """The recordings of a run, and why there are none, in words, or "".

    Args:
        job: Whose configuration names the data set: one of the project's own; no other class is constructed.
        folder: Instead: where they lie, however deep.

    Raises:
        AedError: There is no such folder.
    """
    if folder is not None:
        return recordings_below(folder), ""
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


_LENGTHS = ("sample_rate", "min_length_s", "max_length_s", "cut", "lengthen")
_HEARD = (*_LENGTHS, "trim", "trim_top_db", "trim_frame_length", "trim_hop_length", "trim_last_second")
"""What of a front end decides which samples the net hears."""


def sound_key(path: Path, frontend: FrontendConfig) -> tuple[object, ...]:
    """What the sound of a clip depends on, as the net hears it: front ends that differ in features share it."""
    return path, *(getattr(frontend, name) for name in _HEARD)
