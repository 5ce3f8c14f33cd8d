"""What a folder looks like: each layout is recognised by itself alone, on evidence, and what is told can be typed."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import published_trees as trees
import pytest
from hydra.utils import instantiate
from test_exports import annotations, region, studio, task
from test_published import NAMINGS

from aed import data as door
from aed.base.errors import AedError
from aed.datamodules.sources.folder import Folder
from aed.datamodules.sources.layouts import misread_as_classes, recognised
from aed.run import layouts as verb
from aed.settings.typed import as_typed


def fsd50k(root: Path) -> Path:
    for name in ("FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth"):
        trees.write_wav(root / name / "1.wav", 1)
    return root


def kaggle2018(root: Path) -> Path:
    trees.fsdkaggle2018(root / "all")
    for part in ("train", "test"):
        (root / "all" / f"FSDKaggle2018.audio_{part}").rename(root / f"audio_{part}")
    (root / "all" / "FSDKaggle2018.meta" / "train_post_competition.csv").rename(root / "train.csv")
    (root / "all" / "FSDKaggle2018.meta" / "test_post_competition.csv").rename(root / "test_post_competition.csv")
    return root


def without_lists(root: Path) -> Path:
    for file in trees.speech_commands(root, speakers=30).glob("*_list.txt"):
        file.unlink()
    return root


def esc50(root: Path) -> Path:
    names = [f"{fold}-{10 * fold + target}-A-{target}.wav" for fold in range(1, 6) for target in (0, 1)]
    rows = [
        [name, name[0], int(name.split("-")[-1][0]), ("dog", "rooster")[int(name[-5])], "True", 1, "A"]
        for name in names
    ]
    head = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    trees.write_rows(root / "meta" / "esc50.csv", [head, *rows])
    for number, name in enumerate(names):
        trees.write_wav(root / "audio" / name, number)
    return root


def scenes(root: Path) -> Path:
    rows = [
        [f"audio/{label}-{place}.wav", label, f"{label}-{place}", "a"] for label in ("bus", "park") for place in (1, 2)
    ]
    trees.write_rows(root / "meta.csv", [["filename", "scene_label", "identifier", "source_label"], *rows])
    for number, (name, *_) in enumerate(rows):
        trees.write_wav(root / str(name), number)
    return root


def labelled(root: Path) -> Path:
    tasks = [
        task(n, f"/data/upload/1/0a1b2c3d-{wav}.wav", [region(0, 1, ("dog", "cat")[n % 2])])
        for n, wav in enumerate("abcd")
    ]
    studio(root, tasks)
    return root


def chosen(root: Path) -> Path:
    def result(name: str) -> list[object]:
        return [{"type": "choices", "value": {"choices": [name]}}]

    studio(root, [task(n, f"{wav}.wav", result(("dog", "cat")[n % 2])) for n, wav in enumerate("abcdefg")])
    return root


def classes(root: Path) -> Path:
    for number in range(6):
        trees.write_wav(root / ("dog", "cat")[number % 2] / f"{number}.wav", number)
    return root


def event_list(root: Path) -> Path:
    rows = [[f"{name}.wav", 0, 1, label] for name, label in zip("abcd", ("dog", "cat") * 2, strict=True)]
    return listed(root, [["filename", "onset", "offset", "label"], *rows])


def clip_list(root: Path) -> Path:
    rows = [[f"{name}.wav", label, 1] for name, label in zip("abcd", ("dog", "cat") * 2, strict=True)]
    return listed(root, [["filename", "category", "fold"], *rows])


def listed(root: Path, rows: list[list[object]]) -> Path:
    for name in "abcd":
        trees.write_wav(root / f"{name}.wav", ord(name), 2)
    trees.write_rows(root / "list.csv", rows)
    return root


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "urbansound8k": (trees.urbansound8k, "UrbanSound8K", "metadata/UrbanSound8K.csv"),
    "speech_commands": (trees.speech_commands, "Speech Commands", "validation_list.txt and testing_list.txt"),
    "speech_commands false": (without_lists, "Speech Commands without its lists", "_nohash_"),
    "fsd50k": (fsd50k, "FSD50K", "FSD50K.ground_truth"),
    "fsdkaggle2018": (trees.fsdkaggle2018, "FSDKaggle2018", "FSDKaggle2018."),
    "fsdkaggle2018 kaggle": (kaggle2018, "FSDKaggle2018", "audio_train and train.csv"),
    "fsdkaggle2019": (trees.fsdkaggle2019, "FSDKaggle2019", "FSDKaggle2019."),
    "sonyc_ust": (trees.sonyc, "SONYC-UST", "annotator_id"),
    "audioset": (lambda root: trees.audioset(root, NAMINGS), "AudioSet", "YTID"),
    "edge_impulse": (trees.edge_impulse, "an export of Edge Impulse", "info.labels"),
    "esc_csv": (esc50, "ESC-50", "meta/esc50.csv"),
    "dcase": (scenes, "scenes of a DCASE challenge", "scene_label"),
    "label_studio": (labelled, "an export of Label Studio", "project-1.json is a list of tasks"),
    "label_studio_choices": (chosen, "an export of Label Studio", "project-1.json is a list of tasks"),
    "annotated": (annotations, "recordings with annotations", "5 of 5 recordings have a list of the same name"),
    "segments": (event_list, "a list of events", "list.csv has the columns filename, onset, offset"),
    "esc_csv list": (clip_list, "a list in ESC format", "list.csv has filename and category"),
    "folder": (classes, "a folder per class", "folders cat, dog"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.usefixtures("computes")
def test_a_layout_is_recognised_and_what_is_told_reads_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, name, evidence = LAYOUTS[kind]
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "my data"
    root.mkdir()
    make(root)
    (layout,) = verb.tell(root)
    assert layout.name == name and evidence in layout.evidence
    assert layout.settings[0] == f"data={kind.split()[0]}"
    printed = capsys.readouterr().out
    assert f"this looks like {name}: " in printed
    line = next(line for line in printed.splitlines() if "aed train" in line)
    words = [word for word in shlex.split(line) if "=" in word]
    assert words == [f"experiment={layout.experiment}", *layout.settings]
    if kind == "fsd50k":
        return  # its own tests have a whole tree
    from tiny import composed

    cfg = composed(*as_typed(words, "train"), folder=tmp_path)
    table = instantiate(cfg.data.clips).table()
    assert len(table) >= 4 and all(path.is_file() for path in table["path"])


@pytest.mark.parametrize("kind", ["urbansound8k", "speech_commands", "fsd50k", "fsdkaggle2018", "fsdkaggle2018 kaggle",
                                  "fsdkaggle2019", "sonyc_ust", "audioset", "edge_impulse"])  # fmt: skip
def test_data_folder_refuses_what_has_no_class_folders_and_says_what_it_looks_like(kind: str, tmp_path: Path) -> None:
    make, name, _ = LAYOUTS[kind]
    with pytest.raises(
        AedError, match=rf"its folders are no classes: this looks like {name} \(.*type data={kind.split()[0]}"
    ):
        Folder(str(make(tmp_path))).table()


def test_folders_that_are_folds_are_no_classes(tmp_path: Path) -> None:
    root = trees.urbansound8k(tmp_path / "UrbanSound8K")
    with pytest.raises(AedError, match=rf"type data=urbansound8k data\.clips\.root={root}\. The folders are folds"):
        Folder(str(root / "audio")).table()
    (root / "metadata" / "UrbanSound8K.csv").unlink()
    with pytest.raises(
        AedError, match=r"UrbanSound8K without its list .*fold1 \.\.\. fold10.*Put its metadata/UrbanSound8K"
    ):
        Folder(str(root / "audio")).table()
    for fold in range(1, 5):
        for label in ("dog", "cat"):
            trees.write_wav(tmp_path / "own" / f"Fold_{fold}" / label / "a.wav", fold)
    with pytest.raises(AedError, match=r"folders that are folds .*data=esc_csv.*columns filename, category and fold"):
        Folder(str(tmp_path / "own")).table()


def test_class_folders_are_not_refused(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "list.csv").write_text("filename,category\ndog/0.wav,dog\n")
    (tmp_path / "fold").mkdir()
    assert misread_as_classes(tmp_path) is None and len(Folder(str(tmp_path)).table()) == 6
    trees.write_wav(tmp_path / "fold1" / "x.wav", 9)  # beside class folders, a class of that name
    assert misread_as_classes(tmp_path) is None


def test_folders_of_splits_hold_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        classes(tmp_path / part)
    (layout,) = recognised(tmp_path)
    assert layout.name == "a folder per class"


def tell(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["aed data", "inspect", *words])
    try:
        door.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_command_tells_and_reads_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    trees.speech_commands(tmp_path / "a b", speakers=5)
    assert tell(monkeypatch, "a b") == 0
    assert "aed data inspect data=speech_commands 'data.clips.root=a b'" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b"]
    (tmp_path / "empty").mkdir()
    assert tell(monkeypatch, "empty") == 1 and "empty: looks like no data set that is known here" in caplog.text
    assert tell(monkeypatch, "nowhere") == 1 and "nowhere: no such folder" in caplog.text


def test_odd_files_do_not_stop_the_look(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "x_segments.csv").write_bytes(b"")
    (tmp_path / "x.json").write_text("[" * 100_000)
    (tmp_path / "y.json").write_text(json.dumps([1, 2]))
    (tmp_path / "z.csv").write_text('a,"b\n')
    assert recognised(tmp_path) == []
