"""Optimizer, schedule and callbacks of a document: Keras names to torch's."""

from typing import Any

from aed.base.errors import AedError
from aed.run.zoo.draft import Draft
from aed.run.zoo.literals import call, evaluated

_OPTIMIZERS = {
    name.lower(): name for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Adafactor")
} | {"nadam": "NAdam"}
_RATES = {"SGD": 0.01}
"""Rates of Keras where they are not 0.001."""

_ARGUMENTS = {"learning_rate": "lr", "lr": "lr", "epsilon": "eps", "weight_decay": "weight_decay", "amsgrad": "amsgrad"}
_OF_ONE = {
    ("SGD", "momentum"): "momentum",
    ("SGD", "nesterov"): "nesterov",
    ("RMSprop", "momentum"): "momentum",
    ("RMSprop", "rho"): "alpha",
    ("RMSprop", "centered"): "centered",
    ("Adadelta", "rho"): "rho",
    ("Adagrad", "initial_accumulator_value"): "initial_accumulator_value",
}
_BETAS = {"Adam", "AdamW", "Adamax", "NAdam"}
_AMSGRAD = {"Adam", "AdamW"}
_CLIPPED = {"clipnorm": "norm", "global_clipnorm": "norm", "clipvalue": "value"}

_MONITORS = {
    "val_accuracy": "val/patch_acc",
    "val_acc": "val/patch_acc",
    "val_loss": "val/loss",
    "accuracy": "train/patch_acc",
    "loss": "train/loss",
}
_PLATEAU = {"factor": "factor", "patience": "patience", "min_lr": "min_lr", "cooldown": "cooldown"}
_PLATEAU |= {"min_delta": "threshold", "epsilon": "threshold"}
_STOPPING = {"patience": "patience", "min_delta": "min_delta"}
_SCHEDULES = (
    "LRLinearDecay",
    "LRExponentialDecay",
    "LRStepDecay",
    "LRCosineDecay",
    "LRWarmupCosineDecay",
    "LRCosineDecayRestarts",
    "LRPolynomialDecay",
    "LRPolynomialDecayRestarts",
    "LRPiecewiseConstantDecay",
)
_LIKE = ("ReduceLROnPlateau", "LearningRateScheduler")
_FORBIDDEN = ("ModelCheckpoint", "TensorBoard", "CSVLogger")


def map_optimizer(draft: Draft) -> None:
    """``training.optimizer``: a name, a call as text, or a name with arguments."""
    prefix = "training.optimizer"
    own = {key: draft.document.raw(key) for key in draft.document.leaves if key.startswith(prefix)}
    nested = {key.removeprefix(f"{prefix}."): value for key, value in own.items() if key != prefix}
    names = {key.partition(".")[0] for key in nested}
    try:
        name, arguments = call(str(own[prefix])) if prefix in own else ("Adam", {})
    except AedError as error:
        raise draft.fail(prefix, str(error)) from error
    if len(names) + (prefix in own) > 1:
        raise draft.fail(next(iter(own)), f"need one optimizer, got {', '.join(sorted(names))}")
    if names:
        name = names.pop()
        arguments = {key.partition(".")[2]: value for key, value in nested.items() if "." in key}
        own = own | {prefix: None}
    _optimizer(draft, name, arguments, list(own))


def _optimizer(draft: Draft, name: str, arguments: dict[str, Any], keys: list[str]) -> None:
    present = [key for key in keys if key in draft.document.leaves]
    if name.lower() not in _OPTIMIZERS:
        raise draft.fail(
            present[0], f"{name[:60]}: torch has no such optimizer; need one of {', '.join(_OPTIMIZERS.values())}"
        )
    ours = _OPTIMIZERS[name.lower()]
    draft.groups["model/optimizer"] = ours
    rate = draft.document.number("training.initial_learning") or _RATES.get(ours, 0.001)
    draft.values["model.optimizer.lr"] = rate
    draft.note("mapped", "training.initial_learning", f"model.optimizer.lr={rate:g}")
    for key in present:
        draft.note("mapped", key, f"model/optimizer={ours}")
    betas = [0.9, 0.999]
    for argument, value in arguments.items():
        key = next((key for key in present if key.endswith(f".{argument}")), present[0])
        if not isinstance(value, bool | int | float):
            raise draft.fail(key, f"{argument}: need a number, got {value!r:.60}")
        field = _OF_ONE.get((ours, argument)) or _ARGUMENTS.get(argument)
        if argument in ("beta_1", "beta_2") and ours in _BETAS:
            betas[argument == "beta_2"] = value
            draft.values["model.optimizer.betas"] = betas
            draft.note("mapped", key, "model.optimizer.betas")
        elif argument in _CLIPPED:
            draft.values |= {"trainer.gradient_clip_val": value, "trainer.gradient_clip_algorithm": _CLIPPED[argument]}
            draft.note("mapped", key, f"trainer.gradient_clip_val={value:g}")
        elif field and not (field == "amsgrad" and ours not in _AMSGRAD):
            draft.values[f"model.optimizer.{field}"] = value
            draft.note("mapped", key, f"model.optimizer.{field}={value}")
        else:
            draft.note("none", key, f"torch's {ours} has no {argument}; left out")


def map_callbacks(draft: Draft) -> None:
    """``training.callbacks``, and the schedule of 2023."""
    prefix = "training.callbacks."
    found: dict[str, dict[str, str]] = {}
    for key in draft.document.leaves:
        if key.startswith(prefix):
            name, _, argument = key.removeprefix(prefix).partition(".")
            found.setdefault(name, {})[argument] = key
    if len(several := [name for name in found if name in (*_SCHEDULES, *_LIKE)]) > 1:
        key = next(iter(found[several[1]].values()))
        raise draft.fail(key, f"{' and '.join(several)} both set the learning rate; leave one of them out")
    for name, keys in found.items():
        if name in _FORBIDDEN:
            raise draft.fail(
                next(iter(keys.values())), f"{name} is refused by the zoo; checkpoints and logs are written"
            )
        if name in _SCHEDULES:
            _schedule(draft, name, keys)
        elif name == "ReduceLROnPlateau":
            _plateau(draft, keys)
        elif name == "EarlyStopping":
            _stopping(draft, keys)
        else:
            for key in keys.values():
                draft.note(
                    "none",
                    key,
                    f"no {name}; model/scheduler=... has torch's schedules, callbacks.<name>=... Lightning's",
                )
    _schedule_2023(draft)


def _schedule(draft: Draft, name: str, keys: dict[str, str]) -> None:
    draft.groups["model/scheduler"] = name
    for argument, key in keys.items():
        value = evaluated(draft.document.leaves[key].value)
        if argument == "verbose":
            draft.note("unread", key, "nothing is printed for it")
            continue
        is_list = isinstance(value, list) and all(isinstance(item, int | float) for item in value)
        if not is_list and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise draft.fail(key, f"need a number, got {value!r:.60}")
        draft.values[f"model.scheduler.{argument}"] = value
        draft.note("mapped", key, f"model/scheduler={name} model.scheduler.{argument}")


def _monitor(draft: Draft, keys: dict[str, str]) -> tuple[str, str]:
    """Metric that a callback watches, and whether ``max`` or ``min`` of it is best."""
    name = draft.document.text(keys["monitor"]) if "monitor" in keys else "val_loss"
    if name not in _MONITORS:
        raise draft.fail(keys["monitor"], f"need one of {', '.join(_MONITORS)}, got {name}")
    ours = _MONITORS[name]
    mode = draft.document.text(keys["mode"]) if "mode" in keys else "auto"
    if mode not in ("auto", "min", "max"):
        raise draft.fail(keys["mode"], f"need min, max or auto, got {mode}")
    return ours, ("max" if ours.endswith("acc") else "min") if mode == "auto" else str(mode)


def _numbers(draft: Draft, keys: dict[str, str], names: dict[str, str], place: str) -> None:
    for argument, key in keys.items():
        if argument in names:
            wanted = draft.document.whole if argument in ("patience", "cooldown") else draft.document.number
            draft.set(key, f"{place}.{names[argument]}", wanted(key))
        elif argument not in ("monitor", "mode"):
            draft.note("unread" if argument == "verbose" else "none", key, f"no such setting of {place}")


def _plateau(draft: Draft, keys: dict[str, str]) -> None:
    metric, mode = _monitor(draft, keys)
    draft.groups["model/scheduler"] = "ReduceLROnPlateau"
    draft.values |= {"model.monitor": metric, "model.scheduler.mode": mode, "model.scheduler.threshold_mode": "abs"}
    draft.values |= {"model.scheduler.patience": 10, "model.scheduler.factor": 0.1, "model.scheduler.threshold": 1e-4}
    for argument in ("monitor", "mode"):
        if argument in keys:
            draft.note("mapped", keys[argument], f"model.monitor={metric} model.scheduler.mode={mode}")
    _numbers(draft, keys, _PLATEAU, "model.scheduler")
    patience = draft.values["model.scheduler.patience"] = max(0, draft.values["model.scheduler.patience"] - 1)
    draft.note("mapped", keys.get("patience", ""), f"model.scheduler.patience={patience}; torch waits one epoch more")


def _stopping(draft: Draft, keys: dict[str, str]) -> None:
    metric, mode = _monitor(draft, keys)
    _stop(draft, metric, mode)
    for argument in ("monitor", "mode"):
        if argument in keys:
            draft.note("mapped", keys[argument], f"callbacks.early_stopping.monitor={metric} .mode={mode}")
    _numbers(draft, keys, _STOPPING, "callbacks.early_stopping")
    if "restore_best_weights" in keys:
        draft.note("better", keys["restore_best_weights"], "the best checkpoint is always the one that is kept")


def _stop(draft: Draft, metric: str, mode: str) -> None:
    draft.groups["callbacks"] = "early_stopping"
    place = "callbacks.early_stopping"
    draft.values |= {
        f"{place}.monitor": metric,
        f"{place}.mode": mode,
        f"{place}.patience": 0,
        f"{place}.min_delta": 0.0,
    }


_SCHEDULES_2023 = {
    "reducelronplateau": "plateau",
    "exponential": "exponential",
    "cosine": "cosine",
    "constant": "constant",
}


def _schedule_2023(draft: Draft) -> None:
    """A schedule by its name alone: constants are those of the code of 2023."""
    key = "training.learning_rate_scheduler"
    kind = draft.one_of(key, _SCHEDULES_2023)
    if kind == "plateau":
        draft.groups["model/scheduler"] = "ReduceLROnPlateau"
        draft.values |= {"model.monitor": "val/patch_acc", "model.scheduler.mode": "max", "model.scheduler.factor": 0.1}
        draft.values |= {"model.scheduler.patience": 14, "model.scheduler.min_lr": 1e-6}
        draft.values |= {"model.scheduler.threshold": 1e-4, "model.scheduler.threshold_mode": "abs"}
        draft.note("mapped", key, "model/scheduler=ReduceLROnPlateau")
    elif kind in ("cosine", "exponential"):
        draft.groups["model/scheduler"] = "cosine_to_zero"
        draft.note("better", key, "model/scheduler=cosine_to_zero over the epochs; there factors that multiplied up")
    else:
        draft.note("mapped", key, "no schedule")
    patience = draft.document.whole("training.patience")
    if patience is not None:
        _stop(draft, "val/patch_acc", "max")
        draft.set("training.patience", "callbacks.early_stopping.patience", patience)
    draft.note("better", "training.restore_best_weights", "the best checkpoint is always the one that is kept")
