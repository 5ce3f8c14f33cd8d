"""aed detect cut=: alarms as files, and what training on them changes."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from test_detect import FRONTEND, PATCH_S, RATE, REFERENCE, model, recording, sounds  # noqa: F401 - fixtures
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.datamodules import Folder, PatchDataModule
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.opening import open_classifier
from aed.run.cutting import _free, _safe
from aed.run.detect import detect_files
from aed.run.model_data import model_data
from aed.scoring.events.alarms import Alarms, count_alarms
from aed.scoring.events.lists import EventList
from aed.scoring.events.verdicts import verdicts


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "alarms.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cut(model, sounds, folder, **settings):  # noqa: F811
    detect_files(str(model), list(map(str, sounds)), cut=str(folder), output=str(folder) + ".txt", **settings)
    return listed(folder)


def test_cuts_are_the_samples_around_their_alarms(model, sounds, tmp_path):  # noqa: F811
    stereo, rate = np.stack([sf.read(sounds[0])[0], np.zeros(12 * RATE)], axis=1), RATE
    sf.write(tmp_path / "both.wav", np.repeat(stereo, 2, axis=0), 2 * RATE, subtype="PCM_16")
    for name in (sounds[0], sounds[1], str(tmp_path / "both.wav")):
        folder = tmp_path / f"cut_{Path(name).stem}"
        rows = cut(model, [name], folder)
        whole, rate = sf.read(name, dtype="int16", always_2d=True)
        assert rows and sorted(path.name for path in (folder / "alarms").iterdir()) == sorted(
            Path(row["file"]).name for row in rows
        )
        for row in rows:
            start, end, alarm = (float(row[key]) for key in ("start_s", "end_s", "alarm_s"))
            assert start == pytest.approx(max(0, alarm - PATCH_S - 1), abs=2e-3) and end == pytest.approx(alarm + 1)
            samples, own_rate = sf.read(folder / row["file"], dtype="int16", always_2d=True)
            assert own_rate == rate and sf.info(folder / row["file"]).subtype == "PCM_16"
            first = round(max(0, alarm - PATCH_S - 1) * rate)
            near = range(max(0, first - rate // 500), first + rate // 500)
            assert any(np.array_equal(samples, whole[begin : begin + len(samples)]) for begin in near)
            assert len(samples) == pytest.approx((min(end, 12) - start) * rate, abs=0.003 * rate)


def test_false_alarms_alone_are_cut_and_told_apart(model, sounds, tmp_path):  # noqa: F811
    text = "filename,onset,offset,label\none.wav,2,4,quiet\none.wav,8,9,loud\ntwo.flac,5.9,9,quiet\n"
    (tmp_path / "labels.csv").write_text(text)
    rows = cut(model, sounds, tmp_path / "cut", reference=str(tmp_path / "labels.csv"), slack_s=0.5)
    kinds = {(Path(row["recording"]).name, Path(row["file"]).parent.name): row for row in rows}
    assert sorted(kinds) == [("one.wav", "confused"), ("two.flac", "background")]
    assert kinds["one.wav", "confused"]["occurs"] == "quiet" and kinds["one.wav", "confused"]["alarm"] == "loud"
    background = kinds["two.flac", "background"]
    assert background["occurs"] == "" and float(background["end_s"]) == 5.9, "no sound of an event is in it"


def test_verdicts_add_up_to_the_counts():
    draw = np.random.default_rng(0)
    for _ in range(20):
        onset = draw.uniform(0, 90, 12)
        reference = EventList.of(
            draw.integers(0, 3, 12), draw.integers(0, 4, 12), onset, onset + draw.uniform(1, 9, 12)
        )
        alarms = Alarms(draw.integers(0, 3, 40), draw.integers(0, 4, 40), draw.uniform(0, 100, 40))
        counts = count_alarms(reference, alarms, 4, np.full(3, 100.0), 2.0)
        found = [verdict for verdict, _ in verdicts(reference, alarms, 2.0)]
        assert found.count("background") == counts.background.sum() and found.count("confused") == counts.confused.sum()
        assert found.count("right") == counts.found.sum() + counts.duplicates.sum()


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b\\c", "CON", "", ".", "x" * 300, "Hündin läuft " * 30, "\udcff*?:|", "\n"]
)
def test_names_are_safe(name):
    safe = _safe(name)
    assert safe and len(safe.encode()) <= 60 and not set(safe) & set('/\\.:*?"<>|\n') and safe.isprintable()


def test_equal_names_are_numbered_also_without_capitals():
    taken = set()
    assert [_free(name, taken) for name in ("a/Dog_x_1s", "a/dog_X_1s", "a/dog_x_1s")] == [
        "a/Dog_x_1s.wav",
        "a/dog_X_1s_2.wav",
        "a/dog_x_1s_3.wav",
    ]


def test_no_other_run_is_overwritten(model, sounds, tmp_path):  # noqa: F811
    cut(model, sounds, tmp_path / "cut")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "cut").rglob("*"))
    with pytest.raises(AedError, match="holds something already; name a new folder"):
        cut(model, sounds, tmp_path / "cut")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "cut").rglob("*")) == before
    with pytest.raises(AedError, match="not standard input"):
        detect_files(str(model), ["-"], cut=str(tmp_path / "other"))


# --- the loop: listen, cut, train again -----------------------------------------------------------------------------


class Bands(nn.Module):
    """A frozen backbone, the mean of each band, and a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(FRONTEND.n_mels, num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(patches.mean(dim=(1, 3)) / 4)


def trained(data: PatchDataModule, path: Path) -> Path:
    """The head with the least loss on the training patches, as a model file."""
    data.setup()
    batch = data.datasets["train"].__getitems__(range(len(data.datasets["train"])))
    torch.manual_seed(0)
    net = Bands(data.num_classes)
    steps = torch.optim.LBFGS(net.parameters(), max_iter=50)

    def loss() -> Tensor:
        steps.zero_grad()
        value = nn.functional.cross_entropy(net(batch.patches), batch.target) + 1e-3 * (net.head.weight**2).sum()
        value.backward()
        return value

    steps.step(loss)
    card = ModelCard(frontend=FRONTEND, class_names=data.class_names, data=data.facts())
    save_model(path, to_onnx(net.eval(), FRONTEND, ExportConfig()), card)
    return path


def tone(seconds: float, hertz: float, level: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    return level * np.sin(2 * np.pi * hertz * times) + 0.003 * draw.standard_normal(len(times))


def ambient(path: Path, seed: int) -> Path:
    """A minute of faint noise in which something hums now and then, at any pitch from 300 to 600 Hz."""
    draw = np.random.default_rng(seed)
    wave = tone(60, 1, 0, seed)
    for start in range(5, 55, 10):
        span = slice(start * RATE, (start + 3) * RATE)
        wave[span] += tone(3, draw.uniform(300, 600), draw.uniform(0.1, 0.3), seed + start)
    sf.write(path, wave, RATE)
    return path


def alarms_in(model: Path, path: Path, folder: Path) -> list[str]:  # noqa: F811
    output = folder / "events.json"
    detect_files(str(model), [str(path)], format="json", output=str(output))
    events = json.loads(output.read_text())[0]["events"]
    return [event["label"] for event in events for _ in event["alarms_s"]]


def clips(folder: Path) -> Folder:
    for number in range(10):
        for name, hertz in (("low", 200 + 10 * number), ("high", 2000 + 100 * number)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            sf.write(folder / name / f"{number}.wav", tone(1.5, hertz, 0.2, number), RATE)
    return Folder(str(folder))


@pytest.mark.usefixtures("trains")
def test_alarms_fall_on_sound_that_was_not_mined(tmp_path):
    source = clips(tmp_path / "clips")
    settings = {"split": "random", "cache_workers": 1}
    before = trained(PatchDataModule(source, FRONTEND, **settings), tmp_path / "before.onnx")
    mined, unheard = ambient(tmp_path / "mined.wav", 1), ambient(tmp_path / "unheard.wav", 2)
    cut(before, [mined], tmp_path / "cut")
    data = PatchDataModule(source, FRONTEND, negatives=str(tmp_path / "cut" / "alarms"), **settings)
    after = trained(data, tmp_path / "after.onnx")
    assert data.class_names == ("high", "low", "background")
    first, then = alarms_in(before, unheard, tmp_path), alarms_in(after, unheard, tmp_path)
    assert len(first) >= 5 and len(then) <= len(first) // 4, (first, then)
    sound = np.concatenate([tone(3, hertz, 0.2, 9) if hertz else tone(4, 1, 0, 9) for hertz in (0, 250, 0, 2450, 0)])
    sf.write(tmp_path / "events.wav", sound, RATE)
    assert {"low", "high"} <= set(alarms_in(after, tmp_path / "events.wav", tmp_path)), "what it knew it still knows"


@pytest.mark.usefixtures("trains")
def test_negatives_are_training_clips_of_one_more_class(model, sounds, tmp_path):  # noqa: F811
    cut(model, sounds, tmp_path / "cut")
    number = len(listed(tmp_path / "cut"))
    source = clips(tmp_path / "clips")
    data = PatchDataModule(source, FRONTEND, negatives=str(tmp_path / "cut"), split="random", cache_workers=1)
    data.setup()
    assert data.class_names == ("high", "low", "background")
    assert data.class_counts("train").tolist() == [8, 8, number] and data.class_counts("test").tolist() == [2, 2, 0]
    facts = data.facts()
    assert len(facts["clips"]["train"]) == 16, "what the data set does not list is not looked for in it"
    card = ModelCard(frontend=FRONTEND, class_names=data.class_names, data=facts)
    again = model_data(
        lambda **own: PatchDataModule(**{"clips": source, "cache_workers": 1} | own),
        card,
        "test",
        "card",
        list(card.class_names),
    )
    again.setup()
    assert again.class_names == data.class_names and again.clip_names("test") == data.clip_names("test")
    several = PatchDataModule(source, FRONTEND, negatives=str(tmp_path / "cut"), multi_label=True, split="random")
    several.setup()
    assert several.class_names == ("high", "low") and several.datasets["train"].num_clips == 16 + number


@pytest.mark.usefixtures("trains")
def test_a_class_of_that_name_gets_the_negatives(model, sounds, tmp_path):  # noqa: F811
    cut(model, sounds, tmp_path / "cut")
    source = clips(tmp_path / "clips")
    (tmp_path / "clips" / "high").rename(tmp_path / "clips" / "background")
    data = PatchDataModule(source, FRONTEND, negatives=str(tmp_path / "cut"), split="random", cache_workers=1)
    data.setup()
    assert data.class_names == ("background", "low")
    assert data.class_counts("train").tolist() == [8 + len(listed(tmp_path / "cut")), 8]


def test_negatives_that_are_not_there_are_refused(tmp_path):
    source = clips(tmp_path / "clips")
    with pytest.raises(AedError, match=r"data\.negatives=.*need a folder that holds recordings"):
        _ = PatchDataModule(source, FRONTEND, negatives=str(tmp_path / "none"), split="random").table
    with pytest.raises(AedError, match="use only one of them"):
        PatchDataModule(source, FRONTEND, ["low"], negatives=str(tmp_path), garbage_class=True)


def test_background_is_no_event(tmp_path):
    net = Bands(2)
    nn.init.zeros_(net.head.weight)
    net.head.bias.data = torch.tensor([0.0, 5.0])
    path = tmp_path / "model.onnx"
    card = ModelCard(frontend=replace(tiny.FRONTEND, min_length_s=0.5), class_names=("dog", "background"))
    save_model(path, to_onnx(net.eval(), FRONTEND, ExportConfig()), card)
    assert alarms_in(path, recording(tmp_path / "one.wav"), tmp_path) == []
    assert open_classifier(path).card.class_names[1] == "background"
