from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.datamodules import EscCsv, Synthetic
from aed.datamodules.calibration import balanced, halves, thinned
from aed.datamodules.clips import read_esc_csv
from aed.datamodules.datamodule import PatchDataModule
from aed.datamodules.patches import PatchDataset
from aed.errors import AedError


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


@settings(deadline=None, derandomize=True)
@given(count=st.integers(1, 300), most=st.integers(2, 50))
def test_thinning_keeps_order_and_ends(count, most):
    kept = thinned(np.arange(count), most)
    assert len(kept) == min(count, most) and kept[0] == 0 and kept[-1] == count - 1
    assert (np.diff(kept) > 0).all()


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
