"""``aed help <word>``: what a verb or a key is, and where a word occurs that is neither."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.run.help import entries, head, other_defaults, page, verbs, with_options, wrapped

_FEW = 3
"""Most keys that are explained in full where a word means several."""

_MOST_FOUND = 10

_LIKENESS = 0.75
"""Least likeness of a name that is suggested."""


def explain(word: str) -> str:
    """What a verb or a key is, all verbs that take it together.

    Args:
        word: A verb; a key, with ``=`` where a verb has its name; the end of a key (``lr``); the start of several
            (``data.``); else a choice, a part of a key's name, or words of a meaning (``learning_rate``).

    Raises:
        AedError: Names the nearest, or all verbs.
    """
    known = {entry["key"] for verb in verbs() for entry in entries(verb)}
    if word in verbs():
        keys = f"aed help {word}= explains the key {word}, aed help {word}. lists the keys below it.\n\n"
        return (keys if word in known else "") + page(word)
    wanted = word.partition("=")[0].lstrip("+~").rstrip(".*")
    exact = sorted(key for key in known if key.replace("/", ".") == wanted.replace("/", "."))
    ends = sorted(key for key in known if key.endswith(f".{wanted}"))
    inside = sorted(key for key in known if key.startswith(f"{wanted}."))
    names = (word.endswith((".", "*")) and inside) or exact or ends or inside
    if not names:
        return _found(word, wanted, known)
    is_few = names == exact or len(names) <= _FEW
    blocks = ["\n".join(_explained(name)) for name in names] if is_few else ["\n".join(_brief(_called(names)))]
    if names == exact and inside:
        blocks.append("\n".join(wrapped(f"Keys below it: {', '.join(inside)}", 2)))
    if names == exact and ends:
        blocks.append("\n".join(["Keys of that name elsewhere", *_brief(_called(ends))]))
    similar = sorted(set(_similar(wanted, known)).difference(exact, ends, inside))
    if names in (exact, ends) and "=" not in word and similar:
        blocks.append("\n".join(wrapped(f"Keys with {wanted} in their name: {', '.join(similar)}", 2)))
    return "\n\n".join(blocks)


def _similar(wanted: str, known: Iterable[str]) -> list[str]:
    """Keys of whose last part a word starts with what is wanted."""
    last = wanted.rpartition(".")[2]
    parts = {key: re.split(r"[./]", key)[-1].split("_") for key in known}
    return sorted(key for key, words in parts.items() if len(last) >= 3 and any(own.startswith(last) for own in words))


def _found(word: str, wanted: str, known: Collection[str]) -> str:
    """Where a word that no key has for a name occurs: among the choices, in names, else in meanings.

    Raises:
        AedError: Nowhere, or it is close to a name.
    """
    blocks = []
    if lines := list(_choices(wanted)):
        blocks.append("\n".join([f"{wanted} is no key, but a choice or a part of one", *lines]))
    if names := _similar(wanted, known):
        blocks.append("\n".join([f"Keys with {wanted} in their name", *_brief(_called(names))]))
    if blocks:
        return "\n\n".join(blocks)
    ends = {re.split(r"[./]", key)[-1]: key for key in sorted(known, reverse=True)}
    near = nearest(wanted, [*known, *verbs()], _LIKENESS)
    near = near or [ends[end] for end in nearest(wanted.rpartition(".")[2], ends, _LIKENESS)]
    if near:
        raise AedError(f"{word}: no verb or key; did you mean aed help {near[0]}?")
    if keys := _with_meaning(wanted):
        return "\n".join([f"{wanted} is no key; keys whose meaning has it", *_brief(keys, _MOST_FOUND)])
    raise AedError(f"{word}: no verb, key or choice, nor in the meaning of one; the verbs are {', '.join(verbs())}")


def _choices(name: str) -> Iterator[str]:
    """Lines about the choices that are called so, or have it between underscores."""
    found: dict[tuple[str, str], list[str]] = {}
    for verb in verbs():
        for entry in entries(verb):
            described = entry.get("options") or dict.fromkeys(entry.get("choices", ()), entry["meaning"])
            for option, text in described.items():
                if name.lower() in (option.lower(), *option.lower().split("_")):
                    found.setdefault((f"{entry['key']}={option}", text), []).append(verb)
    for (choice, text), takers in found.items():
        yield from wrapped(f"  {choice}  {_verbs(takers)}", 6)
        yield from wrapped(f"      {text}", 6)


def _with_meaning(wanted: str) -> list[tuple[str, dict[str, Any]]]:
    """Verbs and keys whose meaning has all words of what is wanted, the shortest meanings first."""
    words = re.findall(r"[^\W_]+", wanted.lower())
    patterns = [re.compile(rf"\b{re.escape(word)}" + ("" if len(word) > 3 else r"\b")) for word in words]
    found = [
        (verb, entry)
        for verb in verbs()
        for entry in entries(verb)
        if patterns and all(pattern.search(entry["meaning"].lower()) for pattern in patterns)
    ]
    return sorted(found, key=lambda item: (" ".join(words) not in item[1]["meaning"].lower(), len(item[1]["meaning"])))


def _verbs(names: Iterable[str]) -> str:
    return ", ".join(f"aed {verb}" for verb in dict.fromkeys(names))


def _called(names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Verbs and keys of these names."""
    return [(verb, entry) for name in names for verb in verbs() for entry in entries(verb) if entry["key"] == name]


def _brief(keys: Iterable[tuple[str, dict[str, Any]]], most: int | None = None) -> Iterator[str]:
    """Lines about several keys: type, verbs and meaning, those of one meaning together."""
    found: dict[str, dict[str, list[str]]] = {}
    for verb, entry in keys:
        text = entry["meaning"]
        if len(entry.get("with", ())) in range(1, _FEW + 1):
            text += f" Only with {with_options(entry['with'])}."
        found.setdefault(text, {}).setdefault(head(entry), []).append(verb)
    for text in list(found)[:most]:
        for title, takers in found[text].items():
            yield from wrapped(f"  {title}  {_verbs(takers)}", 6)
        yield from wrapped(f"      {text}", 6)
    if most and len(found) > most:
        yield f"  and {len(found) - most} more"


def _explained(name: str) -> Iterator[str]:
    """Lines about a key of that name."""
    found = [(verb, entry) for verb in verbs() for entry in entries(verb) if entry["key"] == name]
    seen: list[dict[str, Any]] = []
    for _, entry in found:
        if entry in seen:
            continue
        seen.append(entry)
        takers = [verb for verb, other in found if other == entry]
        yield from wrapped(head(entry), 4)
        yield from wrapped(f"    {entry['meaning']}", 4)
        for option, text in entry.get("options", {}).items():
            yield from wrapped(f"      {option}: {text}" if text else f"      {option}", 8)
        if "with" in entry:
            yield from wrapped(f"    only with {with_options(entry['with'])}", 4)
        for default, options in other_defaults(entry).items():
            yield from wrapped(f"    default {default} with {with_options(options)}", 6)
        if "file" in entry:
            yield f"    default from {entry['file']}"
        if own := entry.get("experiments"):
            yield from wrapped("    experiments: " + ", ".join(f"{key} {value}" for key, value in own.items()), 6)
        yield f"    taken by: {_verbs(takers)}"
