"""How many clips a class are enough: clip accuracy on ESC-10 of heads that are solved for, by frozen backbone.

    python scripts/bench_few_clips.py --nets google256 google1024 x11 x13 mn04

Each of the five folds is tested with a head from ``n`` clips a class, drawn from the other folds ``--draws`` times, the
same ones in each run. Backbones are in float, clips without their silence, a clip's posterior is the mean of its
patches. Constants are the defaults: nothing is chosen on the tested fold. ``auto`` chooses on inner folds of the drawn
clips.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from aed.datamodules import ESC10, PatchDataModule
from aed.dsp import PRESETS
from aed.dsp.aggregate import clip_posteriors
from aed.modules.nets import MobileNetAS, YAMNet
from aed.modules.solving import HeadKind, Samples, solve

NETS: dict[str, tuple[str, Callable[[], YAMNet | MobileNetAS]]] = {
    "st256": ("yamnet_64x96", partial(YAMNet, 10)),
    "google256": ("yamnet_google_64x96", partial(YAMNet, 10, weights="google")),
    "google512": ("yamnet_google_64x96", partial(YAMNet, 10, weights="google", embedding_size=512)),
    "google1024": ("yamnet_google_64x96", partial(YAMNet, 10, weights="google", embedding_size=1024)),
    "x11": ("mn_96x96", partial(MobileNetAS, 10, cut="x11")),
    "x13": ("mn_96x192", partial(MobileNetAS, 10, cut="x13")),
    "mn04": ("mn_96x496", partial(MobileNetAS, 10, cut=None)),
}
"""Name -> front end, and what makes the net of a published backbone."""

HEADS: tuple[HeadKind, ...] = ("softmax", "lda", "means", "auto")
FOLDS = range(1, 6)


def embedded(net: str) -> tuple[Samples, npt.NDArray[np.int64]]:
    """All patches of ESC-10 as a backbone embeds them, and the fold of each."""
    frontend, make = NETS[net]
    data = PatchDataModule(ESC10(), PRESETS[frontend], test_fold=5)
    data.prepare_data()
    data.setup()
    model = make()
    model.load_pretrained()
    model.eval()
    rows, targets, clips, recordings, folds = [], [], [], [], []
    for split in ("train", "test"):
        part, table = data.datasets[split], data.rows(split)
        with torch.no_grad():
            batches = [range(at, min(at + 64, len(part))) for at in range(0, len(part), 64)]
            rows += [model.backbone(part.__getitems__(batch).patches).numpy() for batch in batches]
        targets.append(part.patch_targets)
        clips.append(part.clip + sum(len(np.unique(own)) for own in clips))
        recordings.append(table["src_file"].to_numpy()[part.clip])
        folds.append(table["fold"].to_numpy().astype(np.int64)[part.clip])
    sources = np.unique(np.concatenate(recordings).astype(str), return_inverse=True)[1]
    samples = Samples(np.concatenate(rows), np.concatenate(targets), np.concatenate(clips), sources)
    return samples, np.concatenate(folds)


def accuracy(train: Samples, test: Samples, head: HeadKind) -> float:
    """Share of the test clips that the head names right."""
    logits = torch.from_numpy(solve(train, 10, head).head.logits(test.embeddings))
    clip = np.unique(test.clips, return_inverse=True)[1]
    truth = np.empty(clip.max() + 1, np.int64)
    truth[clip] = test.targets
    decided = clip_posteriors(logits.softmax(dim=1), torch.from_numpy(clip), len(truth)).argmax(dim=1).numpy()
    return float((decided == truth).mean())


def drawn(samples: Samples, count: int, seed: tuple[int, ...]) -> Samples:
    """The patches of ``count`` clips of each class."""
    random = np.random.default_rng(seed)
    chosen = [random.choice(np.unique(samples.clips[samples.targets == label]), count, False) for label in range(10)]
    return samples.part(np.isin(samples.clips, np.concatenate(chosen)))


def main() -> None:
    """Prints mean and deviation over folds and draws, %, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["st256", "google256", "google1024"], choices=list(NETS))
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="clips of a class")
    parser.add_argument("--draws", type=int, default=5, help="of each fold; of 32 clips, which are all, one")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for net in options.nets:
        samples, folds = embedded(net)
        for count in options.counts:
            draws = options.draws if count < 32 else 1
            parts = [
                (drawn(samples.part(folds != fold), count, (fold, draw, count)), samples.part(folds == fold))
                for fold in FOLDS
                for draw in range(draws)
            ]
            for head in options.heads:
                scores = 100 * np.array([accuracy(*part, head) for part in parts])
                row = {"net": net, "clips": count, "head": head, "mean": scores.mean(), "sd": scores.std(ddof=1)}
                print(
                    json.dumps({key: round(own, 1) if isinstance(own, float) else own for key, own in row.items()}),
                    flush=True,
                )


if __name__ == "__main__":
    main()
