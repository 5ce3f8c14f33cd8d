"""Models as listeners, side by side: clips trimmed, streamed and far away; alarms on quiet hours at equal recall.

    aed soundscapes output=events data=esc10 data.test_fold=1 events_a_minute=12 longest_event_s=2 ambient=recordings
    aed soundscapes output=quiet data=esc10 data.test_fold=1 events_a_minute=0 hours=3 ambient=recordings
    python scripts/bench_listening.py old/model_int8.onnx new/model_int8.onnx --events events --quiet quiet --fold 1

The first model's recall with a threshold of 0.5 is what the others are brought to, by one threshold for all classes.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from aed.base.files import temporary_folder
from aed.datamodules import ESC10
from aed.dsp.logmel import LogMel
from aed.dsp.stream import clip_patches, stream_patches
from aed.dsp.waveform import cut_clip, read_audio, resample
from aed.inference.classifier import Classifier
from aed.inference.opening import open_classifier
from aed.run.detect import detect_files
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


def scores(model: Path, streams: Path) -> dict[str, object]:
    """What ``aed detect`` says of the recordings of a folder of soundscapes."""
    with temporary_folder() as folder, contextlib.redirect_stdout(io.StringIO()):
        detect_files(
            str(model), [str(streams)], reference=str(streams / "reference.tsv"), scores=str(folder / "scores.json")
        )
        return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


def main() -> None:
    """Prints a row a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--events", required=True, type=Path)
    parser.add_argument("--quiet", required=True, type=Path)
    parser.add_argument("--fold", required=True, type=int)
    arguments = parser.parse_args()
    wanted = None
    for model in arguments.models:
        print(model, right_clips(open_classifier(model), arguments.fold), flush=True)
        events, quiet = scores(model, arguments.events), scores(model, arguments.quiet)
        recall, alarms = events["metrics"]["recall"], quiet["metrics"]["background_per_hour"]
        print(f"  threshold 0.5: recall {recall:.3f}, {alarms:.1f} alarms an hour where nothing happens")
        wanted = recall if wanted is None else wanted
        pairs = [
            (at["threshold"], 1 - at["miss_rate"], silent["background_per_hour"])
            for at, silent in zip(events["curve"], quiet["curve"], strict=True)
        ]
        threshold, reached, alarms = max(pair for pair in pairs if pair[1] >= wanted)
        print(f"  threshold {threshold:.2f}: recall {reached:.3f}, {alarms:.1f} alarms an hour", flush=True)
        for budget in (1, 10, 30, 100):
            most = max((found for _, found, count in pairs if count <= budget), default=0.0)
            print(f"  at most {budget} alarms an hour: recall {most:.3f}", flush=True)


if __name__ == "__main__":
    main()
