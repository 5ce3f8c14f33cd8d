"""What a page that listens may write: sounds, into a folder for each class, and a rule, into a copy of the model."""

import csv
import io
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile as sf

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules.sources.lists import SPLIT_NAMES
from aed.export.graph import load_model, read_model_card, save_model
from aed.scoring.rule import EventRule

LIST = "listen.csv"
"""Names of the sounds, beside the folders of the classes: which class, from where."""

HEADER = ("filename", "category", "seconds", "origin", "model")

LONGEST_NAME = 200
"""Bytes of a class name that is a folder."""


class PageStore:
    """Writes what the page sends; a request at a time.

    Args:
        model: ``.onnx`` that listens.
        folder: For sounds; None: none are saved.
        output: Copy of the model that gets the rule.
        rule: By which the page listens, but for the thresholds that are moved.

    Raises:
        AedError: A place cannot be one.
    """

    def __init__(self, model: Path, folder: Path | None, output: Path, rule: EventRule) -> None:
        if output.exists() and output.samefile(model):
            raise AedError(f"output: {output} is the model that listens; name another file")
        if folder is not None and folder.exists() and not folder.is_dir():
            raise AedError(f"folder: {folder} is no folder")
        self.model, self.folder, self.output, self.rule = model, folder, output, rule
        self.rate = read_model_card(load_model(model), model).frontend.sample_rate
        self.session = time.strftime("%Y%m%dT%H%M%S")
        self.number = 0
        self._lock = threading.Lock()

    def facts(self) -> dict[str, str | None]:
        """What the page shows of it."""
        return {"folder": None if self.folder is None else str(self.folder), "output": str(self.output)}

    def save_clip(self, wav: bytes, label: str, origin: str) -> str:
        """Saves a sound of a class; returns the name of the file under the folder.

        Args:
            wav: 16 bit, one channel, of the model's rate.
            label: Class.
            origin: Why, in words: for the list.

        Raises:
            AedError: There is no folder, the class cannot be one in it, or it is no such sound.
        """
        if self.folder is None:
            raise AedError("folder: start aed listen with folder=<folder for sounds>")
        seconds = self._seconds(wav)
        target = self.folder / _folder_name(label)
        if target.exists() and target.resolve().parent != self.folder.resolve():
            raise AedError(f"{target} leads out of {self.folder}: nothing is written there")
        with self._lock:
            self.number += 1
            path = target / f"{self.session}-{self.number:04}.wav"
            write_whole(path, lambda file: file.write(wav))
            name = path.relative_to(self.folder).as_posix()
            self._note([name, label, f"{seconds:.3f}", origin, self.model.name])
        return name

    def write_rule(self, thresholds: Mapping[str, Any]) -> Path:
        """Writes thresholds into the card of a copy of the model; returns its path.

        Args:
            thresholds: ``on`` and ``off``, a number or null for each class.

        Raises:
            AedError: They are no rule for the model.
        """
        graph = load_model(self.model)
        card = read_model_card(graph, self.model)
        parts = {name: thresholds.get(name) for name in ("on", "off")}
        for name, values in parts.items():
            if not isinstance(values, list) or len(values) != len(card.class_names):
                raise AedError(f"rule.{name}: need a list of {len(card.class_names)} numbers, one per class")
        rule = replace(self.rule, on=tuple(parts["on"] or ()), off=tuple(parts["off"] or ()))
        with self._lock:
            save_model(self.output, graph, replace(card, rule=rule))
        return self.output

    def _seconds(self, wav: bytes) -> float:
        """Length of a sound that is as the page sends it."""
        try:
            info = sf.info(io.BytesIO(wav))
        except sf.LibsndfileError as error:
            raise AedError(f"clip: no wav ({error})") from error
        form = (info.format, info.subtype, info.channels, info.samplerate)
        if form != ("WAV", "PCM_16", 1, self.rate) or info.frames == 0:
            raise AedError(
                f"clip: need a wav of 16 bit, one channel, {self.rate} Hz, got {form}, {info.frames} samples"
            )
        return float(info.frames / info.samplerate)

    def _note(self, row: Sequence[str]) -> None:
        """Adds a row to the list, which is whole at any time."""
        assert self.folder is not None
        path = self.folder / LIST
        old, added = path.read_bytes() if path.exists() else b"", io.StringIO()
        csv.writer(added, lineterminator="\n").writerows([row] if old else [HEADER, row])
        write_whole(path, lambda file: file.write(old + added.getvalue().encode()))


def _folder_name(label: str) -> str:
    """The class, where it can be the name of a folder that ``data=folder`` takes for a class."""
    if label != label.strip() or not label or not label.isprintable() or len(label.encode()) > LONGEST_NAME:
        raise AedError(
            f"class {label[:40]!r}: need printable characters, at most {LONGEST_NAME} bytes, no space around"
        )
    if label.startswith(".") or any(letter in label for letter in '/\\:*?"<>|'):
        raise AedError(f"class {label!r}: cannot be the name of a folder; type another class")
    if label.lower() in SPLIT_NAMES:
        raise AedError(f"class {label!r}: data=folder takes a folder of this name for a split; type another class")
    return label
