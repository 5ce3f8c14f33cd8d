"""Nets without padding along time: what they compute, how short a patch may be, and residual ones as streams in C."""

from functools import partial

import nets
import numpy as np
import onnx
import pytest
import torch
from test_plans import columns, fed
from test_target_net import Painted, arm, expected, inputs, need, plans, run_on_host  # noqa: F401 - a fixture
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.precision import float_layers
from aed.export.quantize import QuantizeConfig, quantize
from aed.modules.nets import DSCNN, MiniResNet, YAMNet
from aed.modules.time_padding import least_frames
from aed.run.check_net import _check_form
from aed.target.boards import load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import lower, sketch
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator import measure

RESIDUAL = [(version, n_stacks) for version in ("v1", "v2") for n_stacks in (1, 2, 3)]
BANDS = nets.FRONTEND.n_mels


@pytest.fixture
def narrow(monkeypatch) -> None:
    """Residual nets of a few channels: the same layers, quickly compiled."""
    monkeypatch.setattr("aed.modules.nets.miniresnet.WIDTH", 4)


def residual(version: str, n_stacks: int, time_padding: str = "valid") -> nn.Module:
    """With the statistics of what it is given once, as after a training."""
    torch.manual_seed(0)
    net = MiniResNet(4, version, n_stacks, "avg", time_padding=time_padding)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    net.train()(torch.randn(4, 1, BANDS, 240))
    return net.eval()


def frontend_of(frames: int) -> FrontendConfig:
    return FrontendConfig(patch_frames=frames, n_mels=BANDS, overlap=0.0, min_length_s=4.0)


def graphs(net: nn.Module, frames: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Float and int8."""
    model = to_onnx(net, frontend_of(frames), ExportConfig())
    patches = np.random.default_rng(0).uniform(-9, 3, (8, 1, BANDS, frames)).astype(np.float32)
    return model, quantize(model, patches, QuantizeConfig())


# --- what they compute ---------------------------------------------------------------------------------------------


def image(net: nn.Module, patches: Tensor) -> Tensor:
    """What the backbone makes before it pools."""
    with torch.no_grad():
        made: Tensor = net.backbone[:-2](patches)
    return made


@pytest.mark.parametrize(("version", "n_stacks"), [("v1", 1), ("v1", 2), ("v2", 1), ("v2", 2)])
def test_a_residual_net_without_padding_is_the_padded_one_away_from_the_ends(narrow, version, n_stacks):
    """The latter sees frames before and after, too; their number shifts its columns, one of all shifts fits."""
    valid, same = (residual(version, n_stacks, padding) for padding in ("valid", "same"))
    same.load_state_dict(valid.state_dict())
    stride = 4 * 2**n_stacks
    frames = least_frames(valid._windows) + stride
    before, sound, after = (torch.randn(1, 1, BANDS, size) for size in (frames + stride, frames, frames))
    wanted = image(valid, sound)
    assert wanted.shape[-1] == 2 and wanted.any()
    shifted = [image(same, torch.cat([before[..., shift:], sound, after], dim=3)) for shift in range(stride)]
    places = [made[..., first : first + 2] for made in shifted for first in range(made.shape[-1] - 1)]
    assert sum(torch.allclose(made, wanted, rtol=1e-3, atol=1e-4) for made in places) == 1


# --- how short a patch may be --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "least"),
    [
        (lambda: YAMNet(3, time_padding="valid"), 43),
        (lambda: YAMNet(3, 512, weights="google", time_padding="valid"), 91),
        (lambda: DSCNN(3, channels=4, time_padding="valid"), 33),
        *[
            (partial(residual, version, n_stacks), least)
            for (version, n_stacks), least in zip(RESIDUAL, (43, 107, 235, 27, 59, 123), strict=True)
        ],
    ],
)
def test_a_patch_that_is_too_short_is_refused_with_the_least_length(narrow, net, least):
    """The least is that of which the layers themselves leave one column."""
    net = net()
    assert image(net, torch.zeros(1, 1, 64, least)).shape[-1] == 1
    with pytest.raises(RuntimeError):
        image(net, torch.zeros(1, 1, 64, least - 1))
    with pytest.raises(AedError, match=rf"patch_frames: .*at least {least} frames.*got {least - 1}; type .*={least}"):
        net(torch.zeros(1, 1, 64, least - 1))
    with pytest.raises(AedError, match=r"^frontend\.patch_frames: "):
        _check_form(net, frontend_of(least - 1), net.num_classes)


def test_an_embedding_that_keeps_all_values_is_as_large_as_what_the_layers_leave(narrow):
    for version, frames, left in (("v1", 50, 1), ("v2", 50, 3), ("v2", 64, 5)):
        net = MiniResNet(3, version, 1, "none", BANDS, frames, time_padding="valid").eval()
        assert net.head[1].in_features == 4 * (BANDS // 8) * left
        assert net(torch.zeros(2, 1, BANDS, frames)).shape == (2, 3)
    with pytest.raises(AedError, match=r"at least 107 frames.*got 50"):
        MiniResNet(3, "v1", 2, "none", time_padding="valid")
    with pytest.raises(AedError, match=r"net\.time_padding: .*'valid'.*got 'none'"):
        MiniResNet(3, time_padding="none")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_published_weights_of_padded_nets_are_taken(pretrained, version):
    valid, same = (MiniResNet(3, version, 1, "avg", time_padding=padding) for padding in ("valid", "same"))
    valid.load_pretrained()
    same.load_pretrained()
    own, theirs = valid.backbone.state_dict(), same.backbone.state_dict()
    assert own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)


# --- in C ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def compiler() -> None:
    need("gcc", "gcc")


@pytest.mark.usefixtures("compiles", "compiler")
@pytest.mark.parametrize(("version", "n_stacks"), [("v1", 1), ("v1", 3), ("v2", 1), ("v2", 3)])
def test_a_residual_stream_gives_the_bits_of_whole_patches(tmp_path, narrow, version, n_stacks):
    """The last frames of a patch are too few for one more column; the decision waits for them all the same."""
    net, hop = residual(version, n_stacks), 4 * 2**n_stacks
    frames = least_frames(net._windows) + hop + 3
    model, int8 = graphs(net, frames)
    assert float_layers(int8) == ()
    settings = PlanSettings(plan="stream", hop=hop)
    chosen, sketched = (choose_plan(partial(way, graph), settings) for way, graph in ((lower, int8), (sketch, model)))
    assert chosen.facts == sketched.facts
    sound = columns(frames + 12 * hop)
    when, outputs = fed(tmp_path, chosen.program, chosen.plan, sound)
    starts = range(0, len(sound) - frames + 1, hop)
    assert when == [start + frames - 1 for start in starts]
    patches = np.stack([sound[start : start + frames].ravel() for start in starts])
    wanted = expected(int8, lower(int8, turned=True), patches)
    np.testing.assert_array_equal(outputs, wanted)
    assert len(np.unique(wanted, axis=0)) > 4


@pytest.mark.usefixtures("compiles", "compiler")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_whole_patches_give_the_bits_of_onnx_runtime_by_layers_by_rows_and_on_a_core(tmp_path, arm, narrow, version):  # noqa: F811
    _, int8 = graphs(residual(version, 1), 48)
    for program, plan in plans(int8):
        Painted(program, plan).run()
    for kind in ("layers", "rows"):
        chosen = choose_plan(partial(lower, int8), PlanSettings(plan=kind))
        steps = inputs(chosen.program, 6)
        wanted = expected(int8, chosen.program, steps)
        np.testing.assert_array_equal(run_on_host(tmp_path / kind, chosen.program, steps, chosen.plan), wanted)
        assert len(np.unique(wanted, axis=0)) > 3
    assert chosen.plan.feeds
    got = measure.measure_net(chosen.program, chosen.plan, steps, load_board("mps2-an505")).outputs
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("pooling", ["none", "max"])
def test_a_stream_needs_a_mean(narrow, pooling):
    net = MiniResNet(4, "v2", 1, pooling, BANDS, 48, time_padding="valid").eval()
    model = to_onnx(net, frontend_of(48), ExportConfig())
    with pytest.raises(AedError, match=r"needs the whole patch; only a mean|no mean over the whole patch"):
        choose_plan(partial(sketch, model), PlanSettings(plan="stream", hop=8), prefix="c.")
