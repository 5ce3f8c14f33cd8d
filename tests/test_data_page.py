"""The page of a data set: what was found with the sounds side by side, in a real browser."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
import torch
from browsing import FILE_NAME, HOSTILE, LOOKS, browser, check_accessible, content_of, opened, playwright  # noqa: F401 - a fixture
from sklearn.decomposition import PCA

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.lists import COLUMNS
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.embedding import Embedder
from aed.run import data
from aed.run.report import sounds as budget
from aed.run.report.embeddings import flat
from aed.run.report.sounds import Sounds, data_uri, image_uri

FRONTEND = FrontendConfig()
RATE = 16000


class Given(ClipSource):
    """Rows of a test, with their source."""

    name = "<b>given</b>"

    def __init__(self, rows: list[tuple[Path, str, str, str]]) -> None:
        self.rows = rows

    def table(self) -> pd.DataFrame:
        made = [(path, (label,), pd.NA, source, split) for path, label, source, split in self.rows]
        return pd.DataFrame(made, columns=list(COLUMNS))


def noise(seed: int, seconds: float = 1.5) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, int(RATE * seconds)).astype(np.int16)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Equal sounds in two splits, a source in two splits, one silent, one broken; hostile names."""
    folder = tmp_path_factory.mktemp("data")
    waves = {
        "a": noise(0),
        "same as a": noise(0),
        "c": noise(2),
        "d": noise(3),
        "silent": 0 * noise(4),
        "long": noise(5, 12),
    }
    for name, wave in waves.items():
        sf.write(folder / f"{name}.wav", wave, RATE)
    sf.write(folder / f"{FILE_NAME}.wav", noise(6), RATE)
    (folder / "broken.wav").write_bytes(b"no sound at all")
    rows = [
        ("a", "dog", "1", "train"),
        ("same as a", "dog", "2", "test"),
        ("c", "cat", "3", "train"),
        ("d", "cat", "3", "test"),
        ("silent", "cat", "5", "train"),
        ("long", "dog", "6", "train"),
        ("broken", "dog", "7", "train"),
        (FILE_NAME, HOSTILE, "8", "train"),
    ]
    given = [(folder / f"{name}.wav", label, source, split) for name, label, source, split in rows]

    def module(seed: int) -> PatchDataModule:
        return PatchDataModule(Given(given), FRONTEND, split="random", seed=seed)

    data.inspect(module, FRONTEND, str(folder / "health.json"), html=True, num_workers=2)
    return folder / "health.html"


def test_findings_name_their_files_side_by_side(page_file: Path) -> None:
    content = content_of(page_file)
    names = [Path(file["file"]).stem for file in content["files"]]
    groups = {own["key"]: [[names[at] for at in group] for group in own["groups"]] for own in content["findings"]}
    assert groups["leak"] == [["a", "same as a"]] and groups["source_leak"] == [["c", "d"]]
    assert groups["silent"] == [["silent"]] and groups["unreadable"] == [["broken"]]
    assert groups["long"] == [["long"]]
    flags = {name: set(file["flags"]) for name, file in zip(names, content["files"], strict=True)}
    assert flags["c"] == {"source_leak"} and flags["a"] == {"leak"} and len(names) == len(set(names)) == 8


def test_every_usable_recording_has_its_own_sound(page_file: Path) -> None:
    content = content_of(page_file)
    for file in content["files"]:
        if file["error"]:
            assert "sound" not in file
            continue
        wave, rate = sf.read(io.BytesIO(base64.b64decode(content["sounds"][file["sound"]].partition(",")[2])))
        assert rate == RATE and len(wave) == pytest.approx(RATE * min(file["duration_s"], 10), abs=2)
        whole, _ = sf.read(page_file.parent / file["file"])
        assert np.std(wave) == pytest.approx(np.std(whole), rel=0.3, abs=1e-4)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_page_shows_the_data_without_an_error(
    browser: "playwright.Browser",  # noqa: F811
    page_file: Path,
    size: str,
    scheme: str,
) -> None:
    with opened(browser, page_file, size, scheme) as page:
        shown = page.inner_text("body")
        for text in (
            "Health",
            "sounds are in two splits",
            "recordings are in two splits",
            HOSTILE,
            FILE_NAME,
            "broken",
        ):
            assert text in shown
        check_accessible(page)


def test_recordings_are_chosen_and_heard_by_keyboard(browser: "playwright.Browser", page_file: Path) -> None:  # noqa: F811
    with opened(browser, page_file) as page:
        page.locator("label", has_text="found").locator("select").select_option(label="source in two splits")
        assert page.locator("caption", has_text="2 recordings").count() == 1
        button = page.get_by_role("button", name="play c.wav")
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        page.locator("label", has_text="class").locator("select").first.select_option(label="dog")
        assert page.locator("caption", has_text="0 recordings").count() == 1


def test_the_page_needs_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"report: need a file whose name ends in \.json"):
        data.inspect(lambda seed: None, FRONTEND, str(tmp_path / "x.html"), html=True)


# ---- room, pictures, maps -------------------------------------------------------------------------------------


def test_sounds_are_put_in_once_and_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SOUND_BYTES", 400_000)
    wave = noise(0, 5).astype(np.float32) / 32768
    most = len(data_uri(wave, RATE, "OGG", budget.COARSE))
    wide, tight = Sounds(), Sounds()
    for sounds, number in ((wide, 3), (tight, 30)):
        sounds.expect(number)
        places = [sounds.put(key, wave, RATE) for key in range(number)]
        assert [place for place in places if place is not None] == list(range(len(sounds.uris)))
        assert sum(map(len, sounds.uris)) < 400_000 + most
        assert sounds.put(0, wave, RATE) == 0, "it is in already"
    assert len(wide.uris) == 3 and len(wide.uris[0]) > most
    assert len(tight.uris) == 400_000 // most + 1 and {len(uri) for uri in tight.uris} == {most}


def test_lossless_sound_is_that_of_the_microphone() -> None:
    samples = noise(1)
    uri = data_uri(samples.astype(np.float32) / 32768, RATE, "FLAC")
    heard, _ = sf.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])), dtype="int16")
    assert np.array_equal(heard, samples)


def test_a_picture_has_low_bands_at_the_bottom() -> None:
    from PIL import Image

    frames = np.zeros((4, 6), np.float32)
    frames[0] = 1
    picture = Image.open(io.BytesIO(base64.b64decode(image_uri(frames).partition(",")[2]))).convert("RGB")
    assert picture.size == (6, 4)
    assert sum(picture.getpixel((2, 3))) > sum(picture.getpixel((2, 0)))


def test_the_map_is_that_of_the_principal_components() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32) * np.array(
        [5, 3, 1, 1, 1, 1, 1], np.float32
    )
    places, shown = flat(rows, "pca")
    model = PCA(2).fit(rows.astype(np.float64))
    assert np.allclose(np.abs(places), np.abs(model.transform(rows.astype(np.float64))), atol=1e-5)
    assert shown == pytest.approx(model.explained_variance_ratio_.sum())
    assert flat(np.ones((3, 2), np.float32), "pca")[0].tolist() == [[0, 0]] * 3


@pytest.mark.usefixtures("computes")
def test_embeddings_are_what_the_last_layer_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = tiny.TinyNet(3).eval()
    card = ModelCard(frontend=tiny.FRONTEND, class_names=("a", "b", "c"))
    save_model(tmp_path / "model.onnx", to_onnx(net, tiny.FRONTEND, ExportConfig()), card)
    patches = torch.randn(37, 1, 16, 32)
    with torch.no_grad():
        wanted = net.backbone(patches).numpy()
    assert np.allclose(Embedder(tmp_path / "model.onnx").of(patches.numpy()), wanted, atol=1e-5)
