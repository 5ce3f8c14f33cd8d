"""The backend for ST's command-line tool, against a double of it: no real tool was at hand."""

import contextlib
import json
import os
import random
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_stedgeai
import nets
import numpy as np
import onnx
import psutil
import pytest
import soundfile as sf
from onnx import helper
from tflite_files import separable

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.footprint import footprint
from aed.export.graph import constants, load_model, save_model, strip_ends
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.inference.opening import open_classifier
from aed.run.benchmark import BenchmarkConfig, measure
from aed.run.predict import PredictConfig, predict_files
from aed.run.program_choice import ProgramConfig
from aed.target.boards import board_names, load_board
from aed.target.protocol import Backend
from aed.target.report import FIGURES
from aed.target.stedgeai import find, parse
from aed.target.stedgeai.backend import StEdgeAi, Validation
from aed.target.stedgeai.exchange import to_inputs
from aed.target.stedgeai.failure import ADVICE, advice, error_line
from aed.target.stedgeai.find import Tool, Version, environment, find_tool, installed, read_version
from aed.target.stedgeai.options import Choices, RunFiles, command, port
from aed.target.stedgeai.workspace import ascii_folder

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(os.name == "nt", reason="the double starts by its first line, which Windows ignores"),
]

DATA = Path(__file__).parent / "data" / "stedgeai"
CORES = ("2.0", "2.2", "3.0", "4.0")
U5, N6 = load_board("b-u585i-iot02a"), load_board("stm32n6570-dk")
PATCHES = nets.patches(6, seed=3).numpy()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Float, int8 and int8 with int8 ends, each with its card."""
    folder = tmp_path_factory.mktemp("models")
    card = ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd"))
    real = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    int8 = quantize(real, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    config = QuantizeConfig(io="int8")
    facts = quantization_facts(int8, config, ())
    made = {"float": (real, card), "int8": (int8, card)}
    made["int8_ends"] = (strip_ends(int8), replace(card, quantization=facts))
    made["int8_in"] = (strip_ends(int8, output=False), replace(card, quantization=replace(facts, io="int8_in")))
    for name, (model, own) in made.items():
        save_model(folder / f"{name}.onnx", model, own)
    return {name: folder / f"{name}.onnx" for name in made}


@pytest.fixture
def fake(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> "Fake":
    monkeypatch.setenv("FAKE_STEDGEAI_CACHE", str(tmp_path_factory.getbasetemp()))
    return Fake(tmp_path, monkeypatch)


class Fake:
    """The double on a PATH of its own, in a folder with a space."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin, self.monkeypatch = folder / "my tools", monkeypatch
        self.bin.mkdir()
        for name in ("STEDGEAI_PATH", "STEDGEAI_CORE_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.chdir(folder)

    def install(self, version: str = "4.0", mode: str = "ok", at: Path | None = None) -> Path:
        name = "stm32ai" if float(version) > 7 else "stedgeai"
        path = (at or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = Path(fake_stedgeai.__file__).read_text(encoding="utf-8")
        path.write_text(f"#!{sys.executable}\n{source}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.monkeypatch.setenv("FAKE_STEDGEAI_VERSION", version)
        self.monkeypatch.setenv("FAKE_STEDGEAI_MODE", mode)
        return path


def sizes(report) -> dict[str, float]:
    return {key: figure.value for key, figure in report.net.figures.items()}


# --- the sixteen situations, on every version ---------------------------------------------------------------


@pytest.mark.parametrize("version", CORES)
def test_ok_float_on_a_u5(fake, models, tmp_path, version):
    fake.install(version)
    report = StEdgeAi().analyze(models["float"], U5, tmp_path / "out")
    cost, found = footprint(load_model(models["float"])), sizes(report)
    held = {name for layer in cost.layers for name in layer.weights}
    floats = sum(array.nbytes for name, array in constants(load_model(models["float"])).items() if name in held)
    assert found["weights_bytes"] == floats and found["macc"] == cost.macc
    assert found["flash_bytes"] == floats + fake_stedgeai.LIBRARY_FLASH  # the toolchain's part is in it already
    assert found["ram_bytes"] == found["activations_bytes"] + fake_stedgeai.LIBRARY_RAM
    assert {figure.source for figure in report.net.figures.values()} == {"vendor"}
    assert "inference_ms" not in found and "no time" in report.limits
    assert report.tools["stedgeai"].startswith(version) and report.tools["STM32CubeAI"]
    assert sum(row.get("macc", 0) for row in report.net.layers) == cost.macc
    content = report.content()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(FIGURES) <= set(content) and content["inference_ms"] is None


@pytest.mark.parametrize("version", ["7.3", "2.0", "4.0"])
@pytest.mark.parametrize(
    ("name", "ends"),
    [("my net.tflite", ("int8", "float32")), ("a.keras", ("float32", "float32")), ("a.h5", ("float32", "float32"))],
)
def test_files_of_other_tools_are_handed_over_as_they_are(fake, tmp_path, version, name, ends):
    fake.install(version)
    path = tmp_path / name
    separable().save(path)
    report = StEdgeAi().benchmark(path, U5, tmp_path / "out")
    assert sizes(report)["weights_bytes"] == path.stat().st_size
    line = (tmp_path / "out" / "stedgeai_analyze.log").read_text().splitlines()
    words = next(text for text in line if "--model" in text).split()
    assert Path(words[words.index("--model") + 1]).name == name.replace(" ", "_")
    assert ("--input-data-type" in words) == (version != "7.3")
    if version != "7.3":
        assert [words[words.index(f"--{end}-data-type") + 1] for end in ("input", "output")] == list(ends)


def test_files_of_other_tools_have_to_be_there_and_whole(fake, tmp_path):
    fake.install()
    with pytest.raises(AedError, match=r"a\.tflite: no such model"):
        StEdgeAi().analyze(tmp_path / "a.tflite", U5, tmp_path / "out")
    (tmp_path / "a.tflite").write_bytes(b"text")
    with pytest.raises(AedError, match="not a TensorFlow Lite model"):
        StEdgeAi().analyze(tmp_path / "a.tflite", U5, tmp_path / "out")
    with pytest.raises(AedError, match=r"target=emulator takes models of this project: aed import_model .*a\.tflite"):
        measure(tmp_path / "a.tflite", tmp_path, BenchmarkConfig())


@pytest.mark.parametrize("version", CORES)
def test_ok_int8_on_a_u5_all_actions(fake, models, tmp_path, version):
    fake.install(version)
    tool = StEdgeAi()
    report = tool.generate(models["int8"], U5, tmp_path / "g")
    assert sizes(report)["weights_bytes"] == footprint(load_model(models["float"])).weights_bytes
    code = {path.name for path in (tmp_path / "g" / "c").iterdir()}
    assert {"network.c", "network.h", "network_data.c", "LICENSE.txt"} <= code
    assert ("network_details.h" in code) == (version in ("3.0", "4.0"))
    assert (tmp_path / "g" / "network_c_info.json").is_file() and (tmp_path / "g" / "stedgeai_generate.log").is_file()
    assert tool.benchmark(models["int8"], U5, tmp_path / "b").action == "benchmark"
    result = tool.compare(models["int8"], U5, tmp_path / "v", PATCHES)
    assert isinstance(result, Validation) and result.outputs.shape == (6, 4) and result.outputs.dtype == np.float32
    expected = open_classifier(models["int8"]).outputs(PATCHES)
    np.testing.assert_array_equal(result.outputs, expected)
    np.testing.assert_array_equal(result.expected, expected)
    figures = result.report.net.figures
    assert figures["cos"].value == 1 and figures["rmse"].value == 0 and figures["cos"].source == "vendor"
    assert "inference_ms" not in figures and result.report.details["host_ms"] == 6.185
    assert result.report.details["differing_outputs"] == 0


@pytest.mark.parametrize("version", CORES)
def test_ok_n6(fake, models, tmp_path, version):
    fake.install(version)
    report = StEdgeAi(choices=Choices(neural_art="default")).generate(models["int8"], N6, tmp_path / "g")
    assert "macc" not in report.net.figures  # the tool says 0: it does not count there
    assert (tmp_path / "g" / "c" / "network_atonbuf.xSPI2.raw").is_file()
    log = (tmp_path / "g" / "stedgeai_generate.log").read_text()
    assert "--target stm32n6" in log and "--inputs-ch-position chlast --st-neural-art default" in log
    assert report.details["fits"] is True and "800 MHz" in report.limits
    board = StEdgeAi(descriptor="serial")
    result = board.compare(models["int8"], N6, tmp_path / "v", PATCHES)
    assert "--desc serial:921600" in (tmp_path / "v" / "stedgeai_validate.log").read_text()
    assert result.report.net.figures["inference_ms"].source == "measured"


@pytest.mark.parametrize("version", CORES)
def test_a_model_over_budget_is_reported_as_such(fake, models, tmp_path, version):
    fake.install(version, "huge")
    report = StEdgeAi().analyze(models["int8"], U5, tmp_path)
    assert report.details["fits"] is False
    assert "Does not fit: 921,607.6 KiB of RAM, the chip has 786; beside the chip: 64 MB octo flash" in report.limits


@pytest.mark.parametrize("version", CORES)
def test_e010_a_model_it_cannot_take(fake, tmp_path, version):
    fake.install(version)
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 4, 4])
    made = helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [4, None])
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "g", [given], [made])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(AedError) as info:
        StEdgeAi().analyze(tmp_path / "m.onnx", U5, tmp_path / "out")
    text = str(info.value)
    assert text.startswith("stedgeai analyze failed (exit code 1): E010(InvalidModelError): Unsupported layer type")
    assert "opsets 7 to 20" in text and str(tmp_path / "out" / "stedgeai_analyze.log") in text
    assert "NonZero" in (tmp_path / "out" / "stedgeai_analyze.log").read_text()


@pytest.mark.parametrize("version", CORES)
def test_e102_no_host_validation_on_a_cortex_m55(fake, models, tmp_path, version):
    fake.install(version)
    with pytest.raises(AedError, match="runs no cortex-m55 code on a PC; connect the board"):
        StEdgeAi().compare(models["int8"], N6, tmp_path, PATCHES)
    liar = replace(N6, core="cortex-m33")  # the tool's own refusal
    with pytest.raises(AedError, match=r"E102\(CliArgumentError\): Validation on host .*[\s\S]*connect it and give"):
        StEdgeAi().compare(models["int8"], liar, tmp_path, PATCHES)


@pytest.mark.parametrize("version", CORES)
def test_e103_paths_beyond_ascii(fake, models, tmp_path, version):
    fake.install(version)
    folder = tmp_path / "modèles 音"
    folder.mkdir()
    model = folder / "événements.onnx"
    model.write_bytes(models["int8"].read_bytes())
    assert StEdgeAi().analyze(model, N6, folder / "out").net.figures  # it never sees that path
    assert (folder / "out" / "network_c_info.json").is_file()
    (folder / "art.json").write_text("{}")
    with pytest.raises(AedError, match="letters beyond ASCII"):
        StEdgeAi(choices=Choices(neural_art=f"default@{folder / 'art.json'}")).analyze(model, N6, tmp_path)
    with pytest.raises(AedError, match=r"E103\(CliRuntimeError\): Error calling[\s\S]*no path with letters beyond"):
        StEdgeAi(choices=Choices(extra=("--device", "é"))).analyze(model, N6, tmp_path)


@pytest.mark.parametrize("version", CORES)
def test_the_question_of_the_first_run_is_not_waited_for(fake, models, tmp_path, version):
    fake.install(version, "prompt")
    with pytest.raises(AedError, match=r"usage statistics[\s\S]*What to do: .*stedgeai --version' in a\s+terminal"):
        StEdgeAi().analyze(models["int8"], U5, tmp_path)


@pytest.mark.parametrize("version", CORES)
def test_a_hanging_tool_is_stopped_with_its_child(fake, models, tmp_path, version, monkeypatch):
    monkeypatch.setenv("FAKE_STEDGEAI_PID", str(tmp_path / "pid"))
    fake.install(version, "hang")
    start = time.monotonic()
    with pytest.raises(AedError, match=r"did not end within 1 s[\s\S]*raise the time limit") as info:
        StEdgeAi(timeout_s=1.0).analyze(models["int8"], U5, tmp_path / "out")
    assert time.monotonic() - start < 20
    assert str(tmp_path / "out" / "stedgeai_analyze.log") in str(info.value)
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie":
            return
        time.sleep(0.05)
    raise AssertionError("the child lives on")


@pytest.mark.parametrize("version", CORES)
def test_truncated_json(fake, models, tmp_path, version):
    fake.install(version, "truncated")
    with pytest.raises(AedError, match=r"network_c_info\.json: cut off or damaged"):
        StEdgeAi().analyze(models["int8"], U5, tmp_path / "out")
    assert (tmp_path / "out" / "network_c_info.json").is_file()  # kept, to be looked at


@pytest.mark.parametrize("version", ["7.3", "8.1"])
def test_the_old_tool_and_its_report_with_a_list(fake, models, tmp_path, version):
    fake.install(version)
    tool = StEdgeAi()
    report = tool.analyze(models["int8"], U5, tmp_path)
    found = sizes(report)
    assert found["weights_bytes"] == footprint(load_model(models["float"])).weights_bytes
    assert found["macc"] == footprint(load_model(models["float"])).macc
    assert not tool.tool.version.core and tool.tool.path.name == "stm32ai"
    np.testing.assert_array_equal(
        tool.compare(models["int8"], U5, tmp_path, PATCHES).outputs, open_classifier(models["int8"]).outputs(PATCHES)
    )
    log = (tmp_path / "stedgeai_validate.log").read_text()
    assert "--series stm32u5" in log and "--mode x86" in log and "--allocate-inputs" in log
    assert "--target" not in log and "--input-data-type" not in log
    with pytest.raises(AedError, match=r"needs ST Edge AI Core 2\.0"):
        tool.analyze(models["int8"], N6, tmp_path)


@pytest.mark.parametrize("version", CORES)
def test_c_info_only_or_text_only(fake, models, tmp_path, version):
    fake.install(version)
    whole = StEdgeAi().analyze(models["int8"], U5, tmp_path / "a")
    assert (tmp_path / "a" / "network_report.json").is_file() == (version == "2.0")
    fake.install(version, "tail_only")
    printed = StEdgeAi().analyze(models["int8"], U5, tmp_path / "b")
    assert sizes(printed) == sizes(whole) and not (tmp_path / "b" / "network_c_info.json").exists()


@pytest.mark.parametrize("version", CORES)
def test_paths_with_spaces(fake, models, tmp_path, version, monkeypatch):
    fake.install(version)
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "a net.onnx").write_bytes(models["int8"].read_bytes())
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert StEdgeAi().analyze(folder / "a net.onnx", U5, folder / "the results").net.figures
    assert not list(folder.glob("aed_*"))  # the temporary folder is gone


def test_garbage_instead_of_a_version(fake, models, tmp_path):
    fake.install("4.0", "garbage_version")
    with pytest.raises(AedError, match=r"stedgeai: --version: need 'ST Edge AI Core v.*got '.*Segmentation fault"):
        StEdgeAi().analyze(models["int8"], U5, tmp_path)


@pytest.mark.parametrize("version", CORES)
def test_success_without_a_report_is_a_failure(fake, models, tmp_path, version):
    fake.install(version, "silent_all")
    with pytest.raises(AedError, match="it wrote no report"):
        StEdgeAi().analyze(models["int8"], U5, tmp_path)
    with pytest.raises(AedError, match="no outputs of the C code"):
        StEdgeAi().compare(models["int8"], U5, tmp_path, PATCHES)
    fake.install(version, "no_code")
    with pytest.raises(AedError, match="it wrote no C file"):
        StEdgeAi().generate(models["int8"], U5, tmp_path)


# --- figures that are not there -----------------------------------------------------------------------------


def test_without_kernel_sizes_totals_are_unknown(fake, models, tmp_path):
    fake.install("4.0", "no_kernel")
    report = StEdgeAi().analyze(models["int8"], U5, tmp_path)
    assert {"weights_bytes", "activations_bytes", "macc"} == set(report.net.figures)
    assert report.content()["flash_bytes"] is None and report.details["fits"] is None


def test_absurd_sizes_are_unknown(fake, models, tmp_path):
    fake.install("4.0", "absurd")
    assert set(StEdgeAi().analyze(models["int8"], U5, tmp_path).net.figures) == {"macc"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e300, 10**400, True, False, None, "12", [], {}])
def test_what_is_no_number(value):
    assert parse.number(value) is None


# --- a board on a serial port -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", CORES)
def test_a_board_gives_time_layers_and_outputs(fake, models, tmp_path, version):
    fake.install(version)
    tool = StEdgeAi(descriptor="serial:COM3:921600")
    result = tool.compare(models["int8"], U5, tmp_path, PATCHES)
    figures = result.report.net.figures
    assert (figures["inference_ms"].value, figures["inference_ms"].source) == (6.185, "measured")
    assert (figures["cycles"].value, figures["cycles"].source) == (989_572, "measured")
    assert figures["weights_bytes"].source == "vendor"
    np.testing.assert_allclose(result.outputs, result.expected + np.float32(0.001))
    assert figures["rmse"].source == "measured" and figures["rmse"].value == pytest.approx(0.001, rel=1e-3)
    assert 0.9 < figures["cos"].value < 1 and result.report.details["differing_outputs"] == result.outputs.size
    assert result.report.net.layers[0] == {
        "name": "ai_node_0", "kind": "Conv2D (0x103)", "inference_ms": 5.0, "cycles": 800_000
    }  # fmt: skip
    assert len(result.report.net.layers) == 2 and "160MHz" in result.report.details["device"]
    assert "--mode target --desc serial:COM3:921600" in (tmp_path / "stedgeai_validate.log").read_text()
    timed = tool.benchmark(models["int8"], U5, tmp_path)
    assert timed.net.figures["inference_ms"].source == "measured" and "cos" not in timed.net.figures
    assert "--batch-size" in (tmp_path / "stedgeai_validate.log").read_text()


@pytest.mark.parametrize(
    ("mode", "error", "text"),
    [
        ("port_busy", "PermissionError", "close terminals"),
        ("no_board", "No SERIAL COM port", "connect the board"),  # although its exit code is 0
        ("wrong_name", "Unable to bind", "C name"),
    ],
)
def test_a_board_that_cannot_be_used(fake, models, tmp_path, mode, error, text):
    fake.install("2.2", mode)
    with pytest.raises(AedError, match=rf"{error}[\s\S]*What to do: .*{text}"):
        StEdgeAi(descriptor="serial").compare(models["int8"], U5, tmp_path, PATCHES)


@pytest.mark.parametrize(
    ("descriptor", "board", "expected"),
    [
        ("serial", U5, "serial"),
        ("serial", N6, "serial:921600"),
        ("serial:115200", N6, "serial:115200"),
        ("serial:COM3", N6, "serial:COM3:921600"),
        ("serial:/dev/ttyACM0:921600", U5, "serial:/dev/ttyACM0:921600"),
    ],
)
def test_descriptors(descriptor, board, expected):
    assert port(descriptor, board) == expected


@pytest.mark.parametrize(
    "descriptor", ["", "COM3", "serial:", "serial:COM 3", "serial:a:b:c", "serial:COM3:fast", "x;rm"]
)
def test_no_descriptors(descriptor):
    with pytest.raises(AedError, match="serial: need serial"):
        port(descriptor, U5)


# --- what the C code takes and gives ------------------------------------------------------------------------


def test_int8_ends_stay_int8(fake, models, tmp_path):
    fake.install("4.0")
    result = StEdgeAi().compare(models["int8_ends"], U5, tmp_path, PATCHES)
    expected = open_classifier(models["int8_ends"]).outputs(PATCHES)
    np.testing.assert_array_equal(result.outputs, expected)
    assert "--input-data-type int8 --output-data-type int8" in (tmp_path / "stedgeai_validate.log").read_text()


def test_an_int8_input_alone_stays_int8(fake, models, tmp_path):
    fake.install("4.0")
    result = StEdgeAi().compare(models["int8_in"], U5, tmp_path, PATCHES)
    np.testing.assert_array_equal(result.outputs, open_classifier(models["int8"]).outputs(PATCHES))
    assert "--input-data-type int8 --output-data-type float32" in (tmp_path / "stedgeai_validate.log").read_text()


def test_the_hsp_is_used_where_it_is_asked_for(fake, models, tmp_path):
    board, hsp = load_board("nucleo-u3c5zi-q"), Choices(hsp=True)
    fake.install("4.0")
    for choices in (Choices(), hsp):
        StEdgeAi(choices=choices).analyze(models["int8"], board, tmp_path)
        assert (" --hsp" in (tmp_path / "stedgeai_analyze.log").read_text()) == choices.hsp
    with pytest.raises(AedError, match="board=b-u585i-iot02a: has no HSP"):
        StEdgeAi(choices=hsp).analyze(models["int8"], U5, tmp_path)
    fake.install("3.0")
    with pytest.raises(AedError, match=r"hsp=true needs ST Edge AI Core 4\.0 or newer"):
        StEdgeAi(choices=hsp).analyze(models["int8"], board, tmp_path)


def test_recordings_are_predicted_by_sts_code(fake, models, tmp_path):
    fake.install("4.0")
    for number in range(3):
        sound = 0.3 * np.random.default_rng(number).standard_normal(nets.FRONTEND.sample_rate)
        sf.write(tmp_path / f"{number}.wav", sound, nets.FRONTEND.sample_rate)
    names = [str(tmp_path / f"{number}.wav") for number in range(3)]
    texts = {}
    for model in ("int8", "int8_in", "int8_ends"):
        for on in ("runtime", "board"):
            output = tmp_path / f"{model}_{on}.csv"
            predict_files(str(models[model]), names, format="csv", output=str(output), config=ProgramConfig(on=on))
            texts[model, on] = output.read_text()
    assert len(set(texts.values())) == 1 and texts["int8", "board"].count("\n") == 4
    with pytest.raises(AedError, match="on=board: need an int8"):
        predict_files(str(models["float"]), names, config=ProgramConfig(on="board"))
    with pytest.raises(AedError, match="runs no cortex-m55 code on a PC"):
        predict_files(str(models["int8"]), names, strict=True, config=ProgramConfig(on="board", board="stm32n6570-dk"))
    with pytest.raises(AedError, match="serial: only used with on=board"):
        ProgramConfig(serial="serial")
    with pytest.raises(AedError, match="on: need runtime or board"):
        PredictConfig(files=("a.wav",), on="c")


def test_an_open_batch_size_is_closed_for_the_tool(fake, models, tmp_path):
    fake.install("4.0")
    model = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig(dynamic_batch=True))
    save_model(tmp_path / "m.onnx", model, ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd")))
    before = (tmp_path / "m.onnx").read_bytes()
    result = StEdgeAi().compare(tmp_path / "m.onnx", U5, tmp_path / "out", PATCHES)
    np.testing.assert_allclose(result.outputs, result.expected, atol=1e-5)
    assert result.report.net.figures["cos"].value == pytest.approx(1)
    assert (tmp_path / "m.onnx").read_bytes() == before
    with pytest.raises(AedError, match="at least one patch"):
        StEdgeAi().compare(tmp_path / "m.onnx", U5, tmp_path, PATCHES[:0])


def test_inputs_keep_the_models_axes(models):
    model = load_model(models["int8"])
    assert to_inputs(PATCHES, model, Path("m"), channels_last=False).shape == (6, 1, 16, 32)
    last = to_inputs(PATCHES, model, Path("m"), channels_last=True)
    assert last.shape == (6, 16, 32, 1) and last.dtype == np.float32
    np.testing.assert_array_equal(last[..., 0], PATCHES[:, 0])
    with pytest.raises(AedError, match="takes inputs of shape"):
        to_inputs(PATCHES[:, :, :8], model, Path("m"), channels_last=False)


@pytest.mark.parametrize(
    "arrays",
    [
        {"m_outputs_1": np.zeros((6, 4))},
        {"c_outputs_1": np.zeros((5, 4))},
        {"c_outputs_1": np.zeros((6, 4), complex)},
        {"c_outputs_1": np.array([["a"] * 4] * 6)},
        {"c_outputs_1": np.array([[None] * 4] * 6, object)},
    ],
)
def test_outputs_that_are_none(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(AedError, match=r"c_outputs_1|no outputs"):
        parse.read_outputs((tmp_path / "x.npz").read_bytes(), tmp_path / "x.npz", 6, 4)


def test_a_broken_npz(fake, models, tmp_path):
    fake.install("3.0", "bad_npz")
    with pytest.raises(AedError, match="no outputs of the C code in it"):
        StEdgeAi().compare(models["int8"], U5, tmp_path, PATCHES)


# --- command lines ------------------------------------------------------------------------------------------


VERSIONS = {name: read_version(text) for name, text in fake_stedgeai.VERSIONS.items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("action", ["analyze", "generate", "validate"])
@pytest.mark.parametrize("board", ["b-u585i-iot02a", "stm32n6570-dk"])
@pytest.mark.parametrize("descriptor", [None, "serial"])
def test_only_options_that_exist(version, action, board, descriptor, tmp_path):
    tool, target = Tool(tmp_path / "stedgeai", VERSIONS[version]), load_board(board)
    paths = RunFiles(model=tmp_path / "a b.onnx", workspace=tmp_path / "w", output=tmp_path / "o")
    if not tool.version.core and target.neural_art:
        return
    words = command(tool, action, target, paths, Choices(c_api="legacy"), ("float32", "float32"), descriptor)
    assert words[:4] == [str(tool.path), action, "--model", str(paths.model)]
    found = fake_stedgeai.options(words[2:], tool.version.core, version)
    assert isinstance(found, dict), found
    never = {"--json", "--quantize", "--no-onnx-io-transpose", "--no-onnx-optimize"}
    assert not never & set(words)
    assert ("--c-api" in words) == (version in ("3.0", "4.0"))
    assert ("--mode" in words) == (action == "validate")


def test_the_users_own_options(fake, models, tmp_path):
    fake.install("4.0")
    with pytest.raises(AedError, match=r"E102\(CliArgumentError\): --address[\s\S]*no such option"):
        StEdgeAi(choices=Choices(extra=("--address", "0x1"))).generate(models["int8"], U5, tmp_path)
    old = StEdgeAi(choices=Choices(extra=("--address", "0x1"), c_api="legacy", c_name="aed", optimization="ram"))
    assert (old.generate(models["int8"], U5, tmp_path), (tmp_path / "c" / "aed.c").is_file())[1]
    with pytest.raises(AedError, match=r"exit code 2[\s\S]*--json[\s\S]*does not know an option"):
        StEdgeAi(choices=Choices(extra=("--json",))).analyze(models["int8"], U5, tmp_path)
    with pytest.raises(AedError, match="c_name: need a name of C"):
        Choices(c_name="my net; rm -rf /")
    with pytest.raises(AedError, match="has no Neural-ART"):
        StEdgeAi(choices=Choices(neural_art="default")).analyze(models["int8"], U5, tmp_path)
    with pytest.raises(AedError, match="memory_pool: no file"):
        StEdgeAi(choices=Choices(memory_pool=tmp_path / "none.json")).analyze(models["int8"], U5, tmp_path)


def test_the_new_c_api_needs_core_3(fake, models, tmp_path):
    fake.install("2.2")
    with pytest.raises(AedError, match=r"needs ST Edge AI Core 3\.0 or newer, this is 2\.2\.0-20266 2adc00962"):
        StEdgeAi(choices=Choices(c_api="st-ai")).analyze(models["int8"], U5, tmp_path)


def test_a_board_that_the_tool_does_not_know(fake, models, tmp_path):
    fake.install("4.0")
    with pytest.raises(AedError, match="stedgeai does not know it"):
        StEdgeAi().analyze(models["int8"], load_board("mps2-an505"), tmp_path)


# --- versions and where the tool is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ST Edge AI Core v4.0.1-20581 7ed50de05", (True, (4, 0, 1), "4.0.1-20581 7ed50de05")),
        ("ST Edge AI Core v4.0.0-20500 359356bb0\n  MLC 1.2.4-RC2", (True, (4, 0, 0), "4.0.0-20500 359356bb0")),
        ("warning: x\nST Edge AI Core v2.0.0-A1\n", (True, (2, 0, 0), "2.0.0-A1")),
        ("ST Edge AI Core v2.1.0-20194 329b0e98d", (True, (2, 1, 0), "2.1.0-20194 329b0e98d")),
        ("ST Edge AI Core v3.0.0-RC2", (True, (3, 0, 0), "3.0.0-RC2")),
        ("Neural Network Tools for STM32AI v1.6.0 (STM.ai v7.3.0-RC5)", (False, (7, 3, 0), "7.3.0-RC5")),
        ("Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.1.0-19520)", (False, (8, 1, 0), "8.1.0-19520")),
        ("Neural Network Tools for STM32AI v1.7.0 (STM.ai v8.0.0-19389)", (False, (8, 0, 0), "8.0.0-19389")),
    ],
)
def test_versions(text, expected):
    version = read_version(text)
    assert (version.core, version.numbers, version.text) == expected


def test_parts_of_a_version():
    assert VERSIONS["4.0"].parts == {"ISPU": "2.0.1-RC2", "MLC": "1.2.4-RC2", "STM32CubeAI": "12.0.1-RC2"}
    assert sorted(VERSIONS.values()) == [VERSIONS[name] for name in ("7.3", "8.1", "2.0", "2.2", "3.0", "4.0")]


@pytest.mark.parametrize("text", ["", "\x00\xff", "v1.2.3", "ST Edge AI Core", "ST Edge AI Core v99999999999.1.1"])
def test_no_versions(text):
    with pytest.raises(AedError, match="is it ST's tool"):
        read_version(text)


def test_an_old_version_is_refused_a_new_one_remarked(caplog):
    with pytest.raises(AedError, match=r"7\.1 is too old; need 7\.3"):
        read_version("Neural Network Tools for STM32AI v1.6.0 (STM.ai v7.1.0-RC3)")
    assert read_version("ST Edge AI Core v5.1.0-30000 abcdef0").numbers == (5, 1, 0)
    assert "newer than 4.0" in caplog.text


def test_where_the_tool_is_looked_for(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(find.platform, "system", lambda: "Linux")
    with pytest.raises(AedError, match=r"not found on PATH[\s\S]*STEDGEAI_PATH"):
        find_tool()
    pack = tmp_path / "home/STM32Cube/Repository/Packs/STMicroelectronics/X-CUBE-AI"
    old = fake.install("8.1", at=pack / "8.1.0/Utilities/linux")
    assert find_tool().path == old
    middle = fake.install("2.2", at=pack / "10.2.0/Utilities/linux")
    new = fake.install("4.0", at=tmp_path / "home/ST/STEdgeAI/4.0/Utilities/linux")
    fake.install("3.0", at=tmp_path / "home/ST/STEdgeAI/3.0/Utilities/linux")
    fake.install("4.0", at=tmp_path / "home/ST/STEdgeAI/backup/Utilities/linux")
    assert find_tool().path == new
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(pack / "10.2.0"))
    assert find_tool().path == middle
    on_path = fake.install("4.0")
    assert find_tool().path == on_path
    monkeypatch.setenv("STEDGEAI_PATH", str(new))
    assert find_tool().path == new
    monkeypatch.setenv("FAKE_STEDGEAI_VERSION", "8.1")
    assert find_tool(old).version.numbers == (8, 1, 0)
    assert find_tool(pack / "10.2.0").path == middle
    (tmp_path / "plain").touch(mode=0o644)
    with pytest.raises(AedError, match="may not be run"):
        find_tool(tmp_path / "plain")
    with pytest.raises(AedError, match="STEDGEAI_PATH: no stedgeai at"):
        monkeypatch.setenv("STEDGEAI_PATH", str(tmp_path / "gone"))
        find_tool()


def test_stm32ai_comes_second_on_a_path(fake):
    fake.install("8.1")
    assert find_tool().path.name == "stm32ai"
    fake.install("4.0")
    assert find_tool().path.name == "stedgeai"


@pytest.mark.parametrize(
    ("system", "paths"),
    [
        (
            "Windows",
            ["ST/STEdgeAI/4.0/Utilities/windows/stedgeai.exe", "ST/STEdgeAI/3.0/Utilities/windows/stm32ai.exe"],
        ),
        ("Darwin", ["Applications/ST/STEdgeAI/4.0/Utilities/mac/stedgeai"]),
        ("Linux", ["opt/ST/STEdgeAI/2.10/Utilities/linux/stedgeai", "opt/ST/STEdgeAI/2.2/Utilities/linux/stedgeai"]),
    ],
)
def test_install_folders_newest_first(tmp_path, monkeypatch, system, paths):
    monkeypatch.setattr(find.platform, "machine", lambda: "x86_64")
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert list(installed(system, tmp_path / "home", tmp_path)) == [tmp_path / path for path in paths]


def test_a_tool_without_its_python(fake):
    fake.install("4.0", "no_python")
    with pytest.raises(AedError, match=r"exit code 127[\s\S]*misses its own Python"):
        find_tool()


def test_a_version_that_never_comes(fake, monkeypatch):
    path = fake.install("4.0")
    path.write_text(f"#!{sys.executable}\nprint('usage statistics? [y/n]', flush=True)\nimport time; time.sleep(60)")
    monkeypatch.setattr(find, "VERSION_TIMEOUT_S", 1.0)
    with pytest.raises(AedError, match=r"did not end within 1 s[\s\S]*terminal"):
        find_tool()


# --- safety -------------------------------------------------------------------------------------------------


def test_secrets_are_neither_passed_nor_logged(fake, models, tmp_path, monkeypatch, caplog):
    fake.install("4.0", "environment")
    for name in ("stmai_password", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY"):
        monkeypatch.setenv(name, "hunter2")
    with caplog.at_level("DEBUG"):
        StEdgeAi().analyze(models["int8"], U5, tmp_path)
    log = (tmp_path / "stedgeai_analyze.log").read_text()
    assert "FAKE_STEDGEAI_MODE" in log and "hunter2" not in log + caplog.text
    assert "PATH" in environment()


def test_a_temporary_folder_beyond_ascii_is_left(tmp_path, monkeypatch):
    odd = tmp_path / "é"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    assert ascii_folder() in ("/tmp", "/var/tmp")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(AedError, match="set TMPDIR"):
        ascii_folder()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("E102(CliArgumentError): Validation on host is not supported for devices", "board only"),
        ("E801(HwIOError): Invalid firmware - COM6:115200", "validation program"),
        ("E801(HwIOError): No weights are available (1549912 bytes expected)", "validation program"),
        ('invalid/unsupported "lib:COM3" descriptor', "no board at this port"),
        ("INTERNAL ERROR: Mismatch in channel position", "cannot take this model"),
        ("ModuleNotFoundError: No module named 'onnx'", "its own Python"),
        ("'python' is not recognized as an internal or external command", "its own Python"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("all is well", None),
    ],
)
def test_advice(output, text):
    found = advice(output, Path("stedgeai"))
    assert found is None if text is None else text in found


def test_the_error_line():
    assert error_line("a\n E010(InvalidModelError): no\nb") == "E010(InvalidModelError): no"
    assert error_line("see E010(InvalidModelError)") is None and len(ADVICE) > 10


# --- reports: recorded ones, and 10,000 spoilt ones ---------------------------------------------------------


def read(how: Callable[[bytes, Path], parse.Reading], path: Path) -> parse.Reading:
    return how(path.read_bytes(), path)


def test_a_c_info_as_published():
    reading = read(parse.read_c_info, DATA / "c_info_u5_4.0.1.json")
    assert reading.figures == {
        "weights_bytes": 39904, "activations_bytes": 10144, "library_flash_bytes": 5746, "library_ram_bytes": 288,
        "flash_bytes": 45650, "ram_bytes": 10432, "macc": 52420,
    }  # fmt: skip
    assert reading.details["tool"] == "4.0.1-20581 7ed50de05"
    assert reading.layers[0] == {"name": "conv2d_0", "kind": "CONV2D", "macc": 41000}
    printed = parse.read_text((DATA / "analyze_u5_4.0.1.txt").read_text())
    assert printed.figures == reading.figures


def test_an_old_report_as_published(tmp_path):
    expected = {"weights_bytes": 139168, "activations_bytes": 112200, "macc": 23_900_000}
    assert read(parse.read_report, DATA / "report_7.3.json").figures == expected
    content = json.loads((DATA / "report_7.3.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps(content | {"ram_size": 112200}))
    assert read(parse.read_report, tmp_path / "r.json").figures == expected
    (tmp_path / "r.json").write_text(json.dumps(content | {"error": 1, "error_str": ["bad layer"]}))
    with pytest.raises(AedError, match="bad layer"):
        read(parse.read_report, tmp_path / "r.json")


def test_a_validation_on_a_board_as_published():
    reading = parse.read_validation((DATA / "validate_target_2.2.txt").read_text())
    assert reading.figures == {"rmse": 1e-9, "cos": 1.0, "inference_ms": 11.97, "cycles": 59850}
    assert reading.details["duration_ms"] == {"min": 11.733, "max": 12.052, "std": 0.097}
    assert reading.details["agreement"]["TARGET c-model"]["acc"] == pytest.approx(0.963)
    assert [row["name"] for row in reading.layers] == ["ai_node_0", "ai_node_1"]
    assert reading.layers[1] == {"name": "ai_node_1", "kind": "Dense (0x104)", "inference_ms": 3.9, "cycles": 19500}


def test_text_with_the_line_ends_of_windows_progress_bars_and_colours():
    text = (DATA / "validate_target_2.2.txt").read_text()
    odd = text.replace("\n", "\r\n").replace("Running", "\rProcessing.. 1/540\rProcessing.. 2/540\rRunning")
    odd = odd.replace("duration", "\x1b[36mduration").replace("by sample", "by sample\x1b[39;0m")
    assert parse.read_validation(parse.plain_text(odd)) == parse.read_validation(text)
    assert error_line(parse.plain_text("50%\r\x1b[31mE010(InvalidModelError): no\r\n")) == "E010(InvalidModelError): no"


def test_times_in_a_c_info(tmp_path):
    content = json.loads((DATA / "c_info_u5_4.0.1.json").read_text())
    content["graphs"][0]["exec_time"] = {"cycles": 989572, "duration_ms": 6.185, "cycles_by_macc": 1.12}
    (tmp_path / "c.json").write_text(json.dumps(content))
    figures = read(parse.read_c_info, tmp_path / "c.json").figures
    assert (figures["cycles"], figures["inference_ms"]) == (989572, 6.185)
    (tmp_path / "c.json").write_text(json.dumps(content | {"json_schema_version": "3.0"}))
    with pytest.raises(AedError, match=r"schema '3\.0'"):
        read(parse.read_c_info, tmp_path / "c.json")


ODD = [
    None,
    True,
    False,
    -1,
    0,
    1e300,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "12",
    "\ud83d",
    [],
    {},
    [None],
    [[1]],
    {"a": 1},
]


def spoilt_value(value: object, chance: random.Random) -> object:
    """A JSON value with one place of it changed, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        rest = {name: item for name, item in value.items() if name != key}
        kind = chance.random()
        return rest if kind < 0.15 else rest | {key: spoilt_value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        number = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.2:
            return value[:number] + value[number + 1 :]
        return [
            *value[:number],
            spoilt_value(value[number], chance),
            *value[number + 1 :],
            *(value if kind > 0.9 else []),
        ]
    return chance.choice(ODD)


def spoilt_bytes(raw: bytes, chance: random.Random) -> bytes:
    """Bytes cut off, flipped, removed, doubled or thrown in."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 2:
            del data[at : at + chance.randrange(40)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randrange(200)]
        else:
            data[at:at] = chance.choice(
                (b"9" * 30, b"[" * 3000, b" " * 2000, b"\x00", b"\n", b"-", b",", b"1e999", b"\xff")
            )
    return bytes(data)


def check(reading: parse.Reading) -> None:
    """Every figure is a number that can be meant, and all of it fits a JSON file."""
    json.dumps({"figures": reading.figures, "layers": reading.layers, "details": reading.details}, allow_nan=False)
    for key, value in reading.figures.items():
        assert key in FIGURES and not isinstance(value, bool)
        assert (-1 <= value <= 1) if key == "cos" else (0 <= value <= 10 * parse.MOST)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("c_info_u5_4.0.1.json", parse.read_c_info),
        ("report_7.3.json", parse.read_report),
        ("analyze_u5_4.0.1.txt", parse.read_text),
        ("validate_target_2.2.txt", parse.read_validation),
    ],
)
def test_spoilt_reports_give_a_value_nothing_or_a_clear_error(name, read):
    chance, raw = random.Random(name), (DATA / name).read_bytes()
    outcomes = {"figures": 0, "nothing": 0, "error": 0}
    for _ in range(2500):
        structure = name.endswith(".json") and chance.random() < 0.5
        bad = json.dumps(spoilt_value(json.loads(raw), chance)).encode() if structure else spoilt_bytes(raw, chance)
        try:
            reading = read(bad, Path(name)) if name.endswith(".json") else read(bad.decode("utf-8", "replace"))
        except AedError:
            outcomes["error"] += 1
            continue
        check(reading)
        outcomes["figures" if reading.figures else "nothing"] += 1
    assert outcomes["figures"] > 500 and (outcomes["error"] or outcomes["nothing"])


def test_spoilt_arrays_give_outputs_or_a_clear_error(tmp_path):
    np.savez(tmp_path / "x.npz", m_outputs_1=np.zeros((6, 4)), c_outputs_1=np.ones((6, 1, 1, 4), np.float32))
    chance, raw = random.Random(0), (tmp_path / "x.npz").read_bytes()
    for _ in range(2000):
        with contextlib.suppress(AedError):
            assert parse.read_outputs(spoilt_bytes(raw, chance), tmp_path, 6, 4).shape == (6, 4)


# --- boards -------------------------------------------------------------------------------------------------


def test_boards_of_st():
    names = board_names("stedgeai")
    assert {"b-u585i-iot02a", "stm32n6570-dk", "stm32h747i-disco", "nucleo-g474re"} <= set(names) and len(names) >= 12
    for name in names:
        board = load_board(name)
        assert board.series.removeprefix("stm32") in fake_stedgeai.SERIES and board.clock_mhz and board.ram_kib
        assert board.cloud_name in (None, name.upper())
        assert board.neural_art == (board.series == "stm32n6")
    assert (U5.firmware, N6.firmware, U5.ram_kib) == ("u5", "n6", 786)


def test_it_is_a_target():
    target: Backend = StEdgeAi()
    assert target.name == "stedgeai" and Version(True, (4, 0, 0)) > Version(False, (8, 1, 0))
