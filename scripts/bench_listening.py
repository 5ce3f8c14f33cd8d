"""Clips of a fold of ESC-10 that models decide rightly: trimmed, whole as a stream, and both far away.

    python scripts/bench_listening.py model_int8.onnx [...] --fold 1

What a model raises in streams is for ``bench_alarms.py``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from aed.datamodules import ESC10
from aed.dsp.logmel import LogMel
from aed.dsp.stream import clip_patches, stream_patches
from aed.dsp.waveform import cut_clip, read_audio, resample
from aed.inference.classifier import Classifier
from aed.inference.opening import open_classifier
from aed.scoring.labels import BACKGROUND

LEVELS_DB = (0.0, -36.0)


def right_clips(classifier: Classifier, fold: int) -> dict[str, int]:
    """Clips of a fold of ESC-10 that are decided rightly, by how they are heard.

    Trimmed: the product's decision. Streamed: the class other than background with the greatest mean posterior over
    all patches of the whole clip.
    """
    card, logmel = classifier.card, LogMel(classifier.card.frontend)
    config, table = card.frontend, ESC10().table()
    is_event = np.array([name != BACKGROUND for name in card.class_names])
    right = {f"{how} {level:g} dB": 0 for level in LEVELS_DB for how in ("trimmed", "streamed")}
    for row in table[table["fold"] == fold].itertuples():
        target = card.class_names.index(row.labels[0])
        samples, rate = read_audio(row.path, config.max_length_s)
        for level in LEVELS_DB:
            wave = (samples * 10 ** (level / 20)).astype(np.float32)
            clip, positions = cut_clip(wave, rate, config, row.path)
            trimmed = classifier.posteriors(clip_patches(clip, positions, logmel).patches).mean(axis=0)
            whole = resample(wave, rate, config.sample_rate)
            parts = [timed.patches for timed in stream_patches([whole], config.sample_rate, logmel)]
            streamed = classifier.posteriors(np.concatenate(parts)).mean(axis=0) * is_event
            right[f"trimmed {level:g} dB"] += int(trimmed.argmax()) == target
            right[f"streamed {level:g} dB"] += int(streamed.argmax()) == target
    return right


def main() -> None:
    """Prints a row a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--fold", required=True, type=int)
    arguments = parser.parse_args()
    for model in arguments.models:
        print(json.dumps({"model": str(model), **right_clips(open_classifier(model), arguments.fold)}), flush=True)


if __name__ == "__main__":
    main()
