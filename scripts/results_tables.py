"""Writes the tables of results into README.md, docs/results.md and zoo/README.md, between their marks.

Accuracies: ``scripts/results.json``, a value per seed, mean over five folds (``windows``: of windows instead of clips;
``interval``: of int8 clips, at 95 %, as the multirun prints it), and ``scripts/results_streams.json``, nets
without padding along time, seed 0; costs: ``aed models format=json``. C beside that of others:
``scripts/results_target.json``, written by ``bench_target.py``; its outputs beside those of ONNX Runtime:
``scripts/results_exact.json``, written by ``bench_exact.py``.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from aed.base.zoo import shipped_models

ROOT = Path(__file__).resolve().parents[1]
README, PAGE, ZOO = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "zoo" / "README.md"
SHORT = (
    "esc10_yamnet",
    "esc10_64k",
    "esc10_200k",
    "esc10_600k",
    "esc10_yamnet1024",
)
"""Recipes in the README."""

NETS = ("YAMNet-256", "DS-CNN", "MiniResNet v1, 2 stacks", "BC-ResNet-1", "YAMNet-1024")
STREAMS = ("YAMNet-256, valid", "DS-CNN, valid")
"""Nets of the C's tables, in their order; those without padding along time run as streams, too."""

CORES = {"host": "this machine", "cortex-m4": "M4", "cortex-m7": "M7", "cortex-m33": "M33", "cortex-m55": "M55"}

Row = Mapping[str, Any]


def results() -> list[Row]:
    """The rows, each with what its net costs."""
    costs = json.loads(
        subprocess.run(
            [sys.executable, "-m", "aed.models", "format=json"], check=True, capture_output=True, encoding="utf-8"
        ).stdout
    )
    by_recipe = {row["recipe"]: row for row in costs}
    rows: list[Row] = json.loads((ROOT / "scripts" / "results.json").read_text(encoding="utf-8"))
    return [{**row, "cost": by_recipe[row.get("shape", row["recipe"])]} for row in rows]


def command(row: Row) -> str:
    """What prints the figures of a row."""
    seeds = f" seed={','.join(map(str, range(len(row['float']))))}" if len(row["float"]) > 1 else ""
    return f"aed train -m experiment={row['recipe']} data.test_fold=1,2,3,4,5{seeds}"


def short(rows: Sequence[Row]) -> str:
    """The README's table."""
    return _table(
        "net | M MACC | weights | float | int8 | ST's zoo",
        (f"{_costs(row)} KiB | {_scores(row)} | {row.get('st', '-')}" for row in rows if row["recipe"] in SHORT),
    )


def full(rows: Sequence[Row]) -> str:
    """The page's tables: means and costs; values of the seeds and the command of each row."""
    means = _table(
        "net | M MACC | weights, KiB | RAM, KiB | float | int8 | windows, float | int8 | ST's zoo",
        (f"{_costs(row)} | {_ram(row)} | {_scores(row)} | {_windows(row)} | {row.get('st', '-')}" for row in rows),
    )
    seeds = _table(
        "net | float, by seed | int8, by seed | 95 % interval, int8 | printed by",
        (
            f"{row['net']} | {_seeds(row['float'])} | {_seeds(row['int8'])} | {_interval(row)} | `{command(row)}`"
            for row in rows
        ),
    )
    return f"{means}\n\n{seeds}"


def shipped(rows: Sequence[Row]) -> str:
    """The table of the models in ``zoo/``: what their recipes have on the five folds, and what they cost."""
    return _table(
        "model | net | M MACC | weights, KiB | RAM, KiB | file, KiB | float | int8 | windows, float | int8",
        (
            f"`{name}` | {_costs(row)} | {_ram(row)} | {path.stat().st_size / 1024:.0f} "
            f"| {_scores(row)} | {_windows(row)}"
            for name, path in shipped_models().items()
            for row in rows
            if row["cost"]["model"] == name
        ),
    )


def streams(rows: Sequence[Row]) -> str:
    """The table of nets without padding along time, each beside the padded one of the same recipe."""
    command = "aed train -m experiment={} model.net.time_padding=valid data.test_fold=1,2,3,4,5"
    return _table(
        "net | float | int8 | padded: float | int8 | printed by",
        (
            f"{row['net']} | {row['float']:.2f} | **{row['int8']:.2f}** | {_padded(row, 'float')} "
            f"| {_padded(row, 'int8')} | `{command.format(row['recipe'])}`"
            for row in rows
        ),
    )


def _padded(row: Row, kind: str) -> str:
    return f"{row['padded'][kind]:.2f}" if "padded" in row else "-"


def beside(rows: Sequence[Row]) -> str:
    """The table of our C beside that of others."""
    cores = list(CORES)
    ordered = sorted(rows, key=lambda row: (NETS.index(row["net"]), cores.index(row["core"])))
    return _table(
        "net | core | C | M instructions | M cycles, estimated | flash KiB | RAM KiB | outputs that differ",
        map(_beside, ordered),
    )


def _beside(row: Row) -> str:
    head = f"{row['net']} | {CORES[row['core']]} | {row['build']}"
    if "failed" in row:
        return f"{head} | {row['failed'].splitlines()[0]} | | | |"
    cycles = "-" if row["cycles"] is None else f"{row['cycles'] / 1e6:.1f}"
    differ = f"{row['differing']} of {row['outputs']}"
    if row["steps"]:
        differ += f", up to {row['steps']} step" + ("s" if row["steps"] > 1 else "")
    sizes = f"{row['flash'] / 1024:.1f} | {row['ram'] / 1024:.1f}"
    return f"{head} | {row['instructions'] / 1e6:.2f} | {cycles} | {sizes} | {differ}"


def exact(rows: Sequence[Row]) -> str:
    """The table of outputs that are not ONNX Runtime's: a row a net, whose programs are its plans on the cores."""
    body = []
    for net in (*NETS, *STREAMS):
        own = [row for row in rows if row["net"] == net]
        if own:
            plans = ", ".join(dict.fromkeys(row["plan"] for row in own))
            on = ", ".join(name for core, name in CORES.items() if core in {row["core"] for row in own})
            patches = " or ".join(sorted({f"{row['real']} real, {row['random']} random" for row in own}))
            differ = sum(row["real_differing"] + row["random_differing"] for row in own)
            outputs = sum(row["outputs"] for row in own)
            body.append(f"{net} | {plans} | {on} | {len(own)} | {patches} | {outputs:,} | {differ}")
    return _table("net | plans | C on | programs | patches each | outputs | differ", body)


def _table(head: str, rows: Iterable[str]) -> str:
    """A table in Markdown of lines whose cells are parted by ``|``."""
    return "\n".join([f"| {head} |", "|---" * len(head.split("|")) + "|", *(f"| {row} |" for row in rows)])


def _costs(row: Row) -> str:
    """Three cells: net, millions of MACC, KiB of weights."""
    return f"{row['net']} | {row['cost']['macc'] / 1e6:.1f} | {row['cost']['weights_bytes'] / 1024:.1f}"


def _ram(row: Row) -> str:
    return f"{row['cost']['activations_bytes'] / 1024:.1f}"


def _scores(row: Row) -> str:
    """Two cells: float, int8."""
    return f"{_mean(row, 'float')} | **{_mean(row, 'int8')}**"


def _mean(row: Row, kind: str) -> str:
    return f"{fmean(row[kind]):.2f}"


def _windows(row: Row) -> str:
    """Two cells."""
    return " | ".join(_mean(row["windows"], kind) if "windows" in row else "-" for kind in ("float", "int8"))


def _interval(row: Row) -> str:
    return "{:.1f} to {:.1f}".format(*row["interval"]) if "interval" in row else "-"


def _seeds(values: Sequence[float]) -> str:
    return ", ".join(map(str, values))


def put(text: str, table: str, mark: str = "results") -> str:
    """``text`` with the table between its marks.

    Raises:
        ValueError: It has no marks.
    """
    changed, number = re.subn(
        rf"(<!-- {mark} -->\n).*?(\n<!-- end -->)", lambda match: match[1] + table + match[2], text, flags=re.DOTALL
    )
    if number != 1:
        raise ValueError(f"need one pair of <!-- {mark} --> and <!-- end -->")
    return changed


def page(text: str, rows: Sequence[Row]) -> str:
    """The text of the page with all of its tables."""
    text = put(text, full(rows))
    for mark, table in (("streams", streams), ("target", beside), ("exact", exact)):
        known = json.loads((ROOT / "scripts" / f"results_{mark}.json").read_text(encoding="utf-8"))
        text = put(text, table(known), mark)
    return text


def main() -> None:
    """Renews the files."""
    rows = results()
    ZOO.write_text(put(ZOO.read_text(encoding="utf-8"), shipped(rows), "zoo"), encoding="utf-8")
    README.write_text(put(README.read_text(encoding="utf-8"), short(rows)), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
