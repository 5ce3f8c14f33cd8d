"""Constants in the order that a core's kernels read them in, and the proofs that go with an order."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aed.base.processes import run_tool
from aed.target.codegen.packing import bias_pairs, fits_16_bits, kernel_rows, quads, row_pairs, sliding
from aed.target.codegen.source import Source

pytestmark = pytest.mark.usefixtures("compiles")


def seen(tmp_path: Path, text: str, mve: bool) -> str:
    """What a compiler sees of ``text``."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: apt-get install gcc")
    (tmp_path / "a.c").write_text(text)
    return " ".join(run_tool(["gcc", "-E", "-P", f"-DAED_MVE={int(mve)}", tmp_path / "a.c"], 10).split())


def test_each_core_sees_its_own_order_and_its_own_scratch_memory(tmp_path: Path) -> None:
    source = Source()
    name = source.weights("weight3", mve=np.array([1, -2], np.int8), others=np.array([[300, -4]], np.int16))
    source.need_scratch(mve=9, others=3)
    source.need_scratch(mve=2, others=33)
    text = "\n".join(source.constants)
    align = "__attribute__((aligned(4)))"
    assert name == "weight3"
    assert seen(tmp_path, text, mve=True) == (f"static const int8_t weight3[2] {align} = {{ 1, -2, }};")
    assert seen(tmp_path, text, mve=False) == (f"static const int16_t weight3[2] {align} = {{ 300, -4, }};")
    assert source.scratch_words == {"mve": 2, "others": 5}


def test_what_is_the_same_for_all_cores_is_there_once() -> None:
    source = Source()
    source.weights("weight0", mve=np.ones(4, np.int8), others=np.ones((2, 2), np.int8))
    assert source.constants[0].count("weight0") == 1 and "#if" not in source.constants[0]
    assert source.scratch_words == {"mve": 0, "others": 0}


ROWS = st.tuples(st.integers(1, 5), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int8, (shape[0], 4 * shape[1]), elements=st.integers(-128, 127))
)


def words(four: np.ndarray) -> np.ndarray:
    """Halves of the two words that SXTB16 makes of four bytes, in memory."""
    return four[..., [0, 2, 1, 3]]


def modular(pairs: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums of all rows as the kernel computes them: in 32 bits, which go round."""
    weight, inputs = pairs.astype(np.int64), words(x.reshape(-1, 4)).ravel().astype(np.int64)
    low = ((weight + 128) % 256 - 128) @ inputs + bias[::2]
    both = weight @ inputs + bias[::2] + 256 * np.pad(bias, (0, len(bias) % 2))[1::2]
    difference = (both - low + 2**31) % 2**32 - 2**31
    return np.stack([low, difference / 256], axis=1).ravel()[: len(bias)]


def worst(row: np.ndarray, sign: int) -> np.ndarray:
    """The inputs that make the sum of a row largest, or smallest."""
    return np.where(sign * row.astype(np.int64) > 0, 127, -128).astype(np.int8)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(rows=ROWS, wide=st.sampled_from([0, 2**22, 2**23 - 1, 2**23, 2**30]), data=st.data())
def test_pairs_that_are_proved_give_the_sums_for_the_worst_inputs(rows, wide, data) -> None:
    bias = data.draw(arrays(np.int32, len(rows), elements=st.integers(-wide, wide)))
    pairs = row_pairs(rows, bias)
    if pairs is None:
        return
    assert pairs.dtype == np.int16 and pairs.shape == (-(-len(rows) // 2), rows.shape[1])
    for row in rows:
        for sign in (1, -1):
            x = worst(row, sign)
            np.testing.assert_array_equal(modular(pairs, bias, x), rows.astype(np.int64) @ x + bias)


@pytest.mark.parametrize(("bias", "is_proved"), [(511, True), (512, False), (-511, True), (-513, False)])
def test_a_second_row_whose_sum_may_reach_the_bound_has_no_pairs(bias: int, is_proved: bool) -> None:
    """516 weights of 127 and inputs of -128 make 2**23 - 512; what is refused would be wrong."""
    rows = np.full((2, 516), -127 if bias > 0 else 127, np.int8)
    biases = np.array([2**30, bias], np.int32)
    assert (row_pairs(rows, biases) is not None) == is_proved
    wide = rows.astype(np.int64)
    half = wide[::2] + 256 * wide[1::2]
    x = worst(rows[1], 1 if bias > 0 else -1)
    right = wide @ x + biases
    assert (modular(half.astype(np.int16), biases, x) == right).all() == is_proved


def test_the_first_row_of_a_pair_may_have_any_sum() -> None:
    assert row_pairs(np.full((1, 20000), 127, np.int8), np.zeros(1, np.int32)) is not None


@pytest.mark.parametrize(("low", "high", "is_proved"), [(-1, -128, False), (0, -128, True), (-128, -127, True)])
def test_a_pair_that_does_not_fit_16_bits_is_refused(low: int, high: int, is_proved: bool) -> None:
    rows = np.array([[low, 0, 0, 0], [high, 0, 0, 0]], np.int8)
    assert (row_pairs(rows, np.zeros(2, np.int32)) is not None) == is_proved


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((3, 3), (12, 4)), ((5, 5), (28, 5)), ((1, 7), (8, 8)), ((2, 4), (8, 4)), ((3, 2), (8, 2)), ((7, 7), (52, 7))],
)
def test_rows_of_a_kernel_are_whole_words_where_that_is_free(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    weight = np.arange(1, 2 * shape[0] * shape[1] + 1, dtype=np.int8).reshape(2, *shape)
    rows, pitch = kernel_rows(weight)
    assert (rows.shape[1], pitch) == wanted
    for output in range(2):
        for row in range(shape[0]):
            part = rows[output, row * pitch : row * pitch + shape[1]]
            assert part.tolist() == weight[output, row].tolist()
    assert np.count_nonzero(rows) == weight.size


def test_weights_that_slide_unpack_to_columns() -> None:
    """Taps are named by row and column; SXTB16 makes pairs of the first and third byte, the second and fourth."""
    taps = np.arange(72, dtype=np.int8).reshape(9, 8)
    packed = sliding(taps)
    assert packed.shape == (2, 36)
    at = taps.reshape(3, 3, 8)
    for four in range(2):
        for place, channel in enumerate((0, 2, 1, 3)):
            halves = words(packed[four, 8 * place : 8 * place + 8].reshape(2, 4)).reshape(4, 2).tolist()
            c = 4 * four + channel
            pairs = [[(0, 0), (1, 0)], [(0, 1), (1, 1)], [(0, 2), (1, 2)], [(2, 0), (2, 1)]]
            assert halves == [[at[i, j, c] for i, j in pair] for pair in pairs]
            assert packed[four, 32 + place] == at[2, 2, c]


@pytest.mark.parametrize(("factor", "is_proved"), [(0.21, True), (0.23, False)])
def test_steps_that_may_not_fit_16_bits_do_not_slide(factor: float, is_proved: bool) -> None:
    """A sum of nine products of 127 and -128 is 146304 at most; 32000 steps are allowed."""
    taps, factors = np.full((9, 4), -127, np.int8), np.full(4, 1e-3, np.float32)
    factors[2] = factor
    assert fits_16_bits(taps, np.zeros(4, np.int32), factors) == is_proved
    assert not fits_16_bits(taps, np.full(4, 2**30, np.int32), factors)


def test_biases_of_a_pair_are_added_up_modulo_32_bits() -> None:
    pairs = bias_pairs(np.array([3, -2, 5, 2**23, -7], np.int32))
    assert pairs.tolist() == [3, 3 - 512, 5, 5 - 2**31, -7, -7]


def test_channels_that_are_no_multiple_of_four_are_filled_up() -> None:
    taps = np.arange(1, 13, dtype=np.int8).reshape(2, 6)
    assert quads(taps).tolist() == [[[1, 2, 3, 4], [7, 8, 9, 10]], [[5, 6, 0, 0], [11, 12, 0, 0]]]
