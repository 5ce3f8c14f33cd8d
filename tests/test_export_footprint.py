from functools import partial

import nets
import numpy as np
import pytest
import test_target_net
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.export.footprint import Budget, footprint
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.modules.nets import YAMNet
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.footprint import on_board, planned_footprint
from aed.target.codegen.lower import lower
from aed.target.codegen.settings import PlanSettings

CALIBRATION = nets.patches(4, seed=1).numpy()


@pytest.mark.parametrize("name", ["yamnet", "awkward", "uneven"])
def test_macc_is_half_of_torchs_flops(name):
    net = nets.make(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(nets.patches(1))
    assert footprint(to_onnx(net, nets.FRONTEND, ExportConfig())).macc == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["yamnet", "awkward", "uneven"])
def test_weights_are_int8_and_biases_int32(name):
    net = nets.make(name)
    layers = [part for part in net.modules() if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear))]
    # every convolution has a bias after folding
    expected = sum(part.weight.numel() + 4 * part.weight.shape[0] for part in layers)
    assert footprint(to_onnx(net, nets.FRONTEND, ExportConfig())).weights_bytes == expected


def test_yamnet_costs_what_st_publishes():
    """ST: 23.9 MMACC and 135.91 KiB of weights for yamnet_256 with 10 classes."""
    cost = footprint(to_onnx(YAMNet(10), FrontendConfig(), ExportConfig()))
    assert cost.macc == 23_902_720
    assert round(cost.weights_bytes / 1024, 2) == 135.91


def test_the_peak_is_the_most_that_is_alive_at_once():
    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(1, 2, 1)
            self.wide = torch.nn.Conv2d(2, 8, 1)
            self.back = torch.nn.Conv2d(8, 2, 1)

        def forward(self, patches):
            x = self.stem(patches).relu()
            return (x + self.back(self.wide(x).relu())).mean(dim=(2, 3))

    size = nets.FRONTEND.n_mels * nets.FRONTEND.patch_frames
    cost = footprint(to_onnx(Branches(), nets.FRONTEND, ExportConfig()))
    # while "back" runs, the shortcut, what it reads and what it writes are needed
    assert (cost.activations_bytes, cost.peak_layer) == ((2 + 8 + 2) * size, "back")


@pytest.mark.parametrize(
    ("limit", "kind", "message"),
    [
        ({"flash_kib": 0.3}, "weights_bytes", r"budget\.flash_kib: .* KiB of weights, 0\.3"),
        ({"macc": 1e3}, "macc", r"budget\.macc: .* MACC, 1,000"),
        ({"ram_kib": 0.5}, None, r"budget\.ram_kib: .* KiB of activations, 0\.5"),
    ],
)
def test_a_budget_names_what_is_passed_and_the_layer_to_blame(limit, kind, message):
    cost = footprint(to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()))
    blamed = max(cost.layers, key=lambda layer: getattr(layer, kind)).name if kind else cost.peak_layer
    with pytest.raises(AedError, match=f"{message}.*most at {blamed}$"):
        Budget(**limit).check(cost)


def test_a_budget_that_is_kept_says_nothing():
    cost = footprint(to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()))
    Budget().check(cost)
    Budget(flash_kib=cost.weights_bytes / 1024, ram_kib=cost.activations_bytes / 1024, macc=cost.macc).check(cost)


def test_layers_add_up():
    cost = footprint(to_onnx(nets.make("pre_activation"), nets.FRONTEND, ExportConfig()))
    assert cost.macc == sum(layer.macc for layer in cost.layers)
    assert cost.weights_bytes == sum(layer.weights_bytes for layer in cost.layers)
    assert cost.activations_bytes >= max(layer.output_bytes for layer in cost.layers)
    assert np.prod([nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames]) <= cost.activations_bytes


# --- with the plan of the C code ---------------------------------------------------------------------------------


def check_plan(model):
    """The float graph alone tells the arena of the int8 model."""
    plan = choose_plan(partial(lower, quantize(model, CALIBRATION, QuantizeConfig()))).plan
    cost = planned_footprint(model)
    assert cost.planned
    assert (cost.activations_bytes, cost.peak_layer) == (plan.size, plan.peak_layer)


@pytest.mark.parametrize("name", test_target_net.NAMES)
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.usefixtures("computes")
def test_the_float_graph_tells_the_arena_of_the_int8_model(name, softmax):
    check_plan(to_onnx(nets.make(name), nets.FRONTEND, ExportConfig(softmax=softmax)))


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5))
@pytest.mark.usefixtures("computes")
def test_the_float_graph_of_a_drawn_net_tells_its_arena(seed, depth):
    model = test_target_net.drawn(seed, depth)
    if model is not None and planned_footprint(model).planned:
        check_plan(model)


def test_yamnet_fits_where_two_of_its_activations_would_not():
    model = to_onnx(YAMNet(10), FrontendConfig(), ExportConfig())
    cost = planned_footprint(model)
    assert (cost.activations_bytes, cost.planned) == (31_424, True)
    assert planned_footprint(model, PlanSettings(plan="layers")).activations_bytes == 99_904
    assert (footprint(model).activations_bytes, footprint(model).planned) == (144 * 1024, False)
    assert (cost.macc, cost.layers) == (footprint(model).macc, footprint(model).layers)


def test_a_graph_that_c_cannot_run_keeps_the_estimate():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.ELU(), torch.nn.Flatten())
    model = to_onnx(net.eval(), nets.FRONTEND, ExportConfig())
    assert planned_footprint(model) == footprint(model)
    assert not planned_footprint(model).planned


def test_a_boards_memories_are_the_limits_that_are_not_given():
    assert on_board(Budget()) == Budget()
    u5 = on_board(Budget(board="b-u585i-iot02a", ram_kib=100))
    assert (u5.flash_kib, u5.ram_kib) == (2048, 100)
    n6 = on_board(Budget(board="stm32n6570-dk"))
    assert n6.flash_kib is None and n6.ram_kib == 4200, "its flash lies beside the chip"
    with pytest.raises(AedError, match="board: need one of"):
        on_board(Budget(board="uno"))
    cost = footprint(to_onnx(nets.make("yamnet"), nets.FRONTEND, ExportConfig()))
    with pytest.raises(AedError, match=r"budget\.flash_kib"):
        on_board(Budget(board="nucleo-g474re", flash_kib=1)).check(cost)
