"""How a model's accuracy falls under disturbances: a row of figures for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aed.scoring.confidence import Z95, share_interval
from aed.scoring.scores import Scores

UNDISTURBED = "none"
"""Condition of the clips as they are."""

LABELS = {
    UNDISTURBED: "undisturbed",
    "pink_noise_snr_db": "pink noise, SNR {} dB",
    "other_sound_snr_db": "other sound, SNR {} dB",
    "level_db": "level {} dB",
    "grid_offset_hops": "grid {} hop later",
    "microphone": "microphone {}",
    "bits": "{} bits",
    "over_full_scale_db": "{} dB over full scale",
}
"""Conditions in words, to be filled with their value."""


@dataclass(frozen=True)
class Outcome:
    """What a model got right under one disturbance; decisions are the most likely class, nothing is rejected.

    Args:
        condition: Kind of the disturbance.
        value: How strong it is, in the unit that the condition's name ends in; of a microphone its name.
        clips_right: Clips whose class was named.
        clips: All clips.
        patches_right: Patches whose class was named.
        patches: All patches.
    """

    condition: str
    value: float | str
    clips_right: int
    clips: int
    patches_right: int
    patches: int

    @classmethod
    def of(cls, condition: str, value: float | str, scores: Scores) -> "Outcome":
        """The outcome of a single-label model's scores."""
        counts = []
        for confusion in (scores.clip_confusion, scores.patch_confusion):
            assert confusion is not None
            counts += [int(confusion.diagonal().sum()), int(confusion.sum())]
        return cls(condition, value, *counts)

    @property
    def label(self) -> str:
        """The disturbance in words."""
        return LABELS[self.condition].format(self.value)

    @property
    def clip_acc(self) -> float:
        """Share of the clips whose class was named."""
        return self.clips_right / self.clips

    @property
    def patch_acc(self) -> float:
        """Share of the patches whose class was named."""
        return self.patches_right / self.patches

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of :attr:`clip_acc`, Wilson's."""
        low, high = share_interval(np.array([float(self.clips_right)]), np.array([float(self.clips)]), Z95)
        return float(low[0]), float(high[0])


HEADER = (
    "condition",
    "value",
    "clips_right",
    "clips",
    "clip_acc",
    "clip_acc_low",
    "clip_acc_high",
    "clip_acc_difference",
    "patches_right",
    "patches",
    "patch_acc",
    "patch_acc_difference",
)
"""Columns of :func:`rows_of`."""


def rows_of(outcomes: Sequence[Outcome]) -> list[list[str | float | int]]:
    """A row of :data:`HEADER` for each outcome; accuracies are shares, differences are to the undisturbed clips.

    Args:
        outcomes: That of :data:`UNDISTURBED` first.
    """
    plain = outcomes[0]
    return [
        [
            each.condition,
            each.value,
            each.clips_right,
            each.clips,
            *(round(share, 6) for share in (each.clip_acc, *each.interval, each.clip_acc - plain.clip_acc)),
            each.patches_right,
            each.patches,
            *(round(share, 6) for share in (each.patch_acc, each.patch_acc - plain.patch_acc)),
        ]
        for each in outcomes
    ]
