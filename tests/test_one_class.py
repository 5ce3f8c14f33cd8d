"""A detector of one sound, from its recordings to C: the commonest product of all."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
from hydra.utils import instantiate
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score
from test_tasks import rows_of

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.clips import EscCsv
from aed.inference.opening import open_classifier
from aed.run import pipeline
from aed.run.evaluate import EvaluateConfig, evaluate_file
from aed.run.predict import predict_files as predict
from aed.target.boards import load_board
from aed.target.emulator.backend import Emulator

pytestmark = pytest.mark.usefixtures("trains")  # trains and compiles

RATE = 16000
COMMON = [
    "experiment=demo",
    "logger=csv",
    "callbacks.progress=null",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "frontend.n_mels=16",
    "frontend.patch_frames=32",
    "frontend.trim=none",
    "frontend.max_length_s=20",
    "data.multi_label=true",
    "data.batch_size=8",
    "data.cache_workers=1",
    "model.optimizer.lr=0.01",
    "trainer.max_epochs=12",
    "model.net.layers=6",
]


def sound(generator: np.random.Generator, seconds: float, events: list[tuple[float, float]]) -> np.ndarray:
    """Noise with a tone of 2.5 kHz from the first to the second time of each event, s."""
    wave = 0.01 * generator.normal(size=round(seconds * RATE))
    for onset, offset in events:
        span = slice(round(onset * RATE), round(offset * RATE))
        wave[span] += generator.uniform(0.02, 0.2) * np.sin(2 * np.pi * 2500 * np.arange(span.stop - span.start) / RATE)
    return wave.astype(np.float32)


def clips(folder: Path) -> pd.DataFrame:
    """25 clips of 2 s, ten with the tone; a row per clip."""
    generator, rows = np.random.default_rng(0), []
    for number in range(25):
        has = number % 5 < 2
        sf.write(folder / f"{number}.wav", sound(generator, 2, [(0.2, 1.8)] if has else []), RATE)
        rows.append({"filename": f"{number}.wav", "has": has, "fold": number // 5 + 1})
    return pd.DataFrame(rows)


def esc_csv(folder: Path) -> list[str]:
    table = clips(folder)
    table["category"] = np.where(table["has"], "glass", np.where(table.index % 2, "rain", "dog"))
    table["src_file"] = table["filename"]
    table.drop(columns="has").to_csv(folder / "list.csv", index=False)
    return [
        "data=esc_csv",
        f"data.clips.csv={folder}/list.csv",
        f"data.clips.audio_dir={folder}",
        "data.class_names=[glass]",
        "data.val_fold=4",
    ]


def dcase(folder: Path) -> list[str]:
    table = clips(folder)
    table["event_labels"] = np.where(table["has"], "glass", "")
    table["split"] = np.where(table["fold"] == 5, "test", np.where(table["fold"] == 4, "val", "train"))
    table.drop(columns=["has", "fold"]).to_csv(folder / "weak.tsv", sep="\t", index=False)
    return ["data=dcase", f"data.clips.meta={folder}/weak.tsv"]


def segments(folder: Path) -> list[str]:
    generator, rows = np.random.default_rng(0), []
    for number in range(6):
        begins = [place + float(generator.uniform(0, 0.4)) for place in (0.0, 4.0, 8.0)]
        events = [(begin, begin + 1.4) for begin in begins]
        sf.write(folder / f"{number}.wav", sound(generator, 12, events), RATE)
        rows += [{"filename": f"{number}.wav", "onset": a, "offset": b, "label": "glass"} for a, b in events]
    table = pd.DataFrame(rows)
    table["split"] = table["filename"].str[0].map({"0": "test", "1": "val"}).fillna("train")
    table.to_csv(folder / "events.csv", index=False)
    return [
        "data=segments",
        f"data.clips.csv={folder}/events.csv",
        f"data.clips.audio_dir={folder}",
        "data.excerpt_s=2.0",
    ]


def folder_of(folder: Path) -> list[str]:
    table = clips(folder)
    for row in table.itertuples():
        place = folder / "sounds" / ("glass" if row.has else "rain")
        place.mkdir(parents=True, exist_ok=True)
        (folder / row.filename).rename(place / row.filename)
    return ["data=folder", f"data.clips.root={folder}/sounds", "data.val_fraction=0.2", "data.class_names=[glass]"]


KINDS = {"esc_csv": esc_csv, "dcase": dcase, "segments": segments, "folder": folder_of}
STAGES = "stages=[fit,test,export,quantize,evaluate,deploy]"


def train(overrides: list[str], out: Path) -> dict[str, float]:
    # a choice of data comes before its values
    return pipeline.run(tiny.composed(COMMON[0], overrides[0], *COMMON[1:], *overrides[1:], folder=out), out)


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, list[str]]:
    """Kind of data, folder of a run of all stages on it, and what was typed."""
    folder = tmp_path_factory.mktemp(request.param)
    overrides = KINDS[request.param](folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("aed.target.firmware.readme.is_available", lambda _: None)  # no sizes for the README
        train([*overrides, STAGES, "deploy.c.prefix=glass"], folder / "run")
    return request.param, folder / "run", overrides


def test_scores_are_sklearns_of_the_rows(run: tuple[str, Path, list[str]]) -> None:
    kind, folder, _ = run
    metrics = json.loads((folder / "metrics.json").read_text())
    threshold = json.loads((folder / "decision.json").read_text())["decision"]["thresholds"][0]
    for prefix in ("val", "test", "test_int8"):
        rows = rows_of(folder / f"{prefix}_clips.csv")
        truth, posterior = [row["labels"] == "glass" for row in rows], [float(row["glass"]) for row in rows]
        decided = [row["decided"] == "glass" for row in rows]
        assert {row["labels"] for row in rows} == {"glass", ""}, "there are counter-examples"
        assert decided == [value >= threshold for value in posterior]
        expected = {
            "clip_map": average_precision_score(truth, posterior),
            "clip_f1": f1_score(truth, decided),
            "clip_precision": precision_score(truth, decided, zero_division=0),
            "clip_recall": recall_score(truth, decided),
            "clip_threshold": threshold,
        }
        found = {key: metrics[f"{prefix}/{key}"] for key in expected}
        assert found == pytest.approx(expected, abs=1e-5)
        assert {f"{prefix}/patch_map", f"{prefix}/patch_f1"} <= set(metrics)
        assert not [key for key in metrics if "lwlrap" in key], "among one class, any is ranked first"
    assert metrics["test/clip_map"] > 0.9, f"{kind}: it has learnt something"
    assert metrics["test_int8/clip_map"] == pytest.approx(metrics["test/clip_map"], abs=0.1)


def test_the_cards_rule_is_the_chosen_one(run: tuple[str, Path, list[str]]) -> None:
    _, folder, _ = run
    chosen = json.loads((folder / "decision.json").read_text())
    for file in ("model.onnx", "model_int8.onnx", "checkpoints/best.ckpt"):
        card = open_classifier(folder / file).card
        assert card.class_names == ("glass",) and card.task == "multi_label"
        assert list(card.decision.thresholds) == chosen["decision"]["thresholds"] and chosen["chosen_on"] == "val"


OF_A_CLIP = """
#include <stdio.h>
#include "aed_classes.h"
#include "aed_listener.h"
int main(void) {
    static aed_listener listener;
    static aed_clip clip;
    int8_t out[AED_NET_OUTPUT_SIZE];
    int16_t sample;
    float probability[AED_CLASSES];
    bool detected[AED_CLASSES];
    aed_listener_init(&listener);
    aed_clip_reset(&clip);
    while (fread(&sample, sizeof sample, 1, stdin) == 1U) {
        int ready;
        (void)aed_listen(&listener, &sample, 1U, out, &ready);
        if (ready != 0) {
            aed_probabilities(out, probability);
            aed_clip_add(&clip, probability);
        }
    }
    aed_clip_probabilities(&clip, probability);
    const int best = aed_decide(probability, detected);
    (void)printf("%s", best == AED_UNKNOWN ? "unknown" : "");
    for (int i = 0; i < AED_CLASSES; ++i) {
        if (detected[i]) {
            (void)printf("%s %.3f", aed_class_names[i], (double)probability[i]);
        }
    }
    return 0;
}
"""
"""A program that says what a recording is, as one clip."""


def compiled(library: Path, place: Path) -> Path:
    """:data:`OF_A_CLIP` with a library of that prefix, for this machine."""
    main = place / "main.c"
    main.write_text(OF_A_CLIP.replace("aed_", "glass_").replace("AED_", "GLASS_"))
    sources = [*library.glob("src/*.c"), main]
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]
    command = ["gcc", *flags, "-I", library / "include", *sources, "-o", place / "example", "-lm"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return place / "example"


@pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev")
@pytest.mark.parametrize("run", ["esc_csv", "dcase", "folder"], indirect=True)
def test_the_library_of_c_decides_of_whole_clips_as_evaluation_does(
    run: tuple[str, Path, list[str]], tmp_path: Path
) -> None:
    kind, folder, overrides = run
    config = tiny.composed(COMMON[0], overrides[0], *COMMON[1:], *overrides[1:])
    data = instantiate(config.data, _partial_=True, _convert_="all")
    metrics = evaluate_file(str(folder / "model_int8.onnx"), data, str(tmp_path), EvaluateConfig(on="c"))
    trained = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_int8/clip_map"] == trained["test_int8/clip_map"]
    assert metrics["test_c/clip_map"] == pytest.approx(metrics["test_int8/clip_map"], abs=0.02)
    assert metrics["test_c/equal_outputs"] > 0.9 and metrics["test_c/clip_agreement"] == 1
    example = compiled(folder / "target" / "c", tmp_path)
    for row in rows_of(tmp_path / "test_c_clips.csv"):
        path = next((folder.parent / "sounds" if kind == "folder" else folder.parent).rglob(row["filename"]))
        samples, _ = sf.read(path, dtype="int16")
        said = subprocess.run([example], input=samples.tobytes(), check=True, capture_output=True).stdout.decode()
        assert said == (f"glass {float(row['glass']):.3f}" if row["decided"] else "unknown")


@pytest.mark.parametrize("run", ["dcase"], indirect=True)
def test_prediction_says_when_it_is_heard(run: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    _, folder, _ = run
    sf.write(tmp_path / "long.wav", sound(np.random.default_rng(3), 12, [(4.0, 8.0)]), RATE)
    output = tmp_path / "heard.csv"
    predict(
        str(folder / "model_int8.onnx"), [str(tmp_path / "long.wav")], format="csv", output=str(output), timeline=True
    )
    rows = rows_of(output)
    assert {row["label"] for row in rows if float(row["start_s"]) > 4.5 and float(row["end_s"]) < 7.5} == {"glass"}
    assert {row["label"] for row in rows if float(row["end_s"]) < 3.5 or float(row["start_s"]) > 8.5} == {"unknown"}


@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="apt-get install qemu-system-arm")
@pytest.mark.parametrize("run", ["segments"], indirect=True)
def test_it_runs_on_an_emulated_board(run: tuple[str, Path, list[str]]) -> None:
    _, folder, _ = run
    report = Emulator(inputs=2).benchmark(folder / "model_int8.onnx", load_board("mps2-an505"), folder)
    assert report.net.figures["instructions"].value > 0


def test_quantisation_aware_training_of_one_class(tmp_path: Path) -> None:
    stages = ["stages=[fit,test,export,quantize,evaluate]", "quantization=qat", "quantization.qat_epochs=1"]
    metrics = train(
        [*dcase(tmp_path), *stages, "model.class_weights=true", "data.class_balance=true"], tmp_path / "run"
    )
    assert metrics["test_int8/clip_map"] == pytest.approx(metrics["test/clip_map"], abs=0.1)


def test_recordings_of_the_sound_alone_are_refused(tmp_path: Path) -> None:
    table = clips(tmp_path)
    table[table["has"]].assign(category="glass").to_csv(tmp_path / "list.csv", index=False)
    source = EscCsv(str(tmp_path / "list.csv"), str(tmp_path))
    data = PatchDataModule(source, tiny.FRONTEND, multi_label=True, cache_workers=1)
    with pytest.raises(AedError, match=r"every training patch is of \['glass'\].*add recordings without them"):
        data.setup()
    with pytest.raises(AedError, match=r"data\.multi_label=true for a detector of one"):
        PatchDataModule(source, tiny.FRONTEND).setup()
