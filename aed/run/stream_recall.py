"""Validation as a listener does it: the events that a net finds in streams within a budget of alarms, each epoch."""

import logging
import math
from collections.abc import Mapping

import lightning.pytorch as L
import numpy as np
import torch

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.soundscapes.validation import ValidationStreams
from aed.dsp.patches import cut
from aed.inference.detection import without_background
from aed.modules.classifier import ClipClassifier
from aed.run.rule_fit import FitConfig, check_budget
from aed.scoring.decision import to_posteriors
from aed.scoring.events.alarms import background_hours
from aed.scoring.events.family import shapes
from aed.scoring.events.fitting import Labelled, best_rule
from aed.scoring.rule import EventRule, Floats

log = logging.getLogger(__name__)

SLACK_S = 2.0
"""Time after an event in which an alarm still finds it, s; the default of ``aed detect``."""

ADVICE = "(data.soundscapes.section_s); use more data.val_quiet_hours or shorter sections, or"


class StreamRecall(L.Callback):
    """Logs the share of events that the best rule finds within budgets of alarms, as ``aed detect action=fit`` does.

    Args:
        budgets: Metric -> alarms an hour.
        data: Has the validation clips.

    Raises:
        AedError: It has none, they make no streams, or too short ones to show a budget.
    """

    def __init__(self, budgets: Mapping[str, float], data: PatchDataModule) -> None:
        self.budgets, self.data = dict(budgets), data
        self.soundscapes = data.val_soundscapes(next(iter(self.budgets)))
        hours = data.val_event_hours + data.val_quiet_hours
        self._check(hours, math.ceil(hours * 3600 / data.soundscapes.section_s[0]))  # at most; before features
        config = FitConfig()
        self.family = shapes(config.windows, config.off_shares, config.hold_offs_s)
        self.streams: ValidationStreams | None = None

    def _check(self, hours: float, sections: int) -> None:
        for metric, budget in self.budgets.items():
            check_budget(budget, hours, sections, metric, ADVICE)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Makes the streams.

        Raises:
            AedError: They cannot show a budget, or no event is in them.
        """
        self.streams = streams = self.data.val_streams(self.soundscapes)
        if not len(streams.events):
            raise AedError(f"data.val_event_hours: no event in {self.data.val_event_hours:g} h; use more")
        self._check(background_hours(streams.events, streams.length_s, SLACK_S), streams.sections)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the recall at each budget; of several processes that of the first."""
        if trainer.sanity_checking or self.streams is None:
            return
        assert isinstance(pl_module, ClipClassifier)
        frontend = self.data.frontend
        hop_s = frontend.hop_length / frontend.sample_rate
        labelled = Labelled(
            [self._posteriors(trainer, pl_module, number) for number in range(len(self.streams.frames))],
            [firsts * frontend.hop_length / frontend.sample_rate for firsts in self.streams.firsts],
            self.streams.events,
            self.streams.length_s,
            frontend.patch_hop * hop_s,
            frontend.patch_samples / frontend.sample_rate,
            pl_module.decision.unknown_threshold,
            self.streams.places,
        )
        base = without_background(EventRule(), self.data.class_names)
        for metric, budget in self.budgets.items():
            recall = best_rule(labelled, self.family, base, budget, SLACK_S).recall
            pl_module.log(metric, trainer.strategy.broadcast(recall), prog_bar=True)

    def _posteriors(self, trainer: L.Trainer, module: ClipClassifier, number: int) -> Floats:
        """Posteriors ``(decisions, num_classes)`` of a stream."""
        assert self.streams is not None
        frames, firsts = self.streams.frames[number], self.streams.firsts[number]
        size, precision = self.data.eval_batch_size, trainer.precision_plugin
        parts = []
        for begin in range(0, len(firsts), size):
            patches = torch.from_numpy(cut(frames, firsts[begin : begin + size], self.data.frontend.patch_frames))
            with precision.val_step_context():
                batch = precision.convert_input(patches[:, None].to(module.device))
                logits = module.val_logits(batch, ("stream", number, begin))
            parts.append(to_posteriors(logits.float(), module.task).cpu().numpy())
        posteriors: Floats = np.concatenate(parts)
        return posteriors

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Frees the streams."""
        self.streams = None
