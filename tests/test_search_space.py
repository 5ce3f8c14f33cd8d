"""What a search may choose, which of it fits, and what no other point is better than."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_mistakes import say

from aed.base.errors import AedError
from aed.run.registry import register
from aed.run.search import verb
from aed.run.search.costs import Costs, Limits, estimate, limits_of
from aed.run.search.front import OBJECTIVES, dominates, front
from aed.run.search.identity import check_same
from aed.run.search.plan import NET, Plan, middle, point_of, suggest
from aed.run.search.space import Family, Range, check_typed, chosen_families, with_experiment
from aed.run.search.space_file import SPACES, read_space
from aed.run.search.trial import Rival, ahead
from aed.run.search.winners import candidates
from aed.scoring.pictures.pareto import Dot, best_so_far, pareto_figure
from aed.settings.command_line import with_others
from aed.settings.composing import compose_beside
from aed.target.boards import load_board

BOARD = load_board("nucleo-u575zi-q")
FEW = {
    "one": {
        "experiment": "demo",
        "set": {"model/net": "dscnn", "trainer.max_epochs": 2},
        "search": {
            "model.net.channels": [4, 8],
            "model.optimizer.lr": {"low": 0.001, "high": 0.1, "log": True},
            "model.net.n_blocks": {"low": 1, "high": 3},
            "front end": {
                "long": {"frontend.n_mels": 16, "frontend.patch_frames": 32},
                "short": {"frontend.n_mels": 16, "frontend.patch_frames": 16},
            },
        },
    }
}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register()


def written(folder: Path, content: Any) -> str:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(path)


# ---- the space -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "need a mapping, a family of nets each"),
        ({}, "need a mapping"),
        ({"a b": {"experiment": "demo"}}, "need a name of letters"),
        ({"one": {"search": {}}}, "one: need experiment, set and search"),
        ({"one": {"experiment": "demo", "serach": {}}}, "one.serach: need some of experiment, set, search"),
        ({"one": {"experiment": "demo", "set": [1]}}, "one.set: need a mapping of keys"),
        ({"one": {"experiment": "demo", "set": {"model.net._target_": "os.system"}}}, "a class is named on the comm"),
        ({"one": {"experiment": "demo", "set": {"model": {"_target_": "os.system"}}}}, "a class is named on the comm"),
        ({"one": {"experiment": "demo", "set": {"hydra.run.dir": "/"}}}, "hydra.run.dir: the search sets this itself"),
        ({"one": {"experiment": "demo", "search": {"stages": ["fit"]}}}, "stages: the search sets this itself"),
        ({"one": {"experiment": "demo", "search": {"a b": [1]}}}, "'a b' is no key of aed train"),
        ({"one": {"experiment": "demo", "search": {"seed.x;rm": [1]}}}, "is no key of aed train"),
        ({"one": {"experiment": "demo", "search": {"model.net.width": []}}}, "model.net.width: need a list of values"),
        ({"one": {"experiment": "demo", "search": {"model.net.width": [[1]]}}}, "need a list of values"),
        ({"one": {"experiment": "demo", "search": {"model.net.width": [1, 1]}}}, "a value occurs twice"),
        ({"one": {"experiment": "demo", "search": {"model.net.width": [float("nan")]}}}, "need a finite number"),
        ({"one": {"experiment": "demo", "search": {"model.net.width": 3}}}, "need a list of values, {low: 1, high: 8}"),
        ({"one": {"experiment": "demo", "search": {"x": {"low": 2, "high": 2}}}}, "need low under high"),
        ({"one": {"experiment": "demo", "search": {"x": {"low": 1}}}}, "x.high: need a number, got None"),
        ({"one": {"experiment": "demo", "search": {"x": {"low": True, "high": 2}}}}, "x.low: need a number"),
        ({"one": {"experiment": "demo", "search": {"x": {"low": 0, "high": 2, "log": True}}}}, "x.log: need true or"),
        ({"one": {"experiment": "demo", "search": {"x": {"low": 0, "high": 2, "step": 0}}}}, "x.step: need a number"),
        ({"one": {"experiment": "demo", "set": {"x": 1}, "search": {"x": [1]}}}, "x is set or searched twice"),
        ({"one": {"experiment": "demo", "search": {"x": [1], "y": {"a": {"x": 2}}}}}, "x is set or searched twice"),
    ],
)
def test_a_space_that_cannot_be_is_refused_with_its_place(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(AedError) as refused:
        read_space(written(tmp_path, content))
    assert words in str(refused.value) and str(refused.value).startswith("space=")


def test_files_that_are_no_spaces(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"space: need one of \['small'\] or a .yaml file, got 'smal'"):
        read_space("smal")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(AedError, match=r"bad\.yaml: cannot be read"):
        read_space(str(tmp_path / "bad.yaml"))
    (tmp_path / "bad.yaml").write_text("a: !!python/object/apply:os.system [ls]", encoding="utf-8")
    with pytest.raises(AedError, match=r"bad\.yaml: cannot be read"):
        read_space(str(tmp_path / "bad.yaml"))


def test_a_text_of_a_space_stays_a_text(tmp_path: Path) -> None:
    """Nothing of the environment comes into a configuration, and no other key is set."""
    content = {"one": {"experiment": "demo", "set": {"data.clips.root": "${oc.env:HOME} seed=3,'x"}}}
    (family,) = read_space(written(tmp_path, content)).values()
    config = compose_beside("train", [*family.overrides({}), "data=folder", "logger=csv"])
    assert config.data.clips.root == "${oc.env:HOME} seed=3,'x" and config.seed == 0


@pytest.mark.parametrize("name", sorted(path.stem for path in SPACES.glob("*.yaml")))
@pytest.mark.usefixtures("computes")
def test_shipped_spaces_compose_at_every_end(name: str) -> None:
    """Each value of each parameter, the others at random."""
    for family in read_space(name).values():
        for seed in range(2):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
            _, chosen = suggest(study.ask(), {family.name: family})
            config = compose_beside("train", [*family.overrides(chosen), "logger=csv"])
            assert config.model.net._target_.startswith("aed.modules.nets")


def test_what_is_typed_is_no_longer_searched(tmp_path: Path) -> None:
    (family,) = read_space(written(tmp_path, FEW)).values()
    own = family.without(["model.net.channels", "frontend.patch_frames", "trainer.max_epochs"])
    assert [parameter.key for parameter in own.parameters] == ["model.optimizer.lr", "model.net.n_blocks"]
    assert own.fixed == {"model/net": "dscnn"}
    chosen = {"model.net.channels": 8, "model.optimizer.lr": 0.5, "model.net.n_blocks": 2, "front end": "short"}
    assert family.overrides(chosen) == [
        "experiment=demo", "model/net=dscnn", "trainer.max_epochs=2", "model.net.channels=8",
        "model.optimizer.lr=0.5", "model.net.n_blocks=2", "frontend.n_mels=16", "frontend.patch_frames=16",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "value"),
    [
        (Range("x", 0.01, 1.0, log=True), 0.1),
        (Range("x", 1, 3), 2),
        (Range("x", 1, 64, log=True), 8),
        (Range("x", 1, 8, step=3), 4),
        (Range("x", 0.0, 1.0, step=0.25), 0.5),
    ],
)
def test_the_middle_of_a_range(own: Range, value: float) -> None:
    assert middle(own) == pytest.approx(value) and isinstance(middle(own), type(own.low))


@pytest.mark.usefixtures("computes")
def test_the_first_points_are_the_shipped_recipes() -> None:
    families = read_space("small")
    board, limits = BOARD, Limits(None, None, None)
    own = Plan(families, [], board, limits, ("score",), "val/clip_acc", 10, None, 0)
    dscnn, mn04, yamnet = own.first()
    assert dscnn["dscnn/model.net.channels"] == 64 and dscnn["dscnn/front end"] == "64 bands, 10 ms"
    assert mn04["mn04/frontend"] == "mn_96x192" and mn04["mn04/model.net.cut"] == "x13"
    assert yamnet["yamnet/weights"] == "of st" and yamnet["yamnet/model.head_constant"] == pytest.approx(0.1)
    recipe = compose_beside("train", ["experiment=esc10_dscnn", "seed=0", "logger=csv"])
    family, chosen = point_of(dscnn, families)
    assert compose_beside("train", [*own.overrides(family, chosen), "logger=csv"]) == recipe


def test_families_are_chosen_by_name_and_by_the_net_of_an_experiment(tmp_path: Path) -> None:
    families = read_space("small")
    assert list(chosen_families(families, ["mn04"])) == ["mn04"]
    with pytest.raises(AedError, match=r"nets: need some of .*, got 'mn4'; did you mean mn04\?"):
        chosen_families(families, ["mn4"])
    classes = {"esc10_200k": "n.MobileNetAS", "esc10_64k": "n.MobileNetAS", "demo": "n.Other"}
    asked: list[list[str]] = []

    def net_class(overrides: Any) -> str:
        asked.append(list(overrides))
        return classes.get(overrides[0].removeprefix("experiment="), "n.X")

    found = with_experiment(families, "esc10_64k", net_class)
    assert list(found) == ["mn04"] and found["mn04"].experiment == "esc10_64k" and not found["mn04"].fixed
    assert with_experiment(families, "esc10_200k", net_class) == {"mn04": families["mn04"]}
    with pytest.raises(AedError, match="experiment=demo: its net, Other, is in no family"):
        with_experiment(families, "demo", net_class)
    own = {"mine": Family("mine", "demo", {"model/net": "dscnn"}, ())}
    with pytest.raises(AedError, match="is in no family"):
        with_experiment(own, "esc10_64k", net_class)
    assert asked[-1] == ["experiment=demo", "model/net=dscnn"]


@pytest.mark.parametrize("key", ["stages", "hydra.run.dir", "logger.mlflow.run_id", "model/net", "ckpt_path"])
def test_keys_that_a_search_sets_itself_cannot_be_typed(key: str) -> None:
    with pytest.raises(AedError, match=f"^{key}: the s"):
        check_typed(["data.val_fold", key])


def test_words_that_are_no_keys_of_a_verb_are_gathered() -> None:
    own = {"board", "trials"}
    words = ["board=x", "data=folder", "+model.net.width=3", "--cfg", "job", "hydra.run.dir=y", "data.clips.root=it's"]
    kept = ["board=x", "--cfg", "job", "hydra.run.dir=y"]
    quoted = r"train=['data=folder','+model.net.width=3','data.clips.root=it\'s']"
    assert with_others(words, own, "train") == [*kept, quoted]
    assert with_others(["board=x", "--cfg", "job"], own, "train") == ["board=x", "--cfg", "job"]


# ---- what fits -----------------------------------------------------------------------------------------------


def test_limits_are_the_board_s_or_smaller() -> None:
    assert limits_of(BOARD, None, None, 1.0) == Limits(2048, 786, 1.0)
    assert limits_of(BOARD, 128, 64, None) == Limits(128, 64, None)
    with pytest.raises(AedError, match="flash_kib: nucleo-u575zi-q has 2048, got 4096"):
        limits_of(BOARD, 4096, None, None)
    for values in ((0.0, None, None), (None, -1.0, None), (None, None, float("nan"))):
        with pytest.raises(AedError, match="need more than 0"):
            limits_of(BOARD, *values)


@given(
    st.tuples(*[st.floats(0, 300)] * 2, st.one_of(st.none(), st.floats(0, 2))),
    st.tuples(*[st.one_of(st.none(), st.floats(0.5, 200))] * 2, st.one_of(st.none(), st.floats(0.1, 1))),
)
def test_a_point_fits_where_no_figure_is_over_its_limit(
    own: tuple[float, float, float | None], most: tuple[float | None, ...]
) -> None:
    flash, ram, load = own
    limits, costs = Limits(*most), Costs(1.0, 1024 * flash, 1024 * ram, load)
    fits = all(limit is None or value is None or value <= limit for value, limit in zip(own, most, strict=True))
    assert (limits.why_not(costs) == "") == fits
    assert all(share <= 0 for share in limits.excess(costs).values()) == fits


@pytest.mark.usefixtures("computes")
def test_estimates_of_a_net_and_what_has_no_c_form() -> None:
    small = ["experiment=demo", "model/net=dscnn", "model.net.channels=8", "frontend.n_mels=16", "logger=csv"]
    costs = estimate(compose_beside("train", small), 3, BOARD)
    wide = estimate(compose_beside("train", [*small, "model.net.channels=64"]), 3, BOARD)
    assert all(getattr(wide, field.name) > getattr(costs, field.name) for field in dataclasses.fields(Costs))
    twice = estimate(compose_beside("train", [*small, "frontend.overlap=0.5"]), 3, BOARD)
    assert costs.instructions < twice.instructions and twice.load > costs.load
    centred = [*small, "frontend.center=true"]
    with pytest.raises(AedError, match="a device cannot compute this front end"):
        estimate(compose_beside("train", centred), 3, BOARD)


# ---- the front -----------------------------------------------------------------------------------------------

POINT = st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(POINT, max_size=12), st.integers(1, 4))
def test_the_front_is_that_of_brute_force(values: list[tuple[int, ...]], size: int) -> None:
    names = list(OBJECTIVES)[:size]
    points = {number: dict(zip(names, own, strict=False)) for number, own in enumerate(values)}
    best = set()
    for number, own in points.items():  # by the definition, another way round: with the score turned
        ours = [-own["score"], *[own[name] for name in names[1:]]]
        for other in points.values():
            theirs = [-other["score"], *[other[name] for name in names[1:]]]
            if all(a <= b for a, b in zip(theirs, ours, strict=True)) and theirs != ours:
                break
        else:
            best.add(number)
    found = front(points)
    assert set(found) == best and len(found) == len(best)
    scores = [points[number]["score"] for number in found]
    assert scores == sorted(scores, reverse=True)
    assert not any(dominates(own, own) for own in points.values())


@given(st.lists(st.tuples(POINT, st.booleans(), st.integers(-1, 1)), max_size=10))
def test_no_candidate_passes_a_limit_was_cut_or_given_up(
    trials: list[tuple[tuple[int, ...], bool, int]],
) -> None:
    study = optuna.create_study(directions=list(OBJECTIVES.values()))
    for own, is_complete, excess in trials:
        trial = study.ask()
        trial.set_constraint("flash", excess)
        trial.set_user_attr("costs", {"instructions": own[1], "flash_bytes": own[2], "ram_bytes": own[3]})
        if is_complete:
            study.tell(trial, own)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    found = candidates(study.trials, list(OBJECTIVES))
    assert all(study.trials[number].state.name == "COMPLETE" for number in found)
    assert all(study.trials[number].constraints["flash"] <= 0 for number in found)
    # an independent front, Optuna's own
    assert set(found) == {trial.number for trial in study.best_trials}


# ---- giving up -----------------------------------------------------------------------------------------------

CHEAP, DEAR = Costs(1, 1, 1), Costs(2, 2, 2)


@pytest.mark.parametrize(
    ("own", "curve", "share", "found"),
    [
        (DEAR, [0.1, 0.2], 0.5, 7),  # the rival had 0.6 by then
        (DEAR, [0.1, 0.55], 0.5, None),  # within ten points
        (DEAR, [0.7, 0.2], 0.5, None),  # the best epoch counts
        (CHEAP, [0.1, 0.1], 0.5, 7),  # as cheap
        (Costs(0.5, 9, 9), [0.1, 0.1], 0.5, None),  # fewer instructions than the rival
        (DEAR, [0.35], 0.25, None),  # by a quarter the rival had only 0.4
        (DEAR, [0.1], 0.25, 7),
    ],
)
def test_a_training_is_given_up_behind_one_that_costs_no_more(
    own: Costs, curve: list[float], share: float, found: int | None
) -> None:
    assert ahead([Rival(7, CHEAP, [0.4, 0.6, 0.8, 0.9], 0.9)], own, curve, share, 0.1) == found
    assert ahead([], own, curve, share, 0.1) is None


# ---- one search or another ------------------------------------------------------------------------------------


def test_another_search_is_named_by_what_differs() -> None:
    ours = {"board": "a", "flash_kib": "128", "the version of torch": "2.13"}
    check_same(ours, ours, "study")
    with pytest.raises(AedError, match="study is of another search: flash_kib is '64' there and '128' here; give the"):
        check_same(ours | {"flash_kib": "64"}, ours, "study")
    with pytest.raises(AedError, match=r"the version of torch is '2.9' there and '2.13' here; install the same"):
        check_same(ours | {"the version of torch": "2.9"}, ours, "study")
    with pytest.raises(AedError, match="metric is 'x' there and 'not given' here"):
        check_same(json.loads(json.dumps(ours | {"metric": "x"})), ours, "study")


# ---- the picture -----------------------------------------------------------------------------------------------


def test_the_picture_shows_every_trial_and_the_best_at_each_cost() -> None:
    dots = [
        Dot((1.0, 20.0, 5.0), 80.0, "front", "0"),
        Dot((2.0, 30.0, 6.0), 70.0, "other", "1"),
        Dot((3.0, 40.0, 4.0), 90.0, "winner", "2"),
        Dot((2.5, 35.0, 7.0), 60.0, "shipped", "3"),
    ]
    figure = pareto_figure(dots, "val/clip_acc", "a board")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert sum(len(points.get_offsets()) for points in axes.collections) == 4
        assert {text.get_text() for text in axes.texts} == {"0", "2", "3"}
        ticks = [text.get_text() for text in axes.get_xticklabels(which="both") if text.get_text()]
        assert ticks and all(float(text) > 0 for text in ticks), "numbers, for formulas are not read"
    assert best_so_far([(2.0, 70.0), (1.0, 80.0), (3.0, 90.0), (1.0, 60.0)]) == [(1.0, 80.0), (3.0, 90.0)]


def test_a_parameter_of_every_kind_is_suggested_within_its_ends(tmp_path: Path) -> None:
    families = read_space(written(tmp_path, FEW))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        family, chosen = suggest(trial, families)
        assert trial.params[NET] == family.name == "one"
        assert chosen["model.net.channels"] in (4, 8) and chosen["model.net.n_blocks"] in (1, 2, 3)
        assert 0.001 <= chosen["model.optimizer.lr"] <= 0.1 and chosen["front end"] in ("long", "short")


# ---- the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "aed search: give board=..."),
        ("board=nucleo", "board: need one of"),
        ("board=nucleo-u575zi-q trials=none", "trials"),
        ("board=nucleo-u575zi-q space=smal", "space: need one of ['small'] or a .yaml file, got 'smal'"),
        ("board=nucleo-u575zi-q trails=10", "trails"),
        ("board=nucleo-u575zi-q stages=[fit]", "stages: the search sets this itself; leave it out"),
        ("board=nucleo-u575zi-q experiment=esc10_bcresnet", "experiment=esc10_bcresnet: its net, BCResNet, is in no"),
        ("board=nucleo-u575zi-q experiment=esc10_dscn", "esc10_dscn"),
        ("board=nucleo-u575zi-q storage=mysql://me:secret@host/x", "storage: an address with a name or password in it"),
        ("board=nucleo-u575zi-q flash_kib=9999", "flash_kib: nucleo-u575zi-q has 2048, got 9999"),
        ("board=nucleo-u575zi-q data=folder data.clips.root=nowhere", "nowhere"),
    ],
)
@pytest.mark.usefixtures("computes")
def test_a_mistake_ends_the_command_in_words(line: str, words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = say("search", line.split())
    assert code == 1 and words in output and "Traceback" not in output and "secret" not in output
    assert not any(tmp_path.iterdir()), "nothing was made"


def test_what_is_typed_reaches_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(verb, "search", lambda **arguments: seen.update(arguments))
    monkeypatch.chdir(tmp_path)
    typed = ["board=nucleo-u575zi-q", "data=folder", "flash_kib=128", "data.clips.root=my sounds, here", "nets=[mn04]"]
    code, output = say("search", typed)
    assert code == 0, output
    assert seen["training"] == ["data=folder", "data.clips.root=my sounds, here"] and seen["nets"] == ["mn04"]
    assert seen["flash_kib"] == 128 and seen["trials"] == 30


def test_other_processes_run_the_same_command_and_end_with_it(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    code = "import os, sys; sys.exit(os.environ['AED_SEARCH_WORKER'] != '1')"
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", code])
    with verb._others(2):
        pass
    assert not caplog.text
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "import sys; sys.exit(3)"])
    with verb._others(3):
        pass
    assert "2 of the other processes have failed" in caplog.text
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(AedError, match="gone"), verb._others(2):
        raise AedError("gone")
