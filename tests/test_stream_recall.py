"""A checkpoint chosen by the events found within a budget of alarms: against fits of the rule on files; refusals."""

import csv
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.soundscapes.backgrounds import Piece
from aed.datamodules.soundscapes.mixing import MixedEvent, Section, SoundscapeConfig
from aed.datamodules.soundscapes.validation import validation_streams
from aed.dsp.logmel import LogMel
from aed.inference.checkpoint import TorchClassifier
from aed.inference.detection import Detector
from aed.modules.weights.published import Weights
from aed.run import pipeline, stream_recall
from aed.run.rule_fit import FitConfig, Streams, choose_rule
from aed.run.soundscapes import write_soundscapes
from aed.run.stream_recall import StreamRecall
from aed.scoring.labels import BACKGROUND
from aed.scoring.levels import alarms_of

HOURS = 0.05
ASKED = "val/recall_at_50_per_hour"
SOUNDSCAPES = ["events_a_minute=8", "longest_event_s=1", "section_s=[10,20]", "snr_db=[10,20]"]
SMALL = [
    "experiment=demo",
    *tiny.DATA,
    "model/net=user",
    "model.net._target_=tiny.TinyNet",
    "logger=csv",
    "callbacks.progress=null",
    "trainer.max_epochs=5",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "frontend.n_mels=16",
    "frontend.patch_frames=32",
    "frontend.overlap=0",
    "model.optimizer.lr=0.2",
    "data.val_fold=4",
    f"data.val_event_hours={HOURS}",
    f"data.val_quiet_hours={HOURS}",
    *(f"data.soundscapes.{each}" for each in SOUNDSCAPES),
    "stages=[fit]",
    f"callbacks.checkpoint.monitor={ASKED}",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, trains: None) -> Path:
    folder = tmp_path_factory.mktemp("run")
    pipeline.run(tiny.composed(*SMALL, folder=folder), folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Streams:
    """The same streams, by ``aed soundscapes``."""
    config = SoundscapeConfig(events_a_minute=8, longest_event_s=1, section_s=(10, 20), snr_db=(10, 20))
    quiet = SoundscapeConfig(events_a_minute=0, section_s=(10, 20))
    folder = tmp_path_factory.mktemp("files")

    def data(seed: int) -> PatchDataModule:
        return tiny.data(val_fold=4, seed=seed)

    for name, hours, own in (("events", HOURS, config), ("quiet", 2 * HOURS, quiet)):
        write_soundscapes(data, tiny.FRONTEND, str(folder / name), "val", hours, 60 * HOURS, own)
    second = str(folder / "quiet" / "val_0001.wav")  # another background than that of the events
    return Streams([str(folder / "events" / "val_0000.wav")], [second], str(folder / "events" / "reference.tsv"))


def fitted(checkpoint: Path, files: Streams) -> float:
    """The recall of the rule that ``aed detect action=fit`` chooses."""
    detector = Detector(TorchClassifier(checkpoint, "tiny.TinyNet"))
    chosen = choose_rule(files.heard(detector, strict=True), FitConfig(alarms_per_hour=50), 2.0)
    return chosen.choice.found / chosen.events


def test_the_checkpoint_is_the_one_whose_rule_finds_the_most(trained, files):
    with (trained / "metrics.csv").open() as file:
        recalls = [float(row[ASKED]) for row in csv.DictReader(file) if row[ASKED]]
    assert len(recalls) == 5 and max(recalls) > 0
    best = trained / "checkpoints" / "best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    assert epoch == recalls.index(max(recalls))
    assert fitted(best, files) == pytest.approx(recalls[epoch])
    last = trained / "checkpoints" / "last.ckpt"
    assert fitted(last, files) == pytest.approx(recalls[-1])


class Published(tiny.TinyNet):
    """Can be frozen."""

    def load_pretrained(self) -> Weights:
        return Weights(file="f", sha256="0", url="u", licence="Apache-2.0", source="s")


LIVELY = SoundscapeConfig(events_a_minute=10, longest_event_s=1, section_s=(6, 9))
SHORT = {"val_fold": 4, "soundscapes": LIVELY, "val_event_hours": 0.01, "val_quiet_hours": 0.01}


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize("multi_label", [False, True])
def test_streams_are_computed_and_embedded_once(tmp_path, monkeypatch, multi_label):
    seen, embedded = [], []

    def best(labelled, *_):
        seen.append(labelled)
        return SimpleNamespace(recall=0.25 * len(seen))

    monkeypatch.setattr(stream_recall, "best_rule", best)
    data = tiny.data(
        val_fold=4, multi_label=multi_label, soundscapes=LIVELY, val_event_hours=0.01, val_quiet_hours=0.01
    )
    model = tiny.classifier(Published(3), pretrained=True)
    recall = StreamRecall({"val/recall_at_500_per_hour": 400.0}, data)
    trainer = tiny.trainer(tmp_path, 2, [recall], num_sanity_val_steps=1)
    streams = data.val_streams(recall.soundscapes)
    patches = [
        torch.from_numpy(np.stack([frames[:, first : first + 32] for first in firsts])[:, None])
        for frames, firsts in zip(streams.frames, streams.firsts, strict=True)
    ]
    hook = model.net.backbone.register_forward_hook(lambda _, inputs, __: embedded.append(inputs[0].clone()))
    trainer.fit(model, datamodule=data)
    hook.remove()
    assert trainer.callback_metrics["val/recall_at_500_per_hour"] == 0.5 and recall.streams is None
    assert sum(any(torch.equal(own[: len(each)], each) for own in patches) for each in embedded) == 2
    with torch.no_grad():
        logits = [model.eval()(own) for own in patches]
    posteriors = [own.sigmoid() if multi_label else own.softmax(1) for own in logits]
    for mine, own in zip(seen[-1].posteriors, posteriors, strict=True):
        assert mine == pytest.approx(own.numpy(), abs=1e-6)
    assert len(seen[-1].events) == len(streams.events) > 0 and set(seen[-1].events.recording) == {0}
    assert [len(own) for own in seen[-1].starts] == [len(own) for own in patches]
    assert seen[-1].starts[0][1] == pytest.approx(seen[-1].hop_s) == pytest.approx(32 * 0.01)


def test_background_is_no_event_and_parts_are_joined():
    event = MixedEvent((BACKGROUND,), Path(), 0, 1.0, 2.0, 0)
    both = (event, event._replace(labels=("hum",)))
    sections = [Section(np.zeros(number, np.float32), both, (Piece(0.0, "white"),), 0) for number in (48000, 64000)]
    asked = []

    class Fake:
        def sections(self, length, number):
            asked.append((length, number))
            return sections

    parts = [(Fake(), 7 / 3600), (Fake(), 607 / 3600)]
    streams = validation_streams(parts, LogMel(tiny.FRONTEND).array, {BACKGROUND: 0, "hum": 1}, tiny.FRONTEND)
    assert asked == [(112000, 0), (9600000, 1), (112000, 2)]
    assert streams.events.target.tolist() == [1] * 6 and streams.events.recording.tolist() == [0, 0, 1, 1, 2, 2]
    assert streams.events.onset_s.tolist() == [1, 4] * 3 and streams.sections == 6
    assert streams.length_s.tolist() == [7, 600, 7]


@pytest.mark.parametrize(("number", "alarms"), [("1", 1.0), ("10", 10.0), ("0.5", 0.5)])
def test_a_metric_names_its_budget(number, alarms):
    assert alarms_of(f"val/recall_at_{number}_per_hour") == alarms
    assert alarms_of("val/clip_acc") is None


@pytest.mark.parametrize("number", ["x", "0", "0.0", "-1", "nan", "inf", "1e3", "", " 1", "1_0"])
def test_a_budget_that_is_no_number_is_refused(number):
    with pytest.raises(AedError, match="need a number of alarms over 0, as in val/recall_at_1_per_hour"):
        alarms_of(f"val/recall_at_{number}_per_hour")


EARLY = "callbacks.early_stopping"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["callbacks.checkpoint.monitor=val/recall_at_ten_per_hour"], "need a number of alarms over 0.*got 'ten'"),
        (["data.val_fold=null"], r"callbacks.checkpoint.monitor: .* needs a validation set, there is none"),
        (["callbacks.checkpoint.mode=min"], r"is better the greater it is; set callbacks.checkpoint.mode=max"),
        (["callbacks=early_stopping", f"{EARLY}.monitor={ASKED}"], f"set {EARLY}.mode=max"),
        (["model/scheduler=ReduceLROnPlateau", f"model.monitor={ASKED}"], r"set model.scheduler.mode=max"),
        (
            ["callbacks.checkpoint.monitor=val/recall_at_0.5_per_hour"],
            r"val/recall_at_0.5_per_hour: cannot be shown by 0.1 h .* needs 6 h and 120 .* more data.val_quiet_hours",
        ),
        (["data.soundscapes.section_s=[3000,3600]"], "in 1 independent sections; it needs 0.06 h and 1.2 sections"),
        (["data.soundscapes.events_a_minute=0"], "data.soundscapes.events_a_minute: .* needs events to find"),
        (["data.val_event_hours=0"], "data.val_event_hours: .* needs events to find"),
        (["data.val_quiet_hours=-1"], "data.val_quiet_hours: need 0 or more, got -1"),
        (["frontend.center=true"], f"{ASKED}: the features of this front end depend on where a clip ends"),
    ],
)
@pytest.mark.usefixtures("computes")
def test_what_cannot_be_shown_is_refused_before_training(tmp_path, overrides, message):
    with pytest.raises(AedError, match=message):
        pipeline.build(tiny.composed(*SMALL, *overrides, folder=tmp_path), tmp_path)


def test_time_in_events_shows_nothing(tmp_path):
    data = tiny.data(**SHORT)
    budget = math.ceil(3 / 0.02)
    recall = StreamRecall({f"val/recall_at_{budget}_per_hour": float(budget)}, data)
    with pytest.raises(AedError, match=r"cannot be shown by 0\.01\d+ h without events"):
        recall.on_fit_start(tiny.trainer(tmp_path, 1), tiny.classifier())
