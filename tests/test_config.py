import inspect
from typing import Any, Literal

import pytest
import tiny
import torch
import yaml
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException
from hydra.utils import get_object, instantiate
from lightning.pytorch.cli import LightningArgumentParser
from omegaconf import OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from aed.base.errors import AedError, find_aed_error
from aed.base.paths import CONFIG_DIR
from aed.dsp import PRESETS, FrontendConfig
from aed.modules import schedules
from aed.modules.augment import AugmentConfig
from aed.run import cli_config, registry
from aed.run.cli import AedCLI
from aed.settings import hydra_errors, schemas

pytestmark = pytest.mark.usefixtures("computes")

REFUSED = (ConfigCompositionException, OmegaConfBaseException)


class Example:
    def __init__(
        self,
        needed: int,
        optional: int | None = None,
        kind: Literal["a", "b"] = "a",
        names: list[str] | None = None,
        nested: AugmentConfig = AugmentConfig(),  # noqa: B008
        anything: object = None,
        pair: tuple[float, float] = (1.0, 2.0),
    ) -> None: ...


def test_a_schema_has_every_parameter_with_type_and_default():
    node = OmegaConf.structured(schemas.schema(Example))
    assert OmegaConf.is_missing(node, "needed")
    plain = OmegaConf.to_container(node)
    assert plain["optional"] is None and plain["kind"] == "a" and plain["pair"] == [1.0, 2.0]
    assert plain["nested"]["noise_std"] == 0.0
    assert set(inspect.signature(Example).parameters) == set(plain) - {"_target_"}


@pytest.mark.parametrize(
    "change", [{"optional": "x"}, {"needed": "1.5"}, {"names": 3}, {"nested": {"noise_std": "loud"}}, {"other": 1}]
)
def test_a_schema_refuses_wrong_types_and_names(change):
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(OmegaConf.structured(schemas.schema(Example)), change)


@pytest.mark.parametrize(
    ("override", "full_key"),
    [
        ("model.net.embeding_size=256", "model.net.embeding_size"),
        ("data.batch_size=big", "data.batch_size"),
        ("data.val_fold=four", "data.val_fold"),
        ("trainer.max_epoch=1", "trainer.max_epoch"),
        ("model.optimizer.lrr=1", "model.optimizer.lrr"),
        ("model.scheduler.decay=1", "model.scheduler.decay"),
        ("callbacks.checkpoint.monitr=x", "callbacks.checkpoint.monitr"),
        ("data.clips.datadir=x", "data.clips.datadir"),
        ("model.augment.noise=1", "model.augment.noise"),
        ("frontend.n_mel=40", "frontend.n_mel"),
        ("sed=1", "sed"),
    ],
)
def test_a_wrong_key_or_type_fails_with_its_full_name(override, full_key):
    with pytest.raises(REFUSED) as caught:
        tiny.composed("experiment=esc10_yamnet", override)
    text = str(caught.value) + str(caught.value.__cause__)
    assert full_key in text


def test_an_unknown_experiment_lists_the_known_ones():
    with pytest.raises(Exception, match="esc10_yamnet"):
        tiny.composed("experiment=esc10_yamnett")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("frontend.f_max=9000", r"f_max.*8000.*9000"),
        ("frontend.n_mels=500", "mel bands"),
        ("data.split=kfold", r"folds.*kfold"),
        ("model.label_smoothing=2", "label_smoothing"),
        ("model.scheduler.decay_steps=0", "decay_steps"),
    ],
)
def test_a_wrong_value_is_our_error(override, message):
    cfg = tiny.composed("experiment=demo", override)
    with pytest.raises(Exception) as caught:
        data = instantiate(cfg.data, _convert_="all")
        data.prepare_data()
        model = instantiate(cfg.model, net={"num_classes": 10}, _convert_="all")
        model.configure_optimizers()
    error = find_aed_error(caught.value)
    assert error is not None
    assert pytest.importorskip("re").search(message, str(error)), str(error)


def test_no_parameter_needs_a_plus():
    overrides = ["model.net.dropout=0.3", "trainer.accumulate_grad_batches=2", "model.optimizer.weight_decay=0.1"]
    overrides += ["data.class_names=[rain,hum]", "frontend.log_offset=0.001", "logger.csv.flush_logs_every_n_steps=1"]
    cfg = tiny.composed("experiment=demo", *overrides)
    assert cfg.model.net.dropout == 0.3 and cfg.data.class_names == ["rain", "hum"]
    assert cfg.data.frontend.log_offset == cfg.model.frontend.log_offset == 0.001


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "NAdam"])
def test_any_torch_optimizer_is_a_choice(name):
    cfg = tiny.composed("experiment=demo", f"model/optimizer={name}", "model.optimizer.lr=0.02")
    optimizer = instantiate(cfg.model.optimizer, _convert_="all")([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer).__name__ == name and optimizer.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize("name", ["StepLR", "OneCycleLR", "LRStepDecay"])
def test_an_experiment_takes_another_schedule(name):
    cfg = tiny.composed("experiment=demo", f"model/scheduler={name}")
    assert cfg.model.scheduler._target_.endswith(f".{name}")


def test_every_optimizer_and_schedule_is_a_choice():
    registry.register()
    store = ConfigStore.instance()
    for group, module, base in (
        ("optimizer", torch.optim, torch.optim.Optimizer),
        ("scheduler", torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
        ("scheduler", schedules, torch.optim.lr_scheduler.LRScheduler),
    ):
        names = {target.__name__ for target in registry._public(module, base)} - {"SparseAdam", "EpochSchedule"}
        assert len(names) >= 9
        listed = set(store.list(f"model/{group}"))
        assert {f"{name}.yaml" for name in names} <= listed and not {"SparseAdam.yaml", "EpochSchedule.yaml"} & listed


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_front_end(name):
    cfg = tiny.composed("experiment=demo", f"frontend={name}")
    assert instantiate(cfg.frontend) == PRESETS[name]
    assert isinstance(instantiate(cfg.model.frontend), FrontendConfig)


def parse(values: dict[str, Any]) -> AedCLI:
    """Checks types as LightningCLI does; instantiates nothing."""

    class ParseOnly(AedCLI):
        def instantiate_classes(self) -> None: ...

    return ParseOnly(args=values, run=False)


@pytest.mark.parametrize("name", registry.experiments())
def test_every_experiment_is_a_lightning_cli_configuration_and_back(name):
    """Types are checked on the way there; the way back gives the values that Hydra composed, of every key."""
    composed = cli_config.composed(name)
    parsed = parse(yaml.safe_load(yaml.safe_dump(cli_config.to_lightning_cli(composed))))
    options = {"skip_link_targets": False, "skip_none": False}
    values = yaml.safe_load(LightningArgumentParser.dump(parsed.parser, parsed.config, **options))
    back = plain(cli_config.run_config(composed, values))
    ours = plain(composed)
    for key in ("callbacks", "logger"):  # lists in LightningCLI
        ours[key], back[key] = (dict(enumerate(config[key].values())) for config in (ours, back))
    assert different(ours, back) == {}
    added = different(back, ours)  # defaults of what a class passes on to another one
    assert {key.rpartition(".")[0] for key in added} <= {".model.scheduler", ".logger.1"}


def different(ours: Any, theirs: Any, path: str = "") -> dict[str, Any]:
    """Values of ``ours`` that ``theirs`` has not, by key; a class is the same whichever of its modules names it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [different(value, theirs.get(key, "missing"), f"{path}.{key}") for key, value in ours.items()]
        return {key: value for own in found for key, value in own.items()}
    if path.endswith("._target_"):
        ours, theirs = get_object(ours), get_object(theirs)
    return {} if ours == theirs else {path: (ours, theirs)}


def plain(config: Any) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True, structured_config_mode=SCMode.DICT)


@pytest.mark.parametrize("name", registry.experiments())
def test_a_value_that_refers_to_another_follows_it_in_lightning_cli(name):
    values = cli_config.to_lightning_cli(cli_config.composed(name))
    values["trainer"]["max_epochs"], values["data"]["init_args"]["frontend"]["n_mels"] = 123, 40
    model = parse(values).config.model.init_args
    if "decay_steps" in str(model.scheduler):
        assert model.scheduler.init_args.decay_steps == 123
    assert model.frontend.n_mels == 40
    if "n_mels" in model.net.init_args:
        assert model.net.init_args.n_mels == 40


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.init_args.split", "kfold"),
        ("model.init_args.net.class_path", "aed.modules.nets.Missing"),
        ("model.init_args.optimizer.init_args.lrr", 1),
        ("model.init_args.scheduler_interval", "week"),
        ("data.init_args.frontend.trim", "hard"),
    ],
)
def test_lightning_cli_refuses_what_omegaconf_cannot_see(path, value, capsys):
    values = cli_config.to_lightning_cli(cli_config.composed("demo"))
    OmegaConf.update(changed := OmegaConf.create(values), path, value, force_add=True)
    with pytest.raises((Exception, SystemExit), match=str(value)):
        parse(OmegaConf.to_container(changed))


def test_errors_are_found_behind_wrappers():
    inner = AedError("inside")
    try:
        try:
            raise inner
        except AedError as error:
            raise RuntimeError("outside") from error
    except RuntimeError as outer:
        assert find_aed_error(outer) is inner
    assert find_aed_error(ValueError()) is None


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=tensorboard", "+logger.tensorboard.flush_secs=5"],  # a class that takes any key
        ["model.optimizer._target_=torch.optim.Adagrad", "+model.optimizer.lr_decay=0.1"],  # another class's own
        ["+callbacks.mine._target_=my_pkg.Mine", "+callbacks.mine.often=3"],
    ],
)
def test_keys_that_are_read_may_be_added(overrides):
    hydra_errors.check(tiny.composed("experiment=demo", *overrides), CONFIG_DIR)
