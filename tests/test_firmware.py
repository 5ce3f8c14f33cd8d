"""The library for firmware: compiled, run and proved outside the repository."""

import ctypes
import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_c_events import said

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.dsp.aggregate import clip_posteriors
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card, save_model, strip_ends
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.inference.classifier import to_posteriors
from aed.inference.detection import Detector
from aed.inference.opening import open_classifier
from aed.run.deploy import DeployConfig, deliver
from aed.run.rule_changes import RuleChanges
from aed.scoring.decision import Decision
from aed.scoring.rule import EventRule, RuleState
from aed.scoring.steps import step_posteriors
from aed.target.boards import Board, Machine
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.classes import class_sources
from aed.target.codegen.frontend import (
    column_state_bytes,
    frontend_kernel,
    frontend_sources,
    state_bytes,
    table_bytes,
)
from aed.target.codegen.generate import KERNELS
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import make_plan
from aed.target.codegen.program import Tensor
from aed.target.codegen.text import c_string
from aed.target.emulator import toolchain
from aed.target.firmware import library as firmware
from aed.target.firmware import readme
from aed.target.firmware.settings import CSettings
from aed.target.host import HostDevice, build_library, pointer

STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]
CORES = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-sp-d16", "cortex-m33": "fpv5-sp-d16", "cortex-m55": "auto"}
NAMES = ("dog", 'quo"te\\', "Türe ??/", "%s\n")
ARM = shutil.which("arm-none-eabi-gcc")
needs_arm = pytest.mark.skipif(not ARM, reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net_int8.onnx"
    graph = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    made = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    facts = quantization_facts(made, QuantizeConfig(), ())
    card = ModelCard(frontend=nets.FRONTEND, class_names=NAMES, rule=EventRule(on=(0.3,), window=2), quantization=facts)
    save_model(path, made, card)
    return path


@pytest.fixture(scope="module")
def library(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("firmware") / "with space"
    deliver(model, folder, DeployConfig())
    return folder


def run(*command: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, **options)


@pytest.mark.parametrize("io", ["int8", "int8_in"])
def test_the_library_is_the_same_whatever_the_ends_of_the_graph(model, library, tmp_path, io):
    graph = load_model(model)
    card = read_model_card(graph, model)
    quantization = replace(card.quantization, io=io)
    save_model(tmp_path / model.name, strip_ends(graph, io == "int8"), replace(card, quantization=quantization))
    deliver(tmp_path / model.name, tmp_path / "c", DeployConfig())
    for path in library.rglob("*.[ch]"):
        assert path.read_bytes() == (tmp_path / "c" / path.relative_to(library)).read_bytes(), path


def test_every_file_compiles_without_a_warning_on_this_machine(library, tmp_path):
    for source in [*library.glob("src/*.c"), library / "examples/main.c"]:
        run("gcc", *STRICT, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")


@needs_arm
@pytest.mark.parametrize("core", CORES)
def test_every_file_compiles_without_a_warning_for_every_core(library, tmp_path, core):
    flags = [*STRICT, "-mthumb", "-mfloat-abi=hard", f"-mcpu={core}", f"-mfpu={CORES[core]}"]
    for source in [*library.glob("src/*.c"), library / "examples/main.c"]:
        run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")


ASSEMBLY = ("aed_conv.c", "aed_depthwise.c", "aed_elementwise.c", "aed_mean.c")

PROJECTS = {
    "unoptimised": ["-O0"],
    "frame pointer": ["-O2", "-fno-omit-frame-pointer", "-DAED_PORTABLE"],
    "reserved register": ["-Os", "-ffixed-r9", "-DAED_PORTABLE"],
}


@needs_arm
@pytest.mark.parametrize("options", PROJECTS.values(), ids=PROJECTS)
@pytest.mark.parametrize("core", ["cortex-m33", "cortex-m55"])
def test_kernels_compile_in_projects_that_leave_fewer_registers(library, tmp_path, core, options):
    flags = [*STRICT, *options, "-mthumb", "-mfloat-abi=hard", f"-mcpu={core}", f"-mfpu={CORES[core]}"]
    for name in ASSEMBLY:
        source = library / "src" / name
        run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")


@needs_arm
@pytest.mark.parametrize("options", [["-O2", "-ffixed-r9"], ["-Os", "-ffixed-r4"], ["-O2", "-fno-omit-frame-pointer"]])
@pytest.mark.parametrize("name", ["aed_conv.c", "aed_depthwise.c"])
def test_assembly_without_all_registers_does_not_compile(library, tmp_path, name, options):
    """A compiler would leave a reserved register in pieces, without a word."""
    flags = [*options, "-mthumb", "-mfloat-abi=hard", "-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        source = library / "src" / name
        run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")
    assert re.search("impossible constraints|r7 cannot be used", caught.value.stderr.decode())


@needs_arm
@pytest.mark.parametrize("level", ["-O1", "-Os", "-O3", "-Og"])
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33"])
def test_assembly_compiles_at_every_level(library, tmp_path, core, level):
    flags = [*STRICT, level, "-mthumb", "-mfloat-abi=hard", f"-mcpu={core}", f"-mfpu={CORES[core]}"]
    for name in ASSEMBLY:
        source = library / "src" / name
        run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")


@needs_arm
@pytest.mark.parametrize(
    "core",
    [
        ["-mcpu=cortex-m0plus", "-mfloat-abi=soft"],
        ["-mcpu=cortex-m4", "-mfloat-abi=soft"],
        ["-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16", "-mno-unaligned-access"],
    ],
)
def test_cores_that_lack_what_the_assembly_takes_get_plain_c(library, tmp_path, core):
    flags = [*STRICT, "-mthumb", *core]
    for name in ASSEMBLY:
        source = library / "src" / name
        run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", source, "-o", tmp_path / "out.o")
        text = run("arm-none-eabi-objdump", "-d", tmp_path / "out.o").stdout.decode()
        assert re.search("_row>:|<aed_add>:|<aed_mean>:", text)
        assert "smlad" not in text and "bfi" not in text and "sxtab16" not in text


def test_kernels_compile_for_a_64_bit_arm_too(library, tmp_path):
    """Its compilers define __ARM_FP, but it has not the instructions of the 32-bit ones."""
    flags = [*STRICT, "-D__aarch64__=1", "-D__ARM_FP=14", "-I", library / "include"]
    run("gcc", *flags, "-c", library / "src/aed_conv.c", "-o", tmp_path / "out.o")


@needs_arm
def test_a_net_larger_than_an_emulated_flash_has_a_library_too(model, tmp_path, monkeypatch):
    small = Machine(machine="none", fpu="fpv5-sp-d16", systick_hz=1, flash=(0, 64), ram=(0x20000000, 64))
    board = Board(name="small", core="cortex-m33", ram_kib=1, flash_kib=1, machine=small)
    monkeypatch.setattr(readme, "load_board", lambda _: board)
    deliver(model, tmp_path / "lib", DeployConfig())
    assert "| cortex-m33 | " in (tmp_path / "lib/README.md").read_text()


@needs_arm
def test_a_compiler_that_cannot_link_costs_the_sizes_alone(model, tmp_path, monkeypatch, caplog):
    def no_library(*_: object, **__: object) -> Path:
        raise AedError("arm-none-eabi-gcc failed: string.h: No such file")

    monkeypatch.setattr(toolchain, "build", no_library)
    deliver(model, tmp_path / "lib", DeployConfig())
    assert "Sizes of the code: not known, arm" in (tmp_path / "lib/README.md").read_text()
    assert "string.h" in caplog.text


def test_a_name_from_the_model_cannot_leave_its_comment(model, tmp_path):
    graph = load_model(model)
    for node in graph.graph.node:
        node.name = f"a/*/b/*c*/ int x[-1]; /*\\\né{node.name}" if node.op_type == "Conv" else node.name
    save_model(tmp_path / "m.onnx", graph, read_model_card(graph, model))
    deliver(tmp_path / "m.onnx", tmp_path / "lib", DeployConfig())
    source = tmp_path / "lib/src/aed_net.c"
    run("gcc", *STRICT, "-I", tmp_path / "lib/include", "-c", source, "-o", tmp_path / "out.o")
    assert source.read_bytes().isascii()


def test_headers_serve_cpp_too(library, tmp_path):
    (tmp_path / "all.cpp").write_text("".join(f'#include "{path.name}"\n' for path in library.glob("include/*.h")))
    feeds = "AED_NET_FEEDS 1" in (library / "include/aed_net.h").read_text()
    run_net = f"aed_net_run{'_frames' * feeds}"
    calls = (
        f"static int8_t in[AED_NET_INPUT_SIZE], out[AED_NET_OUTPUT_SIZE]; static aed_net net; {run_net}(&net, in, out);"
    )
    text = f"int main() {{ {calls} return aed_selftest(&net) + aed_class_names[0][0] - 'd'; }}\n"
    (tmp_path / "all.cpp").open("a").write(text)
    for source in library.glob("src/*.c"):
        run("gcc", *STRICT, "-I", library / "include", "-c", source, "-o", tmp_path / f"{source.stem}.o")
    run("g++", "-I", library / "include", tmp_path / "all.cpp", *tmp_path.glob("*.o"), "-o", tmp_path / "all")
    run(tmp_path / "all")


@needs_arm
@pytest.mark.parametrize("core", list(CORES))
def test_headers_serve_cpp_on_a_device(library, tmp_path, core):
    (tmp_path / "all.cpp").write_text("".join(f'#include "{path.name}"\n' for path in library.glob("include/*.h")))
    flags = ["-mthumb", "-mfloat-abi=hard", f"-mcpu={core}", f"-mfpu={CORES[core]}", "-Wall", "-Wextra", "-Werror"]
    target = tmp_path / "all.o"
    run("arm-none-eabi-g++", *flags, "-I", library / "include", "-c", tmp_path / "all.cpp", "-o", target)


RULES = {
    "single": Decision(),
    "max": Decision(aggregate="max"),
    "unknown": Decision(0.7, (), 0.9),
    "half": Decision(2.0),
    "several": Decision(1.3, (0.2, 0.5, 0.45, 0.7), None, "max"),
}
TASKS = {"half": "multi_label", "several": "multi_label"}


def ruled(name: str, **changes: object) -> ModelCard:
    """The card of a model that decides by one of the rules."""
    task = TASKS.get(name, "single_label")
    return ModelCard(frontend=nets.FRONTEND, class_names=NAMES, task=task, decision=RULES[name], **changes)


OUTPUT = Tensor("out", (1, 1, len(NAMES)), np.float32(0.0625), -3)

STUB = "#define AED_NET_OUTPUT_SCALE 0.0625F\n#define AED_NET_OUTPUT_ZERO (-3)\n"
"""Of a net with that output, which is from -7.8 to 8.1, all that the decisions need."""

CLIP = """
#include "aed_classes.h"
void whole(const float *patches, int count, float *probability);
void whole(const float *patches, int count, float *probability) {
    aed_clip clip;
    aed_clip_reset(&clip);
    for (int i = 0; i < count; ++i) {
        aed_clip_add(&clip, &patches[i * AED_CLASSES]);
    }
    aed_clip_probabilities(&clip, probability);
}
"""


@pytest.fixture(scope="module", params=RULES)
def decisions(request, tmp_path_factory) -> tuple[ctypes.CDLL, ModelCard]:
    """The C of a rule's decisions, and its card."""
    card = ruled(request.param)
    sources = {**class_sources(card, OUTPUT), "aed_net.h": STUB, "clip.c": CLIP}
    return build_library(tmp_path_factory.mktemp(request.param), sources), card


def in_c(library: ctypes.CDLL, posteriors: np.ndarray) -> tuple[int, list[bool]]:
    heard = np.ones(len(NAMES), np.bool_)
    best = library.aed_decide(pointer(posteriors), pointer(heard))
    return best, heard.tolist()


# few values, so that equal ones and those on a threshold are common
VALUES = [0.0, 0.2, 0.45, 0.5, 0.7, float(np.nextafter(np.float32(0.7), np.float32(0))), 0.9, 1.0]
ROWS = st.lists(st.sampled_from(VALUES) | st.floats(0, 1, width=32), min_size=len(NAMES), max_size=len(NAMES))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(row=ROWS)
def test_c_decides_as_python_does(decisions, row):
    library, card = decisions
    posteriors = np.array(row, np.float32)
    best, heard = in_c(library, posteriors)
    decided = card.decision.decide(torch.from_numpy(posteriors)[None], card.task)[0]
    if card.task == "single_label":
        assert best == decided.item() and heard == [index == best for index in range(len(NAMES))]
    else:
        assert heard == decided.tolist()
        assert best == (max(np.flatnonzero(heard), key=lambda index: posteriors[index]) if any(heard) else -1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(patches=st.lists(ROWS, min_size=1, max_size=40))
def test_c_gathers_a_recordings_patches_as_python_does(decisions, patches):
    library, card = decisions
    rows = np.array(patches, np.float32)
    got = np.empty(len(NAMES), np.float32)
    library.whole(pointer(rows), len(rows), pointer(got))
    clip = torch.zeros(len(rows), dtype=torch.int64)
    wanted = clip_posteriors(torch.from_numpy(rows), clip, 1, card.decision.aggregate)[0]
    assert got.tolist() == wanted.tolist()


def test_a_recording_without_patches_has_no_probabilities(decisions):
    got = np.ones(len(NAMES), np.float32)
    decisions[0].whole(None, 0, pointer(got))
    assert not got.any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(steps=st.lists(st.integers(-128, 127), min_size=len(NAMES), max_size=len(NAMES)))
def test_c_has_the_posteriors_of_the_card(decisions, steps):
    library, card = decisions
    out, got = np.array(steps, np.int8), np.empty(len(NAMES), np.float32)
    library.aed_probabilities(pointer(out), pointer(got))
    logits = 0.0625 * (out.astype(np.float64) + 3) / card.decision.temperature
    parts = np.exp(logits)
    np.testing.assert_allclose(got, parts / parts.sum() if card.task == "single_label" else parts / (1 + parts), 1e-6)
    real = (0.0625 * (out.astype(np.float32) + 3))[None]
    assert got.tolist() == step_posteriors(real, card.task, 0.0625, -3, card.decision.temperature)[0].tolist()
    if card.task == "single_label" and card.decision.unknown_threshold is None:
        assert in_c(library, got)[0] == out.argmax()


def test_probabilities_of_the_net_are_left_alone(tmp_path):
    sources = class_sources(ruled("unknown", outputs="probabilities"), OUTPUT)
    library = build_library(tmp_path, {**sources, "aed_net.h": STUB})
    out, got = np.array([-3, 13, 5, -3], np.int8), np.empty(len(NAMES), np.float32)
    library.aed_probabilities(pointer(out), pointer(got))
    assert got.tolist() == [0.0, 1.0, 0.5, 0.0]


def test_a_card_that_does_not_fit_the_net_is_refused():
    with pytest.raises(AedError, match="the net has 5 outputs, its card 4 classes"):
        class_sources(ruled("single"), replace(OUTPUT, shape=(1, 1, 5)))
    card = ModelCard(frontend=nets.FRONTEND, class_names=NAMES, decision=Decision(thresholds=(0.5,) * 4))
    with pytest.raises(AedError, match="only a multi-label model"):
        class_sources(card, OUTPUT)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize(
    "compiler", ["gcc", pytest.param(("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-mfloat-abi=hard"), marks=needs_arm)]
)
def test_decisions_compile_without_a_warning(library, tmp_path, rule, level, compiler):
    for name, text in class_sources(ruled(rule), OUTPUT).items():
        (tmp_path / name).write_text(text)
    flags = [
        *STRICT,
        level,
        "-Wconversion",
        "-Wdouble-promotion",
        "-Wmissing-prototypes",
        "-c",
        "-o",
        tmp_path / "it.o",
    ]
    command = [compiler] if isinstance(compiler, str) else compiler
    for source in (tmp_path / "aed_classes.c", library / "examples/main.c"):
        run(*command, *flags, "-I", tmp_path, "-I", library / "include", source)


@pytest.mark.parametrize("broken", [False, True])
def test_the_self_test_sees_a_changed_weight(library, tmp_path, broken):
    folder = tmp_path / "copy"
    shutil.copytree(library, folder)
    if broken:
        source = folder / "src/aed_net.c"
        # each core's
        source.write_text(re.sub(r"(bias0\[\d+\] = \{)\s*", r"\g<1>90000 + ", source.read_text()))
    (tmp_path / "main.c").write_text(
        '#include "aed_selftest.h"\nstatic aed_net net;\nint main(void) { return aed_selftest(&net) != 0; }\n'
    )
    run(
        "gcc",
        *STRICT,
        "-I",
        folder / "include",
        tmp_path / "main.c",
        *folder.glob("src/*.c"),
        "-o",
        tmp_path / "a",
        "-lm",
    )
    assert subprocess.run([tmp_path / "a"], check=False).returncode == int(broken)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_writes_the_same_bytes(library, model, tmp_path):
    deliver(model, tmp_path / "again", DeployConfig())
    deliver(model, tmp_path / "again", DeployConfig())
    assert contents(tmp_path / "again") == contents(library)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_another_folder_is_not_replaced(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    with pytest.raises(AedError, match="holds something else"):
        deliver(model, tmp_path / "mine", DeployConfig())
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years"}


def test_what_fails_leaves_the_earlier_library(model, tmp_path, monkeypatch):
    deliver(model, tmp_path / "lib", DeployConfig())
    before = contents(tmp_path / "lib")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(firmware, "facts", full)
    with pytest.raises(OSError, match="no space"):
        deliver(model, tmp_path / "lib", DeployConfig())
    assert contents(tmp_path / "lib") == before and [path.name for path in tmp_path.iterdir()] == ["lib"]


def test_of_a_front_end_that_no_stream_has_the_library_is_the_net_alone(model, tmp_path, caplog):
    """Patches made as its README says, in which the example finds the events of ONNX Runtime's posteriors."""
    graph = load_model(model)
    rule = EventRule(on=(0.3,), window=2)
    card = replace(read_model_card(graph, model), frontend=replace(nets.FRONTEND, center=True), rule=rule)
    save_model(tmp_path / "m.onnx", graph, card)
    library = tmp_path / "lib"
    deliver(tmp_path / "m.onnx", library, DeployConfig(c=CSettings(plan="rows")))
    assert "no C of the front end, the library is the net alone: center=true" in caplog.text
    text = (library / "README.md").read_text()
    assert "**No front end**" in text and "aed_frontend" not in text and "$" not in text
    assert "`patches.raw` has patches one after the other, 0.32 s" in text and "samples.raw" not in text
    assert not [path for path in library.rglob("*") if "frontend" in path.name or "gate" in path.name]
    scale, zero = re.search(r"round\(value / (\S+)\) \+ (-?\d+)", text).groups()
    patches = nets.patches(40, seed=2).numpy()
    given = np.clip(np.rint(patches / np.float32(scale)) + int(zero), -128, 127).astype(np.int8)
    assert "frame after frame" in text
    given = np.ascontiguousarray(given.swapaxes(2, 3))
    example = tmp_path / "example"
    run("gcc", *STRICT, "-DAED_PRINT_PROBABILITIES", "-I", library / "include", *library.glob("src/*.c"),
        library / "examples/main.c", "-o", example, "-lm")  # fmt: skip
    lines = run(example, input=given.tobytes()).stdout.decode()
    classifier = open_classifier(tmp_path / "m.onnx")
    assert lines == said(Detector(classifier), to_posteriors(classifier.card, classifier.outputs(patches)))
    assert lines.count("event") > 2
    gated = DeployConfig(rule=RuleChanges(gate_dbfs=-50.0))
    with pytest.raises(AedError, match=r"rule.gate_dbfs: the library is the net alone.*center=true"):
        deliver(tmp_path / "m.onnx", tmp_path / "gated", gated)


def test_the_read_me_gives_sizes_and_the_card_is_whole(library, model):
    text = (library / "README.md").read_text()
    graph = load_model(model)
    plan = choose_plan(partial(lower, graph), patch_hop=nets.FRONTEND.patch_hop).plan
    assert f"| {readme.listener_bytes(nets.FRONTEND, plan):,} |" in text and "$" not in text
    if ARM:
        assert all(f"| {core} | " in text for core in ("cortex-m4", "cortex-m33", "cortex-m55"))
    card = read_model_card(load_model(model), model)
    assert json.loads((library / firmware.MARK).read_text()) == json.loads(card.to_json())


@needs_arm
def test_sizes_without_the_weights_are_those_with_them(monkeypatch):
    """Two layers of this net have weights of one size: without values they are equal, and must both be there."""
    graph = to_onnx(nets.make("pre_activation"), nets.FRONTEND, ExportConfig())
    made = quantize(graph, nets.patches(8, seed=1).numpy(), QuantizeConfig())
    program = lower(made)
    card = ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcde"))
    sources = firmware.library_sources(made, program, make_plan(program), card)
    whole = sources["aed_net.c"]
    bare = readme._without_weights(whole)
    arrays = r"int\d+_t \w+\[\d+\]"
    assert re.findall(arrays, bare) == re.findall(arrays, whole) and "int16_t weight" in bare
    assert len(bare) < 0.6 * len(whole)
    sizes = readme._built(sources)
    monkeypatch.setattr(readme, "_without_weights", lambda text: text)
    assert readme._built(sources) == sizes and "| cortex-m55 | " in sizes


@st.composite
def frontends(draw) -> FrontendConfig:
    n_fft = 2 ** draw(st.integers(8, 11))
    return FrontendConfig(
        n_fft=n_fft,
        win_length=max(2, n_fft * draw(st.integers(4, 16)) // 16),
        hop_length=draw(st.integers(20, 1100)),
        n_mels=draw(st.integers(1, 12)),
        patch_frames=draw(st.integers(1, 97)),
        f_min=0.0,
        min_length_s=10.0,
    )


@needs_arm
@settings(max_examples=12, deadline=None)
@given(config=frontends())
def test_sizes_are_those_of_the_compiler(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    for name, text in {**frontend_kernel(), **frontend_sources(config, 0.05, 3)}.items():
        (folder / name).write_text(text)
    (folder / "size.c").write_text(
        f'#include "aed_frontend.h"\n_Static_assert(sizeof(aed_frontend) == {state_bytes(config)}, "state");\n'
        f'_Static_assert(sizeof(aed_columns) == {column_state_bytes(config)}, "columns");\n'
    )
    run("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-I", folder, "-c", folder / "size.c", "-o", folder / "size.o")
    tables = folder / "tables.o"
    run("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-c", folder / "aed_frontend_tables.c", "-o", tables)
    listing = run("arm-none-eabi-nm", "-S", tables).stdout.decode().splitlines()
    assert sum(int(line.split()[1], 16) for line in listing if len(line.split()) == 4) == table_bytes(config)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_c_string_is_read_back_as_it_was(text):
    literal = c_string(text)
    assert literal.isascii() and literal.isprintable() and "??" not in literal
    assert literal[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == text


PAGE = (Path(__file__).parents[1] / "docs" / "c_library.md").read_text(encoding="utf-8")

DRIVER = """
#include <stdio.h>
#include "aed_events.h"
size_t microphone(int16_t *block, size_t size);
void act(const aed_event *event);
void fail(void);
size_t microphone(int16_t *block, size_t size) { return fread(block, sizeof block[0], size, stdin); }
void act(const aed_event *event) {
    (void)printf("%d %d %d %.9g\\n", (int)event->kind / 2, event->label, (int)event->last, (double)event->probability);
}
void fail(void) { (void)printf("fail\\n"); }
"""


def test_the_main_loop_of_the_page_finds_the_events_of_the_rule(library, model, tmp_path):
    (loop,) = re.findall(r"^<!-- compile -->\n```c\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "main.c").write_text(loop)
    (tmp_path / "driver.c").write_text(DRIVER)
    sources = [*library.glob("src/*.c"), tmp_path / "main.c", tmp_path / "driver.c"]
    run("gcc", *STRICT, "-I", library / "include", *sources, "-o", tmp_path / "loop", "-lm")
    draw = np.random.default_rng(0)
    samples = (3000 * draw.standard_normal(80000) * np.repeat([0, 1, 0.1, 3], 20000)).astype(np.int16)
    graph = load_model(model)
    card = read_model_card(graph, model)
    outputs = HostDevice(tmp_path / "host", graph, nets.FRONTEND).outputs(samples)
    hop_s = nets.FRONTEND.patch_hop * nets.FRONTEND.hop_length / nets.FRONTEND.sample_rate
    state, lines = RuleState(card.rule, len(NAMES), hop_s), []
    for row in to_posteriors(card, outputs):
        alarms, ended = state.add(row[None])
        found = [(alarm.target, 0, alarm.decision, alarm.posterior) for alarm in alarms]
        found += [(event.target, 1, event.last, event.peak) for event in ended]
        lines += [f"{kind} {target} {last} {value:.9g}\n" for target, kind, last, value in sorted(found)]
    assert any(line[0] == "1" for line in lines)
    assert run(tmp_path / "loop", input=samples.tobytes()).stdout.decode() == "".join(lines)


@needs_arm
def test_the_main_loop_of_the_page_compiles_for_a_device(library, tmp_path):
    (loop,) = re.findall(r"^<!-- compile -->\n```c\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "main.c").write_text(loop)
    flags = [*STRICT, "-mthumb", "-mfloat-abi=hard", "-mcpu=cortex-m33", f"-mfpu={CORES['cortex-m33']}"]
    run("arm-none-eabi-gcc", *flags, "-I", library / "include", "-c", tmp_path / "main.c", "-o", tmp_path / "out.o")


def test_the_page_has_every_name_of_the_headers(library):
    names = set()
    headers = ("listener", "gate", "events", "rule", "frontend", "net", "classes", "selftest")
    for header in (f"aed_{name}.h" for name in headers):
        text = (library / "include" / header).read_text(encoding="utf-8")
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        names |= set(re.findall(r"\b(aed_\w+)\(", code)) | set(re.findall(r"^\} (aed_\w+);", code, re.MULTILINE))
        names |= set(re.findall(r"#define (AED_\w+)(?!_H\b) .", code)) | set(re.findall(r"\b(aed_\w+)\[", code))
    assert len(names) > 25
    assert not {name for name in names if not re.search(rf"\b{name}\b", PAGE)}
    for source in (*library.glob("include/*"), *library.glob("src/*")):
        assert source.name in KERNELS or source.relative_to(library).as_posix() in PAGE
