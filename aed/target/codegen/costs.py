"""Instructions of the kernels on a core with SMLAD, by which the planner chooses and a footprint is estimated.

Those of inner loops and of what comes before and after them are counted in ``c/aed_conv.c`` and ``c/aed_depthwise.c``;
what the compiler makes of the C around them was measured on a Cortex-M33 (GCC 12.2 -O2), as were the kernels in C.
"""

FOURS = {1: 8, 2: 12, 3: 17}
"""Of a block of 1, 2, 3 pixels: for four inputs and a pair of rows of weights."""

AROUND = {1: 18.5, 2: 26, 3: 33.5}
"""For a pair of rows: from sums to steps, in whole numbers for 19 of 20, and the next biases."""

TURN = 3
"""At the end of a turn of the loop, which takes four inputs 4 times (1 pixel) or 8 times."""

UNPACK = {1: 8, 2: 16, 3: 13}
"""For four inputs of each pixel of a block, out of the rows themselves; gathered ones take 8 a pixel."""

SWISH = 7
"""More for an output of a layer with a HardSwish; measured on a Cortex-M33."""

CORES = ("cortex-m4", "cortex-m33")
"""Cores with SMLAD whose cycles are estimated."""

CYCLES = 1.5
"""Of an instruction: 1.34 to 1.67 of front ends, 1.39 to 1.55 of nets, each by :mod:`aed.target.emulator.cycles`."""

GATE = 5
"""For each sample, and 100 for each column."""

RUN = 140
"""Around the run of a stage."""


def conv(values: int, outputs: int, pixels: int, edges: int, kernel: tuple[int, int], wide: int, direct: bool) -> float:
    """Instructions of a convolution, or of a dense layer, for some pixels.

    Args:
        values: Inputs of a pixel, filled up.
        outputs: Channels.
        pixels: Beside each other.
        edges: Of them those that look outside.
        kernel: Height and width.
        wide: Bytes of a row of the kernel.
        direct: Whether inputs are unpacked where they lie, but at edges.
    """
    fours, pairs = values // 4, -(-outputs // 2)
    by_3 = pixels - 4 if pixels % 3 == 1 and pixels > 1 else pixels // 3 * 3
    blocks = {3: by_3 // 3, 2: (pixels - by_3) // 2, 1: (pixels - by_3) % 2}
    total = 0.0
    for size, count in blocks.items():
        turns = -(-(fours - 1) // (4 if size == 1 else 8))
        total += count * (70 + pairs * (FOURS[size] * fours + AROUND[size] + TURN * turns))
        if direct:
            total += count * (kernel[0] * (5 if size == 3 else 25) + UNPACK[size] * fours)
    gathered = min(pixels, 3 * edges) if direct else pixels  # an edge makes its whole block one
    inside = 80 + kernel[0] * (32 + 1.5 * wide) + UNPACK[1] * fours
    return total + gathered * inside + edges * kernel[0] * kernel[1] * 40


def sliding(channels: int, inputs: int, outputs: int, stride: int) -> float:
    """Instructions of a depthwise convolution that slides over columns, for a row.

    Args:
        channels: Of them all.
        inputs: Columns of the input.
        outputs: Columns of the output.
        stride: Across.
    """
    turn, at_once = (26, 3) if stride == 1 else (20, 2)
    return channels / 4 * (120 + 15 * inputs + 4 * (13 + turn * -(-outputs // at_once)) + 20 * outputs)


def sliding_5x5(channels: int, inputs: int, outputs: int, stride: int) -> float:
    """The same of a kernel of 5 x 5; six outputs of a channel at once, weights are unpacked for each row."""
    block = 150 if stride == 1 else 165
    return channels / 4 * (420 + 30 * inputs + 4 * (35 + block * -(-outputs // 6)) + 20 * outputs)


def depthwise(channels: int, taps: int, outputs: int, by_fours: bool) -> float:
    """Instructions of any other depthwise convolution, for a row.

    Args:
        channels: Of the output.
        taps: Of the kernel.
        outputs: Columns of the output.
        by_fours: Whether four channels are computed at once.
    """
    each = channels / 4 * (78 + 12 * taps) if by_fours else channels * (25 + 9 * taps)
    return outputs * (55 + 17 * taps + each)


def column(n_fft: int, passes: int, n_mels: int, weights: int, new_samples: int) -> float:
    """Instructions of a column of features and of the gate, to about 2 %.

    Args:
        n_fft: Of the Fourier transform.
        passes: With twiddles.
        n_mels: Bands.
        weights: Of all bands together.
        new_samples: Of the column, for the gate.
    """
    return n_fft * (25.2 + 5.6 * passes) + 80 * n_mels + 6 * weights + GATE * new_samples + 100


def max_pool(channels: int, taps: int, outputs: int) -> float:
    """Instructions of a row of largest values; arguments as of :func:`depthwise`."""
    return outputs * (60 + 20 * taps + channels / 4 * (8 + 7 * taps))
