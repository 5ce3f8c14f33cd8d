"""Clip tables: ESC csv files as people write them, ESC-10 wherever it lies, the synthetic set."""

import hashlib
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules.sources import clips
from aed.datamodules.sources.clips import ESC10, EscCsv, Synthetic
from aed.datamodules.sources.lists import COLUMNS

HEADER = "filename,fold,target,category,esc10,src_file,take"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_csv(folder: Path, text: str | bytes, *files: str, name: str = "set.csv") -> EscCsv:
    """A csv beside a folder ``audio`` of (empty) files."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for file in files:
        write(folder / "audio" / file, b"")
    return EscCsv(str(write(folder / name, text)), str(folder / "audio"))


def names(table: pd.DataFrame, folder: Path) -> list[str]:
    """Paths of a table below ``folder``."""
    return [path.relative_to(folder).as_posix() for path in table["path"]]


def test_names_are_as_short_as_they_can_be() -> None:
    paths = [Path(path) for path in ("/s/a/x/1.wav", "/s/b/x/1.wav", "/s/b/y/1.wav", "/s/b/y/2.wav")]
    assert list(clips.clip_names(paths).values()) == ["a/x/1.wav", "b/x/1.wav", "y/1.wav", "2.wav"]
    assert clips.clip_names([]) == {}


@given(st.sets(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)))
def test_no_two_files_have_one_name(places: set[str]) -> None:
    names = clips.clip_names(Path("/root", place) for place in places)
    assert len(set(names.values())) == len(names) == len(places)
    assert all(str(path).endswith(name) for path, name in names.items())


# ---- EscCsv -----------------------------------------------------------------------------------------------


def test_columns_of_esc_format(tmp_path: Path) -> None:
    source = make_csv(tmp_path, f"{HEADER}\n1-007-A-0.wav,1,0,dog,True,007,A\n2-8-A-1.wav,2,1,cat,False,8,A\n")
    table = source.table()
    assert tuple(table.columns) == COLUMNS
    assert source.name == "set"
    assert names(table, tmp_path) == ["audio/1-007-A-0.wav", "audio/2-8-A-1.wav"]
    assert list(table["labels"]) == [("dog",), ("cat",)]
    assert list(table["fold"]) == [1, 2]
    assert list(table["src_file"]) == ["007", "8"]  # text: 007 is not 7
    assert table["split"].isna().all()


def test_fold_and_src_file_may_be_missing(tmp_path: Path) -> None:
    table = make_csv(tmp_path, "category,filename\ndog,a.wav\ncat,b.wav\n").table()
    assert tuple(table.columns) == COLUMNS
    assert table["fold"].isna().all()
    assert table["src_file"].isna().all()
    assert names(table, tmp_path) == ["audio/a.wav", "audio/b.wav"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.wav", "a.wav"),
        ("a", "a.wav"),
        ("a", "a.ogg"),
        ("a", "a.flac"),
        ("a", "a.mp3"),
        ("00123", "00123.wav"),  # FSD50K: numbers, zeros kept
        ("1e5", "1e5.wav"),
        ("take.1", "take.1.wav"),
        ("sub/a.wav", "sub/a.wav"),
        ("sub/a", "sub/a.wav"),
        ("sub/deeper/a", "sub/deeper/a.flac"),
        ("grüße 1.wav", "grüße 1.wav"),
    ],
)
def test_name_is_found(tmp_path: Path, name: str, file: str) -> None:
    table = make_csv(tmp_path, f"filename,category\n{name},dog\n", file, "other.wav").table()
    assert names(table, tmp_path) == [f"audio/{file}"]
    assert table["path"][0].is_file()


def test_given_extension_wins_over_another_file_of_that_stem(tmp_path: Path) -> None:
    table = make_csv(tmp_path, "filename,category\na.ogg,dog\n", "a.wav", "a.ogg", "a.ogg.wav").table()
    assert names(table, tmp_path) == ["audio/a.ogg"]


def test_absent_file_keeps_its_name_for_the_report(tmp_path: Path) -> None:
    table = make_csv(tmp_path, "filename,category\ngone.wav,dog\nlost,cat\n").table()
    assert names(table, tmp_path) == ["audio/gone.wav", "audio/lost"]


def test_absolute_name_is_taken_as_it_is(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "a.wav", b"")
    assert list(make_csv(tmp_path, f"filename,category\n{elsewhere},dog\n").table()["path"]) == [elsewhere]


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    table = make_csv(tmp_path, b"\xef\xbb\xbffilename,category\r\na.wav,dog\r\nb.wav,cat\r\n").table()
    assert list(table["labels"]) == [("dog",), ("cat",)]


def test_category_is_text_also_where_it_is_a_number(tmp_path: Path) -> None:
    assert list(make_csv(tmp_path, "filename,category\na.wav,01\nb.wav,1\n").table()["labels"]) == [("01",), ("1",)]


@pytest.mark.parametrize("category", ["None", "NA", "null", "nan", "N/A"])
def test_category_may_be_called_none(tmp_path: Path, category: str) -> None:
    """A class of 'nothing heard' has such names, and pandas takes them for empty cells."""
    assert list(make_csv(tmp_path, f"filename,category\na.wav,{category}\n").table()["labels"]) == [(category,)]


def test_comma_at_the_end_of_each_row_is_no_new_column(tmp_path: Path) -> None:
    """Spreadsheets write them; pandas would take the first column for an index and shift the others."""
    table = make_csv(tmp_path, "filename,category\na.wav,dog,\nb.wav,cat,\n").table()
    assert names(table, tmp_path) == ["audio/a.wav", "audio/b.wav"]
    assert list(table["labels"]) == [("dog",), ("cat",)]


def test_semicolons_separate_as_commas_do(tmp_path: Path) -> None:
    table = make_csv(tmp_path, "filename;category\na,1.wav;dog\nb.wav;cat\n").table()
    assert names(table, tmp_path) == ["audio/a,1.wav", "audio/b.wav"]
    assert list(table["labels"]) == [("dog",), ("cat",)]


def test_spaces_tabs_and_an_index_column_are_no_part_of_names(tmp_path: Path) -> None:
    table = make_csv(tmp_path, "\t filename \tcategory\tfold\n0\ta.wav\t dog\t1\n1\t b.wav\tdog \t 2\n").table()
    assert names(table, tmp_path) == ["audio/a.wav", "audio/b.wav"]
    assert list(table["labels"]) == [("dog",), ("dog",)] and list(table["fold"]) == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\na.wav,dog\n", "category.*label"),
        ("fname,category\na.wav,dog\n", "filename.*fname"),
        ("filename,category\n", "no rows"),
        ("", "not readable as csv"),
        ("\n\n", "not readable as csv"),
        ("filename,category\na.wav,dog\nb.wav,\n", "line 3"),
        ("filename,category\n,dog\nb.wav,cat\n", "line 2"),
        ("filename,category\na.wav,dog\nb.wav,cat,more,and,more\n", "line 3 has 5 cells"),
        ("filename,category\na.wav,rain,wind\nb.wav,dog,bark\n", "line 2 has 3 cells.*double quotes"),
        ("filename,category,category\na.wav,rain,wind\n", "two columns are called 'category'"),
        ("filename,category,fold\na.wav,rain,first\n", "fold 'first' is no number"),
        ("filename,category\na.wav,h\xf6r\n".encode("latin-1"), "is not UTF-8"),
        ("filename,category\na.wav,dog\n".encode("utf-16"), "set.csv"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(range(256)) * 20, "set.csv"),
        (b"\x00" * 5000, "set.csv"),
        (b'filename,category\n"a.wav,dog\n', "set.csv"),
    ],
)
def test_unusable_csv_is_an_error_that_names_it(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(AedError, match=message) as info:
        make_csv(tmp_path, text).table()
    assert "set.csv" in str(info.value)


junk = st.binary(max_size=200) | st.text("filename,category\n\r\"';\x00ö \t", max_size=60).map(str.encode)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(junk, st.sampled_from([b"", b"filename,category\n", b"filename,category,fold,src_file\n"]))
def test_no_csv_ends_in_another_error(tmp_path: Path, content: bytes, head: bytes) -> None:
    try:
        table = make_csv(tmp_path, head + content).table()
    except AedError:
        return
    assert tuple(table.columns) == COLUMNS
    assert len(table) > 0
    assert all(isinstance(path, Path) for path in table["path"])
    assert all(own and all(isinstance(name, str) and name for name in own) for own in table["labels"])


def test_missing_csv_and_missing_folder_are_named(tmp_path: Path) -> None:
    csv = write(tmp_path / "set.csv", "filename,category\na.wav,dog\n")
    with pytest.raises(AedError, match=r"gone\.csv"):
        EscCsv(str(tmp_path / "gone.csv"), str(tmp_path)).table()
    with pytest.raises(AedError, match=r"no_audio.*set\.csv"):
        EscCsv(str(csv), str(tmp_path / "no_audio")).table()
    with pytest.raises(AedError, match="csv"):
        EscCsv(str(tmp_path), str(tmp_path)).table()


@pytest.mark.parametrize("own_folder", [False, True])
@pytest.mark.parametrize("part", ["val", "test", "calibration"])
def test_separate_csv_fixes_the_split(tmp_path: Path, part: str, own_folder: bool) -> None:
    make_csv(tmp_path, "filename,category,fold\na.wav,dog,1\nb.wav,cat,2\n")
    csv = write(tmp_path / "separate.csv", "filename,category\nc,dog\nd.wav,cat\n")
    folder = tmp_path / ("own" if own_folder else "audio")
    write(folder / "c.flac", b"")
    given_folder = {f"{part}_audio_dir": str(folder)} if own_folder else {}
    arguments: dict[str, Any] = {f"{part}_csv": str(csv), **given_folder}
    table = EscCsv(str(tmp_path / "set.csv"), str(tmp_path / "audio"), **arguments).table()
    assert tuple(table.columns) == COLUMNS
    assert list(table.index) == [0, 1, 2, 3]
    assert names(table, tmp_path) == ["audio/a.wav", "audio/b.wav", f"{folder.name}/c.flac", f"{folder.name}/d.wav"]
    assert list(table["split"].fillna("free")) == ["free", "free", part, part]
    assert list(table["labels"]) == [("dog",), ("cat",)] * 2


def test_all_separate_csv_at_once(tmp_path: Path) -> None:
    make_csv(tmp_path, "filename,category\na.wav,dog\n")
    separate = {}
    for part in ("val", "test", "calibration"):
        separate[f"{part}_csv"] = str(write(tmp_path / f"{part}.csv", f"filename,category\n{part}.wav,dog\n"))
    table = EscCsv(str(tmp_path / "set.csv"), str(tmp_path / "audio"), **separate).table()
    found = dict(zip(names(table, tmp_path / "audio"), table["split"].fillna("free"), strict=True))
    assert found == {"a.wav": "free", "val.wav": "val", "test.wav": "test", "calibration.wav": "calibration"}


@pytest.mark.parametrize("part", ["val", "test", "calibration"])
def test_separate_folder_without_csv_is_an_error(part: str) -> None:
    with pytest.raises(AedError, match=rf"{part}_audio_dir.*{part}_csv"):
        EscCsv("set.csv", "audio", **{f"{part}_audio_dir": "own"})


def test_broken_separate_csv_is_named(tmp_path: Path) -> None:
    make_csv(tmp_path, "filename,category\na.wav,dog\n")
    source = EscCsv(str(tmp_path / "set.csv"), str(tmp_path / "audio"), test_csv=str(tmp_path / "gone.csv"))
    with pytest.raises(AedError, match=r"gone\.csv"):
        source.table()


@pytest.mark.parametrize("separator", ["", " "])
def test_a_separator_is_a_mark(tmp_path: Path, separator: str) -> None:
    source = make_csv(tmp_path, "filename,category\na.wav,dog\n")
    source.label_separator = separator
    with pytest.raises(AedError, match=r"data\.clips\.label_separator: need a mark"):
        source.table()


# ---- ESC-10 -----------------------------------------------------------------------------------------------

TEN = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)


def esc50_rows() -> list[str]:
    """Two clips of each of the 50 classes, in folds 1 and 2."""
    rows = []
    for target in range(50):
        for fold in (1, 2):
            source = 1000 * fold + target
            rows.append(f"{fold}-{source}-A-{target}.wav,{fold},{target},class{target},{target in TEN},{source},A")
    return rows


def make_checkout(root: Path) -> Path:
    """A folder like an ESC-50 checkout, of empty files."""
    rows = esc50_rows()
    write(root / "meta" / "esc50.csv", "\n".join([HEADER, *rows, ""]))
    write(root / "meta" / "esc50-human.xlsx", b"PK")
    write(root / "LICENSE", "CC BY-NC")
    write(root / "README.md", "ESC-50")
    for row in rows:
        write(root / "audio" / row.split(",")[0], b"RIFF")
    return root


def make_zip(path: Path, checkout: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(checkout.rglob("*")):
            archive.write(file, f"ESC-50-33c8ce9/{file.relative_to(checkout).as_posix()}")
    return path


def check_ten_classes(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == COLUMNS
    assert list(table.index) == list(range(20))
    assert sorted(table["labels"]) == sorted((f"class{target}",) for target in TEN for _ in (1, 2))
    assert sorted(table["fold"]) == [1] * 10 + [2] * 10
    assert table["src_file"].nunique() == 20
    assert all(path.is_file() for path in table["path"])


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive a patched ``fetch`` gives, which like the true one keeps a file that is there."""
    archive = make_zip(tmp_path / "published.zip", make_checkout(tmp_path / "checkout"))

    def fetch(url: str, path: Path, *, digest: str | None, advice: str) -> Path:
        assert url.startswith("https://github.com/karolpiczak/ESC-50/archive/")
        assert "AED_DATA_DIR" in advice
        if not path.exists():
            write(path, archive.read_bytes())
        return path

    monkeypatch.setattr(clips, "fetch", fetch)
    return archive


def accept_csv(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setattr(ESC10, "CSV_MD5", hashlib.md5((checkout / "meta" / "esc50.csv").read_bytes()).hexdigest())


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_real_esc10(esc10: Path) -> None:
    table = ESC10(download=False).table()
    assert len(table) == 400
    assert sorted(table["labels"].value_counts()) == [40] * 10
    assert ("rooster",) in set(table["labels"])
    assert table["src_file"].notna().all()
    assert all(path.is_file() for path in table["path"])
    for path, fold, source in zip(table["path"], table["fold"], table["src_file"], strict=True):
        assert path.stem.split("-")[:2] == [str(int(fold)), source]


@pytest.mark.parametrize("folder", ["ESC-50-master", "ESC-50", "esc10"])
def test_rows_of_a_whole_esc50_are_filtered(tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkout(tmp_path / folder)
    check_ten_classes(ESC10(str(tmp_path), download=False).table())
    monkeypatch.setenv("AED_DATA_DIR", str(tmp_path))
    check_ten_classes(ESC10(download=False).table())


def test_esc10_folder_comes_first(tmp_path: Path) -> None:
    make_checkout(tmp_path / "ESC-50-master")
    write(tmp_path / "esc10" / "meta" / "esc10.csv", "filename,category,fold,src_file\n5-9-A-41.ogg,chainsaw,5,9\n")
    write(tmp_path / "esc10" / "audio" / "5-9-A-41.ogg", b"")
    assert names(ESC10(str(tmp_path), download=False).table(), tmp_path) == ["esc10/audio/5-9-A-41.ogg"]


def test_checkout_without_audio_names_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "ESC-50-master" / "meta" / "esc50.csv", f"{HEADER}\n")
    with pytest.raises(AedError, match="ESC-50-master/audio"):
        ESC10(str(tmp_path)).table()


@pytest.mark.parametrize("relative", [False, True])
def test_missing_esc10_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AedError) as info:
        ESC10("sounds" if relative else str(tmp_path / "sounds"), download=False).table()
    message = str(info.value)
    assert str(tmp_path / "sounds" / "ESC-50-master") in message
    assert "AED_DATA_DIR" in message
    assert "experiment=demo" in message
    assert not (tmp_path / "sounds").exists()


def test_failed_download_is_an_aed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ESC10, "URL", "http://127.0.0.1:9/ESC-50.zip")
    with pytest.raises(AedError, match=r"AED_DATA_DIR.*experiment=demo"):
        ESC10(str(tmp_path / "data")).table()


def test_download_unpacks_the_ten_classes_only(
    tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_csv(monkeypatch, tmp_path / "checkout")
    data = tmp_path / "data"
    check_ten_classes(ESC10(str(data)).table())
    audio = [f"esc10/audio/{row.split(',')[0]}" for row in esc50_rows() if int(row.split(",")[2]) in TEN]
    found = [name for name in files_below(data) if not name.endswith(".lock")]
    assert found == sorted([*audio, "esc10/LICENSE", "esc10/meta/esc50.csv"])
    monkeypatch.setattr(clips, "fetch", lambda *_, **__: pytest.fail("downloaded twice"))
    check_ten_classes(ESC10(str(data)).table())


def test_csv_of_another_edition_is_refused_and_nothing_stays(
    tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    with pytest.raises(AedError, match=ESC10.CSV_MD5):
        ESC10(str(data)).table()
    assert [name for name in files_below(data) if not name.endswith(".lock")] == []
    assert not (data / "esc10").exists()


def test_archive_without_the_csv_is_refused_and_nothing_stays(tmp_path: Path, downloads: Path) -> None:
    (tmp_path / "checkout" / "meta" / "esc50.csv").unlink()
    make_zip(downloads, tmp_path / "checkout")
    data = tmp_path / "data"
    with pytest.raises(AedError):
        ESC10(str(data)).table()
    assert [name for name in files_below(data) if not name.endswith(".lock")] == []


def test_download_can_be_tried_again_after_a_damaged_archive(
    tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_csv(monkeypatch, tmp_path / "checkout")
    whole = downloads.read_bytes()
    downloads.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AedError, match="damaged"):
        ESC10(str(tmp_path / "data")).table()
    downloads.write_bytes(whole)
    check_ten_classes(ESC10(str(tmp_path / "data")).table())


def test_two_runs_may_download_at_once(tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the folds of a parallel multirun do that starts without data."""
    accept_csv(monkeypatch, tmp_path / "checkout")
    both_have_the_archive = threading.Barrier(2)
    fetch = clips.fetch

    def meet(*args: Any, **kwargs: Any) -> Path:
        path = fetch(*args, **kwargs)
        with suppress(threading.BrokenBarrierError):  # when the other waits for this one to end
            both_have_the_archive.wait(1)
        return path

    monkeypatch.setattr(clips, "fetch", meet)
    results: list[pd.DataFrame | Exception] = []

    def ask() -> None:
        try:
            results.append(ESC10(str(tmp_path / "data")).table())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [result for result in results if isinstance(result, Exception)] == []
    assert [len(result) for result in results] == [20, 20]


# ---- Synthetic --------------------------------------------------------------------------------------------

TINY: dict[str, Any] = {"class_names": ["wind", "bell"], "sources_per_class": 3, "takes_per_source": 2}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sounds")


def test_synthetic_table(sounds: Path) -> None:
    table = Synthetic(**TINY, cache_dir=str(sounds)).table()
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 3 * 2
    assert table["labels"].value_counts().to_dict() == {("bell",): 6, ("wind",): 6}
    assert table["src_file"].nunique() == 6
    assert table.groupby("src_file")["fold"].nunique().max() == 1
    assert table["split"].isna().all()
    for path in table["path"]:
        assert path.is_relative_to(sounds)
        assert sf.info(path).frames == 5 * sf.info(path).samplerate


def test_synthetic_table_is_the_same_again(sounds: Path) -> None:
    before = Synthetic(**TINY, cache_dir=str(sounds)).table()
    times = [path.stat().st_mtime_ns for path in before["path"]]
    again = Synthetic(**TINY, cache_dir=str(sounds)).table()
    pd.testing.assert_frame_equal(before, again)
    assert [path.stat().st_mtime_ns for path in again["path"]] == times


def test_synthetic_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path))
    table = Synthetic(["bell"], sources_per_class=1, takes_per_source=1).table()
    assert len(table) == 1
    assert table["path"][0].is_relative_to(tmp_path)


def test_synthetic_unknown_class() -> None:
    with pytest.raises(AedError, match="dragon"):
        Synthetic(["bell", "dragon"]).table()


def test_synthetic_sets_with_other_settings_live_side_by_side(tmp_path: Path) -> None:
    """Runs of a sweep over seeds work at the same time."""
    few: dict[str, Any] = {"class_names": ["bell"], "sources_per_class": 1, "takes_per_source": 1}
    first, second = (Synthetic(**few, seed=seed, cache_dir=str(tmp_path)).table()["path"][0] for seed in (0, 1))
    assert first.is_file()
    assert first.read_bytes() != second.read_bytes()
