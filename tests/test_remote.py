"""Recordings and caches by address: a local stand-in for S3, which denies, lacks and changes objects."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from aed.base import remote
from aed.base.errors import AedError
from aed.datamodules import Folder

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "testing-only")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        own = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        own.start()
        host, port = own.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        yield f"http://{host}:{port}"
        own.stop()


@pytest.fixture
def store(address: str, request: pytest.FixtureRequest) -> "boto3.client":
    client = boto3.client("s3", endpoint_url=address)
    name = request.node.name.replace("_", "-")[:40].strip("-").lower()
    client.create_bucket(Bucket=name)
    client.bucket = name
    return client


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    sf.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(8000) / 9), 16000)
    return (tmp_path / "a.wav").read_bytes()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were read."""
    seen: list[str] = []
    copied = remote._copied

    def copy(store: object, source: str, path: Path, size: int | None) -> str:
        seen.append(path.name)
        return copied(store, source, path, size)

    monkeypatch.setattr(remote, "_copied", copy)
    return seen


def test_a_folder_of_an_object_store_is_a_data_set_that_is_read_once(
    store: "boto3.client", wav: bytes, read: list[str]
) -> None:
    for name in ("dog/a.wav", "dog/b.wav", "cat/c.wav", "cat/d.wav", "cat/.hidden"):
        store.put_object(Bucket=store.bucket, Key=f"sounds/{name}", Body=wav)
    source = Folder(f"s3://{store.bucket}/sounds")
    assert source.name == "sounds" and read == [], "nothing is read before it is asked for"
    table = source.table()
    assert sorted(Path(path).name for path in table["path"]) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert all(Path(path).read_bytes() == wav for path in table["path"])
    assert sorted(read) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    store.put_object(Bucket=store.bucket, Key="sounds/dog/a.wav", Body=wav + b"\0")
    store.put_object(Bucket=store.bucket, Key="sounds/dog/e.wav", Body=wav)
    store.delete_object(Bucket=store.bucket, Key="sounds/cat/d.wav")
    read.clear()
    table = Folder(f"s3://{store.bucket}/sounds/").table()
    assert sorted(read) == ["a.wav", "e.wav"]
    assert sorted(Path(path).name for path in table["path"]) == ["a.wav", "b.wav", "c.wav", "e.wav"]


def test_what_grows_here_stays(store: "boto3.client", read: list[str]) -> None:
    store.put_object(Bucket=store.bucket, Key="cache/features/x/a.npy", Body=b"1")
    place = remote.folder_of("data.cache_dir", f"s3://{store.bucket}/cache", keeps=True)
    (place / "features/x/own.npy").write_bytes(b"2")
    store.delete_object(Bucket=store.bucket, Key="cache/features/x/a.npy")
    store.put_object(Bucket=store.bucket, Key="cache/features/x/b.npy", Body=b"3")
    assert remote.folder_of("data.cache_dir", f"s3://{store.bucket}/cache", keeps=True) == place
    assert sorted(path.name for path in (place / "features/x").iterdir()) == ["a.npy", "b.npy", "own.npy"]
    assert read == ["a.npy", "b.npy"]


def test_one_object_that_is_denied_is_left_out_and_said(
    store: "boto3.client", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import s3fs

    for name in ("a", "b"):
        store.put_object(Bucket=store.bucket, Key=f"x/{name}", Body=b"1")
    whole = s3fs.S3FileSystem.open

    def opened(self: object, path: str, *arguments: object, **named: object) -> object:
        if path.endswith("/b"):
            raise PermissionError("Access Denied")
        return whole(self, path, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "open", opened)
    place = remote.folder_of("data.clips.root", f"s3://{store.bucket}/x")
    assert [path.name for path in place.iterdir()] == ["a"]
    assert f"left out: s3://{store.bucket}/x/b: the store denies it (Access Denied)" in caplog.text
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://no-such-bucket/sounds", "no object there; need the address of a folder"),
        ("nonsense://a/b", "cannot be opened .* need a path or s3://bucket/folder"),
        ("s3://name:word@bucket/x", "password in it would be kept in records; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_not_there_is_said(address: str, url: str, words: str) -> None:
    with pytest.raises(AedError, match=rf"^data.clips.root: .*{words}"):
        remote.folder_of("data.clips.root", url)


def test_a_store_that_denies_or_is_gone_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    def denies(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(s3fs.S3FileSystem, "find", denies)
    with pytest.raises(AedError, match=r"the store denies it .Access Denied.; set AWS_ACCESS_KEY_ID"):
        remote.folder_of("data.clips.root", "s3://bucket/x")
    monkeypatch.setattr(s3fs.S3FileSystem, "find", lambda *_, **__: 1 / 0)
    with pytest.raises(AedError, match="cannot be listed"):
        remote.folder_of("data.clips.root", "s3://bucket/x")


def test_a_path_is_a_path(tmp_path: Path) -> None:
    for text in (str(tmp_path), "a/b", "C:/x", "s3:/x"):
        assert remote.folder_of("key", text) == Path(text)


def test_a_name_that_leads_elsewhere_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def find(self, root: str, detail: bool) -> dict[str, dict[str, object]]:
            return {f"{root}/../evil": {"size": 1}, f"{root}/a/../../evil": {"size": 1}, f"{root}/b": {"size": 1}}

    assert list(remote._listed("key", "s3://x/y", Store(), "x/y")) == ["b"]
