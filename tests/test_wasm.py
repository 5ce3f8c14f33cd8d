"""The C of a device as WebAssembly: the bits of ONNX Runtime and of the C compiled for this machine."""

import ctypes
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import soundfile as sf
import test_operators
import torch
from test_c_nearness import with_limits
from test_nearness import int8_model
from test_target_net import expected, inputs, int8
from wasm import Wasm

from aed.base.errors import AedError
from aed.datamodules import ESC10
from aed.dsp import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import load_clip
from aed.export.card import ModelCard
from aed.export.graph import load_model, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.inference.classifier import to_event_posteriors, to_nearness
from aed.inference.detection import Detector, least_power
from aed.inference.opening import open_classifier
from aed.modules.nets import YAMNet
from aed.run.deploy import DeployConfig, deliver
from aed.run.rule_changes import RuleChanges
from aed.scoring.learning import Learner, learned
from aed.scoring.rule import EventRule
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.generate import kernel_sources, net_sources, run_name
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import make_plan
from aed.target.codegen.program import Program
from aed.target.host import HostDevice, build_library, pointer
from aed.target.web import compiler
from aed.target.web.compiler import VECTORS, build_wasm
from aed.target.web.package import LEARN, MARK, write_page
from aed.target.web.settings import WebSettings

pytestmark = pytest.mark.usefixtures("compiles")

FRONTEND = FrontendConfig()
NAMES = ("dog", "rain", 'quo"te <b>', "Türe", "%s")

GLUE = """
#include "aed_net.h"
static aed_net net;
static int8_t patch[AED_NET_INPUT_SIZE], out[AED_NET_OUTPUT_SIZE];
__attribute__((export_name("patch"))) int8_t *where_in(void) {{ return patch; }}
__attribute__((export_name("out"))) int8_t *where_out(void) {{ return out; }}
__attribute__((export_name("run_net"))) void run_net(void) {{ {run}(&net, patch, out); }}
"""


def run_on_wasm(folder: Path, program: Program, steps: np.ndarray, *options: str) -> np.ndarray:
    """Outputs of the net alone, layer by layer."""
    plan = make_plan(program)
    sources = kernel_sources() | net_sources(program, plan) | {"glue.c": GLUE.format(run=run_name(plan))}
    return Wasm(build_wasm(folder, sources, options)).net(steps, program.tensors[program.output].size)


def check(folder: Path, model: onnx.ModelProto) -> None:
    program = lower(model)
    steps = inputs(program, 20)
    theirs = expected(model, program, steps).reshape(len(steps), -1)
    np.testing.assert_array_equal(run_on_wasm(folder, program, steps, VECTORS), theirs)


@pytest.mark.parametrize("name", [*nets.NAMES, "mixed"])
def test_vectors_give_the_bits_of_onnx_runtime(tmp_path: Path, name: str) -> None:
    check(tmp_path, int8(nets.make(name)))


@pytest.mark.parametrize("name", ["inverted", "bcresnet"])
def test_residual_nets_give_the_bits_of_onnx_runtime(tmp_path: Path, name: str) -> None:
    """Sums, products, and depthwise kernels of other sizes."""
    check(tmp_path, test_operators.whole(name))


ADD = """
#include "aed_kernels.h"
static int8_t one[64], other[64], out[64];
static float factor[2];
static int32_t fact[4];
__attribute__((export_name("one"))) int8_t *where_one(void) { return one; }
__attribute__((export_name("other"))) int8_t *where_other(void) { return other; }
__attribute__((export_name("out"))) int8_t *where_out(void) { return out; }
__attribute__((export_name("factor"))) float *where_factor(void) { return factor; }
__attribute__((export_name("fact"))) int32_t *where_fact(void) { return fact; }
__attribute__((export_name("run"))) void run(void) {
    aed_add(one, other, out, 64, fact[0], factor[0], factor[1], fact[1], fact[2], fact[3]);
}
"""


def test_sums_are_those_of_this_machine_for_any_factors(tmp_path: Path) -> None:
    """Also for such whose products have no exact sum in double."""
    wasm = Wasm(build_wasm(tmp_path / "wasm", kernel_sources() | {"add.c": ADD}))
    host = build_library(tmp_path / "host", kernel_sources())
    draw, out = np.random.default_rng(0), np.zeros(64, np.int8)
    for _ in range(1500):
        one, other = draw.integers(-128, 128, (2, 64)).astype(np.int8)
        factors = np.float32(
            2.0 ** draw.choice([-30.0, -19.0, -10.0, -2.0, 0.0, 1.0, 5.0], 2) * draw.uniform(0.5, 1, 2)
        )
        facts = np.array([draw.choice([1, 2, 16, 64]), *draw.integers(-128, 128, 3)], np.int32)
        for name, values in (("one", one), ("other", other), ("factor", factors), ("fact", facts)):
            wasm.put(name, values)
        wasm.call("run")
        period, *zeros = map(int, facts)
        host.aed_add(pointer(one), pointer(other), pointer(out), 64, period, *map(ctypes.c_float, factors), *zeros)
        np.testing.assert_array_equal(wasm.get("out", 64, np.int8), out)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_operators_give_the_bits_of_onnx_runtime(tmp_path: Path, seed: int) -> None:
    _, _, made = test_operators.made(test_operators.drawn(seed))
    check(tmp_path, made)


@pytest.mark.parametrize("channels", [4, 12, 20])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_that_fill_no_vector(tmp_path: Path, channels: int, stride: int) -> None:
    torch.manual_seed(channels)
    layers = [
        torch.nn.Conv2d(1, channels, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.Conv2d(channels, channels, 3, stride, 1, groups=channels), torch.nn.ReLU(),
        torch.nn.Conv2d(channels, channels + 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(channels + 3, 3),
    ]  # fmt: skip
    check(tmp_path, int8(torch.nn.Sequential(*layers)))


def test_scalars_give_the_same_bits(tmp_path: Path) -> None:
    program = lower(int8(nets.make("yamnet")))
    steps = inputs(program, 8)
    scalar, vectors = tmp_path / "scalar", tmp_path / "vectors"
    np.testing.assert_array_equal(run_on_wasm(scalar, program, steps), run_on_wasm(vectors, program, steps, VECTORS))


FMA = """
#include <math.h>
static float place[3];
__attribute__((export_name("place"))) float *where(void) { return place; }
__attribute__((export_name("run"))) float run(void) { return fmaf(place[0], place[1], place[2]); }
"""


def test_a_fused_multiply_add_is_rounded_once(tmp_path: Path) -> None:
    """Against exact fractions, at sums that lie next to the middle of two floats."""
    from fractions import Fraction

    wasm = Wasm(build_wasm(tmp_path, {"fma.c": FMA}))
    draw = np.random.default_rng(0)
    for _ in range(3000):
        a = np.float32(draw.integers(-128, 128))
        b = np.float32(draw.standard_normal() * 2.0 ** draw.integers(-30, 4))
        c = np.float32(draw.standard_normal() * 2.0 ** draw.integers(-30, 8))
        if draw.integers(3) == 0:  # almost the middle
            c = np.float32(np.spacing(np.float32(a * b)) / 2) * np.float32(draw.choice([1, -1, 1 + 2**-23]))
        wasm.put("place", np.array([a, b, c], np.float32))
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        got = wasm.call("run")
        near = [Fraction(float(np.nextafter(np.float32(got), np.float32(way)))) for way in (-np.inf, np.inf)]
        error = abs(Fraction(float(got)) - exact)
        assert all(error <= abs(other - exact) for other in near)
        if error == abs(near[0] - exact) or error == abs(near[1] - exact):
            assert np.float32(got).view(np.int32) % 2 == 0


def drawn_patches(number: int) -> np.ndarray:
    """Patches of noise, ``(number, n_mels, frames)``: each of its own level, slope over the bands and spread."""
    draw = np.random.default_rng(1)
    level, slope, spread = draw.uniform((-9, -2, 0), (2, 2, 2), (number, 3)).T[..., None, None]
    bands = np.linspace(-1, 1, FRONTEND.n_mels)[:, None]
    return level + slope * bands + spread * draw.standard_normal((number, FRONTEND.n_mels, FRONTEND.patch_frames))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole YAMNet-256 of random weights, int8, that tells levels apart."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "net_int8.onnx"
    noise = torch.from_numpy(drawn_patches(32)).float()[:, None]
    net = YAMNet(len(NAMES)).train()
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        net(noise)  # statistics of BatchNorm
        net.eval()
        logits = net(noise)
        net.head[-1].bias -= logits.mean(dim=0)
        net.head[-1].weight *= 3 / logits.std()
    graph = to_onnx(net, FRONTEND, ExportConfig())
    made = quantize(graph, noise[:16].numpy(), QuantizeConfig())
    facts = quantization_facts(made, QuantizeConfig(), ())
    rule = EventRule(on=(0.3,), off=(0.2,), window=2, gap_s=0.8)
    save_model(path, made, ModelCard(frontend=FRONTEND, class_names=NAMES, rule=rule, quantization=facts))
    return path


@pytest.fixture(scope="module")
def page(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "demo"
    deliver(model, folder, DeployConfig(target="web"))
    return folder


def test_the_self_test_of_the_page_finds_no_difference(page: Path) -> None:
    assert Wasm(page / "aed.wasm").call("selftest") == 0


def steps_of(patches: np.ndarray, program: Program) -> np.ndarray:
    """Int8 inputs ``(N, size)`` of the program, of patches ``(N, n_mels, frames)``."""
    x = program.tensors[program.input]
    steps = np.clip(np.rint(patches / x.scale) + x.zero, -128, 127).astype(np.int8)
    return (steps.transpose(0, 2, 1) if program.turned else steps).reshape(len(steps), -1)


def fold_patches(fold: int) -> np.ndarray:
    """All patches of a fold of ESC-10."""
    table, logmel = ESC10().table(), LogMel(FRONTEND)
    parts = []
    for path in table.loc[table["fold"] == fold, "path"]:
        frames = logmel.array(load_clip(path, FRONTEND))
        parts.append(cut(frames, grid_starts(frames.shape[1], FRONTEND), FRONTEND.patch_frames))
    return np.concatenate(parts)


def check_page(page: Path, model: Path, patches: np.ndarray) -> None:
    graph = load_model(model)
    program = choose_plan(partial(lower, graph), patch_hop=FRONTEND.patch_hop).program
    steps = steps_of(patches, program)
    ours = Wasm(page / "aed.wasm").net(steps, len(NAMES))
    np.testing.assert_array_equal(ours, expected(graph, program, steps).reshape(len(steps), -1))
    assert len(np.unique(ours, axis=0)) > len(ours) // 2  # they do differ


def test_drawn_patches_give_the_bits_of_onnx_runtime(page: Path, model: Path) -> None:
    check_page(page, model, drawn_patches(60))


def test_all_patches_of_a_fold_give_the_bits_of_onnx_runtime(esc10: Path, page: Path, model: Path) -> None:
    patches = fold_patches(5)
    assert len(patches) > 200
    check_page(page, model, patches)


def sound(path: Path) -> np.ndarray:
    """A recording with loud and faint parts, 16 bit."""
    draw = np.random.default_rng(3)
    wave = draw.standard_normal(int(20.3 * FRONTEND.sample_rate))
    level = np.repeat(draw.uniform(-90, -10, 41), FRONTEND.sample_rate // 2)[: len(wave)]
    samples = np.clip(np.rint(32768 * wave * 10 ** (level / 20)), -32768, 32767).astype(np.int16)
    sf.write(path, samples, FRONTEND.sample_rate)
    return samples


@pytest.mark.parametrize("gate_dbfs", [None, -40.0])
def test_a_stream_is_that_of_the_c_and_its_events_are_those_of_detect(
    tmp_path: Path, model: Path, gate_dbfs: float | None
) -> None:
    samples = sound(tmp_path / "sound.wav")
    changes = RuleChanges(gate_dbfs=gate_dbfs)
    deliver(model, tmp_path / "page", DeployConfig(target="web", rule=changes))
    classifier = open_classifier(model)
    detector = Detector(classifier, changes.apply(classifier.card.rule))
    sizes = (FRONTEND.n_mels, len(NAMES), len(NAMES))
    heard = Wasm(tmp_path / "page" / "aed.wasm").hear(samples, sizes)

    host = HostDevice(tmp_path / "host", load_model(model), FRONTEND, gate=least_power(detector.rule, FRONTEND))
    outputs, ran = host.decisions(samples)
    np.testing.assert_array_equal(heard["ran"], ran)
    assert (gate_dbfs is None) == ran.all() and ran.any()
    program = host.program
    np.testing.assert_array_equal(program.real(heard["out"]), outputs)
    posteriors = np.where(ran[:, None], to_event_posteriors(classifier.card, outputs), np.float32(0))
    np.testing.assert_array_equal(heard["probability"], posteriors)
    assert len(heard["columns"]) == FRONTEND.num_frames(len(samples))
    x = program.tensors[program.input]
    exact = np.clip(np.rint(LogMel(FRONTEND).array(samples / np.float32(32768)) / x.scale) + x.zero, -128, 127)
    assert np.abs(heard["columns"].T - exact).max() <= 1

    ended = [event for event in heard["events"].tolist() if event[5] == 2]
    assert ended
    starts = np.arange(len(posteriors)) * detector.hop_s
    by_rule = detector.events_of(posteriors, starts)
    assert [(NAMES[event[4]], event[3]) for event in ended] == [(event.label, event.posterior) for event in by_rule]
    np.testing.assert_allclose([event[:2] for event in ended], [(own.onset_s, own.offset_s) for own in by_rule])

    theirs = list(detector.events(str(tmp_path / "sound.wav"), lambda _: None))
    assert [NAMES[event[4]] for event in ended] == [event.label for event in theirs]
    np.testing.assert_allclose([event[:2] for event in ended], [(own.onset_s, own.offset_s) for own in theirs])
    np.testing.assert_allclose([event[3] for event in ended], [own.posterior for own in theirs], atol=0.02)


def test_the_page_rounds_samples_as_the_front_end_does(page: Path) -> None:
    wasm = Wasm(page / "aed.wasm")
    wave = np.array([0, 1, -1, 2, -2, 0.5, 1.5 / 32768, 2.5 / 32768, -0.5 / 32768, 0.999999, 1e-6], np.float32)
    wasm.put("wave", wave)
    wasm.call("take", len(wave))
    expected_samples = np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)
    np.testing.assert_array_equal(wasm.get("samples", len(wave), np.int16), expected_samples)


def test_the_old_page_stays_until_the_new_one_is_whole(
    page: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(page, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["aed.css", "aed.js", "aed.wasm", MARK, "index.html", "worklet.js"]
    assert sum(map(len, before.values())) - load_size(model) < 2**20

    def fails(*_: object) -> Path:
        raise AedError("no")

    monkeypatch.setattr("aed.target.web.package.build_wasm", fails)
    with pytest.raises(AedError, match="no"):
        deliver(model, folder, DeployConfig(target="web"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(AedError, match="holds something else"):
        deliver(model, other, DeployConfig(target="web"))


def load_size(model: Path) -> int:
    return lower(load_model(model)).weight_bytes


def test_two_deliveries_give_the_same_bytes(page: Path, model: Path, tmp_path: Path) -> None:
    deliver(model, tmp_path / "again", DeployConfig(target="web"))
    for path in page.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_without_a_compiler_it_is_said_what_to_type(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "is_installed", lambda _: False)
    monkeypatch.setattr(compiler, "is_available", lambda tool: tool == "clang")
    with pytest.raises(AedError, match=r"target=web needs a compiler .* pip install 'aed\[web\]'; or apt-get install"):
        deliver(model, tmp_path / "page", DeployConfig(target="web"))
    assert not (tmp_path / "page").exists()


@pytest.mark.skipif(not (shutil.which("clang") and shutil.which("wasm-ld")), reason="apt-get install clang lld")
def test_clang_gives_the_same_bits(model: Path, tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "is_installed", lambda _: False)
    deliver(model, tmp_path / "page", DeployConfig(target="web"))
    samples, sizes = sound(tmp_path / "sound.wav"), (FRONTEND.n_mels, len(NAMES), len(NAMES))
    ours, theirs = (Wasm(folder / "aed.wasm").hear(samples, sizes) for folder in (tmp_path / "page", page))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_a_front_end_without_a_stream_is_refused(model: Path, tmp_path: Path) -> None:
    card = ModelCard(frontend=replace(FRONTEND, center=True), class_names=NAMES)
    with pytest.raises(AedError, match="target=web: no stream with this front end: "):
        write_page(load_model(model), card, tmp_path / "page", "net", WebSettings())


def test_sounds_are_learned_only_with_means(model: Path, tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"web\.learn=2: the model has no means of its classes"):
        deliver(model, tmp_path / "page", DeployConfig(target="web", web=WebSettings(learn=2)))


def test_sounds_are_learned_as_python_learns_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph, card = with_limits(*int8_model(nets.PreActivation(4).eval()))
    write_page(graph, card, tmp_path / "page", "net", WebSettings())
    program = choose_plan(partial(lower, graph), patch_hop=card.frontend.patch_hop).program
    steps = np.random.default_rng(0).integers(-60, 90, (24, program.tensors[program.input].size)).astype(np.int8)
    wasm, size = Wasm(tmp_path / "page" / "aed.wasm"), program.tensors[program.output].size
    own = np.concatenate([wasm.net(row[None], size) for row in steps])
    outputs = program.real(own)
    learner, embeddings = Learner(LEARN, size - 4), outputs[:, 4:]
    for sound, rows in ((0, [0]), (2, [1, 2, 3, 4, 5])):
        wasm.call("learn_begin")
        for row in rows:
            wasm.net(steps[row][None], size)
            assert wasm.call("learn_add") == 0
        assert wasm.call("learn_end", sound) == 0
        learner.learn(sound, embeddings[rows])
    cosines, nearness = learner.cosines(embeddings), to_nearness(card, outputs)
    heard = []
    for row, expected_row in zip(steps, cosines, strict=True):
        wasm.net(row[None], size)
        heard.append(wasm.call("learned"))
        np.testing.assert_array_equal(wasm.get("cosine", LEARN, np.float32), expected_row)
    assert heard == learned(card.decision.nearness, nearness, cosines).tolist() and len(set(heard)) > 1
