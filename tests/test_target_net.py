"""Generated C against ONNX Runtime's integer kernels, bit for bit: on this machine and on emulated ones."""

import json
import shutil
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from aed.benchmark import benchmark
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.errors import AedError
from aed.export.card import ModelCard
from aed.export.classifier import OnnxClassifier, open_exact
from aed.export.graph import copy_of, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.target import emulator
from aed.target.generate import kernel_sources, net_sources
from aed.target.host import HostDevice, build_library, pointer, run_tool, to_int16
from aed.target.lower import Program, lower
from aed.target.plan import lead, make_plan

CALIBRATION = nets.patches(16, seed=1).numpy()


def need(tool: str, packages: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not here: apt-get install {packages}")


@pytest.fixture(autouse=True)
def host_compiler() -> None:
    need("gcc", "gcc")


@pytest.fixture
def arm() -> None:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        need(tool, "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")


def int8(net: nn.Module, **changes: object) -> onnx.ModelProto:
    return quantize(to_onnx(net, nets.FRONTEND, ExportConfig()), CALIBRATION, QuantizeConfig(**changes))


def inputs(program: Program, number: int, seed: int = 0) -> np.ndarray:
    """Random steps over the whole range, channels last."""
    size = program.tensors[program.input].size
    return np.random.default_rng(seed).integers(-128, 128, (number, size)).astype(np.int8)


def expected(model: onnx.ModelProto, program: Program, steps: np.ndarray) -> np.ndarray:
    height, width, channels = program.tensors[program.input].shape
    images = steps.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    session = open_exact(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in images])


def run_on_host(folder: Path, program: Program, steps: np.ndarray, overlap: bool = True) -> np.ndarray:
    """Outputs of the net compiled for this machine."""
    library = build_library(folder, kernel_sources() | net_sources(program, make_plan(program, overlap)))
    outputs = np.empty((len(steps), program.tensors[program.output].size), np.int8)
    for step, made in zip(np.ascontiguousarray(steps), outputs, strict=True):
        library.aed_net_run(pointer(step), pointer(made))
    return outputs


def check(folder: Path, model: onnx.ModelProto, number: int = 8) -> None:
    program = lower(model)
    steps = inputs(program, number)
    wanted = expected(model, program, steps)
    for overlap in (True, False):
        got = run_on_host(folder / str(overlap), program, steps, overlap)
        np.testing.assert_array_equal(got, wanted)


# --- on the host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_c_gives_the_bits_of_onnx_runtime(tmp_path, name, per_channel):
    check(tmp_path, int8(nets.make(name), per_channel=per_channel))


class Drawn(nn.Module):
    """A net of drawn layers; sizes that are no multiple of anything."""

    def __init__(self, seed: int, depth: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.parts, self.kinds, channels = nn.ModuleList(), [], 1
        for _ in range(depth):
            kind = str(draw.choice(["conv", "depthwise", "add", "concat", "max", "average"]))
            kernel = (int(draw.integers(1, 4)), int(draw.integers(1, 4)))
            stride = (int(draw.integers(1, 3)), int(draw.integers(1, 3)))
            pads = tuple(int(value) for value in draw.integers(0, 2, 4))
            outputs = int(draw.integers(1, 12))
            if kind == "conv":
                part = nn.Sequential(nn.ZeroPad2d(pads), nn.Conv2d(channels, outputs, kernel, stride))
                channels = outputs
            elif kind == "depthwise":
                outputs = channels * int(draw.integers(1, 3))
                part = nn.Sequential(nn.ZeroPad2d(pads), nn.Conv2d(channels, outputs, kernel, stride, groups=channels))
                channels = outputs
            elif kind == "max":
                part = nn.MaxPool2d(kernel, stride)
            elif kind == "average":
                part = nn.AvgPool2d(kernel, stride)
            else:
                part = nn.Conv2d(channels, channels if kind == "add" else outputs, 1)
                channels += outputs if kind == "concat" else 0
            self.parts.append(part)
            self.kinds.append((kind, bool(draw.integers(0, 2)), bool(draw.integers(0, 2))))
        self.flat = bool(draw.integers(0, 2))
        with torch.no_grad():
            self.head = nn.Identity()
            features = self._features(torch.zeros(1, 1, nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames)).shape[1]
        self.head = nn.Linear(features, int(draw.integers(2, 7)))

    def _features(self, x: Tensor) -> Tensor:
        for part, (kind, rectify, clip) in zip(self.parts, self.kinds, strict=True):
            y = part(x)
            x = x + y if kind == "add" else torch.cat([x, y], dim=1) if kind == "concat" else y
            if rectify:
                x = nn.functional.relu6(x) if clip else x.relu()
        return x.flatten(1) if self.flat else x.mean(dim=(2, 3))

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(self._features(patches))


@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5))
def test_c_of_drawn_nets_gives_the_bits_of_onnx_runtime(tmp_path_factory, seed, depth):
    try:
        net = Drawn(seed, depth).eval()
    except RuntimeError:  # pooled away
        return
    model = int8(net)
    try:
        lower(model)
    except AedError as error:
        assert "is float" in str(error) or "flattened" in str(error) or "one scale" in str(error)
        return
    check(tmp_path_factory.mktemp("drawn"), model, 4)


@pytest.mark.parametrize("name", nets.NAMES)
def test_c_reads_and_writes_nothing_it_should_not(tmp_path, name):
    model = int8(nets.make(name))
    program = lower(model)
    steps, size = inputs(program, 3), program.tensors[program.output].size
    sources = kernel_sources() | net_sources(program, make_plan(program))
    main = f"""#include <stdio.h>
#include "aed_net.h"
int main(void) {{
    static int8_t in[{steps.shape[1]}], out[{size}];
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {{ aed_net_run(in, out); fwrite(out, 1, sizeof out, stdout); }}
    return 0;
}}
"""
    for file, text in {**sources, "main.c": main}.items():
        (tmp_path / file).write_text(text)
    units = [str(path) for path in tmp_path.glob("*.c")]
    flags = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]
    sanitise = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    run_tool(["gcc", *flags, *sanitise, "-o", str(tmp_path / "net"), *units, "-lm"], 120)
    import subprocess

    done = subprocess.run([tmp_path / "net"], input=steps.tobytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(3, size), expected(model, program, steps))


def test_the_sources_are_the_same_each_time():
    model = int8(nets.make("awkward"))
    first, second = (net_sources(program, make_plan(program)) for program in (lower(model), lower(copy_of(model))))
    assert first == second


# --- the plan -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("overlap", [True, False])
def test_a_plan_keeps_apart_what_is_needed_at_once(name, overlap):
    program = lower(int8(nets.make(name)))
    plan = make_plan(program, overlap)
    ends = {program.input, program.output}
    for step, layer in enumerate(program.layers):
        later = {used for following in program.layers[step + 1 :] for used in following.inputs}
        homes = {program.views.get(name, name) for name in (*layer.inputs, *later)} & set(plan.offsets)
        made = program.tensors[layer.output]
        if layer.output in ends:
            continue
        start, stop = plan.offsets[layer.output], plan.offsets[layer.output] + made.size
        assert stop <= plan.size
        born = {previous.output for previous in program.layers[:step]}
        for home in homes & born:
            low, high = plan.offsets[home], plan.offsets[home] + program.tensors[home].size
            if low >= stop or high <= start:
                continue
            assert overlap and home not in {program.views.get(name, name) for name in later}
            distance = lead(layer, program.tensors[home], made)
            assert distance is not None and low - start >= distance


def test_overlap_saves_what_the_widest_layer_needs_twice():
    from aed.dsp import FrontendConfig
    from aed.modules.nets import YAMNet

    config = FrontendConfig()
    patches = torch.zeros(4, 1, 64, 96).uniform_(-9, 3, generator=torch.Generator().manual_seed(0)).numpy()
    torch.manual_seed(0)
    program = lower(quantize(to_onnx(YAMNet(10).eval(), config, ExportConfig()), patches, QuantizeConfig()))
    assert make_plan(program, overlap=False).size == 144 * 1024
    assert make_plan(program).size <= 98 * 1024


# --- what C cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(2048, 2)), "group=1"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Hardswish(), nn.Flatten(), nn.Linear(1024, 2)), "float|no Hard"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten()), "flattened image"),
    ],
)
def test_what_c_cannot_do_is_named(net, message):
    with pytest.raises(AedError, match=message):
        lower(int8(net.eval()))


def test_a_layer_left_in_float_is_named():
    with pytest.raises(AedError, match=r"side \(Conv\).*float"):
        lower(int8(nets.make("awkward"), exclude_nodes=("side",)))


# --- on emulated boards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", emulator.BOARDS)
def test_emulated_boards_give_the_same_bits(arm, board):
    model = int8(nets.make("awkward"))
    program = lower(model)
    steps = inputs(program, 3)
    run = emulator.emulate_net(program, make_plan(program), steps, emulator.BOARDS[board])
    np.testing.assert_array_equal(run.outputs, expected(model, program, steps))
    assert sum(run.layers) == pytest.approx(run.instructions, rel=0.05)
    assert make_plan(program).size <= run.ram_bytes < make_plan(program).size + 1024
    assert 0 < run.stack_bytes < 2048 and 1000 < run.flash_bytes < 20000


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"])
def test_the_code_compiles_without_a_warning_for_every_core(arm, tmp_path, core):
    program = lower(int8(nets.make("awkward")))
    for name, text in (kernel_sources() | net_sources(program, make_plan(program))).items():
        (tmp_path / name).write_text(text)
    flags = [
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-mthumb",
        "-mfloat-abi=hard",
        f"-mcpu={core}",
    ]
    fpu = {"cortex-m4": "fpv4-sp-d16", "cortex-m55": "auto"}.get(core, "fpv5-sp-d16")
    for source in tmp_path.glob("*.c"):
        run_tool(
            ["arm-none-eabi-gcc", *flags, f"-mcpu={core}", f"-mfpu={fpu}", "-c", str(source), "-o", "/dev/null"], 60
        )


def test_a_benchmark_reports_net_and_front_end(arm, tmp_path, capsys):
    card = ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd"))
    save_model(tmp_path / "m.onnx", int8(nets.make("awkward")), card)
    benchmark(str(tmp_path / "m.onnx"), str(tmp_path / "out"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["differing_outputs"] == 0 and report["source"] == "emulated"
    for part in ("net", "frontend"):
        for key in ("instructions", "flash_bytes", "ram_bytes", "stack_bytes"):
            assert report[part][key]["value"] > 0 and report[part][key]["source"] == "emulated"
    names = [layer.name for layer in lower(int8(nets.make("awkward"))).layers]
    assert [layer["name"] for layer in report["net"]["layers"]] == names
    assert "emulated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"), [({"board": "uno"}, "board: need one of"), ({"inputs": 0}, "inputs: need at least 1")]
)
def test_a_benchmark_that_cannot_be_is_said(tmp_path, changes, message):
    with pytest.raises(AedError, match=message):
        benchmark(str(tmp_path / "m.onnx"), str(tmp_path), **changes)


def test_a_missing_or_failing_tool_is_said(tmp_path):
    with pytest.raises(AedError, match=r"no-such-tool: not found; apt-get install"):
        run_tool(["no-such-tool"], 1)
    with pytest.raises(AedError, match="gcc failed"):
        run_tool(["gcc", str(tmp_path / "none.c")], 10)
    with pytest.raises(AedError, match="did not end within"):
        run_tool(["sleep", "5"], 0.2)


# --- whole clips ---------------------------------------------------------------------------------------------------


def test_a_clip_through_c_gives_the_bits_of_python_and_onnx_runtime_on_16_bit_samples(tmp_path):
    config = nets.FRONTEND
    wave = (0.2 * np.random.default_rng(0).standard_normal(24000)).clip(-1, 1).astype(np.float32)
    samples = to_int16(wave)
    frames = LogMel(config)(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
    patches = cut(frames, grid_starts(frames.shape[1], config), config.patch_frames)[:, None]
    model = quantize(to_onnx(nets.make("awkward"), config, ExportConfig()), patches, QuantizeConfig())
    got = HostDevice(tmp_path, model, config).outputs(samples)
    card = ModelCard(frontend=config, class_names=tuple("abcd"))
    np.testing.assert_array_equal(got, OnnxClassifier(model, card, tmp_path).outputs(patches))


def test_samples_are_rounded_and_saturated():
    wave = np.array([0, 1, -1, 0.5 / 32768, 1.5 / 32768, 1 - 1e-7], np.float32)
    assert to_int16(wave).tolist() == [0, 32767, -32768, 0, 2, 32767]
