"""Keys of files: content read once, and never taken on trust where it may have changed."""

import errno
import json
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from aed.base.errors import AudioError
from aed.datamodules.cache import file_keys
from aed.datamodules.cache.file_keys import FileKeys, file_key
from aed.datamodules.health.sounds import measure_file
from aed.dsp.waveform import read_audio


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose content was read; changes of a moment ago count as settled."""
    seen: list[Path] = []
    monkeypatch.setattr(file_keys, "file_key", lambda path: seen.append(path) or file_key(path))
    monkeypatch.setattr(file_keys, "SETTLED_NS", -(10**12))
    return seen


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "sounds" / f"{i}.wav" for i in range(5)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 100)
    return paths


def true_keys(files: list[Path]) -> dict[Path, str]:
    return {path: blake2b(path.read_bytes(), digest_size=32).hexdigest() for path in files}


def test_a_later_run_reads_no_content(tmp_path: Path, files: list[Path], read: list[Path]) -> None:
    record = FileKeys(tmp_path / "keys")
    assert record(files) == (true_keys(files), {})
    assert sorted(read) == files
    for again in (record, FileKeys(tmp_path / "keys")):
        assert again(files[::-1]) == (true_keys(files), {})
    assert len(read) == 5
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_only_new_files_are_read(tmp_path: Path, files: list[Path], read: list[Path]) -> None:
    FileKeys(tmp_path / "keys")(files[:3])
    del read[:]
    assert FileKeys(tmp_path / "keys")(files)[0] == true_keys(files)
    assert sorted(read) == files[3:]
    del read[:]
    assert FileKeys(tmp_path / "keys")(files)[0] == true_keys(files)
    assert read == []


def overwrite(path: Path) -> None:
    path.write_bytes(b"x" * 100)


def replace_by_another(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"y" * 100)
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def back_in_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"z" * 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [overwrite, replace_by_another, back_in_time])
def test_changed_content_is_read_anew(
    tmp_path: Path, files: list[Path], read: list[Path], change: Callable[[Path], Any]
) -> None:
    FileKeys(tmp_path / "keys")(files)
    del read[:]
    change(files[2])
    for _ in range(2):
        assert FileKeys(tmp_path / "keys")(files)[0] == true_keys(files)
    assert read == [files[2]]


def test_files_changed_a_moment_ago_are_not_recorded(tmp_path: Path, files: list[Path]) -> None:
    """A second change within the tick of the file system's clock would leave no trace."""
    record = FileKeys(tmp_path / "keys")
    record(files)
    assert not (tmp_path / "keys").exists()
    assert record.facts(files[0]) is None


def test_killed_run_leaves_what_it_had_read(
    tmp_path: Path, files: list[Path], read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_keys, "SAVE_FILES", 2)

    class Killed(BaseException):
        pass

    def die(path: Path) -> str:
        if path == files[4]:
            raise Killed
        return file_key(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_keys, "file_key", die)
        with pytest.raises(Killed):
            FileKeys(tmp_path / "keys")(files)
    assert FileKeys(tmp_path / "keys")(files)[0] == true_keys(files)
    assert read == [files[4]]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 3}', b'{"a": [1, "x"]}', b"\xff\xfe", b'{"a": [1, 2, 3, 4'])
def test_damaged_record_is_of_no_account(
    tmp_path: Path, files: list[Path], read: list[Path], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    FileKeys(tmp_path / "keys")(files)
    victim = next((tmp_path / "keys").iterdir())
    victim.write_bytes(content)
    assert FileKeys(tmp_path / "keys")(files) == (true_keys(files), {})
    assert victim.name in caplog.text
    assert len(read) == 10
    caplog.clear()
    assert FileKeys(tmp_path / "keys")(files) == (true_keys(files), {})
    assert caplog.records == []
    assert len(read) == 10


def test_two_records_are_joined(tmp_path: Path, files: list[Path], read: list[Path]) -> None:
    first, second = FileKeys(tmp_path / "keys"), FileKeys(tmp_path / "keys")
    second([])  # it has looked for records before the other writes
    first(files[:3])
    second(files[2:])
    names = [set(json.loads(path.read_bytes())) for path in (tmp_path / "keys").iterdir()]
    assert sorted(map(len, names)) == [3, 3]
    del read[:]
    assert FileKeys(tmp_path / "keys")(files)[0] == true_keys(files)
    assert read == []


def test_relative_paths_are_those_of_the_folder_they_are_used_in(
    tmp_path: Path, files: list[Path], read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.wav").write_bytes(b"another")
    monkeypatch.chdir(tmp_path / "sounds")
    assert FileKeys(tmp_path / "keys")([Path("0.wav")])[0] == true_keys([Path("0.wav")])
    monkeypatch.chdir(tmp_path)
    assert FileKeys(tmp_path / "keys")([Path("0.wav")])[0] == {
        Path("0.wav"): blake2b(b"another", digest_size=32).hexdigest()
    }


@pytest.mark.usefixtures("read")
def test_record_that_cannot_be_written_is_done_without(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_keys, "write_whole", full)
    assert FileKeys(tmp_path / "keys")(files) == (true_keys(files), {})


@pytest.mark.usefixtures("read")
def test_files_that_cannot_be_read_are_named(tmp_path: Path, files: list[Path]) -> None:
    found, errors = FileKeys(tmp_path / "keys")([*files, tmp_path / "none.wav", tmp_path])
    assert found == true_keys(files)
    assert set(errors) == {tmp_path / "none.wav", tmp_path}
    assert "no such file" in errors[tmp_path / "none.wav"]
    assert all(str(path) in reason for path, reason in errors.items())


def test_still_has_reads_only_where_the_facts_do_not_tell(files: list[Path], read: list[Path]) -> None:
    facts, key = file_keys.file_facts(files[0]), file_key(files[0])
    assert file_keys.still_has(files[0], key, facts)
    assert read == []
    os.utime(files[0])
    assert file_keys.still_has(files[0], key, facts)
    assert read == [files[0]]
    overwrite(files[0])
    assert not file_keys.still_has(files[0], key, facts)
    assert not file_keys.still_has(files[0], key, None)


def test_a_name_that_is_not_utf8_is_an_error_of_its_file_that_can_be_printed(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/0\xff.wav"))
    path.write_bytes(b"x")
    found, errors = FileKeys(tmp_path / "keys")([path])
    with pytest.raises(AudioError) as caught:
        read_audio(path, 1.0)
    for reason in (errors[path], str(caught.value)):
        assert "not UTF-8; rename" in reason and reason.encode()
    assert not found and "not UTF-8; rename" in measure_file(path).error


def test_a_name_with_a_null_is_an_error_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a\0.wav"
    found, errors = FileKeys(tmp_path / "keys")([path])
    assert not found and "null" in errors[path]
