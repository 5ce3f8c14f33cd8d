"""What the stages of a run left and from what: so that a later one skips those whose results are up to date.

Each stage leaves ``.stages/<stage>.json``, written whole at its end: a digest of all that it depends on, digests of the
files it wrote, and the metrics. The digest is of the configuration, up to its own settings; of the sounds (paths,
labels, splits, and of their files size, times and inode); of files and folders that the configuration names; of the
package's own files and the versions of libraries; of other programs that it calls.
"""

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.run.stages import STAGES
from aed.scoring import tables

log = logging.getLogger(__name__)

FOLDER = ".stages"
"""In a run's folder."""

LAST = Path("checkpoints") / "last.ckpt"
"""In a run's folder: the last epoch of a training."""

_PACKAGE = Path(__file__).parents[1]
LIBRARIES = (
    "torch",
    "torchaudio",
    "lightning",
    "torchmetrics",
    "numpy",
    "scipy",
    "scikit-learn",
    "onnx",
    "onnxruntime",
)
"""Whose versions can change a result."""

_PROGRAMS = {"benchmark": ("gcc", "arm-none-eabi-gcc", "qemu-system-arm"), "deploy": ("gcc", "arm-none-eabi-gcc")}
_VARIABLES = ("STEDGEAI_PATH", "AED_DATA_DIR", "AED_PRETRAINED_DIR")
_ALWAYS = ("predict", "detect")
"""Stages that read recordings by patterns, which are always done anew."""

_NOT_OURS = ("stages", "operation_mode", "resume", "output_dir", "optimized_metric")
"""Keys that change no result of a stage."""

_NO_INPUTS = ("_target_", "output_dir", "cache_dir")
"""Keys whose values name no file that a stage reads."""

_OWN_TARGETS = ("aed.", "torch.", "lightning.")
_OF_LOGGERS = ("metrics.csv", "hparams.yaml", "metrics.json")
"""Files that are written all the time."""


@dataclass
class Records:
    """Records of a run's stages.

    Args:
        folder: Of the run.
        keys: Stage -> digest of all that it depends on, in the order of the run; empty: nothing is known for sure.
        why: Why nothing is.
    """

    folder: Path
    keys: dict[str, str]
    why: str = ""
    _before: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: DictConfig, folder: Path, data: PatchDataModule) -> "Records":
        """Those of a run that is about to begin.

        Args:
            config: Composed; its stages are chosen.
            folder: Of the run.
            data: Not yet prepared.
        """
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)  # type: ignore[assignment]
        if foreign := sorted(name for name in _targets(plain) if not name.startswith(_OWN_TARGETS)):
            return cls(folder, {}, f"{foreign[0]} is no class of this package, and may have changed")
        inputs = {key: value for key, value in plain.items() if key != "logger"}  # into whose folders each run writes
        common = {
            "code": code_digest(),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            "variables": {name: os.environ.get(name) for name in _VARIABLES},
            "sounds": _sounds(data),
            "files": {name: _content(Path(name)) for name in sorted(_paths(inputs)) if not _is_within(name, folder)},
        }
        stages = list(config.stages)
        keys = {}
        for at, stage in enumerate(stages):
            facts = common | {"stages": stages[: at + 1], "settings": _settings(plain, stages[: at + 1])}
            facts["programs"] = [_program(name) for name in _PROGRAMS.get(stage, ())]
            keys[stage] = _digest(facts)
        return cls(folder, keys)

    def up_to_date(self) -> list[str]:
        """The first stages whose results are there, unchanged, and of all that they depend on as it is now."""
        records = {stage: record for stage in self.keys if (record := self._read(stage))}
        written: dict[str, str] = {}
        for record in records.values():
            written |= record["outputs"]  # a later stage may write a file again
        found: list[str] = []
        for stage, key in self.keys.items():
            record = records.get(stage)
            if stage in _ALWAYS or record is None or record.get("key") != key or record["begun"]:
                break
            if any(_digest_of(self.folder / name) != written[name] for name in record["outputs"]):
                break
            found.append(stage)
        return found

    def begun(self, stage: str) -> bool:
        """Whether the stage was begun with all as it is now, left a checkpoint of its own, and did not end."""
        record = self._read(stage)
        is_same = record is not None and record["begun"] and record["key"] == self.keys.get(stage)
        return bool(is_same and record and record.get("checkpoint") != _digest_of(self.folder / LAST))

    def metrics(self, stage: str) -> dict[str, float]:
        """The metrics of the run at the end of a stage that is up to date."""
        content = (self._read(stage) or {})["metrics"]
        return {key: math.nan if value is None else value for key, value in content.items()}

    def checkpoint(self, stage: str) -> Path | None:
        """The checkpoint that the run had chosen at the end of a stage that is up to date."""
        name = (self._read(stage) or {})["checkpoint"]
        return self.folder / name if name else None

    def begin(self, stage: str) -> None:
        """Notes that a stage begins: what it and later ones left is no longer up to date."""
        done = list(self.keys)[: list(self.keys).index(stage)] if stage in self.keys else []
        old = self._read(stage)
        is_same = old is not None and old["begun"] and old["key"] == self.keys.get(stage)
        found = old["checkpoint"] if is_same and old else _digest_of(self.folder / LAST)  # of a training before
        for path in (self.folder / FOLDER).glob("*.json"):
            if path.stem not in done:
                path.unlink()
        for name in done:
            record = self._read(name)
            if record is not None:  # a later stage may have written its files again
                outputs = {file: _digest_of(self.folder / file) for file in record["outputs"]}
                tables.write_json(self._path(name), record | {"outputs": outputs})
        self._before = {name: _facts(path) for name, path in _files(self.folder)}
        if stage in self.keys:
            self._write(stage, begun=True, checkpoint=found)

    def end(self, stage: str, metrics: dict[str, float], checkpoint: Path | None) -> None:
        """Notes that a stage has ended.

        Args:
            stage: Its name.
            metrics: Of the run so far.
            checkpoint: That the run has chosen.
        """
        if stage not in self.keys:
            return
        changed = {name: path for name, path in _files(self.folder) if self._before.get(name) != _facts(path)}
        outputs = {name: _digest_of(path) for name, path in changed.items()}
        inside = checkpoint is not None and _is_within(str(checkpoint), self.folder)
        name = os.path.relpath(checkpoint, self.folder) if inside and checkpoint else ""
        self._write(stage, begun=False, outputs=outputs, metrics=metrics, checkpoint=name)

    def _path(self, stage: str) -> Path:
        return self.folder / FOLDER / f"{stage}.json"

    def _write(self, stage: str, begun: bool, **facts: Any) -> None:
        (self.folder / FOLDER).mkdir(exist_ok=True)
        content = {
            "stage": stage,
            "key": self.keys[stage],
            "begun": begun,
            "outputs": {},
            "metrics": {},
            "checkpoint": "",
        }
        tables.write_json(self._path(stage), content | facts)

    def _read(self, stage: str) -> dict[str, Any] | None:
        """The record of a stage; None where there is none that can be read."""
        with suppress(AedError):
            record = tables.read_json(self._path(stage))
            if {"key", "begun", "outputs", "metrics", "checkpoint"} <= record.keys():
                return record
        return None


def _settings(plain: dict[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """The configuration without what concerns later stages alone."""
    later = {stage.key for name, stage in STAGES.items() if stage.key and name not in stages}
    later |= {"decision", "budget"} if list(stages) == ["fit"] else set()
    return {key: value for key, value in plain.items() if key not in later and key not in _NOT_OURS}


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode("utf-8", "surrogateescape")).hexdigest()


def _digest_of(path: Path) -> str:
    return sha256_of(path) if path.is_file() else ""


def _facts(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _content(path: Path) -> Any:
    """A file's digest; of a folder the facts of all its files."""
    if path.is_dir():
        return [[str(own), _facts(own)] for own in sorted(path.rglob("*")) if own.is_file()]
    return _digest_of(path)


def code_digest() -> str:
    """Of the package's own files and the configurations, wherever they are installed."""
    files = {
        f"{folder.name}/{path.relative_to(folder)}": path
        for folder in (_PACKAGE, CONFIG_DIR)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return _digest([[name, sha256_of(files[name])] for name in sorted(files)])


def _sounds(data: PatchDataModule) -> str:
    table = data.table
    digest = hashlib.sha256(table.astype(str).to_csv(index=False).encode("utf-8", "surrogateescape"))
    for path in dict.fromkeys(table["path"]):
        digest.update(str(_facts(path) if path.is_file() else None).encode())
    return digest.hexdigest()


def _program(name: str) -> list[Any]:
    found = shutil.which(name)
    return [found, _facts(Path(found)) if found else None]


def _leaves(node: Any) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from _leaves(value)
        else:
            yield str(key), value


def _targets(plain: dict[str, Any]) -> set[str]:
    return {str(value) for key, value in _leaves(plain) if key == "_target_"}


def _paths(plain: dict[str, Any]) -> set[str]:
    """Values that name a file or folder that is there, of any key but the run's own folder."""
    texts = {value for key, value in _leaves(plain) if isinstance(value, str) and key not in _NO_INPUTS}
    found = set()
    for text in texts:
        with suppress(OSError, ValueError):
            if text and Path(text).exists():
                found.add(text)
    return found


def _is_within(name: str, folder: Path) -> bool:
    return Path(name).resolve().is_relative_to(folder.resolve())


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The results in a run's folder: neither logs, nor what is hidden, nor what loggers write."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts) or name.parts[0] == "tensorboard"
        if path.is_file() and not is_hidden and path.name not in _OF_LOGGERS and path.suffix != ".log":
            yield str(name), path
