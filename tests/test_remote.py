"""Recordings and caches by address: a local stand-in for S3, which denies, lacks and changes objects."""

from collections.abc import Callable, Iterator
from pathlib import Path

import fsd50k_tree
import numpy as np
import published_trees as trees
import pytest
import soundfile as sf

from aed.base import remote
from aed.base.errors import AedError
from aed.datamodules import ESC10, FSD50K, Folder, PatchDataModule
from aed.datamodules.sources.annotated import Annotated
from aed.datamodules.sources.clips import ClipSource, EscCsv
from aed.datamodules.sources.segments import Segments
from aed.datamodules.sources.urbansound8k import UrbanSound8K
from aed.dsp import FrontendConfig

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


def esc10(root: Path) -> Path:
    names = [f"{fold}-{target}-{target}.wav" for fold in (1, 2) for target in (0, 1)]
    for name in names:
        trees.write_wav(root / "esc10" / "audio" / name, seed=len(name))
    rows = [("filename", "fold", "category"), *((name, name[0], f"c{name[2]}") for name in names)]
    return trees.write_rows(root / "esc10" / "meta" / "esc10.csv", rows)


def regions(root: Path) -> None:
    trees.write_wav(root / "a.wav", seed=1)
    trees.write_rows(root / "list.csv", [("filename", "onset", "offset", "label"), ("a.wav", 0, 0.02, "dog")])


MADE: dict[str, tuple[Callable[[Path], object], Callable[[str], ClipSource]]] = {
    "ESC-10": (esc10, lambda at: ESC10(at)),
    "a csv and its folder": (
        esc10,
        lambda at: EscCsv(f"{at}/esc10/meta/esc10.csv", f"{at}/esc10/audio", test_csv=f"{at}/esc10/meta/esc10.csv"),
    ),
    "FSD50K": (lambda root: fsd50k_tree.write_tree(root, clips=60), lambda at: FSD50K(at, labels="smeared")),
    "a published one": (trees.urbansound8k, UrbanSound8K),
    "a list, by its address": (regions, lambda at: Segments(f"{at}/list.csv")),
    "annotations": (regions, lambda at: Annotated(f"{at}/list.csv")),
}


@pytest.mark.parametrize("kind", MADE)
def test_any_data_set_is_read_from_an_object_store_as_from_a_folder(
    kind: str, store: "boto3.client", read: list[str], tmp_path: Path
) -> None:
    make, source = MADE[kind]
    make(tmp_path / "tree")
    address = f"s3://{store.bucket}/{list(MADE).index(kind)}"
    files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    for path in files:
        key = f"{list(MADE).index(kind)}/{path.relative_to(tmp_path / 'tree').as_posix()}"
        store.put_object(Bucket=store.bucket, Key=key, Body=path.read_bytes())

    local, remotely = source(str(tmp_path / "tree")), source(address)
    assert read == [], "nothing is read before it is asked for"
    mine, theirs = local.table(), remotely.table()

    assert len(theirs) > 0 and [path.name for path in theirs["path"]] == [path.name for path in mine["path"]]
    assert [path.read_bytes() for path in theirs["path"]] == [path.read_bytes() for path in mine["path"]]
    assert theirs.drop(columns=["path", "src_file"]).equals(mine.drop(columns=["path", "src_file"]))
    copied = len(read)
    source(address).table()
    assert len(read) == copied, "and once"


def test_the_address_of_one_object_is_a_file(store: "boto3.client") -> None:
    for name, content in (("list.csv", b"a"), ("list.csv.bak", b"b")):
        store.put_object(Bucket=store.bucket, Key=f"meta/{name}", Body=content)
    file = remote.folder_of("data.clips.csv", f"s3://{store.bucket}/meta/list.csv")
    assert (file.name, file.read_bytes()) == ("list.csv", b"a")


def test_negatives_may_be_an_address(store: "boto3.client", wav: bytes, tmp_path: Path) -> None:
    esc10(tmp_path)
    store.put_object(Bucket=store.bucket, Key="none/hum.wav", Body=wav)
    source, frontend = ESC10(str(tmp_path)), FrontendConfig()
    data = PatchDataModule(source, frontend, test_fold=1, negatives=f"s3://{store.bucket}/none")
    assert [path.name for path in data.table["path"][data.table["labels"] == ("background",)]] == ["hum.wav"]


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
