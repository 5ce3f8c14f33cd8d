"""Checkpoints that are cut, foreign, or name a class: what a run says of them, and what it never imports."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import tiny
import torch
from lightning.pytorch.plugins import MixedPrecision
from test_pipeline import SMALL
from torch.optim.lr_scheduler import LambdaLR

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.inference.opening import open_classifier
from aed.modules.nets import DSCNN
from aed.modules.trained import Trained
from aed.run import pipeline
from aed.run.callbacks import BestCheckpoint, WholeCheckpoints
from aed.run.resume import check_resumable, restoring
from aed.scoring.decision import Decision
from aed.settings.entry import in_words

pytestmark = pytest.mark.usefixtures("trains")

RUN = [*SMALL, "frontend.overlap=0.0", "model/net=dscnn", "model.pretrained=false"]


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return pipeline.run(tiny.composed(*RUN, *overrides, folder=folder), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one epoch, by the trainer that a run builds, but for its loggers."""
    folder = tmp_path_factory.mktemp("whole")
    saver = BestCheckpoint(str(folder / "checkpoints"))
    trainer = tiny.trainer(folder, 1, [saver], plugins=[WholeCheckpoints()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        trainer.fit(tiny.classifier(DSCNN(3)), datamodule=tiny.data())
    return folder / "checkpoints" / "best.ckpt"


def _without(*keys: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: [content.pop(key) for key in keys]


def _weights(content: dict[str, Any]) -> None:
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = torch.zeros(2, 2)


SPOILT = {
    "cut": (None, "not a whole checkpoint"),
    "empty": (b"", "not a whole checkpoint"),
    "foreign": (b"hello", "not a whole checkpoint"),
    "list": ([1, 2], "not written by this project"),
    "other": ({"state_dict": {}}, "not written by this project"),
    "bare": (_without("epoch", "global_step", "loops", "optimizer_states"), "damaged checkpoint"),
    "weights": (_weights, "damaged checkpoint|its weights do not fit"),
}


def spoilt(kind: str, whole: Path, path: Path) -> str:
    """Writes a spoilt file; returns what is to be said of it."""
    content, words = SPOILT[kind]
    if content is None:
        path.write_bytes(whole.read_bytes()[:20_000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif callable(content):
        changed = torch.load(whole, weights_only=True)
        content(changed)
        torch.save(changed, path)
    else:
        torch.save(content, path)
    return words


@pytest.mark.parametrize("kind", SPOILT)
def test_every_stage_names_a_spoilt_file(whole: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.ckpt"
    words = spoilt(kind, whole, path)
    for stage in ("fit", "test", "export"):
        with pytest.raises(AedError, match=rf"{kind}\.ckpt: ({words})|{kind}\.ckpt was ({words})"):
            run(tmp_path / stage, f"stages=[{stage}]", f"ckpt_path={path}")
    with pytest.raises(AedError, match=rf"{kind}\.ckpt: ({words})|{kind}\.ckpt was ({words})"):
        open_classifier(path)


@pytest.mark.parametrize("key", ["pytorch-lightning_version", "optimizer_states", "lr_schedulers", "loops"])
def test_what_training_alone_needs_is_missed_by_training(whole: Path, tmp_path: Path, key: str) -> None:
    """``loops`` may be missing: an imported model has none, and trains on from its weights."""
    content = torch.load(whole, weights_only=True)
    del content[key]
    torch.save(content, tmp_path / "a.ckpt")
    open_classifier(tmp_path / "a.ckpt")
    saver = BestCheckpoint(str(tmp_path / "checkpoints"))
    trainer = tiny.trainer(tmp_path, 2, [saver], plugins=[WholeCheckpoints()])
    fit = lambda: trainer.fit(tiny.classifier(DSCNN(3)), datamodule=tiny.data(), ckpt_path=tmp_path / "a.ckpt")  # noqa: E731
    if key == "loops":
        fit()
        return
    with pytest.raises(AedError, match=rf"a\.ckpt: damaged checkpoint \(it has no {key}"):
        fit()


def test_a_class_is_imported_if_the_user_names_it_and_not_before(whole: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own_net_pkg.py").write_text(
        "from aed.modules.nets import DSCNN\n\nclass Own(DSCNN):\n    pass\n\n\nclass Other(DSCNN):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(whole, weights_only=True)
    content["aed"]["net"]["class"] = "own_net_pkg.Own"
    torch.save(content, tmp_path / "own.ckpt")
    for open_it in (Trained.load, open_classifier):
        with pytest.raises(AedError, match=r"own\.ckpt: its net is own_net_pkg\.Own.* net_class=own_net_pkg\.Own"):
            open_it(tmp_path / "own.ckpt")
    with pytest.raises(AedError, match=r"own\.ckpt: its net is own_net_pkg\.Own, and this command names aed\..*DSCNN"):
        run(tmp_path / "run", "stages=[export]", f"ckpt_path={tmp_path / 'own.ckpt'}")
    assert "own_net_pkg" not in sys.modules
    assert type(Trained.load(tmp_path / "own.ckpt", "own_net_pkg.Own").net).__name__ == "Own"
    with pytest.raises(AedError, match=r"this command names own_net_pkg\.Other"):
        Trained.load(tmp_path / "own.ckpt", "own_net_pkg.Other")


def test_a_class_exported_elsewhere_may_be_asked_for_by_that_name(whole: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "front_pkg.py").write_text("from back_pkg import Own\n")
    (tmp_path / "back_pkg.py").write_text("from aed.modules.nets import DSCNN\n\nclass Own(DSCNN):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(whole, weights_only=True)
    content["aed"]["net"]["class"] = "back_pkg.Own"
    torch.save(content, tmp_path / "own.ckpt")
    assert type(Trained.load(tmp_path / "own.ckpt", "front_pkg.Own").net).__name__ == "Own"


@pytest.mark.parametrize("text", ["not JSON", "[1]", "{}", '{"checkpoint": "of another"}', "\xff"])
def test_a_foreign_file_of_the_rules_name_is_no_damage(whole: Path, tmp_path: Path, text: str) -> None:
    place = tmp_path / "models" / "best.ckpt"
    place.parent.mkdir()
    place.write_bytes(whole.read_bytes())
    (tmp_path / "decision.json").write_bytes(text.encode("latin-1"))
    assert open_classifier(place).card.decision == Decision()


def test_a_damaged_rule_of_this_very_checkpoint_is_said(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints" / "best.ckpt"
    place.parent.mkdir()
    place.write_bytes(whole.read_bytes())
    rule = {"checkpoint": sha256_of(place), "decision": {"aggregate": "sum"}}
    (tmp_path / "decision.json").write_text(json.dumps(rule))
    with pytest.raises(AedError, match=r"decision\.json: damaged"):
        open_classifier(place)


def test_a_checkpoint_may_lie_at_the_root(whole: Path, tmp_path: Path) -> None:
    place = Path("/") / f"{tmp_path.name}.ckpt"
    try:
        place.write_bytes(whole.read_bytes())
    except OSError:
        pytest.skip("no right to write to /")
    try:
        assert open_classifier(place).card.class_names == ("alarm", "hum", "rain")
    finally:
        place.unlink()


def test_plugins_of_the_users_stay(tmp_path: Path) -> None:
    plugin = "{_target_: lightning.pytorch.plugins.MixedPrecision, precision: bf16-mixed, device: cpu}"
    for given in (plugin, f"[{plugin}]"):
        made = pipeline.build(
            tiny.composed(*RUN, "stages=[fit]", f"trainer.plugins={given}", folder=tmp_path), tmp_path
        )
        assert isinstance(made.trainer.precision_plugin, MixedPrecision)
        assert isinstance(made.trainer.strategy.checkpoint_io, WholeCheckpoints)


def test_a_run_resumed_elsewhere_brings_its_best_along_whole(whole: Path, tmp_path: Path) -> None:
    saver = BestCheckpoint(str(tmp_path / "checkpoints"))
    trainer: L.Trainer = tiny.trainer(tmp_path, 1, [saver], plugins=[WholeCheckpoints()])
    trainer.fit(tiny.classifier(DSCNN(3)), datamodule=tiny.data(), ckpt_path=whole)
    assert (tmp_path / "checkpoints" / "best.ckpt").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("monitor", "kept"), [("val/loss", 1), ("last", 3)])
def test_the_last_epoch_is_kept_where_asked(tmp_path: Path, monitor: str, kept: int) -> None:
    """Of three epochs the first one has the least loss, as the learning rate then turns negative."""
    saver = BestCheckpoint(str(tmp_path), monitor, "min")
    model = tiny.classifier(DSCNN(3), scheduler=lambda optimizer: LambdaLR(optimizer, lambda epoch: 1 - 300 * epoch))
    tiny.trainer(tmp_path, 3, [saver]).fit(model, datamodule=tiny.data(val_fold=4))
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == kept - 1


def test_a_full_disk_ends_a_run_in_words_that_name_it(small_disk: Path) -> None:
    """Whatever is written last: each step of a run finds less room."""
    folder = small_disk / "run"
    folder.mkdir()
    for room in (200_000, 120_000, 40_000, 6_000):
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        (small_disk / f"filler{room}").write_bytes(bytes(max(0, free - room)))
        with pytest.raises((AedError, OSError)) as caught:
            run(folder, "stages=[fit,test,export,quantize]", "quantization.n_calibration=12")
        words = in_words(caught.value)
        assert words and ("no space left" in words) and str(small_disk) in words, caught.value
        (small_disk / f"filler{room}").unlink()
        for path in folder.rglob("*.ckpt"):
            assert torch.load(path, weights_only=True)["aed"]


def changed(whole: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = torch.load(whole, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def _fact(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["aed"].__setitem__(key, value)


DAMAGED = {
    "fewer names": (_fact("class_names", ["alarm", "hum"]), "3 outputs, but 2 class names"),
    "a text": (_fact("class_names", "dog"), "class_names: need a list of names, got 'dog'"),
    "twice": (_fact("class_names", ["a", "a", "b"]), "class_names: a twice"),
    "empty name": (_fact("class_names", ["a", " ", "b"]), "class_names: need names that are texts and not empty"),
    "numbers": (_fact("class_names", [1, 2, 3]), "class_names: need names that are texts and not empty, got 1"),
    "none": (_fact("class_names", None), "class_names: need a list of names"),
    "data": (_fact("data", None), "its entry data: 'NoneType' object is not iterable"),
    "weights": (_fact("weights", 3), "its entry weights"),
    "decision": (_fact("decision", None), "its entry decision"),
    "frontend": (_fact("frontend", 3), "its entry frontend"),
    "task": (lambda content: content["aed"].pop("task"), r"its entry task: it has no task"),
    "no net": (lambda content: content["aed"].pop("net"), r"its entry net: it has no net"),
    "state": (lambda content: content.__setitem__("state_dict", 3), "its entry state_dict"),
    "keys": (
        lambda content: content.__setitem__("state_dict", dict(list(content["state_dict"].items())[3:])),
        r"its weights do not fit aed\.modules\.nets\.\w+\.DSCNN: .* is missing, and 2 more",
    ),
    "empty class": (lambda content: content["aed"]["net"].__setitem__("class", ""), "its class '' is no name"),
    "path": (lambda content: content["aed"]["net"].__setitem__("class", "../x"), r"its class '\.\./x' is no name"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_entry_is_named_in_one_line(whole: Path, tmp_path: Path, kind: str) -> None:
    change, words = DAMAGED[kind]
    path = changed(whole, tmp_path / "a.ckpt", change)
    with pytest.raises(AedError, match=rf"a\.ckpt: .*{words}") as caught:
        open_classifier(path)
    said = str(caught.value)
    assert "\n" not in said and "Error(" not in said and "net_class=" not in said


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"ckpt_path: .*: a folder; give a file in it"):
        run(tmp_path / "run", "stages=[fit]", f"ckpt_path={tmp_path}")


RESUMED = {
    "loop": (lambda content: content["loops"].__setitem__("fit_loop", 3), "its entry loops: need fit_loop"),
    "loops": (lambda content: content.__setitem__("loops", [1]), "its entry loops: need fit_loop"),
    "no fit": (lambda content: content["loops"].pop("fit_loop"), "its entry loops: it has no fit_loop"),
    "progress": (
        lambda content: content["loops"]["fit_loop"]["epoch_progress"]["current"].__setitem__("completed", "x"),
        r"its entry loops: fit_loop\.epoch_progress\.current\.completed is no count",
    ),
    "part": (lambda content: content["loops"]["fit_loop"].__setitem__("epoch_progress", 1), "its entry loops"),
    "no current": (lambda content: content["loops"]["fit_loop"]["epoch_progress"].pop("current"), "its entry loops"),
    "epoch": (lambda content: content.__setitem__("epoch", "two"), "its entry epoch: need a whole number"),
    "optimizer": (lambda content: content.__setitem__("optimizer_states", [3]), "its entry optimizer_states"),
    "groups": (lambda content: content["optimizer_states"][0].pop("param_groups"), "its entry optimizer_states"),
    "rates": (lambda content: content.__setitem__("lr_schedulers", None), "its entry lr_schedulers"),
    "callbacks": (lambda content: content.__setitem__("callbacks", [1]), "its entry callbacks"),
    "plateau": (lambda content: content["aed"].pop("plateau"), "its entry aed: need plateau"),
}


@pytest.mark.parametrize("kind", RESUMED)
def test_what_cannot_be_gone_on_from_is_refused_before_features(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(pipeline, "build", lambda *_: pytest.fail("features are computed"))
    change, words = RESUMED[kind]
    path = changed(whole, tmp_path / "a.ckpt", change)
    with pytest.raises(AedError, match=rf"a\.ckpt: damaged checkpoint \({words}"):
        run(tmp_path / "run", "stages=[fit]", f"ckpt_path={path}")


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (lambda content: None, None),
        (lambda content: content.pop("loops"), "epoch count"),
        (lambda content: content.__setitem__("optimizer_states", []), "optimizer"),
        (
            lambda content: content.update(loops=None, optimizer_states=[], lr_schedulers=[]),
            "optimizer, schedule, epoch count",
        ),
    ],
)
def test_what_is_started_anew_is_said_in_one_line(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[..., object], anew: str | None
) -> None:
    content = torch.load(whole, weights_only=True)
    content["lr_schedulers"] = [{"last_epoch": 1}]  # as of a run with a schedule
    change(content)
    torch.save(content, tmp_path / "a.ckpt")
    check_resumable(tmp_path / "a.ckpt", has_schedule=True)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (anew is not None)
    if anew:
        assert f"a.ckpt holds no state of its {anew}: started anew" in said[0]


@pytest.mark.parametrize("kind", ["groups", "epochs"])
def test_what_lightning_raises_as_it_restores_names_the_file(whole: Path, tmp_path: Path, kind: str) -> None:
    def change(content: dict[str, Any]) -> None:
        if kind == "groups":
            content["optimizer_states"][0]["param_groups"].append({"params": []})
        else:  # more than the run is to have
            content["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"] = 7

    path = changed(whole, tmp_path / "a.ckpt", change)
    model, trainer = tiny.classifier(DSCNN(3)), tiny.trainer(tmp_path, 2, plugins=[WholeCheckpoints()])
    words = r"a\.ckpt: damaged checkpoint, or of other settings: .*(group|epoch)"
    with pytest.raises(AedError, match=words), restoring(path):
        trainer.fit(model, datamodule=tiny.data(), ckpt_path=path)


def test_errors_of_the_training_itself_pass(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, trainer = tiny.classifier(DSCNN(3)), tiny.trainer(tmp_path, 2, plugins=[WholeCheckpoints()])
    monkeypatch.setattr(model, "training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), restoring(whole):
        trainer.fit(model, datamodule=tiny.data(), ckpt_path=whole)


def test_a_damaged_state_of_the_training_does_not_matter_to_an_export(whole: Path, tmp_path: Path) -> None:
    """What is refused for going on is no matter to other stages."""
    path = changed(whole, tmp_path / "a.ckpt", lambda content: content["loops"].__setitem__("fit_loop", 3))
    run(tmp_path / "run", "stages=[export]", f"ckpt_path={path}")
    assert (tmp_path / "run" / "model.onnx").is_file()
