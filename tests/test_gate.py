"""The gate: levels in whole numbers, the same in Python, in C and on an emulated core, and a net that does not run."""

import ctypes
import json
import math
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import nets
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from listeners import FRONTEND, HOP_S, RATE, level_model, recording
from test_c_events import int8_model, said, sound
from test_emulator import arm  # noqa: F401
from test_plans import int8, small

from aed.audio.audio_file import AudioFile
from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import column_powers, gate_power, new_samples, patch_powers, power_dbfs
from aed.export.card import ModelCard
from aed.export.graph import load_model
from aed.inference.classifier import to_posteriors
from aed.inference.detection import Detector, rule_of
from aed.inference.opening import open_classifier
from aed.run.deploy import DeployConfig, deliver
from aed.run.detect import detect_files
from aed.run.rule_changes import RuleChanges
from aed.run.rule_fit import FitConfig
from aed.scoring.events.family import Shape
from aed.scoring.rule import EventRule
from aed.target.boards import load_board
from aed.target.codegen import costs
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.frontend import column_instructions, frontend_sources
from aed.target.codegen.generate import listener_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.settings import PlanKind, PlanSettings
from aed.target.emulator import measure
from aed.target.emulator.device import EmulatedDevice
from aed.target.firmware import readme
from aed.target.firmware.readme import listener_bytes
from aed.target.host import HostDevice, build_library, device_sources, pointer
from aed.target.load import Load

FRONTENDS = {
    "usual": nets.FRONTEND,
    "no overlap of frames": replace(nets.FRONTEND, hop_length=512, min_length_s=2.0),
    "samples between frames": replace(nets.FRONTEND, hop_length=700, min_length_s=2.0),
}

DRIVER = """
#include "aed_gate.h"
void follow(uint64_t least, const int16_t *samples, int count, int block, bool *open);

/* Whether the gate is open after each sample; the samples come in blocks. */
void follow(uint64_t least, const int16_t *samples, int count, int block, bool *open) {
    aed_gate gate;
    aed_gate_init(&gate, least);
    for (int i = 0; i < count; i += block) {
        const int taken = count - i < block ? count - i : block;
        aed_gate_feed(&gate, &samples[i], (size_t)taken);
        open[i + taken - 1] = aed_gate_is_open(&gate, 0);
    }
}
"""

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev")


def wandering(count: int, seed: int = 0, offset: int = 0) -> np.ndarray:
    """16-bit noise and tones, now loud, now faint, now still, around an offset."""
    draw = np.random.default_rng(seed)
    pieces = 1 + count // 3000
    gain, pitch = (
        np.repeat(draw.choice(values, pieces), 3000)[:count]
        for values in ([0, 1, 3, 30, 1000, 60000], np.linspace(0.02, 0.9, 40))
    )
    tone = np.sin(np.pi * np.cumsum(pitch)) * np.repeat(draw.choice([0, 1, 5], pieces), 3000)[:count]
    return (offset + gain * (draw.standard_normal(count) + tone)).clip(-32768, 32767).astype(np.int16)


# --- levels ---------------------------------------------------------------------------------------------------------


FILTERED = {"filtered samples": replace(nets.FRONTEND, pre_emphasis=0.97)}
"""No C front end."""


@pytest.mark.parametrize("name", FRONTENDS | FILTERED)
def test_powers_are_those_of_the_samples_that_are_new_with_a_column(name):
    config, samples = (FRONTENDS | FILTERED)[name], wandering(40000)
    powers = column_powers(samples, config)
    assert len(powers) == config.num_frames(len(samples)) and new_samples(config) == min(config.hop_length, 512)
    for column, power in enumerate(powers.tolist()):
        end = column * config.hop_length + config.frame_samples
        own = samples[end - new_samples(config) : end].tolist()
        assert power == len(own) * sum(x * x for x in own) - sum(own) ** 2
        if power:
            assert power_dbfs(power, config) == pytest.approx(20 * math.log10(np.std(own) / 32768))
    starts = np.array([0, 3, 4])
    by_hand = [powers[start : start + config.patch_frames].max() for start in starts]
    assert patch_powers(powers, starts, config).tolist() == by_hand


def test_a_gate_is_an_rms_under_full_scale():
    config = FrontendConfig()
    assert gate_power(-40, config) == math.ceil((160 * 32768) ** 2 / 10**4)
    assert gate_power(-120, config) == 28 and gate_power(-40.0, config) == gate_power(-40, config)
    sine = np.rint(32767 * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000)).astype(np.int16)
    assert power_dbfs(int(column_powers(sine, config)[0]), config) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("offset", [-32768, -900, 1, 32767])
def test_an_offset_opens_no_gate(offset):
    config = FrontendConfig()
    still = np.full(16000, offset, np.int16)
    assert column_powers(still, config).max() == 0 < gate_power(-120, config)
    drifting = (offset / 2 + 300 * np.exp(-np.arange(16000) / 8000)).astype(np.int16)  # as a supply settles
    assert column_powers(drifting, config).max() < gate_power(-75, config)


def test_the_extremes_of_the_longest_hop_do_not_overflow():
    config = FrontendConfig(n_fft=65536, hop_length=65536, patch_frames=4, min_length_s=30, max_length_s=30)
    low, both = np.full(65536, -32768, np.int16), np.tile(np.int16([-32768, 32767]), 32768)
    assert column_powers(low, config).tolist() == [0]
    assert column_powers(both, config).tolist() == [65536 * 32768 * (32768**2 + 32767**2) - 32768**2]
    assert gate_power(-0.001, config) < 2**62


# --- C --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FRONTENDS)
def of_c(request, tmp_path_factory) -> tuple[ctypes.CDLL, FrontendConfig]:
    """The gate of a front end in C."""
    config = FRONTENDS[request.param]
    gate = {name: text for name, text in listener_sources().items() if "gate" in name}
    sources = gate | frontend_sources(config, 0.1, 0) | {"driver.c": DRIVER}
    return build_library(tmp_path_factory.mktemp("gate"), sources), config


@needs_gcc
@pytest.mark.usefixtures("compiles")
@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 99),
    offset=st.sampled_from([-32768, -700, 0, 5000]),
    count=st.integers(0, 30000),
    block=st.sampled_from([1, 160, 333, 4096, 30000]),
    dbfs=st.floats(-100, -0.1),
)
def test_c_opens_the_gate_where_python_does(of_c, seed, offset, count, block, dbfs):
    library, config = of_c
    samples, least = wandering(count, seed, offset), gate_power(dbfs, config)
    is_open = np.zeros(count, np.bool_)
    library.follow(ctypes.c_uint64(least), pointer(samples), count, block, pointer(is_open))
    loud = np.flatnonzero(column_powers(samples, config) >= least)
    seen = np.unique([*range(block - 1, count, block), count - 1]) if count else np.zeros(0, np.int64)
    for end in seen.tolist():
        newest = config.num_frames(end + 1) - 1
        wanted = bool(((loud <= newest) & (loud > newest - config.patch_frames)).any())
        assert is_open[end] == wanted


@needs_gcc
@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize(
    ("plan", "overlap", "hop"),
    [
        ("layers", 0.25, None),
        ("rows", 0.0, None),
        ("rows", 0.75, None),
        ("stream", 0.25, None),
        ("stream", 0.75, None),
        ("stream", 0.0, 40),
    ],
)
def test_a_gated_listener_gives_the_outputs_of_an_ungated_one_where_it_is_loud(
    tmp_path, plan: PlanKind, overlap: float, hop: int | None
):
    """Also of a stream, which leaves columns out and takes them later."""
    config, settings = replace(nets.FRONTEND, overlap=overlap), PlanSettings(plan=plan, hop=hop)
    model, samples, least = int8(small()), wandering(150000, 3), gate_power(-40, config)
    every = HostDevice(tmp_path / "every", model, config, settings).outputs(samples)
    outputs, is_open = HostDevice(tmp_path / "gated", model, config, settings, least).decisions(samples)
    starts = np.arange(len(every)) * (hop or config.patch_hop)
    wanted = patch_powers(column_powers(samples, config), starts, config) >= least
    np.testing.assert_array_equal(is_open, wanted)
    np.testing.assert_array_equal(outputs[is_open], every[is_open])
    assert (np.diff(is_open.astype(int)) != 0).sum() > 2 and (outputs[~is_open] == outputs.min()).all()
    assert len(np.unique(every[is_open], axis=0)) > 5


COUNTER = """
#include "aed_net.h"
int32_t runs;
void aed_count(int part, int begins) { runs += part == 0 && begins != 0; }
"""
"""Counts the rows that the first part of a net makes."""


@needs_gcc
@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("plan", ["layers", "rows", "stream"])
def test_a_net_that_is_gated_does_not_run(tmp_path, plan: PlanKind):
    """Nothing of it for quiet sound, as much as without a gate for loud one, part of that for a click."""
    config = replace(nets.FRONTEND, overlap=0.75)
    chosen = choose_plan(partial(lower, int8(small())), PlanSettings(plan=plan), config.patch_hop)
    glue = files("aed.target.codegen") / "c" / "host" / "run_clip.c"
    noise = np.random.default_rng(0).standard_normal(64000)
    click = noise * (np.arange(64000) == 32000) * 30000
    runs = {}
    for gate in (None, gate_power(-50, config)):
        sources = device_sources(chosen.program, chosen.plan, config, gate) | {"glue.c": glue.read_text()}
        counting = {name: f"#define AED_COUNT\n{text}" for name, text in sources.items()} | {"count.c": COUNTER}
        library = build_library(tmp_path / str(gate), counting)
        total = ctypes.c_int32.in_dll(library, "runs")
        for name, wave in (("quiet", noise * 10), ("loud", noise * 3000), ("click", click)):
            samples, before = wave.astype(np.int16), total.value
            outputs, ran = np.empty(10000, np.int8), np.empty(1000, np.bool_)
            library.aed_run_clip(pointer(samples), len(samples), pointer(outputs), pointer(ran), 1000)
            runs[name, gate is not None] = total.value - before
    assert runs["quiet", True] == 0 < runs["quiet", False] and runs["loud", True] == runs["loud", False] > 0
    assert 0 < runs["click", True] < 0.2 * runs["click", False]


def test_an_emulated_core_opens_the_gate_as_this_machine_does(arm, tmp_path, compiles):  # noqa: F811
    config, settings = replace(nets.FRONTEND, overlap=0.25), PlanSettings(plan="rows")
    model, samples, least = int8(small()), wandering(40000, 3), gate_power(-40, config)
    here = HostDevice(tmp_path / "host", model, config, settings, least).decisions(samples)
    board = load_board("mps2-an505")
    there = EmulatedDevice(tmp_path / "board", model, config, board, settings, least).decisions(samples)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0 < here.is_open.mean() < 1


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="apt-get install gcc-arm-none-eabi")
@pytest.mark.parametrize("plan", ["layers", "rows", "stream"])
def test_a_gated_listener_is_as_large_as_is_said(tmp_path, plan: PlanKind):
    config = replace(nets.FRONTEND, overlap=0.25)
    chosen = choose_plan(partial(lower, int8(small())), PlanSettings(plan=plan), config.patch_hop)
    for gate in (None, 5):
        for name, text in device_sources(chosen.program, chosen.plan, config, gate).items():
            (tmp_path / name).write_text(text)
        size = listener_bytes(config, chosen.plan, gate is not None)
        own = "sizeof(aed_listener) - sizeof(aed_net)"
        assertion = f'_Static_assert({own} == {size}, "listener");'
        (tmp_path / "size.c").write_text(f'#include "aed_listener.h"\n{assertion}\n')
        command = ["arm-none-eabi-gcc", "-mcpu=cortex-m33", "-c", tmp_path / "size.c", "-o", tmp_path / "size.o"]
        subprocess.run(command, check=True)


# --- detection ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return level_model(tmp_path_factory.mktemp("model") / "model.onnx")


def gated(model: Path, dbfs: float | None) -> Detector:
    classifier = open_classifier(model)
    return Detector(classifier, replace(rule_of(classifier.card), gate_dbfs=dbfs))


@pytest.mark.parametrize("size", [700, 16000, 50001])
def test_a_stream_is_gated_as_all_of_it_at_once_however_it_is_cut(model, tmp_path, monkeypatch, size):
    sf.write(tmp_path / "x.wav", wandering(200000, 1), RATE, subtype="PCM_16")
    whole = gated(model, -40).decisions(str(tmp_path / "x.wav"))
    read = AudioFile.blocks
    monkeypatch.setattr(AudioFile, "blocks", lambda self, _: read(self, size))
    for one, other in zip(whole, gated(model, -40).decisions(str(tmp_path / "x.wav")), strict=True):
        np.testing.assert_array_equal(one, other)
    every = gated(model, None).decisions(str(tmp_path / "x.wav"))
    assert every.is_open.all() and 0 < whole.is_open.mean() < 1
    np.testing.assert_array_equal(whole.posteriors[~whole.is_open], 0)
    np.testing.assert_allclose(whole.posteriors[whole.is_open], every.posteriors[whole.is_open], atol=1e-6)
    columns = column_powers(wandering(200000, 1), FRONTEND)
    starts = np.arange(len(every.start_s)) * FRONTEND.patch_hop
    np.testing.assert_array_equal(every.power, patch_powers(columns, starts, FRONTEND))
    np.testing.assert_array_equal(whole.is_open, every.power >= gate_power(-40, FRONTEND))


def test_an_offset_is_never_an_event_under_a_gate(model, tmp_path, caplog, capsys):
    """A full-scale offset is loud for the net, which sees its lowest band; the gate stays shut, and that is said."""
    sf.write(tmp_path / "offset.wav", np.full(4 * RATE, 0.9), RATE, subtype="PCM_16")
    decisions = gated(model, -120).decisions(str(tmp_path / "offset.wav"))
    assert not decisions.is_open.any() and not decisions.posteriors.any()
    detect_files(str(model), [str(tmp_path / "offset.wav")], rule=RuleChanges(gate_dbfs=-60.0), format="csv")
    assert capsys.readouterr().out.count("\n") == 1
    assert "rule.gate_dbfs=-60: no sound reaches it, the loudest has -inf dBFS: the net never runs" in caplog.text


def test_the_net_runs_for_loud_patches_alone(model, tmp_path, caplog):
    made = str(recording(tmp_path / "one.wav", (2.0, 4.0), (8.0, 9.0)))
    (tmp_path / "one.txt").write_text("2\t4\tloud\n8\t9\tloud\n")
    ran: list[int] = []
    detector = gated(model, -40)
    inner = detector.predictor.classifier.outputs
    detector.predictor.classifier.outputs = lambda patches: ran.append(len(patches)) or inner(patches)  # type: ignore[method-assign]
    decisions = detector.decisions(made)
    assert sum(ran) == decisions.is_open.sum() < 0.4 * len(decisions.is_open)
    places = {"reference": str(tmp_path / "one.txt"), "scores": str(tmp_path / "s.json"), "output": str(tmp_path / "x")}
    detect_files(str(model), [made], rule=RuleChanges(gate_dbfs=-40.0), **places)
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["metrics"]["recall"] == 1 and content["rule"]["gate_dbfs"] == -40
    assert content["duty"] == {"decisions_per_hour": 3600 / HOP_S, "net_share": decisions.is_open.mean()}
    caplog.set_level("INFO")
    detect_files(str(model), [made], rule=RuleChanges(gate_dbfs=-40.0), output=str(tmp_path / "x"))
    assert f"the net ran for {100 * decisions.is_open.mean():.1f} % of them, gate -40 dBFS" in caplog.text


@needs_gcc
@pytest.mark.usefixtures("compiles")
def test_c_detects_under_a_gate_what_the_model_s_file_does(tmp_path, monkeypatch, capsys):
    """Front end, net and gate in C, by the verb; and the library's example."""
    path = int8_model(tmp_path / "net_int8.onnx", nets.make("awkward"))
    samples = (sound(60) * np.repeat([1, 0.001, 1, 0.001, 1, 0], 160000)).astype(np.int16)
    sf.write(tmp_path / "x.wav", samples, RATE, subtype="PCM_16")
    (tmp_path / "x.txt").write_text("1\t2\tdog\n")
    places = {"reference": str(tmp_path / "x.txt"), "scores": str(tmp_path / "s.json"), "format": "csv"}
    rule = RuleChanges(on=[0.5], gate_dbfs=-40.0)
    detect_files(str(path), [str(tmp_path / "x.wav")], rule=rule, on="c", board="b-u585i-iot02a", **places)
    found = capsys.readouterr()
    programs = json.loads((tmp_path / "s.json").read_text())["programs"]
    assert programs["c"]["equal_posteriors"] > 0.9 and len(found.out.splitlines()) > 3
    duty = json.loads((tmp_path / "s.json").read_text())["duty"]
    assert 0.4 < duty["net_share"] < 0.7 and duty["load"]["source"] == "estimated"
    assert 0 < duty["load_frontend"]["value"] < duty["load"]["value"] < duty["load_always"]["value"] < 1
    assert "of a core at 160 MHz (estimated;" in " ".join(found.err.split())

    monkeypatch.setattr(readme, "is_available", lambda _: None)  # no sizes for the README
    deliver(path, tmp_path / "lib", DeployConfig(rule=rule))
    text = (tmp_path / "lib/README.md").read_text()
    assert "-40 dB under full scale" in text and f"of\n{gate_power(-40, nets.FRONTEND)} or more" in text
    options = ["-std=c99", "-O2", "-ffp-contract=off", "-DAED_PRINT_PROBABILITIES", "-I", tmp_path / "lib/include"]
    units = [*tmp_path.glob("lib/src/*.c"), tmp_path / "lib/examples/main.c"]
    subprocess.run(["gcc", *options, *units, "-o", tmp_path / "example", "-lm"], check=True)
    done = subprocess.run([tmp_path / "example"], input=samples.tobytes(), check=True, capture_output=True)
    detector = Detector(open_classifier(path), rule.apply(EventRule()))
    device = HostDevice(tmp_path / "host", load_model(path), nets.FRONTEND, gate=detector.gate)
    outputs, is_open = device.decisions(samples)
    posteriors = np.where(is_open[:, None], to_posteriors(detector.card, outputs), np.float32(0))
    assert done.stdout.decode() == said(detector, posteriors)
    np.testing.assert_array_equal(is_open, detector.decisions(str(tmp_path / "x.wav")).is_open)


# --- the load of a core ---------------------------------------------------------------------------------------------


def test_a_load_is_cycles_beside_a_clock():
    load = Load(clock_mhz=10, net=4e6, frontend=1e4, decisions_per_s=2, columns_per_s=100)
    assert load.share(1) == pytest.approx(0.9) and load.share(0) == pytest.approx(0.1)
    assert load.share(0.25) == pytest.approx(0.3)


def test_columns_take_the_instructions_that_are_estimated(arm):  # noqa: F811
    few = FrontendConfig(patch_frames=8)
    samples = (3000 * np.random.default_rng(0).standard_normal(few.patch_samples)).astype(np.int16)
    run = measure.measure_frontend(few, 0.05, 3, samples, load_board("mps2-an505"), by_columns=True)
    gate = costs.GATE * new_samples(few) + 100
    assert column_instructions(few) - gate == pytest.approx(run.instructions / 8, rel=0.04)
    assert run.cycles is not None and run.cycles / run.instructions == pytest.approx(costs.CYCLES, rel=0.15)


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dbfs", "words"),
    [
        (0, "need -120 to under 0 dB"),
        (40.0, r"got 40.0; -40\?"),
        (-121, "need -120"),
        (float("nan"), "got nan"),
        (float("-inf"), "need -120"),
        (True, "got True"),
        ("-50", "got '-50'"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(dbfs, words):
    with pytest.raises(AedError, match=rf"rule.gate_dbfs: .*{words}"):
        EventRule(gate_dbfs=dbfs)


def test_a_typed_gate_replaces_that_of_the_card_or_takes_it_away():
    assert RuleChanges(gate_dbfs=-50.0).apply(EventRule()).gate_dbfs == -50
    assert RuleChanges(window=2).apply(EventRule(gate_dbfs=-50.0)).gate_dbfs == -50
    assert RuleChanges(gate_dbfs=-math.inf).apply(EventRule(gate_dbfs=-50.0)) == EventRule()


def test_a_fitted_rule_keeps_the_gate():
    assert Shape(2, 0.6, 3.0).rule(EventRule(gate_dbfs=-50.0), [0.5]).gate_dbfs == -50


def test_a_card_keeps_its_gate_and_one_of_before_has_none():
    card = ModelCard(frontend=FRONTEND, class_names=("a", "b"), rule=EventRule(gate_dbfs=-55.5))
    assert ModelCard.from_json(card.to_json(), "card") == card
    facts = json.loads(card.to_json())
    del facts["rule"]["gate_dbfs"]
    assert ModelCard.from_json(json.dumps(facts), "card").rule == EventRule()


def test_a_front_end_that_sees_a_clip_s_ends_has_no_gate(model):
    classifier = open_classifier(model)
    classifier.card = replace(classifier.card, frontend=replace(FRONTEND, center=True))
    with pytest.raises(AedError, match=r"rule.gate_dbfs: this front end sees a clip's ends"):
        Detector(classifier, EventRule(gate_dbfs=-50.0))


def test_no_rule_is_fitted_where_nothing_reaches_the_gate(model, tmp_path):
    made = str(recording(tmp_path / "one.wav", (2.0, 4.0)))
    (tmp_path / "one.txt").write_text("2\t4\tloud\n")
    with pytest.raises(AedError, match=r"rule.gate_dbfs=-3: no sound reaches it, the loudest has -\d+\.\d dBFS"):
        detect_files(
            str(model), [made], action="fit", rule=RuleChanges(gate_dbfs=-3.0), reference=str(tmp_path / "one.txt"),
            output=str(tmp_path / "fitted.onnx"), config=FitConfig(alarms_per_hour=1.0)
        )  # fmt: skip
    assert not (tmp_path / "fitted.onnx").exists()


@pytest.mark.parametrize(
    ("board", "words"),
    [
        ("mps2-an505", "an emulated board has no clock"),
        ("nucleo-h743zi2", "no estimate for a cortex-m7 .*try aed benchmark board=nucleo-h743zi2"),
        ("b-u585i-iot02a", "needs an int8 .onnx; model.onnx is float"),
        ("nowhere", "board: need one of"),
    ],
)
def test_a_load_that_cannot_be_estimated_is_said(model, tmp_path, board, words):
    made = str(recording(tmp_path / "one.wav", (2.0, 4.0)))
    with pytest.raises(AedError, match=words):
        detect_files(str(model), [made], board=board)
