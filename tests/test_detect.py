"""aed detect: a net that hears level, on recordings whose events are known to the sample."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from listeners import FRONTEND, HOP_S, PATCH_S, RATE, Level, level_model, recording
from omegaconf import OmegaConf

from aed.audio.audio_file import AudioFile
from aed.base.errors import AedError
from aed.dsp.stream import stream_patches
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card
from aed.inference.detection import Detector, rule_of
from aed.inference.opening import open_classifier
from aed.run import detect_stage
from aed.run.annotated import hear
from aed.run.detect import detect_files
from aed.run.int8_programs import with_device_samples
from aed.run.rule_changes import RuleChanges
from aed.run.state import Run
from aed.run.stream_programs import _Listener
from aed.run.stream_scores import _agreement, check_programs
from aed.scoring.decision import Decision
from aed.scoring.events.stream import THRESHOLDS
from aed.scoring.pictures.tradeoff import tradeoff_figure
from aed.scoring.rule import EventRule
from aed.target.host import GatedOutputs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return level_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def sounds(tmp_path: Path) -> list[str]:
    first = recording(tmp_path / "one.wav", (2.0, 4.0), (8.0, 9.0))
    return [str(first), str(recording(tmp_path / "two.flac", (5.0, 6.5)))]


REFERENCE = "filename\tonset\toffset\tevent_label\none.wav\t2\t4\tloud\none.wav\t8\t9\tloud\ntwo.flac\t5\t6.5\tloud\n"


MILLISECONDS = "filename\tonset\toffset\tlabel\none.wav\t2000\t4000\tloud\ntwo.flac\t5000\t6500\tloud\n"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_events_are_where_they_are_heard(model, sounds, capsys):
    detect_files(str(model), sounds, format="csv")
    rows = rows_of(capsys.readouterr().out)
    assert [(Path(row["file"]).name, row["event"]) for row in rows] == [("one.wav", "loud")] * 2 + [
        ("two.flac", "loud")
    ]
    for row, (onset, offset) in zip(rows, ((2, 4), (8, 9), (5, 6.5)), strict=True):
        assert abs(float(row["onset_s"]) - onset) <= HOP_S and abs(float(row["offset_s"]) - offset) <= HOP_S
        assert onset < float(row["alarms_s"].split()[0]) <= onset + PATCH_S + HOP_S
        assert float(row["posterior"]) > 0.9


@pytest.mark.parametrize("window", [1, 3])
def test_smoothing_is_dated_back(model, sounds, window, capsys):
    detect_files(str(model), sounds[:1], rule=RuleChanges(window=window), format="json")
    event = json.loads(capsys.readouterr().out)[0]["events"][0]
    assert abs(event["onset_s"] - 2) <= HOP_S * 1.5 and abs(event["offset_s"] - 4) <= HOP_S * 1.5


def test_blocks_of_any_size_give_the_same_events(model, sounds, monkeypatch):
    detector = Detector(open_classifier(model))
    whole = list(detector.events(sounds[0], lambda _: None))
    read = AudioFile.blocks
    monkeypatch.setattr(AudioFile, "blocks", lambda self, size: read(self, 1777))
    detector.predictor.config = replace(FRONTEND, max_length_s=1.0)
    assert list(detector.events(sounds[0], lambda _: None)) == whole


def test_scores_are_those_of_the_events(model, sounds, tmp_path, capsys):
    (tmp_path / "labels.tsv").write_text(REFERENCE)
    place = tmp_path / "scores.json"
    detect_files(str(model), sounds, reference=str(tmp_path / "labels.tsv"), scores=str(place), format="csv")
    said = capsys.readouterr()
    assert len(rows_of(said.out)) == 3 and "loud" in said.err and "up to" in said.err
    content = json.loads(place.read_text(), parse_constant=pytest.fail)
    metrics = content["metrics"]
    assert metrics["recall"] == 1 and metrics["events"] == 3 and metrics["background_per_hour"] == 0
    free = 24 - (2 + 2) - (1 + 2) - (1.5 + 2)  # without the events and two seconds after each
    assert metrics["hours"] == pytest.approx(24 / 3600) and metrics["background_hours"] == pytest.approx(free / 3600)
    assert metrics["background_per_hour/high"] == pytest.approx(2.9957323 * 3600 / free)
    assert 0 < metrics["delay_s/median"] < PATCH_S + HOP_S and metrics["segment_recall"] == 1
    assert content["rule"]["on"] == [0.5, None, None]
    assert [row["threshold"] for row in content["curve"]] == list(THRESHOLDS)
    assert content["curve"][0]["miss_rate/quiet"] is None, "no such event: no rate"
    assert [row["miss_rate/loud"] for row in content["curve"]] == [row["miss_rate"] for row in content["curve"]]
    # resampling two recordings, of 2 and 1 events that are all found, gives 1 each time
    assert metrics["recall_interval/low"] == metrics["recall_interval/high"] == 1


def test_a_wrong_reference_costs_alarms(model, sounds, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "filename,onset,offset,label\none.wav,2,4,quiet\none.wav,8,9,loud\ntwo.flac,,,\n"
    )
    place = tmp_path / "scores.json"
    arguments = {"reference": str(tmp_path / "labels.csv"), "scores": str(place), "slack_s": 0.5}
    detect_files(str(model), sounds, output=str(tmp_path / "out.txt"), **arguments)
    metrics = json.loads(place.read_text())["metrics"]
    assert metrics["recall"] == 0.5 and metrics["confused_per_hour"] == pytest.approx(3600 / 24)
    assert metrics["background_per_hour"] == pytest.approx(3600 / (24 - 2.5 - 1.5))


class Computed:
    """A device whose front end and net are those of a detector."""

    workers = 1

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def decisions(self, samples: np.ndarray) -> GatedOutputs:
        assert samples.dtype == np.int16
        timed = stream_patches([samples.astype(np.float32) / 32768], RATE, self.detector.predictor.logmel)
        parts = [self.detector.predictor.classifier.outputs(each.patches) for each in timed]
        outputs = np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)
        return GatedOutputs(outputs, np.ones(len(outputs), np.bool_))


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_a_device_hears_what_the_model_hears(model, tmp_path, rate):
    """The same samples, at the same times, also of a recording at another rate."""
    classifier = open_classifier(model)
    classifier.card = with_device_samples(classifier.card)
    detector = Detector(classifier)
    listener = _Listener(detector, Computed(detector))
    wave = 0.1 * np.random.default_rng(0).standard_normal(rate * 25)  # three blocks
    sf.write(tmp_path / "x.wav", wave, rate)
    heard = hear([str(tmp_path / "x.wav")], listener, strict=True)
    own = hear([str(tmp_path / "x.wav")], detector.decisions, strict=True)
    np.testing.assert_array_equal(heard.posteriors[0], own.posteriors[0])
    np.testing.assert_array_equal(heard.starts[0], own.starts[0])
    assert _agreement(detector, own, heard) == {"equal_posteriors": 1, "equal_events": 1}
    check_programs({"c": own, "emulator": heard})
    other = replace(heard, decisions=(heard.decisions[0]._replace(posteriors=heard.posteriors[0] + np.float32(0.5)),))
    assert _agreement(detector, own, other)["equal_posteriors"] == 0
    with pytest.raises(AedError, match="not those of the same C"):
        check_programs({"c": own, "emulator": other})
    sf.write(tmp_path / "short.wav", wave[: rate // 10], rate)
    with pytest.raises(AedError, match="no recording could be used"):
        hear([str(tmp_path / "short.wav")], listener, strict=False)


def test_c_needs_an_int8_model(model, sounds):
    with pytest.raises(AedError, match="on=c: need an int8"):
        detect_files(str(model), sounds, on="c")


def test_a_stage_scores_the_models_of_a_run(model, sounds, tmp_path):
    (tmp_path / "labels.tsv").write_text(REFERENCE)
    shutil.copy(model, tmp_path / "model.onnx")
    shutil.copy(model, tmp_path / "model_int8.onnx")
    settings = {"_target_": "aed.run.detect_stage.DetectConfig", "files": sounds}
    config = OmegaConf.create({"detect": settings | {"reference": str(tmp_path / "labels.tsv")}, "model": {"net": {}}})
    run = Run(config, tmp_path, None, SimpleNamespace(net=Level()), None, metrics={"detect/old": 1.0, "test/x": 2.0})
    run.data = SimpleNamespace(clips=SimpleNamespace(name="sounds"))
    detect_stage.detect(run)
    assert run.metrics["detect/recall"] == run.metrics["detect_int8/recall"] == 1
    assert run.metrics["detect/net_share"] == 1
    assert run.metrics["detect/decisions_per_hour"] == pytest.approx(3600 / HOP_S)
    assert "detect/old" not in run.metrics and run.metrics["test/x"] == 2
    for prefix in ("detect", "detect_int8"):
        content = json.loads((tmp_path / f"{prefix}_scores.json").read_text())
        assert len(content["curve"]) == len(THRESHOLDS) and (tmp_path / f"plots/{prefix}_det.png").is_file()
    with pytest.raises(AedError, match=r"detect needs detect.files=\[...\] and detect.reference"):
        detect_stage.check(detect_stage.DetectConfig(files=tuple(sounds)))
    with pytest.raises(AedError, match=r"detect.board=mps2-an505: an emulated board has no clock"):
        known = {"files": tuple(sounds), "reference": str(tmp_path / "labels.tsv")}
        detect_stage.check(detect_stage.DetectConfig(**known, board="mps2-an505"))
    with pytest.raises(AedError, match=r"detect.reference: nowhere.csv: no such"):
        detect_stage.check(detect_stage.DetectConfig(files=tuple(sounds), reference="nowhere.csv"))


def test_a_picture_has_the_curve_of_each_class_that_occurs():
    own = {f"{key}{end}": 0.2 for key in ("miss_rate", "background_per_hour", "confused_per_100_events") for end in
           ("", "/dog", "/cat")} | {"miss_rate/cat": float("nan")}  # fmt: skip
    curve = [own | {"miss_rate/dog": missed, "background_per_hour/dog": rate} for missed, rate in ((0.5, 1), (0.7, 0))]
    figure = tradeoff_figure(curve, own, ["dog", "cat"], "model on sounds")
    left, right = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dog", "all", "the rule"]
    dog, _, rule = left.lines
    assert (list(dog.get_xdata()), list(dog.get_ydata())) == ([0, 1], [70, 50])
    assert (list(rule.get_xdata()), list(rule.get_ydata())) == ([0.2], [20])
    assert right.get_xlabel() == "alarms in the time of other events, for 100 events"


# --- forms ----------------------------------------------------------------------------------------------------------


def detected(model: Path, sounds: list[str], reference: Path, folder: Path) -> float:
    place = folder / "again.json"
    places = {"reference": str(reference), "scores": str(place), "output": str(folder / "x.txt")}
    detect_files(str(model), sounds, collar_s=0.01, **places)
    return json.loads(place.read_text())["metrics"]["onset_offset_f1"]


@pytest.mark.parametrize("form", ["dcase", "raven"])
def test_lists_are_read_again(model, sounds, tmp_path, form):
    output = tmp_path / "events.txt"
    detect_files(str(model), sounds, format=form, output=str(output))
    assert detected(model, sounds, output, tmp_path) == 1


def test_of_several_recordings_the_output_is_a_folder_though_one_alone_can_be_used(model, sounds, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    files = [sounds[0], str(tmp_path / "broken.wav")]
    detect_files(str(model), files, format="audacity", output=str(tmp_path / "labels"))
    assert [path.stem for path in (tmp_path / "labels").iterdir()] == [Path(sounds[0]).stem]


def test_labels_of_audacity_are_read_again(model, sounds, tmp_path):
    detect_files(str(model), sounds, format="audacity", output=str(tmp_path / "labels"))
    first = (tmp_path / "labels/one.txt").read_text()
    assert first.splitlines()[0].split("\t")[2] == "loud"
    assert detected(model, sounds, tmp_path / "labels", tmp_path) == 1
    lines = [f"{line}\n\\\t100.0\t2000.0" for line in first.splitlines()]  # as it writes spectral selections
    (tmp_path / "spectral.txt").write_text("\n".join(lines) + "\n")
    assert detected(model, sounds[:1], tmp_path / "spectral.txt", tmp_path) == 1


OTHERS = {
    "birdnet.csv": "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    "2.0,4.0,L,loud,0.9,{one}\n8,9,L,loud,0.8,{one}\n5,6.5,L,loud,1,{two}\n",
    "headless.txt": "one.wav\t2.0\t4.0\tloud\none.wav\t8.0\t9.0\tloud\ntwo.flac\t5.0\t6.5\tloud\n",
    "scene.txt": "one.wav\thome\t2.0\t4.0\tloud\none.wav\thome\t8.0\t9.0\tloud\ntwo.flac\thome\t5.0\t6.5\tloud\n",
    "commas.csv": "filename;onset;offset;label\none.wav;2,0;4,0;loud\none.wav;8,0;9,0;loud\ntwo.flac;5,0;6,5;loud\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_references_of_other_programs_are_read(model, sounds, tmp_path, name):
    (tmp_path / name).write_text(OTHERS[name].format(one=sounds[0], two=sounds[1]))
    place = tmp_path / "scores.json"
    detect_files(str(model), sounds, reference=str(tmp_path / name), scores=str(place), output=str(tmp_path / "x.txt"))
    metrics = json.loads(place.read_text())["metrics"]
    assert metrics["events"] == 3 and metrics["recall"] == 1


def test_label_studio_gets_tasks_with_predictions(model, sounds, capsys):
    detect_files(str(model), sounds, format="label_studio")
    tasks = json.loads(capsys.readouterr().out)
    assert [task["data"]["audio"] for task in tasks] == sounds
    value = tasks[1]["predictions"][0]["result"][0]["value"]
    assert value["labels"] == ["loud"] and value["start"] < value["end"]


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REFERENCE.replace("two.flac", "three.wav"), "three.wav is none of the recordings"),
        (REFERENCE.rpartition("two")[0], "says nothing of .*two.flac"),
        (REFERENCE.replace("loud", "noisy"), "noisy is none of the model's classes: loud, quiet, neither"),
        (MILLISECONDS, "ms|milliseconds"),
        (REFERENCE.replace("\t8\t9\t", "\t8\t99\t"), "end after it"),
        (REFERENCE.replace("\t2\t4\t", "\t4\t2\t"), "line 2: the offset is not after the onset"),
        (REFERENCE.replace("\t8\t9\t", "\t3.5\t9\t"), "two events of loud overlap, that from 2 and that from 3.5 s"),
        ('filename,onset,offset,label\none.wav,"1,500","3,250",loud\ntwo.flac,,,\n', "'1,500' is no number, write 1.5"),
        ("filename,onset,offset,label,clip\none.wav,2,4,loud,a\none.wav,8,9,loud,\ntwo.flac,,,,\n", "name the clip"),
        ("2\t4\tloud\n", "does not name recordings"),
        ("", "does not name recordings|says nothing"),
    ],
)
def test_a_reference_that_cannot_be_right_is_refused(model, sounds, tmp_path, text, words):
    (tmp_path / "labels.tsv").write_text(text)
    kept = tmp_path / "events.txt"
    kept.write_text("old")
    with pytest.raises(AedError, match=words):
        detect_files(str(model), sounds, reference=str(tmp_path / "labels.tsv"), output=str(kept))
    assert kept.read_text() == "old"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "audacity"}, "give output=<folder>"),
        ({"scores": "x.json"}, "need reference"),
        ({"reference": "nowhere.tsv"}, "no such file or folder"),
        ({"rule": RuleChanges(on=[0.5, 0.5])}, "rule.on: need one threshold, or 3"),
        ({"rule": RuleChanges(on=[0.4], off=[0.6])}, "rule.off: 0.6 is over rule.on"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(model, sounds, changes, words):
    with pytest.raises(AedError, match=words):
        detect_files(str(model), sounds, **changes)


def test_a_folder_of_labels_needs_one_for_each_recording(model, sounds, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "one.txt").write_text("2\t4\tloud\n")
    with pytest.raises(AedError, match=r"has no two\.txt"):
        detect_files(str(model), sounds, reference=str(folder))
    (folder / "two.txt").write_text("")
    detect_files(str(model), sounds, reference=str(folder), output=str(tmp_path / "out.txt"))
    (folder / "two.csv").write_text("")
    with pytest.raises(AedError, match=r"has both two\.txt and two\.csv"):
        detect_files(str(model), sounds, reference=str(folder))


def test_a_bad_recording_is_left_out_and_counted(model, sounds, tmp_path, caplog, capsys):
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    detect_files(str(model), [*sounds, str(tmp_path / "bad.wav")], format="csv")
    assert len(rows_of(capsys.readouterr().out)) == 3
    assert "1 of 3 recordings could not be used" in caplog.text
    with pytest.raises(AedError, match=r"bad\.wav"):
        detect_files(str(model), [str(tmp_path / "bad.wav"), *sounds], strict=True)
    short = recording(tmp_path / "short.wav", seconds=0.1)
    with pytest.raises(AedError, match="no recording could be used"):
        detect_files(str(model), [str(short)])
    (tmp_path / "labels.tsv").write_text(REFERENCE + "short.wav\t\t\t\n")
    place = tmp_path / "scores.json"
    arguments = {"reference": str(tmp_path / "labels.tsv"), "scores": str(place), "output": str(tmp_path / "x.txt")}
    detect_files(str(model), [str(short), *sounds], **arguments)
    assert "short.wav: shorter than one patch (0.34 s)" in caplog.text
    metrics = json.loads(place.read_text())["metrics"]
    assert metrics["hours"] == pytest.approx(24 / 3600) and metrics["recall"] == 1


def test_a_recording_may_end_inside_an_event(model, tmp_path, capsys):
    cut = recording(tmp_path / "cut.wav", (10.0, 12.0))
    (tmp_path / "cut.txt").write_text("10\t12\tloud\n")
    place = tmp_path / "scores.json"
    detect_files(str(model), [str(cut)], reference=str(tmp_path / "cut.txt"), scores=str(place), format="csv")
    (event,) = rows_of(capsys.readouterr().out)
    assert abs(float(event["offset_s"]) - 12) <= HOP_S
    metrics = json.loads(place.read_text())["metrics"]
    assert metrics["recall"] == 1 and metrics["background_per_hour"] == 0
    assert metrics["background_hours"] == pytest.approx(10 / 3600), "slack ends with the recording"


# --- cards, and the verb --------------------------------------------------------------------------------------------


def test_a_card_keeps_its_rule_and_older_cards_have_none(model, tmp_path):
    card = read_model_card(load_model(model), model)
    assert card.rule == EventRule(on=(0.5, None, None)) and card.version == 4
    facts = json.loads(card.to_json())
    del facts["rule"]
    old = ModelCard.from_json(json.dumps(facts | {"version": 2}), "old.onnx")
    assert old.rule is None and rule_of(old) == EventRule()
    several = replace(old, task="multi_label", decision=Decision(thresholds=(0.2, 0.3, 0.4)))
    assert rule_of(several).on == (0.2, 0.3, 0.4)
    with pytest.raises(AedError, match=r"card is damaged .*rule\.on"):
        ModelCard.from_json(json.dumps(facts | {"rule": {"on": [7]}}), "bad.onnx")


@pytest.mark.usefixtures("processes")
def test_a_stream_on_standard_input_is_followed(model, sounds):
    command = [sys.executable, "-m", "aed.detect", f"model={model}", "-", "format=csv", "rule.shortest_s=0.6"]
    with Path(sounds[0]).open("rb") as source:
        done = subprocess.run(command, stdin=source, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert [row["event"] for row in rows_of(done.stdout.decode())] == ["loud", "loud"]
