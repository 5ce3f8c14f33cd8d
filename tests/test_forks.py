"""Forked processes have the signals of those that tests start, not those of the server they are forked from."""

import signal
import subprocess

import pytest


@pytest.mark.parametrize(("ignored", "said"), [(False, "default_int_handler"), (True, "Handlers.SIG_IGN")])
def test_a_forked_process_obeys_ctrl_c_as_the_one_that_started_it(tmp_path, forking, ignored, said):
    (tmp_path / "shows.py").write_text("import signal\nprint(repr(signal.getsignal(signal.SIGINT)))\n")
    number = signal.SIG_IGN if ignored else signal.SIG_DFL
    done = subprocess.run(
        [*forking, "shows"], cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, number),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert said in done.stdout, done
