"""The values of a composed configuration that one can set: what documents each, and its default as one types it."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from aed.base.overrides import in_hydra


@functools.cache
def _signature(kind: Any) -> DictConfig:
    """The defaults of a schema."""
    structured: DictConfig = OmegaConf.structured(kind) if dataclasses.is_dataclass(kind) else OmegaConf.create()
    return structured


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A value of a composed configuration: dotted key, parent node, name in it."""

    key: str
    parent: DictConfig
    name: str

    @property
    def kind(self) -> Any:
        """The schema of its parent; ``dict`` where there is none."""
        return OmegaConf.get_type(self.parent)

    @property
    def documented(self) -> tuple[Any, ...]:
        """What explains the keys of its parent."""
        kind = self.kind
        return getattr(kind, "documented", (kind,) if dataclasses.is_dataclass(kind) else ())

    @property
    def default(self) -> str | None:
        """As one types it; None where a value has to be typed; references as ``<key>``."""
        if OmegaConf.is_missing(self.parent, self.name):
            return None
        node = self.parent._get_node(self.name)
        assert not isinstance(node, list)
        if OmegaConf.is_interpolation(self.parent, self.name):
            text = str(node._value()).replace("${hydra:runtime.output_dir}", "<hydra.run.dir>")  # type: ignore[union-attr]
            return re.sub(r"\$\{(?:hydra:)?([^{}]+)\}", r"<\1>", text)
        value = self.parent[self.name]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=False)
        return in_hydra(value)

    @property
    def usual(self) -> str | None:
        """The default of the signature."""
        signature = _signature(self.kind)
        return Leaf(self.key, signature, self.name).default if self.name in signature else None


def leaves(config: DictConfig, path: str = "") -> Iterator[Leaf]:
    """The values of a composed configuration that one can set, but for Hydra's own."""
    for name in map(str, config):
        key = f"{path}{name}"
        is_own_class = key == "model.net._target_" and OmegaConf.is_missing(config, name)
        if key == "hydra" or (name.startswith("_") and not is_own_class):
            continue
        child = None if OmegaConf.is_missing(config, name) else config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation() and len(child):
            yield from leaves(child, f"{key}.")
        else:
            yield Leaf(key, config, name)
