"""Settings of targets: documented, light to import, and refused where another target is chosen."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace

import pytest

from aed.base.errors import AedError
from aed.run.benchmark import TARGETS, BenchmarkConfig, choose
from aed.run.deploy import TARGETS as DELIVERIES
from aed.run.deploy import DeployConfig, check
from aed.target.boards import BACKENDS

CONFIGS = {"benchmark": (BenchmarkConfig(), choose, tuple(TARGETS)), "deploy": (DeployConfig(), check, DELIVERIES)}


def settings() -> Iterator[tuple[str, str, str]]:
    """Verb, target and name of every setting."""
    for verb, (config, _, targets) in CONFIGS.items():
        for target in targets:
            yield from ((verb, target, item.name) for item in fields(getattr(config, target)))


def other(value: object) -> object:
    """A value of the same kind that is not ``value``."""
    if isinstance(value, bool):
        return not value
    return (
        value * 2 + 1 if isinstance(value, (int, float)) else ("x",) if isinstance(value, tuple) else f"{value or ''}x"
    )


@pytest.mark.parametrize(("verb", "target", "name"), settings(), ids=map("-".join, settings()))
def test_a_setting_of_another_target_is_refused_by_name(verb: str, target: str, name: str) -> None:
    config, refuse, targets = CONFIGS[verb]
    chosen = next(item for item in targets if item != target)
    own = getattr(config, target)
    changed = replace(config, target=chosen, **{target: replace(own, **{name: other(getattr(own, name))})})
    with pytest.raises(AedError) as caught:
        refuse(changed, f"{verb}.")
    key = f"{verb}.{target}.{name}"
    assert str(caught.value) == (
        f"{key}: only target {target} reads it, got {verb}.target={chosen}; leave {key} out, or type "
        f"{verb}.target={target}"
    )


@pytest.mark.parametrize("verb", CONFIGS)
def test_settings_at_their_defaults_are_never_refused(verb: str) -> None:
    config, refuse, _ = CONFIGS[verb]
    refuse(config)


@pytest.mark.parametrize("verb", CONFIGS)
def test_every_key_has_a_default_and_a_line_of_help(verb: str) -> None:
    config, _, targets = CONFIGS[verb]
    parts = {*targets, *(["rule"] if verb == "deploy" else [])}
    for part in (config, *(getattr(config, name) for name in parts)):
        helped = re.findall(r"^ {8}(\w+): \S", type(part).__doc__ or "", re.MULTILINE)
        assert helped and set(helped) == {item.name for item in fields(part)}
        assert all(item.default is not MISSING for item in fields(part))
    assert {item.name for item in fields(config) if is_dataclass(item.default)} == parts


def test_backends_are_the_targets_of_benchmark() -> None:
    assert set(BACKENDS) == set(TARGETS)


def test_settings_import_neither_torch_nor_onnx() -> None:
    modules = [f"aed.target.{name}.settings" for name in (*BACKENDS, "firmware")]
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'onnx', 'numpy', 'requests'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
