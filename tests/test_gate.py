"""The gate: levels in whole numbers, the same in Python, in C and on an emulated core, and a net that does not run."""

import ctypes
import math
import shutil
from dataclasses import replace

import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator import arm  # noqa: F401
from test_plans import int8, small

from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import column_powers, gate_power, new_samples, patch_powers, power_dbfs
from aed.target.boards import load_board
from aed.target.codegen.frontend import frontend_sources
from aed.target.codegen.generate import listener_sources
from aed.target.codegen.settings import PlanKind, PlanSettings
from aed.target.emulator.device import EmulatedDevice
from aed.target.host import HostDevice, build_library, pointer

FRONTENDS = {
    "usual": nets.FRONTEND,
    "no overlap of frames": replace(nets.FRONTEND, hop_length=512, min_length_s=2.0),
    "samples between frames": replace(nets.FRONTEND, hop_length=700, min_length_s=2.0),
}

DRIVER = """
#include "aed_gate.h"
void follow(uint64_t least, const int16_t *samples, int count, int block, bool *open);

/* Whether the gate is open after each sample; the samples come in blocks. */
void follow(uint64_t least, const int16_t *samples, int count, int block, bool *open) {
    aed_gate gate;
    aed_gate_init(&gate, least);
    for (int i = 0; i < count; i += block) {
        const int taken = count - i < block ? count - i : block;
        aed_gate_feed(&gate, &samples[i], (size_t)taken);
        open[i + taken - 1] = aed_gate_is_open(&gate, 0);
    }
}
"""

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev")


def wandering(count: int, seed: int = 0, offset: int = 0) -> np.ndarray:
    """16-bit noise and tones, now loud, now faint, now still, around an offset."""
    draw = np.random.default_rng(seed)
    pieces = 1 + count // 3000
    gain, pitch = (
        np.repeat(draw.choice(values, pieces), 3000)[:count]
        for values in ([0, 1, 3, 30, 1000, 60000], np.linspace(0.02, 0.9, 40))
    )
    tone = np.sin(np.pi * np.cumsum(pitch)) * np.repeat(draw.choice([0, 1, 5], pieces), 3000)[:count]
    return (offset + gain * (draw.standard_normal(count) + tone)).clip(-32768, 32767).astype(np.int16)


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FRONTENDS)
def test_powers_are_those_of_the_samples_that_are_new_with_a_column(name):
    config, samples = FRONTENDS[name], wandering(40000)
    powers = column_powers(samples, config)
    assert len(powers) == config.num_frames(len(samples)) and new_samples(config) == min(config.hop_length, 512)
    for column, power in enumerate(powers.tolist()):
        end = column * config.hop_length + config.n_fft
        own = samples[end - new_samples(config) : end].tolist()
        assert power == len(own) * sum(x * x for x in own) - sum(own) ** 2
        if power:
            assert power_dbfs(power, config) == pytest.approx(20 * math.log10(np.std(own) / 32768))
    starts = np.array([0, 3, 4])
    by_hand = [powers[start : start + config.patch_frames].max() for start in starts]
    assert patch_powers(powers, starts, config).tolist() == by_hand


def test_a_gate_is_an_rms_under_full_scale():
    config = FrontendConfig()
    assert gate_power(-40, config) == math.ceil((160 * 32768) ** 2 / 10**4)
    assert gate_power(-120, config) == 28 and gate_power(-40.0, config) == gate_power(-40, config)
    sine = np.rint(32767 * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000)).astype(np.int16)
    assert power_dbfs(int(column_powers(sine, config)[0]), config) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("offset", [-32768, -900, 1, 32767])
def test_an_offset_opens_no_gate(offset):
    config = FrontendConfig()
    still = np.full(16000, offset, np.int16)
    assert column_powers(still, config).max() == 0 < gate_power(-120, config)
    drifting = (offset / 2 + 300 * np.exp(-np.arange(16000) / 8000)).astype(np.int16)  # as a supply settles
    assert column_powers(drifting, config).max() < gate_power(-75, config)


def test_the_extremes_of_the_longest_hop_do_not_overflow():
    config = FrontendConfig(n_fft=65536, hop_length=65536, patch_frames=4, min_length_s=30, max_length_s=30)
    low, both = np.full(65536, -32768, np.int16), np.tile(np.int16([-32768, 32767]), 32768)
    assert column_powers(low, config).tolist() == [0]
    assert column_powers(both, config).tolist() == [65536 * 32768 * (32768**2 + 32767**2) - 32768**2]
    assert gate_power(-0.001, config) < 2**62


# --- C --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FRONTENDS)
def of_c(request, tmp_path_factory) -> tuple[ctypes.CDLL, FrontendConfig]:
    """The gate of a front end in C."""
    config = FRONTENDS[request.param]
    gate = {name: text for name, text in listener_sources().items() if "gate" in name}
    sources = gate | frontend_sources(config, 0.1, 0) | {"driver.c": DRIVER}
    return build_library(tmp_path_factory.mktemp("gate"), sources), config


@needs_gcc
@pytest.mark.usefixtures("compiles")
@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 99),
    offset=st.sampled_from([-32768, -700, 0, 5000]),
    count=st.integers(0, 30000),
    block=st.sampled_from([1, 160, 333, 4096, 30000]),
    dbfs=st.floats(-100, -0.1),
)
def test_c_opens_the_gate_where_python_does(of_c, seed, offset, count, block, dbfs):
    library, config = of_c
    samples, least = wandering(count, seed, offset), gate_power(dbfs, config)
    is_open = np.zeros(count, np.bool_)
    library.follow(ctypes.c_uint64(least), pointer(samples), count, block, pointer(is_open))
    loud = np.flatnonzero(column_powers(samples, config) >= least)
    seen = np.unique([*range(block - 1, count, block), count - 1]) if count else np.zeros(0, np.int64)
    for end in seen.tolist():
        newest = config.num_frames(end + 1) - 1
        wanted = bool(((loud <= newest) & (loud > newest - config.patch_frames)).any())
        assert is_open[end] == wanted


@needs_gcc
@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize(
    ("plan", "overlap", "hop"),
    [
        *((plan, overlap, None) for plan in ("layers", "rows", "stream") for overlap in (0.0, 0.25, 0.75)),
        ("stream", 0.0, 40),
    ],
)
def test_a_gated_listener_gives_the_outputs_of_an_ungated_one_where_it_is_loud(
    tmp_path, plan: PlanKind, overlap: float, hop: int | None
):
    """Also of a stream, which leaves columns out and takes them later."""
    config, settings = replace(nets.FRONTEND, overlap=overlap), PlanSettings(plan=plan, hop=hop)
    model, samples, least = int8(small()), wandering(150000, 3), gate_power(-40, config)
    every = HostDevice(tmp_path / "every", model, config, settings).outputs(samples)
    outputs, is_open = HostDevice(tmp_path / "gated", model, config, settings, least).decisions(samples)
    starts = np.arange(len(every)) * (hop or config.patch_hop)
    wanted = patch_powers(column_powers(samples, config), starts, config) >= least
    np.testing.assert_array_equal(is_open, wanted)
    np.testing.assert_array_equal(outputs[is_open], every[is_open])
    assert (np.diff(is_open.astype(int)) != 0).sum() > 2 and (outputs[~is_open] == outputs.min()).all()
    assert len(np.unique(every[is_open], axis=0)) > 5


@pytest.mark.parametrize("plan", ["layers", "rows", "stream"])
def test_an_emulated_core_opens_the_gate_as_this_machine_does(arm, tmp_path, plan: PlanKind):  # noqa: F811
    config, settings = replace(nets.FRONTEND, overlap=0.25), PlanSettings(plan=plan)
    model, samples, least = int8(small()), wandering(40000, 3), gate_power(-40, config)
    here = HostDevice(tmp_path / "host", model, config, settings, least).decisions(samples)
    board = load_board("mps2-an505")
    there = EmulatedDevice(tmp_path / "board", model, config, board, settings, least).decisions(samples)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0 < here.is_open.mean() < 1
