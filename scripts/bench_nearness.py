"""Nearness on ESC-10: AUROC of unseen classes, and how often a class learned from 1, 3, 10 clips is named.

    python scripts/bench_nearness.py --net 256 --means 1 4
    python scripts/bench_nearness.py --net mn04_x13 --splits 10 --without-learning

The backbone is Google's, frozen and in float; the last layer is a softmax regression on its embeddings of training
patches. For AUROC four classes are unseen: those of docs/data.md, and random ones. For each of the five test folds the
next one is the validation fold, which chooses weight and limits as a training does. For learning one class in turn is
left out of training, and learned from clips of the training folds: its clips of the test fold should then be named for
it, and those of the others as before.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from aed.datamodules import ESC10
from aed.dsp import PRESETS
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.stream import clip_patches
from aed.dsp.waveform import cut_clip, read_audio
from aed.modules.nets import MobileNetAS, YAMNet
from aed.run.nearness import last_layer
from aed.scoring.held_out import (
    Embedded,
    best_weight,
    by_clip,
    clip_classes,
    held_out_auroc,
    means_of_classes,
)
from aed.scoring.learning import Learner, choose_limits, learned
from aed.scoring.nearness import Nearness, blend

KNOWN = ("dog", "rain", "rooster", "sneezing", "helicopter", "clock_tick")
"""Of docs/data.md; the others are unseen there."""

LAYER = last_layer(0.1)
"""With the smoothing of ``experiment=esc10_200k``."""

EXAMPLES, FOLDS = (1, 3, 10), range(1, 6)


def backbone(name: str) -> tuple[nn.Module, FrontendConfig]:
    """A published net, frozen, and its front end."""
    net: YAMNet | MobileNetAS
    if name == "mn04_x13":
        net, preset = MobileNetAS(1), "mn_96x192"  # of experiment=esc10_200k
    else:
        net, preset = YAMNet(1, embedding_size=int(name), weights="google"), "yamnet_google_64x96"
    net.load_pretrained()
    return net.eval().backbone, PRESETS[preset]


def embeddings(name: str) -> tuple[Embedded, np.ndarray, list[str]]:
    """All patches of ESC-10, the fold of each, and the names of the classes."""
    net, config = backbone(name)
    logmel, table = LogMel(config), ESC10().table()
    names = sorted({labels[0] for labels in table["labels"]})
    rows, targets, clips, folds = [], [], [], []
    for number, clip in enumerate(table.itertuples()):
        wave, positions = cut_clip(*read_audio(clip.path, config.max_length_s), config, clip.path)
        patches = torch.from_numpy(clip_patches(wave, positions, logmel).patches)
        with torch.no_grad():
            rows.append(net(patches).flatten(1).numpy())
        targets += [names.index(clip.labels[0])] * len(patches)
        clips += [number] * len(patches)
        folds += [clip.fold] * len(patches)
    return Embedded(np.concatenate(rows), np.array(targets), np.array(clips)), np.array(folds), names


class Model:
    """What a training of some classes leaves: a last layer, means, their weight and limits.

    Args:
        patches: Of ESC-10.
        folds: Of the patches.
        known: Numbers of the classes.
        fold: Of the test; the next one is that of validation.
        means: Of a class.
        weighed: Whether a weight is chosen, which learned sounds do not depend on.
    """

    def __init__(
        self, patches: Embedded, folds: np.ndarray, known: list[int], fold: int, means: int, weighed: bool = True
    ) -> None:
        self.known = np.array(known)
        val_fold = fold % len(FOLDS) + 1
        train, val = (self._part(patches, part) for part in ((folds != fold) & (folds != val_fold), folds == val_fold))
        vectors, classes = means_of_classes(train, len(known), means)
        weight = best_weight(held_out_auroc(train, val, vectors, classes, "mean", LAYER)) if weighed else 0.0
        limits = choose_limits(train, val, vectors, classes, "mean")
        self.nearness = Nearness.of(weight, vectors, limits)
        self.posteriors = LAYER(train)

    def _part(self, patches: Embedded, kept: np.ndarray) -> Embedded:
        """Patches of the model's classes, whose targets are the model's."""
        kept = kept & np.isin(patches.target, self.known)
        target, clip = patches.target[kept], patches.clip[kept]
        return Embedded(
            patches.embeddings[kept], np.searchsorted(self.known, target), np.unique(clip, return_inverse=True)[1]
        )

    def clips(self, patches: Embedded) -> tuple[np.ndarray, np.ndarray]:
        """Posteriors and nearness of clips."""
        near = self.nearness.of_embeddings(patches.embeddings)
        rows = np.concatenate([self.posteriors(patches.embeddings), near[:, None]], axis=1)
        by = by_clip(rows, patches.clip, "mean")
        return by[:, :-1], by[:, -1]


def some(patches: Embedded, kept: np.ndarray) -> Embedded:
    """Some patches, clips numbered anew."""
    clip = np.unique(patches.clip[kept], return_inverse=True)[1]
    return Embedded(patches.embeddings[kept], patches.target[kept], clip)


def auroc_of(patches: Embedded, folds: np.ndarray, known: list[int], means: int) -> dict[str, float]:
    """Means over the folds, of clips of the test fold: AUROC of the score and of the posterior, the chosen weight."""
    from sklearn.metrics import roc_auc_score

    rows = []
    for fold in FOLDS:
        model, test = Model(patches, folds, known, fold, means), some(patches, folds == fold)
        posteriors, near = model.clips(test)
        is_known, most = np.isin(clip_classes(test), known), posteriors.max(axis=1)
        weight = model.nearness.weight
        rows.append([roc_auc_score(is_known, blend(most, near, each)) for each in (weight, 0.0)] + [weight])
    return dict(zip(("score", "posterior", "weight"), np.mean(rows, axis=0).tolist(), strict=True))


def learning_of(patches: Embedded, folds: np.ndarray, num_classes: int, means: int) -> dict[str, dict[str, float]]:
    """By examples: share of the learned class's clips named for it, accuracy of the others after and before."""
    random, rows = np.random.default_rng(0), {count: [] for count in EXAMPLES}
    for left_out in range(num_classes):
        known = [label for label in range(num_classes) if label != left_out]
        for fold in FOLDS:
            model, test = Model(patches, folds, known, fold, means, weighed=False), some(patches, folds == fold)
            posteriors, near = model.clips(test)
            truth, decided = clip_classes(test), model.known[posteriors.argmax(axis=1)]
            is_own = truth == left_out
            pool = np.unique(patches.clip[(patches.target == left_out) & (folds != fold)])
            for count in EXAMPLES:
                learner = Learner(1, patches.embeddings.shape[1])
                chosen = np.isin(patches.clip, random.choice(pool, count, replace=False))
                learner.learn(0, patches.embeddings[chosen])
                cosine = by_clip(learner.cosines(test.embeddings), test.clip, "mean")
                heard = learned(model.nearness, near, cosine) == 0
                after = np.where(heard, left_out, decided)
                right = [(each == truth)[~is_own].mean() for each in (after, decided)]
                rows[count].append([heard[is_own].mean(), *right])
    names = ("learned_class", "others_after", "others_before")
    return {str(count): dict(zip(names, np.mean(own, axis=0).tolist(), strict=True)) for count, own in rows.items()}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="256", choices=("256", "512", "1024", "mn04_x13"), help="YAMNet's embedding")
    parser.add_argument("--means", type=int, nargs="+", default=[4], help="of a class")
    parser.add_argument("--splits", type=int, default=5, help="random choices of unseen classes")
    parser.add_argument("--without-learning", action="store_true", help="AUROC alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    patches, folds, names = embeddings(options.net)
    random = np.random.default_rng(0)
    chosen = [sorted(random.choice(len(names), 6, replace=False).tolist()) for _ in range(options.splits)]
    result: dict[str, Any] = {"net": options.net}
    for means in options.means:
        docs = auroc_of(patches, folds, sorted(names.index(name) for name in KNOWN), means)
        others = [auroc_of(patches, folds, known, means) for known in chosen]
        of_others = {key: float(np.mean([each[key] for each in others])) for key in docs} if others else {}
        least = min((each["score"] for each in others), default=None)
        result[f"means={means}"] = {
            "auroc_docs": docs,
            "auroc_random": {**of_others, "least": least},
        }
        if not options.without_learning:
            result[f"means={means}"] |= {"learning": learning_of(patches, folds, len(names), means)}
    print(json.dumps({**result, "cpu_s": round(time.process_time() - started)}, indent=1))


if __name__ == "__main__":
    main()
