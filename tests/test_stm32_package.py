"""What ST's audio firmware is given: headers that compile, tables, packages, builds and flashing on stand-ins."""

import ctypes
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import soundfile as sf
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_files import INT8, Net, separable

from aed.base.errors import AedError
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.dsp.tables import mel_table, window_table
from aed.export.card import ModelCard
from aed.export.embedding import embedding_size, with_embedding
from aed.export.graph import load_model, read_model_card, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.export.runtime import open_session
from aed.inference.onnx import OnnxClassifier
from aed.run.deploy import test_clips as delivered_clips
from aed.run.importing.verb import import_model
from aed.scoring.decision import Decision
from aed.scoring.nearness import Nearness
from aed.scoring.rule import EventRule
from aed.target.boards import Board
from aed.target.codegen.text import c_string
from aed.target.firmware.stm32 import Tools, build_and_flash, deploy_stm32, variant_of
from aed.target.firmware.stm32 import package as package_of_stm32
from aed.target.firmware.stm32.headers import (
    check_class_name,
    check_frontend,
    config_header,
    pack_mel,
    tables_header,
    tables_source,
)
from aed.target.firmware.stm32.net import firmware_model
from aed.target.firmware.stm32.st_frontend import Effect, effect
from aed.target.firmware.stm32.tools import PROGRAMMER, find_program
from aed.target.report import Cost, Report

pytestmark = pytest.mark.usefixtures("compiles")

DATA = Path(__file__).parent / "data" / "stm32"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
TYPES = {"u5": "float32_t", "n6": "PREPROC_FLOAT_T"}
CLASSES = ("dog", "rain")
BOARDS = {
    "u5": Board(name="b-u585i-iot02a", core="cortex-m33", ram_kib=786, flash_kib=2048, firmware="u5"),
    "n6": Board(name="stm32n6570-dk", core="cortex-m55", ram_kib=4200, flash_kib=0, firmware="n6"),
}

# --- headers -----------------------------------------------------------------------------------------------------


def compiled(folder: Path, config: FrontendConfig, classes: tuple[str, ...] = CLASSES, variant: str = "u5", **more):
    """The headers, compiled with code that uses all of them, as a library of this machine.

    Args:
        more: Arguments of config_header; ``prefix``: which generation of firmware; ``threadx``: how the gate is read.
    """
    prefix, threadx = more.pop("prefix", "MODE"), more.pop("threadx", 0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ai_model_config.h").write_text(config_header(config, classes, **more), encoding="ascii")
    (folder / "user_mel_tables.h").write_text(tables_header(config, variant), encoding="ascii")
    (folder / "user_mel_tables.c").write_text(tables_source(config, variant), encoding="ascii")
    defines = [f"-DPREFIX={prefix}", f"-DTABLE_T={TYPES[variant]}", f"-DGATE_IN_PREPROCESSOR={threadx}"]
    command = ["gcc", *FLAGS, *defines, f"-I{folder}", f"-I{DATA}", "-shared", "-fPIC"]
    units = [str(folder / "user_mel_tables.c"), str(DATA / "firmware.c")]
    done = subprocess.run([*command, "-o", str(folder / "it.so"), *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "it.so"))


def array(library: ctypes.CDLL, name: str, kind: type, size: int) -> np.ndarray:
    return np.array((kind * size).in_dll(library, name))


def check_tables(library: ctypes.CDLL, config: FrontendConfig) -> None:
    """Window and mel tables as C has them, the mel matrix put together again."""
    window, lut, start, stop = array(library, "aed_sizes", ctypes.c_uint32, 4).tolist()
    assert (window, start, stop) == (config.win_length, config.n_mels, config.n_mels)
    expected = window_table("hann", config.win_length).astype(np.float32)
    np.testing.assert_array_equal(array(library, "user_win", ctypes.c_float, window), expected)
    first = array(library, "user_melFiltersStartIndices", ctypes.c_uint32, start).astype(int)
    last = array(library, "user_melFiltersStopIndices", ctypes.c_uint32, stop).astype(int)
    values = array(library, "user_melFiltersLut", ctypes.c_float, lut)
    assert lut == (last - first + 1).sum()
    rebuilt, at = np.zeros_like(mel_table(config)), 0
    for band, (low, high) in enumerate(zip(first, last, strict=True)):
        rebuilt[band, low : high + 1] = values[at : at + high - low + 1]
        at += high - low + 1
    np.testing.assert_array_equal(rebuilt, mel_table(config))


def check_macros(library: ctypes.CDLL, config: FrontendConfig, classes: tuple[str, ...]) -> None:
    numbers = array(library, "aed_numbers", ctypes.c_uint32, 17).tolist()
    spectrogram = [config.n_mels, config.patch_frames, config.hop_length, config.n_fft, config.win_length]
    assert numbers == [
        1, 1, len(classes), 4, 0, 3, *spectrogram, int(config.norm == "slaney"), int(config.mel_scale == "slaney"),
        int(config.f_min), int(config.f_max), int(config.power), int(not config.to_db),
    ]  # fmt: skip
    assert array(library, "aed_reals", ctypes.c_float, 2).tolist() == [config.sample_rate, 112.5]
    names = (ctypes.c_char_p * len(classes)).in_dll(library, "aed_class_names")
    assert tuple(name.decode() for name in names) == classes
    assert ctypes.c_char_p.in_dll(library, "aed_model_name").value == b"X-CUBE-AI AED"
    assert ctypes.c_char_p.in_dll(library, "aed_sensor_name").value == b"imp34dt05"


@pytest.mark.parametrize("variant", ["u5", "n6"])
@pytest.mark.parametrize("preset", ["yamnet_64x96", "yamnet_google_64x96", "miniresnet_64x50"])
@pytest.mark.parametrize("prefix", ["MODE", "MODEL"])
def test_presets_compile_for_both_variants_and_generations(tmp_path, preset, variant, prefix):
    config = PRESETS[preset]
    library = compiled(tmp_path, config, variant=variant, prefix=prefix, threadx=int(prefix == "MODEL"))
    check_tables(library, config)
    check_macros(library, config, CLASSES)


@st.composite
def legal(draw) -> FrontendConfig:
    """Front ends the firmware can compute."""
    rate, n_fft = draw(st.sampled_from((16000, 48000))), draw(st.sampled_from((128, 256, 512, 1024, 2048, 4096)))
    f_max = draw(st.integers(1000, rate // 2))
    for n_mels in range(draw(st.integers(1, 128)), 0, -3):  # fewer until no band is empty
        try:
            return FrontendConfig(
                sample_rate=rate, n_fft=n_fft, win_length=draw(st.integers(2, n_fft)), n_mels=n_mels,
                hop_length=draw(st.integers(1, 2048)), f_min=draw(st.integers(0, f_max // 2)), f_max=f_max,
                mel_scale=draw(st.sampled_from(("htk", "slaney"))), norm=draw(st.sampled_from((None, "slaney"))),
                power=draw(st.sampled_from((1.0, 2.0))), to_db=draw(st.booleans()), center=draw(st.booleans()),
                log_offset=draw(st.sampled_from((0.0, 1e-4, 1e-3))), patch_frames=draw(st.integers(1, 200)),
                lengthen="before",
            )  # fmt: skip
        except AedError:
            continue
    return PRESETS["yamnet_64x96"]


LABELS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    config=legal(),
    classes=st.lists(LABELS, min_size=1, max_size=6).map(tuple),
    variant=st.sampled_from(("u5", "n6")),
    threshold=st.one_of(st.just(0), st.floats(0.0, 0.99)),
    threadx=st.integers(0, 1),
)
def test_every_legal_config_is_valid_c(tmp_path_factory, config, classes, variant, threshold, threadx):
    threshold = 0 if "other" in classes else threshold
    folder = tmp_path_factory.mktemp("headers")
    library = compiled(folder, config, classes, variant, unknown_threshold=threshold, threadx=threadx)
    check_tables(library, config)
    check_macros(library, config, classes)
    assert array(library, "aed_reals", ctypes.c_float, 3)[2] == np.float32(threshold)


@pytest.mark.parametrize("threadx", [0, 1])
def test_the_silence_gate_in_c(tmp_path, threadx):
    def answers(config: FrontendConfig, total: float, **more) -> bool:
        library = compiled(tmp_path / f"{config.power}{more}", config, threadx=threadx, **more)
        library.aed_is_loud.argtypes = [ctypes.c_float]
        return bool(library.aed_is_loud(total))

    log = FrontendConfig()
    assert [answers(log, total) for total in (100.0, 100.5)] == [False, True]
    power = replace(log, power=2.0)
    assert answers(power, 0.0)  # the sum of a power spectrum is always 0
    assert answers(power, 0.0, silence_threshold=0) == bool(threadx)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 22050}, r"frontend.sample_rate: ST's firmware takes one of \(16000, 48000\) Hz, got 22050"),
        ({"n_fft": 500}, "frontend.n_fft: ST's firmware takes a power of two from 32 to 4096, got 500"),
        ({"n_fft": 8192}, "frontend.n_fft"),
        ({"window": "hamming"}, "frontend.window: ST's firmware takes 'hann', got 'hamming'"),
        ({"power": 1.5}, "frontend.power"),
        ({"f_min": 62.5}, "frontend.f_min: ST's firmware takes whole Hz, got 62.5"),
        ({"f_max": 7999.5}, "frontend.f_max"),
        ({"pre_emphasis": 0.9}, r"frontend.pre_emphasis: ST's firmware takes 0, or any with .*, got 0\.9"),
        ({"log_mean": -4.5}, "frontend.log_mean: ST's firmware takes 0, got -4.5"),
        ({"log_std": 5}, "frontend.log_std: ST's firmware takes 1, got 5.0"),
    ],
)
def test_what_the_firmware_cannot_compute_is_refused(changes, message):
    config = FrontendConfig(**{"lengthen": "before", **changes})
    with pytest.raises(AedError, match=message):
        check_frontend(config)
    with pytest.raises(AedError, match=message):
        config_header(config, CLASSES)


@pytest.mark.parametrize("preset", sorted(name for name in PRESETS if name.startswith("mn_")))
def test_no_front_end_of_mn04_is_written_for_a_firmware_that_cannot_compute_it(preset):
    with pytest.raises(AedError, match=r"frontend.*ST's firmware takes"):
        config_header(PRESETS[preset], CLASSES)


def test_an_empty_band_is_named():
    table = np.eye(4, 9, dtype=np.float32)
    table[2] = 0
    with pytest.raises(AedError, match=r"mel bands \[2\] hold no FFT bin"):
        pack_mel(table)


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("dog", '"dog"'),
        ('a "b"', r'"a \042b\042"'),
        ("a\\b", r'"a\134b"'),
        ("hé", r'"h\303\251"'),
        ("éa1g", r'"\303\251a1g"'),
        ("why??/", r'"why\077\077/"'),
    ],
)
def test_names_as_c_strings(name, constant):
    assert c_string(name) == constant


@pytest.mark.parametrize("name", ["", "a\nb", "tab\t", "\x00", "\x85", "\u2028", "\ud800"])
def test_names_that_are_no_line_of_text(name):
    with pytest.raises(AedError, match="class name"):
        check_class_name(name)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(value):
    with pytest.raises(AedError, match="unknown_threshold: need a probability"):
        config_header(FrontendConfig(), CLASSES, unknown_threshold=value)


def test_a_threshold_and_a_class_other_exclude_each_other():
    assert '"dog",\\\n    "other"}' in config_header(FrontendConfig(), ("dog", "other"))
    with pytest.raises(AedError, match="class 'other' already"):
        config_header(FrontendConfig(), ("dog", "other"), unknown_threshold=0.5)


@pytest.mark.parametrize("value", [1.5, -2, True])
def test_a_silence_threshold_is_a_whole_number(value):
    with pytest.raises(AedError, match="silence_threshold: need a whole number"):
        config_header(FrontendConfig(), CLASSES, silence_threshold=value)


# --- net and package ---------------------------------------------------------------------------------------------

CALIBRATION = nets.patches(24, seed=1).numpy()
CONFIGS = {io: QuantizeConfig(io=io) for io in ("float", "int8")}
NAMES = ("wolf", "ape", "other", 'say "hi"', "cow")


@cache
def graph(io: str, softmax: bool) -> onnx.ModelProto:
    return quantize(
        to_onnx(nets.make("yamnet"), nets.FRONTEND, ExportConfig(softmax=softmax)), CALIBRATION, CONFIGS[io]
    )


def int8_model(path: Path, io: str = "float", softmax: bool = False, **changes) -> Path:
    facts = quantization_facts(graph("float", softmax), CONFIGS[io], ())
    outputs = "probabilities" if softmax else "logits"
    card = ModelCard(frontend=nets.FRONTEND, class_names=NAMES, outputs=outputs, quantization=facts)
    save_model(path, graph(io, softmax), replace(card, **changes))
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    return int8_model(tmp_path_factory.mktemp("model") / "model_int8.onnx")


@pytest.mark.parametrize("io", ["float", "int8"])
@pytest.mark.parametrize("softmax", [False, True])
def test_the_net_takes_int8_and_gives_probabilities(tmp_path, io, softmax):
    path = int8_model(tmp_path / "m.onnx", io, softmax)
    model, card = load_model(path), read_model_card(load_model(path), path)
    made, made_card = firmware_model(model, card, path)
    types = [value.type.tensor_type.elem_type for value in (*made.graph.input, *made.graph.output)]
    assert types == [onnx.TensorProto.INT8, onnx.TensorProto.FLOAT]
    assert made_card.outputs == "probabilities"
    patches = nets.patches(6, seed=3).numpy()
    expected = OnnxClassifier(model, card, path).posteriors(patches)
    np.testing.assert_allclose(outputs(made, card, patches), expected, atol=1e-6)


def outputs(model: onnx.ModelProto, card: ModelCard, patches: np.ndarray) -> np.ndarray:
    """What the firmware's net gives, whose input the firmware quantises."""
    facts = card.quantization
    steps = np.clip(np.rint(patches / np.float32(facts.input_scale)) + facts.input_zero_point, -128, 127)
    session = open_session(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: step[None].astype(np.int8)})[0] for step in steps])


def without_last_conversions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A net whose last layer stays float: its logits are neither quantised nor dequantised."""
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    made = {name: node for node in twin.graph.node for name in node.output}
    last = made[twin.graph.output[0].name]
    quantised = made[last.input[0]]
    made[quantised.input[0]].output[0] = twin.graph.output[0].name
    for node in (last, quantised):
        twin.graph.node.remove(node)
    return twin


@pytest.mark.parametrize("form", ["float", "int8", "float layer"])
@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_net_has_the_temperature_of_the_card(tmp_path, form, temperature):
    path = int8_model(tmp_path / "m.onnx", form.split()[0], decision=Decision(temperature))
    model, card = load_model(path), read_model_card(load_model(path), path)
    model = without_last_conversions(model) if form == "float layer" else model
    patches = nets.patches(6, seed=3).numpy()
    plain = np.log(outputs(firmware_model(model, replace(card, decision=Decision()), path)[0], card, patches))
    parts = np.exp(plain.astype(np.float64) / temperature)
    made, _ = firmware_model(model, card, path)
    got = outputs(made, card, patches)
    np.testing.assert_allclose(got, parts / parts.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.abs(got - np.exp(plain)).max() > 0.01
    assert [node.op_type for node in made.graph.node].count("Div") == (form == "float layer")


def test_a_softmax_in_the_net_has_its_temperature_already(tmp_path):
    path = int8_model(tmp_path / "m.onnx", softmax=True)
    model, card = load_model(path), read_model_card(load_model(path), path)
    plain, tempered = (firmware_model(model, replace(card, decision=Decision(t)), path)[0] for t in (1.0, 2.0))
    assert plain == tempered


class FakeGenerator:
    """Writes network code; or fails, or writes none."""

    name = "fake"

    def __init__(self, failure: str = "") -> None:
        self.failure = failure

    def generate(self, model: Path, board: Board, folder: Path) -> Report:
        if self.failure == "raise":
            raise AedError("the tool failed")
        (folder / "c").mkdir()
        if self.failure != "nothing":
            if model.suffix == ".onnx":
                given = load_model(model).graph.input[0].type.tensor_type.elem_type
                assert given == onnx.TensorProto.INT8
            (folder / "c" / "network.c").write_text("int network = 1;\n")
            (folder / "c" / "network.h").write_text("extern int network;\n")
            (folder / "c" / "network_data.c").write_text("int network_data = 2;\n")
            if board.firmware == "n6":
                (folder / "c" / "network_atonbuf.xSPI2.raw").write_bytes(b"weights")
        return Report(target="fake", action="generate", board=board.name, core=board.core, net=Cost(figures={}))


def imported(folder: Path, net: Net) -> tuple[Path, Path]:
    """A file of TensorFlow Lite and the model made of it."""
    folder.mkdir()
    path = net.save(folder / "best.tflite")
    (model,) = import_model([str(path)], ["ape", "cow", "dog", "wolf"], nets.FRONTEND)
    return path, model


def test_the_file_that_a_model_was_imported_from_may_be_what_the_tool_gets(tmp_path):
    path, model = imported(tmp_path / "a", separable(size=(16, 32)))
    package = deploy_stm32(model, tmp_path / "p", BOARDS["u5"], FakeGenerator(), original=path)
    assert (tmp_path / "p" / "model_firmware.tflite").read_bytes() == path.read_bytes()
    assert not (tmp_path / "p" / "model_firmware.onnx").exists()
    assert package.manifest["model"]["firmware_file"] == "model_firmware.tflite"
    assert package.manifest["settings"]["input_zero_point"] == 20


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            separable(size=(16, 32), ends=(INT8, INT8)),
            "int8 in and int8 out, ST's firmware has int8 in",
        ),
        (separable(size=(32, 16), turned=False), "takes .frames, mels."),
        (separable(size=(16, 32), end=""), "ends in .*DEQUANTIZE, ST's firmware needs"),
    ],
)
def test_an_original_that_the_firmware_cannot_use_is_refused(tmp_path, net, message):
    path, model = imported(tmp_path / "a", net)
    with pytest.raises(AedError, match=message):
        deploy_stm32(model, tmp_path / "p", BOARDS["u5"], FakeGenerator(), original=path)
    assert not (tmp_path / "p").exists()


def test_another_file_than_the_original_is_refused(tmp_path, model_file):
    path, model = imported(tmp_path / "a", separable(size=(16, 32)))
    other = separable(size=(16, 32), per_channel=False).save(tmp_path / "other.tflite")
    for file, own in ((other, model), (path, model_file)):
        with pytest.raises(AedError, match="not the file that the model was imported from"):
            deploy_stm32(own, tmp_path / "p", BOARDS["u5"], FakeGenerator(), original=file)
    with pytest.raises(AedError, match=r"need the \.tflite"):
        deploy_stm32(model, tmp_path / "p", BOARDS["u5"], FakeGenerator(), original=tmp_path / "x.keras")


@pytest.fixture
def clips(tmp_path) -> list[tuple[Path, int]]:
    random = np.random.default_rng(0)
    for number in range(4):
        sf.write(tmp_path / f"{number}.wav", random.normal(0, 0.1 * number, 24000), 16000)
    return [(tmp_path / f"{number}.wav", number) for number in range(4)]


@pytest.mark.parametrize("variant", ["u5", "n6"])
def test_a_package_is_whole(tmp_path, model_file, clips, variant):
    package = deploy_stm32(model_file, tmp_path / "out" / "package", BOARDS[variant], FakeGenerator(), clips=clips)
    manifest = json.loads((package.folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(package.manifest))
    there = {path.relative_to(package.folder).as_posix() for path in package.folder.rglob("*") if path.is_file()}
    assert there == {*manifest["files"], "manifest.json"}
    headers = {"C_header/ai_model_config.h", "C_header/user_mel_tables.h", "C_header/user_mel_tables.c"}
    assert there >= headers | {"c/network.c", "model_firmware.onnx"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["package"]
    assert manifest["firmware"] == variant
    assert manifest["model"]["class_names"] == list(NAMES)
    text = (package.folder / "C_header" / "ai_model_config.h").read_text()
    assert text.index('"wolf"') < text.index('"ape"') < text.index('"other"') < text.index('"cow"')
    assert TYPES[variant] in (package.folder / "C_header" / "user_mel_tables.c").read_text()
    rows = {row["name"]: row for row in manifest["differences"]}
    assert set(rows) == {
        "clip_steps", "frame_start", "grid", "precision", "log_offset", "input_rounding", "silence_gate",
        "aggregation", "microphone", "overrun",
    }  # fmt: skip
    assert rows["overrun"]["effect"] is None
    for name in ("log_offset", "silence_gate"):
        change = rows[name]["effect"]["clip_acc"] - manifest["accuracy"]["trained"]["clip_acc"]
        assert rows[name]["clip_acc_change"] == pytest.approx(change)
    assert manifest["accuracy"]["firmware"]["patches"] > 0
    assert manifest["accuracy"]["clips"] == 4
    assert {row["known"] for row in rows.values()} >= {"guess"}
    assert (rows["log_offset"]["known"] == "guess") == (variant == "n6")


def test_the_threshold_is_the_cards_unless_another_is_given(tmp_path, clips):
    names = ("wolf", "ape", "hen", "pig", "cow")
    sure = int8_model(tmp_path / "m.onnx", class_names=names, decision=Decision(unknown_threshold=0.75))

    def made(**given: float) -> tuple[str, dict]:
        package = deploy_stm32(sure, tmp_path / "p", BOARDS["u5"], FakeGenerator(), clips=clips, **given)
        text = (package.folder / "C_header" / "ai_model_config.h").read_text()
        return text.split("CTRL_X_CUBE_AI_OOD_THR")[1].split()[0], package.manifest

    for changes, header, number in (({}, "(0.75F)", 0.75), ({"unknown_threshold": 0.0}, "(0.0F)", 0.0)):
        text, manifest = made(**changes)
        assert (text, manifest["settings"]["unknown_threshold"]) == (header, number)
    text, manifest = made(unknown_threshold=0.99)
    assert text == "(0.99000001F)" and manifest["accuracy"]["trained"]["clip_acc"] == 0
    twice = int8_model(tmp_path / "o.onnx", decision=Decision(unknown_threshold=0.75))
    with pytest.raises(AedError, match=r"unknown_threshold=0.75: .*class 'other' already.* use unknown_threshold=0"):
        deploy_stm32(twice, tmp_path / "o", BOARDS["u5"], FakeGenerator())


def test_a_nearness_is_left_out_if_another_threshold_is_given(tmp_path: Path) -> None:
    sure = int8_model(tmp_path / "m.onnx", decision=Decision(unknown_threshold=0.75))
    graph, names = load_model(sure), ("a", "b", "c", "d", "e")
    both = with_embedding(graph)
    nearness = Nearness.of(0.9, np.ones((1, embedding_size(both)), np.int8))
    card = read_model_card(graph, sure)
    rule = replace(card.decision, nearness=nearness)
    save_model(tmp_path / "near.onnx", both, replace(card, class_names=names, decision=rule))
    with pytest.raises(AedError, match=r"which ST's firmware lacks; give .*unknown_threshold=0.5"):
        deploy_stm32(tmp_path / "near.onnx", tmp_path / "o", BOARDS["u5"], FakeGenerator())
    package = deploy_stm32(tmp_path / "near.onnx", tmp_path / "p", BOARDS["u5"], FakeGenerator(), unknown_threshold=0.5)
    written = load_model(package.folder / "model_firmware.onnx")
    assert len(written.graph.output) == 1


def test_test_clips_have_one_class_each(tmp_path, monkeypatch):
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path))
    data = tiny.data()
    data.setup()
    clips = delivered_clips(data)
    assert len(clips) == len(data.rows("test")) > 0
    for path, target in clips:
        (row,) = data.table[data.table["path"] == path].to_dict("records")
        assert row["split"] == "test" and row["labels"] == (data.class_names[target],)
    assert delivered_clips(tiny.data(multi_label=True)) == []


def test_a_score_that_is_no_number_is_null(tmp_path, model_file, clips, monkeypatch):
    def measured(*given: object) -> dict[str, Effect]:
        return {name: replace(made, clip_acc=float("nan")) for name, made in effect(*given).items()}

    monkeypatch.setattr(package_of_stm32, "effect", measured)
    package = deploy_stm32(model_file, tmp_path / "p", BOARDS["u5"], FakeGenerator(), clips=clips)
    assert json.loads((package.folder / "manifest.json").read_text())["accuracy"]["trained"]["clip_acc"] is None


def test_an_event_rule_that_stays_behind_is_said(tmp_path, caplog):
    rule = EventRule(on=(0.7,), window=3, gate_dbfs=-40.0)
    file = int8_model(tmp_path / "m.onnx", rule=rule)
    manifest = deploy_stm32(file, tmp_path / "p", BOARDS["u5"], FakeGenerator()).manifest
    row = manifest["differences"][0]
    assert row["name"] == "event_rule" and row["effect"] is None
    assert row["trained"] == "'rule.on=[0.7]', rule.window=3, rule.gate_dbfs=-40.0"
    assert "ST's firmware none" in caplog.text and "target=c" in caplog.text


def test_without_clips_nothing_is_claimed(tmp_path, model_file):
    manifest = deploy_stm32(model_file, tmp_path / "p", BOARDS["u5"], FakeGenerator()).manifest
    assert manifest["accuracy"] == {"how": "not measured: no clips", "clips": 0}
    assert all(row["effect"] is None for row in manifest["differences"])


def test_a_second_package_has_the_same_bytes(tmp_path, model_file):
    folders = tmp_path / "a", tmp_path / "b"
    first, second = (deploy_stm32(model_file, folder, BOARDS["u5"], FakeGenerator()) for folder in folders)
    for path in first.folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second.folder / path.relative_to(first.folder)).read_bytes(), path


@pytest.mark.parametrize("failure", ["raise", "nothing"])
def test_a_failure_leaves_the_older_package(tmp_path, model_file, failure):
    folder = tmp_path / "out" / "p"
    with pytest.raises(AedError):
        deploy_stm32(model_file, folder, BOARDS["u5"], FakeGenerator(failure))
    assert list((tmp_path / "out").iterdir()) == []
    deploy_stm32(model_file, folder, BOARDS["u5"], FakeGenerator())
    (folder / "mark").write_text("old")
    with pytest.raises(AedError):
        deploy_stm32(model_file, folder, BOARDS["u5"], FakeGenerator(failure))
    assert (folder / "mark").is_file()
    assert [path.name for path in folder.parent.iterdir()] == ["p"]
    deploy_stm32(model_file, folder, BOARDS["u5"], FakeGenerator())
    assert not (folder / "mark").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path, model_file):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AedError, match="holds something else"):
        deploy_stm32(model_file, tmp_path, BOARDS["u5"], FakeGenerator())
    with pytest.raises(AedError, match="holds something else"):
        deploy_stm32(model_file, tmp_path / "thesis.tex", BOARDS["u5"], FakeGenerator())


def test_models_that_do_not_fit(tmp_path, model_file):
    float_file = tmp_path / "float.onnx"
    floating = to_onnx(nets.make("yamnet"), nets.FRONTEND, ExportConfig())
    save_model(float_file, floating, ModelCard(frontend=nets.FRONTEND, class_names=NAMES))
    with pytest.raises(AedError, match="is a float model; ST's firmware writes int8 patches"):
        deploy_stm32(float_file, tmp_path / "p", BOARDS["u5"], FakeGenerator())
    few = int8_model(tmp_path / "few.onnx", class_names=("a", "b"))
    with pytest.raises(AedError, match="5 outputs, but 2 class names"):
        deploy_stm32(few, tmp_path / "p", BOARDS["u5"], FakeGenerator())
    many = int8_model(tmp_path / "many.onnx", task="multi_label")
    with pytest.raises(AedError, match=r"task multi_label, but ST's firmware names one class, .*use target=c"):
        deploy_stm32(many, tmp_path / "p", BOARDS["u5"], FakeGenerator())
    with pytest.raises(AedError, match="class index 5, but the model has 5 classes"):
        deploy_stm32(model_file, tmp_path / "p", BOARDS["u5"], FakeGenerator(), clips=[(Path("x.wav"), 5)])
    assert not (tmp_path / "p").exists()


def test_boards_without_the_firmware():
    assert [variant_of(board) for board in BOARDS.values()] == ["u5", "n6"]
    with pytest.raises(AedError, match=r"stm32\.board=b-u585i-iot02a: there is no ST audio firmware for it"):
        variant_of(replace(BOARDS["u5"], firmware=None))


# --- build and flash ---------------------------------------------------------------------------------------------

CPROJECT = """<?xml version="1.0"?><cproject><storageModule moduleId="org.eclipse.cdt.core.settings">
{}</storageModule></cproject>"""
CONFIGURATION = (
    '<cconfiguration id="{0}"><storageModule moduleId="org.eclipse.cdt.core.settings" name="{0}"/></cconfiguration>'
)


def st_project(root: Path, variant: str) -> Path:
    """A firmware tree as small as it can be."""
    name, known = {"u5": ("b_u585i_aed", ("Debug", "Release")), "n6": ("GS_Audio_N6", ("BM", "FREERTOS"))}[variant]
    ide = root / "STM32CubeIDE"
    for folder in (ide / known[0], root / "Dpu", root / "X-CUBE-AI", root / "Binaries"):
        folder.mkdir(parents=True)
    (ide / ".project").write_text(f"<projectDescription><name>{name}</name></projectDescription>")
    (ide / ".cproject").write_text(CPROJECT.format("".join(CONFIGURATION.format(one) for one in known)))
    for path in ("Dpu/ai_model_config.h", "Dpu/user_mel_tables.c", "Dpu/user_mel_tables.h", "X-CUBE-AI/network.c"):
        (root / path).write_text("old")
    (root / "X-CUBE-AI" / "network.h").write_text("old")
    (root / "Binaries" / "fsbl_fw_lrun_v1.2.0.bin").write_bytes(b"boot")
    return root


PROBES = """=====  DFU Interface   =====
No STM32 device in DFU mode connected
===== STLink Interface =====
-------- Connected ST-LINK Probes List --------
{}
===== UART Interface =====
   ST-LINK SN  : FFFFUART
"""

SCRIPT = """#!{python}
import json, os, pathlib, sys
me, folder = pathlib.Path(sys.argv[0]), pathlib.Path({folder!r})
with (folder / "calls").open("a") as file:
    file.write(json.dumps([me.name, *sys.argv[1:]]) + "\\n")
{body}
"""

IDE_BODY = """
project, config = pathlib.Path(sys.argv[sys.argv.index("-import") + 1]), sys.argv[-1].split("/")[1]
out = project / config
out.mkdir(exist_ok=True)
(out / {image!r}).write_bytes(os.urandom(8))
"""


class Fakes:
    """Stand-ins of ST's programs in a folder, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "ExternalLoader").mkdir()
        (folder / "ExternalLoader" / "MX66UW1G45G_STM32N6570-DK.stldr").write_bytes(b"loader")
        self.ide("b_u585i_aed.elf")
        self.programmer("A1")
        self.write("STM32_SigningTool_CLI", "pathlib.Path(sys.argv[-1]).write_bytes(b'signed')")

    def write(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(SCRIPT.format(python=sys.executable, folder=str(self.folder), body=body))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def ide(self, image: str, more: str = "") -> None:
        self.write("stm32cubeidec", IDE_BODY.format(image=image) + more)

    def programmer(self, *probes: str, more: str = "") -> None:
        listed = "".join(f"ST-Link Probe {n} :\n   ST-LINK SN  : {sn}\n" for n, sn in enumerate(probes))
        text = PROBES.format(listed or "Error: No ST-Link detected!")
        self.write("STM32_Programmer_CLI", f"if '-l' in sys.argv:\n    print({text!r}); sys.exit()\n{more}")

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def fakes(tmp_path, monkeypatch) -> Fakes:
    made = Fakes(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture(scope="module")
def packages(tmp_path_factory, model_file):
    @cache
    def make(variant: str) -> Path:
        folder = tmp_path_factory.mktemp("packages") / variant
        return deploy_stm32(model_file, folder, BOARDS[variant], FakeGenerator()).folder

    return make


def quiet(line: str) -> None:
    """Takes what would be shown."""


def test_u5_is_built_and_flashed(tmp_path, fakes, packages):
    project, package = st_project(tmp_path / "fw", "u5"), packages("u5")
    commands = build_and_flash(package, project, "u5", show=quiet)
    assert [call[0] for call in fakes.calls] == ["STM32_Programmer_CLI", "stm32cubeidec", "STM32_Programmer_CLI"]
    built = fakes.calls[1][1:]
    assert built[:4] == [
        "--launcher.suppressErrors", "-nosplash", "-application", "org.eclipse.cdt.managedbuilder.core.headlessbuild",
    ]  # fmt: skip
    assert built[4:6] == ["-import", str(project / "STM32CubeIDE")]
    assert built[-2:] == ["-cleanBuild", "b_u585i_aed/Debug"]
    elf = str(project / "STM32CubeIDE" / "Debug" / "b_u585i_aed.elf")
    assert fakes.calls[2][1:] == ["-c", "port=swd", "sn=A1", "-d", elf, "-s", "-q"]
    assert [list(command.words[1:]) for command in commands] == [call[1:] for call in fakes.calls[1:]]
    for name in ("ai_model_config.h", "user_mel_tables.h", "user_mel_tables.c"):
        assert (project / "Dpu" / name).read_bytes() == (package / "C_header" / name).read_bytes()
    assert (project / "X-CUBE-AI" / "network.c").read_text() == "int network = 1;\n"
    assert (project / "X-CUBE-AI" / "network_data.c").is_file()


def test_n6_is_signed_and_flashed_in_three_parts(tmp_path, fakes, packages):
    project, lines = st_project(tmp_path / "fw", "n6"), []
    fakes.ide("GS_Audio_N6.bin")
    for _ in range(2):  # what the first run left does not disturb the second
        build_and_flash(packages("n6"), project, "n6", show=lines.append)
    out = project / "STM32CubeIDE" / "BM"
    sign, *writes = fakes.calls[-4:]
    signed = str(out / "GS_Audio_N6_signed.bin")
    binary = str(out / "GS_Audio_N6.bin")
    assert sign[1:] == ["-s", "-bin", binary, "-nk", "-t", "ssbl", "-hv", "2.3", "-o", signed]
    loader = str(fakes.folder / "ExternalLoader" / "MX66UW1G45G_STM32N6570-DK.stldr")
    head = ["STM32_Programmer_CLI", "-c", "port=swd", "sn=A1", "mode=HOTPLUG", "ap=1", "--extload", loader, "-w"]
    boot, weights = str(project / "Binaries" / "fsbl_fw_lrun_v1.2.0.bin"), out / "network_atonbuf.xSPI2.bin"
    parts = [(boot, "0x70000000"), (signed, "0x70100000"), (str(weights), "0x70180000")]
    assert writes == [[*head, *part] for part in parts]
    assert weights.read_bytes() == b"weights"
    assert "BOOT1 to the right" in lines[0]
    assert "BOOT1 back to the left" in lines[-1]


@pytest.mark.parametrize("variant", ["u5", "n6"])
def test_a_dry_run_needs_nothing_and_touches_nothing(tmp_path, packages, monkeypatch, variant):
    project, package = st_project(tmp_path / "fw", variant), packages(variant)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    lines: list[str] = []
    commands = build_and_flash(package, project, variant, dry_run=True, show=lines.append, probe="A1")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [command.words[0].rsplit("/")[-1] for command in commands] == {
        "u5": ["stm32cubeidec", "STM32_Programmer_CLI"],
        "n6": ["stm32cubeidec", "STM32_SigningTool_CLI", *["STM32_Programmer_CLI"] * 3],
    }[variant]
    assert all(str(command) in lines for command in commands)
    assert any(line.startswith("cp ") and line.endswith("Dpu/ai_model_config.h") for line in lines)
    assert ("BOOT1" in "\n".join(lines)) == (variant == "n6")


def test_action_build_needs_no_board(tmp_path, fakes, packages):
    fakes.programmer()
    project = st_project(tmp_path / "fw", "u5")
    assert len(build_and_flash(packages("u5"), project, "u5", action="build", show=quiet)) == 1
    assert [call[0] for call in fakes.calls] == ["stm32cubeidec"]


ERROR = "print('../Dpu/a.c:3:1: error: unknown type name uint99_t')\nprint('b.c:1: error: later')\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ERROR + "sys.exit(1)", r"Debug failed \(exit code 1\): ../Dpu/a.c:3:1: error: unknown type name uint99_t"),
        ("sys.exit(4)", r"Debug failed \(exit code 4\): it printed nothing"),
        ("print('No config matched: x')", "b_u585i_aed has no build configuration Debug"),
        (ERROR, r"left no new .elf in .*Debug: ../Dpu/a.c:3:1: error: unknown type name"),
        ("print('x.o: undefined reference to `ai_run`'); sys.exit(1)", "undefined reference to `ai_run`"),
    ],
)
def test_builds_that_fail(tmp_path, fakes, packages, body, message):
    fakes.write("stm32cubeidec", body)
    project = st_project(tmp_path / "fw", "u5")
    (project / "STM32CubeIDE" / "Debug" / "b_u585i_aed.elf").write_bytes(b"of last week")
    with pytest.raises(AedError, match=message):
        build_and_flash(packages("u5"), project, "u5", show=quiet)
    assert "-d" not in [word for call in fakes.calls for word in call]


def test_n6_without_a_binary_says_what_to_set(tmp_path, fakes, packages):
    fakes.ide("GS_Audio_N6.elf")
    with pytest.raises(AedError, match=r"no new .bin; let the project convert"):
        build_and_flash(packages("n6"), st_project(tmp_path / "fw", "n6"), "n6", show=quiet)


@pytest.mark.parametrize(
    ("probes", "wanted", "message"),
    [
        ((), None, "no ST-LINK probe found"),
        (("A1", "B2"), None, r"2 probes are plugged in: say which, stm32.probe=SN with one of \['A1', 'B2'\]"),
        (("A1", "B2"), "C3", r"stm32.probe=C3: there is no such probe; there are \['A1', 'B2'\]"),
    ],
)
def test_probes_that_are_not_clear_stop_before_the_build(tmp_path, fakes, packages, probes, wanted, message):
    fakes.programmer(*probes)
    project = st_project(tmp_path / "fw", "u5")
    with pytest.raises(AedError, match=message):
        build_and_flash(packages("u5"), project, "u5", probe=wanted, show=quiet)
    assert [call[0] for call in fakes.calls] == ["STM32_Programmer_CLI"]
    assert (project / "Dpu" / "ai_model_config.h").read_text() == "old"


def test_one_of_two_probes_is_used(tmp_path, fakes, packages):
    fakes.programmer("A1", "B2")
    build_and_flash(packages("u5"), st_project(tmp_path / "fw", "u5"), "u5", probe="B2", show=quiet)
    assert "sn=B2" in fakes.calls[-1]


@pytest.mark.parametrize(
    "more", ["print('Error: Unable to get core ID'); sys.exit(1)", "print('Error: Unable to get')"]
)
def test_a_flash_that_fails(tmp_path, fakes, packages, more):
    fakes.programmer("A1", more=more)
    with pytest.raises(AedError, match=r"flash the firmware failed \(exit code [01]\): Error: Unable to get"):
        build_and_flash(packages("u5"), st_project(tmp_path / "fw", "u5"), "u5", show=quiet)


def test_a_signature_that_fails(tmp_path, fakes, packages):
    fakes.ide("GS_Audio_N6.bin")
    fakes.write("STM32_SigningTool_CLI", "print('nothing done')")
    project = st_project(tmp_path / "fw", "n6")
    (project / "STM32CubeIDE" / "BM" / "GS_Audio_N6_signed.bin").write_bytes(b"of last week")
    with pytest.raises(AedError, match=r"sign the application: .*was not written: nothing done"):
        build_and_flash(packages("n6"), project, "n6", show=quiet)


def test_a_missing_boot_loader_stops_before_the_build(tmp_path, fakes, packages):
    project = st_project(tmp_path / "fw", "n6")
    (project / "Binaries" / "fsbl_fw_lrun_v1.2.0.bin").unlink()
    with pytest.raises(AedError, match="missing; it is ST's first boot loader"):
        build_and_flash(packages("n6"), project, "n6", show=quiet)


def test_projects_that_do_not_fit(tmp_path, packages):
    package = packages("u5")
    with pytest.raises(AedError, match="no such folder; unpack ST's"):
        build_and_flash(package, tmp_path / "none", "u5", dry_run=True, show=quiet)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AedError, match="need a folder with one STM32CubeIDE project"):
        build_and_flash(package, tmp_path / "empty", "u5", dry_run=True, show=quiet)
    project = st_project(tmp_path / "fw", "u5")
    with pytest.raises(AedError, match=r"stm32.configuration=Fast: b_u585i_aed has \['Debug', 'Release'\]"):
        build_and_flash(package, project, "u5", configuration="Fast", dry_run=True, show=quiet)
    with pytest.raises(AedError, match=r"no deployment package \(manifest.json is missing\)"):
        build_and_flash(project, project, "u5", dry_run=True, show=quiet)
    (project / "ThreadX").mkdir()
    (project / "ThreadX" / "ai_model_config.h").write_text("old")
    with pytest.raises(AedError, match=r"ai_model_config.h is there 2 times"):
        build_and_flash(package, project, "u5", dry_run=True, show=quiet)
    (project / "ThreadX" / "ai_model_config.h").unlink()
    (project / "Dpu" / "ai_model_config.h").unlink()
    for path in (project / "Dpu").iterdir():
        path.unlink()
    with pytest.raises(AedError, match=r"no ai_model_config.h in it, .*is it ST's audio firmware"):
        build_and_flash(package, project, "u5", dry_run=True, show=quiet)


def test_a_project_without_network_code(tmp_path, fakes, packages):
    project = st_project(tmp_path / "fw", "u5")
    for path in (project / "X-CUBE-AI").iterdir():
        path.unlink()
    with pytest.raises(AedError, match=r"no network.h in it, so no folder for network.c; say .* stm32.network_dir="):
        build_and_flash(packages("u5"), project, "u5", action="build", show=quiet)
    build_and_flash(packages("u5"), project, "u5", action="build", network_dir=Path("X-CUBE-AI"), show=quiet)
    assert {path.name for path in (project / "X-CUBE-AI").iterdir()} == {"network.c", "network.h", "network_data.c"}


def test_where_programs_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STM32_PROGRAMMER_CLI", raising=False)
    with pytest.raises(
        AedError, match=r"not found as stm32.programmer=, in \$STM32_PROGRAMMER_CLI, on the PATH or in .*dry_run"
    ):
        find_program(PROGRAMMER)

    def put(folder: Path) -> Path:
        folder.mkdir(parents=True)
        path = folder / "STM32_Programmer_CLI"
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    installed = put(tmp_path / "STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin")
    assert find_program(PROGRAMMER) == installed
    on_path = put(tmp_path / "path")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_program(PROGRAMMER) == on_path
    in_environment = put(tmp_path / "environment")
    monkeypatch.setenv("STM32_PROGRAMMER_CLI", str(in_environment.parent))
    assert find_program(PROGRAMMER) == in_environment
    given = put(tmp_path / "given")
    assert find_program(PROGRAMMER, given) == find_program(PROGRAMMER, given.parent) == given
    with pytest.raises(
        AedError, match=r"stm32.programmer=.*/nowhere: there is no STM32_Programmer_CLI that can be run"
    ):
        Tools(programmer=tmp_path / "nowhere").path(PROGRAMMER, dry_run=False)
