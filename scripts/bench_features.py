"""Clips per second from audio file to log-mel: this project's cache builder beside a plain librosa loop.

python scripts/bench_features.py [--data-dir DIR] [--repeat 3]: both see the same ESC-10 files, alternately, in one
process tree; the best of the repeats counts, for the machine may have other work. librosa's loop makes the same
features (load, silence removal, shortest length, mel spectrogram, logarithm) and keeps nothing; ours writes its cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np

from aed.base import paths
from aed.datamodules.cache.store import FeatureCache
from aed.datamodules.sources.clips import ESC10
from aed.dsp import PRESETS


def with_librosa(files: list[Path]) -> None:
    """The loop a user would write."""
    for path in files:
        wave, _ = librosa.load(path, sr=16000)
        loud = librosa.effects.split(wave, top_db=60, frame_length=3200, hop_length=3200)
        wave = np.concatenate([wave[start:stop] for start, stop in loud])
        wave = np.tile(wave, 16000 // len(wave) + 1)[: max(len(wave), 16000)]
        mel = librosa.feature.melspectrogram(
            y=wave, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, power=1.0, n_mels=64,
            fmin=125, fmax=7500, htk=True, norm=None,
        )  # fmt: skip
        np.log(mel + 1e-4)


def with_cache(files: list[Path]) -> None:
    """A cold cache, written to disk."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        assert not FeatureCache(Path(folder), PRESETS["yamnet_64x96"]).ensure(files)


def main() -> None:
    """Prints clips per second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=str(paths.data_dir()))
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    files = list(ESC10(arguments.data_dir, download=False).table()["path"])
    ways: dict[str, Callable[[list[Path]], None]] = {"librosa loop": with_librosa, "aed cache": with_cache}
    with_librosa(files[:5])  # its first call compiles and imports
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(arguments.repeat):
        for name, way in ways.items():
            started = time.perf_counter()
            way(files)
            best[name] = min(best[name], time.perf_counter() - started)
    for name, seconds in best.items():
        print(f"{name:14s} {len(files) / seconds:7.1f} clips/s   ({seconds:.2f} s for {len(files)} clips)")
    print(f"ratio          {best['librosa loop'] / best['aed cache']:7.2f}")


if __name__ == "__main__":
    main()
