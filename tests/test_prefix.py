"""Libraries of two models in one firmware: every name of each begins with its own prefix."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import nets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.graph import load_model, save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import open_exact
from aed.run.deploy import DeployConfig, check, deliver
from aed.target.codegen.prefix import renamed
from aed.target.codegen.text import c_string
from aed.target.firmware.settings import CSettings
from aed.target.host import pointer

STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]
MODELS = {"doorbell": ("awkward", ("dog", "aed_siren", "AED_NET", "cat")), "Baby_Cry2": ("mixed", ("a", "b", "c", "d"))}

pytestmark = [
    pytest.mark.usefixtures("compiles"),  # as all tests that compile
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]


def run(*command: object) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, the library of each, compiled to an archive."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aed.target.firmware.readme.is_available", lambda _: None)  # no sizes for the README
        for prefix, (net, names) in MODELS.items():
            graph = to_onnx(nets.make(net), nets.FRONTEND, ExportConfig())
            made = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
            save_model(folder / f"{prefix}.onnx", made, ModelCard(frontend=nets.FRONTEND, class_names=names))
            deliver(folder / f"{prefix}.onnx", folder / prefix, DeployConfig(c=CSettings(prefix=prefix)))
            objects = []
            for source in (folder / prefix).glob("src/*.c"):
                objects.append(folder / prefix / f"{source.stem}.o")
                run("gcc", *STRICT, "-fPIC", "-I", folder / prefix / "include", "-c", source, "-o", objects[-1])
            run("ar", "rcs", folder / f"lib{prefix}.a", *objects)
    return folder


def includes(folder: Path) -> list[object]:
    return [part for prefix in MODELS for part in ("-I", folder / prefix / "include")]


def both(folder: Path) -> str:
    """The text of includes of every header of both libraries."""
    headers = [path.name for prefix in MODELS for path in sorted((folder / prefix).glob("include/*.h"))]
    return "".join(f'#include "{name}"\n' for name in headers)


def test_no_name_that_others_see_is_without_the_prefix(folder: Path) -> None:
    for prefix in MODELS:
        lines = run("nm", "-g", "--defined-only", folder / f"lib{prefix}.a").splitlines()
        symbols = [line.split()[-1] for line in lines if len(line.split()) == 3]
        assert len(symbols) > 25 and all(symbol.startswith(f"{prefix}_") for symbol in symbols)
        for path in (folder / prefix).rglob("*"):
            if path.suffix in (".c", ".h") and "examples" not in path.parts:
                assert path.name.startswith(f"{prefix}_")
            if path.suffix in (".c", ".h", ".md", ".txt"):
                text = re.sub(r'"aed_siren"|"AED_NET"|dog, aed_siren, AED_NET, cat|\baed\.\w+', "", path.read_text())
                assert not re.search(r"\b_*(aed|AED)(_|\b)|AED_", text), path


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="apt-get install gcc-arm-none-eabi")
def test_assembly_of_both_is_in_one_program(folder: Path, tmp_path: Path) -> None:
    core = ("-mthumb", "-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
    objects = []
    for prefix in MODELS:
        for name in ("conv", "depthwise", "elementwise"):
            objects.append(tmp_path / f"{prefix}_{name}.o")
            source = folder / prefix / f"src/{prefix}_{name}.c"
            run("arm-none-eabi-gcc", "-O2", *core, "-I", folder / prefix / "include", "-c", source, "-o", objects[-1])
    run("arm-none-eabi-ld", "-r", *objects, "-o", tmp_path / "both.o")
    lines = run("arm-none-eabi-nm", "-g", "--defined-only", tmp_path / "both.o").splitlines()
    assert len(lines) >= 10 and all(
        line.split()[-1].startswith(tuple(f"{prefix}_" for prefix in MODELS)) for line in lines
    )


def test_headers_of_both_stand_in_one_file_and_define_no_macro_without_a_prefix(folder: Path) -> None:
    (folder / "both.c").write_text(both(folder) + "int main(void) { return 0; }\n")
    run("gcc", *STRICT, *includes(folder), "-c", folder / "both.c", "-o", folder / "both.o")
    (folder / "system.c").write_text("#include <stddef.h>\n#include <stdint.h>\n#include <stdbool.h>\n")
    options = ("gcc", "-std=c99", "-dM", "-E", *includes(folder))
    ours, known = (
        {line.split()[1].split("(")[0] for line in run(*options, folder / f"{name}.c").splitlines()}
        for name in ("both", "system")
    )
    own = ours - known
    assert len(own) > 60 and all(name.startswith(tuple(f"{prefix.upper()}_" for prefix in MODELS)) for name in own)


def outputs(folder: Path, prefix: str, images: np.ndarray) -> list[list[int]]:
    session = open_exact(load_model(folder / f"{prefix}.onnx"))
    name = session.get_inputs()[0].name
    return [session.run(None, {name: image[None]})[0].ravel().tolist() for image in images]


@pytest.mark.parametrize("archives", [False, True])
def test_two_models_in_one_program_each_give_what_onnx_runtime_gives(folder: Path, archives: bool) -> None:
    headers = {prefix: (folder / prefix / f"include/{prefix}_net.h").read_text() for prefix in MODELS}
    feeds = {prefix: "NET_FEEDS 1" in text for prefix, text in headers.items()}
    runs = {prefix: f"{prefix}_net_run{'_frames' * takes_frames}" for prefix, takes_frames in feeds.items()}
    calls = "".join(
        f"static {prefix}_net {prefix}_memory;\nvoid {prefix}_run(const int8_t *in, int8_t *out);\n"
        f"void {prefix}_run(const int8_t *in, int8_t *out) {{ {runs[prefix]}(&{prefix}_memory, in, out); }}\n"
        f"int {prefix}_test(void);\nint {prefix}_test(void) {{ return {prefix}_selftest(&{prefix}_memory); }}\n"
        for prefix in MODELS
    )
    (folder / "program.c").write_text(both(folder) + calls)
    parts = [folder / f"lib{prefix}.a" for prefix in MODELS]
    if not archives:
        parts = [path for prefix in MODELS for path in sorted((folder / prefix).glob("*.o"))]
    program = folder / f"program{archives}.so"
    run("gcc", *STRICT, "-shared", "-fPIC", *includes(folder), folder / "program.c", *parts, "-o", program, "-lm")
    loaded = ctypes.CDLL(str(program))
    frontend = nets.FRONTEND
    shape = (6, 1, frontend.n_mels, frontend.patch_frames)
    images = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    found = {}
    for prefix in MODELS:
        out = np.zeros((len(images), 4), np.int8)
        for image, row in zip(images.swapaxes(2, 3).copy() if feeds[prefix] else images, out, strict=True):
            loaded[f"{prefix}_run"](pointer(image), pointer(row))
        found[prefix] = out.tolist()
        assert found[prefix] == outputs(folder, prefix, images) and loaded[f"{prefix}_test"]() == 0
    assert found["doorbell"] != found["Baby_Cry2"]


@pytest.mark.skipif(not shutil.which("cmake"), reason="apt-get install cmake")
def test_two_libraries_in_one_cmake_project(folder: Path, tmp_path: Path) -> None:
    calls = " + ".join(f"{prefix}_selftest(&{prefix}_memory)" for prefix in MODELS)
    memory = "".join(f"static {prefix}_net {prefix}_memory;\n" for prefix in MODELS)
    (tmp_path / "main.c").write_text(f"{both(folder)}{memory}int main(void) {{ return {calls}; }}\n")
    folders = "".join(f'add_subdirectory("{folder / prefix}" {prefix})\n' for prefix in MODELS)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(two C)\n"
        f"{folders}add_executable(two main.c)\ntarget_link_libraries(two {' '.join(MODELS)})\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build/two")
    assert not (tmp_path / "build/doorbell/doorbell_example").exists()  # of the folder alone


@pytest.mark.parametrize(
    "prefix", ["", "2door", "door bell", "Tür", "_door", "door_", "do__or", "a-b", "x;y", "a" * 32]
)
def test_what_is_no_name_is_refused(prefix: str) -> None:
    with pytest.raises(AedError, match=r"^c\.prefix: need"):
        check(DeployConfig(c=CSettings(prefix=prefix)))


@pytest.mark.parametrize("prefix", ["int", "Class", "register", "main", "test", "all", "m", "namespace"])
def test_keywords_are_refused_with_a_name_that_is_taken(prefix: str) -> None:
    with pytest.raises(AedError, match="means something else") as caught:
        check(DeployConfig(c=CSettings(prefix=prefix)))
    check(DeployConfig(c=CSettings(prefix=str(caught.value).rpartition("prefix=")[2])))


def test_st_firmware_has_no_prefix() -> None:
    with pytest.raises(AedError, match=r"c\.prefix: only target c reads it, got target=stm32"):
        check(DeployConfig(target="stm32", c=CSettings(prefix="door")))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_strings_stay_as_they_are(name: str) -> None:
    line = f"static const char *const aed_names[] = {{{c_string(name)}, {c_string('aed_' + name)}}}; /* AED_X */"
    wanted = line.replace("aed_names", "door_names").replace("/* AED_X */", "/* DOOR_X */")
    assert renamed(line, "door") == wanted and renamed(line, "aed") == line
