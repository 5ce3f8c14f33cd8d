"""Training for streams: patches of soundscapes beside those of clips, the class background, heads of two layers."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tiny
import torch

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.selection import class_settings
from aed.datamodules.soundscapes.mixing import SoundscapeConfig
from aed.dsp.logmel import LogMel
from aed.export.card import ModelCard
from aed.inference.detection import rule_of, without_background
from aed.modules import nets
from aed.run.model_data import model_data
from aed.scoring.labels import BACKGROUND, OTHER
from aed.scoring.rule import EventRule

HOURS = 0.02
LIVELY = SoundscapeConfig(events_a_minute=15, longest_event_s=1, section_s=(8, 12))
PATCH_S = tiny.FRONTEND.patch_samples / tiny.FRONTEND.sample_rate
HOP_S = tiny.FRONTEND.hop_length / tiny.FRONTEND.sample_rate


def prepared(**changes: object) -> PatchDataModule:
    module = tiny.data(**{"soundscape_hours": HOURS, "soundscapes": LIVELY} | changes)
    module.prepare_data()
    module.setup()
    return module


def in_words(module: PatchDataModule, onset_s: float, events: list[tuple[str, float, float]]) -> str | None:
    """The class of the patch at ``onset_s``, by hand: the one that fills half of it, or of which half is in it."""
    filled = dict.fromkeys(module.class_names, 0.0)
    named = set()
    for name, begin, end in events:
        shared = max(0.0, min(end, onset_s + PATCH_S) - max(begin, onset_s))
        filled[name] += shared
        if shared >= 0.5 * min(PATCH_S, end - begin) - 1e-6:
            named.add(name)
    best = max(filled, key=lambda name: filled[name])
    if best in named or filled[best] >= 0.5 * PATCH_S - 1e-6:
        return best
    return BACKGROUND if sum(filled.values()) <= 0.1 * PATCH_S else None


@pytest.mark.usefixtures("trains")
def test_training_sees_clips_and_then_streams_with_their_labels() -> None:
    module = prepared(val_fold=1)
    assert module.class_names == ("alarm", "hum", "rain", BACKGROUND)
    clips, together = module.datasets["train"], module.training_data
    assert np.array_equal(together.windows[: len(clips)], clips.windows)
    assert np.array_equal(together.patch_targets[: len(clips)], clips.patch_targets)
    first = together.__getitems__(range(len(clips))).patches
    assert torch.equal(first, clips.__getitems__(range(len(clips))).patches)
    num_samples = round(HOURS * 3600 * 16000)
    soundscape = module.soundscape("train", LIVELY)
    sections = [*soundscape.untouched(num_samples), *soundscape.sections(num_samples)]
    by_hand: list[tuple[int, int, int]] = []
    number = len(clips.features.n_frames)
    for section in sections:
        events = [(label, event.onset_s, event.offset_s) for event in section.events for label in event.labels]
        last = tiny.FRONTEND.num_frames(len(section.samples)) - tiny.FRONTEND.patch_frames
        for frame in range(0, last + 1, tiny.FRONTEND.patch_hop):
            if (name := in_words(module, frame * HOP_S, events)) is not None:
                by_hand.append((number, frame, module.class_names.index(name)))
        number += last >= 0
    rest = slice(len(clips), None)
    assert np.column_stack([together.windows[rest], together.patch_targets[rest]]).tolist() == [*map(list, by_hand)]
    assert set(together.patch_targets[rest].tolist()) == {0, 1, 2, 3}
    logmel, (_, frame), where = LogMel(tiny.FRONTEND), together.windows[-1], len(together) - 1
    patch = logmel.array(sections[-1].samples)[:, frame : frame + tiny.FRONTEND.patch_frames]
    assert np.array_equal(together.__getitems__([where]).patches[0, 0].numpy(), patch)
    heard = {str(event.clip) for section in sections for event in section.events}
    assert heard <= set(map(str, module.rows("train")["path"]))


@pytest.mark.usefixtures("trains")
def test_background_is_a_class_of_training_alone() -> None:
    module = prepared(class_balance=True)
    assert module.class_counts("test").tolist()[-1] == 0 and module.class_counts("train").tolist()[-1] == 0
    assert module.drawn_counts()[1][-1] > 0
    drawn = torch.cat([batch.target for batch in module.train_dataloader()])
    assert torch.bincount(drawn).tolist()[-1] == pytest.approx(len(drawn) / 4, rel=0.3)
    assert module.facts()["soundscape_hours"] == HOURS
    several = prepared(multi_label=True)
    assert BACKGROUND not in several.class_names
    quiet = several.training_data.patch_targets[len(several.datasets["train"]) :].sum(axis=1) == 0
    assert 0 < quiet.sum() < len(quiet)


def test_streams_that_cannot_train_are_refused() -> None:
    with pytest.raises(AedError, match=r"data.soundscape_hours: need 0 or more, got -1"):
        tiny.data(soundscape_hours=-1)
    centred = replace(tiny.FRONTEND, center=True)
    with pytest.raises(AedError, match=r"depend on where a clip ends; use frontend.center=false"):
        PatchDataModule(tiny.data().clips, centred, soundscape_hours=1)


def test_background_keeps_the_place_that_a_model_has_it_at() -> None:
    assert tiny.data(class_names=["rain", BACKGROUND, "alarm"]).class_names == ("rain", BACKGROUND, "alarm")


@pytest.mark.parametrize(
    ("garbage", "hours", "extra"),
    [(False, 0.0, []), (True, 0.0, [OTHER]), (False, 1.0, [BACKGROUND]), (True, 1.0, [OTHER, BACKGROUND])],
)
def test_the_classes_of_a_model_are_those_of_the_data_again(garbage: bool, hours: float, extra: list[str]) -> None:
    module = tiny.data(class_names=["rain", "alarm"], garbage_class=garbage, soundscape_hours=hours)
    assert module.class_names == ("rain", "alarm", *extra)
    again = class_settings(module.class_names, module.facts())
    assert "soundscape_hours" not in again, "a model is scored without making streams"
    assert tiny.data(**again).class_names == module.class_names


@pytest.mark.usefixtures("trains")
def test_a_model_with_background_is_evaluated_on_clips() -> None:
    trained = prepared()
    card = ModelCard(frontend=tiny.FRONTEND, class_names=trained.class_names, data=trained.facts())
    data = partial(PatchDataModule, **{"clips": tiny.data().clips, "cache_workers": 1})
    module = model_data(data, card, "test", "card", list(card.class_names))
    module.prepare_data()
    module.setup()
    assert module.class_names == trained.class_names
    assert module.class_counts("test").tolist() == trained.class_counts("test").tolist()
    assert rule_of(card).on == (0.5, 0.5, 0.5, None)


def test_background_never_raises_an_alarm() -> None:
    names = ("dog", BACKGROUND, "rain")
    assert without_background(EventRule(on=(0.7,), off=(0.4,)), names) == EventRule(on=(0.7, None, 0.7), off=(0.4,))
    assert without_background(EventRule(on=(0.7, 0.1, 0.6)), names).on == (0.7, None, 0.6)
    own = EventRule(on=(0.7,))
    assert without_background(own, ("dog", "rain")) is own
    with pytest.raises(AedError, match="need one threshold, or 3"):
        without_background(EventRule(on=(0.7, 0.6)), names)


@pytest.mark.parametrize("kind", [nets.YAMNet, nets.DSCNN, nets.BCResNet, nets.MiniResNet])
def test_a_head_may_have_a_hidden_layer(kind: type[torch.nn.Module]) -> None:
    net, plain = kind(3, head_hidden=7).eval(), kind(3)  # type: ignore[call-arg]
    first, second = (part for part in net.head if isinstance(part, torch.nn.Linear))  # type: ignore[union-attr]
    assert (first.out_features, second.in_features, second.out_features) == (7, 7, 3)
    assert set(plain.state_dict()) ^ set(net.state_dict()) == {"head.3.weight", "head.3.bias"}
    patches = torch.randn(2, 1, 64, 96 if kind is nets.YAMNet else 50)
    embedding = net.backbone(patches)  # type: ignore[operator]
    by_hand = second(torch.clamp(first(embedding), min=0))
    assert torch.allclose(net(patches), by_hand, atol=1e-6)
    with pytest.raises(AedError, match=r"net.head_hidden: need at least 1 or null, got 0"):
        kind(3, head_hidden=0)  # type: ignore[call-arg]
