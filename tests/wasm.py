"""WebAssembly in wasmtime, an engine that is no browser's: what a page calls, for tests and benchmarks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ziglang", reason="pip install -e '.[dev]'")
wasmtime = pytest.importorskip("wasmtime", reason="pip install -e '.[dev]'")

EVENT = np.dtype(
    [
        ("onset", "f8"),
        ("offset", "f8"),
        ("heard", "f8"),
        ("probability", "f4"),
        ("label", "i4"),
        ("kind", "i4"),
        ("", "V4"),
    ]
)
"""``aed_web_event``."""


class Wasm:
    """A module, loaded."""

    def __init__(self, path: Path) -> None:
        engine = wasmtime.Engine()
        module = wasmtime.Module.from_file(engine, str(path))
        assert not list(module.imports)  # it can do nothing but compute
        self.store = wasmtime.Store(engine)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)

    def call(self, name: str, *arguments: int) -> Any:
        return self.exports[name](self.store, *arguments)

    def put(self, name: str, values: np.ndarray) -> None:
        self.exports["memory"].write(self.store, values.tobytes(), self.call(name))

    def get(self, name: str, count: int, dtype: Any) -> np.ndarray:
        start = self.call(name)
        size = count * np.dtype(dtype).itemsize
        return np.frombuffer(bytes(self.exports["memory"].read(self.store, start, start + size)), dtype)

    def net(self, patches: np.ndarray, outputs: int) -> np.ndarray:
        """Outputs ``(N, outputs)`` of patches ``(N, size)``, int8."""
        made = []
        for patch in patches:
            self.put("patch", patch)
            self.call("run_net")
            made.append(self.get("out", outputs, np.int8))
        return np.array(made)

    def hear(self, samples: np.ndarray, sizes: tuple[int, int, int]) -> dict[str, np.ndarray]:
        """A whole stream of int16: columns, outputs, probabilities, whether the net ran, and events.

        Args:
            samples: ``(T,)``.
            sizes: Bands, outputs of the net, classes.
        """
        mels, outputs, classes = sizes
        heard: dict[str, list[np.ndarray]] = {"columns": [], "out": [], "probability": [], "ran": [], "events": []}
        self.call("reset_rule")
        self.call("begin")
        block = self.call("block")
        for first in range(0, len(samples), block):
            part = samples[first : first + block]
            self.put("samples", part)
            at = 0
            while at < len(part):
                at += self.call("hear", at, len(part) - at)
                count = self.call("num_columns")
                heard["columns"].append(self.get("columns", count * mels, np.int8).reshape(count, mels))
                if decided := self.call("decided"):
                    heard["out"].append(self.get("out", outputs, np.int8)[None])
                    heard["probability"].append(self.get("probability", classes, np.float32)[None])
                    heard["ran"].append(np.array([decided == 1]))
                    heard["events"].append(self.get("found", self.call("num_found"), EVENT))
        self.call("finish")
        heard["events"].append(self.get("found", self.call("num_found"), EVENT))
        return {name: np.concatenate(parts) for name, parts in heard.items()}
