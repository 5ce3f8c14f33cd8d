"""A sweep's summary is of its own jobs; what ends a job is said in words."""

import json
import os
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from aed.base.errors import AedError
from aed.run import sweep


def test_jobs_of_an_earlier_sweep_in_the_folder_are_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, second in enumerate((100, 50, 101)):
        job = tmp_path / str(number)
        job.mkdir()
        (job / "metrics.json").write_text(json.dumps({"test/clip_acc": number / 4}))
        os.utime(job / "metrics.json", (second, second))
    assert sweep.summarise(tmp_path)["test/clip_acc"]["values"] == [0.0, 0.25, 0.5]
    (tmp_path / "multirun.yaml").touch()
    os.utime(tmp_path / "multirun.yaml", (100, 100))
    assert sweep.summarise(tmp_path)["test/clip_acc"]["values"] == [0.0, 0.5]
    assert "1/metrics.json: belongs to an earlier multirun" in caplog.text


@pytest.mark.parametrize(
    ("error", "ends_as"), [(AedError("data.test_fold: no"), SystemExit), (ValueError("ours"), ValueError)]
)
def test_a_failed_job_ends_the_sweep_without_a_traceback_where_the_user_can_put_it_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, ends_as: type[BaseException]
) -> None:
    hydra = {"mode": {"name": "MULTIRUN"}, "sweep": {"dir": str(tmp_path)}, "job": {"num": 3}}
    done = JobReturn(overrides=[], status=JobStatus.FAILED, _return_value=error)
    sweep.Summary().on_job_end(OmegaConf.create({"hydra": hydra}), done)
    with pytest.raises(ends_as):
        _ = done.return_value
    assert ("job 3: data.test_fold: no" in caplog.text) == (ends_as is SystemExit)
    assert (tmp_path / "summary.json").is_file()


def test_a_summary_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    hydra = {"mode": {"name": "MULTIRUN"}, "sweep": {"dir": str(tmp_path / "file")}, "job": {"num": 0}}
    with pytest.raises(SystemExit):
        sweep.Summary().on_job_end(OmegaConf.create({"hydra": hydra}), JobReturn(status=JobStatus.COMPLETED))
    assert "cannot be written" in caplog.text


def test_a_score_that_is_no_number_is_left_out_of_the_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("0", "null"), ("1", "0.5"), ("2", "NaN"), ("3", "0.7")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(f'{{"test/clip_map": {value}, "test/clip_f1": 0.1}}')
    summary = sweep.summarise(tmp_path)
    assert summary["test/clip_map"]["values"] == [0.5, 0.7] and summary["test/clip_map"]["mean"] == 0.6
    assert len(summary["test/clip_f1"]["values"]) == 4
    assert "NaN" not in (tmp_path / "summary.json").read_text()
    sweep.show(tmp_path, summary)
    assert "nan" not in capsys.readouterr().out.lower()
