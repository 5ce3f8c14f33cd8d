"""The page's WebAssembly, side by side: scalar C, the same C with vectors by the compiler, and kernels of vectors.

    pip install -e '.[dev]'
    python scripts/bench_web.py model_int8.onnx

In wasmtime, on one core, in turns; net alone, and front end with net on noise. A browser's engine is another one.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from aed.base.files import temporary_folder
from aed.export.graph import load_model, read_model_card
from aed.target.codegen.settings import AUTO
from aed.target.firmware.library import planned_sources
from aed.target.web.compiler import VECTORS, build_wasm
from aed.target.web.package import glue_sources

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from wasm import Wasm

BUILDS = {"scalar": (), "vectors by the compiler": (VECTORS, "-DAED_PORTABLE"), "kernels of vectors": (VECTORS,)}
SECONDS = 10


def main() -> None:
    """Prints a row for each build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    card = read_model_card(model, arguments.model)
    chosen, sources = planned_sources(model, card, AUTO, 0, "web.")
    x, y = (chosen.program.tensors[name] for name in (chosen.program.input, chosen.program.output))
    sizes = (card.frontend.n_mels, y.size, len(card.class_names))
    draw = np.random.default_rng(0)
    samples = (3000 * draw.standard_normal(SECONDS * card.frontend.sample_rate)).astype(np.int16)
    patch = draw.integers(-128, 128, (1, x.size)).astype(np.int8)
    with temporary_folder() as folder:
        engines, bytes_of = {}, {}
        for number, (name, options) in enumerate(BUILDS.items()):
            wasm = build_wasm(folder / str(number), sources | glue_sources(), options)
            engines[name], bytes_of[name] = Wasm(wasm), wasm.stat().st_size
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    same = {}
    for _ in range(arguments.rounds):
        for name, engine in engines.items():
            begun = time.perf_counter()
            engine.net(patch, y.size)
            between = time.perf_counter()
            same[name] = engine.hear(samples, sizes)["out"].tobytes()
            times[name].append((between - begun, time.perf_counter() - between))
    assert len(set(same.values())) == 1, "the builds differ"
    print(
        f"{arguments.model.name}: {chosen.program.macc / 1e6:.1f} M MACC a patch; medians of {arguments.rounds} rounds"
    )
    base = [median(column) for column in zip(*times["scalar"], strict=True)]
    for name, rows in times.items():
        net, stream = (median(column) for column in zip(*rows, strict=True))
        print(
            f"{name:24} net {1e3 * net:6.2f} ms ({base[0] / net:4.1f} x scalar)   front end + net "
            f"{SECONDS / stream:6.1f} x real time ({base[1] / stream:4.1f} x scalar)   {bytes_of[name]:,} bytes"
        )


if __name__ == "__main__":
    main()
