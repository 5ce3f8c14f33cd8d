import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.audio.recordings import recordings_below
from aed.base.errors import AedError
from aed.dsp import PRESETS, FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.stream import can_stream, stream_patches
from aed.dsp.waveform import load_clip, resample
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.classifier import Classifier
from aed.inference.files import find_files
from aed.inference.onnx import OnnxClassifier
from aed.inference.prediction import Predictor
from aed.modules.nets import YAMNet
from aed.run.predict import predict_files as predict
from aed.scoring.decision import UNKNOWN_INDEX, Decision
from aed.settings.typed import with_files

pytestmark = pytest.mark.usefixtures("processes")

RATE = 16000
YAMNET = PRESETS["yamnet_64x96"]
SMALL = replace(tiny.FRONTEND, min_length_s=0.5)


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = YAMNet(3).eval()
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    card = ModelCard(frontend=SMALL, class_names=("dog", "rain", "[hum]"))
    save_model(path, to_onnx(net, SMALL, ExportConfig()), card)
    return path


def predictor(model: Path, **changes: object) -> Predictor:
    from aed.inference.opening import open_classifier

    return Predictor(open_classifier(model), **changes)


# --- streaming ----------------------------------------------------------------------------------------------------


def grid(wave: np.ndarray, config: FrontendConfig) -> np.ndarray:
    frames = LogMel(config)(torch.from_numpy(wave)).numpy()
    return cut(frames, grid_starts(frames.shape[1], config), config.patch_frames)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    cuts=st.lists(st.integers(0, 40000), max_size=12),
    overlap=st.sampled_from([0.0, 0.25, 0.7]),
    base=st.sampled_from([SMALL, replace(SMALL, pre_emphasis=0.97), PRESETS["mn_96x96"]]),
)
def test_a_stream_gives_the_grid_however_it_is_cut(cuts, overlap, base):
    config, wave = replace(base, overlap=overlap), noise(2.5)
    blocks = np.split(wave, sorted(cuts))
    parts = list(stream_patches(blocks, RATE, LogMel(config)))
    got = np.concatenate([part.patches for part in parts])[:, 0]
    np.testing.assert_allclose(got, grid(wave, config), atol=1e-5)
    starts = np.concatenate([part.start_s for part in parts])
    np.testing.assert_allclose(starts, np.arange(len(got)) * config.patch_hop * config.hop_length / RATE)
    ends = np.concatenate([part.end_s for part in parts])
    np.testing.assert_allclose(ends - starts, config.patch_samples / RATE)


def test_a_stream_is_resampled_without_seams():
    wave = noise(3, rate=44100)
    parts = list(stream_patches(np.array_split(wave, 50), 44100, LogMel(SMALL)))
    got = np.concatenate([part.patches for part in parts])[:, 0]
    expected = grid(resample(wave, 44100, RATE), SMALL)
    np.testing.assert_allclose(got, expected[: len(got)], atol=2e-2)
    assert len(expected) - len(got) <= 1


def test_frames_that_depend_on_the_clip_are_computed_clip_by_clip():
    config = replace(PRESETS["miniresnet_64x50"], max_length_s=3.0)
    assert not can_stream(config) and can_stream(YAMNET)
    wave = noise(8)
    parts = list(stream_patches(np.array_split(wave, 7), RATE, LogMel(config)))
    expected = [grid(piece, config) for piece in (wave[:48000], wave[48000:96000], wave[96000:])]
    np.testing.assert_allclose(np.concatenate([p.patches for p in parts])[:, 0], np.concatenate(expected), atol=1e-4)
    assert parts[1].start_s[0] == 3.0


def test_nothing_comes_of_less_than_a_patch():
    assert list(stream_patches([noise(0.1)], RATE, LogMel(SMALL))) == []
    assert list(stream_patches([], RATE, LogMel(SMALL))) == []


# --- decisions ----------------------------------------------------------------------------------------------------


def test_a_clip_is_decided_as_in_evaluation(tmp_path, model):
    path = tmp_path / "a.wav"
    sf.write(path, np.concatenate([noise(1), np.zeros(RATE, np.float32), noise(1, 1)]), RATE, subtype="FLOAT")
    recording = predictor(model).recording(str(path))
    timeline = list(recording)
    patches = grid(load_clip(path, SMALL), SMALL)[:, None]
    classifier = predictor(model).classifier
    expected = classifier.posteriors(patches).mean(axis=0)
    np.testing.assert_allclose(recording.posteriors, expected, atol=1e-6)
    assert recording.whole.label == classifier.card.class_names[int(expected.argmax())]
    assert len(timeline) == len(patches)


def test_times_are_those_in_the_file_although_silence_is_trimmed(tmp_path, model):
    path = tmp_path / "a.wav"
    silence = np.zeros(2 * RATE, np.float32)
    sf.write(path, np.concatenate([silence, noise(2), silence]), RATE, subtype="FLOAT")
    timeline = list(predictor(model).recording(str(path)))
    assert timeline[0].start_s == pytest.approx(2.0, abs=0.2)
    assert 3.5 < timeline[-1].end_s <= 4.2
    assert all(heard.start_s < heard.end_s for heard in timeline)


def test_long_recordings_are_streamed_and_short_ones_are_clips(tmp_path, model):
    path = tmp_path / "long.wav"
    silence = np.zeros(6 * RATE, np.float32)
    sf.write(path, np.concatenate([silence, noise(6)]), RATE, subtype="FLOAT")
    streamed, clip = (list(predictor(model, mode=mode).recording(str(path))) for mode in ("auto", "clip"))
    assert streamed[0].start_s == 0 and streamed[-1].end_s == pytest.approx(12, abs=0.4)
    assert clip[0].start_s > 5
    assert list(predictor(model, mode="stream").recording(str(path))) == streamed


def test_under_the_threshold_a_decision_is_unknown(tmp_path, model):
    path = tmp_path / "a.wav"
    sf.write(path, noise(1), RATE)
    recording = predictor(model, unknown_threshold=0.999).recording(str(path))
    assert {heard.label for heard in recording} == {"unknown"} == {recording.whole.label}
    known = predictor(model, unknown_threshold=0.0).recording(str(path))
    assert {heard.label for heard in known} <= {"dog", "rain", "[hum]"}


@pytest.mark.parametrize(
    ("changes", "message"), [({"unknown_threshold": 2.0}, "unknown_threshold"), ({"mode": "guess"}, "mode")]
)
def test_wrong_settings_are_named(model, changes, message):
    with pytest.raises(AedError, match=message):
        predictor(model, **changes)


class Said(Classifier):
    """Gives the posteriors it was given, whatever it hears.

    Args:
        posteriors: ``(patches, num_classes)``; after the last begins the first.
        card: The rest of its card.
    """

    def __init__(self, posteriors: list[list[float]], **card: object) -> None:
        self.rows, self.count, names = np.array(posteriors, np.float32), 0, "abcdefgh"
        self.card = ModelCard(
            frontend=SMALL, class_names=tuple(names[: len(posteriors[0])]), outputs="probabilities", **card
        )

    def outputs(self, patches: np.ndarray) -> np.ndarray:
        first, self.count = self.count, self.count + len(patches)
        return self.rows[np.arange(first, self.count) % len(self.rows)]


THRESHOLD = st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0])
POSTERIORS = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.7]) | st.floats(0, 1, width=32), min_size=4, max_size=4)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(posteriors=POSTERIORS, unknown=st.none() | THRESHOLD)
def test_the_class_named_is_the_decision_of_the_card(posteriors, unknown):
    said = Said([posteriors], decision=Decision(unknown_threshold=unknown))
    heard = Predictor(said).decide(0, 1, said.rows[0])
    index = said.card.decision.decide(torch.from_numpy(said.rows), "single_label").item()
    assert heard.label == ("unknown" if index == UNKNOWN_INDEX else "abcd"[index]) and not heard.others
    assert heard.posterior == said.rows.max()


@settings(deadline=None, derandomize=True, max_examples=200)
@given(posteriors=POSTERIORS, thresholds=st.lists(THRESHOLD, min_size=4, max_size=4).map(tuple))
def test_the_classes_named_are_the_decision_of_the_card(posteriors, thresholds):
    said = Said([posteriors], task="multi_label", decision=Decision(thresholds=thresholds))
    heard = Predictor(said).decide(0, 1, said.rows[0])
    decided = said.card.decision.decide(torch.from_numpy(said.rows), "multi_label")[0]
    assert sorted(name for name, _ in heard.named) == (["abcd"[i] for i in np.flatnonzero(decided)] or ["unknown"])
    values = [value for _, value in heard.named]
    assert values == sorted(values, reverse=True)
    if not decided.any():
        assert values == [said.rows.max()]


def labels(said: Classifier, row: list[float], **changes: object) -> list[str]:
    heard = Predictor(said, **changes).decide(0, 1, np.array(row, np.float32))
    return [name for name, _ in heard.named]


def test_a_threshold_given_counts_in_place_of_the_cards():
    sure, unsure = [0.65, 0.3, 0.05], [0.4, 0.35, 0.25]
    one = Said([sure], decision=Decision(unknown_threshold=0.5))
    assert (labels(one, sure), labels(one, unsure)) == (["a"], ["unknown"])
    assert labels(one, unsure, unknown_threshold=0) == ["a"]
    assert labels(one, sure, unknown_threshold=0.7) == ["unknown"]
    assert labels(one, unsure, top=2, unknown_threshold=0.3) == ["a", "b"]
    several = Said([sure], task="multi_label", decision=Decision(thresholds=(0.7, 0.2, 0.05)))
    assert labels(several, sure) == ["b", "c"]
    assert labels(several, sure, top=1) == ["b"]
    assert labels(several, sure, unknown_threshold=0) == ["a", "b", "c"]
    assert labels(several, sure, unknown_threshold=0.6) == ["a"]


def test_without_thresholds_a_model_of_independent_classes_names_the_likeliest_three():
    said = Said([[0.1, 0.4, 0.2, 0.3, 0.05]], task="multi_label")
    assert labels(said, [0.1, 0.4, 0.2, 0.3, 0.05]) == ["b", "d", "c"]
    assert labels(said, [0.1, 0.4, 0.2, 0.3, 0.05], unknown_threshold=0.3) == ["b", "d"]


def test_a_recordings_posterior_is_the_mean_or_the_maximum_of_its_patches(tmp_path):
    sf.write(tmp_path / "a.wav", noise(2), RATE)
    rows = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
    for how, label in (("mean", "b"), ("max", "a")):
        recording = Predictor(Said(rows, decision=Decision(aggregate=how))).recording(str(tmp_path / "a.wav"))
        patches = len(list(recording))
        expected = getattr(np, how)(np.array(rows, np.float32)[np.arange(patches) % 3], axis=0)
        np.testing.assert_allclose(recording.posteriors, expected, rtol=1e-6)
        assert recording.whole.label == label and patches > 3


def test_posteriors_have_the_cards_temperature(tmp_path, model):
    path, hot = tmp_path / "a.wav", tmp_path / "hot.onnx"
    sf.write(path, noise(1), RATE)
    graph = load_model(model)
    save_model(hot, graph, replace(read_model_card(graph, model), decision=Decision(temperature=3.0)))
    recording = predictor(hot).recording(str(path))
    assert len(list(recording))
    logits = predictor(model).classifier.outputs(grid(load_clip(path, SMALL), SMALL)[:, None])
    expected = torch.from_numpy(logits).div(3).softmax(dim=1).mean(dim=0)
    np.testing.assert_allclose(recording.posteriors, expected, atol=1e-6)


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "rec" / "deep"
    inside.mkdir(parents=True)
    for number, name in enumerate(("b.wav", "a.flac", "deep/c.ogg", "deep/d [1].wav")):
        sf.write(tmp_path / "rec" / name, noise(1, number), RATE)
    (tmp_path / "rec" / "notes.txt").write_text("no sound")
    return tmp_path / "rec"


def test_folders_globs_and_files_are_found_once(folder):
    names = find_files([str(folder), str(folder / "b.wav"), "-"])
    assert [Path(name).name for name in names] == ["a.flac", "b.wav", "c.ogg", "d [1].wav", "-"]
    assert [Path(name).name for name in find_files([f"{folder}/**/*.wav"])] == ["b.wav", "d [1].wav"]


def test_folders_are_walked_as_those_of_a_data_set_are(folder, model, capsys, caplog):
    """Sounds of all kinds, also those that cannot be read, which are told; no hidden file, no folder, no odd name."""
    (folder / "folder.wav").mkdir()
    for name in ("._b.wav", ".b.wav", "notes.mat"):
        (folder / name).write_bytes(b"no sound")
    for name, kind in (("e.aif", "AIFF"), ("f.W64", "W64"), ("g.caf", "CAF"), ("h.mp3", "MP3")):
        sf.write(folder / name, noise(1), RATE, format=kind)
    (folder / "i.m4a").write_bytes(b"ftypM4A ")
    shutil.copy(folder / "b.wav", os.fsencode(folder) + b"/\xe9.wav")
    names = find_files([str(folder)])
    assert [os.fsencode(name).replace(b"\xe9", rb"\udce9").decode() for name in names] == [
        str(path) for path in recordings_below(folder)
    ]
    assert len(names) == 10
    caplog.clear()
    predict(str(model), [str(folder)], format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    expected = ["a.flac", "b.wav", "c.ogg", "d [1].wav", "e.aif", "f.W64", "g.caf", "h.mp3"]
    assert sorted(Path(row["file"]).name for row in rows) == expected
    assert f"convert it: ffmpeg -i {folder / 'i.m4a'} {folder / 'i.wav'}" in caplog.text
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3 and messages[-1] == "2 of 10 recordings could not be used"
    assert sum("not UTF-8; rename the file" in message for message in messages) == 1


def test_a_file_whose_name_is_not_utf8_is_left_out(folder, model, caplog):
    path = os.fsdecode(os.fsencode(folder) + b"/\xe9.wav")
    shutil.copy(folder / "b.wav", path)
    with pytest.raises(AedError, match="no recording"):
        predict(str(model), [path])
    assert "name is not UTF-8; rename the file" in caplog.text


def test_all_of_a_long_recording_is_heard_whatever_its_header_says(tmp_path, model):
    """Streams of a chained Ogg; MP3 of variable bitrate without a count: libsndfile gives the first, or a part."""
    rate, wave = 44100, np.concatenate([1e-4 * noise(1, rate=44100), noise(2, 1, 44100)])
    for name, kind in (("a.ogg", "OGG"), ("a.mp3", "MP3")):
        content = io.BytesIO()
        sf.write(content, wave, rate, format=kind, **({"bitrate_mode": "VARIABLE"} if kind == "MP3" else {}))
        whole = content.getvalue()
        if kind == "MP3":  # the first frame counts the others
            whole = whole[whole.index(whole[:2], whole.index(b"Xing")) :]
        (tmp_path / name).write_bytes(whole * 2)
        for mode, end in (("stream", 6.0), ("clip", 4.0)):
            recording = predictor(model, mode=mode).recording(str(tmp_path / name))
            config = replace(SMALL, trim="none", max_length_s=4.0)
            recording.predictor.config = config
            recording.predictor.logmel = LogMel(config)
            assert max(heard.end_s for heard in recording) == pytest.approx(end, abs=0.6)


@pytest.mark.parametrize("name", ["nothing.wav", "*.mp3", "rec/empty"])
def test_names_that_mean_nothing_are_said(folder, name, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "empty").mkdir()
    with pytest.raises(AedError, match="files: "):
        find_files([name])
    with pytest.raises(AedError, match="files: "):
        find_files([])


def test_paths_on_the_command_line_need_no_key():
    assert with_files(["model_file=x", "a b.wav", "-", "it's.wav", "--cfg", "format=csv"]) == [
        "model_file=x",
        "--cfg",
        "format=csv",
        "files=['a b.wav','-','it\\'s.wav']",
    ]
    assert with_files(["files=[a]"]) == ["files=[a]"]


# --- what is printed ----------------------------------------------------------------------------------------------


def test_csv_and_json_hold_the_same_decisions(folder, model, tmp_path):
    for kind in ("csv", "json"):
        predict(str(model), [str(folder)], format=kind, output=str(tmp_path / f"out.{kind}"))  # type: ignore[arg-type]
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    entries = json.loads((tmp_path / "out.json").read_text())
    assert [row["file"] for row in rows] == [entry["file"] for entry in entries]
    assert [row["label"] for row in rows] == [entry["label"] for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        assert float(row["posterior"]) == pytest.approx(max(entry["posteriors"].values()), abs=1e-6)
        assert sum(entry["posteriors"].values()) == pytest.approx(1, abs=1e-5)


def test_every_class_heard_is_printed(folder, tmp_path, monkeypatch, capsys):
    several = Decision(thresholds=(0.4, 0.3, 0.2), aggregate="max")
    said = Said([[0.1, 0.5, 0.3]], task="multi_label", decision=several)
    monkeypatch.setattr("aed.run.predict.open_classifier", lambda *_: said)
    files = [str(folder / "b.wav")]
    predict("m.onnx", files, format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], row["posterior"]) for row in rows] == [("b", "0.500000"), ("c", "0.300000")]
    predict("m.onnx", files, format="json")
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["label"], entry["others"]) == ("b", [["c", pytest.approx(0.3)]])
    assert list(entry["posteriors"]) == ["a", "b", "c"]
    predict("m.onnx", files)
    lines = [line for line in capsys.readouterr().out.splitlines() if " b " in line or " c " in line]
    assert [("0.500" in line, "0.300" in line) for line in lines] == [(True, False), (False, True)]
    predict("m.onnx", files, format="csv", unknown_threshold=0.6)
    assert capsys.readouterr().out.splitlines()[1].split(",")[3:] == ["unknown", "0.500000"]


def test_a_timeline_has_a_row_a_patch(folder, model, capsys):
    predict(str(model), [str(folder / "b.wav")], format="csv", timeline=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(list(predictor(model).recording(str(folder / "b.wav")))) > 1
    predict(str(model), [str(folder / "b.wav")], format="json", timeline=True)
    assert len(json.loads(capsys.readouterr().out)[0]["timeline"]) == len(rows)


def test_a_table_shows_names_as_they_are(folder, model, capsys, monkeypatch):
    monkeypatch.chdir(folder)  # a short name, which is not broken in two
    predict(str(model), ["deep"])
    out = capsys.readouterr().out
    assert "[1]" in out and "c.ogg" in out


def test_bad_files_are_reported_and_counted_and_the_rest_goes_on(folder, model, capsys, caplog):
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "empty.wav").write_bytes(b"")
    sf.write(folder / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    predict(str(model), [str(folder)], format="csv")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4
    assert "3 of 7 recordings could not be used" in caplog.text
    for name in ("broken.wav", "empty.wav", "nan.wav"):
        assert name in caplog.text
    with pytest.raises(AedError, match=r"broken\.wav"):
        predict(str(model), [str(folder)], strict=True)
    with pytest.raises(AedError, match="no recording could be used"):
        predict(str(model), [str(folder / "empty.wav")])


@pytest.mark.parametrize("kind", ["truncated", "nan", "short"])
def test_bad_long_recordings_are_reported_too(tmp_path, model, kind):
    path, wave = tmp_path / "long.wav", noise(12)
    if kind == "nan":
        wave[-1000] = np.nan
    sf.write(path, wave[:100] if kind == "short" else wave, RATE, subtype="FLOAT")
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(AedError, match={"nan": "NaN", "short": "shorter", "truncated": "truncated"}[kind]):
        list(predictor(model, mode="stream").recording(str(path)))


def test_a_failed_prediction_leaves_the_old_output(folder, model, tmp_path):
    (folder / "empty.wav").write_bytes(b"")
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(AedError):
        predict(str(model), [str(folder)], format="csv", output=str(out), strict=True)
    assert out.read_text() == "old"


def command(*arguments: str, stdin: bytes = b"", cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "aed.predict", *arguments], input=stdin, capture_output=True, cwd=cwd, timeout=120
    )


def test_the_command_hears_a_pipe_and_keeps_messages_apart(folder, model, tmp_path):
    wav = (folder / "b.wav").read_bytes()
    done = command(f"model={model}", "-", "format=csv", "timeline=true", stdin=wav, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [row["file"] for row in rows] == ["-"] * len(rows) and rows
    assert [item.name for item in tmp_path.iterdir()] == ["rec"]  # a prediction leaves nothing behind


def test_the_command_says_in_one_line_what_is_wrong(folder, model, tmp_path):
    flac = (folder / "a.flac").read_bytes()
    for arguments, stdin, message in (
        ((f"model={model}", "-"), flac, b"send wav: "),
        ((f"model={model}", "-"), b"", b"standard input is empty"),
        (("b.wav",), b"", b"aed predict: give model=..."),
        ((f"model={tmp_path / 'none.onnx'}", str(folder)), b"", b"no such model"),
        ((f"model={model}", str(folder), "formatt=csv"), b"", b"formatt"),
    ):
        done = command(*arguments, stdin=stdin, cwd=tmp_path)
        assert done.returncode == 1 and message in done.stderr and b"Traceback" not in done.stderr, done.stderr


def test_the_model_file_alone_is_enough(folder, model):
    """No training configuration, no data set: the class is made from the file's card."""
    from aed.export.graph import load_model

    card = ModelCard(frontend=SMALL, class_names=("a", "b", "c"))
    assert OnnxClassifier(load_model(model), card, model).posteriors(grid(noise(1), SMALL)[:, None]).shape[1] == 3


@settings(deadline=None, derandomize=True, max_examples=200)
@given(name=st.text(st.sampled_from("ab\\'\"${}=,[]() ~+-é"), min_size=1, max_size=12))
def test_any_name_survives_the_command_line(name):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from aed.base.overrides import quoted

    value = OverridesParser.create().parse_overrides([f"files=[{quoted(name)}]"])[0].value()
    assert OmegaConf.to_container(OmegaConf.create({"files": value}), resolve=True) == {"files": [name]}


def test_files_that_look_like_overrides_are_files_where_they_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.ogg").write_bytes(b"x")
    assert with_files(["a=b.ogg", "c=d.ogg", "~/rec/*.wav", "--cfg", "job"]) == [
        "c=d.ogg",
        "--cfg",
        "job",
        "files=['a=b.ogg','~/rec/*.wav']",
    ]


def test_what_was_heard_before_a_recording_failed_is_not_the_next_ones(tmp_path, model, capsys):
    wave = noise(25)
    wave[-RATE] = np.nan
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    sf.write(tmp_path / "b.wav", noise(1), RATE)
    predict(str(model), [str(tmp_path)], format="json", timeline=True)
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["file"].endswith("b.wav") and max(heard["end_s"] for heard in entry["timeline"]) <= 1


def test_centred_frames_do_not_end_after_the_recording():
    config = replace(PRESETS["miniresnet_64x50"], max_length_s=4.0)
    parts = list(stream_patches([noise(9.3)], RATE, LogMel(config)))
    assert parts[0].start_s[0] == 0 and max(part.end_s.max() for part in parts) <= 9.3


def test_output_to_a_device_leaves_the_device(folder, model, tmp_path):
    pipe = tmp_path / "pipe"
    import os
    import threading

    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    predict(str(model), [str(folder / "b.wav")], format="csv", output=str(pipe))
    reader.join(10)
    assert pipe.is_fifo() and "b.wav" in heard[0]
