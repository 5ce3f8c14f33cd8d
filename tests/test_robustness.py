"""aed evaluate robustness=true: disturbances measured independently, and a net that hears level."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.datamodules import Folder, PatchDataModule
from aed.datamodules.soundscapes.mixing import MixedEvent
from aed.dsp import disturb
from aed.dsp.logmel import LogMel
from aed.dsp.stream import clip_patches
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.detection import Detector
from aed.inference.opening import open_classifier
from aed.run import robustness, stream_robustness
from aed.run.detect import detect_files
from aed.run.disturbances import CONDITIONS, Condition, DisturbedClip
from aed.run.evaluate import EvaluateConfig, evaluate_file
from aed.run.model_data import SplitClips, model_data
from aed.run.rule_changes import RuleChanges
from aed.run.stream_robustness import STREAM_CONDITIONS, DisturbedSection
from aed.scoring.pictures.robustness import robustness_figure
from aed.scoring.robustness import HEADER, EventsFound, Outcome, rows_of
from aed.scoring.rule import EventRule

RATE = 16000
FRONTEND = replace(tiny.FRONTEND, trim="none", min_length_s=0.5)


def noise(number: int = 20000, level: float = 0.05, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(number)).astype(np.float32)


def db(ratio: float) -> float:
    return 20 * np.log10(ratio)


def test_pink_noise_falls_by_three_db_an_octave_and_is_of_the_ratio_asked_for():
    wave = noise(1 << 17)
    for condition in of("pink_noise_snr_db"):
        added = (condition.heard(heard(wave)) - wave).astype(np.float64)
        assert db(np.std(wave) / np.sqrt(np.mean(added**2))) == pytest.approx(condition.value, abs=0.01)
    power = np.abs(np.fft.rfft(added)) ** 2
    edges = 2 ** np.arange(8, 17)  # bins of 0.122 Hz, from 31 Hz
    bands = [power[low:high].mean() for low, high in pairwise(edges)]
    slope = np.polyfit(np.arange(len(bands)), 10 * np.log10(bands), 1)[0]
    assert slope == pytest.approx(10 * np.log10(0.5), abs=0.15)
    assert power[:150].max() < 1e-2 * power[200:400].mean(), "what nobody hears has no part in the ratio"


@pytest.mark.parametrize("level", [0.05, 0.4])
@pytest.mark.parametrize("snr_db", [20, 0, -3])
def test_the_ratio_is_what_least_squares_find(level, snr_db):
    wave, other = noise(level=level), noise(level=0.01, seed=1)
    total = disturb.mixed(wave, other, snr_db)
    parts = np.linalg.lstsq(np.stack([wave, other], axis=1).astype(np.float64), total, rcond=None)[0]
    found = db(parts[0] * np.std(wave) / (parts[1] * np.std(other)))
    assert found == pytest.approx(snr_db, abs=0.01)
    assert np.abs(total).max() <= 1 and (parts[0] == pytest.approx(1) or np.abs(total).max() == pytest.approx(1))


def heard(wave: np.ndarray, other: np.ndarray | None = None) -> DisturbedClip:
    sound = noise(seed=7) if other is None else other
    return DisturbedClip(wave=wave, frontend=FRONTEND, seed=(0, 0), other=sound)


def of(name: str) -> list[Condition]:
    return [condition for condition in CONDITIONS if condition.name == name]


def test_every_disturbance_ends_in_sixteen_bits():
    for condition in CONDITIONS[1:]:
        samples = condition.heard(heard(noise(5000, 0.5))) * 32768
        assert (samples == np.rint(samples)).all() and samples.min() >= -32768 and samples.max() <= 32767, condition


def test_levels_are_those_asked_for():
    wave = noise(level=0.2)
    for condition in of("level_db"):
        assert db(np.std(condition.heard(heard(wave))) / np.std(wave)) == pytest.approx(condition.value, abs=0.01)
    for condition in of("over_full_scale_db"):
        loud = condition.heard(heard(wave))
        inside = np.abs(loud) < 0.99
        assert db(np.abs(loud[inside]).sum() / np.abs(wave[inside]).sum()) + db(np.abs(wave).max()) == pytest.approx(
            condition.value, abs=0.01
        )
        assert not inside.all()


def test_silence_stays_silent():
    silence = np.zeros(9000, np.float32)
    for condition in CONDITIONS:
        assert not condition.heard(heard(silence)).any(), condition


def test_noise_is_the_same_at_every_ratio():
    wave = noise()
    parts = [condition.heard(heard(wave)) - wave for condition in of("pink_noise_snr_db")]
    assert all(np.corrcoef(parts[-1], part)[0, 1] > 0.99 for part in parts)


def test_a_hop_later_is_the_next_patch():
    wave, logmel = noise(32000), LogMel(FRONTEND)
    plain = clip_patches(wave, np.arange(len(wave)), logmel).patches
    later = clip_patches(heard(wave).grid_offset(1), np.arange(len(wave)), logmel).patches
    assert len(plain) == len(later) > 2
    np.testing.assert_array_equal(later[:-1], plain[1:])


@pytest.mark.parametrize(
    ("name", "hz", "expected_db"),
    [
        ("port", 150, -3.0),
        ("port", 1000, 0.1),
        ("port", 5000, 8.0),
        ("narrow", 300, -3.0),
        ("narrow", 3400, -3.0),
        ("narrow", 1000, 0.0),
        ("narrow", 100, -20.3),
    ],
)
def test_microphones_pass_what_their_description_says(name, hz, expected_db):
    pulse = np.zeros(RATE, np.float32)
    pulse[0] = 1
    response = np.abs(np.fft.rfft(disturb.MICROPHONES[name](pulse, RATE)))
    assert db(response[hz]) == pytest.approx(expected_db, abs=0.3)


def test_eight_bits_are_256_steps():
    samples = of("bits")[0].heard(heard(noise(level=0.3)))
    assert len(np.unique(samples)) <= 256 and (samples * 128 == np.rint(samples * 128)).all()


def test_other_sounds_are_whole_clips_from_any_sample():
    sound = np.arange(1, 11, dtype=np.float32)
    found = disturb.other_sound(sound, 25, np.random.default_rng(3))
    assert len(found) == 25 and set(np.diff(found).tolist()) == {1.0, -9.0}


# --- a whole evaluation ---------------------------------------------------------------------------------------------


class Level(nn.Module):
    """Loud or quiet by the mean of a patch alone."""

    def forward(self, patches: Tensor) -> Tensor:
        level = patches.mean(dim=(1, 2, 3))
        return torch.stack([level + 0.5, -level - 0.5], dim=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    card = ModelCard(frontend=FRONTEND, class_names=("loud", "quiet"))
    save_model(path, to_onnx(Level().eval(), FRONTEND, ExportConfig()), card)
    return path


def sounds(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., PatchDataModule]:
    for number in range(12):
        name, level = ("loud", 0.05 * 1.6**number) if number % 2 else ("quiet", 1e-4)
        (folder / name).mkdir(parents=True, exist_ok=True)
        wave = np.clip(noise(20000, level, number), -1, 1)
        samples = np.clip(np.rint(change(np.rint(wave * 32768))), -32768, 32767).astype(np.int16)
        sf.write(folder / name / f"{number}.wav", samples, RATE)
    return partial(PatchDataModule, clips=Folder(str(folder)), cache_workers=1)


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "all_robustness.csv").open() as file:
        return {(row["condition"], row["value"]): row for row in csv.DictReader(file)}


ALL = EvaluateConfig(split="all", threads=1)


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_robustness, "STREAM_S", 45)


@pytest.mark.usefixtures("trains", "short_streams")
def test_the_table_is_that_of_the_disturbed_files(model, tmp_path, capsys):
    data = sounds(tmp_path / "plain", lambda samples: samples)
    metrics = evaluate_file(str(model), data, str(tmp_path / "out"), replace(ALL, robustness=True))
    found = rows(tmp_path / "out")
    assert len(found) == len(CONDITIONS) and (tmp_path / "out" / "plots" / "all_robustness.png").is_file()
    said = capsys.readouterr().out
    assert "pink noise, SNR 20 dB" in said and "all: disturbed streams, % found of" in said
    grid = found["grid_offset_hops", "0.333"]
    assert grid["recall"] == "" and int(found["bits", "8"]["events"]) == int(found["none", ""]["events"]) > 3
    assert float(found["none", ""]["clip_acc"]) == pytest.approx(metrics["all/clip_acc"], abs=1e-6)
    assert float(found["none", ""]["patch_acc"]) == pytest.approx(metrics["all/patch_acc"], abs=1e-6)
    quieter = sounds(tmp_path / "quieter", lambda samples: samples * 10 ** (-36 / 20))
    plain = evaluate_file(str(model), quieter, str(tmp_path / "again"), ALL)
    row = found["level_db", "-36"]
    assert 0.5 <= plain["all/clip_acc"] < metrics["all/clip_acc"]
    assert int(row["clips_right"]) == round(12 * plain["all/clip_acc"]) and row["clips"] == "12"
    assert float(row["patch_acc"]) == pytest.approx(plain["all/patch_acc"], abs=1e-6)
    again = evaluate_file(str(model), data, str(tmp_path / "twice"), replace(ALL, robustness=True))
    assert (
        again == metrics
        and (tmp_path / "twice" / "all_robustness.csv").read_bytes()
        == (tmp_path / "out" / "all_robustness.csv").read_bytes()
    )


@pytest.mark.usefixtures("trains")
def test_undisturbed_outputs_are_the_plain_ones_and_a_device_hears_the_same(model, tmp_path, monkeypatch):
    classifier = open_classifier(model)
    clips = SplitClips(model_data(sounds(tmp_path, lambda s: s), classifier.card, "all", "data", None), "all", 5)
    plain = classifier.outputs(clips.dataset.__getitems__(range(len(clips.dataset))).patches.numpy())
    program = robustness.program_of(classifier, classifier.card, None)

    class Device:
        workers = 2

        def outputs(self, samples: np.ndarray) -> np.ndarray:
            assert samples.dtype == np.int16
            return program((samples / 32768).astype(np.float32))

    scored = []
    score = robustness.score_outputs
    monkeypatch.setattr(robustness, "score_outputs", lambda *args: scored.append(args[1]) or score(*args))
    here = robustness.outcomes_of(program, classifier.card, clips, ["loud", "quiet"], 0)
    np.testing.assert_array_equal(scored[0], plain)
    device = robustness.program_of(classifier, classifier.card, Device())
    assert robustness.outcomes_of(device, classifier.card, clips, ["loud", "quiet"], 0, workers=2) == here


@pytest.mark.usefixtures("trains", "short_streams")
def test_events_found_are_those_that_a_detection_of_the_same_sounds_finds(model, tmp_path, monkeypatch):
    """Sections as files, in which ``aed detect`` finds and confuses as much, with as many alarms on background."""
    classifier = open_classifier(model)
    data = sounds(tmp_path / "sounds", lambda samples: samples)
    clips = SplitClips(model_data(data, classifier.card, "all", "data", None), "all")
    program, kept = robustness.program_of(classifier, classifier.card, None), []
    disturbed = stream_robustness._disturbed
    monkeypatch.setattr(stream_robustness, "_disturbed", lambda *own: kept.extend(disturbed(*own)) or kept)
    gated = EventRule(on=(0.9, 0.6), window=2, gate_dbfs=-50)
    for rule, key in ((EventRule(), ("pink_noise_snr_db", 0)), (gated, ("level_db", -12))):
        kept.clear()
        found = stream_robustness.events_found(program, Detector(classifier, rule), clips, 3)
        (condition,) = (one for one in stream_robustness.STREAM_CONDITIONS if (one.name, one.value) == key)
        folder = tmp_path / f"{condition.name}{rule.window}"
        (folder / "wav").mkdir(parents=True)
        lines = ["filename,onset,offset,label"]
        for number, section in enumerate(kept):
            samples = np.clip(np.rint(condition.heard(section) * 32768), -32768, 32767).astype(np.int16)
            sf.write(folder / "wav" / f"{number}.wav", samples, RATE)
            lines += [f"{number}.wav,{own.onset_s},{own.offset_s},{own.labels[0]}" for own in section.events]
        (folder / "reference.csv").write_text("\n".join(lines) + "\n")
        settings = {"reference": str(folder / "reference.csv"), "scores": str(folder / "scores.json")}
        changes = RuleChanges(on=list(rule.on), window=rule.window, gate_dbfs=rule.gate_dbfs)
        detect_files(str(model), [str(folder / "wav")], output=str(folder / "x.txt"), rule=changes, **settings)
        metrics, own = json.loads((folder / "scores.json").read_text())["metrics"], found[key]
        assert own.recall == metrics["recall"] and own.events == metrics["events"] == len(lines) - 1
        assert own.background == metrics["background/loud"] + metrics["background/quiet"]
        assert own.confused == metrics["confused/loud"] + metrics["confused/quiet"]
        assert own.background_hours == pytest.approx(metrics["background_hours"])
    assert found["level_db", -36].found == 0 == found["level_db", -36].background, "all is under the gate"


@pytest.mark.parametrize("snr_db", [10, 0])
def test_the_ratio_of_an_event_in_a_stream_is_that_asked_for(snr_db):
    quiet, event = noise(5 * RATE, 0.001), MixedEvent(("loud",), Path(), 0, 1.0, 2.5, 30)
    events = (event, event._replace(onset_s=3.0, offset_s=4.0))
    section = DisturbedSection(
        wave=quiet, frontend=FRONTEND, seed=(0, 1), events=events, others=[noise(9000, 0.3), noise(RATE, 0.01)]
    )
    for condition in STREAM_CONDITIONS:
        if condition.value != snr_db or "snr" not in condition.name:
            continue
        change = condition.heard(section) - quiet
        for own in events:
            inside = change[round(own.onset_s * RATE) : round(own.offset_s * RATE)]
            assert db(np.sqrt(np.mean(inside**2))) == pytest.approx(-30 - snr_db, abs=0.5)
        outside = np.abs(change[: RATE - 1]).max()
        assert outside < 2 / 32768 if condition.name == "other_sound_snr_db" else outside > 0.001
    assert {one.name for one in CONDITIONS} - {one.name for one in STREAM_CONDITIONS} == {"grid_offset_hops"}


def test_rows_say_how_far_from_undisturbed():
    first, second = rows_of([Outcome("none", "", 9, 10, 80, 100), Outcome("bits", 8, 5, 10, 50, 100)])
    assert dict(zip(HEADER, second, strict=True))["clip_acc_difference"] == pytest.approx(-0.4)
    low, high = second[5:7]
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4)), "R, binom.confint"
    assert first[7] == first[11] == 0 and first[12:] == second[12:] == [""] * 9, "no streams"


@pytest.mark.parametrize("found", [None, EventsFound(3, 4, (0.5, 1.0), 0, 1, 0.2), EventsFound(3, 4, None, 0, 1, 0.2)])
def test_a_picture_has_a_row_for_streams_where_there_are_any(found):
    outcomes = [Outcome(one.name, one.value, 9, 10, 80, 100, found) for one in CONDITIONS]
    axes = robustness_figure(outcomes, "x").axes
    assert [each.get_ylabel() for each in axes if each.get_ylabel()] == [
        "clips right, %", *(["events found in streams, %"] if found else []),
    ]  # fmt: skip
    if found:
        assert {75.0} == {float(y) for line in axes[3].lines[-1:] for y in line.get_ydata()}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"multi_label": True}, "one class a clip"),
        ({"frontend": replace(FRONTEND, sample_rate=8000, f_max=3500, min_length_s=1.0)}, "at least 12000 Hz"),
    ],
)
def test_what_cannot_be_disturbed_is_refused(settings, text, tmp_path):
    data = sounds(tmp_path, lambda samples: samples)
    module = data(**{"frontend": FRONTEND, "split": "random"} | settings)
    with pytest.raises(AedError, match=text):
        robustness.check_data(module)
    with pytest.raises(AedError, match="takes patches"):
        EvaluateConfig(on="board", robustness=True)
