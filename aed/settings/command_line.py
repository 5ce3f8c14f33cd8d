"""Words of a command line that are wrong before anything is composed; imports nothing but the standard library."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from aed.base.errors import AedError
from aed.base.overrides import quoted

VALUED = {"--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"}
VALUED |= {"--info", "-i", "--experimental-rerun"}
"""Hydra's options that take a value."""

MULTIRUN = {"-m", "--multirun"}

_PLAIN = {"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--shell-completion", "-sc"}
_PLAIN |= MULTIRUN

_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_CHOICES |= {"-c": _CHOICES["--cfg"], "-i": _CHOICES["--info"]}

_KEY = re.compile(r"(?:\+\+?|~)?(\w[\w./@:-]*)=")


def _parsed(words: Sequence[str]) -> Iterator[tuple[str, str | None, bool]]:
    """The words of a command line: option or word, value of an option, and whether it is an option."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            yield word, None, False
            continue
        name, equals, value = word.partition("=")
        if equals:
            yield name, value, True
        elif name in VALUED and rest and not rest[0].startswith("-"):
            yield name, rest.pop(0), True
        else:
            yield name, None, True


def check_options(words: Sequence[str], command: str) -> None:
    """Refuses an option that Hydra does not have, and one without its value.

    Args:
        words: Of the command line.
        command: For the message: ``aed train``.

    Raises:
        AedError: Names the first.
    """
    known = sorted(VALUED | _PLAIN)
    for name, value, is_option in _parsed(words):
        if not is_option:
            continue
        meant = [own for own in known if own == name or (name[:2] == "--" and own.startswith(name))]
        if not meant or name == "--":
            raise AedError(f"{command}: no option {name}; see {command} --help")
        option = name if name in meant else meant[0]
        allowed = _CHOICES.get(option, ())
        needed = f"one of {', '.join(allowed)}" if allowed else "a value"
        if option in VALUED and option not in ("--info", "-i") and not value:
            raise AedError(f"{command}: {name} needs {needed}")
        if value is not None and allowed and value not in allowed:
            raise AedError(f"{command}: {name} needs {needed}, got {value}")


def given(words: Sequence[str], other: str | None = None) -> set[str] | None:
    """The keys that a command line names; None where it has an option but ``-m``, or words that are for no key.

    Args:
        words: Of the command line.
        other: The key that words without ``=`` are for.
    """
    keys = set()
    for word, _, is_option in _parsed(words):
        if is_option and word not in MULTIRUN:
            return None
        if not is_option:
            match = _KEY.match(word)
            key = match[1].partition("@")[0] if match else other
            if key is None:
                return None
            keys.add("model" if key == "model_file" else key)
    return keys


def choose(group: str, names: Sequence[str], config_dir: Path) -> str:
    """Message where a file of a group has to be chosen: the files with what they say of themselves."""
    width = max(map(len, names), default=0)
    lines = [f"  {name:<{width}}  {first_comment(config_dir / group / f'{name}.yaml')}".rstrip() for name in names]
    return "\n".join([f"{group}: choose one, {group}=<name>", *lines])


def first_comment(path: Path) -> str:
    """First line of the comment on top of a configuration file: what it is; empty where it has none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    first = next((line for line in lines if not line.startswith("# @package")), "")
    return first.removeprefix("#").strip().rstrip(".:") if first.startswith("#") else ""


def with_others(words: Sequence[str], own: Collection[str], gathered: str) -> list[str]:
    """A command line with the settings of keys that are not its own gathered in a list of texts.

    Args:
        words: Of the command line.
        own: Keys of the command.
        gathered: Key of the list.
    """
    kept: list[str] = []
    others: list[str] = []
    is_value = False
    for word in words:
        match = None if is_value else _KEY.match(word)
        is_other = match is not None and match[1] not in own and not match[1].startswith("hydra")
        (others if is_other else kept).append(word)
        is_value = word in VALUED
    return [*kept, f"{gathered}=[{','.join(map(quoted, others))}]"] if others else kept
