"""The C front end on the host: Python's log-mel is the oracle; and on Arm: what it links against."""

import hashlib
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import aed.target
from aed.base.errors import AedError
from aed.dsp import PRESETS, FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.tables import mel_table, window_table
from aed.dsp.waveform import load_clip
from aed.target.boards import load_board
from aed.target.codegen.frontend import FILES, frontend_kernel, frontend_sources
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build as build_for_board
from aed.target.emulator.toolchain import harness_sources

pytestmark = pytest.mark.usefixtures("compiles")

Array = np.ndarray

C_FOLDER = Path(next(iter(aed.target.codegen.__path__))) / "c"
KERNEL = [C_FOLDER / name for name in FILES if name.endswith(".c")]
SCALE, ZERO_POINT = 0.05, 64

YAMNET = PRESETS["yamnet_64x96"]
DB = replace(
    PRESETS["miniresnet_64x50"], center=False, db_ref=1.0
)  # n_fft 1024, hop 320, power 2, slaney: a radix-2 pass first
CONFIGS = {
    "yamnet": YAMNET,
    "db": DB,
    "db_magnitude": replace(DB, power=1.0, db_ref=0.5, norm=None),
    "power": replace(YAMNET, power=2.0, log_offset=1e-6),
    "odd_window": replace(YAMNET, win_length=399, n_mels=40),  # begins on an odd sample of the frame
    "short": replace(YAMNET, n_fft=256, win_length=256, hop_length=128, n_mels=20, f_min=0.0, f_max=8000.0),
    "boxcar": replace(
        YAMNET, window="boxcar", win_length=512, patch_frames=7, overlap=0.0
    ),  # the sum of |v| is largest
    "sparse": replace(YAMNET, hop_length=700, patch_frames=5, overlap=0.9, min_length_s=2.0),  # drops samples
    "mn": PRESETS["mn_96x192"],  # weighs bands, scales the logarithm
    "mn_wide": PRESETS["mn_128x496"],  # bands over half the rate
    "db_scaled": replace(DB, log_mean=-40.0, log_std=20.0),
    "tiny": replace(YAMNET, n_fft=16, win_length=16, hop_length=3, n_mels=3, patch_frames=4),
}

LONG = replace(YAMNET, n_fft=4096, win_length=4000, hop_length=2048, n_mels=65, patch_frames=3)

HARNESS = """
#include "aed_frontend.h"
#include <stdio.h>

static aed_frontend fe;
static int16_t samples[1 << 16];
static int16_t other[AED_FE_N_FFT];

static void frames(void)
{
    float logmel[AED_FE_N_MELS];

    while (fread(samples, sizeof(samples[0]), AED_FE_N_FFT, stdin) == AED_FE_N_FFT) {
        aed_columns_frame(&fe.stream, samples, logmel);
        (void)fwrite(logmel, sizeof(logmel), 1, stdout);
    }
}

/* Pieces of samples, each after its length, in; each patch, after the number of samples it was ready at, out. */
static void patches(void)
{
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    float unused[AED_FE_N_MELS];
    uint32_t count;
    uint32_t position = 0;

    aed_frontend_init(&fe);
    while (fread(&count, sizeof(count), 1, stdin) == 1U) {
        uint32_t done = 0;

        if (fread(samples, sizeof(samples[0]), count, stdin) != count) {
            return;
        }
        do {
            int ready = -1;
            size_t used;

            other[count % AED_FE_N_FFT] = (int16_t)count;
            aed_columns_frame(&fe.stream, other, unused); /* does not disturb the stream */
            used = aed_frontend_feed(&fe, &samples[done], count - done, &ready);
            done += (uint32_t)used;
            position += (uint32_t)used;
            if (ready == 1) {
                aed_frontend_patch(&fe, patch);
                (void)fwrite(&position, sizeof(position), 1, stdout);
                (void)fwrite(patch, sizeof(patch), 1, stdout);
            } else if ((ready != 0) || (done != count)) {
                return;
            }
        } while (done < count);
    }
}

/* Pieces of samples, each after its length, in; each column, after the number of samples it was ready at, out. */
static void columns(void)
{
    static aed_columns stream;
    int8_t column[AED_FE_N_MELS];
    uint32_t count;
    uint32_t position = 0;

    aed_columns_init(&stream);
    while (fread(&count, sizeof(count), 1, stdin) == 1U) {
        uint32_t done = 0;

        if (fread(samples, sizeof(samples[0]), count, stdin) != count) {
            return;
        }
        while (done < count) {
            int ready = -1;
            const size_t used = aed_columns_feed(&stream, &samples[done], count - done, column, &ready);

            done += (uint32_t)used;
            position += (uint32_t)used;
            if (ready == 1) {
                (void)fwrite(&position, sizeof(position), 1, stdout);
                (void)fwrite(column, sizeof(column), 1, stdout);
            } else if ((ready != 0) || (done != count)) {
                return;
            }
        }
    }
}

static void quantise(void)
{
    float value;

    while (fread(&value, sizeof(value), 1, stdin) == 1U) {
        (void)putchar((unsigned char)aed_frontend_quantise(value));
    }
}

int main(int argc, char **argv)
{
    switch ((argc == 2) ? argv[1][0] : ' ') {
    case 'f':
        frames();
        break;
    case 'p':
        patches();
        break;
    case 'c':
        columns();
        break;
    case 'q':
        quantise();
        break;
    default:
        return 2;
    }
    return 0;
}
"""
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion", "-Wconversion")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Program:
    """The C front end behind stdin and stdout."""

    def __init__(self, path: Path, config: FrontendConfig) -> None:
        self.path, self.config = path, config

    def _run(self, mode: str, data: bytes) -> bytes:
        done = subprocess.run([self.path, mode], input=data, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr == b""
        return done.stdout

    def frames(self, frames: Array) -> Array:
        """Log-mel ``(N, n_mels)`` float32 of ``frames`` ``(N, n_fft)`` int16."""
        values = np.frombuffer(self._run("frames", np.ascontiguousarray(frames).tobytes()), np.float32)
        return values.reshape(-1, self.config.n_mels)

    def logmel(self, samples: Array) -> Array:
        """``(n_mels, n_frames)`` float32 of ``samples`` ``(T,)`` int16, frame after frame."""
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.config.n_fft)[:: self.config.hop_length]
        return self.frames(windows).T

    def patches(self, pieces: Sequence[Array]) -> tuple[Array, list[int]]:
        """Patches ``(B, n_mels, patch_frames)`` int8 of a stream, and how many samples each needed."""
        return self._stream("patches", pieces, (self.config.n_mels, self.config.patch_frames))

    def columns(self, pieces: Sequence[Array]) -> tuple[Array, list[int]]:
        """Columns ``(N, n_mels)`` int8 of a stream, and how many samples each needed."""
        return self._stream("columns", pieces, (self.config.n_mels,))

    def _stream(self, mode: str, pieces: Sequence[Array], shape: tuple[int, ...]) -> tuple[Array, list[int]]:
        data = b"".join(struct.pack("=I", len(piece)) + piece.tobytes() for piece in pieces)
        kind = np.dtype([("position", np.uint32), ("values", np.int8, shape)])
        records = np.frombuffer(self._run(mode, data), kind)
        return records["values"], records["position"].tolist()

    def quantise(self, values: Array) -> Array:
        return np.frombuffer(self._run("quantise", values.astype(np.float32).tobytes()), np.int8)


Build = Callable[..., Program]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build(config, *flags, scale=...)``: compiled once for all tests of this file."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc on this machine: apt-get install gcc libc6-dev")

    @lru_cache
    def compiled(config: FrontendConfig, *flags: str, scale: float = SCALE) -> Program:
        folder = tmp_path_factory.mktemp("frontend")
        for name, text in frontend_sources(config, scale, ZERO_POINT).items():
            (folder / name).write_text(text)
        (folder / "main.c").write_text(HARNESS)
        sources = [*KERNEL, *folder.glob("*.c")]
        command = ["gcc", *WARNINGS, "-O2", "-ffp-contract=off", *flags, f"-I{folder}", f"-I{C_FOLDER}", *sources]
        done = subprocess.run([*command, "-lm", "-o", folder / "fe"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return Program(folder / "fe", config)

    return compiled


@lru_cache
def oracle(config: FrontendConfig) -> LogMel:
    return LogMel(config)


def python_logmel(samples: Array, config: FrontendConfig) -> Array:
    return oracle(config)(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()


def quantised(logmel: Array, scale: float = SCALE) -> Array:
    """QuantizeLinear of ONNX in float32."""
    levels = np.rint(logmel.astype(np.float32) / np.float32(scale)) + np.float32(ZERO_POINT)
    return np.clip(levels, -128, 127).astype(np.int8)


def noise(num_samples: int, amplitude: float = 3000.0, seed: int = 0) -> Array:
    values = amplitude * np.random.default_rng(seed).standard_normal(num_samples)
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def sine(num_samples: int, hz: float, amplitude: float) -> Array:
    return np.rint(amplitude * np.sin(2 * np.pi * hz * np.arange(num_samples) / 16000)).astype(np.int16)


def impulses(num_samples: int) -> Array:
    samples = np.zeros(num_samples, np.int16)
    samples[::701] = 32767
    samples[350::701] = -32768
    return samples


def loudest(num_samples: int, n_fft: int) -> Array:
    """Full-scale square waves at every bin, one after another: no other samples make that bin larger."""
    step = np.arange(n_fft)
    waves = [np.cos(2 * np.pi * k * step / n_fft + 0.3) >= 0 for k in range(n_fft // 2 + 1)]
    chosen = np.concatenate(waves)[:num_samples]
    return np.where(chosen, 32767, -32768).astype(np.int16)


NUM_SAMPLES = 12000
WIDE_BAND = {
    "noise": noise(NUM_SAMPLES),
    "soft_noise": noise(NUM_SAMPLES, amplitude=1.0),
    "loud_noise": noise(NUM_SAMPLES, amplitude=60000.0),
    "impulses": impulses(NUM_SAMPLES),
    "minus_one": np.full(NUM_SAMPLES, -1, np.int16),
}
TONES = {
    "sine": sine(NUM_SAMPLES, 440.7, 32767),
    "high_sine": sine(NUM_SAMPLES, 6113.0, 20000),
    "soft_sine": sine(NUM_SAMPLES, 1000.0, 40),
    "lowest": np.full(NUM_SAMPLES, -32768, np.int16),
}


# one frame


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("signal", WIDE_BAND)
def test_frames_of_wide_band_sounds_equal_python(build: Build, name: str, signal: str) -> None:
    config, samples = CONFIGS[name], WIDE_BAND[signal]
    ours, theirs = build(config).logmel(samples), python_logmel(samples, config)
    assert ours.shape == theirs.shape
    # a click at the edge of the window is itself not far above the unit of the fixed-point values
    assert np.abs(ours - theirs).max() <= (5e-5 if config.to_db or signal == "impulses" else 2.5e-6)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("signal", TONES)
def test_frames_of_tones_equal_python(build: Build, name: str, signal: str) -> None:
    """The worst case: bands with nothing but rounding noise beside a full-scale tone. A float32 FFT is 1.3e-2 off."""
    config, samples = CONFIGS[name], TONES[signal]
    ours, theirs = build(config).logmel(samples), python_logmel(samples, config)
    assert np.abs(ours - theirs).max() <= (5e-2 if config.to_db else 1e-2)


@pytest.mark.parametrize("name", CONFIGS)
def test_silence_is_the_front_ends_silence(build: Build, name: str) -> None:
    logmel = build(CONFIGS[name]).logmel(np.zeros(NUM_SAMPLES, np.int16))
    np.testing.assert_allclose(logmel, CONFIGS[name].silence, rtol=2e-7)


@pytest.mark.parametrize("name", CONFIGS)
def test_loudest_sounds_do_not_overflow(build: Build, name: str) -> None:
    config = CONFIGS[name]
    samples = loudest(40000, config.n_fft)
    for signal in (samples, -1 - samples, np.full(4000, -32768, np.int16), np.full(4000, 32767, np.int16)):
        ours, theirs = build(config, *SANITIZERS).logmel(signal), python_logmel(signal, config)
        assert np.abs(ours - theirs).max() <= (5e-2 if config.to_db else 1e-2)


def of_one_transform(config: FrontendConfig) -> Array:
    """Full-scale frames ``(N, n_fft)`` that only every fourth or 16th pair of samples is not 0 in, loudest at some bin.

    The sums of all samples are then those of one of the transforms that a pass joins.
    """
    step, frames = np.arange(config.n_fft), []
    for spacing in (4, 16):
        for first in range(0, min(spacing, config.n_fft // 2), 3):
            for k in range(0, config.n_fft // 2, max(1, config.n_fft // 64)):
                loud = np.where(np.cos(2 * np.pi * k * step / config.n_fft + 0.3) >= 0, 32767, -32768)
                frames.append(np.where(step // 2 % spacing == first, loud, 0))
    return np.array(frames, np.int16)


def python_frames(frames: Array, config: FrontendConfig) -> Array:
    """Log-mel ``(N, n_mels)`` of ``frames`` ``(N, n_fft)`` int16."""
    return python_logmel(frames.ravel(), replace(config, hop_length=config.n_fft, patch_frames=1)).T


@pytest.mark.parametrize("name", CONFIGS)
def test_loud_parts_of_a_frame_do_not_overflow(build: Build, name: str) -> None:
    config = CONFIGS[name]
    frames = of_one_transform(config)
    ours, theirs = build(config, *SANITIZERS).frames(frames), python_frames(frames, config)
    assert np.abs(ours - theirs).max() <= (5e-2 if config.to_db else 1e-2)


@pytest.mark.parametrize(
    ("n_fft", "window"), [(32, "hann"), (64, "boxcar"), (128, "flattop"), (2048, "hann"), (4096, "boxcar")]
)
def test_other_lengths_and_windows(build: Build, n_fft: int, window: str) -> None:
    config = replace(
        YAMNET, n_fft=n_fft, win_length=n_fft - 3, hop_length=n_fft, n_mels=4, window=window, patch_frames=2
    )
    samples = np.concatenate([loudest(20000, n_fft), noise(2 * n_fft), sine(2 * n_fft, 440.7, 32767)])
    ours, theirs = build(config, *SANITIZERS).logmel(samples), python_logmel(samples, config)
    # before the logarithm: rounding of a float32 sum, and 2e-9 (28.9 bits) of the largest possible bin in every bin
    loudest_bin = np.abs(window_table(window, n_fft - 3)).sum()
    allowed = 5e-6 * np.exp(theirs) + 2e-9 * loudest_bin * mel_table(config).sum(axis=1, keepdims=True)
    assert (np.abs(np.exp(ours) - np.exp(theirs)) <= allowed).all()


def test_real_clips_equal_python(build: Build, esc10: Path) -> None:
    files = sorted((esc10 / "esc10" / "audio").glob("*.ogg"))
    assert len(files) == 400
    program, same = build(YAMNET), []
    for path in files:
        wave = np.rint(load_clip(path, YAMNET) * 32768)
        samples = np.clip(wave, -32768, 32767).astype(np.int16)
        ours, theirs = program.logmel(samples), python_logmel(samples, YAMNET)
        assert np.abs(ours - theirs).max() <= 1e-3, path.name
        levels = np.abs(quantised(ours).astype(int) - quantised(theirs))  # in int8 it could wrap
        assert levels.max() <= 1, path.name
        same.append((levels == 0).mean())
        assert same[-1] >= 0.999, path.name
    assert np.mean(same) >= 0.9999


@pytest.mark.parametrize("scale", [0.05, 0.25, 1e-3])
def test_quantise_equals_quantize_linear(build: Build, scale: float) -> None:
    """Ties (multiples of a half step), saturation, and everything between."""
    steps = np.arange(-500, 500) / 2
    values = np.concatenate([steps * scale, np.linspace(-12, 12, 4001), [-0.0, 1e30, -1e30, 3e38, -3e38]])
    program = build(YAMNET, scale=scale)
    with np.errstate(over="ignore"):
        expected = quantised(values, scale)
    np.testing.assert_array_equal(program.quantise(values), expected)


def test_quantise_rounds_half_to_even(build: Build) -> None:
    levels = build(YAMNET, scale=0.25).quantise(np.array([0.125, 0.375, 0.625, -0.125, -0.375, 100, -100]))
    np.testing.assert_array_equal(levels - np.int16(ZERO_POINT), [0, 2, 2, 0, -2, 127 - 64, -128 - 64])


LOGARITHM = """
#include "aed_frontend.c"
#include <math.h>
#include <stdio.h>

static double error_of(int32_t word)
{
    float x;
    double exact;

    (void)memcpy(&x, &word, sizeof(x));
    exact = log((double)x);
    return fabs((double)natural_log(x) - exact) / ldexp(1.0, ilogb(exact) - 23);
}

int main(void)
{
    double worst = 0.0;
    int32_t word;

    for (word = 0x3F000000; word < 0x40000000; word++) { /* 0.5 to 2 */
        worst = (word != 0x3F800000) ? fmax(worst, error_of(word)) : worst;
    }
    for (word = 0x00800000; word < 0x7F000000; word += 1009) { /* the other normal numbers */
        worst = (word != 0x3F800000) ? fmax(worst, error_of(word)) : worst;
    }
    (void)printf("%.9g %.9g\\n", worst, (double)natural_log(1.0F));
    return 0;
}
"""


def test_logarithm_of_every_mantissa(compiles: None, tmp_path: Path) -> None:
    for name, text in frontend_sources(YAMNET, SCALE, ZERO_POINT).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "log.c").write_text(LOGARITHM)
    sources = [tmp_path / "log.c", tmp_path / "aed_frontend_tables.c", C_FOLDER / "aed_spectrum.c"]
    command = ["gcc", "-O2", "-ffp-contract=off", f"-I{tmp_path}", f"-I{C_FOLDER}", *sources, "-lm"]
    subprocess.run([*command, "-o", tmp_path / "log"], check=True, timeout=60)
    said = subprocess.run([tmp_path / "log"], capture_output=True, check=True, text=True, timeout=60).stdout
    worst, of_one = map(float, said.split())
    assert 0.5 <= worst <= 1.5
    assert of_one == 0


# a stream

STREAMS = ("yamnet", "db", "boxcar", "sparse", "tiny")


@lru_cache
def stream_of(name: str) -> Array:
    """About four patches of noise that swells, with a click."""
    config = CONFIGS[name]
    num_samples = config.patch_samples + 3 * config.patch_hop * config.hop_length + config.hop_length - 1
    samples = noise(num_samples) * np.linspace(0.01, 1, num_samples)
    samples[num_samples // 2] = 32767
    return samples.astype(np.int16)


def whole(name: str) -> list[Array]:
    """The stream in pieces that the harness can hold."""
    return np.array_split(stream_of(name), 4)


@pytest.mark.parametrize("name", STREAMS)
def test_patches_equal_the_grid_of_python(build: Build, name: str) -> None:
    config = CONFIGS[name]
    logmel = python_logmel(stream_of(name), config)
    starts = grid_starts(logmel.shape[1], config)
    patches, positions = build(config).patches(whole(name))
    assert len(starts) == 4
    assert positions == [config.patch_samples + int(start) * config.hop_length for start in starts]
    expected = quantised(cut(logmel, starts, config.patch_frames))
    assert patches.shape == expected.shape
    levels = np.abs(patches.astype(int) - expected)
    assert levels.max() <= 1
    assert (levels == 0).mean() >= 0.999
    assert len(np.unique(expected)) > 10


@pytest.mark.parametrize("size", [1, 37, 5000])
@pytest.mark.parametrize("name", STREAMS)
def test_columns_are_the_quantised_frames(build: Build, name: str, size: int) -> None:
    config, samples = CONFIGS[name], stream_of(name)[:9000]
    columns, positions = build(config).columns(
        [samples[begin : begin + size] for begin in range(0, len(samples), size)]
    )
    expected = quantised(build(config).logmel(samples)).T
    np.testing.assert_array_equal(columns, expected)
    assert positions == [config.n_fft + k * config.hop_length for k in range(len(expected))]
    assert len(expected) > 5


@settings(derandomize=True, deadline=None, max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("name", STREAMS)
def test_patches_do_not_depend_on_the_pieces(build: Build, name: str, data: st.DataObject) -> None:
    samples = stream_of(name)
    most = data.draw(st.sampled_from([7, 200, 5000, len(samples)]))
    length = st.integers(0, most)
    lengths = data.draw(st.lists(length, min_size=1, max_size=60))
    cuts = [stop for stop in np.cumsum(lengths).tolist() if stop < len(samples)]
    last = cuts[-1] if cuts else 0
    cuts += range(last + 30000, len(samples), 30000)
    flags = SANITIZERS if name == "tiny" else ()
    patches, positions = build(CONFIGS[name], *flags).patches(np.split(samples, cuts))
    expected = build(CONFIGS[name]).patches(whole(name))
    np.testing.assert_array_equal(patches, expected[0])
    assert positions == expected[1]


@pytest.mark.parametrize("size", [1, 3, 160, 161])
def test_small_pieces_under_sanitizers(build: Build, size: int) -> None:
    config = replace(YAMNET, patch_frames=8, overlap=0.5)
    samples = noise(config.patch_samples + 2 * config.patch_hop * config.hop_length)
    pieces = [samples[begin : begin + size] for begin in range(0, len(samples), size)]
    patches, positions = build(config, *SANITIZERS).patches(pieces)
    np.testing.assert_array_equal(patches, build(config).patches([samples])[0])
    assert positions == [1632, 1632 + 640, 1632 + 1280]


def test_a_patch_after_every_frame(build: Build) -> None:
    config = replace(YAMNET, patch_frames=6, overlap=0.84)
    assert config.patch_hop == 1
    samples = noise(config.patch_samples + 20 * config.hop_length + 159)
    patches, positions = build(config).patches([samples])
    assert positions == [config.patch_samples + k * config.hop_length for k in range(21)]
    np.testing.assert_array_equal(patches[1:, :, :-1], patches[:-1, :, 1:])
    assert len(np.unique(patches[:, :, -1], axis=0)) == 21


def test_one_sample_too_few_gives_no_patch(build: Build) -> None:
    samples = noise(YAMNET.patch_samples)
    assert build(YAMNET).patches([samples[:-1]])[1] == []
    assert build(YAMNET).patches([samples])[1] == [YAMNET.patch_samples]


# tables


def numbers(text: str, name: str) -> list[str]:
    body = re.search(rf"{name}\[[^=]*= \{{(.*?)\}};", text, re.DOTALL)
    assert body is not None
    return re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", body.group(1))


def test_mel_weights_in_the_text_are_the_mel_table() -> None:
    text = frontend_sources(YAMNET, SCALE, ZERO_POINT)["aed_frontend_tables.c"]
    first, count = ([int(x) for x in numbers(text, f"mel_{name}")] for name in ("first", "count"))
    weights = np.array([float(x) for x in numbers(text, "mel_weights")]).astype(np.float32)
    bands = np.zeros((64, 257), np.float32)
    for band, (begin, run, part) in enumerate(zip(first, count, np.split(weights, np.cumsum(count)[:-1]), strict=True)):
        assert len(part) == run
        bands[band, begin : begin + run] = part
    np.testing.assert_array_equal(bands, mel_table(YAMNET))


def with_mel_table(monkeypatch: pytest.MonkeyPatch, first_band: list[float]) -> FrontendConfig:
    """A front end of three bands, the first of which has these weights from bin 1 on."""
    config = CONFIGS["tiny"]
    bands = mel_table(config).copy()
    bands[0] = np.array([0.0, *first_band, *[0.0] * 8], np.float32)[: bands.shape[1]]
    monkeypatch.setattr(aed.target.codegen.frontend, "mel_table", lambda _: bands)
    return config


def test_weights_that_make_denormal_products_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_mel_table(monkeypatch, [1e-20, 0.25, 0.5, 1e-12])
    text = frontend_sources(config, SCALE, ZERO_POINT)["aed_frontend_tables.c"]
    assert numbers(text, "mel_first")[0] == "2"
    assert numbers(text, "mel_count")[0] == "2"
    assert [float(x) for x in numbers(text, "mel_weights")[:2]] == [0.25, 0.5]


def test_a_band_of_such_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_mel_table(monkeypatch, [1e-20, 1e-13])
    with pytest.raises(AedError, match=r"mel bands \[0\] have no weight over 7e-12; use another f_min or f_max"):
        frontend_sources(config, SCALE, ZERO_POINT)


def test_tables_are_small() -> None:
    text = frontend_sources(YAMNET, SCALE, ZERO_POINT)["aed_frontend_tables.c"]
    words = sum(len(numbers(text, name)) for name in ("window", "twiddles", "split", "mel_weights"))
    halves = sum(len(numbers(text, name)) for name in ("order", "mel_first", "mel_count"))
    assert 4 * words + 2 * halves <= 8 * 1024


DIGEST = """
import hashlib
from aed.dsp import PRESETS
from aed.target.codegen.frontend import frontend_sources
print(hashlib.sha256(repr(frontend_sources(PRESETS["yamnet_64x96"], 0.05, 64)).encode()).hexdigest())
"""


def test_sources_are_the_same_bytes_on_every_run() -> None:
    ours = hashlib.sha256(repr(frontend_sources(YAMNET, SCALE, ZERO_POINT)).encode()).hexdigest()
    theirs = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60)
    assert theirs.stdout.strip() == ours


def test_sources_end_with_a_newline_and_have_short_lines() -> None:
    for text in frontend_sources(DB, SCALE, ZERO_POINT).values():
        assert text.endswith("\n")
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(YAMNET, center=True), "center=true"),
        (replace(YAMNET, log_offset=0.0), "log_offset=0"),
        (replace(DB, db_ref=None), "db_ref=null"),
        (replace(PRESETS["miniresnet_64x50"]), "center=true.*; db_ref=null"),
        (replace(YAMNET, n_fft=400), "n_fft.*power of two.*400"),
        (replace(YAMNET, n_fft=8, win_length=8, n_mels=2), "n_fft.*power of two.*8"),
        (replace(YAMNET, power=1.5), "power.*1.5"),
        (replace(YAMNET, pre_emphasis=0.97), "pre_emphasis.*does not filter samples; type frontend.trained_rate=16000"),
    ],
)
def test_front_ends_a_device_cannot_run(config: FrontendConfig, message: str) -> None:
    with pytest.raises(AedError, match=message):
        frontend_sources(config, SCALE, ZERO_POINT)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-50])
def test_bad_scale(scale: float) -> None:
    with pytest.raises(AedError, match="input scale"):
        frontend_sources(YAMNET, scale, ZERO_POINT)


@pytest.mark.parametrize("zero_point", [-129, 128])
def test_bad_zero_point(zero_point: int) -> None:
    with pytest.raises(AedError, match="zero point"):
        frontend_sources(YAMNET, SCALE, zero_point)


# Arm

CORES = {
    "cortex-m4": ["-mfpu=fpv4-sp-d16"],
    "cortex-m7": ["-mfpu=fpv5-d16"],
    "cortex-m33": ["-mfpu=fpv5-sp-d16"],
    "cortex-m55": [],
}
LIBRARY = {"memcpy", "memmove", "memset"}


@pytest.mark.parametrize("name", ["yamnet", "db"])
@pytest.mark.parametrize("core", CORES)
def test_compiles_for_cortex_m(tmp_path: Path, core: str, name: str) -> None:
    """Without warnings, and without the heap, doubles or 64-bit helpers that a call would betray."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no compiler for Arm: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")
    for file, text in frontend_sources(CONFIGS[name], SCALE, ZERO_POINT).items():
        (tmp_path / file).write_text(text)
    machine = [f"-mcpu={core}", "-mthumb", "-mfloat-abi=hard", *CORES[core]]
    undefined, defined = set(), set()
    for source in (*KERNEL, tmp_path / "aed_frontend_tables.c"):
        target = tmp_path / f"{source.stem}.o"
        command = ["arm-none-eabi-gcc", *machine, *WARNINGS, "-O2", "-ffp-contract=off", f"-I{tmp_path}"]
        subprocess.run([*command, f"-I{C_FOLDER}", "-c", source, "-o", target], check=True, timeout=60)
        listed = subprocess.run(["arm-none-eabi-nm", target], capture_output=True, text=True, check=True).stdout
        undefined |= set(re.findall(r" U (\w+)", listed))
        defined |= set(re.findall(r" [A-TV-Z] (\w+)", listed))
        assert not re.findall(r" [BbDd] \w+", listed), "everything is constant or the caller's"
    assert undefined - defined <= LIBRARY


BOARDS = {"mps2-an386": "M4", "mps2-an500": "M7", "mps2-an505": "M33", "mps3-an547": "M55"}

ON_BOARD = """
#include "aed_frontend.h"
#include "semihost.h"

/* Frames in; of each its log-mel values and its column out. */
int main(void)
{
    static aed_columns stream;
    static int16_t samples[AED_FE_N_FFT];
    static float logmel[AED_FE_N_MELS];
    static int8_t column[AED_FE_N_MELS];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);

    while (aed_read(from, samples, sizeof(samples)) == sizeof(samples)) {
        int ready;

        aed_columns_init(&stream);
        (void)aed_columns_feed(&stream, samples, AED_FE_N_FFT, column, &ready);
        aed_columns_frame(&stream, samples, logmel);
        if ((ready != 1) || aed_write(to, logmel, sizeof(logmel)) || aed_write(to, column, sizeof(column))) {
            return 73;
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
"""


def on_board(folder: Path, config: FrontendConfig, frames: Array, board: str, *options: str) -> tuple[Array, Array]:
    """Log-mel ``(N, n_mels)`` float32 and columns ``(N, n_mels)`` int8 of ``frames`` on an emulated board."""
    if not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))):
        pytest.skip("no compiler for Arm or no emulator: see CONTRIBUTING.md")
    sources = frontend_kernel() | frontend_sources(config, SCALE, ZERO_POINT) | harness_sources() | {"main.c": ON_BOARD}
    elf = build_for_board(folder / "build", sources, load_board(board), options)
    raw = run_program(elf, folder / "run", np.ascontiguousarray(frames).tobytes(), load_board(board), count=False)
    records = np.frombuffer(raw, [("logmel", "<f4", (config.n_mels,)), ("column", np.int8, (config.n_mels,))])
    return records["logmel"], records["column"]


def edges(config: FrontendConfig) -> Array:
    """Silence, constants, squares, clicks, noise of all levels, loud parts: frames ``(N, n_fft)`` int16."""
    n_fft = config.n_fft
    frames = [np.full(n_fft, value) for value in (0, 1, -1, 32767, -32768)]
    frames += list(loudest(9 * n_fft, n_fft).reshape(-1, n_fft))
    for place in (0, n_fft // 3, n_fft // 2, n_fft - 1):
        frames += [np.where(np.arange(n_fft) == place, value, 0) for value in (32767, -32768)]
    frames += [noise(n_fft, amplitude, seed) for seed, amplitude in enumerate((0.7, 5.0, 300.0, 9000.0, 60000.0))]
    frames += [sine(n_fft, hz, 32767) for hz in (31.0, 440.7, 6113.0)]
    return np.concatenate([np.array(frames, np.int16), of_one_transform(config)[::11]])


def bits(values: Array) -> Array:
    return values.view(np.uint32)


@pytest.mark.parametrize("name", [*CONFIGS, "long"])
@pytest.mark.parametrize("board", BOARDS)
def test_boards_give_the_bits_of_this_machine(build: Build, tmp_path: Path, board: str, name: str) -> None:
    """SMMLAR on M4, M7 and M33, Helium on the M55, plain C here."""
    config = LONG if name == "long" else CONFIGS[name]
    frames = edges(config)
    logmel, columns = on_board(tmp_path, config, frames, board)
    expected = build(config).frames(frames)
    np.testing.assert_array_equal(bits(logmel), bits(expected))
    np.testing.assert_array_equal(columns, quantised(expected))
    assert len(np.unique(expected)) > 50


@pytest.mark.parametrize("board", BOARDS)
def test_boards_give_the_bits_of_this_machine_on_real_sounds(
    build: Build, tmp_path: Path, esc10: Path, board: str
) -> None:
    frames = []
    for path in sorted((esc10 / "esc10" / "audio").glob("*.ogg"))[::20]:
        samples = np.clip(np.rint(load_clip(path, YAMNET) * 32768), -32768, 32767).astype(np.int16)
        frames += list(np.lib.stride_tricks.sliding_window_view(samples, YAMNET.n_fft)[:: 19 * YAMNET.hop_length])
    assert len(frames) > 200
    logmel, columns = on_board(tmp_path, YAMNET, np.array(frames), board)
    expected = build(YAMNET).frames(np.array(frames))
    np.testing.assert_array_equal(bits(logmel), bits(expected))
    np.testing.assert_array_equal(columns, quantised(expected))


@pytest.mark.parametrize("option", ["-O0", "-Os", "-O3", "-DAED_PORTABLE"])
@pytest.mark.parametrize("board", ["mps2-an505", "mps3-an547"])
def test_other_options_give_the_same_bits(build: Build, tmp_path: Path, board: str, option: str) -> None:
    frames = edges(YAMNET)
    logmel, columns = on_board(tmp_path, YAMNET, frames, board, option)
    expected = build(YAMNET).frames(frames)
    np.testing.assert_array_equal(bits(logmel), bits(expected))
    np.testing.assert_array_equal(columns, quantised(expected))
