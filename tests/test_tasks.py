"""Whole runs beyond one class a clip: several labels, a garbage class, unseen sounds, annotated recordings."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fsd50k_tree
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
from hydra.errors import InstantiationException
from PIL import Image
from sklearn.metrics import average_precision_score
from test_pipeline import SMALL

from aed.base.errors import AedError
from aed.datamodules import FSD50K, PatchDataModule, Synthetic
from aed.datamodules.sources.folder import Folder
from aed.datamodules.sources.segments import Segments
from aed.inference.opening import open_classifier
from aed.modules.classifier import ClipClassifier
from aed.run import pipeline
from aed.run.evaluate import EvaluateConfig
from aed.run.evaluate import evaluate_file as evaluate
from aed.scoring.decision import Decision

pytestmark = pytest.mark.usefixtures("trains")


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return pipeline.run(tiny.composed(*SMALL, *overrides, folder=folder), folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_picture(path: Path) -> bool:
    with Image.open(path) as image:
        return min(image.size) >= 300 and len(np.unique(np.asarray(image.convert("L")))) > 20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fsd50k_tree.write_tree(tmp_path_factory.mktemp("fsd50k"), clips=240)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory, tree: Path) -> Path:
    """A run of all default stages on several labels a clip."""
    folder = tmp_path_factory.mktemp("tagged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        overrides = [item for item in SMALL if not item.startswith(("data", "experiment"))]
        config = tiny.composed(
            "experiment=fsd50k_yamnet",
            *overrides,
            f"data.clips.data_dir={tree}",
            "model.pretrained=false",
            "model.class_weights=true",
            "model.aggregate=max",
            "data.class_balance=true",
            "trainer.max_epochs=12",
            "model.net.layers=6",
            "benchmark.target=emulator",
            folder=folder,
        )
        pipeline.run(config, folder)
    return folder


def test_average_precisions_are_sklearns_and_int8_keeps_them(tagged: Path) -> None:
    metrics = json.loads((tagged / "metrics.json").read_text())
    names = open_classifier(tagged / "model.onnx").card.class_names
    for prefix in ("test", "test_int8"):
        rows = rows_of(tagged / f"{prefix}_clips.csv")
        precisions = [
            average_precision_score(
                [name in row["labels"].split(",") for row in rows], [float(row[name]) for row in rows]
            )
            for name in names
        ]
        assert metrics[f"{prefix}/clip_map"] == pytest.approx(np.mean(precisions), abs=1e-4)
    assert metrics["test/clip_map"] > 0.6, "it has learnt something"
    assert metrics["test_int8/clip_map"] == pytest.approx(metrics["test/clip_map"], abs=0.01)


def test_thresholds_are_chosen_on_validation_and_travel_in_the_card(tagged: Path) -> None:
    chosen = json.loads((tagged / "decision.json").read_text())
    rule = Decision.from_dict(chosen["decision"])
    assert chosen["chosen_on"] == "val" and rule.aggregate == "max" and len(set(rule.thresholds)) > 1
    for file in ("model.onnx", "model_int8.onnx"):
        card = open_classifier(tagged / file).card
        assert card.task == "multi_label" and card.decision == rule
    rows, names = rows_of(tagged / "test_clips.csv"), card.class_names
    for row in rows:
        over = [name for name, least in zip(names, rule.thresholds, strict=True) if float(row[name]) >= least + 1e-6]
        surely_under = [
            name for name, least in zip(names, rule.thresholds, strict=True) if float(row[name]) < least - 1e-6
        ]
        decided = set(row["decided"].split(",")) - {""}
        assert set(over) <= decided and not decided & set(surely_under)


@pytest.mark.parametrize("name", ["test_clip_ap", "test_int8_clip_f1", "test_clip_reliability", "val_clip_ap"])
def test_pictures_of_several_labels(tagged: Path, name: str) -> None:
    assert is_picture(tagged / "plots" / f"{name}.png")
    assert not (tagged / "plots" / "test_clip_confusion.png").exists()


def test_the_card_scores_the_same_clips_again_also_in_c(tagged: Path, tree: Path, tmp_path: Path) -> None:
    data = partial(PatchDataModule, clips=FSD50K(str(tree), labels="smeared"), cache_workers=1)
    metrics = json.loads((tagged / "metrics.json").read_text())
    again = evaluate(str(tagged / "model_int8.onnx"), data, str(tmp_path), EvaluateConfig(on="c"))
    assert again["test_int8/clip_map"] == metrics["test_int8/clip_map"]
    assert again["test_c/clip_map"] == pytest.approx(metrics["test_int8/clip_map"], abs=0.01)
    assert again["test_c/equal_outputs"] > 0.9
    assert {row["labels"] for row in rows_of(tmp_path / "test_c_clips.csv")} == {
        row["labels"] for row in rows_of(tagged / "test_clips.csv")
    }


def test_a_checkpoint_knows_its_task(tagged: Path) -> None:
    card = open_classifier(tagged / "checkpoints" / "best.ckpt").card
    chosen = json.loads((tagged / "decision.json").read_text())["decision"]
    assert card.task == "multi_label" and card.decision == Decision.from_dict(chosen)
    last = tagged / "checkpoints" / "last.ckpt"
    same = last.read_bytes() == (tagged / "checkpoints" / "best.ckpt").read_bytes()
    assert (open_classifier(last).card.decision == card.decision) == same, "the rule is of one checkpoint"


# ---- other and unknown ------------------------------------------------------------------------------------


def test_a_run_with_a_garbage_class(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", "data.class_names=[rain,alarm]", "data.garbage_class=true", "data.val_fold=4")
    assert "test/clip_acc/other" in metrics and "test_int8/clip_acc/other" in metrics
    card = open_classifier(tmp_path / "run" / "model_int8.onnx").card
    assert card.class_names == ("rain", "alarm", "other")
    rows = rows_of(tmp_path / "run" / "test_clips.csv")
    assert list(rows[0])[3:] == ["rain", "alarm", "other"] and {row["category"] for row in rows} == set(
        card.class_names
    )
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    again = evaluate(
        str(tmp_path / "run" / "model_int8.onnx"),
        partial(PatchDataModule, clips=source, cache_workers=1),
        str(tmp_path / "e"),
    )
    assert again["test_int8/clip_acc"] == metrics["test_int8/clip_acc"]
    assert again["data/test_clips"] == len(rows) == 3


def test_a_run_that_rejects_what_it_does_not_know(tmp_path: Path) -> None:
    metrics = run(
        tmp_path,
        "data.class_names=[rain,alarm]",
        "data.unseen=unused",
        "data.val_fold=4",
        "decision.unknown=true",
        "decision.temperature=true",
    )
    rule = open_classifier(tmp_path / "model_int8.onnx").card.decision
    assert rule.unknown_threshold is not None and rule.temperature == metrics["val/temperature"] != 1
    assert metrics["test/unseen_clips"] == metrics["test_int8/unseen_clips"] == 5
    assert {"test/auroc", "test/fpr95", "test_int8/auroc", "test/clip_coverage", "val/clip_ece_scaled"} <= set(metrics)
    for row in rows_of(tmp_path / "test_clips.csv"):
        sure = max(float(row["rain"]), float(row["alarm"]))
        if abs(sure - rule.unknown_threshold) > 1e-6:
            assert (row["decided"] == "unknown") == (sure < rule.unknown_threshold)
    assert is_picture(tmp_path / "plots" / "test_rejection.png")


def test_a_run_with_means_of_its_classes(tmp_path: Path) -> None:
    asked = ["data.class_names=[alarm,hum,rain]", "data.val_fold=4", "decision.unknown=true", "decision.means=2"]
    metrics = run(tmp_path / "run", *asked)
    float_model, int8 = (open_classifier(tmp_path / "run" / name) for name in ("model.onnx", "model_int8.onnx"))
    rule = int8.card.decision
    assert rule == float_model.card.decision and rule.nearness is not None and 3 < len(rule.nearness.vectors) <= 6
    chosen = json.loads((tmp_path / "run" / "decision.json").read_text())
    areas = {float(weight): area for weight, area in chosen["held_out_auroc"].items()}
    assert metrics["val/held_out_auroc"] == areas[rule.nearness.weight] == max(areas.values())
    assert metrics["val/held_out_auroc_posterior"] == areas[0.0]
    assert "test/clip_coverage" in metrics and "test_int8/clip_coverage" in metrics
    for row in rows_of(tmp_path / "run" / "test_int8_clips.csv"):
        sure = max(float(row[name]) for name in ("alarm", "hum", "rain"))
        blended = (1 - rule.nearness.weight) * sure + rule.nearness.weight * float(row["nearness"])
        assert rule.unknown_threshold is not None
        if abs(blended - rule.unknown_threshold) > 1e-5:
            assert (row["decided"] == "unknown") == (blended < rule.unknown_threshold)
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    data = partial(PatchDataModule, clips=source, cache_workers=1, val_fold=4)
    for model, prefix in (("checkpoints/best.ckpt", "test"), ("model_int8.onnx", "test_int8")):
        again = evaluate(str(tmp_path / "run" / model), data, str(tmp_path / "e"))
        same = [f"{prefix}/clip_coverage", f"{prefix}/clip_acc"]
        assert [again[key] for key in same] == [metrics[key] for key in same]
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    run(tmp_path / "elsewhere", *asked, "stages=[export]", f"ckpt_path={best}")
    assert open_classifier(tmp_path / "elsewhere" / "model.onnx").card.decision == rule


def test_the_background_of_streams_has_a_mean_too(tmp_path: Path) -> None:
    asked = ["data.class_names=[alarm,hum,rain]", "data.val_fold=4", "data.soundscape_hours=0.02", "decision.means=1"]
    run(tmp_path, *asked, "stages=[fit,test]", "trainer.max_epochs=1")
    rule = open_classifier(tmp_path / "checkpoints" / "best.ckpt").card.decision
    assert rule.nearness is not None and len(rule.nearness.vectors) == 4 and rule.unknown_threshold is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decision.unknown=true"], "validation clips"),
        (["decision.means=1"], "validation clips"),
        (["decision.means=-1"], "decision.means: need 0 or"),
        (["decision.means=1", "data.val_fold=4", "quantization=qat"], "qat: changes the embeddings"),
        (["decision.means=1", "data.val_fold=4", "data.multi_label=true"], "decision.means: multi-label"),
        (["decision.means=1", "data.val_fold=4", "data.class_names=[rain,alarm]"], "at least 3 classes"),
        (["decision.temperature=true"], "validation clips"),
        (["decision.unknown=true", "decision.unknown_threshold=0.9", "operation_mode=chain_tqe"], "add it after fit"),
        (["decision.unknown_threshold=0.5"], "decision.unknown=true"),
        (["decision.unknown=true", "decision.keep=0", "data.val_fold=4"], "decision.keep"),
        (["decision.thresholds=some"], "decision.thresholds: need one of chosen, half"),
        (
            ["decision.unknown=true", "data.garbage_class=true", "data.class_names=[rain,alarm]", "data.val_fold=4"],
            "use only one of them",
        ),
        (["decision.unknown=true", "data.multi_label=true", "data.val_fold=4"], "already answer 'no class'"),
        (["export.softmax=true", "data.multi_label=true"], "independent of each other"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises((AedError, InstantiationException), match=message):  # Hydra wraps those of settings
        run(tmp_path, *overrides)


def test_the_rule_goes_with_its_checkpoint(tmp_path: Path) -> None:
    common = ["data.class_names=[rain,alarm]", "data.val_fold=4"]
    asked = [*common, "decision.unknown=true", "decision.unknown_threshold=0.9"]
    tested = run(tmp_path / "run", *asked, "decision.temperature=true", "stages=[fit,test]")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert open_classifier(best).card.decision.unknown_threshold == 0.9
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    data = partial(PatchDataModule, clips=source, cache_workers=1, val_fold=4)
    again = evaluate(str(best), data, str(tmp_path / "e"))
    assert {key: again[key] for key in ("test/loss", "test/patch_acc")} == pytest.approx(
        {key: tested[key] for key in ("test/loss", "test/patch_acc")}, rel=1e-5
    )
    run(tmp_path / "elsewhere", *asked, "stages=[export]", f"ckpt_path={best}")
    assert open_classifier(tmp_path / "elsewhere" / "model.onnx").card.decision.unknown_threshold == 0.9
    # another model in the same folder does not take it over
    run(tmp_path / "run", *common, "stages=[fit,export]", "seed=1")
    assert open_classifier(tmp_path / "run" / "model.onnx").card.decision == Decision()
    with pytest.raises(AedError, match=r"decision\.unknown, decision\.unknown_threshold: .*add the stage test"):
        run(tmp_path / "run", *asked, "stages=[export]", "seed=1")


def test_without_validation_clips_each_threshold_is_written_down(tmp_path: Path) -> None:
    run(tmp_path, "data.multi_label=true", "stages=[fit,test,export]")
    assert open_classifier(tmp_path / "model.onnx").card.decision.thresholds == (0.5, 0.5, 0.5)


# ---- annotated recordings ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of 12 s: hums and beeps of 1.5 s with noise between, and when they are."""
    folder = tmp_path_factory.mktemp("annotated")
    generator, rate = np.random.default_rng(0), 16000
    rows: list[dict[str, Any]] = []
    for number in range(6):
        wave = 0.003 * generator.normal(size=12 * rate)
        for place in range(6):
            label, pitch = [("beep", 2500), ("hum", 250)][(place + number) % 2]
            onset = 2 * place + float(generator.uniform(0, 0.4))
            span = slice(round(onset * rate), round((onset + 1.5) * rate))
            wave[span] += 0.3 * np.sin(2 * np.pi * pitch * np.arange(span.stop - span.start) / rate)
            rows.append({"filename": f"{number}.wav", "onset": onset, "offset": onset + 1.5, "label": label})
        sf.write(folder / f"{number}.wav", wave.astype(np.float32), rate)
    table = pd.DataFrame(rows)
    table["fold"] = table["filename"].str[0].astype(int) % 3
    table.to_csv(folder / "events.csv", index=False)
    return folder


@pytest.mark.parametrize("several", [False, True])
def test_annotated_recordings(annotated: Path, tmp_path: Path, several: bool) -> None:
    overrides = [item for item in SMALL if not item.startswith("data")]
    config = tiny.composed(
        *overrides,
        "data=segments",
        f"data.clips.csv={annotated / 'events.csv'}",
        f"data.clips.audio_dir={annotated}",
        "frontend.trim=none",
        "frontend.max_length_s=20",
        "data.split=folds",
        "data.test_fold=1",
        "data.train_patches=random",
        f"data.multi_label={str(several).lower()}",
        "trainer.max_epochs=8",
        "data.batch_size=16",
        "model.optimizer.lr=0.02",
        folder=tmp_path,
    )
    metrics = pipeline.run(config, tmp_path)
    key = "clip_map" if several else "clip_acc"
    assert metrics[f"test/{key}"] > 0.7 and f"test_int8/{key}" in metrics
    names = [row["filename"] for row in rows_of(tmp_path / "test_clips.csv")]
    assert len(set(names)) == len(names) and all(name.startswith(("1.wav@", "4.wav@")) for name in names)
    # two recordings of 12 s: an event each 2 s, or pieces of 10 s
    assert len(names) == (4 if several else 12)
    data = partial(
        PatchDataModule, clips=Segments(str(annotated / "events.csv"), str(annotated)), cache_workers=1, seed=0
    )
    again = evaluate(str(tmp_path / "model_int8.onnx"), data, str(tmp_path / "again"))
    assert again["data/test_clips"] == len(names)
    assert {key: again[key] for key in again if key.startswith("test_int8")} == pytest.approx(
        {key: value for key, value in metrics.items() if key in again and key.startswith("test_int8")}
    )
    with pytest.raises(AedError, match="parts of recordings"):
        evaluate(str(tmp_path / "model_int8.onnx"), data, str(tmp_path / "again"), EvaluateConfig(on="c"))


@pytest.mark.parametrize("several", [False, True])
def test_weights_of_classes_count_patches_of_annotated_recordings(annotated: Path, several: bool) -> None:
    clips = Segments(str(annotated / "events.csv"), str(annotated))
    frontend = replace(tiny.FRONTEND, trim="none", max_length_s=20)
    data = PatchDataModule(clips, frontend, multi_label=several, test_fold=1, cache_workers=1)
    data.setup()
    target = data.datasets["train"].patch_targets
    model = ClipClassifier(tiny.TinyNet(2), frontend, class_weights=True)
    model.task = data.task
    found = model._class_weight(data).numpy()
    counts = target.sum(axis=0) if several else np.bincount(target)
    expected = (len(target) - counts) / counts if several else len(target) / (2 * counts)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not several or (found > 1).all(), "each class is on in less than half of the patches"


# ---- a folder per class -----------------------------------------------------------------------------------


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("hiss", "buzz", "click"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for number in range(6):
            sf.write(tmp_path / "sounds" / name / f"{number}.wav", 0.1 * generator.normal(size=16000), 16000)
    overrides = [item for item in SMALL if not item.startswith("data")]
    config = tiny.composed(
        *overrides, "data=folder", f"data.clips.root={tmp_path / 'sounds'}", "data.val_fraction=0.2", folder=tmp_path
    )
    pipeline.run(config, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    clips = open_classifier(tmp_path / "model_int8.onnx").card.data["clips"]
    assert sorted(name for own in clips.values() for name in own) == [
        f"{name}/{number}.wav" for name in ("buzz", "click", "hiss") for number in range(6)
    ]
    data = partial(PatchDataModule, clips=Folder(str(tmp_path / "sounds")), cache_workers=1)
    again = evaluate(str(tmp_path / "model_int8.onnx"), data, str(tmp_path / "again"))
    assert again["data/test_clips"] == metrics["data/test_clips"] == len(clips["test"])
    assert again["test_int8/loss"] == metrics["test_int8/loss"]
