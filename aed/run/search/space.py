"""What a search may choose: nets, and for each of them keys of ``aed train`` with their values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aed.base.errors import AedError
from aed.base.overrides import in_hydra, nearest
from aed.base.paths import CONFIG_DIR

OWN = ("hydra", "stages", "operation_mode", "ckpt_path", "resume", "output_dir", "experiment", "logger", "seed")
"""Keys that a search sets itself, and what is below them."""

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Values:
    """A key and the values that it may take."""

    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A key and the numbers between two ends, both included; whole ones where both ends are."""

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """A name and what it may stand for: several keys at once."""

    key: str
    choices: Mapping[str, Mapping[str, Any]]


Parameter = Values | Range | Choices


@dataclass(frozen=True)
class Family:
    """Trainings of one kind of net.

    Args:
        name: Of the family.
        experiment: That they start from.
        fixed: Keys that differ from the experiment in all of them.
        parameters: What differs between them.
    """

    name: str
    experiment: str
    fixed: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    def overrides(self, chosen: Mapping[str, Scalar]) -> list[str]:
        """Overrides of ``aed train`` for a value of each parameter, by its key."""
        values = dict(self.fixed)
        for parameter in self.parameters:
            value = chosen[parameter.key]
            values |= parameter.choices[str(value)] if isinstance(parameter, Choices) else {parameter.key: value}
        # what chooses a file comes first: its keys are those of the others
        named = sorted(values.items(), key=lambda item: not _is_group(item[0]))
        return [f"experiment={self.experiment}", *(f"{key}={in_hydra(value)}" for key, value in named)]

    def without(self, typed: Sequence[str]) -> "Family":
        """The family where the user has typed some keys: these are no longer searched or set."""
        given = set(typed)
        kept = tuple(parameter for parameter in self.parameters if given.isdisjoint(keys_of(parameter)))
        fixed = {key: value for key, value in self.fixed.items() if key not in given}
        return replace(self, fixed=fixed, parameters=kept)

    def content(self) -> dict[str, Any]:
        """For a fingerprint; JSON."""
        own = [[type(parameter).__name__, *map(str, vars(parameter).items())] for parameter in self.parameters]
        return {"experiment": self.experiment, "fixed": dict(self.fixed), "parameters": own}


def keys_of(parameter: Parameter) -> set[str]:
    """The keys of ``aed train`` that a parameter sets."""
    if isinstance(parameter, Choices):
        return {key for values in parameter.choices.values() for key in values}
    return {parameter.key}


def _is_group(key: str) -> bool:
    return ("." not in key and (CONFIG_DIR / key).is_dir()) or "/" in key or key == "frontend"


def check_typed(keys: Sequence[str]) -> None:
    """Refuses keys of ``aed train`` that a search sets itself.

    Raises:
        AedError: Names the first.
    """
    for key in keys:
        first, _, last = key.replace("/", ".").partition(".")
        if first in OWN and (first != "logger" or last.endswith("run_id")):
            raise AedError(f"{key}: the search sets this itself; leave it out")
        if key == "model/net":
            raise AedError("model/net: the space chooses the net; nets=[...] names some of it, experiment=... one")


def with_experiment(
    families: Mapping[str, Family], experiment: str, net_class: Callable[[Sequence[str]], str]
) -> dict[str, Family]:
    """The families of an experiment's net, which start from this experiment.

    Args:
        families: By name.
        experiment: Name.
        net_class: Class of the net that overrides choose.

    Raises:
        AedError: None has that net.
    """
    wanted = net_class([f"experiment={experiment}"])
    found = {}
    for name, family in families.items():
        own = [f"{key}={value}" for key, value in family.fixed.items() if key == "model/net"]
        if family.experiment == experiment:
            found[name] = family
        elif net_class([f"experiment={family.experiment}", *own]) == wanted:
            found[name] = replace(family, experiment=experiment, fixed={})
    if not found:
        raise AedError(
            f"experiment={experiment}: its net, {wanted.rpartition('.')[2]}, is in no family of the space: "
            f"{', '.join(families)}; write one, space=mine.yaml"
        )
    return found


def chosen_families(families: Mapping[str, Family], nets: Sequence[str] | None) -> dict[str, Family]:
    """The families that the user names; all where none is named.

    Raises:
        AedError: There is no such family.
    """
    if not nets:
        return dict(families)
    for name in nets:
        if name not in families:
            near = nearest(name, families)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise AedError(f"nets: need some of {list(families)}, got {name!r}{hint}")
    return {name: families[name] for name in dict.fromkeys(nets)}
