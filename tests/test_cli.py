"""LightningCLI: the numbers of aed train with the same values, its own folders, mistakes in one line."""

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml

from aed.base.errors import AedError, find_aed_error
from aed.run import pipeline
from aed.run.cli import AedCLI

pytestmark = pytest.mark.usefixtures("trains")

VALUES = {
    "data.clips.class_names": "[alarm,hum,rain]",
    "data.clips.sources_per_class": "5",
    "data.clips.takes_per_source": "1",
    "data.val_fold": "4",
    "data.train_patches": "random",
    "model.net.dropout": "0.3",
    "model.augment.mixup": "0.4",
    "trainer.max_epochs": "3",
    "trainer.accelerator": "cpu",
    "quantization.n_calibration": "12",
}
"""Settings with draws of every kind; the schedule is as long as the training."""

FRONTEND = {"n_mels": "16", "patch_frames": "32"}
FILES = ("val_clips.csv", "test_clips.csv", "decision.json")
OPTIONS = [
    *(f"--{key}={value}" for key, value in VALUES.items()),
    *(f"--data.frontend.{key}={value}" for key, value in FRONTEND.items()),
    "--trainer.logger=MetricsCsv",
    "--trainer.logger.save_dir={output_dir}",
    "--trainer.logger.name=",
    "--trainer.logger.version=",
]


def cli(*words: str) -> AedCLI:
    try:
        return AedCLI(list(words))
    except Exception as error:
        raise find_aed_error(error) or error from error


def with_hydra(folder: Path, *overrides: str) -> dict[str, float]:
    words = [f"{key}={value}" for key, value in VALUES.items()]
    words += [f"frontend.{key}={value}" for key, value in FRONTEND.items()]
    config = tiny.composed("experiment=demo", *words, "logger=csv", "seed=3", *overrides, folder=folder)
    return pipeline.run(config, folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def metrics(folder: Path) -> dict[str, float]:
    return {key: own for key, own in json.loads((folder / "metrics.json").read_text()).items() if key != "fit/seconds"}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AED_CLI_FOLDER", "")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run of aed train and one of aed cli, each trained and tested."""
    base = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("AED_CLI_FOLDER", "")
        patch.chdir(base)
        with_hydra(base / "hydra", "stages=[fit,test]")
        cli("fit", "--experiment", "demo", *OPTIONS, "--seed_everything", "3")
        (own,) = Path("outputs/demo").iterdir()
        cli("test", "--ckpt_path", f"{own}/checkpoints/best.ckpt")
        yield base / "hydra", base / own


def test_numbers_are_those_of_the_hydra_run(folders):
    hydra, own = folders
    assert metrics(own) == metrics(hydra) and metrics(own)["fit/epochs"] == 3
    assert {"val/clip_acc", "val/temperature", "test/loss", "test/clip_acc/hum"} <= metrics(own).keys()
    for file in ("best.ckpt", "last.ckpt"):
        ours, theirs = (torch.load(run / "checkpoints" / file, weights_only=True) for run in (own, hydra))
        assert ours["state_dict"].keys() == theirs["state_dict"].keys() and ours["aed"] == theirs["aed"]
        assert all(torch.equal(ours["state_dict"][key], value) for key, value in theirs["state_dict"].items())
    assert [(own / file).read_bytes() for file in FILES[:2]] == [(hydra / file).read_bytes() for file in FILES[:2]]
    decisions = [json.loads((run / "decision.json").read_text())["decision"] for run in folders]
    assert decisions[0] == decisions[1]
    epochs = [[row for row in csv.DictReader((run / "metrics.csv").open()) if row["train/loss"]] for run in folders]
    assert len(epochs[1]) >= 3
    assert epochs[1] == [{key: row[key] for key in epochs[1][0]} for row in epochs[0]]


def test_another_seed_gives_other_numbers(folders):
    cli("fit", "--config", f"{folders[1]}/config.yaml", "--seed_everything=4", "--output_dir=other")
    assert metrics(Path("other"))["train/loss"] != metrics(folders[1])["train/loss"]


def test_a_saved_configuration_gives_the_same_run_again(folders):
    cli("fit", "--config", f"{folders[1]}/config.yaml")
    (again,) = Path("outputs/demo").iterdir()
    assert metrics(again).items() <= metrics(folders[1]).items()
    first, second = (yaml.safe_load((run / "config.yaml").read_text()) for run in (folders[1], again))
    assert first == second and first["experiment"] == "demo"


def test_a_printed_configuration_is_one_to_start_from(capsys):
    with pytest.raises(SystemExit) as end:
        cli("fit", "--experiment", "demo", "--trainer.max_epochs=7", "--print_config")
    assert end.value.code == 0
    text = capsys.readouterr().out
    Path("mine.yaml").write_text(text)
    for words, epochs in (([], 7), (["--trainer.max_epochs=2"], 2)):
        parsed = parse("fit", "--config", "mine.yaml", *words)
        scheduler = parsed.model.init_args.scheduler.init_args
        assert parsed.trainer.max_epochs == epochs == scheduler.decay_steps
        assert scheduler.initial_lr == 0.003 and parsed.experiment == "demo"


def test_what_is_exported_is_what_the_pipeline_exports(folders):
    hydra, own = folders
    before = contents(own)
    cli("export", "--ckpt_path", f"{own}/checkpoints/best.ckpt", "--output", "sub/net.onnx")
    with_hydra(
        Path("exported"), "stages=[export,quantize,evaluate]", f"ckpt_path={hydra}/checkpoints/best.ckpt",
    )  # fmt: skip
    for ours, theirs in (("net.onnx", "model.onnx"), ("net_int8.onnx", "model_int8.onnx")):
        assert Path("sub", ours).read_bytes() == Path("exported", theirs).read_bytes()
    assert contents(own) == before, "results of earlier runs stay"


def test_posteriors_are_printed_with_file_names(folders, capsys):
    own = folders[1]
    cli("predict", "--ckpt_path", f"{own}/checkpoints/best.ckpt")
    assert capsys.readouterr().out.replace("\r\n", "\n") == (own / "test_clips.csv").read_text()
    cli("predict", "--ckpt_path", f"{own}/checkpoints/best.ckpt", "--split=val", "--output=val.csv")
    assert Path("val.csv").read_bytes() == (own / "val_clips.csv").read_bytes()
    assert not capsys.readouterr().out and not Path("outputs").exists()


def test_validation_scores_the_validation_set_alone_in_a_folder_of_its_own(folders):
    own = folders[1]
    before = contents(own)
    cli("validate", "--ckpt_path", f"{own}/checkpoints/best.ckpt")
    (folder,) = Path("outputs/demo").iterdir()
    found = metrics(folder)
    assert {key: value for key, value in metrics(own).items() if key.startswith("val/")}.items() <= found.items()
    assert not any(key.startswith("test/") for key in found)
    cli("test", "--ckpt_path", f"{own}/checkpoints/best.ckpt")  # a second time
    assert contents(own) == before and len(list(Path("outputs/demo").iterdir())) == 2


def test_a_training_goes_on_where_it_was_stopped(folders):
    words = ("fit", "--config", f"{folders[1]}/config.yaml", "--output_dir=half")
    with pytest.raises(KeyboardInterrupt):

        class Stopped(AedCLI):
            def fit(self, ckpt_path: str | None = None) -> None:
                """Trains for two epochs of three."""
                self.trainer.fit_loop.max_epochs = 2
                super().fit(ckpt_path)
                raise KeyboardInterrupt

        Stopped(list(words))
    with pytest.raises(AedError, match=r"--output_dir: half holds an earlier run.*--ckpt_path half/checkpoints/last"):
        cli(*words)
    cli(*words, "--ckpt_path=half/checkpoints/last.ckpt")
    ends = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (Path("half"), folders[1])]
    assert ends[0]["epoch"] == ends[1]["epoch"] == 2
    assert all(torch.equal(ends[0]["state_dict"][key], value) for key, value in ends[1]["state_dict"].items())


def test_without_an_experiment_it_says_what_it_trains(caplog):
    caplog.set_level("INFO")
    data = [own for own in OPTIONS if own.startswith("--data")]
    cli("fit", "--data.clips=Synthetic", *data, "--model.net=tiny.TinyNet", "--trainer.max_epochs=1",
        "--trainer.logger=false", "--trainer.accelerator=cpu")  # fmt: skip
    assert re.search(r"nothing is pretrained and nothing frozen, all 1\d\d parameters.*--experiment", caplog.text)
    (folder,) = Path("outputs/lightning_cli").iterdir()
    assert (folder / "checkpoints/best.ckpt").is_file()
    assert f"test --ckpt_path {folder.absolute()}/checkpoints/best.ckpt" in caplog.text


def test_a_checkpoint_of_other_settings_is_refused_in_words_to_type(folders):
    best = f"{folders[1]}/checkpoints/best.ckpt"
    with pytest.raises(AedError, match=r"add .*--data\.frontend\.n_mels=16") as caught:
        cli("test", "--experiment=demo", "--ckpt_path", best)
    added = re.findall(r"--\S+", str(caught.value).partition(" add ")[2])
    cli("test", "--experiment=demo", *OPTIONS, *added, "--ckpt_path", best, "--output_dir=tested")
    assert metrics(Path("tested"))["test/loss"] == metrics(folders[1])["test/loss"]


def parse(*words: str) -> Any:
    """What is parsed, without doing anything."""

    class ParseOnly(AedCLI):
        def before_instantiate_classes(self) -> None: ...

        def instantiate_classes(self) -> None: ...

        def _run_subcommand(self, subcommand: str) -> None: ...

    return ParseOnly(list(words)).settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit --experiment esc10_yamnett", r"need one of demo, .*; did you mean --experiment esc10_yamnet\?"),
        ("fit --experiment demo --trainer.max_epoch=3", r"did you mean --trainer\.max_epochs=3\?"),
        ("fit --experiment demo --trainer.max_epochs=big", r"--trainer\.max_epochs: need a whole number, got big"),
        ("fit --experiment demo --data.split=kfold", r"--data\.split: need one of .*'folds'.*, got kfold"),
        ("fit --experiment demo --model.net.widht=3", r"--model\.net\.widht: there is no such option"),
        ("fit --experiment demo --model.net=YAMNett", r"did you mean --model\.net=YAMNet\?"),
        ("fit --experiment demo --model.optimizer.lrr=1", r"did you mean --model\.optimizer\.lr\?"),
        ("fit --experiment demo --data.frontend.n_mel=4", r"did you mean --data\.frontend\.n_mels\?"),
        ("fit --experiment demo --model.augment.mixu=1", r"did you mean --model\.augment\.mixup\?"),
        ("fit --experiment demo --data.seed=4", r"--data\.seed: is set by another option; use --seed_everything"),
        ("fit --experiment demo --model.net.num_classes=4", r"use --data\.class_names"),
        ("fit --experiment demo --quantization.methd=qat", r"did you mean --quantization\.method=qat\?"),
        ("fit --experiment demo --config seed.yaml", r"data\.seed: is set by another option; use --seed_everything"),
        ("fit --experiment demo --config mels.yaml", r"--data\.frontend\.n_mel: there is no such option"),
        ("fit --config none.yaml", r"--config: File does not exist"),
        ("fit", r"needs --data\.clips, or --experiment"),
        ("test", r"test: needs --ckpt_path"),
        ("test --ckpt_path none.ckpt", r"none\.ckpt: no such checkpoint"),
        ("fitt", r"need one of fit, validate, test, predict, export, got 'fitt'"),
        ("", r"need one of fit, validate"),
    ],
)
def test_mistakes_are_named_in_one_line(words, message):
    Path("seed.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"seed": 4}}}))
    Path("mels.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"frontend": {"n_mel": 4}}}}))
    with pytest.raises(AedError, match=message) as caught:
        parse(*words.split())
    assert "\n" not in str(caught.value)


def test_a_second_process_writes_where_the_first_one_does(monkeypatch, folders):
    monkeypatch.setenv("LOCAL_RANK", "1")
    words = ("fit", "--config", f"{folders[1]}/config.yaml")

    class Chosen(AedCLI):
        def instantiate_classes(self) -> None: ...

        def _run_subcommand(self, subcommand: str) -> None: ...

    with pytest.raises(AedError, match="--output_dir: several processes need one folder"):
        Chosen(list(words))
    monkeypatch.setenv("AED_CLI_FOLDER", "/of/the/first")
    chosen = Chosen(list(words))
    assert chosen.folder == Path("/of/the/first") and not os.path.lexists("/of")
    assert chosen.settings.trainer.callbacks[0].init_args.dirpath == "/of/the/first/checkpoints"
