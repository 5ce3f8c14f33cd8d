"""Lists as people and tools write them."""

import csv
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules.selection import alike, check_names, composed
from aed.datamodules.sources.clips import EscCsv
from aed.datamodules.sources.dcase import Dcase
from aed.datamodules.sources.lists import read_rows
from aed.datamodules.sources.segments import Segments


def rows(folder: Path, text: str, **settings: list[str]) -> list[dict[str, str]]:
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return read_rows(folder / "list.csv", **settings).to_dict(orient="records")


DOG = [{"filename": "a.wav", "category": "Dog"}, {"filename": "b.wav", "category": "Dog"}]


@pytest.mark.parametrize(
    "text",
    [
        'filename,category\na.wav, "Dog"\nb.wav,Dog\n',
        'filename, category\na.wav,   Dog\n"b.wav", "Dog"\n',
        "# made by a tool, in 2024\n#\nfilename,category\na.wav,Dog\n#c.wav,Cat\nb.wav,Dog\n",
        "# of 2024\n# filename, category\na.wav, Dog\nb.wav, Dog\n",
        "sep=;\nfilename;category\na.wav;Dog\nb.wav;Dog\n",
        '"sep=;"\r\nfilename;category\r\na.wav;Dog\r\nb.wav;Dog\r\n',
        "SEP=,\nfilename,category\na.wav,Dog\nb.wav,Dog\n",
        "sep=\t\nfilename\tcategory\na.wav\tDog\nb.wav\tDog\n",
        "sep=|\nfilename|category\na.wav|Dog\nb.wav|Dog\n",
        "\ufeffsep=;\nfilename;category\na.wav;Dog\nb.wav;Dog\n",
        "# a;b\tc\nfilename,category\na.wav,Dog\nb.wav,Dog\n",
    ],
)
def test_spaces_comments_and_separators_are_no_part_of_cells(tmp_path: Path, text: str) -> None:
    assert rows(tmp_path, text) == DOG


def test_comments_among_the_rows_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = rows(tmp_path, 'filename,category\n#1.wav,Dog\n"#2.wav",Dog\n"a\n#b.wav",Dog\n')
    assert [row["filename"] for row in made] == ["#2.wav", "a\n#b.wav"], "a line in quotes is no comment"
    assert "1 lines begin with # and are left out as comments (first: line 2)" in caplog.text


def test_the_lines_of_audioset(tmp_path: Path) -> None:
    text = (
        "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=20371, num_segs=20371, num_unique_labels=527\n"
        '# YTID, start_seconds, end_seconds, positive_labels\n--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
    )
    (row,) = rows(tmp_path, text)
    assert row == {
        "YTID": "--4gqARaEJE", "start_seconds": "0.000", "end_seconds": "10.000",
        "positive_labels": "/m/068hy,/m/07q6cd_",
    }  # fmt: skip
    with pytest.raises(AedError, match=r"type data.clips.columns=\[filename,onset,offset,label\]") as caught:
        Segments(str(tmp_path / "list.csv")).table()
    columns = re.search(r"columns=\[(.*)\]", str(caught.value))[1].split(",")  # type: ignore[index]
    assert Segments(str(tmp_path / "list.csv"), columns=columns).events()["offset_s"].tolist() == [10.0]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5),
    mark=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    space=st.sampled_from(["", " ", "  "]),
    said=st.booleans(),
)
def test_what_a_program_writes_is_read(
    tmp_path: Path, cells: list[tuple[str, str]], mark: str, quoting: int, space: str, said: bool
) -> None:
    """Against csv's own writer: only a file that begins with # needs quotes, which QUOTE_MINIMAL does not give."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("filename", "category"), *((f"f{name}" if quoting == csv.QUOTE_MINIMAL else name, label)
                                                  for name, label in cells)])  # fmt: skip
    quoted = text.getvalue()
    if quoting == csv.QUOTE_ALL and not any('"' in cell or mark in cell for row in cells for cell in row):
        quoted = quoted.replace(mark, mark + space)
    made = rows(tmp_path, f"sep={mark}\n{quoted}" if said else quoted)
    expected = [(f"f{name}" if quoting == csv.QUOTE_MINIMAL else name, label) for name, label in cells]
    assert [(row["filename"], row["category"]) for row in made] == [
        (name.strip(), label.strip()) for name, label in expected
    ]


@pytest.mark.parametrize(
    ("source", "text", "columns"),
    [
        (EscCsv, "a.wav,dog\nb.wav,cat\n", "filename,category"),
        (EscCsv, "1;dog;a.wav;x\n2;cat;b.wav;y\n", "_,category,filename,_"),
        (EscCsv, "file,label,fold\na.wav,dog,1\nb.wav,cat,2\n", "filename,category,fold"),
        (Segments, "a.wav,0.5,1.5,dog\nb.wav,1,2,cat\n", "filename,onset,offset,label"),
        (Segments, "0.5\t1.5\tdog\ta.wav\n1\t2\tcat\tb.wav\n", "onset,offset,label,filename"),
        (Segments, "path,start,end,species\na.wav,0,1,dog\nb.wav,1,2,cat\n", "filename,onset,offset,label"),
        (Dcase, "path,label\na.wav,dog\nb.wav,cat\n", "filename,scene_label"),
    ],
)
def test_a_list_without_names_of_ours_says_what_to_type_and_that_works(
    tmp_path: Path, source: type, text: str, columns: str
) -> None:
    (tmp_path / "list.csv").write_text(text)
    arguments = [str(tmp_path / "list.csv"), str(tmp_path)]
    with pytest.raises(AedError, match=re.escape(f"type data.clips.columns=[{columns}]")):
        source(*arguments).table()
    table = source(*arguments, columns=columns.split(",")).table()
    assert [path.name for path in table["path"]] == ["a.wav", "b.wav"] and list(table["labels"]) == [("dog",), ("cat",)]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("filename,category\na.wav,dog\n", ["filename", "category"], "leave data.clips.columns out"),
        ("a.wav,dog,1\n", ["filename", "category"], "2 names for 3 columns"),
        ("a.wav,dog\n", ["filename", "filename"], "two columns are called 'filename'"),
        ("a.wav,1,1,dog\n", None, r"data.clips.columns=\[filename,...\]"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    tmp_path: Path, text: str, columns: list[str] | None, message: str
) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(AedError, match=message):
        EscCsv(str(tmp_path / "list.csv"), str(tmp_path), columns=columns).table()


@pytest.mark.parametrize("source", [EscCsv, Segments, Dcase])
def test_composed_and_decomposed_names_are_one_class(tmp_path: Path, source: type) -> None:
    forms = [unicodedata.normalize(form, "größe") for form in ("NFC", "NFD")]
    head = {EscCsv: "filename,category", Segments: "filename,label,onset,offset", Dcase: "filename,scene_label"}[source]
    text = "\n".join([head, *(f"{number}.wav,{name},0,1"[: None if source is Segments else -4]
                             for number, name in enumerate(forms))])  # fmt: skip
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    table = composed(source(str(tmp_path / "list.csv"), str(tmp_path)).table())
    assert list(table["labels"]) == [(forms[0],), (forms[0],)]
    assert check_names([forms[1], "x"], [forms[0], "x"], "", False) == [forms[0], "x"]


def test_names_that_may_mean_the_same() -> None:
    names = [
        "Dog",
        "dog",
        "dog bark",
        "dog_bark",
        "Dog-Bark",
        "cat",
        "cats",
        "'cat'",
        "\N{FULLWIDTH LATIN SMALL LETTER D}og",
    ]
    assert alike(names) == [["'cat'", "cat"], ["Dog", "dog", "\N{FULLWIDTH LATIN SMALL LETTER D}og"],
                            ["Dog-Bark", "dog bark", "dog_bark"]]  # fmt: skip
