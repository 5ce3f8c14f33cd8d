"""Published data sets in their own layouts: tables, splits without leaks, and rows that cannot be used."""

import csv
import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import published_trees as trees
import pytest

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.audioset import AudioSet
from aed.datamodules.sources.clips import ClipSource, FixedSplit
from aed.datamodules.sources.fsdkaggle import FSDKaggle2018, FSDKaggle2019
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.sources.sonyc import SONYCUST
from aed.datamodules.sources.speech_commands import SpeechCommands
from aed.datamodules.sources.urbansound8k import CLASSES, UrbanSound8K
from aed.dsp.frontend import FrontendConfig
from aed.run import data as verb

NAMINGS: list[Callable[[str, int], str]] = [
    lambda ytid, start: ytid,
    lambda ytid, start: f"Y{ytid}",
    lambda ytid, start: f"{ytid}_{start * 1000}",
    lambda ytid, start: f"{ytid}_{start}_{start + 10}",
    lambda ytid, start: f"{ytid}_{start}.000_{start + 10}.000",
]


def module(source: ClipSource, cache: Path | None = None, **settings: Any) -> PatchDataModule:
    return PatchDataModule(
        source, FrontendConfig(), cache_dir=str(cache) if cache else None, cache_workers=1, **settings
    )


def by_name(source: ClipSource) -> dict[str, Any]:
    table = source.table()
    assert tuple(table.columns) == COLUMNS and all(isinstance(path, Path) and path.is_file() for path in table["path"])
    return {path.name: row for path, row in zip(table["path"], table.itertuples(index=False), strict=True)}


def honest(data: PatchDataModule, *splits: str) -> pd.DataFrame:
    """The split table, in which no source is on two sides."""
    table = data.table
    assert set(table["split"]) == set(splits)
    assert data.leaking_sources == [] and data.likely_sources is None
    assert (table.groupby("src_file")["split"].nunique() == 1).all()
    return table


# ---- UrbanSound8K -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def urban(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.urbansound8k(tmp_path_factory.mktemp("us8k") / "UrbanSound8K")


def test_urbansound8k_as_its_csv_says(urban: Path) -> None:
    clips = by_name(UrbanSound8K(str(urban)))
    with (urban / "metadata" / "UrbanSound8K.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(clips) == len(rows) == 120
    for row in rows:
        clip = clips[row["slice_file_name"]]
        assert clip.path == urban / "audio" / f"fold{row['fold']}" / row["slice_file_name"]
        assert (clip.labels, clip.fold, clip.src_file) == ((row["class"],), int(row["fold"]), row["fsID"])
    assert UrbanSound8K(str(urban)).row_errors() == {} and CLASSES == trees.URBANSOUND8K_CLASSES


def test_urbansound8k_as_soundata_reads_it(urban: Path) -> None:
    """Digest of what soundata 1.0.1 reads from this very tree: slice_file_name, fold, class_label, freesound_id."""
    table = UrbanSound8K(str(urban)).table()
    rows = sorted([path.name, fold, *labels, source] for path, labels, fold, source in table.iloc[:, :4].to_numpy())
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest().startswith("7d7b19b546c3f8f9")


def test_urbansound8k_in_its_folds_and_drawn_anew(urban: Path) -> None:
    for fold in (1, 10):
        table = honest(module(UrbanSound8K(str(urban)), test_fold=fold, val_fold=4), "train", "val", "test")
        assert set(table["path"][table["split"] == "test"].map(lambda path: path.parent.name)) == {f"fold{fold}"}
    honest(module(UrbanSound8K(str(urban)), split="source"), "train", "test")


def test_a_recording_in_two_folds_is_told(urban: Path, tmp_path: Path) -> None:
    root = trees.urbansound8k(tmp_path / "UrbanSound8K")
    csv_file = root / "metadata" / "UrbanSound8K.csv"
    trees.write_wav(root / "audio" / "fold10" / "1010-1-0-8.wav", 5)
    csv_file.write_text(csv_file.read_text() + "1010-1-0-8.wav,1010,4.0,8.0,1,10,1,car_horn\n")
    assert module(UrbanSound8K(str(root)), test_fold=10).leaking_sources == ["1010"]


US8K_FAULTS = {
    "7-3-0-0.wav,7,0,4,1,11,3,dog_bark": "fold '11' is none of 1 to 10",
    "7-3-0-0.wav,7,0,4,1,one,3,dog_bark": "fold 'one' is none",
    "7-3-0-0.wav,7,0,4,1,2,3,dog": "class 'dog' is none of the ten",
    "7-3-0-0.wav,7,0,4,1,2,4,dog_bark": "classID '4' is not that of 'dog_bark'",
    "7-3-0-0.wav,8,0,4,1,2,3,dog_bark": "fsID '8' is not that of '7-3-0-0.wav'",
    "1010-1-0-0.wav,1010,0,4,1,1,1,car_horn": "'1010-1-0-0.wav' stands in the list before",
    "1010-1-0-4.wav,1010,0,4,1,2,1,car_horn": "'1010-1-0-4.wav' stands in the list before",
    ",7,0,4,1,2,3,dog_bark": "no slice_file_name",
}


@pytest.mark.parametrize("line", US8K_FAULTS)
def test_a_row_of_urbansound8k_that_contradicts_itself(urban: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "audio").symlink_to(urban / "audio")
    text = (urban / "metadata" / "UrbanSound8K.csv").read_text() + line + "\n"
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text(text)
    source = UrbanSound8K(str(tmp_path))
    (reason,) = source.row_errors().values()
    assert f"UrbanSound8K.csv, line 122: {US8K_FAULTS[line]}" in reason
    assert len(source.table()) == 120


def test_files_in_another_fold_without_rows_and_rows_without_files(tmp_path: Path) -> None:
    root = trees.urbansound8k(tmp_path / "UrbanSound8K")
    audio = root / "audio"
    (audio / "fold1" / "1010-1-0-0.wav").rename(audio / "fold2" / "1010-1-0-0.wav")
    extra, gone = trees.write_wav(audio / "fold3" / "9-3-0-0.wav", 1), audio / "fold4" / "4010-1-0-0.wav"
    gone.unlink()
    data = module(UrbanSound8K(str(root)), tmp_path / "cache", test_fold=1)
    errors = data.row_errors()
    moved = root / "metadata" / "UrbanSound8K.csv"
    assert list(errors.values()) == [
        f"{extra}: no row of {moved} names it",
        f"{moved}, line 2: its file is in 'fold2', the list says fold '1'",
    ]
    data.setup()
    assert len(data.skipped) == 3 and gone in data.skipped and "1010-1-0-0" not in str(list(data.good["path"]))
    with pytest.raises(AedError, match=r"3 of 119 files are bad and data\.strict=true"):
        module(UrbanSound8K(str(root)), tmp_path / "cache", test_fold=1, strict=True).setup()
    names = {"train": [path.name for path in data.table["path"]]}
    assert FixedSplit(data.clips, names).row_errors() == errors


def test_inspection_names_rows_that_cannot_be_used(urban: Path, tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "audio").symlink_to(urban / "audio")
    text = (urban / "metadata" / "UrbanSound8K.csv").read_text() + next(iter(US8K_FAULTS)) + "\n"
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text(text)
    made = partial(module, UrbanSound8K(str(tmp_path)), test_fold=10)
    report = verb.inspect(made, FrontendConfig(), str(tmp_path / "report.json"), num_workers=1)
    (finding,) = (finding for finding in report.findings if finding.key == "rows")
    assert finding.matters and "line 122: fold '11' is none of 1 to 10" in finding.names[0]
    assert "line 122" in (tmp_path / "report.json").read_text()
    with pytest.raises(AedError, match="1 findings spoil training or scores"):
        verb.inspect(made, FrontendConfig(), str(tmp_path / "report.json"), strict=True, num_workers=1)


# ---- Speech Commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.speech_commands(tmp_path_factory.mktemp("sc") / "SpeechCommands" / "speech_commands_v0.02")


def test_speech_commands_is_split_by_its_lists_as_torchaudio_splits_it(speech: Path) -> None:
    import_module("aed.dsp._torchaudio")  # makes torchaudio loadable beside a CPU torch
    from torchaudio.datasets import SPEECHCOMMANDS

    table = honest(module(SpeechCommands(str(speech)), split="source"), "train", "val", "test")
    for subset, split in (("training", "train"), ("validation", "val"), ("testing", "test")):
        own = SPEECHCOMMANDS(speech.parents[1], subset=subset)
        known = [own.get_metadata(index) for index in range(len(own))]
        expected = {name.partition("/")[2]: (label, speaker) for name, _, label, speaker, _ in known}
        mine = table[table["split"] == split]
        got = {
            path.relative_to(speech).as_posix(): (labels[0], speaker)
            for path, labels, speaker in mine[["path", "labels", "src_file"]].itertuples(index=False)
        }
        assert got == expected and len(got) > 5


def test_the_lists_of_the_tree_follow_the_published_rule() -> None:
    # what the README's which_set gives for names of its own list
    assert trees.official_part("bobby_nohash_0.wav") == trees.official_part("bobby_nohash_7.wav")
    parts = [trees.official_part(f"{number:08x}_nohash_0.wav") for number in range(2000)]
    assert 0.08 < parts.count("validation") / 2000 < 0.12 and 0.08 < parts.count("testing") / 2000 < 0.12


def test_noise_is_no_word_and_becomes_a_class_where_asked(speech: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        data = module(SpeechCommands(str(speech)), split="source", negatives=str(speech / "_background_noise_"))
        assert data.class_names == ("marvin", "no", "yes", "background")
    assert f"data.negatives={speech / '_background_noise_'}" in caplog.text
    noise = data.table[data.table["labels"] == ("background",)]
    assert len(noise) == 2 and set(noise["split"]) == {"train"}


def test_drawn_anew_no_speaker_is_on_two_sides(speech: Path) -> None:
    source = SpeechCommands(str(speech), official_split=False)
    assert source.table()["split"].isna().all()
    honest(module(source, split="source", val_fraction=0.2), "train", "val", "test")


def test_speech_commands_with_odd_lines_and_names(tmp_path: Path) -> None:
    root = trees.speech_commands(tmp_path / "sc", speakers=40)
    odd = trees.write_wav(root / "yes" / "mine.wav", 1)
    twice = trees.write_wav(root / "yes" / "0a1b2c3d_nohash_0.wav.wav", 2)  # as in the test archive
    listing = root / "testing_list.txt"
    first = listing.read_text().splitlines()[0]
    lines = len(listing.read_text().splitlines())
    listing.write_text(listing.read_text() + f"yes/gone_nohash_0.wav\n{first}\n")
    source = SpeechCommands(str(root))
    assert set(source.row_errors().values()) == {
        f"{odd}: no speaker in its name, which need be <speaker>_nohash_<number>.wav",
        f"{listing}, line {lines + 1}: there is no file yes/gone_nohash_0.wav",
        f"{listing}, line {lines + 2}: {first} stands in the list before",
    }
    assert twice in set(source.table()["path"])
    (root / "validation_list.txt").write_text(first + "\n")
    with pytest.raises(AedError, match=r"is in validation_list\.txt and testing_list\.txt"):
        SpeechCommands(str(root)).table()
    listing.unlink()
    with pytest.raises(AedError, match=r"official_split=false data\.test_fraction=0\.1"):
        SpeechCommands(str(root)).table()
    with pytest.raises(AedError, match="is no folder"):
        SpeechCommands(str(root / "nowhere")).table()


# ---- FSDKaggle --------------------------------------------------------------------------------------------


def test_fsdkaggle2018_keeps_the_test_set_and_draws_val_by_recording(tmp_path: Path) -> None:
    root = trees.fsdkaggle2018(tmp_path)
    clips = by_name(FSDKaggle2018(str(root)))
    assert len(clips) == 16 and "ffffffff.wav" not in clips
    assert FSDKaggle2018(str(root)).row_errors() == {}
    assert (clips["00000001.wav"].labels, clips["00000001.wav"].src_file) == (("Hi-hat",), "5000")
    table = honest(module(FSDKaggle2018(str(root)), split="source", val_fraction=0.3), "train", "val", "test")
    assert sorted(path.name for path in table["path"][table["split"] == "test"]) == [
        f"{number:08x}.wav" for number in range(12, 16)
    ]
    checked = FSDKaggle2018(str(root), verified=True).table()
    assert len(checked) == 16 - 3
    (root / "FSDKaggle2018.meta" / "test_post_competition_scoring_clips.csv").unlink()
    assert len(by_name(FSDKaggle2018(str(root)))) == 16  # the whole list has rows to be ignored


def test_fsdkaggle2018_as_kaggle_has_it(tmp_path: Path) -> None:
    root = trees.fsdkaggle2018(tmp_path)
    for part in ("train", "test"):
        (root / f"FSDKaggle2018.audio_{part}").rename(root / f"audio_{part}")
    rows = pd.read_csv(root / "FSDKaggle2018.meta" / "train_post_competition.csv", dtype=str)
    rows[["fname", "label", "manually_verified"]].to_csv(root / "train.csv", index=False)
    (root / "FSDKaggle2018.meta" / "test_post_competition_scoring_clips.csv").rename(root / "test_post_competition.csv")
    (root / "FSDKaggle2018.meta" / "train_post_competition.csv").unlink()
    (root / "FSDKaggle2018.meta" / "test_post_competition.csv").unlink()
    table = FSDKaggle2018(str(root)).table()
    assert len(table) == 16 and table["src_file"].isna().sum() == 12


def test_fsdkaggle2019_has_several_labels(tmp_path: Path) -> None:
    root = trees.fsdkaggle2019(tmp_path)
    clips = by_name(FSDKaggle2019(str(root)))
    assert len(clips) == 19 and "f76181c4.wav" not in clips
    assert clips["00000004.wav"].labels == ("Walk_and_footsteps", "Slam")
    both = FSDKaggle2019(str(root), train="both").table()
    assert len(both) == 29 and both["src_file"].str.startswith("https://").sum() == 10
    data = module(FSDKaggle2019(str(root), train="both"), split="source", val_fraction=0.2, multi_label=True)
    honest(data, "train", "val", "test")
    assert data.class_names == ("Bark", "Slam", "Walk_and_footsteps")


def test_unknown_labels_repeated_rows_and_files_without_rows_of_fsdkaggle(tmp_path: Path) -> None:
    root = trees.fsdkaggle2019(tmp_path)
    listing = root / "FSDKaggle2019.meta" / "train_curated_post_competition.csv"
    extra = trees.write_wav(root / "FSDKaggle2019.audio_train_curated" / "eeee.wav", 1)
    listing.write_text(listing.read_text() + '00000001.wav,Bark,1,x\nnew.wav,"Bark,Meow",2,x\nnone.wav,,3,x\n')
    assert sorted(FSDKaggle2019(str(root)).row_errors().values()) == [
        f"{extra}: no row of {listing} names it",
        f"{listing}, line 12: '00000001.wav' stands in the list before",
        f"{listing}, line 13: 'new.wav' has a label that is none of the 3 classes: 'Bark,Meow'",
        f"{listing}, line 14: 'none.wav' has no label",
    ]
    with pytest.raises(AedError, match="curated, noisy or both"):
        FSDKaggle2019(str(root), train="all")  # type: ignore[arg-type]
    listing.unlink()
    with pytest.raises(AedError, match=r"train_curated_post_competition\.csv: no such file"):
        FSDKaggle2019(str(root)).table()


# ---- SONYC-UST --------------------------------------------------------------------------------------------


def test_sonyc_takes_what_was_agreed_on_else_the_votes(tmp_path: Path) -> None:
    root = trees.sonyc(tmp_path)
    labels = {name: clip.labels for name, clip in by_name(SONYCUST(str(root))).items()}
    assert labels == {
        "00_000066.wav": ("engine",),  # one of three
        "00_000067.wav": ("dog", "engine"),
        "01_000002.wav": ("dog",),  # agreed, against volunteers
        "01_000003.wav": (),  # an author, against a volunteer
        "02_000010.wav": ("engine",),
        "02_000011.wav": (),
        "00_000900.wav": ("dog", "engine"),
        "01_000901.wav": ("dog",),
    }
    most = {name: clip.labels for name, clip in by_name(SONYCUST(str(root), votes="majority")).items()}
    assert most == labels | {"00_000066.wav": (), "00_000067.wav": ("dog",)}
    fine = by_name(SONYCUST(str(root), level="fine"))
    assert fine["02_000010.wav"].labels == ("engine-of-uncertain-size",)
    table = honest(module(SONYCUST(str(root)), split="source", multi_label=True), "train", "val", "test")
    assert dict(table["split"].value_counts()) == {"train": 4, "val": 2, "test": 2}
    free = SONYCUST(str(root), official_split=False)
    honest(module(free, split="source", multi_label=True, test_fraction=0.4), "train", "test")


def test_the_agreed_tags_are_those_that_the_authors_baseline_reads(tmp_path: Path) -> None:
    """The rule of its parse_ground_truth, which keeps the rows of annotator 0 of a split, by pandas alone."""
    root = trees.sonyc(tmp_path)
    rows = pd.read_csv(root / "annotations.csv")
    agreed = rows[(rows["annotator_id"] == 0) & (rows["split"] != "train")].set_index("audio_filename")
    clips = by_name(SONYCUST(str(root)))
    for name, row in agreed.iterrows():
        assert [("engine" in clips[name].labels), ("dog" in clips[name].labels)] == [
            bool(row["1_engine_presence"]), bool(row["7_dog_presence"])
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train,0,00_000066.wav,12,2017,5,3,12,1,0,0,1,0", "annotator '12' stands in the list before for"),
        ("dev,0,a.wav,12,2017,5,3,12,1,0,0,1,0", "split 'dev' is none of train, validate and test"),
        ("train,0,a.wav,x,2017,5,3,12,1,0,0,1,0", "annotator_id 'x' is no whole number"),
        ("train,0,a.wav,12,2017,5,3,12,1,0,0,2,0", "a presence is none of 1, 0 and -1"),
        ("train,0,,12,2017,5,3,12,1,0,0,1,0", "no audio_filename"),
    ],
)
def test_a_row_of_sonyc_that_cannot_be_right(tmp_path: Path, line: str, reason: str) -> None:
    listing = trees.sonyc(tmp_path) / "annotations.csv"
    number = len(listing.read_text().splitlines()) + 1
    listing.write_text(listing.read_text() + line + "\n")
    source = SONYCUST(str(tmp_path))
    (told,) = source.row_errors().values()
    assert told.startswith(f"{listing}, line {number}: {reason}") and len(source.table()) == 8


def test_rows_of_one_recording_that_disagree_in_the_split(tmp_path: Path) -> None:
    listing = trees.sonyc(tmp_path) / "annotations.csv"
    listing.write_text(listing.read_text() + "test,0,00_000066.wav,77,2017,5,3,12,1,0,0,1,0\n")
    with pytest.raises(AedError, match=r"00_000066\.wav disagree in the column 'split'"):
        SONYCUST(str(tmp_path)).table()


# ---- AudioSet ---------------------------------------------------------------------------------------------


def test_audioset_finds_recordings_by_the_names_that_programs_give_them(tmp_path: Path) -> None:
    root = trees.audioset(tmp_path, NAMINGS)
    source = AudioSet(str(root))
    table = source.table()
    assert len(table) == 8 and all(path.is_file() for path in table["path"])
    assert dict(zip(table["src_file"], table["labels"], strict=True))["--bgqARaEJ1"] == ("Animal", "Bark", "Dog")
    (gone,) = (text for text in source.row_errors().values() if "no row" not in text)
    assert gone.endswith("line 9: no recording of '--fgqARaEJ5'")
    data = module(source, split="source", val_fraction=0.4, multi_label=True)
    split = honest(data, "train", "val", "test")
    assert set(split["src_file"][split["split"] == "test"]) == {"--xgqARaEJ0", "--ygqARaEJ1", "--zgqARaEJ2"}
    own = AudioSet(str(root), labels="unsmeared").table()
    assert set(own["labels"]) == {("Bark",), ("Music",)}
    assert len(AudioSet(str(root), train="both").table()) == 11


def test_a_video_that_is_tested_is_not_trained_on(tmp_path: Path) -> None:
    root = trees.audioset(tmp_path, NAMINGS)
    listing = root / "balanced_train_segments.csv"
    listing.write_text(
        listing.read_text() + f'--xgqARaEJ0, 50.000, 60.000, "{trees.DOG}"\n--agqARaEJ0, 0.000, 10.000, "{trees.DOG}"\n'
        f'q, x, 10.000, "{trees.DOG}"\nr, 0.000, 10.000, "/m/none"\n'
    )
    errors = list(AudioSet(str(root)).row_errors().values())
    assert [text.partition(": ")[2] for text in errors if text.startswith(str(listing))] == [
        "no recording of '--fgqARaEJ5'",
        "'--xgqARaEJ0' is in eval_segments.csv, too",
        "'--agqARaEJ0' stands in the list before",
        "no time 'x' to '10.000'",
        "'r' has a label that is not in the ontology: '/m/none'",
    ]
    (root / "ontology.json").write_text(json.dumps([{"id": "/m/1", "child_ids": []}]))
    with pytest.raises(AedError, match="a class has no name"):
        AudioSet(str(root)).table()
    for path in [*root.glob("*/*.wav")]:
        path.unlink()
    (root / "ontology.json").unlink()
    with pytest.raises(AedError, match=r"ontology\.json"):
        AudioSet(str(root), ontology=str(root / "ontology.json")).table()


def test_of_very_many_segments_without_a_recording_the_first_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = trees.audioset(tmp_path, NAMINGS)
    listing = root / "eval_segments.csv"
    lines = [f'v{number}, 0.000, 10.000, "{trees.DOG}"\n' for number in range(5)]
    listing.write_text(listing.read_text() + "".join(lines))
    monkeypatch.setattr("aed.datamodules.sources.audioset.MOST_NAMED", 3)
    texts = [text for text in AudioSet(str(root)).row_errors().values() if text.startswith(str(listing))]
    assert texts[0] == f"{listing}: 2 more of 8 segments have no recording" and len(texts) == 4
    assert len(AudioSet(str(root)).table()) == 8


def test_the_real_ontology_names_all_classes() -> None:
    from aed.base import paths
    from aed.datamodules.sources.audioset import class_names

    file = paths.data_dir() / "audioset" / "ontology.json"
    if not file.is_file():
        pytest.skip("AED_DATA_DIR has no audioset/ontology.json")
    names = class_names(file)
    assert len(names) == 632 and names[trees.DOG] == "Dog" and names[trees.BARK] == "Bark"
