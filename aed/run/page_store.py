"""What a page that listens may write: sounds, into a folder for each class, and a rule, into a copy of the model."""

import io
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile as sf

from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card, save_model
from aed.run.sound_folder import SoundFolder
from aed.scoring.rule import EventRule

LIST = "listen.csv"
"""Names of the sounds, beside the folders of the classes: which class, from where."""

FACTS = ("origin", "model")
"""Of a sound, in the list: why it was saved, and what listened."""


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
        self.sounds = None if folder is None else SoundFolder(folder, LIST, FACTS)
        self.model, self.output, self.rule = model, output, rule
        self.rate = read_model_card(load_model(model), model).frontend.sample_rate
        self._lock = threading.Lock()

    def facts(self) -> dict[str, str | None]:
        """What the page shows of it."""
        return {"folder": None if self.sounds is None else str(self.sounds.folder), "output": str(self.output)}

    def save_clip(self, wav: bytes, label: str, origin: str) -> str:
        """Saves a sound of a class; returns the name of the file under the folder.

        Args:
            wav: 16 bit, one channel, of the model's rate.
            label: Class.
            origin: Why, in words: for the list.

        Raises:
            AedError: There is no folder, the class cannot be one in it, or it is no such sound.
        """
        if self.sounds is None:
            raise AedError("folder: start aed listen with folder=<folder for sounds>")
        return self.sounds.save(wav, label, self._seconds(wav), [origin, self.model.name])

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
