"""How the C runs a net: the choice among plans, frame after frame, and endless streams."""

import ctypes
import json
from functools import partial
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st
from test_target_net import CALIBRATION, arm, expected, inputs, int8, kernels, need  # noqa: F401 - a fixture
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.base.processes import run_tool
from aed.dsp import FrontendConfig
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.modules.nets import DSCNN, MiniResNet, YAMNet
from aed.run.benchmark import BenchmarkConfig
from aed.run.benchmark import measure as measure_model
from aed.target.boards import load_board
from aed.target.codegen.choose import MOST, choose_plan
from aed.target.codegen.generate import net_sources
from aed.target.codegen.lower import lower, sketch
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Program
from aed.target.codegen.settings import PlanSettings
from aed.target.codegen.turns import COST, in_turns
from aed.target.emulator import measure
from aed.target.emulator.device import EmulatedDevice
from aed.target.emulator.settings import EmulatorSettings
from aed.target.host import FLAGS, HostDevice, net_memory, pointer, write_sources

pytestmark = pytest.mark.usefixtures("compiles")

PATCH = nets.FRONTEND.patch_frames


@pytest.fixture(autouse=True)
def host_compiler() -> None:
    need("gcc", "gcc")


def float_graph(net: nn.Module, frontend: FrontendConfig = nets.FRONTEND) -> onnx.ModelProto:
    return to_onnx(nets.settled(net), frontend, ExportConfig())


def small(time_padding: str = "valid") -> nn.Module:
    torch.manual_seed(0)
    return nets.settled(DSCNN(4, channels=8, n_blocks=2, time_padding=time_padding))


def small_residual() -> nn.Module:
    torch.manual_seed(0)
    return nets.settled(MiniResNet(4, "v2", 1, "avg", time_padding="valid"))


class Gated(nn.Module):
    """A residual net with squeeze-and-excite: a gate needs a whole image, the sum a row that was made long before."""

    def __init__(self, num_classes: int = 4, width: int = 24) -> None:
        super().__init__()
        self.num_classes, self.width = num_classes, width
        self.stem, self.wide = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, width, 1)
        self.deep = nn.Conv2d(width, width, 5, 1, 2, groups=width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze, self.excite = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)
        self.narrow, self.head = nn.Conv2d(width, 8, 1), nn.Linear(8, num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.stem(patches).relu()
        y = self.deep(self.wide(x).relu()).relu()
        y = y * torch.sigmoid(self.excite(self.squeeze(self.pool(y)).relu()))
        x = x + self.narrow(y)
        return self.head(self.pool(x).flatten(1))


def fed(folder: Path, program: Program, plan: Plan, columns: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The columns after which there was an output, and the outputs, of a net compiled for this machine."""
    headers, objects = kernels("-fPIC")
    units = write_sources(folder, net_sources(program, plan))
    flags = [*FLAGS, f"-I{headers}", "-shared", "-fPIC", "-nostdlib"]  # this process has the C library
    run_tool(["gcc", *flags, "-o", folder / "net.so", *units, *objects], 120)
    library = ctypes.CDLL(str(folder / "net.so"))
    net = net_memory(plan)
    library.aed_net_begin(net)
    out, when, outputs = np.empty(program.tensors[program.output].size, np.int8), [], []
    for number, column in enumerate(np.ascontiguousarray(columns)):
        if library.aed_net_feed(net, pointer(column), pointer(out)):
            when.append(number)
            outputs.append(out.copy())
    return when, np.array(outputs)


def columns(number: int, seed: int = 0) -> np.ndarray:
    """Columns of a sound whose level changes."""
    draw = np.random.default_rng(seed)
    level = np.cumsum(draw.normal(0, 6, (number, 1)), axis=0)
    return np.clip(np.rint(level % 160 - 100 + draw.normal(0, 25, (number, nets.FRONTEND.n_mels))), -128, 127).astype(
        np.int8
    )


# --- the choice ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "most"), [("yamnet", 31), ("dscnn", 17)])
def test_rows_take_a_part_of_the_ram_of_whole_layers(name, most):
    net = {"yamnet": YAMNet, "dscnn": DSCNN}[name](10)
    lowered = partial(sketch, float_graph(net, FrontendConfig()))
    layers, auto = (choose_plan(lowered, PlanSettings(plan=kind)) for kind in ("layers", "auto"))
    assert auto.plan.size <= most * 1024 < layers.plan.size / 3
    assert auto.facts["plan"] == "rows" and auto.facts["rows"] == "frames" and auto.facts["patch_bytes"] == 0
    assert auto.facts["by_whole_layers"]["arena_bytes"] == layers.facts["arena_bytes"] == layers.plan.size
    assert auto.facts["instructions_estimated"] <= MOST * layers.facts["instructions_estimated"]


def test_auto_names_the_ram_that_more_instructions_would_save(monkeypatch):
    lowered = partial(sketch, float_graph(YAMNet(10), FrontendConfig()))
    monkeypatch.setattr("aed.target.codegen.choose.MOST", 1.0)
    bounded = choose_plan(lowered)
    rows = choose_plan(lowered, PlanSettings(plan="rows"))
    assert rows.plan.size < bounded.plan.size
    assert f"{rows.plan.size} bytes would take 1.03 times as many" in bounded.facts["reason"]


def test_the_plan_of_the_float_graph_is_that_of_the_int8_model():
    model = float_graph(small())
    made = quantize(model, CALIBRATION, QuantizeConfig())
    for settings in (PlanSettings(), PlanSettings(plan="rows"), PlanSettings(plan="stream", hop=4)):
        one, other = (choose_plan(partial(way, graph), settings) for way, graph in ((sketch, model), (lower, made)))
        assert one.facts == other.facts
        places = ([each.plan.offsets.get(name) for name in each.plan.schedule.names] for each in (one, other))
        assert next(places) == next(places)


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (small, {"plan": "columns"}, r"c\.plan: need one of .*'rows'.*got 'columns'"),
        (small, {"hop": 4}, r"c\.hop: need columns from 1 on, of c\.plan=stream alone, got 4"),
        (small, {"plan": "stream", "hop": 0}, r"c\.hop: need columns from 1 on"),
        (small, {"plan": "stream", "hop": 6}, r"c\.hop: need a multiple of 4, the net's stride along time, got 6"),
        (partial(small, "same"), {"plan": "stream", "hop": 4}, r"c\.plan=stream: .* \(conv\) has padding along time"),
        (nets.Awkward, {"plan": "stream", "hop": 4}, r"c\.plan=stream: .* has padding along time"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.Flatten(), nn.Linear(420, 4)),
            {"plan": "stream", "hop": 4},
            r"c\.plan=stream: .*\(dense\) needs the whole patch",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_said(net, settings, message):
    with pytest.raises(AedError, match=message):
        choose_plan(partial(sketch, float_graph(net())), PlanSettings(**settings), prefix="c.")


# --- frame after frame ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["yamnet", "mixed", "gated"])
def test_patches_fed_frame_by_frame_give_the_bits_of_onnx_runtime(tmp_path, name):
    model = int8(nets.settled(Gated()) if name == "gated" else nets.make(name))
    chosen = choose_plan(partial(lower, model), PlanSettings(plan="rows"))
    assert chosen.plan.feeds
    steps = inputs(chosen.program, 5)
    when, outputs = fed(tmp_path, chosen.program, chosen.plan, steps.reshape(5 * PATCH, -1))
    assert when == [PATCH * (number + 1) - 1 for number in range(5)]
    np.testing.assert_array_equal(outputs, expected(model, chosen.program, steps))


@pytest.mark.parametrize(
    ("name", "overlap"), [("yamnet", 0.0), ("yamnet", 0.25), ("mixed", 0.25), ("mixed", 0.75), ("yamnet", 0.9)]
)
def test_a_listener_hears_the_same_whatever_the_plan(tmp_path, name, overlap):
    """Of patches that do not, hardly, and very much overlap; ``mixed`` does not look at the last columns."""
    frontend = FrontendConfig(patch_frames=32, n_mels=16, overlap=overlap)
    samples = (4000 * np.random.default_rng(0).standard_normal(40000)).astype(np.int16)
    model = int8(nets.make(name))
    heard = [
        HostDevice(tmp_path / kind, model, frontend, PlanSettings(plan=kind)).outputs(samples)
        for kind in ("layers", "rows")
    ]
    np.testing.assert_array_equal(*heard)
    assert len(heard[0]) == 1 + (frontend.num_frames(len(samples)) - 32) // frontend.patch_hop


@drawn(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=1, max_size=4), st.integers(1, 40), st.data())
def test_a_part_that_comes_again_stands_once_in_the_table(turn, times, data):
    """Rows of the input before and after some turns, each with the stages that then run."""
    around = [data.draw(st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=3)) for _ in range(2)]
    rows = [*around[0], *(turn * times), *around[1], [9]]
    steps = tuple(step for row in rows for step in (-1, *row))
    turns = in_turns(steps)
    again = turns.steps[turns.begin : turns.end] * (turns.times - 1)
    assert turns.steps[: turns.end] + again + turns.steps[turns.end :] == steps
    once = len(steps) - (times - 1) * sum(1 + len(row) for row in turn)
    assert len(turns.steps) <= (once if once + COST < len(steps) else len(steps))


# --- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hop", [4, 8, 20, 40])
def test_a_stream_gives_the_bits_of_whole_patches(tmp_path, hop):
    """Hops under, over and of no simple relation to the patch; ONNX Runtime sees each patch alone."""
    model = int8(small())
    chosen = choose_plan(partial(lower, model), PlanSettings(plan="stream", hop=hop))
    sound = columns(500)
    when, outputs = fed(tmp_path, chosen.program, chosen.plan, sound)
    starts = range(0, len(sound) - PATCH + 1, hop)
    assert when == [start + PATCH - 1 for start in starts]
    patches = np.stack([sound[start : start + PATCH].ravel() for start in starts])
    wanted = expected(model, lower(model, turned=True), patches)
    np.testing.assert_array_equal(outputs, wanted)
    assert len(np.unique(wanted, axis=0)) > 4


@pytest.mark.parametrize("net", [small, small_residual])
def test_ten_minutes_as_a_stream_are_ten_minutes_of_patches(tmp_path, monkeypatch, net):
    """Through the front end: every column is fed once, or every patch as a whole."""
    monkeypatch.setattr("aed.modules.nets.miniresnet.WIDTH", 4)
    frontend = FrontendConfig(patch_frames=32, n_mels=16, overlap=0.75)
    draw, time = np.random.default_rng(0), np.arange(600 * frontend.sample_rate) / frontend.sample_rate
    sound = np.sin(2 * np.pi * (300 + 200 * np.sin(time / 3)) * time) * (1 + np.sin(time / 5)) * 5000
    samples = (sound + draw.normal(0, 200, len(time))).astype(np.int16)
    model = int8(net())
    patches, stream = (
        HostDevice(tmp_path / kind, model, frontend, PlanSettings(plan=kind)).outputs(samples)
        for kind in ("layers", "stream")
    )
    np.testing.assert_array_equal(stream, patches)
    assert len(stream) > 7000 and len(np.unique(stream, axis=0)) > 10


@pytest.mark.parametrize("board", ["mps2-an505", "mps3-an547"])
def test_emulated_boards_give_the_same_bits_in_every_plan(arm, tmp_path, board):  # noqa: F811
    model, samples = int8(small()), (4000 * np.random.default_rng(0).standard_normal(12000)).astype(np.int16)
    here = HostDevice(tmp_path / "host", model, nets.FRONTEND, PlanSettings(plan="layers")).outputs(samples)
    for settings in (PlanSettings(plan="rows"), PlanSettings(plan="stream")):
        device = EmulatedDevice(tmp_path / settings.plan, model, nets.FRONTEND, load_board(board), settings)
        np.testing.assert_array_equal(device.outputs(samples), here)


def test_a_stream_costs_what_its_new_columns_cost(arm):  # noqa: F811
    """A patch of 32 columns at a hop of 8: about a quarter of its instructions."""
    model, board = int8(small()), load_board("mps2-an505")
    chosen = [
        choose_plan(partial(lower, model), settings)
        for settings in (PlanSettings(plan="rows"), PlanSettings(plan="stream", hop=8))
    ]
    patch, hop = (measure.measure_net(each.program, each.plan, inputs(each.program, 2), board) for each in chosen)
    np.testing.assert_array_equal(hop.outputs, patch.outputs)
    assert 0.2 < hop.instructions / patch.instructions < 0.35
    assert 0.9 < sum(hop.layers) / hop.instructions <= 1, "the rest goes from stage to stage"
    assert chosen[0].facts["instructions_estimated"] == pytest.approx(patch.instructions, rel=0.15)
    for each, run in zip(chosen, (patch, hop), strict=True):
        assert each.plan.size <= run.ram_bytes < each.plan.size + 1024


def test_a_benchmark_of_a_stream_says_what_a_second_costs(arm, tmp_path, capsys):  # noqa: F811
    """The net's row is of a decision, the front end's of a whole patch: of which a hop of 8 columns needs a quarter."""
    save_model(tmp_path / "m.onnx", int8(small()), ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd")))
    emulator = EmulatorSettings(inputs=1, plan="stream", hop=8)
    measure_model(tmp_path / "m.onnx", tmp_path, BenchmarkConfig(board="b-u585i-iot02a", emulator=emulator))
    report = json.loads((tmp_path / "target/emulator/mps2-an505/report.json").read_text())
    net, frontend = (part["instructions"]["value"] for part in (report, report["frontend"]))
    second = (net + frontend * 8 / PATCH) * nets.FRONTEND.sample_rate / (nets.FRONTEND.hop_length * 8)
    said = " ".join(capsys.readouterr().out.split())
    assert "net: of a decision, every 8 columns; front end: of a whole patch; both together:" in said
    assert f"{second / 1e6:.2f} M instructions a second" in said
    net, frontend = (part["cycles"]["value"] for part in (report, report["frontend"]))
    facts, hop_s = report["details"]["listening"], nets.FRONTEND.hop_length * 8 / nets.FRONTEND.sample_rate
    assert facts["decisions_per_hour"] == pytest.approx(3600 / hop_s) and facts["clock_mhz"] == 160
    busy = (net + frontend * 8 / PATCH) / hop_s / 160e6
    assert facts["load"] == {"value": pytest.approx(busy, rel=0.01), "source": "estimated"}
    assert facts["load_frontend"]["value"] == pytest.approx(frontend * 8 / PATCH / hop_s / 160e6, rel=0.01)
    assert (
        f"listening: {3600 / hop_s:.0f} decisions an hour; {100 * busy:.2g} % of a core at 160 MHz (estimated)" in said
    )
