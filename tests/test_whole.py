"""Multipliers of whole numbers: for every sum, and every pair of int8, the step that floats give."""

import ctypes

import numpy as np
import pytest

from aed.export.curves import LIMIT
from aed.target.codegen.generate import kernel_sources
from aed.target.codegen.whole import whole_factors, whole_product, whole_sum, whole_swish_factors
from aed.target.host import build_library, pointer

STEPS = np.arange(-128, 128, dtype=np.int8)
LARGEST = 150_000


def clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -128, 127).astype(np.int64)


def scaled(one: np.ndarray, other: np.ndarray | int, added: int = 0) -> np.ndarray:
    """The upper 32 of 64 bits of a product and something added to it."""
    return (one * other + added) >> 32


@pytest.mark.parametrize("zero", [-128, -115, -3, 0, 127])
def test_every_sum_gets_the_step_of_floats(zero: int) -> None:
    factors = np.random.default_rng(abs(zero)).uniform(2e-4, 0.1, 60).astype(np.float32)
    sums = np.arange(-LARGEST, LARGEST + 1)
    words = whole_factors(factors, zero, np.full(60, LARGEST), 1).astype(np.int64)
    assert (words < 0).mean() > 0.8
    for factor, word in zip(factors, words, strict=True):
        if word < 0:
            wanted = clipped(np.rint(sums.astype(np.float32) * factor) + zero)
            low = ((zero * 4 + 2) * 2**32 - sums * word) >> 32
            high = ((zero * 4 + 2) * 256 * 2**32 - 256 * sums * word) >> 32
            np.testing.assert_array_equal(clipped(low >> 2), wanted)
            np.testing.assert_array_equal(clipped(high >> 10), wanted)
            assert np.abs(high).max() < 2**31


@pytest.mark.parametrize(("zero", "slope"), [(-128, 0.03), (-115, 0.02), (-100, 0.006), (0, 0.012)])
def test_every_sum_with_a_hard_swish_gets_the_step_of_floats(zero: int, slope: float) -> None:
    factors = np.random.default_rng(-zero).uniform(5e-4, 4e-3, 40).astype(np.float32)
    sums, curve = np.arange(-LARGEST, LARGEST + 1), np.float32(slope)
    words = whole_swish_factors(factors, curve, zero, np.full(40, LARGEST), 1).astype(np.int64)
    assert (words < 0).sum() >= 3
    for factor, word in zip(factors, words, strict=True):
        if word < 0:
            half = sums.astype(np.float32) * factor
            value = half * np.clip(half * curve + np.float32(1), np.float32(0), LIMIT)
            less = scaled(sums << 12, word, 2**31)
            gate = (2**55 - less * int(float(curve) * 2.0**36) + 2**31) >> 32
            step = ((zero * 1024 + 512) * 2**32 - less * np.clip(gate, 0, 2**24 - 1)) >> 32
            np.testing.assert_array_equal(clipped(step >> 10), clipped(np.rint(value) + zero))


def test_a_group_has_whole_numbers_only_together() -> None:
    largest, drawn = np.full(5, 1000), np.random.default_rng(0).uniform(1e-3, 5e-3, 20).astype(np.float32)
    alone = whole_factors(drawn, 0, np.full(20, 1000), 1)
    good, large = drawn[alone < 0][:4], np.float32(0.5)
    assert whole_factors(np.array([large]), 0, largest[:1], 1)[0] > 0
    factors = np.array([good[0], large, *good[1:]], np.float32)
    words = whole_factors(factors, 0, largest, 2)
    assert words[:2].tolist() == factors[:2].view(np.int32).tolist()
    assert words[2:].tolist() == [*alone[alone < 0][1:4].tolist(), -1]


@pytest.mark.parametrize("op", ["add", "multiply"])
def test_every_pair_gets_the_step_of_floats(tmp_path, compiles, op: str) -> None:
    """The portable kernels of whole numbers beside those of floats, over all pairs of int8."""
    library, draw = build_library(tmp_path, kernel_sources()), np.random.default_rng(0)
    a, b = (np.ascontiguousarray(array.ravel()) for array in np.meshgrid(STEPS, STEPS, indexing="ij"))
    outputs, found = np.empty((2, 65536), np.int8), 0
    for _ in range(30):
        one, other, zero = map(int, draw.integers(-128, 128, 3))
        if op == "add":
            factors = [float(np.float32(factor)) for factor in draw.uniform(0.2, 1.6, 2)]
            numbers = whole_sum(*factors, one, other, zero)
            zeros = ()
        else:
            factors = [float(np.float32(draw.uniform(1e-4, 1e-2)))]
            numbers = whole_product(*factors, one, other, zero)
            zeros = (one, other, None)
        if numbers is None:
            continue
        found += 1
        ends = pointer(a), pointer(b)
        floats = map(ctypes.c_float, factors)
        getattr(library, f"aed_{op}")(*ends, pointer(outputs[0]), 65536, 65536, *floats, one, other, zero)
        getattr(library, f"aed_{op}_whole")(*ends, pointer(outputs[1]), 65536, 65536, *numbers, *zeros)
        np.testing.assert_array_equal(*outputs)
    assert found > 20
