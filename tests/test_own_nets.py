"""Small nets trained from scratch, and what is checked of any net before it is trained."""

import json
import logging
import re
import subprocess
from functools import partial
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import test_target_net
import tiny
import torch
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.dsp import PRESETS, FrontendConfig
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.modules import nets as net_folder
from aed.modules.nets import DSCNN, BCResNet
from aed.modules.rebuild import build_net, net_facts
from aed.run import pipeline, registry
from aed.target.codegen.footprint import planned_footprint
from aed.target.codegen.lower import lower, sketch

pytestmark = pytest.mark.usefixtures("trains")

DOCS = Path(__file__).resolve().parents[1] / "docs" / "own_net.md"
BOTH = [(DSCNN, {}), (BCResNet, {}), (BCResNet, {"activation": "relu", "width": 12})]


def made(cls: type[nn.Module], seed: int = 0, **arguments: object) -> nn.Module:
    torch.manual_seed(seed)
    return nets.settled(cls(5, **arguments))


def outputs(model: onnx.ModelProto, patches: Tensor) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: patch[None].numpy()})[0] for patch in patches])


def parameters(net: nn.Module) -> int:
    return sum(part.numel() for part in net.parameters())


# --- the nets -----------------------------------------------------------------------------------------------------


def test_each_file_of_the_folder_is_a_choice_with_a_config():
    folder = Path(net_folder.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    classes = {cls.__module__.rpartition(".")[2]: cls for cls in net_folder.net_classes()}
    assert set(classes) == files == {path.stem for path in (CONFIG_DIR / "model" / "net").glob("*.yaml")}
    for name, cls in classes.items():
        node = tiny.composed("experiment=demo", f"model/net={name}").model.net
        assert node._target_ == f"{cls.__module__}.{cls.__qualname__}"


@pytest.mark.parametrize(("cls", "arguments"), BOTH)
def test_the_exported_graph_gives_what_torch_gives(cls, arguments):
    net, patches = made(cls, **arguments), nets.patches(8)
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    assert not {"BatchNormalization", "Transpose", "ReduceMean"} & {node.op_type for node in model.graph.node}
    with torch.no_grad():
        expected = net(patches).numpy()
    np.testing.assert_allclose(outputs(model, patches), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("cls", "arguments"), BOTH)
def test_a_trained_net_is_as_good_in_int8(cls, arguments):
    """Five classes, each a band that is louder than the rest."""
    torch.manual_seed(0)
    net = cls(5, **arguments)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def batch(seed: int, number: int = 30) -> tuple[Tensor, Tensor]:
        patches, target = nets.patches(number, seed), torch.arange(number) % 5
        for patch, label in zip(patches, target.tolist(), strict=True):
            patch[:, 3 * label : 3 * label + 3] += 4
        return patches, target

    for step in range(40):
        patches, target = batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(patches), target).backward()
        optimizer.step()
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    int8 = quantize(model, batch(100)[0].numpy(), QuantizeConfig())
    patches, target = batch(101, 60)
    exact, steps = outputs(model, patches), outputs(int8, patches)
    assert np.mean(exact.argmax(axis=1) == target.numpy()) >= 0.9
    assert np.mean(exact.argmax(axis=1) == steps.argmax(axis=1)) >= 0.95
    assert 10 * np.log10(np.mean((exact - steps) ** 2) / np.var(exact)) < -15


@pytest.mark.parametrize(
    "frontend",
    [
        nets.FRONTEND,
        FrontendConfig(patch_frames=29, n_mels=13, overlap=0.0),
        FrontendConfig(patch_frames=50, n_mels=31, overlap=0.0),
    ],
    ids=lambda config: f"{config.n_mels}x{config.patch_frames}",
)
@pytest.mark.parametrize("net", [partial(DSCNN, channels=18, n_blocks=2), BCResNet], ids=["ds_cnn", "bc_resnet"])
def test_c_gives_the_bits_of_onnx_runtime(tmp_path, net, frontend):
    test_target_net.need("gcc", "gcc")
    model = to_onnx(made(net), frontend, ExportConfig())
    draw = np.random.default_rng(0)
    calibration = draw.uniform(-9, 3, (16, 1, frontend.n_mels, frontend.patch_frames)).astype(np.float32)
    test_target_net.check(tmp_path, quantize(model, calibration, QuantizeConfig()), 12)


@pytest.mark.parametrize(("cls", "arguments"), BOTH)
@pytest.mark.parametrize("size", [(64, 96), (40, 101), (13, 29), (8, 8), (1, 1)])
def test_patches_of_any_size_pass_and_each_stands_alone(cls, arguments, size):
    net = made(cls, **arguments)
    patches = torch.randn(3, 1, *size)
    with torch.no_grad():
        together, alone = net(patches), torch.cat([net(patch[None]) for patch in patches])
    assert together.shape == (3, 5)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("cls", "arguments"), BOTH)
def test_every_parameter_learns_and_the_net_is_rebuilt_from_its_facts(cls, arguments):
    torch.manual_seed(0)
    net = cls(5, **arguments)
    nn.functional.cross_entropy(net(nets.patches(8)), torch.arange(8) % 5).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    twin = build_net(json.loads(json.dumps(net_facts(net))))
    twin.load_state_dict(net.state_dict())
    torch.testing.assert_close(twin.eval()(nets.patches(2)), net.eval()(nets.patches(2)))


def test_bc_resnet_1_is_the_papers_but_for_its_norms():
    """9.2 k parameters and 3.1 M multiplies at 40x101 in Table 1; five norms a channel in each of 12 blocks there."""
    net = BCResNet(12)
    in_blocks = sum(count * width for count, width in ((2, 8), (2, 12), (4, 16), (4, 20)))
    assert parameters(net) + 2 * 4 * in_blocks == 9232
    frontend = FrontendConfig(n_mels=40, patch_frames=101, overlap=0.0, min_length_s=1.1)
    assert planned_footprint(to_onnx(net, frontend, ExportConfig())).macc == pytest.approx(3.1e6, rel=0.1)
    assert [block.frames[0].dilation[1] for block in net.backbone if hasattr(block, "frames")] == (
        [1] * 2 + [2] * 2 + [4] * 4 + [8] * 4
    )


def test_a_block_adds_the_mean_over_frequency_to_every_band():
    net = made(BCResNet)
    block = net.backbone[4]
    image = torch.randn(2, 8, 12, 20)
    with torch.no_grad():
        bands = block.bands(image)
        row = block.frames(bands.mean(dim=2, keepdim=True))
        expected = torch.relu(image + bands + row.expand(-1, -1, 12, -1))
        torch.testing.assert_close(block(image), expected)


def test_the_ds_cnn_costs_what_its_formula_says():
    net, model = DSCNN(10), to_onnx(DSCNN(10), PRESETS["yamnet_64x96"], ExportConfig())
    first, rest = 32 * 48 * 64 * 25, 16 * 24 * (9 * 64 + 64 * 64)
    assert planned_footprint(model).macc == first + 4 * rest + 640
    assert parameters(net) == 64 * 25 + 4 * (64 * 9 + 64 * 64) + 9 * 128 + 650


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DSCNN(5, channels=0), "net.channels"),
        (lambda: DSCNN(5, n_blocks=0), "net.n_blocks"),
        (lambda: BCResNet(5, width=7), "net.width"),
        (lambda: BCResNet(5, activation="gelu"), "net.activation"),
    ],
)
def test_there_are_no_other_nets(make, message):
    with pytest.raises(AedError, match=message):
        make()


# --- checked before training --------------------------------------------------------------------------------------


class Own(nn.Module):
    """A user's net of parts that a test chooses."""

    def __init__(self, num_classes: int, kind: str = "plain") -> None:
        super().__init__()
        self.num_classes, self.kind = num_classes, kind
        self.conv, self.head = nn.Conv2d(1, 6, 3, 2), nn.Linear(6, num_classes)
        if kind == "wide":
            self.head = nn.Linear(6, num_classes + 1)
        if kind == "forgetful":
            del self.kind
        if kind == "layer":
            self.kind = nn.Dropout(0.1)
        if kind.startswith("grow"):
            self.kind, self.more = kind + "n", nn.Linear(1, len(kind))
        if kind == "lazy":
            self.head = nn.LazyLinear(num_classes)
        if kind == "unborn":
            raise ValueError("no such kind")

    def forward(self, patches: Tensor) -> Tensor:
        kind = getattr(self, "kind", "")
        x = self.conv(patches)
        if kind == "gated":
            x = x * nn.functional.elu(x)
        if kind == "broken":
            raise KeyError("no such thing")
        if kind == "one_patch":
            return self.head(x.mean(dim=(0, 2, 3)))[None]
        if kind == "unexportable":
            x = torch.fft.fft2(x).real
        if kind == "pair" or (kind == "pair_in_training" and self.training):
            return x, x  # type: ignore[return-value]
        return self.head(x.mean(dim=(2, 3)))


def build(folder: Path, kind: str, *overrides: str, stages: str = "fit,test,export,quantize,evaluate") -> None:
    user = ["model/net=user", "model.net._target_=test_own_nets.Own", f"model.net.kind={kind}", f"stages=[{stages}]"]
    small = ["experiment=demo", *tiny.DATA, "logger=csv", "frontend.n_mels=16", "frontend.patch_frames=32"]
    pipeline.build(tiny.composed(*small, *user, "trainer.accelerator=cpu", *overrides, folder=folder), folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "broken",
            r"Own does not take patches of shape \(2, 1, 16, 32\) in training: "
            r"KeyError: 'no such thing' .*own_nets.py, line",
        ),
        ("wide", r"Own gives \(2, 4\) for two patches in training; 3 classes need logits \(2, 3\)"),
        ("one_patch", r"Own gives \(1, 3\) for two patches"),
        ("pair", "Own gives tuple for two patches"),
        ("pair_in_training", "Own gives tuple for two patches in training"),
        ("layer", "Own: self.kind is a Dropout.*keep the argument under its name"),
        ("grow", "Own: rebuilding it with .*'grown'.* gives different parameters"),
        ("lazy", "Own: has lazy layers; give them their sizes"),
        ("unborn", r"model.net: ValueError: no such kind \(.*own_nets.py, line"),
        ("forgetful", r"keep the constructor arguments \['kind'\] as attributes"),
        ("unexportable", "Own cannot be exported: .*fft"),
    ],
)
def test_a_net_that_cannot_work_is_refused_before_training(tmp_path, kind, message):
    with pytest.raises(AedError) as caught:
        build(tmp_path, kind)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_a_net_for_c_is_built_without_a_word(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="aed.run.check_net"):
        build(tmp_path, "plain", stages="fit,test,export,quantize,evaluate,benchmark,deploy")
    assert not caplog.records


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"stages": "fit,export,quantize,benchmark", "benchmark.target": "stedgeai"},
        {"stages": "fit,export,quantize,deploy", "deploy.target": "stm32"},
    ],
)
def test_what_c_cannot_do_is_a_warning(tmp_path, caplog, overrides):
    changes = [f"{key}={value}" for key, value in overrides.items() if key != "stages"]
    stages = {"stages": overrides["stages"]} if "stages" in overrides else {}
    with caplog.at_level(logging.WARNING, logger="aed.run.check_net"):
        build(tmp_path, "gated", *changes, **stages)
    (record,) = [record for record in caplog.records if record.name == "aed.run.check_net"]
    assert "cannot do Own" in record.getMessage()
    assert "(Elu)" in record.getMessage() and "[1, 6, 7, 15]" in record.getMessage()


@pytest.mark.parametrize(
    ("stages", "override", "named"),
    [
        ("fit,export,quantize,benchmark", "benchmark.target=emulator", "stages: benchmark would"),
        ("fit,export,quantize,benchmark", "benchmark.target='stedgeai,emulator'", "stages: benchmark would"),
        ("fit,export,quantize,deploy", "deploy.target=c", "stages: deploy would"),
        ("fit,export,quantize,benchmark,deploy", "deploy.target=c", "stages: benchmark and deploy would"),
    ],
)
def test_what_c_cannot_do_is_an_error_where_a_stage_needs_it(tmp_path, stages, override, named):
    with pytest.raises(AedError, match=r"\(Elu\): the C code has no Elu") as caught:
        build(tmp_path, "gated", override, stages=stages)
    assert named in str(caught.value)


def test_a_net_that_is_never_exported_may_be_unexportable(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="aed.run.check_net"):
        build(tmp_path, "unexportable", stages="fit,test")
    assert "no stage exports it" in caplog.text
    with pytest.raises(AedError, match="cannot be exported"):
        build(tmp_path, "unexportable", "budget.macc=1e9", stages="fit,test")


def test_nothing_is_checked_where_nothing_is_trained(tmp_path):
    build(tmp_path, "gated", stages="test,export,quantize,benchmark")
    with pytest.raises(AedError, match=r"budget\.macc"):
        build(tmp_path, "gated", "budget.macc=10", stages="test")


def test_a_check_changes_no_number_of_a_run(tmp_path):
    """The net is as it was made, and random numbers go on from the seed."""
    configured = tiny.composed("experiment=demo", *tiny.DATA, "logger=csv", "trainer.accelerator=cpu")
    states = []
    for stages in (["test"], ["fit"]):
        configured.stages = stages
        run = pipeline.build(configured, tmp_path)
        states.append((run.model.net.state_dict(), torch.rand(1), np.random.rand(), run.model.training))  # noqa: NPY002
    for key, value in states[0][0].items():
        torch.testing.assert_close(value, states[1][0][key], rtol=0, atol=0)
    assert states[0][1:] == states[1][1:]


# --- a user's class by name ---------------------------------------------------------------------------------------


class Needy(nn.Module):
    def __init__(self, num_classes: int, width: int) -> None: ...


class Classless(nn.Module):
    def __init__(self, width: int = 3) -> None: ...


class AnyKey(nn.Module):
    def __init__(self, num_classes: int, **others: int) -> None: ...


def plain_function(num_classes: int) -> nn.Module: ...


@pytest.mark.parametrize(
    ("target", "changes", "message"),
    [
        ("no_such_pkg.Net", [], "no_such_pkg.Net cannot be imported: No module named 'no_such_pkg'.*PYTHONPATH"),
        ("test_own_nets.Nett", [], "test_own_nets.Nett cannot be imported: .*Nett"),
        ("Net", [], "Net cannot be imported"),
        ("test_own_nets.plain_function", [], "need a class of nn.Module"),
        ("aed.dsp.FrontendConfig", [], "need a class of nn.Module"),
        ("test_own_nets.Own", ["model.net.width=3"], r"takes \['num_classes', 'kind'\], got \['width'\]"),
        ("test_own_nets.Needy", [], r"needs \['width'\], too: model.net.width="),
        ("test_own_nets.Classless", [], r"needs a parameter num_classes, it takes \['width'\]"),
    ],
)
def test_a_wrong_class_is_our_error(target, changes, message):
    node = tiny.composed("experiment=demo", "model/net=user", f"model.net._target_={target}", *changes).model.net
    with pytest.raises(AedError) as caught:
        registry.check_net_class(node)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_a_right_class_passes():
    for target, changes in (
        ("test_own_nets.Own", ["model.net.kind=gated"]),
        ("test_own_nets.Needy", ["model.net.width=2"]),
        ("test_own_nets.AnyKey", ["model.net.whatever=2"]),
    ):
        user = ["model/net=user", f"model.net._target_={target}"]
        registry.check_net_class(tiny.composed("experiment=demo", *user, *changes).model.net)
    for name in registry.experiments():
        registry.check_net_class(tiny.composed(f"experiment={name}").model.net)


def test_a_module_that_fails_is_our_error(tmp_path, monkeypatch):
    (tmp_path / "crooked_pkg.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    node = tiny.composed("experiment=demo", "model/net=user", "model.net._target_=crooked_pkg.Net").model.net
    with pytest.raises(AedError, match=r"crooked_pkg.Net cannot be imported: SyntaxError"):
        registry.check_net_class(node)


def test_anothers_keys_point_to_the_open_group():
    node = tiny.composed("experiment=demo", "model.net._target_=test_own_nets.Own").model.net
    with pytest.raises(AedError, match="model/net=user"):
        registry.check_net_class(node)
    none = tiny.composed("experiment=demo", "model/net=user").model.net
    with pytest.raises(MissingMandatoryValue, match=r"model\.net\._target_"):
        registry.check_net_class(none)
    assert OmegaConf.is_missing(none, "num_classes")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_documented_net_is_trained_from_the_command_line(tmp_path, forking):
    (tmp_path / "my_pkg.py").write_text(blocks("python")[0])
    command = blocks("bash")[0].splitlines()[0].replace("experiment=esc10_dscnn", "experiment=demo").split()
    assert command[:2] == ["aed", "train"]
    small = [
        *tiny.DATA, "logger=csv", "trainer.max_epochs=1", "trainer.accelerator=cpu", "threads=1",
        "frontend.n_mels=32", "frontend.patch_frames=48", "quantization.n_calibration=12",
        f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip
    line = [*forking, *command, *small]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot do" not in done.stdout
    made = onnx.load(tmp_path / "run" / "model_int8.onnx")
    assert lower(made).layers
    conv = onnx.load(tmp_path / "run" / "model.onnx").graph.initializer[0]
    assert 24 in {item.dims[0] for item in [conv, *onnx.load(tmp_path / "run" / "model.onnx").graph.initializer]}


def test_a_documented_wrapper_takes_models_of_timm():
    pytest.importorskip("timm", exc_type=ImportError)
    space: dict[str, type[nn.Module]] = {}
    exec(blocks("python")[1], space)
    frontend, patches = PRESETS["yamnet_64x96"], torch.randn(2, 1, 64, 96)
    for name, in_c in (("mobilenetv2_050", True), ("mobilenetv3_small_050", False)):
        torch.manual_seed(0)
        net = space["Timm"](5, name=name).eval()
        assert net_facts(net)["arguments"] == {"num_classes": 5, "name": name, "pretrained": False}
        model = to_onnx(net, frontend, ExportConfig())
        with torch.no_grad():
            np.testing.assert_allclose(outputs(model, patches), net(patches).numpy(), atol=1e-4)
        if in_c:
            assert sketch(model).layers
        else:
            with pytest.raises(AedError, match="the C code"):
                sketch(model)
