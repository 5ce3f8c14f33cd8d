"""Reports of the tool: JSON files, text, arrays. A number that is missing or absurd is unknown, never 0.

The JSON layouts are those of published files: ``network_c_info.json`` (schema 2.0, Core 2.0 and newer) and
``network_report.json`` (before).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

Outputs = npt.NDArray[Any]

MOST = 1e15
"""No figure of a net on a microcontroller is larger."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Contents of a report.

    Args:
        figures: By key of :data:`aed.target.report.FIGURES`.
        layers: A row a layer: ``name``, ``kind`` and figures.
        details: More, JSON.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def merge(readings: Iterable[Reading]) -> Reading:
    """One reading of several; where two have a figure, the earlier one is taken."""
    figures: dict[str, float] = {}
    details: dict[str, Any] = {}
    layers: tuple[Mapping[str, Any], ...] = ()
    for reading in readings:
        figures = dict(reading.figures) | figures
        details = dict(reading.details) | details
        layers = layers or reading.layers
    return Reading(figures=figures, layers=layers, details=details)


def number(value: object, least: float = 0.0, most: float = MOST) -> float | int | None:
    """``value`` where it is a number that can be meant, else None: bool, NaN, negative and huge ones are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if least <= value <= most else None  # NaN fails both


def _sum(values: Iterable[float | int | None]) -> float | int | None:
    """The sum of what is known in full."""
    total: float | int = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _size(value: object) -> float | int | None:
    """A number, or the sum of a list of them."""
    return _sum(number(item) for item in value) if isinstance(value, list) else number(value)


def _some(value: float | int | None) -> float | int | None:
    """A size that cannot be 0: then the tool did not count."""
    return value or None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _known(figures: Mapping[str, float | int | None]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if value is not None}


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""


def read_json(raw: bytes, path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        raw: The file's bytes.
        path: The file, for messages.

    Raises:
        AedError: It is cut off or holds something else.
    """
    try:
        content = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AedError(
            f"{path}: cut off or damaged ({type(error).__name__}: {str(error)[:100]}); run it again"
        ) from error
    if not isinstance(content, dict):
        raise AedError(f"{path}: need a JSON object, got {type(content).__name__}; it is no report of ST's tool")
    return content


def read_c_info(raw: bytes, path: Path) -> Reading:
    """Figures of ``network_c_info.json`` or ``network_c_info_valid.json``.

    ``kernel_flash`` holds the toolchain's part already (the sizes in ST's own report of Core 4.0.1 show it), so that is
    not added again.

    Raises:
        AedError: It is damaged, or of another schema than 2.
    """
    content = read_json(raw, path)
    schema = content.get("json_schema_version")
    if not re.match(r"2\.", str(schema)[:20]):
        raise AedError(f"{path}: schema {str(schema)[:20]!r}; schema 2.0 is known")
    memory = _dict(content.get("memory_footprint"))
    weights, activations = _some(_size(memory.get("weights"))), _some(_size(memory.get("activations")))
    flash, ram = _some(_size(memory.get("kernel_flash"))), _size(memory.get("kernel_ram"))
    graph = _dict(next(iter(_list(content.get("graphs"))), None))
    nodes = [_dict(node) for node in _list(graph.get("nodes"))]
    time = _dict(graph.get("exec_time"))
    environment = _dict(content.get("environment"))
    core = _dict(next(iter(_list(environment.get("tools"))), None))
    figures = {
        "weights_bytes": weights,
        "activations_bytes": activations,
        "library_flash_bytes": flash,
        "library_ram_bytes": ram,
        "flash_bytes": _sum((weights, flash)),
        "ram_bytes": _sum((activations, _size(memory.get("io")), ram)),
        "macc": _some(_sum(number(node.get("macc")) for node in nodes)),  # Neural-ART: 0, not counted
        "cycles": _some(number(time.get("cycles"))),
        "inference_ms": _some(number(time.get("duration_ms"))),
    }
    details = {
        "tool": _text(core.get("version")),
        "device": _text(environment.get("device")),
        "memory_footprint": {
            str(key)[:40]: size for key, value in list(memory.items())[:20] if (size := _size(value)) is not None
        },
    }
    return Reading(figures=_known(figures), layers=tuple(map(_node, nodes)), details=details)


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's row."""
    macc = _some(number(node.get("macc")))
    row: dict[str, Any] = {"name": _text(node.get("name")), "kind": _text(node.get("type"))}
    return row | ({} if macc is None else {"macc": macc})


def read_report(raw: bytes, path: Path) -> Reading:
    """Figures of ``network_report.json``, which lacks the library; ``ram_size`` was a list up to 8.1.

    Raises:
        AedError: It is damaged, or reports an error.
    """
    content = read_json(raw, path)
    if content.get("error") not in (None, 0, False, ""):
        message = content.get("error_str")
        raise AedError(f"{path}: the tool failed: {str(message)[:300]}")
    figures = {
        "weights_bytes": _some(_size(content.get("rom_size"))),
        "activations_bytes": _some(_size(content.get("ram_size"))),
        "macc": _some(number(content.get("rom_n_macc"))),
    }
    return Reading(figures=_known(figures), details={"tool": _text(content.get("cli_version_str"))})


def plain_text(text: str) -> str:
    """``text`` with one kind of line end, progress bars in lines of their own, and without colours."""
    return re.sub(r"\x1b\[[0-9;]{0,20}m", "", text.replace("\r\n", "\n").replace("\r", "\n"))


_TAIL = {
    "flash_bytes": r"^ *Total Flash: {1,20}(\d{1,15}) B",
    "ram_bytes": r"^ *Total Ram: {1,20}(\d{1,15}) B",
    "weights_bytes": r"^ *(?:Weights: {1,20}|weights \(ro\) {1,20}: {1,20})([\d,]{1,20}) B",
    "activations_bytes": r"^ *(?:Activations: {1,20}|activations \(rw\) {1,20}: {1,20})([\d,]{1,20}) B",
    "library_flash_bytes": r"^ *Total Flash:.{0,60}\n *Weights:.{0,60}\n *Library: {1,20}(\d{1,15}) B",
    "library_ram_bytes": r"^ *Total Ram:.{0,60}\n *Activations:.{0,60}\n *Library: {1,20}(\d{1,15}) B",
    "macc": r"^ *macc {1,20}: {1,20}([\d,]{1,20}) *$",
}

_NO_ZERO = {"flash_bytes", "ram_bytes", "weights_bytes", "activations_bytes", "library_flash_bytes", "macc"}


def read_text(text: str) -> Reading:
    """Figures that the tool prints, also in its text report; the tail with the totals is not in every run."""
    figures = {}
    for key, pattern in _TAIL.items():
        if match := re.search(pattern, text, re.MULTILINE):
            value = number(int(match.group(1).replace(",", "") or "0"))
            figures[key] = (value or None) if key in _NO_ZERO else value
    return Reading(figures=_known(figures))


_GAP = " {1,40}"
_WORDS = 8 * (_GAP + r"(\S{1,24})")
_ROW = re.compile(r"^ {0,4}(HOST c-model|TARGET c-model|original model|X-cross) #1" + _WORDS, re.MULTILINE)
_COLUMNS = ("acc", "rmse", "mae", "l2r", "mean", "std", "nse", "cos")
_DURATION = re.compile(
    r"^ *duration {1,20}: {1,20}([\d.]{1,20}) ms by sample \(([\d.]{1,20})/([\d.]{1,20})/([\d.]{1,20})\)", re.MULTILINE
)
_CYCLES = re.compile(r"^ *CPU cycles {1,20}: {1,20}\[? ?([\d,]{1,24}) ?\]?", re.MULTILINE)
_LAYER = re.compile(
    _GAP.join(
        (r"^ {0,8}(\d{1,5})", r"(?:\d{1,5}|n/a|-)", r"(\S.{0,60}?)", r"([\d.]{1,20})", *2 * (r"[\d.]{1,8}%",), "")
    )
    + r"(?:\[([^\]\n]{0,120})\] *)?(\S{1,200}) *$",
    re.MULTILINE,
)


def _real(text: str) -> float | None:
    """A printed number, percent as fraction; None for ``n.a.``."""
    try:
        value = float(text.rstrip("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_validation(text: str) -> Reading:
    """Agreement, time and layers that ``validate`` prints.

    ``cos`` and ``rmse`` are those of the C code against the original model. The time is that of the machine the C code
    ran on. Rows of layers are as ST's runner prints them; not tried on the real tool.
    """
    figures: dict[str, float | int | None] = {}
    details: dict[str, Any] = {}
    rows = {row[0]: dict(zip(_COLUMNS, map(_real, row[1:]), strict=True)) for row in _ROW.findall(text)}
    if rows:
        details["agreement"] = rows
    if cross := rows.get("X-cross"):
        figures["rmse"] = number(cross["rmse"])
        figures["cos"] = number(cross["cos"], -1.0, 1.0)
    if match := _DURATION.search(text):
        mean, least, most, deviation = (number(_real(part)) for part in match.groups())
        figures["inference_ms"] = _some(mean)
        details["duration_ms"] = {"min": least, "max": most, "std": deviation}
    if match := _CYCLES.search(text):
        figures["cycles"] = _some(number(int(match.group(1).replace(",", "") or "0")))
    if match := re.search(r"^ *device\.desc {1,20}: {1,20}(\S.{0,120})$", text, re.MULTILINE):
        details["device"] = match.group(1).rstrip()
    return Reading(figures=_known(figures), layers=_layers(text), details=details)


def _layers(text: str) -> tuple[dict[str, Any], ...]:
    """Rows of the table of times, the one inter-nodal row left out."""
    _, _, table = text.partition("Inference time per node")
    rows: list[dict[str, Any]] = []
    for _, kind, time, counters, name in _LAYER.findall(table[:200_000]):
        row: dict[str, Any] = {"name": name, "kind": kind}
        if (value := number(_real(time))) is not None:
            row["inference_ms"] = value
        counts = re.findall(r"\d[\d,]{0,20}", counters)
        if len(counts) == 1:  # on Neural-ART there are several kinds of cycles
            row["cycles"] = number(int(counts[0].replace(",", "")))
        rows.append(row)
    return tuple(rows)


def read_outputs(raw: bytes, path: Path, count: int, size: int) -> Outputs:
    """The C code's outputs in ``network_val_io.npz``: ``(count, size)``, of the type the tool wrote.

    Args:
        raw: The file's bytes.
        path: The file, for messages.
        count: Number of inputs.
        size: Values of one output.

    Raises:
        AedError: It is damaged or holds another number of values.
    """
    try:
        with np.load(BytesIO(raw), allow_pickle=False) as arrays:
            outputs: Outputs = np.asarray(arrays["c_outputs_1"])
    except Exception as error:  # zip, zlib and numpy have no common base class
        raise AedError(
            f"{path}: no outputs of the C code in it ({type(error).__name__}: {str(error)[:100]})"
        ) from error
    if outputs.size != count * size or not np.issubdtype(outputs.dtype, np.number) or np.iscomplexobj(outputs):
        raise AedError(f"{path}: c_outputs_1 is {outputs.dtype} {outputs.shape}; need {count} outputs of {size} values")
    return outputs.reshape(count, size)
