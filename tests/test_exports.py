"""Exports of other tools: Edge Impulse, Label Studio, and annotations of Audacity, Raven, BirdNET and sed_eval."""

import json
import struct
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pandas as pd
import published_trees as trees
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_published import by_name, honest, module

from aed.base import extras
from aed.base.errors import AedError
from aed.datamodules.sources.annotated import Annotated
from aed.datamodules.sources.edge_impulse import EdgeImpulse, parent
from aed.datamodules.sources.edge_samples import read_sample
from aed.datamodules.sources.label_studio import LabelStudio, LabelStudioChoices

WAVE = [0, 1, -1, 32767, -32768, 1000, -2049]


# ---- Edge Impulse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("yard_chunk3.wav.1a2b3c4d.ingestion-6bb4dc-x7.wav", "yard"),
        ("yard_chunk3.wav", "yard"),
        ("yard.wav.1a2b3c4d.ingestion-6bb4dc-x7.wav", "yard"),
        ("noise.1.wav", "noise.1"),
        ("noise.1.wav.1a2b3c4d.ingestion-6bb4dc-x7.wav", "noise.1"),
        ("noise.1a2b3c4d.s12", "noise.1a2b3c4d"),
        ("noise.1a2b3c4d.s12.wav", "noise.1a2b3c4d"),
        ("noise.1a2b3c4d.s12.s3.json", "noise.1a2b3c4d"),
        ("street/yard_chunk3.wav", "yard"),
        ("noise.1a2b3c4d.cbor", "noise.1a2b3c4d"),
    ],
)
def test_the_recording_of_a_piece(name: str, recording: str) -> None:
    assert parent(name) == recording


NAMES = st.from_regex(r"[a-z]{2,8}([ ._-][a-z0-9]{1,6}){0,2}", fullmatch=True)
UPLOADED = st.sampled_from(["", ".wav", ".wav.0a1b2c3d.ingestion-6bb4dc-x7.wav", ".json.zz9xk2q1.ingestion-7c-q.json"])


@settings(max_examples=150, deadline=None)
@given(name=NAMES, marks=st.lists(st.sampled_from(["_chunk{}", ".s{}", "-part{}", " seg {}"]), min_size=1, max_size=2),
       numbers=st.tuples(*[st.integers(0, 999)] * 4), ends=st.tuples(UPLOADED, UPLOADED))  # fmt: skip
def test_pieces_of_one_name_are_of_one_recording_whatever_was_appended(
    name: str, marks: list[str], numbers: tuple[int, ...], ends: tuple[str, str]
) -> None:
    pieces = [
        name + "".join(mark.format(number) for mark, number in zip(marks, own, strict=False)) + end
        for own, end in zip((numbers[:2], numbers[2:]), ends, strict=True)
    ]
    assert parent(pieces[0]) == parent(pieces[1])


def test_an_export_keeps_its_test_set_and_pieces_on_one_side(tmp_path: Path) -> None:
    data = module(EdgeImpulse(str(trees.edge_impulse(tmp_path))), split="source", val_fraction=0.3)
    table = honest(data, "train", "val", "test")
    assert len(table) == 40 and data.class_names == ("knock", "noise")
    assert set(table["src_file"][table["split"] == "test"]) == {"knock3", "noise3", "knock.3a1b2c3d", "noise.3a1b2c3d"}


def test_pieces_in_training_and_testing_are_refused_and_can_be_drawn_anew(tmp_path: Path) -> None:
    root = trees.edge_impulse(tmp_path, pieces_apart=True)
    with pytest.raises(
        AedError, match=r"pieces of 6 recordings .*knock0, knock1, knock2 and 3 more.*official_split=false"
    ):
        EdgeImpulse(str(root)).table()
    honest(module(EdgeImpulse(str(root), official_split=False), split="source"), "train", "test")


def test_info_labels_may_lie_in_the_folders_of_the_categories(tmp_path: Path) -> None:
    root = trees.edge_impulse(tmp_path / "a")
    files = json.loads((root / "info.labels").read_text())["files"]
    for category in ("training", "testing"):
        own = [entry | {"path": Path(entry["path"]).name} for entry in files if entry["category"] == category]
        (root / category / "info.labels").write_text(json.dumps({"version": 1, "files": own}))
    whole = EdgeImpulse(str(root)).table()
    (root / "info.labels").unlink()
    pd.testing.assert_frame_equal(EdgeImpulse(str(root)).table(), whole)
    for category in ("training", "testing"):
        (root / category / "info.labels").unlink()
    with pytest.raises(AedError, match=r"data\.clips\.labels=names"):
        EdgeImpulse(str(root)).table()
    named = EdgeImpulse(str(root), labels="names").table()
    assert {labels[0] for labels in named["labels"]} >= {"noise", "knock"} and len(named) == 40


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(-32768, 32767), min_size=1, max_size=20), rate=st.sampled_from([8000, 16000, 44100]))
def test_json_and_cbor_hold_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], rate: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for own in (values, [[value] for value in values], [float(value) for value in values]):
        sample = trees.signed(own, 1000 / rate)
        (folder / "x.json").write_text(json.dumps(sample))
        (folder / "x.cbor").write_bytes(cbor2.dumps(sample))
        for name in ("x.json", "x.cbor"):
            samples, rate_hz = read_sample(folder / name)
            assert samples.dtype == np.int16 and samples.tolist() == values and rate_hz == rate


def test_cbor_of_a_device_half_floats_in_an_array_without_a_length(tmp_path: Path) -> None:
    """As the firmware's encoder writes it (RFC 8949): 9f .. ff, each value f9 and 16 bits."""
    sample = trees.signed([7])
    whole, values = cbor2.dumps(sample), [5.0, -6.0, 2048.0]
    halves = b"\x9f" + b"".join(struct.pack(">Be", 0xF9, value) for value in values) + b"\xff"
    (tmp_path / "x.cbor").write_bytes(whole.replace(b"fvalues\x81\x07", b"fvalues" + halves))
    assert read_sample(tmp_path / "x.cbor")[0].tolist() == [5, -6, 2048]


def test_samples_become_wavs_once(tmp_path: Path) -> None:
    root, files = tmp_path / "export", []
    (root / "training").mkdir(parents=True)
    for number, label in enumerate(("dog", "dog", "cat", "cat")):
        ending = ("json", "cbor")[number % 2]
        sample = trees.signed([value // (number + 1) for value in WAVE], 1000 / 16000)
        content = json.dumps(sample).encode() if ending == "json" else cbor2.dumps(sample)
        (root / "training" / f"{label}.{number}.{ending}").write_bytes(content)
        own = {"type": "label", "label": label}
        files.append({"path": f"training/{label}.{number}.{ending}", "category": "training", "label": own})
    (root / "info.labels").write_text(json.dumps({"version": 1, "files": files}))
    source = EdgeImpulse(str(root), cache_dir=str(tmp_path / "cache"))
    clips = by_name(source)
    assert source.row_errors() == {} and {clip.src_file for clip in clips.values()} == {
        "dog.0",
        "dog.1",
        "cat.2",
        "cat.3",
    }
    samples, rate_hz = sf.read(clips["dog.0.wav"].path, dtype="int16")
    assert samples.tolist() == WAVE and rate_hz == 16000
    before = clips["dog.0.wav"].path.stat().st_mtime_ns
    assert (
        by_name(EdgeImpulse(str(root), cache_dir=str(tmp_path / "cache")))["dog.0.wav"].path.stat().st_mtime_ns
        == before
    )


def test_without_cbor2_an_export_with_cbor_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").mkdir()
    for name in ("dog.1.cbor", "cat.1.json"):
        (tmp_path / "training" / name).write_bytes(cbor2.dumps(trees.signed(WAVE)))
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "cbor2")
    with pytest.raises(AedError, match=r"a sample in CBOR needs cbor2: pip install 'aed\[cbor\]'"):
        EdgeImpulse(str(tmp_path), labels="names").table()


AXES = [{"name": f"acc{axis}", "units": "m/s2"} for axis in "XYZ"]

BAD_SAMPLES: dict[str, tuple[Any, str]] = {
    "axes": (
        trees.signed([[1, 2, 3]], 10, sensors=AXES),
        r"one sensor of a sound, it has 3: \['accX', 'accY', 'accZ'\]",
    ),
    "no sensors": (trees.signed([1], sensors=None), "it has 0"),
    "slow": (trees.signed([1], 10), "interval_ms 10 is 100 Hz of 'audio'; need sound, 4000 Hz or more"),
    "no interval": (trees.signed([1], None), "interval_ms None"),  # type: ignore[arg-type]
    "negative": (trees.signed([1], -1), "interval_ms -1"),
    "too large": (trees.signed([1, 2, 40000]), r"value 2 is 40000, beyond 16 bits"),
    "huge": (trees.signed([10**400]), r"value 0 is 1000000000\d+, beyond 16 bits"),
    "fraction": (trees.signed([1, 0.25]), "value 1 is 0.25, need whole numbers"),
    "nan": (trees.signed([float("nan")]), "value 0 is nan, beyond 16 bits"),
    "text": (trees.signed(["Ref-BINARY-i16 (32000 bytes) abc"]), "value 0 is 'Ref-BINARY-i16"),
    "two a time": (trees.signed([[1, 2]]), "value 0 is"),
    "empty": (trees.signed([]), "no values"),
    "no payload": ({"protected": {}}, "has a payload"),
    "a list": ([1, 2], "has a payload"),
}


@pytest.mark.parametrize("kind", BAD_SAMPLES)
@pytest.mark.parametrize("ending", ["json", "cbor"])
def test_samples_that_are_no_sound(tmp_path: Path, kind: str, ending: str) -> None:
    content, reason = BAD_SAMPLES[kind]
    path = tmp_path / f"bad.{ending}"
    path.write_bytes(json.dumps(content).encode() if ending == "json" else cbor2.dumps(content))
    with pytest.raises(AedError, match=reason) as error:
        read_sample(path)
    assert str(path) in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"{", b"[" * 100_000, b"\x9f" * 100_000, b"\xd8\x1c\x81\x00"])
@pytest.mark.parametrize("ending", ["json", "cbor"])
def test_damaged_samples(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"bad.{ending}").write_bytes(content)
    with pytest.raises(AedError, match=f"bad.{ending}: "):
        read_sample(tmp_path / f"bad.{ending}")


def test_entries_of_info_labels_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    root = trees.edge_impulse(tmp_path / "export")
    info = json.loads((root / "info.labels").read_text())
    trees.write_wav(tmp_path / "outside.wav", 1)
    odd = trees.write_wav(root / "training" / "odd.wav", 2)
    (root / "training" / "axes.json").write_text(json.dumps(BAD_SAMPLES["axes"][0]))
    dog = {"type": "label", "label": "dog"}
    parts = {"type": "multi-label", "labels": [{"label": "dog", "startIndex": 0, "endIndex": 1000}]}
    bad = [
        ({"path": "../outside.wav", "category": "training", "label": dog}, "is outside"),
        ({"path": "training/odd.wav", "category": "split", "label": dog}, "category 'split', need training or testing"),
        ({"path": "training/odd.wav", "category": "training", "label": {"type": "unlabeled"}}, "no label"),
        ({"path": "training/odd.wav", "category": "training", "label": parts}, "labels of parts"),
        ({"path": "training/odd.wav", "category": "training"}, "no label"),
        ({"path": "training/gone.wav", "category": "training", "label": dog}, "no such file"),
        ({"category": "training", "label": dog}, "need an object with a path"),
        (info["files"][0] | {"label": dog}, "is listed before, with another label"),
        ({"path": "training/axes.json", "category": "training", "label": dog}, "one sensor of a sound"),
    ]
    info["files"] += [entry for entry, _ in bad]
    (root / "info.labels").write_text(json.dumps(info))
    data = module(EdgeImpulse(str(root), cache_dir=str(tmp_path / "cache")), split="source")
    reasons = list(data.row_errors().values())
    for _, reason in bad:
        assert any(reason in text for text in reasons), reason
    assert f"{odd}: no info.labels lists it" in reasons and len(reasons) == len(bad) + 1
    assert len(data.table) == 40 and "dog" not in data.class_names
    with pytest.raises(AedError, match=r"10 of 40 files are bad and data\.strict=true; first"):
        module(EdgeImpulse(str(root)), tmp_path / "features", split="source", strict=True).setup()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": 1}', "[" * 100_000])
def test_an_info_labels_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "info.labels").write_text(content)
    with pytest.raises(AedError, match=r"info\.labels"):
        EdgeImpulse(str(tmp_path)).table()


# ---- Label Studio -----------------------------------------------------------------------------------------


def region(start: object, end: object, *labels: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "channel": 0, "labels": list(labels)}
    return {
        "original_length": 4.0,
        "value": value,
        "id": "wEj",
        "from_name": "label",
        "to_name": "audio",
        "type": "labels",
    }


def task(number: int, address: str, *results: list[Any], **annotation: Any) -> dict[str, Any]:
    own = [
        {"id": number, "completed_by": 1, "result": result, "was_cancelled": False} | annotation for result in results
    ]
    return {
        "id": number,
        "data": {"audio": address, "site": "yard"},
        "annotations": own,
        "predictions": [],
        "project": 1,
    }


def studio(folder: Path, tasks: list[Any], name: str = "project-1.json") -> str:
    for number, wav in enumerate("abcdefg"):
        trees.write_wav(folder / "rec" / f"{wav}.wav", number, 4)
    (folder / name).write_text(json.dumps(tasks))
    return str(folder / name)


def test_regions_of_label_studio(tmp_path: Path) -> None:
    text = {"type": "textarea", "value": {"start": 0, "end": 1, "text": ["heard it"]}}
    tasks = [
        task(1, "/data/upload/1/0a1b2c3d-a.wav", [region(0.5, 1.25, "dog"), region(1, 2, "cat", "dog"), text]),
        task(2, "/data/local-files/?d=rec/b.wav", []),
        task(3, "https://host/x/c.wav?token=1", [region(0, 1, "cat")], ground_truth=True),
        task(4, "s3://bucket/d.wav", [region(0, 1, "cat")], [region(0, 2, "dog")]),
        task(5, "/data/upload/1/0a1b2c3d-e.wav"),
        task(6, "/data/upload/1/0a1b2c3d-f.wav", [region(2, 1, "cat")]),
        task(7, "/data/upload/1/0a1b2c3d-none.wav", [region(0, 1, "cat")]),
        task(8, "/data/upload/1/0a1b2c3d-g.wav", [region(0, 1)]),
    ]
    tasks[2]["annotations"].append({"id": 9, "result": [region(0, 4, "dog")], "was_cancelled": False})
    source = LabelStudio(studio(tmp_path, tasks), str(tmp_path / "rec"))
    assert {path.name: labels for path, labels in source.table()[["path", "labels"]].itertuples(index=False)} == {
        "a.wav": ("cat", "dog"), "b.wav": (), "c.wav": ("cat",),
    }  # fmt: skip
    events = [(path.name, *rest) for path, *rest in source.events().itertuples(index=False)]
    assert events == [
        ("a.wav", 0.5, 1.25, "dog"),
        ("a.wav", 1, 2, "cat"),
        ("a.wav", 1, 2, "dog"),
        ("c.wav", 0, 1, "cat"),
    ]
    reasons = [text.partition("json, ")[2] for text in source.annotation_errors().values()]
    assert reasons[:5] == [
        "task 4: 2 people have; mark one as ground truth",
        "task 5: nobody has annotated it",
        "task 6: a region from 2 to 1 s, need an end after its start",
        "task 7: 0a1b2c3d-none.wav is not below the audio folder",
        "task 8: the region from 0 to 1 s has no label",
    ]
    assert len(reasons) == 5 + 4  # and the recordings d, e, f, g


def test_label_studios_short_form(tmp_path: Path) -> None:
    def short(number: int, wav: str, annotator: int, *labels: str) -> dict[str, Any]:
        own = [{"start": 0, "end": 1.5, "channel": 0, "labels": list(labels)}]
        task = {"audio": f"/data/upload/1/0a1b2c3d-{wav}.wav", "id": number, "annotator": annotator, "lead_time": 1.5}
        return task | ({"label": own} if labels else {})

    tasks = [short(1, "a", 1, "dog"), short(2, "b", 1), short(3, "c", 1, "cat"), short(3, "c", 2, "dog")]
    source = LabelStudio(studio(tmp_path, tasks), str(tmp_path / "rec"))
    assert list(source.table()["labels"]) == [("dog",), ()]
    assert any("c.wav has a task before this one" in text for text in source.annotation_errors().values())


def test_choices_of_label_studio(tmp_path: Path) -> None:
    def chosen(*names: str) -> list[Any]:
        return [{"type": "choices", "value": {"choices": list(names)}, "from_name": "kind", "to_name": "audio"}]

    tasks = [
        task(1, "/data/upload/1/0a1b2c3d-a.wav", chosen("dog")),
        task(2, "/data/upload/1/0a1b2c3d-b.wav", chosen("cat", "dog")),
        task(3, "/data/upload/1/0a1b2c3d-c.wav", []),
        task(4, "/data/upload/1/0a1b2c3d-d.wav", chosen("dog"), was_cancelled=True),
    ]
    file = studio(tmp_path, tasks)
    clips = by_name(LabelStudioChoices(file, str(tmp_path / "rec")))
    assert {name: clip.labels for name, clip in clips.items()} == {"a.wav": ("dog",), "b.wav": ("cat", "dog")}
    errors = " ".join(LabelStudioChoices(file, str(tmp_path / "rec")).row_errors().values())
    assert "no choice was made" in errors and "task 4: nobody has annotated it" in errors
    with pytest.raises(AedError, match="data=label_studio_choices"):
        LabelStudio(file).table()
    short = [
        {"audio": "a.wav", "id": 1, "choice": "dog"},
        {"audio": "b.wav", "id": 2, "choice": {"choices": ["x", "y"]}},
    ]
    clips = by_name(LabelStudioChoices(studio(tmp_path, short)))
    assert {name: clip.labels for name, clip in clips.items()} == {"a.wav": ("dog",), "b.wav": ("x", "y")}
    regions = studio(tmp_path, [task(1, "a.wav", [region(0, 1, "dog")])])
    with pytest.raises(AedError, match=r"data=label_studio data\.clips\.json"):
        LabelStudioChoices(regions).table()


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "[]", '[{"id": 1}]', '[{"audio": "[", "label": 3}]', "[" * 100_000]
)
def test_what_is_no_export_of_label_studio(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    for kind in (LabelStudio, LabelStudioChoices):
        with pytest.raises(AedError, match=r"x\.json"):
            kind(str(tmp_path / "x.json")).table()


# ---- Audacity, Raven, BirdNET, sed_eval -------------------------------------------------------------------

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
BIRDNET = "Start (s),End (s),Scientific name,Common name,Confidence\n"

WRITTEN = {
    "a.txt": "0.500000\t1.250000\tdog\n\\\t100.0\t4000.0\n2.000000\t3.000000\tcat\n",  # Audacity, with frequencies
    "b.Table.1.selections.txt": f"{RAVEN}1\tSpectrogram 1\t1\t0.5\t1.5\t0\t8000\tdog\n",
    "c.BirdNET.results.csv": f"\ufeff{BIRDNET}0,3,Corvus corax,cat,0.8\n",
    "d.txt": "d.wav\t0.0\t1.0\tcat\nd.wav\t1.5\t2.0\tdog\n",  # sed_eval
    "e.txt": "",
}
EVENTS = [
    ("a.wav", 0.5, 1.25, "dog"),
    ("a.wav", 2, 3, "cat"),
    ("b.wav", 0.5, 1.5, "dog"),
    ("c.wav", 0, 3, "cat"),
    ("d.wav", 0, 1, "cat"),
    ("d.wav", 1.5, 2, "dog"),
]


def annotations(folder: Path, **more: str) -> Path:
    for number, name in enumerate("abcde"):
        trees.write_wav(folder / f"{name}.wav", number, 4)
    for name, text in (WRITTEN | {key.replace("__", "."): text for key, text in more.items()}).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_folder_with_a_file_for_each_recording(tmp_path: Path) -> None:
    source = Annotated(str(annotations(tmp_path)))
    events = [(path.name, *rest) for path, *rest in source.events().itertuples(index=False)]
    assert events == EVENTS and source.annotation_errors() == {}
    assert list(source.table()["labels"]) == [("cat", "dog"), ("dog",), ("cat",), ("cat", "dog"), ()]
    assert source.table()["src_file"].is_unique


def test_one_list_for_all_recordings_and_pieces_of_one(tmp_path: Path) -> None:
    annotations(tmp_path)
    lines = [f"{name}\t{onset}\t{offset}\t{label}\n" for name, onset, offset, label in EVENTS]
    (tmp_path / "all.tsv").write_text("".join([*lines, "gone.wav\t0\t1\tdog\n"]))
    source = Annotated(str(tmp_path / "all.tsv"), source_pattern="/([ab])|c")
    assert [(path.name, *rest) for path, *rest in source.events().itertuples(index=False)] == EVENTS
    assert list(source.table()["src_file"])[:2] == ["a", "b"] and len(source.table()) == 4
    assert list(source.annotation_errors().values()) == [
        f"{tmp_path / 'all.tsv'}, line 7: 'gone.wav' is no recording below the audio folder",
        f"{tmp_path / 'e.wav'}: no row of {tmp_path / 'all.tsv'} names it",
    ]
    with pytest.raises(AedError, match="does not name its recordings"):
        Annotated(str(tmp_path / "a.txt")).table()


def test_recordings_without_annotation_and_with_wrong_rows_are_left_out(tmp_path: Path) -> None:
    root = annotations(tmp_path / "rec", d__txt="1.0\t1.0\tdog\n", e__txt="a b c d e f\n")
    trees.write_wav(root / "f.wav", 9)
    data = module(Annotated(str(root)), split="source", test_fraction=0.4, multi_label=True)
    errors = {path.name: text for path, text in data.clips.annotation_errors().items()}  # type: ignore[attr-defined]
    assert sorted(errors) == ["d.wav", "e.wav", "f.wav"]
    assert "d.txt, line 1: the offset is not after the onset" in errors["d.wav"]
    assert "has no f.txt, .csv or .tsv" in errors["f.wav"]
    with pytest.raises(AedError, match="is no folder and no list"):
        Annotated(str(tmp_path / "nowhere"), str(root)).table()
    with pytest.raises(AedError, match="no recording below"):
        Annotated(str(root), str(tmp_path / "empty")).table() if (tmp_path / "empty").mkdir() is None else None
