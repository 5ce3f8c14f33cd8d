"""Patches a second of a run's float and int8 model in ONNX Runtime, beside its own integers and LiteRT's interpreter.

    python scripts/bench_int8.py outputs/esc10_yamnet/<date_time> [--litert-python /path/to/venv/bin/python]

LiteRT's converter needs an environment of its own (2.1 GB):

    python3.11 -m venv litert && litert/bin/pip install litert-torch 'torch>=2.10,<2.14'
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from rich.console import Console
from rich.table import Table

from aed.export.graph import load_model
from aed.export.interpreter import GraphNet
from aed.export.runtime import run_all
from aed.inference.onnx import OnnxClassifier
from aed.inference.opening import open_classifier

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PATCHES = 128
ROUNDS = 5


def rate(classifier: OnnxClassifier, patches: np.ndarray) -> float:
    """Patches a second."""
    start = time.perf_counter()
    classifier.outputs(patches)
    return len(patches) / (time.perf_counter() - start)


def bench_onnx(path: Path, patches: np.ndarray) -> list[tuple[int, float, int, float]]:
    """Threads, rate at batch 1, best batch and its rate; medians of interleaved rounds."""
    rows = []
    for threads in (1, 2):
        classifier = open_classifier(path, threads=threads)
        assert isinstance(classifier, OnnxClassifier)
        found: dict[int, list[float]] = {batch: [] for batch in BATCHES}
        for turn in range(ROUNDS + 1):
            for batch in BATCHES:
                classifier.max_batch = batch
                measured = rate(classifier, patches)
                if turn:  # the first warms up
                    found[batch].append(measured)
        medians = {batch: statistics.median(rates) for batch, rates in found.items()}
        best = max(medians, key=medians.__getitem__)
        rows.append((threads, medians[1], best, medians[best]))
    return rows


def bench_integers(path: Path, patches: np.ndarray) -> list[float]:
    """Rates at batch 1 of ONNX Runtime's exact integers, as they come, for 1 and 2 threads of its own; medians."""
    content, rates = path.read_bytes(), []
    for threads in (1, 2):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        feeds = [{session.get_inputs()[0].name: patch[None]} for patch in patches]
        measured = []
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            run_all(session, feeds, threads=1)
            measured.append(len(patches) / (time.perf_counter() - start))
        rates.append(statistics.median(measured[1:]))
    return rates


def bench_litert(python: Path, model: Path, patches: np.ndarray) -> dict[str, list[float]]:
    """Rates of ``float`` and ``int8`` at batch 1 for 1 and 2 threads, measured by the other Python."""
    net = GraphNet(load_model(model)).eval()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        torch.export.save(torch.export.export(net, (torch.from_numpy(patches[:1]),)), Path(folder) / "net.pt2")
        np.save(Path(folder) / "patches.npy", patches)
        script = Path(__file__).with_name("bench_litert.py")
        done = subprocess.run(
            [python, script, folder, str(ROUNDS)], capture_output=True, text=True, encoding="utf-8", timeout=600
        )
        if done.returncode:
            raise SystemExit(f"{python} {script}: {done.stderr.strip().splitlines()[-1]}")
        return dict(json.loads((Path(folder) / "rates.json").read_text(encoding="utf-8")))


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with model.onnx and model_int8.onnx")
    parser.add_argument("--litert-python", type=Path, help="Python of an environment with litert-torch")
    arguments = parser.parse_args()
    frontend = open_classifier(arguments.run / "model.onnx").card.frontend
    shape = (PATCHES, 1, frontend.n_mels, frontend.patch_frames)
    patches = np.random.default_rng(0).normal(-4, 2, shape).astype(np.float32)
    table = Table(title="patches a second")
    for column in ("runtime", "threads", "batch 1", "best batch", "at best batch"):
        table.add_column(column, justify="right" if column != "runtime" else "left")
    for name, kind in (("model.onnx", "float"), ("model_int8.onnx", "int8")):
        for threads, single, best, most in bench_onnx(arguments.run / name, patches):
            cells = (f"{single:.0f}", str(best), f"{most:.0f}")
            table.add_row(f"ONNX Runtime, {kind}", str(threads), *cells)
    for threads, single in zip((1, 2), bench_integers(arguments.run / "model_int8.onnx", patches), strict=True):
        table.add_row("ONNX Runtime, its own integers", str(threads), f"{single:.0f}", "-", "-")
    if arguments.litert_python:
        for kind, rates in bench_litert(arguments.litert_python, arguments.run / "model.onnx", patches).items():
            for threads, single in zip((1, 2), rates, strict=True):
                table.add_row(f"LiteRT, {kind}", str(threads), f"{single:.0f}", "-", "-")
    Console().print(table)


if __name__ == "__main__":
    main()
