"""What the nets of runs cost: from the reports that the stages quantize and benchmark left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.scoring.tables import read_json

Costs = Sequence[Mapping[str, str | float]]
"""A row for each part of the program, ``net`` or ``front end``, and each board it was measured on."""

_FIGURES = ("macc", "weights_bytes", "activations_bytes", "flash_bytes", "ram_bytes", "instructions", "inference_ms")


def read_costs(runs: Sequence[Path]) -> Costs:
    """Costs of one recipe's int8 net, of its runs the greatest.

    Args:
        runs: Folders of its trainings.

    Returns:
        Rows with ``part``, ``target``, ``board``, figures and ``source``; of a net that no board measured what the
        quantisation counted, ``target`` and ``board`` empty; [] without an int8 net.

    Raises:
        AedError: A report is damaged.
    """
    found: dict[tuple[str, str, str], dict[str, str | float]] = {}
    for run in runs:
        for row in _of_run(run):
            key = str(row["part"]), str(row["target"]), str(row["board"])
            own = found.setdefault(key, dict(row))
            own |= {name: max(float(row[name]), float(own.get(name, 0))) for name in _FIGURES if name in row}
    is_measured = any(part == "net" and target for part, target, _ in found)
    return [row for (_, target, _), row in found.items() if target or not is_measured]


def _of_run(run: Path) -> list[dict[str, str | float]]:
    reports = sorted(run.glob("target/*/*/report.json"))
    rows = [row for path in reports for row in _of_report(path, read_json(path))]
    if facts := read_json(run / "quantization.json"):
        counted = {key: value for key in _FIGURES if (value := facts.get("footprint", {}).get(key)) is not None}
        rows.append({"part": "net", "target": "", "board": "", **counted, "source": "estimated"})
    return rows


def _of_report(path: Path, content: Mapping[str, Any]) -> list[dict[str, str | float]]:
    try:
        place = {"target": str(content["target"]), "board": str(content["board"])}
        parts = {"net": content, "front end": content.get("frontend")}
        return [_row(name, place, part) for name, part in parts.items() if part]
    except (KeyError, TypeError, AttributeError) as error:
        raise AedError(f"{path}: damaged ({error!r}); measure the run again: aed benchmark") from error


def _row(name: str, place: Mapping[str, str], part: Mapping[str, Any]) -> dict[str, str | float]:
    known = {key: part[key] for key in _FIGURES if part.get(key) is not None}
    sources = sorted({figure["source"] for figure in known.values()})
    return {
        "part": name,
        **place,
        **{key: float(figure["value"]) for key, figure in known.items()},
        "source": "/".join(sources),
    }
