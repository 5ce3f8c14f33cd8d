from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules import EscCsv, Synthetic
from aed.datamodules.calibration import balanced, halves, thinned
from aed.datamodules.datamodule import PatchDataModule
from aed.datamodules.patches import PatchDataset
from aed.datamodules.sources.clips import read_esc_csv


def ready(**changes: object) -> PatchDataModule:
    data = tiny.data(**changes)
    data.prepare_data()
    data.setup()
    return data


@settings(deadline=None, derandomize=True)
@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_halves_share_no_clip_and_split_every_class_evenly(targets):
    array = np.array(targets)
    one, other = halves(array)
    assert sorted([*one, *other]) == list(range(len(array)))
    for target in set(targets):
        assert 0 <= (array[one] == target).sum() - (array[other] == target).sum() <= 1


label_rows = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=50)
)


@settings(deadline=None, derandomize=True)
@given(rows=label_rows)
def test_halves_of_several_labels_are_equal_and_the_rarest_class_is_judged(rows):
    array = np.array(rows).astype(np.float32)
    one, other = halves(array)
    assert sorted([*one, *other]) == list(range(len(array)))
    assert 0 <= len(one) - len(other) <= 1
    counts = array.sum(axis=0)
    if len(other) and counts.any():
        rarest = np.flatnonzero(counts == counts[counts > 0].min())[0]
        bare = (~array.any(axis=1)).sum()
        if counts[rarest] <= len(other) and not 0 < bare < counts[rarest]:
            assert 0 <= array[other][:, rarest].sum() - array[one][:, rarest].sum() <= 1


@pytest.mark.parametrize("positives", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["first", "last", "spread"])
def test_the_few_positives_of_a_detector_are_dealt(positives, order):
    clips = 41
    where = {"first": range(positives), "last": range(clips - positives, clips), "spread": range(0, 6 * positives, 6)}
    target = np.zeros((clips, 1), dtype=np.float32)
    target[list(where[order])] = 1
    one, other = halves(target)
    assert target[other].sum() == -(-positives // 2) and target[one].sum() == positives // 2


def test_every_other_clip_of_a_class_is_judged_as_ever():
    one, other = halves(np.array([0, 1, 0, 0, 1, 2, 0, 1]))
    assert one.tolist() == [0, 1, 3, 5, 7] and other.tolist() == [2, 4, 6]


@settings(deadline=None, derandomize=True)
@given(count=st.integers(1, 300), most=st.integers(2, 50))
def test_thinning_of_one_class_keeps_order_and_ends(count, most):
    kept = thinned(np.arange(count), np.zeros(count, dtype=np.int64), most)
    assert len(kept) == min(count, most) and kept[0] == 0 and kept[-1] == count - 1
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("positives", [1, 10, 20, 40, 400])
@pytest.mark.parametrize("several", [False, True])
def test_thinning_keeps_the_clips_of_a_rare_class(positives, several):
    target = np.zeros(20000, dtype=np.int64)
    target[np.random.default_rng(positives).choice(20000, positives, replace=False)] = 1
    kept = thinned(np.arange(20000), target[:, None].astype(np.float32) if several else target)
    assert len(kept) == 1000 and (np.diff(kept) > 0).all()
    assert target[kept].sum() >= min(positives, 50)


@settings(deadline=None, derandomize=True)
@given(rows=label_rows, most=st.integers(5, 40), first=st.integers(0, 5))
def test_thinning_keeps_its_share_of_every_class(rows, most, first):
    targets = np.array(rows).astype(np.float32)
    clips = np.arange(min(first, len(targets) - 1), len(targets))
    kept = thinned(clips, targets, most)
    assert len(kept) == min(len(clips), most) and set(kept) <= set(clips) and (np.diff(kept) > 0).all()
    classes = targets.shape[1] + 1
    for column in targets.T:
        assert column[kept].sum() >= min(column[clips].sum(), most // classes)


def test_where_evenly_spaced_clips_have_all_classes_they_are_taken():
    """As they were before rare classes came first."""
    kept = thinned(np.arange(3000), np.arange(3000) % 10)
    assert kept.tolist() == np.linspace(0, 2999, 1000).round().astype(int).tolist()


@pytest.mark.parametrize("number", [3, 6, 12])
def test_patches_are_even_over_classes_and_of_training_clips_only(number):
    data = ready()
    calibration = data.calibration(number)
    assert len(calibration.patches) == number
    targets = dict(zip(data.clip_names("train"), data.datasets["train"].targets, strict=True))
    assert set(calibration.clips) <= set(targets)
    assert not set(calibration.clips) & set(data.clip_names("test"))
    dataset = data.datasets["train"]
    every = dataset.__getitems__(list(range(len(dataset)))).patches.numpy()
    known = {patch.tobytes(): int(clip) for patch, clip in zip(every, dataset.windows[:, 0], strict=True)}
    counts = np.bincount([data.datasets["train"].targets[known[patch.tobytes()]] for patch in calibration.patches])
    assert (counts == number // 3).all()


def everything(dataset: PatchDataset) -> set[bytes]:
    return {patch.tobytes() for patch in dataset.__getitems__(list(range(len(dataset)))).patches.numpy()}


def test_more_patches_than_there_are_are_all():
    data = ready(val_fold=4)
    calibration = data.calibration(10**6)
    assert len(calibration.patches) == len(data.datasets["train"])


def test_without_validation_half_of_the_training_clips_judge():
    data = ready()
    calibration = data.calibration(10**6)
    assert calibration.judging_split == "train"
    assert not everything(calibration.judging) & {patch.tobytes() for patch in calibration.patches}
    assert calibration.judging.num_clips + len(calibration.clips) == data.datasets["train"].num_clips


def test_the_clips_that_judge_are_thinned_by_their_own_classes(monkeypatch):
    data = ready()
    monkeypatch.setattr("aed.datamodules.calibration.thinned", partial(thinned, most=3))
    assert sorted(data.calibration(9).judging.targets) == [0, 1, 2]


def test_with_validation_it_judges():
    data = ready(val_fold=4)
    calibration = data.calibration(9)
    assert calibration.judging_split == "val"
    assert calibration.judging.num_clips == data.datasets["val"].num_clips
    np.testing.assert_array_equal(calibration.judging.targets, data.datasets["val"].targets)


def test_the_same_seed_chooses_the_same_and_another_others():
    first, again, other = (ready(seed=seed).calibration(6).patches for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_calibration_set_of_its_own_counts(tmp_path):
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    table = source.table()
    folder = table["path"][0].parent
    rows = pd.DataFrame(
        {
            "filename": [path.name for path in table["path"]],
            "category": table["labels"].str[0],
            "fold": table["fold"],
        }
    )
    rows[rows["fold"] != 1].to_csv(tmp_path / "all.csv", index=False)
    rows[rows["fold"] == 1].to_csv(tmp_path / "calibration.csv", index=False)
    assert len(read_esc_csv(tmp_path / "calibration.csv", folder)) == 3
    clips = EscCsv(str(tmp_path / "all.csv"), str(folder), calibration_csv=str(tmp_path / "calibration.csv"))
    data = PatchDataModule(clips, tiny.FRONTEND, cache_workers=1)
    data.prepare_data()
    data.setup()
    data.datasets.pop("calibration")
    with pytest.raises(AedError, match="calibration_csv"):
        data.calibration(100)
    data.datasets.clear()
    data.setup()
    calibration = data.calibration(100)
    assert set(calibration.clips) == set(rows.loc[rows["fold"] == 1, "filename"])
    assert calibration.judging.num_clips == 3 and data.datasets["train"].num_clips == 9


def apart(folder: Path, chosen: Callable[[pd.DataFrame], "pd.Series[bool]"]) -> PatchDataModule:
    """Clips of which some are a calibration set, too; fold 1 is tested on."""
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    table = source.table()
    columns = {"filename": table["path"].map(lambda path: path.name), "category": table["labels"].str[0]}
    rows = pd.DataFrame({**columns, "fold": table["fold"]})
    rows.to_csv(folder / "all.csv", index=False)
    rows[chosen(rows)].to_csv(folder / "calibration.csv", index=False)
    clips = EscCsv(
        str(folder / "all.csv"), str(table["path"][0].parent), calibration_csv=str(folder / "calibration.csv")
    )
    data = PatchDataModule(clips, tiny.FRONTEND, cache_workers=1, test_fold=1)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("folds", [[1, 2], [2, 3], [1, 2, 3, 4, 5]])
def test_no_clip_is_calibrated_on_that_is_tested_on_or_judges(tmp_path, caplog, folds):
    data = apart(tmp_path, lambda rows: rows["fold"].isin(folds))
    calibration = data.calibration(10**6)
    used, tested = set(calibration.clips), set(data.clip_names("test"))
    assert used and not used & tested
    assert ("3 of" in caplog.text and "tested recordings" in caplog.text) == (1 in folds)
    judging = everything(calibration.judging)
    assert judging and not judging & {patch.tobytes() for patch in calibration.patches}
    assert not judging & everything(calibration.training)


def test_a_calibration_set_of_tested_clips_alone_is_refused(tmp_path):
    data = apart(tmp_path, lambda rows: rows["fold"] == 1)
    with pytest.raises(AedError, match="all its clips are of tested recordings"):
        data.calibration(9)


def test_balanced_draws_what_a_search_of_all_patches_would():
    """The clips of each class shuffled, then the patches of each: in turn one of each clip, and one of each class."""
    data = ready().datasets["train"]
    clips = np.arange(0, data.num_clips, 2)
    for number in (2, 7, 40):
        generator, queues = np.random.default_rng(5), []
        for target in np.unique(data.targets[clips]):
            own = generator.permutation(clips[data.targets[clips] == target])[:number]
            patches = [generator.permutation(np.flatnonzero(data.clip == clip)).tolist() for clip in own]
            queues.append([patch for turn in zip_longest(*patches) for patch in turn if patch is not None])
        drawn = [patch for turn in zip_longest(*queues) for patch in turn if patch is not None]
        assert balanced(data, clips, number, 5).tolist() == sorted(drawn[:number])


def test_fine_tuning_does_not_see_the_clips_that_judge():
    data = ready()
    calibration = data.calibration(9)
    seen = {patch.numpy().tobytes() for batch in data.training_patches(calibration.training, 0) for patch in batch}
    assert seen and not seen & everything(calibration.judging)
    assert ready(val_fold=4).calibration(9).training.num_clips == 9
