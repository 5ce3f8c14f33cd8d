"""What is typed arrives: through Hydra's own parser, composition and sweeper."""

import copy
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, StringNode

from aed.base.errors import find_aed_error
from aed.base.overrides import quoted
from aed.base.paths import CONFIG_DIR
from aed.run import registry
from aed.settings.hydra_errors import check_words, explain
from aed.settings.typed import _Known, as_typed

pytestmark = pytest.mark.usefixtures("processes")

for verb in ("train", *registry.FUNCTIONS):
    registry.register_verb(verb)

CHOICES = {
    "train": ["experiment=demo", "data=folder"],
    "evaluate": ["data=segments"],
    "predict": ["frontend=yamnet_64x96"],
    "inspect": ["data=esc_csv"],
    "deploy": ["data=dcase"],
    "benchmark": [],
    "import_model": [],
    "migrate": [],
}
PHASES = (Phase.explicit, Phase.generate)  # to shrink dozens of texts at once takes minutes
HYDRAS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.job.name")


def composed(verb: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        return compose(verb, overrides=overrides, return_hydra_config=True)


@lru_cache
def base(verb: str) -> DictConfig:
    """What a verb's own choices give."""
    return composed(verb, CHOICES[verb])


def arrived(verb: str, arguments: list[str]) -> DictConfig:
    """The configuration with values of the command line, without composing it anew for each of hundreds of texts."""
    made = copy.deepcopy(base(verb))
    ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(arguments), made)
    return made


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs whose configuration was composed to read the command line; of the choices of each, one stands."""
    made: list[str] = []
    of = lru_cache(_Known.of)

    def known(verb: str, overrides: Sequence[str]) -> _Known:
        made.append(verb)
        choices = tuple(item for item in CHOICES[verb] if item in overrides)
        return of(verb, choices if set(choices) == set(CHOICES[verb]) else tuple(overrides))

    monkeypatch.setattr(_Known, "of", known)
    return made


def text_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in node:
        child = node._get_node(name)
        if isinstance(child, StringNode) and name != "_target_":
            yield f"{prefix}{name}"
        elif isinstance(child, DictConfig) and name != "hydra" and not (child._is_none() or child._is_interpolation()):
            yield from text_keys(child, f"{prefix}{name}.")


KEYS = {verb: [*text_keys(base(verb)), *HYDRAS] for verb in CHOICES}

MARKS = "()[]{},=:;'\"\\$%&|<>*?!#@^~+-_ ./\täöß犬ai0123e\N{COMBINING DIAERESIS}"
NASTY = (
    "snd (2)", "res (1).csv", "a,b", "a=b", "it's", '"', "\\", "C:\\data\\snd (2)\\", "a\\'b", "$HOME", "a$", ",",
    "1e3", "1_000", "007", "0x10", "true", "False", "nan", "inf", "[a,b]", "{a: 1}", "range(1,3)", "glob(*)", "${",
    "choice(a,b)", "int(3)", " a ", "a  b", "/([^/-]+)-(?:\\d,)?", "'a' b", "a'b'", "\\${x}", "a\nb", "str(${x)",
    "$x{y}", "+1", "-", "=", "~",
)  # fmt: skip
WORDS = st.sampled_from(NASTY) | st.text(MARKS, min_size=1, max_size=10) | st.text(min_size=1, max_size=6)


def is_text(value: str) -> bool:
    """Whether a value means nothing but itself: no null, no reference, not in Hydra's quotes."""
    is_in_quotes = len(value.strip()) > 1 and value.strip()[0] == value.strip()[-1] and value.strip()[0] in "'\""
    is_reference = re.search(r"\$\{.*\}", value, re.DOTALL)
    return not (is_in_quotes or is_reference or value.strip().lower() in ("null", "???"))


TEXT = WORDS.filter(is_text)


@pytest.mark.parametrize("verb", sorted(CHOICES))
@pytest.mark.usefixtures("compositions")
@settings(max_examples=8, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.data())
def test_text_of_every_key_of_every_verb_arrives_as_it_is_typed(verb: str, source: st.DataObject) -> None:
    typed = {key: source.draw(TEXT) for key in source.draw(st.sets(st.sampled_from(KEYS[verb]), max_size=9))}
    arguments = [f"{'model' if key == 'model_file' else key}={value}" for key, value in typed.items()]
    number = len(CHOICES[verb])
    quoted_ones = as_typed([*CHOICES[verb], *arguments], verb)
    assert quoted_ones[:number] == CHOICES[verb]
    made = arrived(verb, quoted_ones[number:])
    assert {key: OmegaConf.select(made, key) for key in typed} == typed


def test_the_keys_of_paths_are_texts() -> None:
    paths = {
        "train": {"ckpt_path", "output_dir", "data.clips.root", "data.cache_dir", "data.unseen"},
        "evaluate": {"model_file", "folder", "data.clips.csv", "data.clips.audio_dir", "data.cache_dir"},
        "predict": {"model_file", "output"},
        "inspect": {"report", "data.clips.csv", "data.clips.val_csv", "data.clips.label_separator"},
        "deploy": {"model_file", "folder", "stm32.project", "data.clips.meta"},
        "benchmark": {"model_file", "folder", "stedgeai.tool"},
        "import_model": {"folder", "st_config"},
        "migrate": {"folder"},
    }
    for verb, own in paths.items():
        assert own <= set(KEYS[verb]), verb


@pytest.mark.usefixtures("compositions")
@settings(max_examples=25, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, max_size=4))
def test_texts_in_hydras_quotes_and_lists_arrive(names: list[str]) -> None:
    given_ = f"[{','.join(map(quoted, names))}]"
    (*_, made) = as_typed([*CHOICES["predict"], f"files={given_}"], "predict")
    assert list(arrived("predict", [made]).files) == names


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("[dog,rain]", ["dog", "rain"]),
        ("[dog (big),it's, hum [50 Hz],a=b]", ["dog (big)", "it's", "hum [50 Hz]", "a=b"]),
        ("[1e3,true,007,größe]", ["1e3", "true", "007", "größe"]),
        ("['a,b',\"c d\"]", ["a,b", "c d"]),
        ("['it\\'s',x]", ["it's", "x"]),
        ("[]", []),
        ("null", None),
        ("dog", ["dog"]),
        ("dog (big)", ["dog (big)"]),
    ],
)
@pytest.mark.usefixtures("compositions")
def test_lists_of_text(value: str, names: list[str] | None) -> None:
    (*_, made) = as_typed([*CHOICES["train"], f"data.class_names={value}"], "train")
    assert arrived("train", [made]).data.class_names == names


@pytest.mark.parametrize(
    ("typed", "key", "expected"),
    [
        ("ckpt_path=null", "ckpt_path", None),
        ("'data.cache_dir=\"a b\"'", "data.cache_dir", "a b"),
        ("data.cache_dir='a,b'", "data.cache_dir", "a,b"),
        ("\"data.cache_dir='a, b'\"", "data.cache_dir", "a, b"),
        ("'data.cache_dir=${output_dir}/x (1)'", "data.cache_dir", "out (2)/x (1)"),
        ("'data.cache_dir=${oc.env:AED_TYPED,\"none (1)\"}'", "data.cache_dir", "none (1)"),
        ("seed=7", "seed", 7),
        ("data.test_fold=null", "data.test_fold", None),
        ("stages=[fit,test]", "stages", ["fit", "test"]),
        ("'frontend.log_offset=1e-3'", "frontend.log_offset", 0.001),
        ("decision.unknown=true", "decision.unknown", True),
    ],
)
def test_what_means_something_keeps_its_meaning(typed: str, key: str, expected: Any) -> None:
    made = as_typed(["experiment=demo", "output_dir=out (2)", *shlex.split(typed)], "train")
    assert OmegaConf.select(composed("train", made), key) == expected


def jobs(*arguments: str) -> list[list[str]]:
    """The overrides of the jobs of a sweep."""
    made = [item for item in as_typed(["-m", *arguments], "train") if item != "-m"]
    split = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(made), None)
    return [job for batch in split for job in batch]


def test_sweeps_stay_sweeps() -> None:
    assert jobs("experiment=demo", "data.test_fold=1,2") == [
        ["experiment=demo", "data.test_fold=1"], ["experiment=demo", "data.test_fold=2"],
    ]  # fmt: skip
    assert len(jobs("experiment=demo", "seed=range(1,4)", "data.split=random,source")) == 6
    assert len(jobs("experiment=demo", "data.class_names=[rain,hum],[rain,alarm]")) == 2
    roots = [composed("train", job).data.clips.root
             for job in jobs("experiment=demo", "data=folder", "data.clips.root=snd (1),it's,'a,b'")]  # fmt: skip
    assert roots == ["snd (1)", "it's", "a,b"]


@pytest.mark.usefixtures("compositions")
@settings(max_examples=20, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT.filter(lambda value: "," not in value and not re.search(r"(range|glob|choice|interval)\(", value)))
def test_text_arrives_in_each_job_of_a_sweep(value: str) -> None:
    both = jobs(*CHOICES["train"], f"data.cache_dir={value}", "seed=1,2")
    assert len(both) == 2 and arrived("train", both[1][2:]).data.cache_dir == value


@pytest.mark.usefixtures("compositions")
@settings(max_examples=30, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text("ab\\d.^|?+", max_size=4), min_size=2, max_size=3),
    st.lists(
        st.sampled_from([r"\d{1,4}", "[a,b]", r"(?:\d{1,2},)?", "{2,}", "[^,]+", "(x[,]y)"]), min_size=1, max_size=2
    ),
)
def test_commas_in_brackets_separate_no_jobs(words: list[str], inner: list[str]) -> None:
    value = "/(" + words[0] + ")" + inner[0] + words[1] + inner[-1]
    (job,) = jobs(*CHOICES["train"], f"data.clips.source_pattern={value}")
    assert arrived("train", job[2:]).data.clips.source_pattern == value
    both = jobs(*CHOICES["train"], f"data.clips.source_pattern={value},{value}x")
    assert [arrived("train", job[2:]).data.clips.source_pattern for job in both] == [value, f"{value}x"]


def test_sweeps_over_lists_of_texts() -> None:
    made = jobs(*CHOICES["train"], "data.class_names=[dog (big, brown),it's],[rain,hum]")
    names = [arrived("train", job[2:]).data.class_names for job in made]
    assert names == [["dog (big, brown)", "it's"], ["rain", "hum"]]
    assert (
        len(jobs("seed=choice(1,2,3)")) == 3 and len(jobs("experiment=demo", "data.split=choice(random,source)")) == 2
    )


@pytest.mark.parametrize(
    ("arguments", "is_composed"),
    [
        ([*CHOICES["train"], "data.clips.root=sounds/a", "trainer.max_epochs=3", "model.optimizer.lr=1e-3"], False),
        (["ckpt_path=null", "data.cache_dir='a b'", "seed=7", "stages=null"][:3], False),
        (["data.cache_dir=1e3"], True),
        (["data.cache_dir=true"], True),
        (["data.cache_dir=snd (2)"], True),
        (["data.class_names=dog"], True),
        (["hydra.run.dir=x"], True),
    ],
)
def test_only_what_may_be_misread_makes_it_compose_twice(
    compositions: list[str], arguments: list[str], is_composed: bool
) -> None:
    made = as_typed(arguments, "train")
    assert bool(compositions) == is_composed and (is_composed or made == arguments)


def test_what_exists_is_meant_as_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for odd in ("a,b", "${x}", "'q'", "[l]"):
        (tmp_path / odd).touch()
        (made,) = (job for job in jobs("experiment=demo", f"data.cache_dir={odd}"))
        assert composed("train", made).data._get_node("cache_dir") == odd


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("data.batchsize=3", "data.batch_size=3"),
        ("batch_size=8", "data.batch_size=8"),
        ("lr=0.1", "model.optimizer.lr=0.1"),
        ("data.clips.rot=snd (2)", "data.clips.root=snd (2)"),
        ("sed=1", "seed=1"),
        ("callbacks.checkpoint.monitr=x", "callbacks.checkpoint.monitor=x"),
        ("demo", "experiment=demo"),
        ("esc_csv", "data=esc_csv"),
    ],
)
def test_a_key_that_does_not_exist_names_the_nearest_which_can_be_typed(typed: str, advice: str) -> None:
    start = ["experiment=demo", "data=folder"]
    with pytest.raises(Exception) as caught:  # as run_task does it
        check_words([typed], CONFIG_DIR)
        composed("train", as_typed([*start, typed], "train"))
    said = find_aed_error(caught.value) or explain(caught.value, CONFIG_DIR)
    (offered,) = shlex.split(str(said).partition("did you mean ")[2].removesuffix("?"))[:1]
    assert str(said).startswith(typed.partition("=")[0]) and offered == advice
    assert as_typed([*start, offered], "train")


def test_options_added_keys_and_unknown_configurations_are_left_alone() -> None:
    for arguments in (
        ["--cfg", "job", "experiment=demo", "+new.key=1", "++seed=3", "~logger"],
        ["-cp", "elsewhere", "-cn", "config.yaml", "hydra.run.dir=x"],
        ["experiment=nothing", "seed=1"],
        ["experiment=demo", "model/net=user", "model.net._target_=mine.Net", "model.net.any=1"],
    ):
        assert as_typed(arguments, "train") == arguments
