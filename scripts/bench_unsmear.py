"""Seconds to un-smear the labels of a data set as large as FSD50K: ``sources.ontology`` beside a search per row.

python scripts/bench_unsmear.py: 51,197 made-up clips over a made-up ontology of 632 classes, some below two others.
As in FSD50K a clip has one to three sounds out of 144, which few clips combine freely, and every class of a
vocabulary of 200 that is above them. Both results are compared.
"""

import argparse
import time

import numpy as np

from aed.datamodules.sources.ontology import Ontology

CLASSES, VOCABULARY, SOUNDS, CLIPS = 632, 200, 144, 51_197


def made_up(rng: np.random.Generator) -> tuple[dict[str, list[str]], list[tuple[str, ...]]]:
    """Children of each class, and the labels of each clip."""
    children: dict[str, list[str]] = {f"m{number}": [] for number in range(CLASSES)}
    for number in range(7, CLASSES):  # 7 roots; 5 % of the others have two parents
        for parent in {int(rng.integers(number // 6, number // 2 + 1)) for _ in range(1 + (rng.random() < 0.05))}:
            children[f"m{parent}"].append(f"m{number}")
    leaves = [mid for mid, below in children.items() if not below]
    ontology = Ontology(children)
    sounds = rng.choice(leaves, SOUNDS, replace=False)
    between = sorted({above for mid in sounds for above in ontology.ancestors(str(mid))})
    vocabulary = {*sounds.tolist(), *rng.permutation(between)[: VOCABULARY - SOUNDS].tolist()}
    popularity = 1 / np.arange(1, SOUNDS + 1) ** 0.5
    clips = []
    for number in rng.choice([1, 2, 3], CLIPS, p=[0.8, 0.15, 0.05]):
        own = rng.choice(sounds, number, replace=False, p=popularity / popularity.sum()).tolist()
        smeared = {above for mid in own for above in ontology.ancestors(mid)} & vocabulary | set(own)
        clips.append(tuple(sorted(smeared)))
    return children, clips


def search_per_row(children: dict[str, list[str]], clips: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Looks below each label of each clip for another one."""

    def below(mid: str) -> set[str]:
        return {found for child in children[mid] for found in {child, *below(child)}}

    return [tuple(mid for mid in mids if not below(mid) & set(mids)) for mids in clips]


def main() -> None:
    """Prints the seconds of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    children, clips = made_up(np.random.default_rng(parser.parse_args().seed))
    counts = np.array([len(mids) for mids in clips])
    print(f"{len(clips)} clips, {len(set(clips))} different sets of labels, {counts.mean():.2f} labels a clip")
    started = time.perf_counter()
    ours = Ontology(children).unsmear_all(clips)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    theirs = search_per_row(children, clips)
    per_row = time.perf_counter() - started
    assert ours == theirs
    print(f"aed            {seconds:7.3f} s, {np.mean([len(mids) for mids in ours]):.2f} labels per clip left")
    print(f"search per row {per_row:7.3f} s")
    print(f"ratio          {per_row / seconds:7.1f}")


if __name__ == "__main__":
    main()
