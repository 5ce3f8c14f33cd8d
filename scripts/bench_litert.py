"""Run by bench_int8.py with the Python of another environment: converts a net to .tflite and times LiteRT."""

import json
import statistics
import sys
import time
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe


def convert(folder: Path, patches: np.ndarray) -> None:
    """Writes ``float.tflite`` and, static int8 with the patches as calibration, ``int8.tflite``."""
    net = torch.export.load(folder / "net.pt2").module()
    litert_torch.convert(net, (torch.from_numpy(patches[:1]),)).export(str(folder / "float.tflite"))
    made = quantizer.Quantizer(str(folder / "float.tflite"))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    signatures = Interpreter(str(folder / "float.tflite")).get_signature_list()
    signature, facts = next(iter(signatures.items()))
    ranges = made.calibrate({signature: [{facts["inputs"][0]: patch[None]} for patch in patches]})
    made.quantize(ranges).export_model(str(folder / "int8.tflite"))


def rates(path: Path, patches: np.ndarray, rounds: int) -> list[float]:
    """Patches a second at batch 1 for 1 and 2 threads, medians."""
    found = []
    for threads in (1, 2):
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
        given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        scale, zero = given["quantization"]
        feed = patches
        if given["dtype"] == np.int8:
            feed = np.clip(np.rint(patches / scale) + zero, -128, 127).astype(np.int8)
        measured = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            for patch in feed:
                interpreter.set_tensor(given["index"], patch[None])
                interpreter.invoke()
                interpreter.get_tensor(made["index"])
            measured.append(len(feed) / (time.perf_counter() - start))
        found.append(statistics.median(measured[1:]))
    return found


if __name__ == "__main__":
    here, count = Path(sys.argv[1]), int(sys.argv[2])
    given_patches = np.load(here / "patches.npy")
    convert(here, given_patches)
    result = {kind: rates(here / f"{kind}.tflite", given_patches, count) for kind in ("float", "int8")}
    (here / "rates.json").write_text(json.dumps(result), encoding="utf-8")
