"""Names and values as MLflow accepts them, no two of which become one; credentials in neither."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

MOST_LETTERS = 250
"""Of a name."""

MOST_IN_VALUE = 6000
"""Letters of a parameter; the whole configuration is a file of the run."""

_REFUSED = re.compile(r"[^\w.\- /]")
_HOLLOW = {"": "::", ".": ":2e:", "..": ":2e::2e:"}
"""Parts of a path that MLflow would leave out."""

_SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|ACCESS_KEY|API_KEY")
_LEAST_SECRET = 6
"""Letters; a shorter one would be found in words that have nothing to do with it."""


def metric_name(name: str) -> str:
    """``name`` with ``:`` and the code, in hex, for each letter that MLflow refuses: another for each name.

    Lightning's logger leaves such letters out: of classes ``a,b`` and ``ab`` the later one's score would be kept.
    """
    clean = _REFUSED.sub(lambda match: f":{ord(match[0]):x}:", name)
    clean = "/".join(_HOLLOW.get(part, part) for part in clean.split("/"))
    if len(clean) <= MOST_LETTERS:
        return clean
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{clean[: MOST_LETTERS - len(digest) - 1]}:{digest}"


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as ``data/clips/root`` -> text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}/")
        else:
            text = str(value)
            found[name] = text if len(text) <= MOST_IN_VALUE else f"{text[: MOST_IN_VALUE - 3]}..."
    return found


def without_secrets(value: Any) -> Any:
    """Plain settings, with stars where a text has the value of a variable that holds a credential.

    Such are variables whose names have TOKEN, PASSWORD, SECRET, ACCESS_KEY or API_KEY in them.
    """
    held = [text for name, text in os.environ.items() if _SECRET.search(name.upper()) and len(text) >= _LEAST_SECRET]
    return _without(value, sorted(held, key=len, reverse=True))


def _without(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, dict):
        return {_without(key, secrets): _without(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value
