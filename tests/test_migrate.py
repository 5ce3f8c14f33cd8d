"""Configurations of ST's zoo to experiments: every key and quirk of each generation, what is wrong, what is hostile."""

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml
import zoo_configs as zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.run.migrate import Migration, migrate, migration
from aed.run.stages import MODES
from aed.run.zoo.document import read_document
from aed.run.zoo.keys import KEYS, KINDS
from aed.run.zoo.literals import evaluated


def value(made: Migration, key: str) -> Any:
    """A value of an experiment; None if it is not there."""
    node: Any = made.tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def choice(made: Migration, group: str) -> str | None:
    return next((own[f"override /{group}"] for own in made.tree["defaults"] if f"override /{group}" in own), None)


def of(folder: Path, text: str, **options: Any) -> Migration:
    (folder / "user_config.yaml").write_text(text, encoding="utf-8")
    return migration(folder / "user_config.yaml", **options)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def kind_of(made: Migration, path: str) -> str:
    return next(note.kind for note in made.notes if note.path == path)


# --- every key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("text", [*zoo.FULL.values(), zoo.ON_TARGET], ids=[*zoo.FULL, "on_target"])
def test_every_key_of_a_file_gets_one_word(tmp_path: Path, text: str, exact: bool) -> None:
    made = of(tmp_path, text, exact=exact)
    assert [note.path for note in made.notes] == zoo.paths(yaml.safe_load(text))
    assert {note.kind for note in made.notes} <= KINDS.keys() and all(note.text for note in made.notes)


@pytest.mark.parametrize("generation", zoo.FULL)
def test_the_generation_shows_in_the_keys(tmp_path: Path, generation: str) -> None:
    assert of(tmp_path, zoo.FULL[generation]).generation == generation


def test_the_files_of_these_tests_have_every_key_there_is(tmp_path: Path) -> None:
    seen: set[str] = set()
    extra = "training: {resume_training_from: x.h5, epochs: 1, batch_size: 1}\n"
    for text in (*zoo.FULL.values(), zoo.ON_TARGET, extra, "general: {model_path: x.h5}"):
        (tmp_path / "c.yaml").write_text(text)
        seen |= read_document(tmp_path / "c.yaml").leaves.keys()
    assert KEYS - seen == {"training.optimizer"} - seen


def test_all_modes_of_version_4_are_modes_here() -> None:
    chains = {"chain_tbqeb", "chain_tqe", "chain_tqeb", "chain_eqe", "chain_qb", "chain_eqeb", "chain_qd"}
    single = {"training", "evaluation", "prediction", "deployment", "quantization", "benchmarking"}
    assert set(MODES) == chains | single
    assert MODES["chain_tqeb"] == ("fit", "export", "quantize", "evaluate", "benchmark")


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("end", ["h5", "keras", "tflite", "onnx"])
@pytest.mark.usefixtures("computes")
def test_every_mode_with_every_kind_of_model_has_commands(tmp_path: Path, mode: str, end: str) -> None:
    is_training = mode in ("training", "chain_tqe", "chain_tqeb", "chain_tbqeb")
    model = None if is_training else f"models/a b.{end}"
    made = of(tmp_path, zoo.changed("v3", operation_mode=mode, general__model_path=model))
    assert made.commands and all(word.startswith("aed ") for word in made.commands)
    if not is_training:
        has_model = any("a b" in word for word in made.commands)
        of_a_file = mode in ("evaluation", "prediction", "benchmarking")
        of_int8 = of_a_file or mode == "deployment"
        assert has_model == {"h5": True, "keras": True, "tflite": of_int8, "onnx": of_a_file}[end]


V3_VALUES = {
    "seed": 7,
    "data.seed": 9,
    "trainer.deterministic": True,
    "data.class_names": ["Rain", "clock_tick", "dog"],
    "data.clips.csv": "meta/train.csv",
    "data.clips.audio_dir": "audio",
    "data.clips.val_csv": "meta/val.csv",
    "data.clips.test_csv": "meta/test.csv",
    "data.clips.calibration_csv": None,
    "data.garbage_class": True,
    "data.garbage_per_class": 2,
    "model.augment.noise_std": 0.1,
    "model.augment.min_gain": 0.8,
    "model.augment.max_gain": 1.25,
    "model.augment.freq_masks": 1,
    "model.augment.freq_mask_width": 3,
    "model.augment.time_masks": 2,
    "model.augment.time_mask_width": 4,
    "model.net.version": "v2",
    "model.net.n_stacks": 2,
    "model.net.pooling": "none",
    "model.pretrained": False,
    "model.net.dropout": 0.2,
    "data.batch_size": 8,
    "trainer.max_epochs": 3,
    "model.optimizer.lr": 0.01,
    "model.optimizer.momentum": 0.9,
    "model.optimizer.nesterov": True,
    "trainer.gradient_clip_val": 1.0,
    "trainer.gradient_clip_algorithm": "norm",
    "model.scheduler.max_lr": 0.005,
    "callbacks.early_stopping.monitor": "val/loss",
    "callbacks.early_stopping.mode": "min",
    "callbacks.early_stopping.patience": 3,
    "quantization.io": "int8",
    "quantization.per_channel": False,
    "quantization.calibration": "averaged",
    "benchmark.board": "stm32h747i-disco",
    "benchmark.target": "stedgeai",
    "benchmark.stedgeai.optimization": "ram",
    "benchmark.stedgeai.tool": "/opt/stedgeai",
    "operation_mode": "chain_tbqeb",
}


@pytest.mark.parametrize(("key", "expected"), V3_VALUES.items())
@pytest.mark.usefixtures("computes")
def test_values_of_version_3(tmp_path_factory: pytest.TempPathFactory, key: str, expected: Any) -> None:
    made = of(tmp_path_factory.mktemp("v3"), zoo.V3)
    assert value(made, key) == expected
    assert (choice(made, "model/optimizer"), choice(made, "model/scheduler")) == ("SGD", "LRWarmupCosineDecay")


@pytest.mark.usefixtures("computes")
def test_ends_ranges_and_garbage_have_a_counterpart(tmp_path: Path) -> None:
    for ends, io in ((("int8", "float"), "int8_in"), (("int8", "uint8"), "int8"), (("float", "int8"), "float")):
        given_ends = dict(zip(("input", "output"), ends, strict=True))
        keys = {f"quantization__quantization_{end}_type": kind for end, kind in given_ends.items()}
        made = of(tmp_path, zoo.changed("v4", **keys))
        assert value(made, "quantization.io") == io
        kinds = {kind_of(made, f"quantization.quantization_{end}_type") for end in given_ends}
        assert kinds == ({"mapped"} if io != "float" else {"mapped", "none"})
    for is_averaged, calibration in ((True, "averaged"), (False, "minmax")):
        made = of(tmp_path, zoo.changed("v4", quantization__onnx_extra_options={"CalibMovingAverage": is_averaged}))
        assert value(made, "quantization.calibration") == calibration
        assert kind_of(made, "quantization.onnx_extra_options.CalibMovingAverage") == "mapped"
    for number, kind in ((7, "mapped"), (0, "better")):
        made = of(tmp_path, zoo.changed("v3", dataset__n_samples_per_garbage_class=number))
        assert value(made, "data.garbage_per_class") == (number or None)
        assert kind_of(made, "dataset.n_samples_per_garbage_class") == kind
    with pytest.raises(AedError, match="need a number of clips, got -1"):
        of(tmp_path, zoo.changed("v3", dataset__n_samples_per_garbage_class=-1))
    made = of(tmp_path, zoo.changed("v4", benchmarking__board="NUCLEO-U3C5ZI-Q"))
    assert value(made, "benchmark.board") == "nucleo-u3c5zi-q"
    assert value(made, "benchmark.target") == "stedgeai", "nobody says that ST's cloud has it"


@pytest.mark.parametrize(
    ("target", "board", "words"),
    [
        ("host", "STM32N6570-DK", ""),
        ("stedgeai_host", "B-U585I-IOT02A", "on=board board=b-u585i-iot02a"),
        ("stedgeai_host", None, "on=board board=b-u585i-iot02a"),
        ("stedgeai_n6", None, "on=board board=stm32n6570-dk serial=serial"),
        ("stedgeai_n6", "B-U585I-IOT02A", "on=board board=stm32n6570-dk serial=serial"),
    ],
)
@pytest.mark.parametrize(("mode", "verb"), [("evaluation", "evaluate"), ("prediction", "predict")])
@pytest.mark.usefixtures("computes")
def test_a_board_that_evaluates_or_predicts_is_a_word_of_the_command(
    tmp_path: Path, mode: str, verb: str, target: str, board: str | None, words: str
) -> None:
    keys = {f"{mode}__target": target, "benchmarking__board": board, "operation_mode": mode}
    made = of(tmp_path, zoo.changed("v4", **keys, model__model_path="m.onnx"))
    [command] = made.commands
    assert command.startswith(f"aed {verb} model=m.onnx") and " ".join(made.commands[0].split()).endswith(words)
    assert ("on=board" in command) == (target != "host") and kind_of(made, f"{mode}.target") == "mapped"
    if words:
        assert value(made, f"{verb}.on") == "board" and value(made, f"{verb}.board") in words
        chain = of(tmp_path, zoo.changed("v4", **keys | {"operation_mode": "chain_tqe"}))
        assert value(chain, "evaluate.on") == ("board" if verb == "evaluate" else None)


def test_values_of_2023(tmp_path: Path) -> None:
    made = of(tmp_path, zoo.V2023)
    assert value(made, "model.scheduler.factor") == 0.1 and value(made, "model.scheduler.patience") == 14
    assert value(made, "callbacks.early_stopping.patience") == 20
    assert value(made, "model.optimizer.lr") == 0.002 and value(made, "trainer.max_epochs") == 4
    assert value(made, "operation_mode") == "chain_tqeb" and value(made, "benchmark.board") == "b-u585i-iot02a"
    assert value(made, "data.clips.audio_dir") == "../audio" and value(made, "data.garbage_class") is True
    assert (value(made, "data.split"), value(made, "data.test_fold"), value(made, "data.val_fold")) == ("folds", 5, 4)


def test_shares_of_2023_are_of_what_is_left(tmp_path: Path) -> None:
    made = of(tmp_path, zoo.V2023, exact=True)
    assert value(made, "data.test_fraction") == 0.2 and value(made, "data.val_fraction") == pytest.approx(0.08)
    assert value(made, "frontend.trim") == "compatible" and "sample_bits" in value(made, "frontend")


def test_values_of_version_4(tmp_path: Path) -> None:
    made = of(tmp_path, zoo.V4)
    assert (value(made, "frontend"), choice(made, "frontend")) == ({"cut": "after"}, "yamnet_64x96")
    assert kind_of(made, "model.pretrained") == "better", "the weights were trained with another offset"
    scratch = of(tmp_path, zoo.changed("v4", model__pretrained=False))
    assert value(scratch, "frontend") == {"cut": "after", "log_offset": 1e-6}
    assert value(made, "model.optimizer") == {"lr": 0.003, "betas": [0.8, 0.999]}
    assert value(made, "seed") == 120 and value(made, "data.seed") == 123, "0 means 123 there"
    assert value(made, "data.clips.audio_dir") == "${oc.env:AUDIO}/audio"
    assert value(made, "model.monitor") == "val/patch_acc" and value(made, "model.scheduler.min_lr") == 1e-5
    assert kind_of(made, "preprocessing.trim_last_second") == "unread"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yamnet_e256", {"embedding_size": 256}),
        ("yamnet_e1024", {"embedding_size": 1024, "weights": "google"}),
        ("miniresnetv1_s1", {"version": "v1", "n_stacks": 1, "pooling": "none"}),
        ("miniresnetv2_s2_ap", {"version": "v2", "n_stacks": 2, "pooling": "avg"}),
    ],
)
def test_names_of_models_of_version_4(tmp_path: Path, name: str, expected: dict[str, Any]) -> None:
    made = of(tmp_path, zoo.changed("v4", model__model_name=name, model__pretrained=name.startswith("yamnet")))
    assert value(made, "model.net") == expected | {"dropout": 0.0}


def test_plateau_falls_in_the_epoch_in_which_that_of_keras_falls(tmp_path: Path) -> None:
    made = of(tmp_path, zoo.V4)
    settings_of = dict(value(made, "model.scheduler"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings_of)
    accuracies = [0.1, 0.5, 0.5, 0.4, 0.50005, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    best, wait, rate, keras, ours = -1.0, 0, 1.0, [], []
    for accuracy in accuracies:  # the rule of keras.callbacks.ReduceLROnPlateau: patience 5, factor 0.5, min_delta 1e-4
        if accuracy > best + 1e-4:
            best, wait = accuracy, 0
        else:
            wait += 1
            if wait >= 5:
                rate, wait = rate * 0.5, 0
        keras.append(rate)
        schedule.step(accuracy)
        ours.append(optimizer.param_groups[0]["lr"])
    assert ours == keras and len(set(keras)) > 2


# --- the file that is written ---------------------------------------------------------------------------------------


def test_a_training_of_a_migrated_file_runs(tmp_path: Path, trains: None) -> None:
    csv, audio = _sounds(tmp_path)
    text = zoo.changed(
        "v3", operation_mode="chain_tqe", training__model={"name": "custom", "pretrained_weights": False},
        dataset__training_csv_path=str(csv), dataset__training_audio_path=str(audio), dataset__validation_csv_path=...,
        dataset__validation_audio_path=..., dataset__test_csv_path=..., dataset__test_audio_path=...,
        dataset__quantization_csv_path=..., dataset__quantization_audio_path=..., dataset__validation_split=0.25,
        dataset__class_names=["a", "b"], training__epochs=1, dataset__use_garbage_class=False,
        mlflow__uri="./mlruns", evaluation__target="host",
    )  # fmt: skip
    (tmp_path / "user_config.yaml").write_text(text)
    made = migrate([str(tmp_path / "user_config.yaml")])[0]
    words = [
        *shlex.split(made.commands[0])[1:],
        "logger=csv",
        "threads=1",
        "hydra.run.dir=run",
        "callbacks.progress=null",
    ]
    command = [sys.executable, "-m", "aed", *words, "trainer.accelerator=cpu", "quantization.n_calibration=4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "model_int8.onnx").is_file()


def _sounds(folder: Path) -> tuple[Path, Path]:
    rows, rng = ["filename,category"], np.random.default_rng(0)
    (folder / "audio").mkdir()
    for number in range(16):
        sf.write(folder / "audio" / f"{number}.wav", rng.uniform(-0.5, 0.5, 16000), 16000)
        rows.append(f"{number}.wav,{'ab'[number % 2]}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv", folder / "audio"


def test_forty_files_take_seconds(tmp_path: Path, computes: None) -> None:
    files = []
    for number in range(40):
        files.append(tmp_path / f"c{number}.yaml")
        files[-1].write_text(list(zoo.FULL.values())[number % 3])
    started = time.monotonic()
    made = migrate([str(file) for file in files], folder=str(tmp_path / "out"), notes=False)
    print(f"{time.monotonic() - started:.1f} s")
    assert len({own.path for own in made}) == 40 and all(own.path.is_file() for own in made)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(zoo.V3)
    made = migrate([str(tmp_path / "c.yaml")])[0]
    migrate([str(tmp_path / "c.yaml")])  # the same content
    made.path.write_text("mine")
    with pytest.raises(AedError, match=r"c_aed\.yaml: is there already"):
        migrate([str(tmp_path / "c.yaml")])
    assert made.path.read_text() == "mine"


def test_nothing_is_written_where_one_of_several_files_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(zoo.V3)
    (tmp_path / "b.yaml").write_text(zoo.changed("v3", general__projekt="x"))
    with pytest.raises(AedError, match=r"b.yaml: general.projekt: no key .* did you mean"):
        migrate([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")], folder=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# --- what is wrong --------------------------------------------------------------------------------------------------

WRONG = [
    (zoo.changed("v3", training__lerning_rate=1), "training.lerning_rate: no key of ST's zoo; did you mean"),
    (zoo.changed("v3", trainig={"epochs": 3}), "trainig.epochs: no key .* training.epochs"),
    (zoo.changed("v3", pre_processing={"top_db": 3}), "keys of different versions"),
    (zoo.changed("v4", training__model={"name": "yamnet"}), "keys of different versions"),
    (zoo.changed("v3", operation_mode="chain_tqx"), "operation_mode: no mode chain_tqx; did you mean chain_tq"),
    (zoo.changed("v3", training__epochs="many"), "training.epochs: need a number, got 'many'"),
    (zoo.changed("v3", training__epochs=2.5), "training.epochs: need a whole number"),
    (zoo.changed("v3", training__epochs=0), "cannot run: trainer.max_epochs"),
    (zoo.changed("v3", training__fine_tune="maybe"), "training.fine_tune: need True or False"),
    (zoo.changed("v3", training__dropout=float("nan")), "training.dropout: need a number"),
    (zoo.changed("v3", dataset__class_names="dog"), "class_names: need a list of names"),
    (zoo.changed("v3", dataset__class_names=["a", "a"]), "class_names: a twice"),
    (zoo.changed("v3", dataset__class_names=["a", True]), "class_names: need a list of names.*quotes"),
    (zoo.changed("v3", dataset__class_names=["a", "other"]), "use_garbage_class: class_names has a class 'other'"),
    (zoo.changed("v3", dataset__validation_split=1.5), "validation_split: need a share"),
    (zoo.changed("v3", dataset__test_csv_path=...), "test_audio_path: a folder without its test_csv_path"),
    (zoo.changed("v3", dataset__training_audio_path=...), "training_csv_path: a list without the folder"),
    (zoo.changed("v3", dataset__name="esc11"), "dataset.name: need one of .* did you mean esc10"),
    (zoo.changed("v3", deployment__unknown_class_threshold=0.5), "unknown_class_threshold: and use_garbage_class"),
    (zoo.changed("v3", general__model_path="a.h5", training__resume_training_from="b.h5"), "two models to start from"),
    (zoo.changed("v3", training__optimizer={"Adam": {}, "SGD": {"learning_rate": 1}}), None),
    (
        zoo.changed("v3", training__optimizer={"Adam": {"learning_rate": 1}, "SGD": {"learning_rate": 1}}),
        "one optimizer",
    ),
    (zoo.changed("v3", training__optimizer={"Ftrl": {"learning_rate": 1}}), "Ftrl: torch has no such optimizer"),
    (zoo.changed("v3", training__optimizer={"Adam": {"learning_rate": "fast"}}), "learning_rate: need a number"),
    (
        zoo.changed("v3", training__callbacks__ReduceLROnPlateau={"factor": 0.5}),
        "LRWarmupCosineDecay and ReduceLROnPlateau both set the learning rate",
    ),
    (zoo.changed("v3", training__callbacks__TensorBoard={"log_dir": "x"}), "TensorBoard is refused by the zoo"),
    (zoo.changed("v3", training__callbacks__LRWarmupCosineDecay__hold_stps=1), "hold_stps"),
    (
        zoo.changed("v3", training__model__n_stacks=3, training__model__pretrained_weights=True),
        "no weights of this net",
    ),
    (zoo.changed("v3", training__model__version="v3"), "version: need v1 or v2"),
    (zoo.changed("v3", training__model__name="yamnt"), "model.name: need one of .* did you mean yamnet"),
    (zoo.changed("v4", model__model_name="yamnet_e300"), "model.model_name: need one of"),
    (zoo.changed("v3", feature_extraction__overlap=1.0), "frontend.overlap"),
    (zoo.changed("v3", feature_extraction__n_fft="[512]"), "n_fft|another type"),
    (zoo.changed("v3", preprocessing=None), "no section preprocessing"),
    (zoo.changed("v3", quantization__granularity="per_layer"), "granularity: need one of"),
    (zoo.changed("v4", feature_extraction__fmax=7000), "was trained on features with f_max=7500.* train from scratch"),
    (zoo.changed("v3", mlflow__uri="http://h/${oc.env:HOME}"), r"need no \$\{...\} but \$\{NAME\}"),
    (
        "general: {project_name: a}\ngeneral: {project_name: b}",
        "general: stands twice with different values, .* line 2",
    ),
    ("1: 2", "need a text as key"),
    ("[1, 2]", "need sections of keys"),
    ("", "need sections of keys"),
    ("general: [", "cannot be read"),
    ("training: {epochs: 1}", "a training needs training_csv_path"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "user_config.yaml"
    path.write_text(text)
    if message is None:  # an empty mapping is nothing
        assert migrate([str(path)])
        return
    with pytest.raises(AedError, match=message) as error:
        migrate([str(path)])
    assert "\n" not in str(error.value) and names(tmp_path) == ["user_config.yaml"]


# --- what is hostile ------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{number}: &b{number} {{{', '.join(f'k{own}: *{source}' for own in range(10))}}}\n"
    for number, source in enumerate(["a", *(f"b{number}" for number in range(9))])
)

HOSTILE = [
    zoo.changed("v3", training__epochs="__import__('os').system('touch pwned')"),
    zoo.changed("v3", training__optimizer="__import__('os').system('touch pwned')"),
    zoo.changed("v3", training__optimizer="Adam(learning_rate=open('pwned', 'w'))"),
    zoo.changed("v3", training__epochs="9**9**9"),
    zoo.changed("v3", training__epochs="(" * 900),
    zoo.changed("v3", training__epochs="-" * 999 + "1"),
    zoo.changed("v3", training__epochs=10**400),
    zoo.changed("v3", general__global_seed=10**30),
    zoo.changed("v3", dataset__class_names=["a", "b\nc"]),
    zoo.changed("v3", dataset__class_names=["a", "${oc.env:HOME}"]),
    zoo.changed("v3", dataset__training_csv_path="x\ny: 1"),
    zoo.changed("v3", dataset__training_csv_path="${oc.decode:'1'}"),
    zoo.changed("v3", benchmarking__board="../../etc/passwd", operation_mode="x\x1b[2J"),
    "general: !!python/object/apply:os.system ['touch pwned']",
    "general: !!python/name:os.system ''",
    "a: &a {b: *a}",
    BOMB,
    "x: " + "[" * 3000,
    "x: {" * 2000,
    "general: {project_name: " + "x" * 2_000_000 + "}",
    "\x00\x01",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_refused_in_time_and_nothing_of_them_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user_config.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(AedError) as error:
        migrate(["user_config.yaml"])
    assert "\n" not in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 1000
    assert names(tmp_path) == ["user_config.yaml"] and time.process_time() - started < 60


def test_binary_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(bytes(range(256)))
    for name in ("a.yaml", "nowhere.yaml", "."):
        with pytest.raises(AedError, match="no such file; give" if name == "nowhere.yaml" else "cannot be read"):
            migrate([str(tmp_path / name)])


def test_texts_cannot_leave_their_place_in_the_file_or_in_a_command(tmp_path: Path) -> None:
    path = "a'; touch pwned #\": {x: 1}"
    made = of(tmp_path, zoo.changed("v3", operation_mode="chain_qb", general__model_path=f"{path}.h5",
                                    dataset__training_csv_path=path))  # fmt: skip
    assert yaml.safe_load(made.text) == made.tree and value(made, "data.clips.csv") == path
    for word in made.commands:
        subprocess.run(["sh", "-c", f"aed() {{ :; }}; {word}"], cwd=tmp_path, check=True)
    assert not (tmp_path / "pwned").exists()


def test_a_model_of_the_zoo_without_a_card_gets_exactly_its_own_front_end_and_classes(tmp_path: Path) -> None:
    text = zoo.changed("v4", operation_mode="evaluation", model__model_path="a b.onnx", dataset__use_garbage_class=True)
    words = shlex.split(of(tmp_path, text).commands[0])
    given_words = {word for word in words if word.startswith(("frontend", "class_names", "model"))}
    assert given_words == {
        "model='a b.onnx'", "frontend=yamnet_64x96", "frontend.trim=compatible", "frontend.sample_bits=null",
        "frontend.log_offset=1e-06", "frontend.cut=after", "class_names=[Rain,clock_tick,dog,other]",
    }  # fmt: skip


def test_variables_of_the_environment_are_expanded_by_the_shell_in_commands(tmp_path: Path) -> None:
    model = "${MODELS}/a b.h5"
    made = of(tmp_path, zoo.changed("v3", operation_mode="evaluation", general__model_path=model))
    script = f'MODELS=/m; aed() {{ echo "$2"; }}; {made.commands[0]}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "/m/a b.h5\n"


_NUMBERS = st.integers(0, 1000).map(str) | st.sampled_from(["1.", "0.5", "1e-3", "2.5e3"])
_SUMS = st.recursive(
    _NUMBERS,
    lambda inner: (
        st.builds("({}{}{})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner)
        | st.builds("-{}".format, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=_SUMS)
def test_arithmetic_in_text_is_that_of_python(text: str) -> None:
    try:
        expected = eval(text, {"__builtins__": {}})
    except ZeroDivisionError:
        expected = text
    assert evaluated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(64, 96, 1)", (64, 96, 1)),
        ("True", True),
        ("None", "None"),
        ("abc", "abc"),
        ("[1]", "[1]"),
        ("'a'*9", "'a'*9"),
    ],
)
def test_texts_that_the_zoo_evaluates(text: str, expected: Any) -> None:
    assert evaluated(text) == expected
