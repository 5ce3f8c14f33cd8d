"""The Python interface: a model file is loaded, recordings are predicted, the results are plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from aed.base.zoo import model_file
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.inference.prediction import Prediction, Predictor

Name = str | PathLike[str]


@dataclass(frozen=True, kw_only=True)
class RecordingPrediction(Prediction):
    """The decision about a whole recording, with the same fields as :class:`Prediction` and these.

    Args:
        file: The recording.
        posteriors: Class name -> posterior: mean or maximum over the patches, as the model's card says.
        timeline: The decision of each patch, in order, where ``timeline=True`` asked for it.
    """

    file: str
    posteriors: dict[str, float]
    timeline: tuple[Prediction, ...] = ()


class Model:
    """A model file, ready to predict recordings; returned by :func:`load`.

    Attributes:
        card: The facts stored with the model: front end, class names, decision rule, training data, scores.
        kind: ``float`` or ``int8``.
    """

    card: ModelCard
    kind: str

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.card, self.kind = classifier.card, classifier.kind

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.path)!r}, {self.kind}, {len(self.class_names)} classes)"

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the model's outputs."""
        return self.card.class_names

    @property
    def frontend(self) -> FrontendConfig:
        """From a recording to the patches that the model takes."""
        return self.card.frontend

    def predict(
        self,
        files: Name | Sequence[Name],
        *,
        timeline: bool = False,
        mode: Literal["auto", "clip", "stream"] = "auto",
        unknown_threshold: float | None = None,
        top: int | None = None,
    ) -> list[RecordingPrediction]:
        """Predictions of recordings, in order; the numbers of ``aed predict``.

        Long recordings are read in blocks: memory does not grow with their length.

        Args:
            files: One or several recordings, folders (recursive) or globs.
            timeline: Return the decision of each patch, too.
            mode: ``clip``: the start of a recording, up to ``frontend.max_length_s``, with its silence trimmed, as in
                training. ``stream``: all of it, untrimmed. ``auto``: the former up to ``max_length_s``.
            unknown_threshold: Posterior in [0, 1] that a class has to reach, else the label is ``unknown``; None: the
                model card's.
            top: Most classes to name; None: 1, of a multi-label model 3, or all by the card's thresholds.

        Raises:
            AudioError: A recording cannot be read, or is shorter than a patch.
            AedError: A name matches no recording, or a value is out of range.

        Examples:
            >>> model = aed.load("model.onnx")
            >>> result, = model.predict("recordings/tone.wav", timeline=True)
            >>> result.file, result.label, round(result.end_s, 3)
            ('recordings/tone.wav', 'tone', 0.982)
            >>> sorted(result.posteriors)
            ['hiss', 'tone']
            >>> [(patch.start_s, patch.label) for patch in result.timeline]
            [(0.0, 'tone'), (0.32, 'tone'), (0.64, 'tone')]
        """
        names = [files] if isinstance(files, str | PathLike) else files
        predictor = Predictor(self._classifier, unknown_threshold, mode, top)
        return [_predict(predictor, name, timeline) for name in find_files([fspath(name) for name in names])]


def _predict(predictor: Predictor, name: str, timeline: bool) -> RecordingPrediction:
    recording = predictor.recording(name)
    patches = [patch for patch in recording if timeline]
    posteriors = dict(zip(predictor.names, recording.posteriors.tolist(), strict=True))
    whole = {field.name: getattr(recording.whole, field.name) for field in fields(Prediction)}
    return RecordingPrediction(file=name, posteriors=posteriors, timeline=tuple(patches), **whole)


def load(
    path: Name,
    *,
    frontend: FrontendConfig | None = None,
    class_names: Sequence[str] | None = None,
    threads: int = 0,
    net_class: str | None = None,
) -> Model:
    """The model of a file.

    Args:
        path: ``.onnx`` (float or int8) or ``.ckpt``; ``"yamnet_audioset"``, ``"mn04_audioset"``: published nets with
            their 521 and 527 classes of AudioSet; ``"zoo/esc10_200k"``: a shipped model.
        frontend: For an ``.onnx`` without a model card: how its patches are computed.
        class_names: For an ``.onnx`` without a model card.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: For a ``.ckpt`` of a net of your own: its class, ``my_pkg.MyNet``.

    Raises:
        AedError: The file is missing, damaged or no model, or the arguments contradict its card.

    Examples:
        >>> model = aed.load("model.onnx")
        >>> model
        Model('model.onnx', float, 2 classes)
        >>> model.class_names
        ('hiss', 'tone')
        >>> model.frontend.sample_rate
        16000
    """
    names = tuple(class_names) if class_names else None
    return Model(open_classifier(Path(model_file(fspath(path))), frontend, names, threads, net_class))
