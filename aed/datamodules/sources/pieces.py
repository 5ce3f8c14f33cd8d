"""Clips that may be pieces of one recording, by their names, where the data set names no sources."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

MARKS = (
    # rec_chunk3.wav, rec-part-2.wav, rec.seg01.wav.1a2b3c.wav, rec_aug.wav
    r"(?:[ _.-]+|(?<=\d))(?:(?i:chunk|piece|part|segment|seg|slice|split|excerpt|crop|window|frame)[ _.-]*\d+"
    r"|(?i:aug)\w*)",
    # what Edge Impulse cuts a sample into: rec.s12.wav, rec.1a2b3c.s12.wav
    r"\.s\d+",
)
"""Suffixes that tools append to the names of pieces and copies of one recording."""

_EXTENSION = r"\.[^/.]+"
_END = _EXTENSION + "$"
_COUNTER = r"\d\d?\d?\d?"
"""Up to four digits; in {1,4} is a comma, which separates the jobs of a sweep."""

LIKELY = (
    # rec_3.wav, rec (3).wav; then two and three counters, 100263-2-0-117.wav
    rf"/([^/]+?)[ _.-]+\(?{_COUNTER}\)?" + _END,
    rf"/([^/]+?)(?:[ _.-]{_COUNTER}){{2}}" + _END,
    rf"/([^/]+?)(?:[ _.-]{_COUNTER}){{3}}" + _END,
)
"""Counters, which different recordings have, too; from fine to coarse. Longer numbers are times or identities."""

LETTERS = rf"/([^/]+?)[ _.-][A-Z](?:[ _.-]{_COUNTER})?" + _END
"""1-100032-A-0.wav, as ESC-50 names takes of one recording."""

SHARE = 0.2
"""Smallest share of clips with a common prefix for a counter to mean pieces."""

PREFIXES = 3
"""Smallest number of prefixes of a class: dog_1 to dog_40 are forty recordings of dogs."""

KEPT = 0.5
"""A coarser pattern finds fewer recordings; with less than this share of them it finds something else: folds, days."""


@dataclass(frozen=True)
class PossibleLeak:
    """Clips that may be of one recording and are in different splits.

    Args:
        pattern: Regular expression whose group finds the recording in ``/<file name>``, as ``source_pattern``.
        is_sure: Whether the mark is one that tools give to pieces.
        recordings: How many are on several sides.
        pairs: Pairs of clips of one recording, and one class, that are on different sides.
        examples: Two clips of each such recording.
    """

    pattern: str
    is_sure: bool
    recordings: int
    pairs: int
    examples: tuple[tuple[str, str], ...]


def find_possible_leaks(table: pd.DataFrame) -> PossibleLeak | None:
    """The pattern of the names, where some recording seems to be on both sides; else None, as where sources are known.

    Args:
        table: A clip table with its splits.
    """
    if table["src_file"].dropna().duplicated().any():
        return None
    rows = table[table["split"].isin(["train", "val", "test"])].drop_duplicates("path")
    is_single = bool((rows["labels"].map(len) == 1).all())
    clips = pd.DataFrame(
        {
            "name": rows["path"].map(lambda path: path.name),
            # of one class: names of several classes may begin alike
            "label": rows["labels"].map(lambda own: own[0] if is_single else ""),
            "split": rows["split"],
        }
    )
    for mark in MARKS:
        if guess := _straddling(clips, _marked(clips, mark), is_sure=True):
            return guess
    chosen = _counter(clips)
    return _straddling(clips, chosen, is_sure=False) if chosen else None


def _prefixes(clips: pd.DataFrame, pattern: str) -> "pd.Series[Any]":
    """Text of a pattern's group in the names that match."""
    expression = re.compile(pattern)
    keys = clips["name"].map(lambda name: match[1] if (match := expression.search(f"/{name}")) else None)
    return keys.dropna()


def _marked(clips: pd.DataFrame, mark: str) -> str:
    """The pattern of names with a mark, as short as may be, and of the recordings themselves where they are there."""
    prefix = _prefixes(clips, f"/([^/]+?){mark}(?:\\.[^/]*)?$")
    ends = [name[len(own) :] for name, own in zip(clips.loc[prefix.index, "name"], prefix, strict=True)]
    words = {match[0] for end in ends if (match := re.match(r"[ _.-]*[a-zA-Z]+[ _.-]*", end))}
    if (
        len(words) == 1
        and (short := rf"{re.escape(words.pop())}\d+")
        and _prefixes(clips, f"/([^/]+?){short}(?:\\.[^/]*)?$").equals(prefix)
    ):
        mark = short
    stems = clips["name"].str.replace(r"\.[^.]*$", "", regex=True)
    if stems.isin(set(prefix)).any():
        return f"/([^/]+?)(?:{mark}(?:\\.[^/]*)?|{_EXTENSION})$"
    return f"/([^/]+?){mark}(?:\\.[^/]*)?$"


def _counter(clips: pd.DataFrame) -> str | None:
    """The pattern of the counters that number pieces, if they do."""
    chosen, recordings = None, 0
    for pattern in LIKELY:
        number = _recordings(clips, pattern)
        if number and (chosen is None or number >= KEPT * recordings):
            chosen, recordings = pattern, number
    return chosen or (LETTERS if _recordings(clips, LETTERS) else None)


def _recordings(clips: pd.DataFrame, pattern: str) -> int:
    """Number of recordings that a pattern tells apart; 0 where its groups do not look like recordings."""
    prefix = _prefixes(clips, pattern)
    if prefix.empty or prefix.str.fullmatch(r"\d{1,2}").all():  # numbers of folds, rooms, days
        return 0
    groups = clips.loc[prefix.index].groupby([clips["label"], prefix]).size()
    by_class = groups.groupby(level=0).size()
    if groups[groups > 1].sum() < SHARE * len(clips) or by_class.median() < PREFIXES:
        return 0
    return len(groups)


def _straddling(clips: pd.DataFrame, pattern: str, is_sure: bool) -> PossibleLeak | None:
    """The recordings that are on several sides of the split; None where there are none."""
    prefix = _prefixes(clips, pattern)
    matched = clips.loc[prefix.index].assign(recording=prefix)
    by_recording = ["label", "recording"]
    matched = matched[matched.groupby(by_recording)["split"].transform("nunique") > 1].sort_values(by_recording)
    if matched.empty:
        return None
    sizes = matched.groupby([*by_recording, "split"]).size()
    pairs = int((sizes.groupby(level=[0, 1]).sum() ** 2).sum() - (sizes**2).sum()) // 2
    first = matched.drop_duplicates([*by_recording, "split"]).groupby(by_recording)["name"]
    examples = tuple(zip(first.nth(0), first.nth(1), strict=True))
    return PossibleLeak(pattern, is_sure, len(examples), pairs, examples)
