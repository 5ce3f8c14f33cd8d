"""The model card: all facts about a model that its graph does not hold, inside the ONNX file itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Literal, Self, get_args

import onnx

from aed.base.errors import AedError, entry, in_brief
from aed.dsp.frontend import FrontendConfig
from aed.scoring.decision import Decision, Task, checked_class_names
from aed.scoring.rule import EventRule

CARD_KEY = "aed_card"
"""Key in the model's ``metadata_props``."""

CARD_VERSION = 4
"""Of the schema below; a reader refuses newer ones."""


_LIBRARIES = ("aed", "torch", "torchaudio", "onnx", "onnxruntime", "numpy", "soxr")


def library_versions() -> dict[str, str]:
    """Versions for the card, of the libraries that can change a number."""
    return {name: version(name) for name in _LIBRARIES}


def not_for_c(float_layers: Sequence[str]) -> str:
    """Note about a model with layers in float, for logs, cards and errors."""
    return f"has float layers: not for C: {', '.join(float_layers)}"


Io = Literal["float", "int8", "int8_in"]
"""What the input and the output of an int8 graph are."""


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a model became int8.

    Args:
        scheme: Settings of the quantisation, plain types.
        calibration_clips: File names of the clips whose patches fixed the activation ranges.
        io: ``float``: the graph quantises and dequantises itself; ``int8``: its user does, with these numbers;
            ``int8_in``: the user quantises, the graph dequantises.
        input_scale: Real value of one step of the input; null where the first layer stays float.
        input_zero_point: Integer that stands for 0 at the input.
        output_scale: As above, of the output.
        output_zero_point: As above.
        float_layers: Names of layers left in float; C code has none of them.
        note: About them, in words; empty: all is int8.
    """

    scheme: dict[str, Any]
    calibration_clips: tuple[str, ...]
    io: Io
    input_scale: float | None
    input_zero_point: int | None
    output_scale: float | None
    output_zero_point: int | None
    float_layers: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Facts that stages after export need about a model.

    Args:
        frontend: From recording to patch.
        class_names: In the order of the outputs.
        outputs: Kind of the graph's outputs.
        task: ``single_label``: one class a clip; ``multi_label``: any number.
        decision: From posteriors of patches to the classes of a clip.
        rule: From the posteriors of a stream to events; null: none was chosen.
        data: Data set, split and the clips of each split; see ``PatchDataModule.facts``.
        metrics: As in ``metrics.json``, of the float model and of int8.
        weights: Published weights it started from (file, licence, source), if any.
        versions: Libraries that it was built with.
        float_sha256: SHA-256 of the float model's graph, hex; the same in the int8 model's card.
        quantization: How it became int8, if it did.
        version: Of this schema.
    """

    frontend: FrontendConfig
    class_names: tuple[str, ...]
    outputs: Literal["logits", "probabilities"] = "logits"
    task: Task = "single_label"
    decision: Decision = Decision()  # noqa: RUF009 - frozen
    rule: EventRule | None = None
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    weights: dict[str, str] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    float_sha256: str = ""
    quantization: Quantization | None = None
    version: int = CARD_VERSION

    def to_json(self) -> str:
        """The card as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> Self:
        """The card of JSON text; ``name`` is the file's, for messages.

        Raises:
            AedError: The text is damaged or of a newer schema.
        """
        try:
            facts = json.loads(text)
            if facts["version"] > CARD_VERSION:
                raise AedError(
                    f"{name}: its model card has schema {facts['version']}, this program reads up to {CARD_VERSION}; "
                    "update aed"
                )
            with entry("frontend"):
                facts["frontend"] = FrontendConfig.from_dict(facts["frontend"])
            facts["class_names"] = checked_class_names(facts["class_names"])
            _need("outputs", facts["outputs"], ("logits", "probabilities"))
            _need("task", facts["task"], get_args(Task))
            with entry("decision"):
                facts["decision"] = Decision.from_dict(facts["decision"])
            facts["decision"].check(facts["task"], len(facts["class_names"]))
            if facts.get("rule") is not None:
                with entry("rule"):
                    facts["rule"] = EventRule.from_dict(facts["rule"])
                    facts["rule"].check(len(facts["class_names"]))
            for key in ("data", "metrics", "versions"):
                if not isinstance(facts[key], dict):
                    raise TypeError(f"{key}: need an object, got {facts[key]!r}")
            if facts["data"] and not isinstance(facts["data"]["clips"], dict):
                raise TypeError("data.clips: need the clips of each split")
            if quantization := facts["quantization"]:
                with entry("quantization"):
                    facts["quantization"] = _quantization(quantization)
            return cls(**facts)
        except (ValueError, KeyError, TypeError, AttributeError, AedError) as error:
            if isinstance(error, AedError) and str(error).startswith(name):
                raise
            raise AedError(f"{name}: its model card is damaged ({in_brief(error)}); export the model anew") from error


def _quantization(facts: dict[str, Any]) -> Quantization:
    _check_steps(facts)
    _need("io", facts["io"], get_args(Io))
    return Quantization(**facts | {key: _names(key, facts[key]) for key in ("calibration_clips", "float_layers")})


def _check_steps(quantization: dict[str, Any]) -> None:
    """Scales and zero points have to be usable, or both null where an end stays float."""
    for end in ("input", "output"):
        scale, zero = quantization[f"{end}_scale"], quantization[f"{end}_zero_point"]
        if scale is None and zero is None and quantization["io"] == "float":
            continue
        if not (isinstance(scale, (int, float)) and 0 < scale < float("inf")):
            raise ValueError(f"{end}_scale: need a number over 0, got {scale!r}")
        if not (isinstance(zero, int) and -128 <= zero <= 127):
            raise ValueError(f"{end}_zero_point: need a whole number in [-128, 127], got {zero!r}")


def _names(key: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key}: need a list of names, got {values!r}")
    return tuple(values)


def _need(key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key}: need one of {allowed}, got {value!r}")


def read_card(model: onnx.ModelProto, name: str) -> ModelCard | None:
    """The card in ``model``, or None where there is none (a model of other makers).

    Raises:
        AedError: The card is damaged or of a newer schema; ``name`` is the file's.
    """
    for item in model.metadata_props:
        if item.key == CARD_KEY:
            return ModelCard.from_json(item.value, name)
    return None


def put_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Writes ``card`` into ``model``; it replaces an earlier one."""
    others = [entry for entry in model.metadata_props if entry.key != CARD_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=CARD_KEY, value=card.to_json())
