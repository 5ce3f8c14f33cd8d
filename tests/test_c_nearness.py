"""Nearness and learned sounds in C: the bits of Python, on this machine and on an emulated core."""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import soundfile as sf
import torch
from test_c_events import RULE, said, sound
from test_emulator import arm  # noqa: F401
from test_nearness import int8_model, without_nearness
from test_plans import small
from torch import nn

from aed.base.errors import AedError
from aed.dsp.aggregate import Aggregate
from aed.export.card import ModelCard
from aed.export.embedding import without_embedding
from aed.export.graph import save_model
from aed.export.runtime import open_exact, run_exact
from aed.inference.classifier import to_event_posteriors, to_nearness, to_posteriors
from aed.inference.detection import Detector
from aed.inference.onnx import OnnxClassifier
from aed.run.deploy import DeployConfig, deliver
from aed.run.int8_programs import build_devices
from aed.scoring.learning import Learner, learned
from aed.scoring.scores import score
from aed.target.boards import load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.classes import class_sources
from aed.target.codegen.generate import run_name
from aed.target.codegen.lower import lower
from aed.target.codegen.means import learner_bytes
from aed.target.codegen.program import Program, Tensor
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build, harness_sources
from aed.target.firmware import library as firmware
from aed.target.firmware import readme
from aed.target.firmware.settings import CSettings
from aed.target.host import HostDevice, build_library, net_memory, pointer

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]

CLASSES, SOUNDS = 4, 3


@pytest.fixture(scope="module")
def made() -> tuple[onnx.ModelProto, ModelCard]:
    torch.manual_seed(0)
    return with_limits(*int8_model(nets.PreActivation(CLASSES).eval()))


def with_limits(model: onnx.ModelProto, card: ModelCard, **decision: object) -> tuple[onnx.ModelProto, ModelCard]:
    """Limits of learned sounds by which some rows of noise are heard as one, and some are not."""
    assert card.decision.nearness is not None
    nearness = replace(card.decision.nearness, learn_least=0.97, learn_margin=-0.003)
    return model, replace(card, decision=replace(card.decision, nearness=nearness, **decision))


def compiled(
    model: onnx.ModelProto, card: ModelCard, folder: Path, planning: PlanSettings
) -> tuple[ctypes.CDLL, Program, np.ndarray, np.ndarray]:
    """The library, its program, its outputs for noise, and these as a classifier has them."""
    chosen = choose_plan(partial(lower, model), planning, card.frontend.patch_hop)
    library = build_library(folder, firmware.library_sources(model, chosen.program, chosen.plan, card, SOUNDS))
    library.aed_nearness.restype = ctypes.c_float
    steps = np.random.default_rng(0).integers(-60, 90, (24, chosen.program.tensors[chosen.program.input].size))
    steps = np.ascontiguousarray(steps, np.int8)
    own = np.empty((len(steps), chosen.program.tensors[chosen.program.output].size), np.int8)
    memory = net_memory(chosen.plan)
    for each, out in zip(steps, own, strict=True):
        getattr(library, run_name(chosen.plan))(memory, pointer(each), pointer(out))
    session = open_exact(model)
    expected = np.concatenate([run_exact(session, image[None]) for image in chosen.program.images(steps)])
    assert np.array_equal(own, expected) and len(np.unique(own, axis=0)) > 12
    return library, chosen.program, own, chosen.program.real(own)


@pytest.mark.parametrize("plan", ["layers", "rows"])
@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_c_is_as_near_and_decides_as_python_does(made, tmp_path: Path, plan: str, aggregate: Aggregate) -> None:
    model, card = with_limits(*made, aggregate=aggregate)
    library, _, own, outputs = compiled(model, card, tmp_path, PlanSettings(plan=plan))
    posteriors, nearness = to_posteriors(card, outputs), to_nearness(card, outputs)
    assert nearness is not None
    assert [library.aed_nearness(pointer(out)) for out in own] == nearness.tolist()
    scores = card.decision.score(torch.from_numpy(posteriors), torch.from_numpy(nearness))
    rule = replace(card.decision, unknown_threshold=float(scores.median()))  # exactly a score: not under it
    decided = rule.decide(torch.from_numpy(posteriors), "single_label", torch.from_numpy(nearness))
    assert 5 < int((decided == -1).sum()) < 15
    own_rule = build_library(tmp_path / "rule", class_files(replace(card, decision=rule)))
    for row, near, label in zip(posteriors, nearness, decided.tolist(), strict=True):
        heard = np.ones(CLASSES, np.bool_)
        assert own_rule.aed_decide(pointer(row), ctypes.c_float(near), pointer(heard)) == label
        assert heard.tolist() == [index == label for index in range(CLASSES)]
    got, near = np.empty(CLASSES, np.float32), np.empty(1, np.float32)
    own_rule.whole(pointer(posteriors), pointer(nearness), len(posteriors), pointer(got), pointer(near))
    whole = score(*map(torch.from_numpy, clip_of(posteriors)), "abcd", rule, torch.from_numpy(nearness))
    assert got.tolist() == whole.clip_posteriors[0].tolist() and near[0] == whole.clip_nearness[0]


def clip_of(posteriors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rows as patches of one clip of the first class."""
    return posteriors, np.zeros(len(posteriors), np.int64), np.zeros(len(posteriors), np.int64)


CLIP = """
#include "aed_classes.h"
void whole(const float *patches, const float *nearness, int count, float *probability, float *near);
void whole(const float *patches, const float *nearness, int count, float *probability, float *near) {
    aed_clip clip;
    aed_clip_reset(&clip);
    for (int i = 0; i < count; ++i) {
        aed_clip_add(&clip, &patches[i * AED_CLASSES], nearness[i]);
    }
    aed_clip_probabilities(&clip, probability);
    *near = aed_clip_nearness(&clip);
}
"""


def class_files(card: ModelCard) -> dict[str, str]:
    stub = "#define AED_NET_OUTPUT_SCALE 0.0625F\n#define AED_NET_OUTPUT_ZERO (-3)\n"
    output = Tensor("out", (1, 1, CLASSES + 8), np.float32(0.0625), -3)
    return {**class_sources(card, output, 8), "aed_net.h": stub, "clip.c": CLIP}


def test_a_stream_has_the_embedding_too(tmp_path: Path) -> None:
    model, card = with_limits(*int8_model(small()))
    assert card.decision.nearness is not None
    own = (card.frontend, PlanSettings(plan="stream"))
    stream = HostDevice(tmp_path / "stream", model, *own)
    patches = HostDevice(tmp_path / "patches", model, card.frontend)
    samples = np.random.default_rng(0).integers(-9000, 9000, 3 * 16000).astype(np.int16)
    outputs = stream.outputs(samples)
    assert outputs.shape[1] == CLASSES + card.decision.nearness.size and len(outputs) > 3
    assert np.array_equal(outputs, patches.outputs(samples))


@pytest.fixture(scope="module")
def learning(made, tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, ModelCard, np.ndarray, np.ndarray]:
    library, program, own, outputs = compiled(*made, tmp_path_factory.mktemp("learn"), PlanSettings())
    assert program.num_embedded == 8
    return library, made[1], own, outputs


def in_python(card: ModelCard, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and decisions once sound 0 is learned from a row, sound 2 from five; sound 1 is not."""
    learner, embeddings = Learner(SOUNDS, 8), outputs[:, CLASSES:]
    learner.learn(0, embeddings[:1])
    learner.learn(2, embeddings[1:6])
    nearness, cosines = to_nearness(card, outputs), learner.cosines(embeddings)
    assert nearness is not None and card.decision.nearness is not None
    return cosines, learned(card.decision.nearness, nearness, cosines)


def test_c_learns_what_python_learns(learning) -> None:
    library, card, own, outputs = learning
    learner = (ctypes.c_uint32 * (learner_bytes(8, SOUNDS) // 4))(*[7] * (learner_bytes(8, SOUNDS) // 4))
    library.aed_learn_init(learner)
    cosine = np.empty(SOUNDS, np.float32)
    library.aed_learn_cosines(learner, pointer(own[0]), pointer(cosine))
    assert cosine.tolist() == [-1] * SOUNDS and library.aed_learned(pointer(cosine), ctypes.c_float(-1)) == -1
    assert library.aed_learn_end(learner, 0) == -1  # nothing to learn from
    for number, rows in ((0, own[7:9]), (0, own[:1]), (2, own[1:6])):  # the second replaces the first
        library.aed_learn_begin(learner)
        library.aed_learn_add(learner, pointer(own[12]))
        library.aed_learn_begin(learner)  # drops it
        assert all(library.aed_learn_add(learner, pointer(row)) == 0 for row in rows)
        assert library.aed_learn_end(learner, SOUNDS) == library.aed_learn_end(learner, -1) == -1
        assert library.aed_learn_end(learner, number) == 0
    cosines, decided = in_python(card, outputs)
    assert {-1, 0, 2} == set(decided.tolist())
    nearness = to_nearness(card, outputs)
    for out, near, row, number in zip(own, nearness, cosines, decided.tolist(), strict=True):
        library.aed_learn_cosines(learner, pointer(out), pointer(cosine))
        assert cosine.tolist() == row.tolist()
        assert library.aed_learned(pointer(cosine), ctypes.c_float(near)) == number
    library.aed_learn_forget(learner, 2)
    library.aed_learn_cosines(learner, pointer(own[2]), pointer(cosine))
    assert cosine[2] == -1 and cosine[0] == cosines[2, 0]


ON_CORE = """
#include "aed_learn.h"
#include "semihost.h"
int main(void) {
    static int8_t outputs[24][AED_NET_OUTPUT_SIZE];
    static aed_learner learner;
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    (void)aed_read(from, outputs, sizeof outputs);
    aed_learn_init(&learner);
    (void)aed_learn_add(&learner, outputs[0]);
    (void)aed_learn_end(&learner, 0);
    for (int i = 1; i < 6; ++i) {
        (void)aed_learn_add(&learner, outputs[i]);
    }
    (void)aed_learn_end(&learner, 2);
    for (int i = 0; i < 24; ++i) {
        float row[1 + AED_LEARN];
        row[0] = aed_nearness(outputs[i]);
        aed_learn_cosines(&learner, outputs[i], &row[1]);
        const int32_t sound = aed_learned(&row[1], row[0]);
        if (aed_write(to, row, sizeof row) || aed_write(to, &sound, sizeof sound)) {
            return 73;
        }
    }
    return sizeof learner == BYTES ? 0 : 1;
}
"""


def test_an_emulated_core_learns_the_same(arm, learning, tmp_path: Path) -> None:  # noqa: F811
    _, card, own, outputs = learning
    embedding = Tensor("embedding", (1, 1, 8), np.float32(1), zero_of(own, outputs))
    assert card.decision.nearness is not None
    sources = firmware.mean_sources(card.decision.nearness, embedding, SOUNDS) | harness_sources()
    stub = f"#define AED_NET_OUTPUT_SIZE {own.shape[1]}\n"
    program = {**sources, "aed_net.h": stub, "main.c": ON_CORE.replace("BYTES", str(learner_bytes(8, SOUNDS)))}
    board = load_board("mps2-an505")
    raw = run_program(build(tmp_path / "program", program, board), tmp_path, own.tobytes(), board, count=False)
    rows = np.frombuffer(raw, np.dtype([("nearness", "<f4"), ("cosines", "<f4", SOUNDS), ("sound", "<i4")]))
    cosines, decided = in_python(card, outputs)
    assert np.array_equal(rows["nearness"], to_nearness(card, outputs))
    assert np.array_equal(rows["cosines"], cosines) and np.array_equal(rows["sound"], decided)


def zero_of(own: np.ndarray, outputs: np.ndarray) -> int:
    """Zero point of the embedding."""
    return int(own[0, CLASSES] - outputs[0, CLASSES])


# ---- the library ------------------------------------------------------------------------------------------


STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-ffp-contract=off"]


def test_the_library_hears_what_the_model_file_does(made, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(readme, "is_available", lambda _: None)
    graph, card = with_limits(*made, temperature=0.05)  # a net that was not trained, made sure of itself
    samples = sound(20)
    outputs = HostDevice(tmp_path / "host", graph, card.frontend).outputs(samples)
    posteriors, nearness = to_posteriors(card, outputs), to_nearness(card, outputs)
    assert nearness is not None
    scores = card.decision.score(torch.from_numpy(posteriors), torch.from_numpy(nearness))
    decision = replace(card.decision, unknown_threshold=float(scores.median()))
    card = replace(card, decision=decision, rule=RULE)
    save_model(tmp_path / "net_int8.onnx", graph, card)
    folder = tmp_path / "library"
    deliver(tmp_path / "net_int8.onnx", folder, DeployConfig(c=CSettings(learn=SOUNDS, prefix="bell")))
    page = (folder / "README.md").read_text()
    assert f"{learner_bytes(8, SOUNDS):,} | RAM" in page and "bell_learn_add" in page and "bell_nearness" in page
    for unit in ("bell_nearness.c", "bell_learn.c", "bell_means.c", "bell_classes.c", "bell_events.c"):
        command = ["gcc", *STRICT, "-I", folder / "include", "-c", folder / "src" / unit, "-o", tmp_path / "out.o"]
        subprocess.run(command, check=True)
    options = ["-std=c99", "-O2", "-ffp-contract=off", "-I", folder / "include"]
    for example in ("main", "selftest"):
        units = [*folder.glob("src/*.c"), folder / "examples" / f"{example}.c"]
        subprocess.run(["gcc", *options, *units, "-o", tmp_path / example, "-lm"], check=True)
    subprocess.run([tmp_path / "selftest"], check=True)
    done = subprocess.run([tmp_path / "main"], input=samples.tobytes(), check=True, capture_output=True)
    heard = to_event_posteriors(card, outputs)
    assert 0.3 < (heard == 0).all(axis=1).mean() < 0.7
    detector = Detector(OnnxClassifier(graph, card, Path("m.onnx")), RULE)
    expected = [line for line in said(detector, heard).splitlines() if not line.startswith("probabilities")]
    assert done.stdout.decode().splitlines() == expected and len(expected) > 4
    sf.write(tmp_path / "sound.wav", samples, card.frontend.sample_rate)
    rows = detector.decisions(str(tmp_path / "sound.wav")).posteriors
    assert (rows == heard).all(axis=1).mean() > 0.9  # Python's front end now and then rounds to the next step


def test_without_need_the_library_is_what_it_was(made, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(readme, "is_available", lambda _: None)
    model, card = made
    assert card.decision.nearness is not None
    posterior = replace(card, decision=replace(card.decision, nearness=replace(card.decision.nearness, weight=0.0)))
    firmware.write_firmware(model, posterior, tmp_path / "new", "net", CSettings())
    firmware.write_firmware(without_embedding(model), without_nearness(card), tmp_path / "old", "net", CSettings())
    same = [path for path in (tmp_path / "old").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert all(
        (tmp_path / "new" / path.relative_to(tmp_path / "old")).read_bytes() == path.read_bytes() for path in same
    )
    assert len(list((tmp_path / "new").rglob("*"))) == len(list((tmp_path / "old").rglob("*")))


def test_what_cannot_learn_is_refused(made, tmp_path: Path) -> None:
    model, card = made
    with pytest.raises(AedError, match="learn=2: the model has no means"):
        firmware.write_firmware(
            without_embedding(model), without_nearness(card), tmp_path / "a", "net", CSettings(learn=2)
        )
    with pytest.raises(AedError, match="learn: need 0 to"):
        firmware.write_firmware(model, card, tmp_path / "a", "net", CSettings(learn=-1))
    with pytest.raises(AedError, match="export it anew"):
        class_sources(card, Tensor("out", (1, 1, CLASSES), np.float32(1), 0))
    flat = nn.Sequential(nn.Conv2d(1, 3, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 8, CLASSES)).eval()
    with pytest.raises(AedError, match="no means of flattened images"):
        lower(int8_model(flat)[0])
    assert not (tmp_path / "a").exists()


def test_the_programs_of_an_evaluation_have_the_nearness(made, tmp_path: Path) -> None:
    model, card = made
    device = build_devices(OnnxClassifier(model, card, Path("m.onnx")), card, tmp_path, None)["c"]
    samples = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)
    nearness = to_nearness(card, device.outputs(samples))
    assert nearness is not None and len(nearness) > 1
