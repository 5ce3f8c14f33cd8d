"""Writes the tables of results into README.md and docs/results.md, between their marks.

Accuracies: ``scripts/results.json``, a value per seed, mean over five folds, and ``scripts/results_streams.json``, nets
without padding along time, seed 0; costs: ``aed models format=json``.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
SHORT = (
    "esc10_yamnet",
    "esc10_yamnet frontend=yamnet_google_64x96 model.net.weights=google",
    "esc10_yamnet1024",
    "esc10_miniresnet_v1_finetuned",
    "esc10_dscnn",
)
"""Recipes in the README."""

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
    head = ["| net | M MACC | weights | float | int8 | ST's zoo |", "|---|---|---|---|---|---|"]
    body = [
        f"| {row['net']} | {_macc(row)} | {_kib(row)} KiB | {fmean(row['float']):.2f} | **{fmean(row['int8']):.2f}** "
        f"| {row.get('st', '-')} |"
        for row in rows
        if row["recipe"] in SHORT
    ]
    return "\n".join([*head, *body])


def full(rows: Sequence[Row]) -> str:
    """The page's tables: means and costs; values of the seeds and the command of each row."""
    head = ["| net | M MACC | weights, KiB | RAM, KiB | float | int8 | ST's zoo |", "|---|---|---|---|---|---|---|"]
    body = [
        f"| {row['net']} | {_macc(row)} | {_kib(row)} | {row['cost']['activations_bytes'] / 1024:.1f} "
        f"| {fmean(row['float']):.2f} | **{fmean(row['int8']):.2f}** | {row.get('st', '-')} |"
        for row in rows
    ]
    seeds = ["| net | float, by seed | int8, by seed | printed by |", "|---|---|---|---|"]
    seeds += [f"| {row['net']} | {_seeds(row['float'])} | {_seeds(row['int8'])} | `{command(row)}` |" for row in rows]
    return "\n".join([*head, *body, "", *seeds])


def streams() -> str:
    """The page's table of nets without padding along time, each beside the padded one of the same recipe."""
    rows: list[Row] = json.loads((ROOT / "scripts" / "results_streams.json").read_text(encoding="utf-8"))
    head = ["| net | float | int8 | padded: float | int8 | printed by |", "|---|---|---|---|---|---|"]
    body = [
        f"| {row['net']} | {row['float']:.2f} | **{row['int8']:.2f}** "
        f"| {_padded(row, 'float')} | {_padded(row, 'int8')} "
        f"| `aed train -m experiment={row['recipe']} model.net.time_padding=valid data.test_fold=1,2,3,4,5` |"
        for row in rows
    ]
    return "\n".join([*head, *body])


def _padded(row: Row, kind: str) -> str:
    return f"{row['padded'][kind]:.2f}" if "padded" in row else "-"


def _macc(row: Row) -> str:
    return f"{row['cost']['macc'] / 1e6:.1f}"


def _kib(row: Row) -> str:
    return f"{row['cost']['weights_bytes'] / 1024:.1f}"


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


def main() -> None:
    """Renews both files."""
    rows = results()
    for path, table in ((README, short(rows)), (PAGE, full(rows))):
        path.write_text(put(path.read_text(encoding="utf-8"), table), encoding="utf-8")
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), streams(), "streams"), encoding="utf-8")


if __name__ == "__main__":
    main()
