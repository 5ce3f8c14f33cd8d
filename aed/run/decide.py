"""The decision rule of a run: temperature and thresholds chosen on validation clips."""

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hydra.utils import instantiate
from torch import Tensor

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.dsp.aggregate import clip_posteriors
from aed.modules.trained import DECISION, Trained, chosen_decision
from aed.run.nearness import choose_nearness, tested
from aed.run.split_scores import score_classifier
from aed.run.state import Run
from aed.scoring import tables
from aed.scoring.confidence import (
    TEMPERATURES,
    choose_temperature,
    clip_targets,
    confidence_and_correctness,
    cross_entropy,
    expected_calibration_error,
)
from aed.scoring.decision import Decision, Task
from aed.scoring.multilabel import choose_thresholds
from aed.scoring.rejection import choose_unknown_threshold
from aed.scoring.scores import Scores, score

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """From posteriors to decisions; temperature and thresholds are chosen on validation clips, never on test clips.

    Args:
        temperature: Divide logits by the temperature of the least cross entropy on validation patches; it is reported
            either way.
        thresholds: Multi-label: ``chosen``: of each class, with the best F1 on validation clips; ``half``: 0.5.
        unknown: Single-label: call a clip unknown whose score is under a threshold. The score is the greatest
            posterior; with ``means`` it is blended with the nearness, the greatest cosine of the embedding to a mean.
        means: Single-label: means that are kept of each class, of embeddings (the input of the last dense layer) of
            training patches; 0: none. What the nearness to them weighs is chosen by leaving whole classes out.
        unknown_threshold: That threshold; null: the greatest under which the share ``keep`` stays known.
        keep: Share of the rightly classified validation clips that stay known.

    Raises:
        AedError: A value is out of its range.
    """

    temperature: bool = False
    thresholds: Literal["chosen", "half"] = "chosen"
    unknown: bool = False
    means: int = 0
    unknown_threshold: float | None = None
    keep: float = 0.95

    def __post_init__(self) -> None:
        if self.thresholds not in ("chosen", "half"):
            raise AedError(f"decision.thresholds: need chosen or half, got {self.thresholds!r}")
        if not 0 < self.keep <= 1:
            raise AedError(f"decision.keep: need a share of clips in (0, 1], got {self.keep}")
        if self.means < 0:
            raise AedError(f"decision.means: need 0 or the means of each class, got {self.means}")
        if self.unknown_threshold is not None and not self.unknown:
            raise AedError("decision.unknown_threshold: add decision.unknown=true")
        Decision(unknown_threshold=self.unknown_threshold)


def settings(run: Run) -> DecisionConfig:
    """The settings, checked against the run's data.

    Raises:
        AedError: It does not fit the task, or needs validation clips and there are none.
    """
    config: DecisionConfig = instantiate(run.config.decision, _convert_="all")
    data = run.data
    if config.unknown and data.multi_label:
        raise AedError("decision.unknown=true: multi-label models already answer 'no class'; use false")
    if config.unknown and data.choice.garbage_class:
        raise AedError(
            "decision.unknown=true and data.garbage_class=true: both say what is none of the classes; use only "
            "one of them"
        )
    if config.means and data.multi_label:
        raise AedError("decision.means: multi-label models decide about each class by itself; use 0")
    if config.means and data.num_classes < 3:
        raise AedError(f"decision.means: need at least 3 classes, as one is left out, got {data.num_classes}; use 0")
    if config.means and "quantize" in (run.config.stages or ()) and run.config.quantization.method == "qat":
        raise AedError("quantization=qat: changes the embeddings that decision.means are of; use ptq, or means=0")
    chooses = config.temperature or config.means or (config.unknown and config.unknown_threshold is None)
    if chooses and not (data.table["split"] == "val").any():
        raise AedError(
            "decision: temperature, unknown and means are chosen on validation clips; set data.val_fold or "
            "data.val_fraction"
        )
    stages = run.config.stages or ()
    if (config.temperature or config.unknown or config.means) and "fit" in stages and "test" not in stages:
        raise AedError("decision: the stage test chooses temperature, unknown and means; add it after fit")
    return config


def choose(run: Run) -> Decision:
    """The rule for the model that was validated last; writes ``decision.json`` and metrics of validation clips.

    Metrics: ``val/temperature``, the best one, and the calibration error of clips without it and with it,
    ``val/clip_ece_plain`` and ``val/clip_ece_scaled``.
    """
    config, model = settings(run), run.model
    rule = replace(model.decision, unknown_threshold=config.unknown_threshold)
    origin: dict[str, Any] = {}
    if "val" in run.data.datasets:
        logits, target, clip = _logits(run, "val")
        temperature = choose_temperature(logits, target)
        scaled = replace(rule, temperature=temperature)
        truth = clip_targets(target, clip)
        run.metrics["val/temperature"] = temperature
        if config.temperature and not 1.01 * TEMPERATURES[0] < temperature < 0.99 * TEMPERATURES[1]:
            log.warning(
                "temperature %.3g is at the end of the range that is searched: too few clips, or not trained",
                temperature,
            )
        for key, variant in (("plain", rule), ("scaled", scaled)):
            error = expected_calibration_error(_by_clip(variant, logits, clip, model.task), truth)
            run.metrics[f"val/clip_ece_{key}"] = error
        rule = scaled if config.temperature else rule
        posteriors = _by_clip(rule, logits, clip, model.task)
        if model.task == "multi_label" and config.thresholds == "chosen":
            rule = replace(rule, thresholds=choose_thresholds(posteriors, truth))
        origin = {"chosen_on": "val", "clips": len(truth)}
        if config.means:
            nearness, auroc = choose_nearness(run, rule, config.means)
            rule, origin["held_out_auroc"] = replace(rule, nearness=nearness), auroc
        if config.unknown and config.unknown_threshold is None:
            scores = rescore(run, "val", rule)
            _, right = confidence_and_correctness(scores.clip_posteriors.cpu(), scores.clip_target.cpu())
            threshold = choose_unknown_threshold(scores.clip_score.cpu(), right, config.keep)
            rule = replace(rule, unknown_threshold=min(1.0, max(0.0, threshold)))
    elif model.task == "multi_label" and config.thresholds == "chosen":
        log.warning("no validation clips: the threshold of every class is 0.5")
    rule = _explicit(rule, model.task, run.data.num_classes)
    if run.is_main_process:
        origin |= {"checkpoint": sha256_of(run.need_checkpoint("test"))}
        tables.write_json(run.folder / DECISION, origin | {"decision": asdict(rule)})
    return rule


def _explicit(rule: Decision, task: Task, num_classes: int) -> Decision:
    """The rule; of a multi-label model with a threshold for each class, so that prediction needs no default."""
    return replace(rule, thresholds=rule.thresholds_of(num_classes)) if task == "multi_label" else rule


def rescore(run: Run, split: str, rule: Decision) -> Scores:
    """The scores of the split that was validated or tested last, by a rule."""
    if rule == run.model.decision:
        return run.model.scores[split]
    if rule.nearness is not None:
        return score_classifier(tested(run, rule), run.data.datasets[split], run.data.class_names).scores
    logits, target, clip = _logits(run, split)
    return score(rule.posteriors(logits, run.model.task).float(), target, clip, run.data.class_names, rule)


def loss(run: Run, split: str, rule: Decision) -> float:
    """Mean cross entropy of the patches of the split that was validated or tested last, at a rule's temperature."""
    logits, target, _ = _logits(run, split)
    return float(cross_entropy(rule.posteriors(logits, run.model.task), target))


def read(run: Run, trained: Trained) -> Decision:
    """The rule of a model to export: chosen for its checkpoint by the stage test, of this run or of the checkpoint's.

    Raises:
        AedError: The configuration asks for a temperature or threshold that the rule lacks.
    """
    config, checkpoint = settings(run), run.need_checkpoint("export")
    chosen = chosen_decision(checkpoint, run.folder) or trained.decision
    rule = _explicit(chosen, trained.task, len(trained.class_names))
    rule.check(trained.task, len(trained.class_names))
    has = {
        "temperature": not config.temperature or rule.temperature != 1,
        "unknown": not config.unknown or rule.unknown_threshold is not None,
        "means": not config.means or rule.nearness is not None,
        "unknown_threshold": config.unknown_threshold in (None, rule.unknown_threshold),
    }
    if lacking := [f"decision.{key}" for key, there in has.items() if not there]:
        raise AedError(f"{', '.join(lacking)}: not what was chosen for {checkpoint}; add the stage test before export")
    return rule


def _logits(run: Run, split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits ``(num_patches, num_classes)`` up to a constant, targets and clips of the split scored last."""
    posteriors, target, clip = (part.cpu() for part in run.model.collected_posteriors[split])
    inside = posteriors.double().clamp(1e-12, 1 - 1e-12)
    return (inside.logit() if run.model.task == "multi_label" else inside.log()), target, clip


def _by_clip(rule: Decision, logits: Tensor, clip: Tensor, task: Task) -> Tensor:
    return clip_posteriors(rule.posteriors(logits, task), clip, int(clip.max()) + 1, rule.aggregate)
