"""The event rule in C: alarms, events and peaks of RuleState, bit for bit, and the example that listens by it."""

import ctypes
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator import arm  # noqa: F401
from test_plans import small
from test_rule import RULES, posteriors
from torch import nn

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.graph import load_model, read_model_card, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.inference.classifier import to_posteriors
from aed.inference.detection import Detector
from aed.inference.opening import open_classifier
from aed.run.deploy import DeployConfig, check, deliver
from aed.run.detect import RuleChanges
from aed.scoring.decision import Decision
from aed.scoring.rule import LONGEST_WINDOW, Alarm, EventRule, RuleEvent, RuleState
from aed.target.boards import load_board
from aed.target.codegen.classes import class_sources
from aed.target.codegen.events import event_sources, events_bytes
from aed.target.codegen.program import Tensor
from aed.target.codegen.settings import PlanKind
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build, harness_sources
from aed.target.firmware import library as firmware
from aed.target.firmware import readme
from aed.target.firmware.settings import CSettings
from aed.target.host import HostDevice, build_library, pointer

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]

NAMES = ("dog", "cat", "door bell")
OUTPUT = Tensor("out", (1, 1, 3), np.float32(0.0625), -3)
STUB = "#define AED_NET_OUTPUT_SCALE 0.0625F\n#define AED_NET_OUTPUT_ZERO (-3)\n"
LONGEST = ModelCard(frontend=nets.FRONTEND, class_names=NAMES, rule=EventRule(window=LONGEST_WINDOW))


class CRule(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("on", "off")),
        *((name, ctypes.c_float) for name in ("unknown", "weight")),
        ("window", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("shortest", "gap", "hold_off", "repeat")),
        ("lag", ctypes.c_double),
    )


FOUND = np.dtype(
    [("kind", "u1"), ("", "V3"), ("label", "i4"), ("first", "u8"), ("last", "u8"), ("probability", "f4"), (" ", "V4")]
)

DRIVER = """
#include "aed_events.h"
int stream(const aed_event_rule *rule, uint64_t start, const float *rows, int count, aed_event *found);
int two_streams(const aed_event_rule *rules, const float *rows, int count, aed_event *found, int *of);

int stream(const aed_event_rule *rule, uint64_t start, const float *rows, int count, aed_event *found) {
    static aed_events events;
    int number = 0;
    aed_events_init(&events, rule);
    events.decision = start;
    for (int i = 0; i < count; ++i) {
        number += aed_events_add(&events, &rows[i * AED_CLASSES], &found[number]);
    }
    return number + aed_events_finish(&events, &found[number]);
}

int two_streams(const aed_event_rule *rules, const float *rows, int count, aed_event *found, int *of) {
    static aed_events events[2];
    int number = 0;
    aed_events_init(&events[0], &rules[0]);
    aed_events_init(&events[1], &rules[1]);
    for (int i = 0; i < count; ++i) {
        for (int which = 0; which < 2; ++which) {
            const int more = aed_events_add(&events[which], &rows[i * AED_CLASSES], &found[number]);
            for (int j = 0; j < more; ++j) {
                of[number++] = which;
            }
        }
    }
    return number;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The C of the rule for any rule of three classes."""
    sources = class_sources(LONGEST, OUTPUT) | event_sources(LONGEST, 1)
    return build_library(tmp_path_factory.mktemp("rule"), {**sources, "aed_net.h": STUB, "driver.c": DRIVER})


def c_rule(rule: EventRule, unknown: float | None = None) -> tuple[CRule, tuple[np.ndarray, np.ndarray]]:
    """A rule for C, a decision a second, and what it points to."""
    on, off = rule.thresholds(len(NAMES))
    window = rule.window if rule.smoothing == "mean" else 0
    values = (on.ctypes.data, off.ctypes.data, unknown or 0, rule.weight, window, *rule.decisions(1.0), rule.lag)
    return CRule(*values), (on, off)


def as_python(found: np.ndarray) -> tuple[list[Alarm], list[RuleEvent]]:
    """Alarms and events of records of C."""
    alarms, events = [], []
    raised: dict[int, list[int]] = {}
    columns = [found[name].tolist() for name in ("kind", "label", "first", "last", "probability")]
    for kind, label, first, last, probability in zip(*columns, strict=True):
        if kind == 2:
            events.append(RuleEvent(first, last, label, probability, tuple(raised.pop(label))))
            continue
        assert (kind == 0) == (label not in raised)
        alarms.append(Alarm(last, label, probability))
        raised.setdefault(label, []).append(last)
    assert not raised
    return alarms, events


def in_c(library: ctypes.CDLL, rule: EventRule, rows: np.ndarray, unknown: float | None = None, start: int = 0):
    own, _kept = c_rule(rule, unknown)
    found = np.zeros(len(NAMES) * (len(rows) + 1), FOUND)
    library.stream.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    count = library.stream(ctypes.byref(own), start, pointer(rows), len(rows), pointer(found))
    return as_python(found[:count])


def in_python(rule: EventRule, rows: np.ndarray, cuts: list[int], unknown: float | None = None, start: int = 0):
    state = RuleState(rule, len(NAMES), 1.0, unknown)
    state.decision = start
    alarms, events = [], []
    for block in np.split(rows, sorted(cuts)):
        raised, ended = state.add(block)
        alarms += raised
        events += ended
    return alarms, events + state.finish()


EACH = st.tuples(*(st.none() | st.floats(0.3, 0.9) for _ in NAMES)).filter(any)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    rule=RULES,
    on=st.none() | EACH,
    window=st.none() | st.integers(1, LONGEST_WINDOW),
    unknown=st.none() | st.floats(0, 0.9),
    seed=st.integers(0, 999),
    length=st.integers(0, 200),
    cuts=st.lists(st.integers(0, 200), max_size=5),
    grid=st.sampled_from([None, 4, 20]),
)
def test_c_gives_the_alarms_and_events_of_python_bit_for_bit(
    library, rule, on, window, unknown, seed, length, cuts, grid
):
    rule = replace(rule, **({"on": on} if on else {}), **({"window": window} if window else {}))
    rows = posteriors(seed, length, len(NAMES))
    if grid:  # values that lie on thresholds, and equal ones
        rows = (np.rint(rows * grid) / grid).astype(np.float32)
    assert in_c(library, rule, rows, unknown) == in_python(rule, rows, cuts, unknown)


@pytest.mark.parametrize("start", [2**32 - 100, 2**63 - 100])
def test_decisions_are_counted_for_years(library, start):
    rule, rows = EventRule(gap_s=2, hold_off_s=5, repeat_s=10), posteriors(1, 300, len(NAMES))
    here, later = in_c(library, rule, rows), in_c(library, rule, rows, start=start)
    assert later == in_python(rule, rows, [], start=start)
    assert [(alarm.decision + start, alarm.target) for alarm in here[0]] == [alarm[:2] for alarm in later[0]]
    assert len(here[1]) > 10


def test_two_streams_keep_apart(library):
    rules = (EventRule(on=(0.6,), window=3, repeat_s=3), EventRule(on=(0.4,), smoothing="exponential", gap_s=2))
    rows = posteriors(2, 300, len(NAMES))
    pairs = [c_rule(rule) for rule in rules]
    both = (CRule * 2)(*(pair[0] for pair in pairs))
    found, of = np.zeros(4 * len(NAMES) * len(rows), FOUND), np.zeros(4 * len(NAMES) * len(rows), np.int32)
    count = library.two_streams(ctypes.byref(both), pointer(rows), len(rows), pointer(found), pointer(of))
    for which, rule in enumerate(rules):
        own = found[:count][of[:count] == which]
        alarms, ended = RuleState(rule, len(NAMES), 1.0).add(rows)
        assert [(int(each["last"]), int(each["label"])) for each in own if each["kind"] < 2] == [a[:2] for a in alarms]
        ends = [each for each in own if each["kind"] == 2]
        assert [(each["first"], each["last"], each["label"], each["probability"]) for each in ends] == [
            event[:4] for event in ended
        ]


CARDS = {
    "none": {},
    "whole": {
        "rule": EventRule((0.5, None, 0.7), (0.25,) * 3, window=5, shortest_s=1, gap_s=2, hold_off_s=3, repeat_s=7),
        "decision": Decision(unknown_threshold=0.4),
    },
    "exponential": {"rule": EventRule(smoothing="exponential", weight=0.3, repeat_s=1e300)},
    "multi_label": {"task": "multi_label", "decision": Decision(thresholds=(0.2, 0.3, 0.4))},
}


@pytest.mark.parametrize(("name", "hop"), [*((name, nets.FRONTEND.patch_hop) for name in CARDS), ("whole", 4)])
def test_the_card_s_rule_is_in_the_library(name, hop, tmp_path):
    card = ModelCard(frontend=nets.FRONTEND, class_names=NAMES, **CARDS[name])
    sources = class_sources(card, OUTPUT) | event_sources(card, hop)
    built = build_library(tmp_path, {**sources, "aed_net.h": STUB})
    rule = CRule.in_dll(built, "aed_rule")
    hop_s = hop * nets.FRONTEND.hop_length / nets.FRONTEND.sample_rate
    wanted = card.rule or EventRule(on=card.decision.thresholds or (0.5,))
    for place, own in zip((rule.on, rule.off), wanted.thresholds(3), strict=True):
        assert np.ctypeslib.as_array((ctypes.c_float * 3).from_address(place)).tolist() == own.tolist()
    counts = [min(count, 2**64 - 1) for count in wanted.decisions(hop_s)]
    assert [rule.shortest, rule.gap, rule.hold_off, rule.repeat] == counts
    assert rule.window == (0 if wanted.smoothing == "exponential" else wanted.window)
    assert (rule.weight, rule.lag) == (np.float32(wanted.weight), wanted.lag)
    assert rule.unknown == np.float32(card.decision.unknown_threshold or 0)


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="apt-get install gcc-arm-none-eabi")
@pytest.mark.parametrize("window", [1, 3, 64])
def test_the_state_is_as_large_as_is_said(tmp_path, window):
    card = replace(LONGEST, rule=EventRule(window=window))
    for name, text in (class_sources(card, OUTPUT) | event_sources(card, 1)).items():
        (tmp_path / name).write_text(text)
    says = f'#include "aed_events.h"\n_Static_assert(sizeof(aed_events) == {events_bytes(card)}, "state");\n'
    (tmp_path / "size.c").write_text(says)
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m33", "-c", tmp_path / "size.c", "-o", tmp_path / "size.o"]
    subprocess.run(command, check=True)


# --- the example ----------------------------------------------------------------------------------------------------

RULE = EventRule(on=(0.5,), off=(0.3,), window=2, gap_s=0.8, repeat_s=2)
"""Of the recipe below: on and off now and then."""


def int8_model(path: Path, net: nn.Module) -> Path:
    made = quantize(to_onnx(net, nets.FRONTEND, ExportConfig()), nets.patches(16, seed=1).numpy(), QuantizeConfig())
    facts = quantization_facts(made, QuantizeConfig(), ())
    names = ("dog", "cat", "door bell", "frog")
    decision = Decision(temperature=0.05)  # a net that was not trained, made sure of itself
    save_model(path, made, ModelCard(frontend=nets.FRONTEND, class_names=names, decision=decision, quantization=facts))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return int8_model(tmp_path_factory.mktemp("model") / "net_int8.onnx", nets.make("awkward"))


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return int8_model(tmp_path_factory.mktemp("model") / "stream_int8.onnx", small())


def delivered(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, plan: PlanKind = "auto") -> Path:
    """The library with the rule, whose README does not say the sizes of the code."""
    monkeypatch.setattr(readme, "is_available", lambda _: None)
    changes = RuleChanges(**{key: list(v) if isinstance(v, tuple) else v for key, v in vars(RULE).items()})
    deliver(model, folder, DeployConfig(rule=changes, c=CSettings(plan=plan)))
    return folder


def sound(seconds: float) -> np.ndarray:
    """16-bit samples of noise whose colour and level wander, so that the net hears now this, now that."""
    draw = np.random.default_rng(3)
    count = int(seconds * nets.FRONTEND.sample_rate)
    time = np.arange(count) / nets.FRONTEND.sample_rate
    tone = np.sin(2 * np.pi * (400 + 350 * np.sin(0.7 * time)) * time) * (np.sin(0.9 * time) > 0)
    noise = draw.standard_normal(count) * (1 + np.sin(1.3 * time)) * (np.sin(0.37 * time) > -0.3)
    return (6000 * tone + 4000 * noise).clip(-32768, 32767).astype(np.int16)


def said(detector: Detector, rows: np.ndarray) -> str:
    """What the example says of posteriors ``(decisions, classes)``."""
    state, lines = detector.state(), []
    for number, row in enumerate(rows):
        raised, ended = state.add(row[None])
        found = [
            (alarm.target, f"alarm {start_s(number) + detector.patch_s:.3f} {alarm.posterior:.6f}") for alarm in raised
        ]
        found += [(event.target, event_line(detector, event)) for event in ended]
        lines += ["probabilities " + " ".join(f"{value:.9g}" for value in row)]
        lines += [f"{text} {detector.names[target]}" for target, text in sorted(found)]
    lines += [f"{event_line(detector, event)} {detector.names[event.target]}" for event in state.finish()]
    return "".join(f"{line}\n" for line in lines)


def start_s(decision: int) -> float:
    return decision * nets.FRONTEND.patch_hop * nets.FRONTEND.hop_length / nets.FRONTEND.sample_rate


def event_line(detector: Detector, event: RuleEvent) -> str:
    onset, offset = detector.span(start_s(event.first), start_s(event.last))
    return f"event {onset:.3f} {offset:.3f} {event.peak:.6f}"


@pytest.mark.skipif(not shutil.which("cmake"), reason="apt-get install cmake")
def test_cmake_builds_the_example_and_ctest_runs_the_self_test(model, tmp_path, monkeypatch):
    library = delivered(model, tmp_path / "with space", monkeypatch)
    net = library / "src/aed_net.c"
    text = net.read_text()
    changed = re.sub(r"(bias0\[\d+\] = \{)\s*", r"\g<1>90000 + ", text)  # each core's
    place = tmp_path / "build"
    subprocess.run(["cmake", "-S", library, "-B", place], check=True, capture_output=True)
    for content in (text, changed):
        net.write_text(content)
        subprocess.run(["cmake", "--build", place], check=True, capture_output=True)
        tested = subprocess.run(["ctest", "--test-dir", place], check=False, capture_output=True)
        assert (tested.returncode == 0) == (content == text) and b"aed_selftest" in tested.stdout
    assert subprocess.run([place / "aed_example"], input=b"", check=True, capture_output=True).stdout == b""


@pytest.mark.parametrize(
    ("net", "plan", "seconds", "least"), [("model", "auto", 3600, 300), ("streamed", "stream", 240, 1)]
)
def test_the_example_finds_the_events_of_detect(net, plan, seconds, least, tmp_path, monkeypatch, request):
    model = request.getfixturevalue(net)
    samples = np.tile(sound(240), seconds // 240)
    library = delivered(model, tmp_path / "with space", monkeypatch, plan)
    options = ["-std=c99", "-O2", "-ffp-contract=off", "-DAED_PRINT_PROBABILITIES", "-I", library / "include"]
    example = tmp_path / "example"
    units = [*library.glob("src/*.c"), library / "examples/main.c"]
    subprocess.run(["gcc", *options, *units, "-o", example, "-lm"], check=True)
    done = subprocess.run([example], input=samples.tobytes(), check=True, capture_output=True)
    lines = done.stdout.decode()

    detector = Detector(open_classifier(model), RULE)
    outputs = HostDevice(tmp_path / "host", load_model(model), nets.FRONTEND).outputs(samples)
    assert lines == said(detector, to_posteriors(detector.card, outputs))

    sf.write(tmp_path / "sound.wav", samples, nets.FRONTEND.sample_rate)
    decisions = detector.decisions(str(tmp_path / "sound.wav"))
    rows = decisions.posteriors
    # Python's front end computes in float64: now and then a feature is of the neighbouring int8 step
    assert len(rows) == len(outputs) and (rows == to_posteriors(detector.card, outputs)).all(axis=1).mean() > 0.9
    ours = re.findall(r"^event (\S+) (\S+) \S+ (.*)$", lines, re.MULTILINE)
    events = detector.events_of(rows, decisions.start_s)
    assert ours == [(f"{each.onset_s:.3f}", f"{each.offset_s:.3f}", each.label) for each in events]
    assert len(ours) >= least and len(np.unique(outputs, axis=0)) > 20
    assert subprocess.run([example], input=b"", check=True, capture_output=True).stdout == b""


# --- emulated -------------------------------------------------------------------------------------------------------

ON_CORE = """
#include "semihost.h"
int main(void) {
    static float rows[300 * AED_CLASSES];
    static aed_event found[AED_CLASSES * 301];
    static float on[AED_CLASSES];
    static float off[AED_CLASSES];
    aed_event_rule rule = aed_rule;
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    (void)aed_read(from, on, sizeof on);
    (void)aed_read(from, off, sizeof off);
    rule.on = on;
    rule.off = off;
    (void)aed_read(from, &rule.unknown, (uint32_t)(sizeof rule - 2 * sizeof(float *)));
    const uint32_t bytes = aed_read(from, rows, sizeof rows);
    const int count = stream(&rule, 0u, rows, (int)(bytes / sizeof rows[0] / AED_CLASSES), found);
    return aed_write(to, found, (uint32_t)count * sizeof found[0]) ? 73 : 0;
}
"""

STDIO = """
#include <stddef.h>
#include <sys/stat.h>
#include "semihost.h"
static int32_t files[2];
static int32_t file(int number) {
    if (files[number] == 0) {
        files[number] = number == 0 ? aed_open("input.bin", 1) : aed_open("output.bin", 5);
    }
    return files[number];
}
int _read(int number, void *to, size_t size) { return (int)aed_read(file(number), to, (uint32_t)size); }
int _write(int number, const void *from, size_t size) {
    return number > 1 || aed_write(file(1), from, (uint32_t)size) ? -1 : (int)size;
}
int _fstat(int number, struct stat *about) { about->st_mode = number == 1 ? S_IFCHR : S_IFREG; return 0; }
int _isatty(int number) { return number == 1; }
int _lseek(int number, int offset, int from) { return number + offset + from < 0 ? 0 : -1; }
int _close(int number) { return number < 0; }
int _getpid(void) { return 1; }
int _kill(int process, int signal) { return process + signal; }
void _exit(int code) { aed_stop(code); }
void *_sbrk(ptrdiff_t size) {
    static char heap[32768];
    static ptrdiff_t used;
    used += size;
    return heap + used - size;
}
"""
"""Standard input and output of the C library, as files of the machine around."""


@pytest.mark.parametrize("name", ["mean", "exponential"])
def test_an_emulated_core_gives_the_same_bits(arm, tmp_path, name):  # noqa: F811
    smoothing = {"smoothing": "exponential", "weight": 0.37} if name == "exponential" else {"window": 5}
    rule = EventRule((0.5, 0.45, 0.6), (0.3, 0.4, 0.55), gap_s=2, hold_off_s=5, repeat_s=9, **smoothing)
    rows = posteriors(4, 300, len(NAMES))
    sources = class_sources(LONGEST, OUTPUT) | event_sources(LONGEST, 1) | harness_sources()
    program = {**sources, "aed_net.h": STUB, "main.c": DRIVER + ON_CORE}
    board = load_board("mps2-an505")
    own, (on, off) = c_rule(rule, 0.4)
    head = bytes(own)[2 * ctypes.sizeof(ctypes.c_void_p) :]  # beyond the pointers alike on both
    content = on.tobytes() + off.tobytes() + head + rows.tobytes()
    raw = run_program(build(tmp_path / "program", program, board), tmp_path, content, board, count=False)
    assert as_python(np.frombuffer(raw, FOUND)) == in_python(rule, rows, [], 0.4)


def test_the_emulated_example_says_what_it_says_here(arm, model, tmp_path, monkeypatch):  # noqa: F811
    library, samples = delivered(model, tmp_path / "lib", monkeypatch), sound(120)
    files = [
        path for part in ("src/*", "include/*", "examples/main.c", "examples/report.h") for path in library.glob(part)
    ]
    program = {path.name: path.read_text() for path in files} | harness_sources() | {"stdio.c": STDIO}
    board = load_board("mps2-an505")
    elf = build(tmp_path / "program", program, board, ("-DAED_PRINT_PROBABILITIES",))
    lines = run_program(elf, tmp_path, samples.tobytes(), board, count=False).decode()
    outputs = HostDevice(tmp_path / "host", load_model(model), nets.FRONTEND).outputs(samples)
    detector = Detector(open_classifier(model), RULE)
    assert lines == said(detector, to_posteriors(detector.card, outputs))
    assert lines.count("event") > 2


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_rule_that_does_not_fit_is_refused_before_anything_is_written(model, tmp_path):
    for rule, words in (
        (RuleChanges(on=[0.5] * 3), "rule.on: need one threshold, or 4"),
        (RuleChanges(on=[0.4], off=[0.6]), "rule.off: 0.6 is over rule.on"),
    ):
        with pytest.raises(AedError, match=words):
            deliver(model, tmp_path / "lib", DeployConfig(rule=rule))
        assert not (tmp_path / "lib").exists()


def test_the_rule_is_for_the_library_alone():
    with pytest.raises(AedError, match=r"deploy\.rule: ST's firmware has no event rule, got target=stm32"):
        check(DeployConfig(target="stm32", rule=RuleChanges(window=3)), "deploy.")
    check(DeployConfig(c=CSettings(prefix="door"), rule=RuleChanges(window=3)))


def test_a_typed_rule_is_in_the_card_of_the_library(model, tmp_path, monkeypatch):
    library = delivered(model, tmp_path / "lib", monkeypatch)
    card = ModelCard.from_json((library / firmware.MARK).read_text(), "card")
    assert card == replace(read_model_card(load_model(model), model), rule=RULE)
