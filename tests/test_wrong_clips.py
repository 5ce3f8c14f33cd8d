"""The clips that every training of a recipe decides wrongly, out of the files that its runs left."""

import sys
from pathlib import Path

import pytest
from test_compare import cross_validation, write_run
from test_peers import script

from aed.base.errors import AedError

wrong_clips = script("wrong_clips")


def test_a_clip_is_listed_where_no_seed_is_right(tmp_path: Path) -> None:
    wrong = {(0, 1): [13, 14, 20], (1, 1): [13, 20, 21], (0, 2): [24], (1, 2): [25]}
    folder = cross_validation(tmp_path / "cv", wrong)
    expected = [("013.wav", "1", "rain", "dog"), ("020.wav", "1", "sea, waves", "rain")]
    assert list(wrong_clips.wrong(folder, "int8")) == expected


def test_all_that_seeds_named_is_said(tmp_path: Path) -> None:
    for seed, named in enumerate(("rain", "sea, waves")):
        config = {"seed": seed, "data": {"test_fold": 1}}
        write_run(tmp_path / str(seed), {"a.wav": ("dog", named)}, config=config, overrides=[f"seed={seed}"])
    assert list(wrong_clips.wrong(tmp_path, "float")) == [("a.wav", "1", "dog", "rain, sea, waves")]


def test_a_table_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", {"a.wav": ("dog", "rain"), "b.wav": ("rain", "rain")})
    monkeypatch.setattr(sys, "argv", ["wrong_clips.py", str(tmp_path / "run")])
    wrong_clips.main()
    table = capsys.readouterr().out.splitlines()
    assert table == [
        "| recipe | clip | fold | class | named |",
        "|---|---|---|---|---|",
        "| run | a.wav | 1 | dog | rain |",
    ]


def test_what_was_not_tested_in_int8_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"a.wav": ("dog", "rain")}, prefixes=("test",))
    with pytest.raises(AedError, match=r"run: no int8 model was tested; .*--model float"):
        list(wrong_clips.wrong(run, "int8"))
