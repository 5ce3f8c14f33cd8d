"""Regular expressions that find a recording, or a fold, in the name of a file."""

import re
from typing import Any

import pandas as pd

from aed.base.errors import AedError

Pattern = tuple[re.Pattern[str], str | int]
"""A compiled expression, and the name or number of the group whose text is the answer."""


def compiled(key: str, text: str | None, group: str) -> Pattern | None:
    """The compiled expression with one group, or one called ``group``.

    Raises:
        AedError: It is none.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise AedError(f"data.clips.{key}: {text!r} is no regular expression ({error})") from error
    if group in pattern.groupindex:
        return pattern, group
    if pattern.groups != 1:
        raise AedError(
            f"data.clips.{key}: need one group, (...), or one named (?P<{group}>...); "
            f"{text!r} has {pattern.groups} groups"
        )
    return pattern, 1


def found_by(pattern: Pattern | None, key: str) -> Any:
    """Text of the pattern's group, or NA."""
    match = pattern[0].search(key) if pattern else None
    return (match[pattern[1]] or pd.NA) if pattern and match else pd.NA


def with_pattern(rows: pd.DataFrame, source_pattern: str | None) -> Any:
    """The column ``src_file`` of a list, its gaps filled with what a pattern finds in ``filename``, else ""."""
    listed: pd.Series[Any] = rows.get("src_file", pd.Series("", rows.index, dtype=object))
    if (pattern := compiled("source_pattern", source_pattern, "src")) is None:
        return listed
    # a name alone has a folder before it, too, as it would have in data=folder
    matched = rows["filename"].map(lambda name: found_by(pattern, f"/{name}"))
    return listed.where(listed != "", matched.fillna(""))
