"""Shared fixtures: where real data lie, and a cache of the tests' own."""

import gc
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cached_compiler
import forks
import pytest

from aed.base import processes as running

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# before torch is loaded: the workers of a session share the cores, and threads that wait for each other are busy
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a shell starts background jobs, of which a session may be one, with Ctrl-C ignored, as would all that it starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"

FOLDERS = {
    name: Path(os.environ.get(name) or SHARED / folder).absolute()
    for name, folder in (("AED_DATA_DIR", "datasets"), ("AED_PRETRAINED_DIR", "pretrained"))
}
"""Real data and backbones: where the environment says, before the tests set it for themselves."""

SLOW = {"trains", "compiles", "processes", "computes", "browser", "address"}
"""Fixtures by which a test says what takes it seconds; ``-m "not slow"`` leaves it out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use a fixture of :data:`SLOW`."""
    for item in items:
        if SLOW.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of a session have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def trains() -> None:
    """The test trains, or builds features for it."""


@pytest.fixture(scope="session")
def compiles() -> None:
    """The test compiles C or emulates a board."""


@pytest.fixture(scope="session")
def processes() -> None:
    """The test starts processes."""


@pytest.fixture(scope="session")
def forking(processes: None) -> Iterator[list[str]]:
    """What stands for ``python -m`` in a command whose process need not import its libraries anew."""
    with forks.server() as command:
        yield command


@pytest.fixture(scope="session")
def computes() -> None:
    """The test computes much, or waits."""


@pytest.fixture(scope="session", autouse=True)
def each_c_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compilers that keep the objects of this session, for all its workers."""
    programs = tmp_path_factory.mktemp("programs")
    objects = session_folder(tmp_path_factory) / "objects"
    objects.mkdir(exist_ok=True)
    reals = cached_compiler.install(programs, objects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(programs), prepend=os.pathsep)
        patch.setenv("ZIG_GLOBAL_CACHE_DIR", str(objects / "zig"))
        finish = cached_compiler.at_once(running.finish, running.Finished, reals, objects)
        patch.setattr(running, "finish", finish)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_compositions() -> Iterator[None]:
    """Configurations of this process are composed without what Hydra does again and again."""
    import quick_hydra  # loads Hydra

    with pytest.MonkeyPatch.context() as patch:
        quick_hydra.install(patch)
        yield


def kind_of(figure: "Figure") -> object:
    """What pictures of one kind have in common: their size, and the scales and labels of their axes."""
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    return tuple(figure.get_size_inches()), tuple((axis.get_scale(), axis.get_label_text()) for axis in axes)


@pytest.fixture(scope="session", autouse=True)
def quick_pictures() -> Iterator[Callable[..., None]]:
    """Pictures of this process are not laid out, and drawn once a kind; yields what does it for each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn: dict[object, bytes] = {}

    def savefig(figure: Figure, file: IO[bytes], *, format: str, dpi: int, metadata: dict[str, str | None]) -> None:
        kind = kind_of(figure)
        if kind not in drawn:
            figure.set_layout_engine("none")
            figure.dpi = dpi
            png = io.BytesIO()
            FigureCanvasAgg(figure).print_png(png, metadata=metadata)
            drawn[kind] = png.getvalue()
        file.write(drawn[kind])

    with pytest.MonkeyPatch.context() as patch:
        whole = Figure.savefig
        patch.setattr(Figure, "savefig", savefig)
        yield whole


@pytest.fixture
def whole_pictures(quick_pictures: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the test are laid out and drawn as users get them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", quick_pictures)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the user's cache; one cache serves a whole session, as it serves many runs."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("AED_CACHE_DIR", str(base / "cache"))
    for name, folder in FOLDERS.items():
        path = folder if folder.is_dir() else base / "nothing"
        monkeypatch.setenv(name, str(path))


def _there(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path} is not here: real data and golden arrays are tested where they are")
    return path


@pytest.fixture
def golden() -> Path:
    """Arrays recorded from ST's zoo."""
    return _there(SHARED / "golden")


@pytest.fixture
def esc10() -> Path:
    """The real ESC-10 in its data folder."""
    return _there(FOLDERS["AED_DATA_DIR"] / "esc10").parent


@pytest.fixture
def pretrained() -> Path:
    """Published backbones."""
    return _there(FOLDERS["AED_PRETRAINED_DIR"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
