"""Figures in an answer of the service: the reports of ST's tool, and the time on the farm's board."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.target.cloud.secrets import Secrets
from aed.target.report import Cost, Figure, Source
from aed.target.stedgeai.parse import Reading, merge, number, read_c_info, read_report

log = logging.getLogger(__name__)

MEASURED = ("cycles", "inference_ms")
"""Figures of the board; all others are the tool's arithmetic."""

EXTERNAL = 0x6000_0000
"""Memory of a Cortex-M from here on is outside the chip."""

_FILES = {"info": "network_c_info.json", "report": "network_report.json", "graph": "network_c_graph.json"}


@dataclass(frozen=True)
class RunResult:
    """Figures of a run.

    Args:
        cost: Of the net.
        tool: Version of ST Edge AI Core; empty: unknown.
        details: More, JSON.
    """

    cost: Cost
    tool: str
    details: Mapping[str, Any]


def read_answer(content: Mapping[str, Any], folder: Path, secrets: Secrets) -> RunResult:
    """Figures of ``report``, ``graph`` and ``info``, which are also written to ``folder``.

    A figure that is missing, of another type or absurd is left out.

    Args:
        content: Of a run: ``benchmark`` of a benchmark, ``result`` of an analysis.
        folder: For the files; their names are chosen here, never by the service.
        secrets: Removed from files and texts.

    Raises:
        RecursionError: The content is too deep.
    """
    readings = []
    for key, read in (("info", read_c_info), ("report", read_report)):
        if isinstance(content.get(key), dict):
            path = _write(folder / _FILES[key], secrets.clean_json(content[key]))
            try:
                readings.append(_without_empty(read(json.dumps(content[key]).encode(), path)))
            except AedError as error:
                log.warning("%s: not used", secrets.line(str(error)))
    if isinstance(content.get("graph"), dict):
        _write(folder / _FILES["graph"], secrets.clean_json(content["graph"]))
        readings.append(_read_graph(content["graph"]))
    reading = merge(readings)
    details = {key: value for key, value in reading.details.items() if key != "tool"}
    memory = _pools(content.get("info")) or _pools(content.get("graph"))
    agreement = _agreement(content.get("info"), content.get("report"))
    more = {"ram_in_use_bytes": memory, "agreement_on_random_inputs": agreement}
    return RunResult(
        cost=Cost(
            figures={key: Figure(value, _source(key)) for key, value in reading.figures.items()},
            layers=tuple(map(secrets.clean_json, reading.layers)),
        ),
        tool=secrets.line(str(reading.details.get("tool") or "")),
        details=secrets.clean_json(details | {key: value for key, value in more.items() if value}),
    )


def _without_empty(reading: Reading) -> Reading:
    """A reading without empty details, so that those of another one are taken."""
    return replace(reading, details={key: value for key, value in reading.details.items() if value})


def _source(key: str) -> Source:
    return "measured" if key in MEASURED else "vendor"


def _write(path: Path, content: Any) -> Path:
    """Writes JSON; NaN and the like stay as they came."""
    text = json.dumps(content, indent=1, sort_keys=True)
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def _read_graph(graph: Mapping[str, Any]) -> Reading:
    """Figures of the older ``network_c_graph.json``."""
    memory, time = (_dict(graph.get(key)) for key in ("memory_footprint", "exec_time"))
    values = {
        "weights_bytes": number(memory.get("weights"), least=1),
        "activations_bytes": number(memory.get("activations"), least=1),
        "library_flash_bytes": number(memory.get("kernel_flash"), least=1),
        "library_ram_bytes": number(memory.get("kernel_ram")),
        "macc": number(graph.get("macc"), least=1),
        "cycles": number(time.get("cycles"), least=1),
        "inference_ms": number(time.get("duration_ms"), least=1e-9),
    }
    device = time.get("device")
    return Reading(
        figures={key: value for key, value in values.items() if value is not None},
        details={"device": device[:200]} if isinstance(device, str) else {},
    )


def _pools(source: object) -> dict[str, float]:
    """Bytes of RAM in use on the chip (``internal``) and beside it, where the report has them."""
    used: dict[str, float] = {}
    pools = _dict(source).get("memory_pools")
    for pool in map(_dict, pools if isinstance(pools, list) else []):
        size = number(pool.get("used_size_bytes", pool.get("used_size")))
        if size is None or pool.get("virtual") or pool.get("subpools") or pool.get("rights") == "ACC_READ":
            continue
        outside = "EXTERNAL" in str(pool.get("name")).upper() or _address(pool.get("address")) >= EXTERNAL
        side = "external" if outside else "internal"
        used[side] = used.get(side, 0) + size
    return used


def _address(value: object) -> int:
    """An address, written as number or text; 0 where it is none."""
    try:
        return int(value[:20], 0) if isinstance(value, str) else int(number(value) or 0)
    except ValueError:
        return 0


def _agreement(info: object, report: object) -> list[dict[str, Any]]:
    """Agreement of the C code's outputs with the model's, on the service's random inputs."""
    for source in (_dict(info).get("validation"), info, report):
        rows = _dict(source).get("val_metrics")
        if isinstance(rows, list) and rows:
            shown = [_numbers(row) | _texts(row) for row in map(_dict, rows[:20])]
            return [row for row in shown if row]
    return []


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    values = {key: number(row.get(key), least=-1.0) for key in ("rmse", "mae", "l2r", "cos")}
    return {key: value for key, value in values.items() if value is not None}


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    return {key: row[key][:200] for key in ("desc", "ts_name") if isinstance(row.get(key), str)}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
