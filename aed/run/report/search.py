"""What a search has found: its trials with score and costs, the front, and the winners as they were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.run.report.checks import numbers, texts
from aed.run.search.files import MARK, RESULTS
from aed.run.search.front import OBJECTIVES
from aed.scoring import tables

COSTS = ("instructions", "flash_bytes", "ram_bytes")
"""Of each trial that was not refused at once, estimated; of a winner also measured."""

_TRIAL = ("number", "state", "words", "why", "shipped", "score", "costs", "seconds")
_WINNER = ("number", "score", "estimated", "costs", "source", "tested", "validated")


def is_search(folder: Path) -> bool:
    """Whether a folder is that of a search."""
    return (folder / MARK).is_file()


def search_subject(folder: Path) -> dict[str, Any]:
    """The content of a search.

    Raises:
        AedError: It has not ended yet, or its file is damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise AedError(f"{folder}: its search has not ended; the same aed search goes on with it")
    content = tables.read_json(path)
    try:
        _check(content)
        return {
            "kind": "search",
            "name": str(folder),
            "trials": [{key: own[key] for key in _TRIAL} for own in content["trials"]],
            "winners": [_winner(own, content["trials"]) for own in content["winners"]],
            "refused": content["no winners"],
        } | {key: content[key] for key in ("board", "limits", "metric", "objectives", "front")}
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise AedError(f"{path}: damaged ({error}); the same aed search writes it anew") from error


def _winner(own: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A winner with the words and the command of its trial."""
    trial = next(trial for trial in trials if trial["number"] == own["number"])
    more = {"words": trial["words"], "command": trial["command"], "between": own.get("between")}
    return {key: own[key] for key in _WINNER} | more


def _check(content: Mapping[str, Any]) -> None:
    """Refuses a record of which no page could be made."""
    texts([content["board"], content["metric"], *content["objectives"], *content["no winners"].values()])
    if unknown := set(content["objectives"]) - set(OBJECTIVES):
        raise ValueError(f"an objective {min(unknown)!r}")
    numbers([value for value in content["limits"].values() if value is not None])
    known = {own["number"] for own in content["trials"]}
    numbers([*known, *content["front"]])
    for own in content["trials"]:
        texts([own["state"], own["words"], own["why"], own["command"]])
        numbers([own["seconds"], *([] if own["score"] is None else [own["score"]])])
        if own["costs"] is not None:
            numbers([own["costs"][key] for key in COSTS])
        if own["number"] in content["front"] and (own["score"] is None or own["costs"] is None):
            raise ValueError(f"trial {own['number']} is best and has no score")
    for own in content["winners"]:
        texts([own["source"]])
        numbers([own["score"], *own["tested"].values(), *(own.get("between") or ())])
        numbers([own[part][key] for part in ("estimated", "costs") for key in COSTS])
        numbers([own["validated"]] if own["validated"] is not None else [])
    if missing := {*content["front"], *(own["number"] for own in content["winners"])} - known:
        raise ValueError(f"there is no trial {min(missing)}")
