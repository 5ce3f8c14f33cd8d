"""The backend that needs no board: reports, profiles, devices, boards as files."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nets
import numpy as np
import pytest
import tiny
from omegaconf import OmegaConf

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.export.card import ModelCard
from aed.export.graph import load_model, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import open_exact
from aed.run import benchmark, pipeline
from aed.run.benchmark import TARGETS, BenchmarkConfig, benchmark_file, measure
from aed.run.state import INT8
from aed.target import boards
from aed.target.boards import BOARD_DIR, board_names, load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.cmsis import find_cmsis_dsp
from aed.target.codegen.frontend import state_bytes
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import make_plan
from aed.target.emulator import measure as measuring
from aed.target.emulator import toolchain
from aed.target.emulator.backend import Emulator
from aed.target.emulator.cycles import cycles_of
from aed.target.emulator.device import EmulatedDevice
from aed.target.emulator.measure import EmulatedRun
from aed.target.emulator.settings import EmulatorSettings
from aed.target.host import HostDevice
from aed.target.report import FIGURES, Cost, Figure, Report

pytestmark = pytest.mark.usefixtures("compiles")

CMSIS_DSP = os.environ.get("AED_CMSIS_DSP")


@pytest.fixture
def arm() -> None:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc"):
        if shutil.which(tool) is None:
            pytest.skip(
                f"{tool} is not here: apt-get install gcc gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
            )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net_int8.onnx"
    graph = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    made = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    save_model(path, made, ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd")))
    return path


# --- reports --------------------------------------------------------------------------------------------------------


def test_a_benchmark_reports_net_and_front_end(arm, model, tmp_path, capsys):
    measure(model, tmp_path, BenchmarkConfig())
    place = tmp_path / "target/emulator/mps2-an505/report.json"
    content = json.loads(place.read_text())
    assert set(FIGURES) <= set(content) and content["target"] == "emulator" and content["model"] == model.name
    for part in (content, content["frontend"]):
        for key in ("instructions", "flash_bytes", "ram_bytes", "stack_bytes"):
            assert part[key]["value"] > 0 and part[key]["source"] == "emulated"
        assert part["inference_ms"] is None, "what is not known is null, not 0"
        assert part["cycles"]["source"] == part["worst_stack_bytes"]["source"] == "estimated"
        measured, told = (part[key]["value"] for key in ("stack_bytes", "worst_stack_bytes"))
        assert measured - 300 <= told <= measured + 300, "the harness has its own stack"
        assert 1 < part["cycles"]["value"] / part["instructions"]["value"] < 2
    chosen = choose_plan(partial(lower, load_model(model)))
    program = chosen.program
    assert content["details"]["plan"] == chosen.facts and chosen.facts["reason"]
    assert [layer["name"] for layer in content["layers"]] == [layer.name for layer in program.layers]
    assert content["activations_bytes"] == {"value": chosen.plan.size, "source": "estimated"}
    assert sum(layer["macc"] for layer in content["layers"]) == content["macc"]["value"]
    assert "GNU" in content["tools"]["gcc"] or "gcc" in content["tools"]["gcc"]
    assert "QEMU" in content["tools"]["qemu"] and "cycles" in content["limits"]
    said = capsys.readouterr().out
    assert "emulated" in said and said.count("bytes of stack, as the compiler tells") == 2


def test_functions_have_shares_that_sum_to_one(arm, model):
    report = Emulator(inputs=1).benchmark(model, load_board("mps2-an505"), Path())
    for cost, known in ((report.net, "aed_depthwise"), (report.frontend, "aed_spectrum")):
        shares = {row["name"]: row["share"] for row in cost.functions}
        assert any(name.startswith(known) for name in shares) and sum(shares.values()) == pytest.approx(1, abs=0.01)
    # the layers' own counts say the same as the samples
    kinds = {row["kind"]: 0.0 for row in report.net.layers}
    for row in report.net.layers:
        kinds[row["kind"]] += row["instructions"]
    total = sum(kinds.values())
    shares = {row["name"]: row["share"] for row in report.net.functions}
    pools = shares.get("aed_average_pool_row", 0.0)
    assert pools == pytest.approx(kinds["average_pool"] / total, abs=0.06)


@pytest.mark.parametrize(
    ("line", "previous", "cycles"),
    [
        ("smlad r0, r1, r2, r3", "", 1),
        ("ldr r0, [r1, #4]", "smlad", 2),
        ("ldr.w r0, [r1, #4]", "ldrb.w", 1),
        ("strb r0, [r1]", "", 1),
        ("ldrd r0, r1, [r2], #8", "ldr", 3),
        ("ldmia.w r1!, {r4, r5, lr}", "", 4),
        ("ldmia.w sp!, {r4-r11, pc}", "", 12),
        ("vldmia r0!, {s6-s7}", "", 3),
        ("vldr s0, [r0]", "", 2),
        ("vcvt.f32.s32 s0, s0", "", 1),
        ("vmov r2, r3, s0, s1", "", 2),
        ("vmov s0, r2", "", 1),
        ("vdiv.f32 s0, s1, s2", "", 14),
        ("vfma.f32 s0, s1, s2", "", 3),
        ("vmladava.s8 r0, q1, q2", "", 2),
        ("vldrb.8 q0, [r1], #16", "", 2),
        ("bne.n 100 <loop>", "", 3),
        ("bne.n 300 <out>", "", 1),
        ("cbz r0, 300 <out>", "", 1),
        ("bl 300 <f>", "", 3),
        ("bics r0, r1", "", 1),
        ("itt eq", "", 1),
    ],
)
def test_an_instruction_takes_the_cycles_of_the_published_table(line, previous, cycles):
    name, _, operands = line.partition(" ")
    assert cycles_of(name, operands, previous, 0x200) == cycles


def test_a_core_without_a_published_table_has_no_cycles(arm, model):
    figures = Emulator(inputs=1).benchmark(model, load_board("mps2-an500"), Path()).net.figures
    assert "cycles" not in figures and figures["instructions"].value > 0


def test_an_analysis_needs_no_tool_and_says_what_a_benchmark_does(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    measure(model, tmp_path, BenchmarkConfig(action="analyze"))
    content = json.loads((tmp_path / "target/emulator/mps2-an505/report.json").read_text())
    assert content["action"] == "analyze" and content["tools"] == {} and content["instructions"] is None
    chosen = choose_plan(partial(lower, load_model(model)))
    numbers = {"macc": chosen.program.macc, "weights_bytes": chosen.program.weight_bytes}
    numbers["activations_bytes"] = chosen.plan.size
    assert {key: content[key] for key in numbers} == {
        key: {"value": value, "source": "estimated"} for key, value in numbers.items()
    }
    assert numbers["macc"] == sum(layer["macc"] for layer in content["layers"]) > 0
    said = capsys.readouterr().out
    assert f"{numbers['weights_bytes'] / 1024:.1f}" in said and "M MACC" in said and "estimated" in said


def test_real_patches_give_the_bits_of_onnx_runtime_on_a_board(arm, model):
    program = lower(load_model(model))
    x = program.tensors[program.input]
    steps = np.clip(np.rint(nets.patches(3).numpy() / x.scale) + x.zero, -128, 127).astype(np.int8)
    images = np.ascontiguousarray(steps.transpose(0, 2, 3, 1)).reshape(3, -1)
    run = measuring.measure_net(program, make_plan(program), images, load_board("mps3-an547"))
    session = open_exact(load_model(model))
    outputs = [session.run(None, {session.get_inputs()[0].name: patch[None]})[0] for patch in steps]
    np.testing.assert_array_equal(run.outputs, np.concatenate(outputs))


def test_the_size_of_the_harness_does_not_count_as_the_front_ends(arm, monkeypatch):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, nets.FRONTEND.patch_samples).astype(np.int16)
    runs = []
    for block in (toolchain.BLOCK_SAMPLES, 37):
        monkeypatch.setattr(toolchain, "BLOCK_SAMPLES", block)
        runs.append(measuring.measure_frontend(nets.FRONTEND, 0.05, 10, samples, load_board("mps2-an505")))
    assert abs(runs[0].ram_bytes - state_bytes(nets.FRONTEND)) < 8  # alignment; and nothing of the C library
    assert abs(runs[0].ram_bytes - runs[1].ram_bytes) < 8  # alignment
    np.testing.assert_array_equal(runs[0].outputs, runs[1].outputs)


KIB, MORE = r"\d+ KiB", r"\d+\.\d too many"


@pytest.mark.parametrize(
    ("flash", "ram", "message"),
    [
        (4, 4096, f"it needs {KIB} of flash, there are 4: {MORE}$"),
        (4096, 16, f"even without code it needs {KIB} of RAM, there are 16: {MORE}$"),
        (4, 17, f"it needs {KIB} of flash, there are 4: {MORE} and {KIB} of RAM, there are 17: {MORE}$"),
    ],
)
def test_a_program_that_does_not_fit_is_told_in_kib(arm, model, tmp_path, flash, ram, message):
    board = load_board("mps2-an505")
    memories = {"flash": (board.machine.flash[0], flash << 10), "ram": (board.machine.ram[0], ram << 10)}
    board = replace(board, name="small", machine=replace(board.machine, **memories))
    with pytest.raises(AedError, match=message) as caught:
        Emulator(inputs=1).benchmark(model, board, tmp_path)
    assert "\n" not in str(caught.value) and "arm-none-eabi" not in str(caught.value)


def test_a_net_that_cannot_fit_is_refused_before_anything_is_compiled(model, monkeypatch):
    monkeypatch.setenv("PATH", "")
    chosen = choose_plan(partial(lower, load_model(model)))
    board = load_board("mps2-an505")
    small = replace(board.machine, flash=(0, 512), ram=(0, 1 << 20))
    steps = np.zeros((1, chosen.program.tensors[chosen.program.input].size), np.int8)
    more = (chosen.program.weight_bytes - 512) / 1024
    with pytest.raises(AedError, match=rf"even without code it needs 1 KiB of flash, there are 0: {more:.1f} too many"):
        measuring.measure_net(chosen.program, chosen.plan, steps, replace(board, machine=small))


def test_a_net_too_large_for_a_real_board_is_refused_though_the_emulated_one_is_larger(model, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    board = replace(load_board("nucleo-g474re"), flash_kib=0.5, ram_kib=0.5)
    for act in (Emulator().benchmark, Emulator().analyze):
        with pytest.raises(
            AedError, match=f"^nucleo-g474re: .* it needs {KIB} of flash, there are 0: {MORE} and {KIB} of RAM"
        ):
            act(model, board, tmp_path)
    Emulator().analyze(model, replace(board, external="16 MB of flash"), tmp_path)


def test_a_program_that_does_not_compile_is_told_as_it_was(arm, tmp_path):
    with pytest.raises(AedError, match="arm-none-eabi-gcc failed"):
        toolchain.build(tmp_path, {"a.c": "int nonsense(\n"}, load_board("mps2-an505"))


def test_an_output_that_differs_is_an_error(arm, model, monkeypatch):
    honest = measuring.measure_net

    def wrong(*arguments: object) -> EmulatedRun:
        run = honest(*arguments)
        outputs = run.outputs.copy()
        outputs[0, 0] ^= 1
        return EmulatedRun(**{**vars(run), "outputs": outputs})

    monkeypatch.setattr(measuring, "measure_net", wrong)
    with pytest.raises(AedError, match="1 of 16 outputs differ"):
        Emulator().benchmark(model, load_board("mps2-an505"), Path())


def test_a_front_end_that_no_stream_has_is_left_out_and_said(arm, model, tmp_path, capsys):
    card = ModelCard(frontend=FrontendConfig(center=True, patch_frames=32, n_mels=16), class_names=tuple("abcd"))
    save_model(tmp_path / "m.onnx", load_model(model), card)
    measure(tmp_path / "m.onnx", tmp_path, BenchmarkConfig(emulator=EmulatorSettings(inputs=1)))
    assert json.loads((tmp_path / "target/emulator/mps2-an505/report.json").read_text())["frontend"] is None
    assert "no C front end: center=true" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"board": "uno"}, "board: need one of"),
        ({"board": "../boards/mps2-an505"}, "board: need one of"),
        ({"target": "stedgeai"}, "stedgeai does not know it; it knows"),
        ({"emulator": EmulatorSettings(inputs=0)}, "emulator.inputs: need at least 1"),
        ({"target": "emulator,abacus"}, "target: need some of .*abacus"),
    ],
)
def test_a_benchmark_that_cannot_be_is_said(model, tmp_path, changes, message):
    with pytest.raises(AedError, match=message):
        benchmark_file(str(model), str(tmp_path), BenchmarkConfig(**changes))


def test_a_folder_that_cannot_be_made_is_said(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AedError, match="file/target/emulator/mps2-an505: cannot be created"):
        measure(model, tmp_path / "file", BenchmarkConfig())


class Broken:
    name = "broken"

    def backend(self) -> "Broken":
        return self

    def benchmark(self, *_: object) -> Report:
        raise AedError("the tool is ill")


class Fine:
    name = "fine"

    def backend(self) -> "Fine":
        return self

    def benchmark(self, *_: object) -> Report:
        cost = Cost(figures={"inference_ms": Figure(2.5, "measured"), "flash_bytes": Figure(2048, "vendor")})
        return Report(target="fine", action="benchmark", board="mps2-an505", core="cortex-m33", net=cost)


def test_a_target_that_fails_leaves_the_others_results(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(TARGETS, "broken", lambda config: Broken())
    monkeypatch.setitem(TARGETS, "fine", lambda config: Fine())
    monkeypatch.setattr(boards.Board, "backends", ("broken", "fine"))
    with pytest.raises(AedError, match="broken: the tool is ill"):
        measure(model, tmp_path, BenchmarkConfig(target="broken, fine"))
    assert json.loads((tmp_path / "target/fine/mps2-an505/report.json").read_text())["inference_ms"]["value"] == 2.5
    said = capsys.readouterr().out
    assert "2.50" in said and "2.0" in said and "measured/vendor" in said


# --- boards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", board_names())
def test_every_board_file_can_be_read(name):
    board = load_board(name)
    assert board.core.startswith("cortex-m") and board.backends and board.ram_kib > 0
    assert json.dumps(OmegaConf.to_container(OmegaConf.load(BOARD_DIR / f"{name}.yaml")))


WHOLE = "core: cortex-m4\nram_kib: 1\nflash_kib: 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("core: cortex-m4\nram_kib: 1\n", "flash_kib.* missing"),
        (WHOLE + "speed: 9\n", "unknown .*speed"),
        ("core: cortex-m4\nram_kib: big\nflash_kib: 1\n", "ram_kib: need .*float.*, got 'big'"),
        ("core: cortex-m4\nram_kib: true\nflash_kib: 1\n", "ram_kib: need .*, got True"),
        ("core: [\n", "no YAML"),
        ("- 1\n", "missing"),
        (
            "core: m\nram_kib: 1\nflash_kib: 1\nmachine: {machine: x, fpu: y, systick_hz: 1, flash: 3, ram: [0, 1]}\n",
            "flash",
        ),
    ],
)
def test_a_bad_board_file_is_said(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(boards, "BOARD_DIR", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(AedError, match=message):
        load_board("mine")


# --- whole clips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["mps2-an505", "mps3-an547"])
def test_an_emulated_device_hears_what_this_machine_hears(arm, model, tmp_path, board):
    graph = load_model(model)
    device = EmulatedDevice(tmp_path / "board", graph, nets.FRONTEND, load_board(board))
    here = HostDevice(tmp_path / "host", graph, nets.FRONTEND)
    random = np.random.default_rng(0)
    for samples in ((4000 * random.standard_normal(30001)).astype(np.int16), np.zeros(12345, np.int16)):
        heard = device.outputs(samples)
        assert len(heard) > 1
        np.testing.assert_array_equal(heard, here.outputs(samples))
    assert device.outputs(np.zeros(100, np.int16)).shape == (0, 4)


def test_a_real_board_is_emulated_by_one_with_its_core(arm, model, tmp_path):
    device = EmulatedDevice(tmp_path, load_model(model), nets.FRONTEND, load_board("b-u585i-iot02a"))
    assert device.board.name == "mps2-an505"


def test_a_run_ends_with_benchmark_and_library(arm, tmp_path, monkeypatch):
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path / "cache"))
    stages = "stages=[fit,export,quantize,benchmark,deploy]"
    more = ["trainer.max_epochs=1", "trainer.enable_progress_bar=false", "callbacks.progress=null", "logger=csv"]
    small = [
        "experiment=demo",
        *tiny.DATA,
        *more,
        "frontend.n_mels=16",
        "frontend.patch_frames=32",
        "benchmark.emulator.inputs=1",
    ]
    pipeline.run(tiny.composed(*small, stages, "trainer.accelerator=cpu", folder=tmp_path / "run"), tmp_path / "run")
    assert (tmp_path / "run/target/emulator/mps2-an505/report.json").is_file()
    assert (tmp_path / "run/target/c/src/aed_net.c").is_file()
    with pytest.raises(AedError, match=r"benchmark needs model_int8\.onnx"):
        early = tiny.composed(*small, "stages=[benchmark]", "trainer.accelerator=cpu", folder=tmp_path / "none")
        pipeline.run(early, tmp_path / "none")


def test_what_is_begun_beside_other_stages_is_what_is_reported(model, tmp_path, monkeypatch):
    """Begun after quantize; a failure is said where the stage is."""
    run = SimpleNamespace(
        config=OmegaConf.create({"benchmark": {"_target_": "aed.run.benchmark.BenchmarkConfig"}}),
        folder=tmp_path,
        begun={},
        need_file=lambda stage, file, writer: tmp_path / file,
    )
    shutil.copyfile(model, tmp_path / INT8)
    cost = Cost(figures={"flash_bytes": Figure(1024, "emulated")})
    answers = [Report(target="emulator", action="benchmark", board="mps2-an505", core="cortex-m33", net=cost), None]

    def once(self, *_):
        answer = answers.pop(0)
        if answer is None:
            raise AedError("mps2-an505: too small")
        return answer

    monkeypatch.setattr(Emulator, "benchmark", once)
    benchmark.begin(run)
    benchmark.benchmark(run)
    report = json.loads((tmp_path / "target" / "emulator" / "mps2-an505" / "report.json").read_text())
    assert report["flash_bytes"]["value"] == 1024 and not run.begun
    benchmark.begin(run)
    with pytest.raises(AedError, match="too small"):
        benchmark.benchmark(run)


# --- CMSIS-DSP ------------------------------------------------------------------------------------------------------


def test_a_folder_without_cmsis_dsp_is_said(tmp_path):
    with pytest.raises(AedError, match=r"^emulator.cmsis_dsp: .* is missing; give the folder"):
        find_cmsis_dsp(tmp_path, 512)


@pytest.mark.skipif(not CMSIS_DSP, reason="AED_CMSIS_DSP names no checkout of CMSIS-DSP (.ci/run fetches one)")
def test_the_transform_of_cmsis_dsp_gives_nearly_the_same_patches(arm):
    config, board = FrontendConfig(), load_board("mps2-an505")
    samples = (3000 * np.random.default_rng(0).standard_normal(config.patch_samples)).astype(np.int16)
    own = measuring.measure_frontend(config, 0.05, 3, samples, board)
    library = find_cmsis_dsp(Path(CMSIS_DSP), config.n_fft)
    theirs = measuring.measure_frontend(config, 0.05, 3, samples, board, library)
    off = np.abs(own.outputs.astype(int) - theirs.outputs)
    assert off.max() <= 1 and (off > 0).mean() < 0.002
    assert any(name.startswith("arm_") for name, _ in theirs.functions) and theirs.instructions != own.instructions
    with pytest.raises(AedError, match=r"frontend\.n_fft is 8192"):
        find_cmsis_dsp(Path(CMSIS_DSP), 8192)
