"""How a model's accuracy falls under disturbances: a row of figures for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from aed.scoring.events.alarms import AlarmCounts
from aed.scoring.events.bootstrap import recall_interval
from aed.scoring.events.lists import Index
from aed.scoring.intervals import clips_interval
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
class EventsFound:
    """What a rule found in streams under one disturbance.

    Args:
        found: Events that an alarm finds.
        events: All events.
        interval: Ends of the 95 % interval of :attr:`recall`, over clips; None: they are of one clip.
        confused: Alarms in the time of an event of another class.
        background: Alarms where nothing is.
        background_hours: In which nothing is.
    """

    found: int
    events: int
    interval: tuple[float, float] | None
    confused: int
    background: int
    background_hours: float

    @classmethod
    def of(cls, counted: AlarmCounts, clip: Index) -> "EventsFound":
        """That of alarms; ``clip``: ``(events,)`` which clip each event is from."""
        return cls(
            int(counted.found.sum()),
            int(counted.references.sum()),
            recall_interval(counted.is_found, clip),
            int(counted.confused.sum()),
            int(counted.background.sum()),
            counted.background_hours,
        )

    @property
    def recall(self) -> float:
        """Share of the events that are found."""
        return self.found / self.events

    def row(self, plain: "EventsFound") -> list[str | float | int]:
        """Values of :data:`OF_EVENTS`, beside those of undisturbed streams."""
        low, high = self.interval or ("", "")
        shares = [share if isinstance(share, str) else round(share, 6) for share in (self.recall, low, high)]
        difference = round(self.recall - plain.recall, 6)
        counts = (self.confused, self.background, round(self.background_hours, 6))
        return [self.found, self.events, *shares, difference, *counts]


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
        events: Of streams under the same disturbance; None: none were made.
    """

    condition: str
    value: float | str
    clips_right: int
    clips: int
    patches_right: int
    patches: int
    events: EventsFound | None = None

    @classmethod
    def of(cls, condition: str, value: float | str, scores: Scores) -> "Outcome":
        """The outcome of a single-label model's scores."""
        clips, patches = scores.clip_confusion, scores.patch_confusion
        assert clips is not None and patches is not None
        right = int(clips.diagonal().sum()), int(patches.diagonal().sum())
        return cls(condition, value, right[0], int(clips.sum()), right[1], int(patches.sum()))

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
        return clips_interval(self.clips_right, self.clips)


OF_EVENTS = (
    "events_found",
    "events",
    "recall",
    "recall_low",
    "recall_high",
    "recall_difference",
    "confused",
    "background",
    "background_hours",
)
"""Columns of events in streams."""

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
    *OF_EVENTS,
)
"""Columns of :func:`rows_of`."""


def rows_of(outcomes: Sequence[Outcome]) -> list[list[str | float | int]]:
    """A row of :data:`HEADER` for each outcome; accuracies are shares, differences are to what is undisturbed.

    Without streams, and under what is not done to them, columns of events are empty.

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
            *(each.events.row(plain.events) if each.events and plain.events else [""] * len(OF_EVENTS)),
        ]
        for each in outcomes
    ]
