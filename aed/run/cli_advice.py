"""What is wrong with a LightningCLI command line, in one line that says what to type."""

import inspect
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.utils import get_object
from lightning.pytorch.cli import LightningArgumentParser

from aed import datamodules
from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.modules import nets

CLASSES = {"model.net": nets.__all__, "data.clips": datamodules.__all__}
"""Names of classes that one can type, by option."""


def values(words: Sequence[str], *options: str) -> list[str]:
    """The values that options have on a command line, in order."""
    found = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            found.append(value if equals else following)
    return found


def last_value(words: Sequence[str], name: str) -> str | None:
    """The value of an option, the last if it is there several times; None where it is not there."""
    return next(reversed(values(words, name)), None)


LINKED = {
    "data.seed": "--seed_everything",
    "model.seed": "--seed_everything",
    "model.frontend": "--data.frontend",
    "model.net.num_classes": "--data.class_names",
}
"""Keys that the parser takes from elsewhere, and the option that sets both."""


def check_read(words: Sequence[str], files: Sequence[Any], parsed: Any) -> None:
    """Refuses what the parser drops without a word: keys that a dataclass does not have, and values that are linked.

    Args:
        words: Of the command line.
        files: Content of configuration files.
        parsed: What came of them, as plain types.

    Raises:
        AedError: Names the first.
    """
    for word in words:
        name = word.partition("=")[0].rstrip("+")
        if word.startswith("--") and "." in name:
            _check_typed(name, parsed)
    for content in files:
        _check_file(content, parsed, ())


def _check_typed(name: str, parsed: Any) -> None:
    keys = [key for key in name[2:].split(".") if key not in _STRUCTURE]
    for linked, instead in LINKED.items():
        if f"{'.'.join(keys)}.".startswith(f"{linked}."):
            raise AedError(f"{name}: is set by another option; use {instead}")
    for key in keys:
        parsed = parsed[-1] if isinstance(parsed, list) and parsed else parsed
        parsed = _arguments(parsed)
        if not isinstance(parsed, dict):
            return
        if key not in parsed:
            raise AedError(_no_option(name, [f"{_parent(name)}{own}" for own in parsed]))
        parsed = parsed[key]


_STRUCTURE = ("class_path", "init_args", "dict_kwargs")


def _arguments(node: Any) -> Any:
    return (node.get("init_args") or {}) | (node.get("dict_kwargs") or {}) if _has_class(node) else node


def _has_class(node: Any) -> bool:
    return isinstance(node, dict) and bool({"class_path", "init_args"} & node.keys())


def _check_file(content: Any, parsed: Any, path: tuple[str, ...]) -> None:
    """A file's class may have been replaced on the command line: then its arguments are none of the parsed ones."""
    if not isinstance(content, dict) or not isinstance(parsed, dict) or _has_class(content) != _has_class(parsed):
        return
    cls = content.get("class_path")
    if cls and _has_class(content) and str(cls).rpartition(".")[2] != str(parsed["class_path"]).rpartition(".")[2]:
        return
    values = _arguments(parsed)
    for key, value in _arguments(content).items():
        name = ".".join((*path, str(key)))
        if key not in values:
            raise AedError(f"--config: {name}: there is no such key{_near(key, values)}")
        if name in LINKED and value != values[key]:
            raise AedError(f"--config: {name}: is set by another option; use {LINKED[name]}")
        _check_file(value, values[key], (*path, str(key)))


def _near(key: str, known: Iterable[str]) -> str:
    near = nearest(key, known)
    return f"; did you mean {near[0]}?" if near else ""


def option(key: str, value: Any) -> str:
    """The option that gives a key of a run's configuration a value, as a shell reads it."""
    name = f"data.{key}" if key.startswith("frontend.") else key
    if name == "model.net._target_":
        return shlex.quote(f"--model.net={value}")
    return shlex.quote(f"--{name}={value if isinstance(value, str) else json.dumps(value)}")


def explained(error: BaseException, parser: LightningArgumentParser, command: str) -> AedError:
    """An error of the parser in one line.

    Args:
        error: As the parser raises it.
        parser: Of the subcommand.
        command: Its name.
    """
    text = str(error)
    if found := re.search(r"unrecognized arguments: (\S+)", text):
        return AedError(_no_option(found[1], list(parser._option_string_actions)))
    hidden = (*_STRUCTURE, command)
    keys = [key for part in re.findall(r'(?:Parser key|key) "([\w.]+)"', text) for key in part.split(".")]
    name = ".".join(key for key in dict.fromkeys(keys) if key not in hidden)
    if found := re.search(r"Option '([\w.]+)' is not accepted", text):
        cls = re.findall(r"class_path[ =]'([\w.]+)'", text)
        known = list(inspect.signature(get_object(cls[-1])).parameters) if cls else []
        return AedError(_no_option(f"--{name}.{found[1]}", [f"--{name}.{key}" for key in known if key != "self"]))
    if found := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", text):
        return AedError(f"--{name}.{found[1]}.{found[2]}: there is no such option; see --{keys[0]}.help")
    if found := re.search(r"Expected a dot import path string: (\S+)", text):
        return AedError(_no_class(name, found[1]))
    if found := re.search(r"arguments? (?:are|is) required: (.+)", text):
        inside = f"{name}." if name else ""
        missing = [
            inside + ".".join(key for key in own.split(".") if key not in hidden) for own in found[1].split(", ")
        ]
        return AedError(f"{command}: needs {' and '.join(f'--{own}' for own in missing)}, or --experiment")
    if "subcommand" in text:
        return AedError(f"need one of fit, validate, test, predict, export, got {command!r}; see aed cli --help")
    kinds = re.findall(r"Expected (?:an? )?([^\n]+?)(?:\. Got value: .*)?$", text, re.MULTILINE)
    if not kinds or not name:
        return AedError(re.sub(r'Parser key "([\w.]+)":', r"--\1:", " ".join(text.split())))
    got = re.search(r"Got value: (.*)$|Given value: (?!NestedArg)(.*)$", text, re.MULTILINE)
    nested = re.search(r"NestedArg\(key='[^']*', val='?(.*?)'?\)$", text, re.MULTILINE)
    value = next(filter(None, got.groups())) if got else nested[1] if nested else "another value"
    needed = [kind for kind in dict.fromkeys(map(_kind, kinds)) if kind != "null"]  # what holds the key may be null
    return AedError(f"--{name}: need {' or '.join(needed[:2]) or 'null'}, got {value}")


KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "NoneType": "null"}
"""Python's types in words."""


def _kind(text: str) -> str:
    name = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>|typing\.", lambda own: own[1] or "", text)
    return KINDS.get(name, name.replace("Literal", "one of "))


def _no_option(word: str, known: list[str]) -> str:
    name, equals, value = word.partition("=")
    near = nearest(name.rpartition(".")[2], [own.rpartition(".")[2] for own in known if _parent(own) == _parent(name)])
    meant = f"did you mean {_parent(name)}{near[0]}{equals}{value}?" if near else "see --help"
    return f"{name}: there is no such option; {meant}"


def _parent(name: str) -> str:
    return name[: name.rfind(".") + 1] if "." in name else "--"


def _no_class(name: str, value: str) -> str:
    known = CLASSES.get(name, [])
    near = nearest(value, known)
    hint = f"; did you mean --{name}={near[0]}?" if near else f"; there are {', '.join(known)}" if known else ""
    return f"--{name}: {value} is no class, nor a file{hint}"
