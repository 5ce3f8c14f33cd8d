"""Help pages: of the code as it is, complete, true, and cheap to print."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import aed
from aed import __main__ as console
from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.run import docstrings, explain, help, manual, reference, registry
from aed.run.cli import STAGES
from aed.run.doctor import CHECKS
from aed.settings.command_line import check_options, with_others
from aed.settings.typed import as_typed, with_files

VERBS = sorted(reference.CONFIGS)
STARTS = {"train": [[f"experiment={name}"] for name in registry.experiments()]}
PAGES = Path(__file__).parents[1] / "docs" / "reference"


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    for name in ("train", *registry.FUNCTIONS):
        registry.register_verb(name)


def composed(verb: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        return compose(reference.CONFIGS.get(verb, verb), overrides=overrides)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["aed", *arguments])
    console.main()


# ---- the file ------------------------------------------------------------------------------------------------


def ours(content: dict[str, Any]) -> dict[str, Any]:
    """Without keys whose words another release of a library may change."""
    return {verb: [entry for entry in entries if "library" not in entry] for verb, entries in content["verbs"].items()}


def test_keys_are_those_of_the_code(computes: None) -> None:
    current, stored = reference.content(), json.loads(help.KEYS.read_text(encoding="utf-8"))
    advice = "run: python -m aed.run.reference"
    if all(version(name) == stored["versions"][name] for name in reference.LIBRARIES):
        assert reference.written(current) == help.KEYS.read_text(encoding="utf-8"), advice
    assert ours(current) == ours(stored), advice


def test_pages_of_the_documentation_are_those_of_the_keys() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    assert written == manual.documents(), "run: python -m aed.run.reference"


# ---- complete ------------------------------------------------------------------------------------------------


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a mapping without keys is a value."""
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.usefixtures("computes")
def test_every_key_of_every_experiment_is_explained(verb: str) -> None:
    page, markdown = help.page(verb, is_full=True), manual.document(verb)
    groups = {entry["key"].replace("/", "."): entry["key"] for entry in help.entries(verb) if "options" in entry}
    for start in STARTS.get(verb, [[]]):
        for key, _ in flat(OmegaConf.to_container(composed(verb, start), resolve=False)):
            typed = "model" if key == "model_file" else groups.get(key, key)
            assert re.search(rf"^  {re.escape(typed)}=", page, re.MULTILINE), key
            assert f"| `{typed}` |" in markdown, key
    for entry in help.entries(verb):
        assert entry["meaning"] and entry["type"], entry["key"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_usual_page_has_every_key_of_ours(verb: str) -> None:
    page = help.page(verb)
    for entry in help.entries(verb):
        lines = page.count("\n".join(help.entry_lines(entry)))
        usual = entry["key"] in help.USUAL.get(verb, ())
        assert lines >= 1 or "library" in entry, entry["key"]
        assert lines == 0 or usual or "library" not in entry, entry["key"]
    assert ("--help all" in page) == (verb == "train")


@pytest.mark.parametrize("verb", VERBS)
def test_no_key_is_listed_twice(verb: str) -> None:
    keys = [(entry["key"].replace("/", "."), entry.get("with", [None])) for entry in help.entries(verb)]
    settings = [(key, option) for key, options in keys for option in options]
    assert len(settings) == len(set(settings))
    groups = {entry["key"].replace("/", ".") for entry in help.entries(verb) if "options" in entry}
    assert all([key for key, _ in keys].count(group) == 1 for group in groups)


def test_the_most_used_keys_come_first() -> None:
    keys = [entry["key"] for entry in help.entries("train")]
    page = help.page("train")
    assert 15 <= len(help.USUAL["train"]) <= 25 and set(help.USUAL["train"]) <= set(keys)
    first = page.partition("Most used keys")[2].partition("\nKeys\n")[0]
    assert re.findall(r"^  (\S+?)=", first, re.MULTILINE) == list(help.USUAL["train"])
    assert len(page.splitlines()) < len(help.page("train", is_full=True).splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_a_sweep_is_an_option_of_training_alone(verb: str) -> None:
    assert ("\n  -m " in help.page(verb)) == ("| `-m` |" in manual.document(verb)) == (verb == "train")


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_are_what_a_configuration_has(verb: str) -> None:
    start = ["~experiment"] if verb == "train" else []
    config = dict(flat(OmegaConf.to_container(composed(verb, start), resolve=False)))
    chosen = {f"data={name}" for name in ("esc10",)} | {"frontend=yamnet_64x96", "model/net=yamnet"}
    checked = 0
    for entry in help.entries(verb):
        key = "model_file" if entry["key"] == "model" and "options" not in entry else entry["key"]
        is_here = not ("with" in entry and chosen.isdisjoint(entry["with"]))
        if key not in config or "options" in entry or not is_here:
            continue
        if "default" not in entry:
            assert config[key] == "???", key
        elif "<" not in entry["default"]:
            parsed = OverridesParser.create().parse_override(f"key={entry['default']}")
            assert parsed.value() == config[key], key
            checked += 1
    assert checked or verb == "import_model" or len(config) < 4


@pytest.mark.usefixtures("computes")
def test_what_an_experiment_changes_is_what_it_composes() -> None:
    told = {
        (name, entry["key"]): value
        for entry in help.entries("train")
        for name, value in entry.get("experiments", {}).items()
    }
    assert told["esc10_yamnet", "trainer.max_epochs"] == "8" and told["esc10_bcresnet", "model/net"] == "bcresnet"
    for name in registry.experiments():
        config = composed("train", [f"experiment={name}"])
        for (other, key), value in told.items():
            if other == name and "/" not in key and "<" not in value and not isinstance(config.get(key), DictConfig):
                parsed = OverridesParser.create().parse_override(f"key={value}").value()
                assert OmegaConf.select(config, key) == parsed, (name, key)


# ---- true ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*VERBS, "cli", "doctor", "help"])
@pytest.mark.usefixtures("computes")
def test_examples_can_be_typed(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = help.door(verb)
    assert own.summary and own.usage and len(own.examples) == 3
    for line in own.usage:
        assert line.startswith(f"aed {verb}")
    for command, text in own.examples:
        assert text
        program, name, *words = shlex.split(command.replace("<date_time>", "now").partition(" > ")[0])
        assert (program, name) == ("aed", verb)
        if verb == "cli":
            assert words[0] in STAGES
        elif verb == "doctor":
            assert set(words) <= {check.name for check in CHECKS}
        elif verb == "help":
            assert all(explain.explain(word) for word in words)
        else:
            form = words.pop(0) if verb == "data" else verb
            registry.register_verb(reference.CONFIGS.get(form, form))
            words = [word for word in words if word != "-m"]
            if verb == "search":
                words = with_others(words, {entry["key"] for entry in help.entries(verb)}, "training")
            words = [word for word in words if verb != "data" or "=" in word]  # a folder by itself sets no key
            words = (
                with_files(words)
                if verb in ("compare", "report", "predict", "detect", "import_model", "migrate")
                else words
            )
            composed(
                form,
                [
                    word.partition(",")[0] if "fold=" in word else word
                    for word in as_typed(words, reference.CONFIGS.get(form, form))
                ],
            )


def test_every_door_has_a_page_and_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    doors = {path.stem for path in Path(console.__file__).parent.glob("[a-z]*.py")}
    assert set(help.verbs()) == doors >= {*VERBS, "cli", "doctor", "help"}
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        run(monkeypatch, *arguments)
        assert capsys.readouterr().out == help.overview() + "\n"
    for verb in doors:
        assert re.search(rf"^  {verb} ", help.overview(), re.MULTILINE)


@pytest.mark.parametrize("verb", [*VERBS, "cli", "doctor", "help"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_a_door_prints_its_page(
    verb: str, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, verb, option)
    assert capsys.readouterr().out == help.page(verb) + "\n"
    monkeypatch.setattr(sys, "argv", [f"{verb}.py", option])
    importlib.import_module(f"aed.{verb}").main()
    assert capsys.readouterr().out == help.page(verb) + "\n"


def test_the_page_in_full_is_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "train", "--help", "all")
    assert capsys.readouterr().out == help.page("train", is_full=True) + "\n"
    monkeypatch.setattr(sys, "argv", ["train.py", "--help", "all"])
    importlib.import_module("aed.train").main()
    assert capsys.readouterr().out == help.page("train", is_full=True) + "\n"


def test_the_first_command_needs_no_data() -> None:
    lines = help.overview().splitlines()
    assert lines[lines.index("Start with") + 1].startswith("  aed predict model=yamnet_audioset x.wav")
    told = [line.strip() for line in lines if line.strip()]
    assert len(told) == len(set(told))


def test_the_meaning_of_split_says_what_it_is_in_the_order_of_its_choices() -> None:
    (split,) = [entry for entry in help.entries("train") if entry["key"] == "data.split"]
    assert split["meaning"].startswith("How clips are divided into train, val and test: ")
    assert re.findall(r"(\w+): ", split["meaning"])[1:] == split["choices"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("trian", "aed train"), ("evalute", "aed evaluate"), ("import", "aed import_model"), ("xyz", "there are data")],
)
def test_an_unknown_verb_names_the_nearest(word: str, nearest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=f"{word}: there is no such verb; .*{nearest}"):
        run(monkeypatch, word)


def test_a_verb_runs_as_a_module_whose_command_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def record(word: str) -> str:  # Lightning starts further processes by this name and these arguments
        seen.append((sys.modules["__main__"].__spec__.name, sys.argv[1:], word))
        return ""

    monkeypatch.setattr(explain, "explain", record)
    run(monkeypatch, "help", "seed")
    assert seen == [("aed.help", ["seed"], "seed")]


# ---- a key ---------------------------------------------------------------------------------------------------

ENTRIES = {
    "train": [
        {
            "key": "data", "type": "choice", "default": "esc10", "meaning": "Data set.",
            "options": {"esc10": "ESC-10.", "folder": "A folder per class."},
        },
        {
            "key": "data.split", "type": "choice", "choices": ["folds", "random"], "default": "folds",
            "meaning": "How clips are divided.", "defaults": {"data=folder": "random"},
            "experiments": {"demo": "random"},
        },
        {"key": "data.clips.root", "type": "str", "meaning": "The folder | of folders.", "with": ["data=folder"]},
        {"key": "model.optimizer.lr", "type": "float", "default": "0.001", "meaning": "Rate.", "library": "torch"},
        {"key": "seed", "type": "int", "default": "0", "meaning": "Seed."},
    ],
    "evaluate": [
        {"key": "model", "type": "str", "meaning": "A file."},
        {"key": "seed", "type": "int", "default": "0", "meaning": "Seed.", "file": "configs/x.yaml"},
    ],
}  # fmt: skip


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(help, "content", lambda: {"verbs": ENTRIES})
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("few")
def test_a_page_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(help, "USUAL", {"train": ("data.split",)})
    assert help.page("train").partition("Choices of files")[2].splitlines() == [
        " and classes",
        "  data=esc10",
        "      Data set.",
        "      esc10, folder",
        "",
        "Most used keys; the others follow",
        "  data.split=folds  (folds, random)",
        "      How clips are divided.",
        "      random with data=folder",
        "",
        "Keys",
        "  seed=0  (int)",
        "      Seed.",
        "",
        "Keys data.clips.*",
        "  data.clips.root=...  (str)  required",
        "      The folder | of folders.",
        "      only with data=folder",
        "",
        "aed train --help all adds the keys of torch. aed help <key> says which verbs take a key and what the",
        "experiments set, aed help data. what is below data.",
    ]
    foreign = ["Keys model.optimizer.*", "  model.optimizer.lr=0.001  (float)", "      Rate."]
    assert help.page("train", is_full=True).splitlines()[-6:-2] == [*foreign, ""]
    row = "| `data.clips.root` | required | str | The folder \\| of folders. Only with `data=folder`. |"
    assert row in manual.document("train").splitlines()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("word", "lines"),
    [
        (
            "data.split",
            [
                "data.split=folds  (folds, random)",
                "    How clips are divided.",
                "    default random with data=folder",
                "    experiments: demo random",
                "    taken by: aed train",
            ],
        ),
        ("lr", ["model.optimizer.lr=0.001  (float)", "    Rate.", "    taken by: aed train"]),
        ("optimizer.lr=3", ["model.optimizer.lr=0.001  (float)", "    Rate.", "    taken by: aed train"]),
        ("model", ["model=...  (str)  required", "    A file.", "    taken by: aed evaluate"]),
        (
            "seed",
            [
                "seed=0  (int)", "    Seed.", "    taken by: aed train",
                "seed=0  (int)", "    Seed.", "    default from configs/x.yaml", "    taken by: aed evaluate",
            ],
        ),
        (
            "data=",
            ["data=esc10", "    Data set.", "      esc10: ESC-10.", "      folder: A folder per class.",
             "    taken by: aed train", "", "Keys below it: data.clips.root, data.split"],
        ),
        ("data.clips.*", ["data.clips.root=...  (str)  required", "    The folder | of folders.",
                          "    only with data=folder", "    taken by: aed train"]),
    ],
)  # fmt: skip
def test_a_key_is_explained(word: str, lines: list[str]) -> None:
    start = [*lines, ""] if word == "model" else lines
    assert explain.explain(word).splitlines()[: len(lines)] == start[: len(lines)]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("word", "near"), [("data.splt", "data.split"), ("sed", "seed"), ("rooot", "data.clips.root"), ("trian", "train")]
)
def test_an_unknown_key_names_the_nearest(word: str, near: str) -> None:
    with pytest.raises(AedError, match=rf"^{word}: no verb or key; did you mean aed help {near}\?"):
        explain.explain(word)
    assert explain.explain(near)


def test_a_verb_is_its_page_and_a_key_of_its_name_is_named() -> None:
    assert explain.explain("train") == help.page("train")
    first = "aed help data= explains the key data, aed help data. lists the keys below it."
    assert explain.explain("data") == f"{first}\n\n{help.page('data')}"
    assert explain.explain("data=").startswith("data=esc10\n")
    assert "\n  data.split=folds " in explain.explain("data.") and explain.explain("data.") == explain.explain("data.*")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        (
            "unknown_threshold",
            [
                "unknown_threshold=null  (float or null)\n",
                "Keys of that name elsewhere\n  decision.unknown_threshold=null  (float or null)  aed train\n",
                "\n  deploy.stm32.unknown_threshold=null  (float or null)  aed train\n  stm32.unknown_threshold=null",
                "\n  predict.unknown_threshold=null  (float or null)  aed train\n",
            ],
        ),
        ("board", ["board=mps2-an505", "\n  budget.board=null", "\n  stm32.board=", "\n  benchmark.board="]),
        ("tool", ["tool=null", "\n  benchmark.stedgeai.tool=null", "\n  stm32.tool=null", "  aed deploy\n"]),
        ("folder", ["folder=", "taken by: aed benchmark"]),
        ("class_names", ["class_names=null", "\n  data.class_names=null", "\n  data.clips.class_names=null"]),
        (
            "threshold",
            ["model.scheduler.threshold=0.0001", "Keys with threshold in their name: ", "decision.thresholds"],
        ),
        (
            "yamnet",
            ["yamnet is no key", "\n  model/net=yamnet  aed train\n", "\n  experiment=esc10_yamnet  aed train\n"],
        ),
        ("esc10_yamnet", ["\n  experiment=esc10_yamnet  aed train\n"]),
        ("learning_rate", ["meaning has it\n  model.optimizer.lr=0.001  (float)  aed train\n      Learning rate."]),
        ("class", ["Keys with class in their name\n", "\n  data.class_names=", "\n  model.class_weights="]),
    ],
)
def test_a_word_leads_to_all_keys_that_it_may_mean(
    word: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = explain.explain(word)
    assert all(part in text for part in parts), text
    assert len(text.splitlines()) < 60


def test_where_nothing_is_near_the_verbs_are_listed() -> None:
    with pytest.raises(AedError, match=r"^xyzzy: no verb, key or choice, .*; the verbs are data, train, .*help$"):
        explain.explain("xyzzy")
    with pytest.raises(AedError, match=r"did you mean aed help model/optimizer\?"):
        explain.explain("optimiser")


def test_an_unknown_key_ends_the_command_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"no verb or key; did you mean aed help data\.split"):
        run(monkeypatch, "help", "data.splitt")


# ---- cheap, and without an experiment ------------------------------------------------------------------------

HEAVY = {"torch", "lightning", "hydra", "omegaconf", "numpy", "pandas", "onnx", "onnxruntime", "mlflow", "rich", "yaml"}
LOADED = """
import sys
from aed.__main__ import main
for arguments in {commands}:
    sys.argv = ["aed", *arguments]
    main()
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


def test_help_imports_the_standard_library_alone(tmp_path: Path) -> None:
    commands = [[], *([verb, "--help"] for verb in [*VERBS, "cli", "doctor", "help"]), ["help", "seed"]]
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(commands=commands)], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    loaded = set(ended.stderr.split())
    assert "aed" in loaded and loaded & HEAVY == set()


def test_a_reader_of_a_pipe_may_end_early() -> None:
    command = f"{shlex.quote(sys.executable)} -m aed train --help"
    ended = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert ended.stderr == "" and ended.stdout.splitlines() == [help.page("train").splitlines()[0], "0"]


def test_a_page_appears_in_any_encoding() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "aed", "help", "model.optimizer.ns_steps"]
    ended = subprocess.run(command, capture_output=True, env=environment)
    assert ended.returncode == 0 and ended.stderr == b"" and b"ns_steps=5" in ended.stdout


def test_the_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"aed {aed.__version__}\n"


# ---- before anything heavy is imported -----------------------------------------------------------------------


def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, *words: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", [f"{verb}.py", *words])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"aed.{verb}").main()
    output = capsys.readouterr()
    assert output.out == "" and isinstance(ended.value.code, int)
    return ended.value.code, output.err


@pytest.mark.parametrize("words", [[], ["seed=1"], ["-m", "seed=1,2"]])
def test_train_without_an_experiment_lists_them(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = refused(capsys, monkeypatch, "train", *words)
    first, *lines = text.partition("\n\n")[0].splitlines()
    assert code == 1 and first == "experiment: choose one, experiment=<name>"
    assert [line.split()[0] for line in lines] == registry.experiments()
    assert all(len(line.split()) > 3 for line in lines), "each says what it is"
    assert help.door("train").usage[0] in text and "aed train --help" in text


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("predict", "aed predict: give model=... and files=..."),
        ("predict model=x.onnx format=csv", "aed predict: give files=..."),
        ("predict a.wav", "aed predict: give model=..."),
        ("evaluate split=all", "aed evaluate: give model=..."),
        ("benchmark", "aed benchmark: give model=..."),
        ("deploy", "aed deploy: give model=..."),
        ("import_model", "aed import_model: give files=..."),
    ],
)
def test_a_verb_without_what_it_needs_says_so(
    line: str, first: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, *words = line.split()
    code, text = refused(capsys, monkeypatch, verb, *words)
    assert code == 1 and text.splitlines()[0] == first
    assert help.door(verb).usage[0] in text and text.endswith(f"aed {verb} --help explains it, with examples.\n")


@pytest.mark.parametrize(
    ("line", "words_are_files"),
    [
        ("evaluate model=x.onnx", False),
        ("evaluate modl=x.onnx", False),  # did you mean model
        ("evaluate x.onnx", False),  # did you mean model=x.onnx
        ("evaluate --cfg job", False),
        ("evaluate --hydra-help", False),
        ("predict model_file=x.onnx -", True),
        ("predict model=x.onnx files=[a.wav]", True),
        ("train experiment=", False),
        ("train ~experiment", False),
        ("train demo", False),
    ],
)
def test_what_only_the_configuration_can_judge_is_left_to_it(line: str, words_are_files: bool) -> None:
    verb, *words = line.split()
    check_options(words, f"aed {verb}")
    assert help.missing(verb, words, words_are_files) == ""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("predict --hlep", "aed predict: no option --hlep; see aed predict --help"),
        ("predict model=x.onnx a.wav --hlep=3", "aed predict: no option --hlep; see aed predict --help"),
        ("train -x experiment=demo", "aed train: no option -x; see aed train --help"),
        ("train --cfg", "aed train: --cfg needs one of job, hydra, all"),
        ("train --cfg -m", "aed train: --cfg needs one of job, hydra, all"),
        ("train --cfg=jobs", "aed train: --cfg needs one of job, hydra, all, got jobs"),
        ("train --config-name", "aed train: --config-name needs a value"),
        ("data inspect --bogus", "aed data: no option --bogus; see aed data --help"),
    ],
)
def test_an_option_that_is_none_ends_in_one_line(
    line: str, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(capsys, monkeypatch, *line.split()) == (2, f"{text}\n")


@pytest.mark.parametrize(
    "line", ["-m seed=1,2", "--multirun", "--cfg job --resolve", "-c=all", "--package model --cfg job", "--info", "-sc"]
)
def test_options_of_hydra_are_let_through(line: str) -> None:
    check_options(line.split(), "aed train")


REFUSED = """
import sys
from aed.__main__ import main
for arguments in {commands}:
    sys.argv = ["aed", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert ended.code
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def test_a_refusal_imports_the_standard_library_alone(tmp_path: Path) -> None:
    needy = ["train", "predict", "evaluate", "benchmark", "deploy", "import_model"]
    commands = [*([verb] for verb in needy), *([verb, "--bogus"] for verb in needy)]
    ended = subprocess.run(
        [sys.executable, "-c", REFUSED.format(commands=commands)], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert "aed" in ended.stdout.split() and set(ended.stdout.split()) & HEAVY == set()


# ---- docstrings ----------------------------------------------------------------------------------------------


class Base:
    """A base.

    Args:
        first (int, optional): Of the base (default: 3). More of it.
        second: Of the :class:`~base.Base`; spans
            two lines.
    """

    def __init__(self, first: int = 3, second: str = "x") -> None: ...


class Derived(Base):
    """A class.

    Args:
        second: Its own ``text``.

    Raises:
        first: Nothing.
    """


def test_arguments_of_docstrings() -> None:
    assert docstrings.arguments(Base)["first"] == docstrings.Argument("int", "Of the base (default: 3). More of it.")
    derived = {name: docstrings.plain(own.text) for name, own in docstrings.arguments(Derived).items()}
    assert derived == {"first": "Of the base (default: 3). More of it.", "second": "Its own text."}
    assert docstrings.plain(docstrings.arguments(Base)["second"].text) == "Of the Base; spans two lines."
    assert docstrings.arguments(lambda value: value) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learning rate (default: 1e-3). A tensor is not", "Learning rate."),
        ("term added to x\n  (default: (0.9, 0.99))", "Term added to x."),
        ("Log every step. Default: ``50``.", "Log every step."),
        ("decay. Default: 1.0.", "Decay."),
        ("v1.5 of `On this`_ at 3. 5 is more", "V1.5 of On this at 3. 5 is more."),
        ("ESC-10 (K. J. Piczak, 2015): 400 clips. More", "ESC-10 (K. J. Piczak, 2015): 400 clips."),
        ("", ""),
    ],
)
def test_first_sentences(text: str, sentence: str) -> None:
    assert docstrings.first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (str | None, "str or null"),
        (list[str] | None, "list of str or null"),
        (tuple[float, float], "list of float"),
        (float | Base | None, "float or null"),
        (Path, "path"),
        (Base, ""),
    ],
)
def test_types_in_words(annotation: Any, text: str) -> None:
    assert docstrings.type_text(annotation) == text
