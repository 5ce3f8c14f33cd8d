"""Settings of targets in a configuration: a field named as the target holds its settings."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from aed.base.errors import AedError


def refuse_others(config: Any, chosen: Sequence[str], prefix: str = "", others: Sequence[str] = ()) -> None:
    """Refuses settings of a target that is not chosen: nothing would read them.

    Args:
        config: A dataclass; its fields that are dataclasses themselves are named as the targets whose settings they
            are, and every setting has a default.
        chosen: Names of targets.
        prefix: Of the keys, as users type them.
        others: Fields that are dataclasses but no settings of a target.

    Raises:
        AedError: Names the key, the target that reads it, and what to type.
    """
    for target in fields(config):
        settings = getattr(config, target.name)
        if target.name in (*chosen, *others) or not is_dataclass(settings):
            continue
        for item in fields(settings):
            if getattr(settings, item.name) != item.default:
                key = f"{prefix}{target.name}.{item.name}"
                raise AedError(
                    f"{key}: only target {target.name} reads it, got {prefix}target={','.join(chosen)}; leave {key} "
                    f"out, or type {prefix}target={target.name}"
                )
