"""Generated C against ONNX Runtime's integer kernels, bit for bit: on this machine and on emulated ones."""

import atexit
import ctypes
import functools
import importlib
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.base.processes import run_tool
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import to_int16
from aed.export.card import ModelCard
from aed.export.graph import copy_of
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import open_exact
from aed.inference.onnx import OnnxClassifier
from aed.modules.nets import DSCNN
from aed.target.boards import board_names, load_board
from aed.target.codegen import operators
from aed.target.codegen.generate import kernel_sources, net_sources, run_name
from aed.target.codegen.lower import lower
from aed.target.codegen.operators import OPERATORS
from aed.target.codegen.plan import Plan, make_plan, rows_of
from aed.target.codegen.program import Layer, Program
from aed.target.codegen.schedule import in_parts
from aed.target.codegen.walk import Walk
from aed.target.emulator import measure, toolchain
from aed.target.emulator.qemu import run_program
from aed.target.host import FLAGS, HostDevice, build_library, net_memory, pointer, write_sources

pytestmark = pytest.mark.usefixtures("compiles")

EMULATED = [name for name in board_names() if load_board(name).machine]
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


def int8(net: nn.Module, softmax: bool = False, **changes: object) -> onnx.ModelProto:
    model = to_onnx(net, nets.FRONTEND, ExportConfig(softmax=softmax))
    return quantize(model, CALIBRATION, QuantizeConfig(**changes))


def with_reduce_mean(model: onnx.ModelProto, keepdims: bool) -> onnx.ModelProto:
    """``model`` with its global pools as others' exporters write them."""
    twin = copy_of(model)
    views = {node.input[0]: node for node in twin.graph.node if node.op_type == "Flatten"}
    for node in twin.graph.node:
        if node.op_type == "GlobalAveragePool":
            view = views.get(node.output[0])
            keeps = keepdims or view is None
            if not keeps:
                node.output[0] = view.output[0]
                twin.graph.node.remove(view)
            node.op_type = "ReduceMean"
            node.attribute.extend(
                [onnx.helper.make_attribute("axes", [2, 3]), onnx.helper.make_attribute("keepdims", int(keeps))]
            )
    return twin


def inputs(program: Program, number: int, seed: int = 0) -> np.ndarray:
    """Random steps, channels last: each input has a level and a spread of its own, or all would have one mean."""
    size, draw = program.tensors[program.input].size, np.random.default_rng(seed)
    level, spread = draw.uniform(-128, 128, (number, 1)), draw.uniform(0, 256, (number, 1))
    return np.clip(np.rint(level + spread * draw.uniform(-1, 1, (number, size))), -128, 127).astype(np.int8)


def expected(model: onnx.ModelProto, program: Program, steps: np.ndarray) -> np.ndarray:
    height, width, channels = program.tensors[program.input].shape
    images = steps.reshape(-1, height, width, channels).transpose((0, 3, 2, 1) if program.turned else (0, 3, 1, 2))
    session = open_exact(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in images])


@functools.cache
def kernels(*flags: str) -> tuple[Path, tuple[Path, ...]]:
    """The kernels, compiled once for all nets with ``flags``: their folder and their objects."""
    folder = Path(tempfile.mkdtemp(prefix="aed_kernels_"))
    atexit.register(shutil.rmtree, folder)
    units = write_sources(folder, kernel_sources())
    for unit in units:
        run_tool(["gcc", *FLAGS, *flags, "-c", "-o", unit.with_suffix(".o"), unit], 120)
    return folder, tuple(unit.with_suffix(".o") for unit in units)


def run_on_host(folder: Path, program: Program, steps: np.ndarray, plan: Plan | None = None) -> np.ndarray:
    """Outputs of the net compiled for this machine; layer by layer where no plan is passed."""
    headers, objects = kernels("-fPIC")
    units = write_sources(folder, net_sources(program, plan or make_plan(program)))
    # without the C library, which this process has: linking takes a quarter of the time
    flags = [*FLAGS, f"-I{headers}", "-shared", "-fPIC", "-nostdlib"]
    run_tool(["gcc", *flags, "-o", folder / "net.so", *units, *objects], 120)
    library = ctypes.CDLL(str(folder / "net.so"))
    outputs = np.empty((len(steps), program.tensors[program.output].size), np.int8)
    plan = plan or make_plan(program)
    memory = net_memory(plan)
    for step, made in zip(np.ascontiguousarray(steps), outputs, strict=True):
        getattr(library, run_name(plan))(memory, pointer(step), pointer(made))
    return outputs


def plans(model: onnx.ModelProto) -> Iterator[tuple[Program, Plan]]:
    """Layer by layer, and by rows of mel bands and of frames: all layers, half of them, one; some without overlaps."""
    for turned in (False, True):
        try:
            program = lower(model, turned)
        except AedError as error:  # some ends are in ONNX's order only upright
            if not turned or "flattened" not in str(error):
                raise
            return
        for first_whole in {0, 1, len(program.layers) // 2, len(program.layers)}:
            parted, later = in_parts(program, first_whole)
            yield parted, make_plan(parted, later, overlap=first_whole != 1)


def check(folder: Path, model: onnx.ModelProto, number: int = 8) -> np.ndarray:
    """Outputs of ONNX Runtime for random inputs, once those of the C of every plan are the same."""
    for index, (program, plan) in enumerate(plans(model)):
        steps = inputs(program, number)
        wanted = expected(model, program, steps)
        np.testing.assert_array_equal(run_on_host(folder / str(index), program, steps, plan), wanted)
    return wanted


# --- on the host --------------------------------------------------------------------------------------------------


NAMES = (*nets.NAMES, "mixed")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_c_gives_the_bits_of_onnx_runtime(tmp_path, name, per_channel):
    outputs = check(tmp_path, int8(nets.make(name), per_channel=per_channel), 20)
    assert len(np.unique(outputs, axis=0)) > 1 or name == "uneven"  # which int8 alone turns into a constant


def test_c_of_a_head_of_two_layers_gives_the_bits_of_onnx_runtime(tmp_path):
    net = nets.settled(DSCNN(5, channels=8, n_blocks=1, head_hidden=6))
    assert len(np.unique(check(tmp_path, int8(net), 20), axis=0)) > 1


@pytest.mark.parametrize("name", ["awkward", "mixed"])
def test_c_gives_the_bits_of_onnx_runtime_for_probabilities(tmp_path, name):
    model = int8(nets.make(name), softmax=True)
    assert lower(model).layers[-1].kind == "softmax"
    check(tmp_path, model, 40)


@pytest.mark.parametrize("keepdims", [True, False])
def test_c_gives_the_bits_of_onnx_runtime_for_a_reduce_mean(tmp_path, keepdims):
    model = with_reduce_mean(to_onnx(nets.make("mixed"), nets.FRONTEND, ExportConfig()), keepdims)
    int8_model = quantize(model, CALIBRATION, QuantizeConfig())
    assert "mean" in {layer.kind for layer in lower(int8_model).layers}
    check(tmp_path, int8_model, 40)


STEPS = np.arange(-128, 128, dtype=np.int8)


def qlinear(op: str, **arrays: np.ndarray) -> np.ndarray:
    """What ONNX Runtime's integer kernel gives for two int8 arrays, their scales and zero points."""
    feed = {name: arrays.pop(name) for name in ("a", "b")}
    inputs = ["a", "sa", "za", "b", "sb", "zb", "sc", "zc"]
    node = onnx.helper.make_node(op, inputs, ["c"], domain="com.microsoft")
    values = [
        onnx.helper.make_tensor_value_info(key, onnx.TensorProto.INT8, array.shape) for key, array in feed.items()
    ]
    made = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.INT8, None)
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph([node], "one", values, [made], constants)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("layout", ["both", "channel", "single"])
def test_every_pair_of_steps_is_added_and_multiplied_as_onnx_runtime_does(tmp_path, op, layout):
    """Scales whose quotients are short binary fractions: then a third of the sums are ties."""
    library, draw = build_library(tmp_path, kernel_sources()), np.random.default_rng(0)
    a, b = (np.ascontiguousarray(array.ravel()) for array in np.meshgrid(STEPS, STEPS, indexing="ij"))
    for trial in range(30):
        sa, sb, sc = draw.uniform(0.005, 0.1, 3).astype(np.float32)
        sb, sc = (sa, np.float32(2 * sa)) if trial % 3 == 0 else (sb, sc)
        za, zb, zc = (int(zero) for zero in draw.integers(-128, 128, 3))
        second = {"both": b, "channel": STEPS, "single": draw.choice(STEPS, 1)}[layout]
        facts = {"sa": sa, "sb": sb, "sc": sc, "za": np.int8(za), "zb": np.int8(zb), "zc": np.int8(zc)}
        shape = (256, 256) if layout == "channel" else (65536,)
        wanted = qlinear(op, a=a.reshape(shape), b=second, **facts).ravel()
        got = np.empty(65536, np.int8)
        factors = (sa / sc, sb / sc) if op == "QLinearAdd" else (sa * sb / sc,)
        call = library.aed_add if op == "QLinearAdd" else library.aed_multiply
        floats = [ctypes.c_float(float(factor)) for factor in factors]
        call(pointer(a), pointer(second), pointer(got), 65536, len(second), *floats, za, zb, zc)
        np.testing.assert_array_equal(got, wanted)


class Drawn(nn.Module):
    """A net of drawn layers; sizes that are no multiple of anything."""

    def __init__(self, seed: int, depth: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.parts, self.kinds, channels = nn.ModuleList(), [], 1
        for _ in range(depth):
            kind = str(draw.choice(KINDS))
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
            elif kind == "pad":
                part = nn.ZeroPad2d(pads)
            elif kind == "affine":
                part = Affine(channels if draw.integers(0, 3) else 1)
            else:
                part = nn.Conv2d(channels, outputs if kind == "concat" else channels, 1)
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
            joined = {"add": torch.add, "multiply": torch.mul, "concat": lambda x, y: torch.cat([x, y], dim=1)}
            x = joined[kind](x, y) if kind in joined else y
            if rectify:
                x = nn.functional.relu6(x) if clip else x.relu()
        return x.flatten(1) if self.flat else x.mean(dim=(2, 3))

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(self._features(patches))


KINDS = ("conv", "depthwise", "add", "multiply", "concat", "affine", "max", "average", "pad")


class Affine(nn.Module):
    """Factor and offset of each channel, or of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.randn(channels, 1, 1))
        self.offset = nn.Parameter(torch.randn(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.offset


def drawn(seed: int, depth: int) -> onnx.ModelProto | None:
    """The float graph of a drawn net; every third ends in probabilities, every second has others' means."""
    try:
        net = Drawn(seed, depth).eval()
    except RuntimeError:  # pooled away
        return None
    model = to_onnx(net, nets.FRONTEND, ExportConfig(softmax=seed % 3 == 0))
    return with_reduce_mean(model, seed % 4 == 0) if seed % 2 else model


@settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5))
def test_c_of_drawn_nets_gives_the_bits_of_onnx_runtime(tmp_path_factory, seed, depth):
    floating = drawn(seed, depth)
    if floating is None:
        return
    model = quantize(floating, CALIBRATION, QuantizeConfig())
    try:
        lower(model)
    except AedError as error:
        assert "flattened" in str(error)
        return
    check(tmp_path_factory.mktemp("drawn"), model, 4)


@pytest.mark.parametrize("name", nets.NAMES)
def test_c_reads_and_writes_nothing_it_should_not(tmp_path, name):
    model = int8(nets.make(name))
    for index, (program, plan) in enumerate(plans(model)):
        _sanitised(tmp_path / str(index), model, program, plan)


def _sanitised(folder: Path, model: onnx.ModelProto, program: Program, plan: Plan) -> None:
    """Runs the net under the compiler's sanitizers."""
    folder.mkdir()
    steps, size = inputs(program, 3), program.tensors[program.output].size
    main = f"""#include <stdio.h>
#include "aed_net.h"
int main(void) {{
    static int8_t in[{steps.shape[1]}], out[{size}];
    static aed_net net;
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {{
        {run_name(plan)}(&net, in, out);
        fwrite(out, 1, sizeof out, stdout);
    }}
    return 0;
}}
"""
    sanitise = ["-O1", "-g", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    headers, objects = kernels(*sanitise)
    units = write_sources(folder, {**net_sources(program, plan), "main.c": main})
    run_tool(["gcc", *FLAGS, *sanitise, f"-I{headers}", "-o", folder / "net", *units, *objects, "-lm"], 120)
    done = subprocess.run([folder / "net"], input=steps.tobytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(3, size), expected(model, program, steps))


def test_the_sources_are_the_same_each_time():
    model = int8(nets.make("awkward"))
    first, second = (net_sources(program, make_plan(program)) for program in (lower(model), lower(copy_of(model))))
    assert first == second


def test_every_operator_has_a_file_and_every_layer_a_kind_of_its_own():
    files = {path.stem for path in Path(operators.__file__).parent.glob("[a-z]*.py")}
    found = [importlib.import_module(f"{operators.__name__}.{name}").LOWERINGS for name in files]
    assert sum(map(len, found)) == len(OPERATORS) == len({name for part in found for name in part})
    layers, kinds = [Layer], []
    while layers:
        layer = layers.pop()
        layers += layer.__subclasses__()
        kinds += [layer.kind] if "kind" in vars(layer) else []
    assert len(kinds) == len(set(kinds)) >= 13


# --- the plan -----------------------------------------------------------------------------------------------------


class Painted:
    """An arena in which every row is painted with its ring and number, to see whether it is whole when it is read."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self.schedule, self.offsets = plan.schedule, plan.offsets
        self.heights = [program.tensors[name].shape[0] for name in plan.schedule.names]
        self.sizes = [program.tensors[name].size // program.tensors[name].shape[0] for name in plan.schedule.names]
        self.arena, self.made = np.full(plan.size, -1), [0] * len(self.heights)

    def run(self) -> None:
        for step in self.schedule.steps:
            if step < 0:
                self.write(0, 1 if self.schedule.feeds else self.heights[0])
                continue
            stage, y = self.schedule.stages[step], self.made[step + 1]
            for read in stage.reads:
                first = y * read.rows.stride - read.rows.pad
                rows = [first + index * read.rows.dilation for index in range(read.rows.count)]
                for row in range(self.heights[read.ring]) if read.rows.stride == 0 else rows:
                    assert not 0 <= row < self.heights[read.ring] or self.holds(read.ring, row), (step, read, row)
            self.write(step + 1, stage.rows)
        assert self.made == self.heights

    def place(self, ring: int, row: int) -> np.ndarray:
        start = self.offsets[self.schedule.names[ring]] + row % self.schedule.capacities[ring] * self.sizes[ring]
        assert start + self.sizes[ring] <= len(self.arena)
        return self.arena[start : start + self.sizes[ring]]

    def write(self, ring: int, rows: int) -> None:
        for row in range(self.made[ring], self.made[ring] + rows):
            if ring or self.schedule.feeds:
                self.place(ring, row)[:] = ring * 2**20 + row
        self.made[ring] += rows

    def holds(self, ring: int, row: int) -> bool:
        if ring == 0 and not self.schedule.feeds:  # the caller's
            return row < self.made[0]
        return bool((self.place(ring, row) == ring * 2**20 + row).all())


@pytest.mark.parametrize("name", NAMES)
def test_every_row_that_a_plan_reads_is_whole(name):
    for program, plan in plans(int8(nets.make(name))):
        Painted(program, plan).run()


def test_an_output_overlaps_an_input_only_as_far_as_its_kernel_allows():
    shared = 0
    for program, plan in itertools.chain.from_iterable(plans(int8(nets.make(name))) for name in NAMES):
        schedule = plan.schedule
        bytes_of = [program.tensors[name].size // program.tensors[name].shape[0] for name in schedule.names]
        spans = {
            ring: (plan.offsets[name], plan.offsets[name] + schedule.capacities[ring] * bytes_of[ring])
            for ring, name in enumerate(schedule.names)
            if name in plan.offsets
        }
        for one, (low, high) in spans.items():
            for other, (start, stop) in spans.items():
                if one >= other or low >= stop or start >= high or not schedule.alive[one] & schedule.alive[other]:
                    continue
                layer = schedule.stages[other - 1].layer
                assert (one, other - 1) in schedule.overlaps
                seen = program
                if schedule.capacities[one] < schedule.heights[one]:
                    seen = rows_of(layer, program, joined=False)
                distance = layer.overlap_offset(seen.tensors[schedule.names[one]], seen.tensors[layer.output])
                assert distance is not None and low - start >= distance
                shared += 1
    assert shared > 0


def test_overlap_saves_what_the_widest_layer_needs_twice():
    from aed.dsp import FrontendConfig
    from aed.modules.nets import YAMNet

    config = FrontendConfig()
    patches = torch.zeros(4, 1, 64, 96).uniform_(-9, 3, generator=torch.Generator().manual_seed(0)).numpy()
    torch.manual_seed(0)
    program = lower(quantize(to_onnx(YAMNet(10).eval(), config, ExportConfig()), patches, QuantizeConfig()))
    assert make_plan(program, overlap=False).size == 144 * 1024
    assert make_plan(program).size <= 98 * 1024


class Bent(nn.Module):
    def __init__(self, mode: str, by: tuple[int, ...] = (1, 1, 0, 1), **value: float) -> None:
        super().__init__()
        self.mode, self.by, self.value = mode, by, value

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, self.by, mode=self.mode, **self.value).mean(dim=(2, 3))


class Factor(nn.Module):
    def __init__(self, constant: Tensor) -> None:
        super().__init__()
        self.constant = nn.Parameter(constant)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.constant).mean(dim=(2, 3))


# --- what C cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(2048, 2)), "group=1"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(1024, 2)), "no Elu"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten()), "flattened image"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), Bent("reflect")), r"\(Pad\): mode reflect; only constant"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), Bent("constant", value=1.0)), r"\(Pad\): pads with 1"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), Bent("constant", by=(-1, 0, 0, 0))), r"\(Pad\): .*no cropping"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), Factor(torch.arange(32.0))), r"\(Mul\): its constant has the shape"),
    ],
)
def test_what_c_cannot_do_is_named(net, message):
    with pytest.raises(AedError, match=message):
        lower(int8(net.eval()))


@pytest.mark.parametrize(
    ("net", "softmax", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 65, 1), nn.Flatten(), nn.Linear(65 * 512, 2)), False, "sizes up to 32767"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(1024, 1)), True, "over one class"),
    ],
)
def test_sizes_that_c_cannot_hold_are_named(net, softmax, message):
    with pytest.raises(AedError, match=message):
        lower(int8(net.eval(), softmax=softmax))


def test_a_float_model_is_told_from_an_int8_one():
    with pytest.raises(AedError, match=r"the model is float.*model_int8\.onnx"):
        lower(to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()))


def test_activations_in_uint8_are_refused():
    model = int8(nets.make("awkward"))
    quantizer = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    zero = next(item for item in model.graph.initializer if item.name == quantizer.input[2])
    zero.CopyFrom(onnx.numpy_helper.from_array(np.uint8(7), zero.name))
    with pytest.raises(AedError, match="only int8 with one scale"):
        lower(model)


def test_padding_by_rule_is_refused():
    model = int8(nets.make("awkward"))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    kept = [item for item in conv.attribute if item.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend([*kept, onnx.helper.make_attribute("auto_pad", "SAME_UPPER")])
    walk = Walk(model)
    walk.add_graph_input()
    with pytest.raises(AedError, match="only explicit padding"):
        OPERATORS["Conv"](walk, conv)


def test_a_layer_left_in_float_is_named():
    advice = r"has float layers: not for C: side; quantise anew.*quantization\.float_layers=refused"
    with pytest.raises(AedError, match=advice):
        lower(int8(nets.make("awkward"), exclude_nodes=("side",)))


# --- on emulated boards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", EMULATED)
def test_emulated_boards_give_the_same_bits(arm, board):
    model = int8(nets.make("awkward"))
    program = lower(model)
    steps = inputs(program, 3)
    run = measure.measure_net(program, make_plan(program), steps, load_board(board))
    np.testing.assert_array_equal(run.outputs, expected(model, program, steps))
    assert sum(run.layers) == pytest.approx(run.instructions, rel=0.05)
    assert make_plan(program).size <= run.ram_bytes < make_plan(program).size + 1024
    assert 0 < run.stack_bytes < 2048 and 1000 < run.flash_bytes < 20000


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an505", "mps3-an547"])
def test_emulated_cores_give_the_same_bits_for_what_foreign_graphs_have(arm, board):
    floating = with_reduce_mean(to_onnx(nets.make("mixed"), nets.FRONTEND, ExportConfig(softmax=True)), False)
    model = quantize(floating, CALIBRATION, QuantizeConfig())
    program = lower(model)
    assert {"add", "multiply", "pad", "mean", "softmax"} < {layer.kind for layer in program.layers}
    steps = inputs(program, 4)
    run = measure.measure_net(program, make_plan(program), steps, load_board(board))
    np.testing.assert_array_equal(run.outputs, expected(model, program, steps))


def test_instructions_are_right_where_the_clock_goes_round(arm):
    """On this board SysTick goes round after 100 million instructions."""
    wide = [part for _ in range(8) for part in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(1, 64, 1), *wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)).eval()
    program = lower(int8(net))
    run = measure.measure_net(program, make_plan(program), inputs(program, 1), load_board("netduinoplus2"))
    assert run.instructions > measure.WRAP / 168e6 * 1e9
    assert sum(run.layers) == pytest.approx(run.instructions, rel=0.01)


def test_a_program_that_fails_says_why(arm, tmp_path):
    board = load_board("mps2-an505")
    text = "int main(void) { return 74; }"
    elf = toolchain.build(tmp_path, {**toolchain.harness_sources(), "main.c": text}, board)
    with pytest.raises(AedError, match="mps2-an505: the emulated program failed: a layer takes longer"):
        run_program(elf, tmp_path / "run", b"", board)


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
        command = ["arm-none-eabi-gcc", *flags, f"-mcpu={core}", f"-mfpu={fpu}", "-c", str(source)]
        run_tool([*command, "-o", str(tmp_path / "out.o")], 60)


def test_a_missing_or_failing_tool_is_said(tmp_path):
    with pytest.raises(AedError, match="no-such-tool: not found"):
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


def test_a_library_that_may_not_be_loaded_is_said(tmp_path, monkeypatch):
    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(AedError, match="noexec, set TMPDIR"):
        build_library(tmp_path, {"a.c": "int a(void);\nint a(void) { return 1; }\n"})


def test_samples_are_rounded_and_saturated():
    wave = np.array([0, 1, -1, 0.5 / 32768, 1.5 / 32768, 1 - 1e-7], np.float32)
    assert to_int16(wave).tolist() == [0, 32767, -32768, 0, 2, 32767]
