import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.datamodules.calibration import halves, thinned
from aed.datamodules.datamodule import PatchDataModule
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
    known = {patch.tobytes(): int(clip) for patch, clip in zip(*everything(data, "train"), strict=True)}
    counts = np.bincount([data.datasets["train"].targets[known[patch.tobytes()]] for patch in calibration.patches])
    assert (counts == number // 3).all()


def everything(data: PatchDataModule, split: str) -> tuple[np.ndarray, np.ndarray]:
    dataset = data.datasets[split]
    return dataset.__getitems__(list(range(len(dataset)))).patches.numpy(), dataset.windows[:, 0]


def test_more_patches_than_there_are_are_all():
    data = ready(val_fold=4)
    calibration = data.calibration(10**6)
    assert len(calibration.patches) == len(data.datasets["train"])


def test_without_validation_half_of_the_training_clips_judge():
    data = ready()
    calibration = data.calibration(10**6)
    assert calibration.judging_split == "train"
    judged = {
        patch.tobytes()
        for patch in calibration.judging.__getitems__(list(range(len(calibration.judging)))).patches.numpy()
    }
    assert not judged & {patch.tobytes() for patch in calibration.patches}
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
    from aed.datamodules import EscCsv, Synthetic
    from aed.datamodules.clips import read_esc_csv

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
    assert calibration.judging.num_clips == data.datasets["train"].num_clips


def test_fine_tuning_does_not_see_the_clips_that_judge():
    data = ready()
    calibration = data.calibration(9)
    seen = {patch.numpy().tobytes() for batch in data.training_patches(calibration.training, 0) for patch in batch}
    judging = calibration.judging
    judged = {patch.tobytes() for patch in judging.__getitems__(list(range(len(judging)))).patches.numpy()}
    assert seen and not seen & judged
    assert ready(val_fold=4).calibration(9).training.num_clips == 9
