"""Streams once more under noise, from afar, through small microphones: which events a rule still finds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rich.progress import track

from aed.base.errors import AedError
from aed.datamodules.soundscapes.mixing import SPLITS, MixedEvent, Section, Soundscape, SoundscapeConfig
from aed.dsp import disturb
from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import column_powers, patch_powers
from aed.dsp.noise import coloured_noise, unit_rms
from aed.dsp.waveform import Wave, read_audio, resample, to_int16
from aed.inference.classifier import to_event_posteriors
from aed.inference.detection import Detector
from aed.run.disturbances import CONDITIONS, Disturbed, Program
from aed.run.model_data import SplitClips
from aed.scoring.events.alarms import Alarms, count_alarms
from aed.scoring.events.lists import EventList
from aed.scoring.labels import BACKGROUND
from aed.scoring.robustness import EventsFound

STREAM_S = 900
"""Length of all sections, s: 8 events a minute are 120."""

EVENT_DBFS, BACKGROUND_DBFS = -30.0, -60.0
"""RMS of each event and of the background of undisturbed streams, dB under full scale."""

STREAMS = SoundscapeConfig(
    events_a_minute=8,
    longest_event_s=2,
    snr_db=(EVENT_DBFS - BACKGROUND_DBFS,) * 2,
    level_dbfs=(BACKGROUND_DBFS,) * 2,
)


@dataclass(frozen=True, kw_only=True)
class DisturbedSection(Disturbed):
    """A section of a stream, and what disturbs its events.

    Args:
        wave: As of :class:`Disturbed`.
        frontend: Likewise.
        seed: Likewise.
        events: Of the section.
        others: For each, the sound of an event of another class.
    """

    events: Sequence[MixedEvent]
    others: Sequence[Wave]

    def pink_noise(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With pink noise all the time."""
        rate = self.frontend.sample_rate
        noise = coloured_noise(len(self.wave), rate, "pink", np.random.default_rng(self.seed))
        return disturb.added(self.wave, noise * _gain(EVENT_DBFS - snr_db))

    def other_sound(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With an event of another class in the time of each."""
        generator, rate = np.random.default_rng(self.seed), self.frontend.sample_rate
        noise = np.zeros(len(self.wave), np.float32)
        for event, other in zip(self.events, self.others, strict=True):
            own = slice(round(event.onset_s * rate), round(event.offset_s * rate))
            noise[own] = unit_rms(disturb.other_sound(other, own.stop - own.start, generator))
        return disturb.added(self.wave, noise * _gain(EVENT_DBFS - snr_db))


OF_SECTIONS = {"pink_noise_snr_db": DisturbedSection.pink_noise, "other_sound_snr_db": DisturbedSection.other_sound}

STREAM_CONDITIONS = tuple(
    replace(own, disturb=OF_SECTIONS.get(own.name, own.disturb)) for own in CONDITIONS if own.name != "grid_offset_hops"
)
"""The grid of patches lies anywhere over the events of a stream."""


def events_found(
    program: Program, detector: Detector, clips: SplitClips, seed: int, slack_s: float = 2.0
) -> dict[tuple[str, float | str], EventsFound]:
    """What the rule of a model finds in streams of a split under every condition, by its name and value.

    Args:
        program: Of the model.
        detector: Has its rule.
        clips: Events are made of them.
        seed: Of streams and disturbances.
        slack_s: Time after an event in which an alarm still finds it.

    Raises:
        AedError: The clips make no events, or those of one class only.
    """
    frontend, names = detector.card.frontend, clips.module.class_names
    files, targets = clips.recordings()
    labels = {path: (names[target],) for path, target in zip(files, targets.tolist(), strict=True)}
    split = clips.part if clips.part in SPLITS else "test"
    soundscape = Soundscape(labels, split, STREAMS, frontend.sample_rate, frontend.max_length_s, seed)
    sections = list(soundscape.sections(STREAM_S * frontend.sample_rate))
    alarms: list[list[tuple[int, int, float]]] = [[] for _ in STREAM_CONDITIONS]
    heard = track(_disturbed(sections, frontend, seed), "disturbed streams", len(sections), transient=True)
    for number, section in enumerate(heard):
        for raised, condition in zip(alarms, STREAM_CONDITIONS, strict=True):
            raised += [(number, *alarm) for alarm in _alarms(program, detector, condition.heard(section))]
    rows = [
        (number, names.index(event.labels[0]), event)
        for number, section in enumerate(sections)
        for event in section.events
        if event.labels != (BACKGROUND,)
    ]
    if not rows:
        raise AedError("robustness: the clips make no event for streams; use more of them (max_clips)")
    numbers, classes, events = zip(*rows, strict=True)
    reference = EventList.of(numbers, classes, [each.onset_s for each in events], [each.offset_s for each in events])
    clip = np.unique([str(each.clip) for each in events], return_inverse=True)[1]
    length_s = np.array([len(section.samples) / frontend.sample_rate for section in sections])
    found = {}
    for condition, raised in zip(STREAM_CONDITIONS, alarms, strict=True):
        columns = list(zip(*raised, strict=True)) or [()] * 3
        own_alarms = Alarms(np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2], float))
        counted = count_alarms(reference, own_alarms, len(names), length_s, slack_s)
        found[condition.name, condition.value] = EventsFound.of(counted, clip)
    return found


def _disturbed(sections: Sequence[Section], frontend: FrontendConfig, seed: int) -> Iterator[DisturbedSection]:
    """The sections, with an event of another class for each of theirs."""
    every = [event for section in sections for event in section.events]
    for number, section in enumerate(sections):
        generator, others = np.random.default_rng((seed, number)), []
        for event in section.events:
            rest = [other for other in every if not set(other.labels) & set(event.labels)]
            if not rest:
                raise AedError(f"robustness: no event of another class than {event.labels[0]} in the streams")
            others.append(_sound(rest[int(generator.integers(len(rest)))], frontend))
        yield DisturbedSection(
            wave=section.samples, frontend=frontend, seed=(seed, number), events=section.events, others=others
        )


def _sound(event: MixedEvent, frontend: FrontendConfig) -> Wave:
    """The clean sound of an event."""
    rate = frontend.sample_rate
    wave = resample(*read_audio(event.clip, frontend.max_length_s), rate)
    first = round(event.clip_onset_s * rate)
    return wave[first : first + round((event.offset_s - event.onset_s) * rate)]


def _alarms(program: Program, detector: Detector, wave: Wave) -> list[tuple[int, float]]:
    """Class and time of each alarm in a stream, s."""
    frontend = detector.card.frontend
    firsts = np.arange(0, frontend.num_frames(len(wave)) - frontend.patch_frames + 1, frontend.patch_hop)
    posteriors = to_event_posteriors(detector.card, program(wave)[: len(firsts)])
    if detector.gate is not None:
        power = patch_powers(column_powers(to_int16(wave), frontend), firsts, frontend)
        posteriors = np.where((power >= detector.gate)[:, None], posteriors, np.float32(0))
    events = detector.events_of(posteriors, firsts * frontend.hop_length / frontend.sample_rate)
    return [(detector.names.index(event.label), time_s) for event in events for time_s in event.alarms_s]


def _gain(level_db: float) -> np.float32:
    return np.float32(10 ** (level_db / 20))
