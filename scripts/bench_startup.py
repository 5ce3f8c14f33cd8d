"""CPU seconds until each verb is imported, and of whole commands, in this checkout beside another one.

python scripts/bench_startup.py <other checkout> [--model <int8.onnx> --recording <file>]

Both checkouts run alternately with this Python, first once uncounted, so that a machine busy with other things treats
them alike. Seconds are user and system time of a process and of those that it started, which POSIX systems tell.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]
VERBS = ("predict", "benchmark", "evaluate", "data", "train", "deploy", "models")


class Seconds(NamedTuple):
    """Of a process.

    Args:
        cpu: User and system time.
        wall: From its start to its end.
    """

    cpu: float
    wall: float


def run(arguments: list[str], checkout: Path) -> Seconds:
    """Seconds of ``python <arguments>`` that imports ``aed`` from ``checkout``; ends this script where it fails."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    after = os.times()
    if done.returncode:
        sys.exit(f"{checkout}: python {' '.join(arguments)} failed:\n{done.stderr}")
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return Seconds(user + system, after.elapsed - before.elapsed)


def main() -> None:
    """Prints least and median seconds of both checkouts, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, help="adds benchmark of this model on an emulated board")
    parser.add_argument("--recording", type=Path, help="adds predict of this recording by --model")
    given = parser.parse_args()
    commands = {f"import aed.{verb}": ["-c", f"import aed.{verb}"] for verb in VERBS}
    if given.model:
        model = f"model={given.model.resolve()}"
        commands["benchmark"] = ["-m", "aed.benchmark", model, "board=mps2-an505", "folder=out"]
        if given.recording:
            commands["predict"] = ["-m", "aed.predict", model, str(given.recording.resolve())]
    checkouts = {"other": given.other.resolve(), "here": HERE}
    print(f"{'':22}{'other: cpu s':>16}{'here: cpu s':>16}{'ratio':>8}{'wall s':>16}")
    for name, arguments in commands.items():
        found: dict[str, list[Seconds]] = {key: [] for key in checkouts}
        for number in range(given.repeats + 1):
            for key, checkout in checkouts.items():
                seconds = run(arguments, checkout)
                if number:
                    found[key].append(seconds)
        cpu = {key: [item.cpu for item in items] for key, items in found.items()}
        other, here = (f"{min(values):.2f} {statistics.median(values):.2f}" for values in cpu.values())
        ratio = statistics.median(cpu["here"]) / statistics.median(cpu["other"])
        walls = (f"{statistics.median(item.wall for item in items):.2f}" for items in found.values())
        print(f"{name:22}{other:>16}{here:>16}{ratio:8.2f}{' -> '.join(walls):>16}")


if __name__ == "__main__":
    main()
