"""Ways to int8, tried one after the other: as calibrated, equalised, biases corrected and, if allowed, float layers.

The judging clips are few, so neither question is put to a point. Int8 is repaired if its loss is evident: the interval
of the drop lies beyond ``max_drop``. A repair is kept if its gain is: the interval of the gain lies over 0. What chance
alone may do changes nothing.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx

from aed.base.errors import AedError
from aed.export.embedding import with_embedding, without_embedding
from aed.export.evidence import Difference, JudgedModel, difference
from aed.export.fidelity import outputs, sqnr_db
from aed.export.graph import CURVES, layers
from aed.export.precision import activation_ranges
from aed.export.quantize import Patches, QuantizeConfig, quantize
from aed.export.refit import refit
from aed.export.repair import correct_biases, equalise

log = logging.getLogger(__name__)

Judge = Callable[[onnx.ModelProto], JudgedModel]
"""Scores a model on clips that were neither tested nor calibrated on."""

Outcome = Literal["within", "not evident", "beyond", "unknown"]
"""The loss and ``max_drop``: measured within; beyond it, but within chance; beyond it; not measured."""


@dataclass(frozen=True)
class Step:
    """A way to int8 and its gain.

    Args:
        name: ``static``, ``equalise``, ``bias``, ``head``, ``float`` or ``qat``.
        score: On the judging clips: accuracy, or mean average precision; a fraction.
        sqnr_db: At the logits, median over patches of judging clips.
        gain: Points of that over the best before; of the first step over the float model.
        low: Lower end of the 90 % interval of the gain.
        high: Its upper end.
        kept: Whether it became the best.
        detail: What was changed, in words.
    """

    name: str
    score: float
    sqnr_db: float
    gain: float
    low: float
    high: float
    kept: bool
    detail: str

    def facts(self) -> dict[str, Any]:
        """Fields as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A float graph, possibly changed, and its int8 form; ``reference`` is the float graph its layers stand for."""

    reference: onnx.ModelProto
    float_model: onnx.ModelProto
    int8: onnx.ModelProto
    verdict: JudgedModel

    @property
    def score(self) -> float:
        """Score as a fraction."""
        return self.verdict.score


class Search:
    """Try ways to int8 one after the other and keep those that are evidently better.

    Args:
        model: The float graph.
        patches: Calibration patches.
        config: Scheme.
        judge: Judges a model on the judging clips.
        embeds: Whether the embedding has to stay what it is, for the means of the classes are of it.
        training: More patches of training clips that do not judge, for the last layer's least squares; None: those of
            calibration.
        judging: Patches of judging clips, on which outputs are compared with those of float; None: those of
            calibration.
        every: Patches of all training clips, from which a last layer that is kept is solved once more; None: it stays.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        patches: Patches,
        config: QuantizeConfig,
        judge: Judge,
        embeds: bool = False,
        training: Callable[[], Patches] | None = None,
        judging: Patches | None = None,
        every: Callable[[], Patches] | None = None,
    ) -> None:
        self.model, self.patches, self.config, self.judge, self.embeds = model, patches, config, judge, embeds
        self.training, self.every = training or (lambda: patches), every
        self.judging = patches if judging is None else judging
        self.curved = any(node.op_type in CURVES for node in model.graph.node)
        self.in_float = judge(model)
        self.expected = outputs(model, self.judging)
        self.steps: list[Step] = []
        self._best: Candidate | None = None
        self.loss = Difference(0, 0, 0)
        """By how much float is better than the best so far."""

    @property
    def best(self) -> Candidate:
        """The best so far."""
        assert self._best is not None
        return self._best

    @property
    def outcome(self) -> Outcome:
        """Whether the loss is more than ``max_drop``."""
        if math.isnan(self.loss.points):
            return "unknown"
        if self.loss.low > self.config.max_drop:
            return "beyond"
        return "not evident" if self.loss.points > self.config.max_drop else "within"

    def run(self) -> Candidate:
        """The best candidate; repairs only as long as int8 is evidently worse than ``max_drop``.

        But biases and last layer of a net with curves are repaired in any case: int8 weights of its first layers, whose
        inputs have large means, seldom leave its embedding as it was.
        """
        static = quantize(self.model, self.patches, self.config)
        self._try("static", self.model, static, "as calibrated", self.model)
        ways = {"equalise": self._equalise, "bias": self._correct, "head": self._refit, "float": self._leave_in_float}
        allowed = ("float",) if self.config.float_layers == "allowed" else ()
        for name in (*self.config.repair, *allowed):
            if self.outcome != "beyond" and not (self.curved and name in ("bias", "head")):
                continue
            try:
                ways[name]()
            except AedError as error:
                log.warning("repair by %s is left out: %s", name, error)
        return self.best

    def try_requested(
        self, name: str, float_model: onnx.ModelProto, int8: onnx.ModelProto, detail: str, reference: onnx.ModelProto
    ) -> Candidate:
        """Judges a way that the user asked for; returns the best: this way unless it scores worse than those before."""
        self._try(name, float_model, int8, detail, reference, asked_for=True)
        return self.best

    def conclude(self) -> None:
        """Logs the loss of int8 where it is more than ``max_drop``, or that it is not known."""
        clips, limit = len(self.in_float.target), f"quantization.max_drop={self.config.max_drop}"
        if self.outcome == "unknown":
            log.warning(
                "INT8 COULD NOT BE JUDGED: none of the %d judging clips has a class, so there is no score; it may be "
                "as good as float or useless; label clips of each class for validation and training",
                clips,
            )
        elif self.outcome == "not evident":
            log.info(
                "int8 loses %s on %d judging clips: within chance; no repair needed for %s",
                *(self.loss, clips, limit),
            )
        elif self.outcome == "beyond":
            tried = [step.name for step in self.steps[1:]]
            advice = [] if self.config.method == "qat" else ["quantization=qat"]
            if self.config.float_layers == "refused":
                advice.append("quantization.float_layers=allowed, which is not for C")
            log.warning(
                "INT8 IS WORSE: it loses %s on %d judging clips, beyond %s, after repair by %s; %s",
                *(self.loss, clips, limit, ", ".join(dict.fromkeys(tried)) or "nothing"),
                f"try {' or '.join(advice)}" if advice else "try a larger quantization.n_calibration",
            )

    def _sqnr(self, int8: onnx.ModelProto) -> float:
        return float(np.median(sqnr_db(self.expected, outputs(int8, self.judging) - self.expected)))

    def _try(
        self,
        name: str,
        float_model: onnx.ModelProto,
        int8: onnx.ModelProto,
        detail: str,
        reference: onnx.ModelProto,
        asked_for: bool = False,
        nearer: bool = False,
    ) -> None:
        """Judges a way; it becomes the best if it is evidently better.

        Args:
            name: Of the way.
            float_model: The float graph whose int8 form it is.
            int8: QDQ.
            detail: In words.
            reference: The float graph that its layers stand for.
            asked_for: It does if it scores no less.
            nearer: It does if it scores no less and its outputs are nearer to those of float.
        """
        candidate = Candidate(reference, float_model, int8, self.judge(int8))
        gain = difference(self._best.verdict if self._best else self.in_float, candidate.verdict)
        sqnr = self._sqnr(int8)
        if self._best is None:
            kept = True
        elif asked_for or nearer:
            kept = not gain.points < 0 and (asked_for or sqnr > self._sqnr(self._best.int8))
        else:
            kept = gain.low > 0
        self.steps.append(Step(name, candidate.score, sqnr, gain.points, gain.low, gain.high, kept, detail))
        if kept:
            self._best, self.loss = candidate, difference(candidate.verdict, self.in_float)

    def _refit(self) -> None:
        """Judges a last layer of the training clips that do not judge; if it is kept, that of all takes its place.

        More clips make it better, and clips that judge must not have taken part.
        """
        before, training = self.best, self.training()
        fitted, int8 = refit(self.model, before.float_model, before.int8, training, self.config)
        self._try("head", fitted, int8, f"least squares over {len(training)} patches", before.reference, nearer=True)
        if self.every is not None and (judged := self.steps[-1]).kept:
            every = self.every()
            fitted, int8 = refit(self.model, before.float_model, before.int8, every, self.config)
            self._best = replace(self.best, float_model=fitted, int8=int8)
            self.steps[-1] = replace(judged, detail=f"{judged.detail}; written: over {len(every)} of all clips")

    def _equalise(self) -> None:
        kept = self.best.float_model
        equal, pairs = equalise(with_embedding(kept) if self.embeds else kept, self.patches, self.config.per_channel)
        equal = without_embedding(equal)
        if pairs:
            self._try("equalise", equal, quantize(equal, self.patches, self.config), f"{pairs} pairs of layers", equal)

    def _correct(self) -> None:
        corrected, int8, most = correct_biases(self.best.float_model, self.best.int8, self.patches, self.config)
        self._try("bias", corrected, int8, f"largest correction {most:.3g}", self.best.reference, nearer=self.curved)

    def _leave_in_float(self) -> None:
        """Leave one more layer in float at a time, by the gain of each alone in dB, up to half of those with weights.

        A single layer may gain too little where two gain enough.
        """
        best, ranges = self.best, activation_ranges(self.best.int8)

        def with_float(names: tuple[str, ...]) -> onnx.ModelProto:
            return quantize(best.float_model, self.patches, self.config, ranges=ranges, float_layers=names)

        names = [node.name for node in layers(best.float_model) if node.op_type in ("Conv", "Gemm", "MatMul")]
        sqnr = {name: self._sqnr(with_float((name,))) for name in names}
        order = sorted(names, key=lambda name: -sqnr[name])
        for number in range(1, 1 + max(1, len(names) // 2)):
            if self.outcome != "beyond":
                break
            chosen = tuple(order[:number])
            self._try("float", best.float_model, with_float(chosen), f"in float: {', '.join(chosen)}", best.reference)
