"""The library as a package of CMake, Zephyr, Arduino, PlatformIO and CMSIS-Pack, by each format's specification."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from small_library import save_small, small_library

import aed
from aed.base.errors import AedError
from aed.run.deploy import DeployConfig, check
from aed.target.firmware.formats.cmsis import CORES
from aed.target.firmware.formats.delivery import LONGEST, shortened, version
from aed.target.firmware.settings import CSettings

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]
needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="apt-get install cmake")

SCHEMAS = Path(os.environ.get("AED_SCHEMAS", "nothing"))
"""Folder with PACK.xsd (Open-CMSIS-Pack-Spec) and module-schema.yaml (Zephyr), where there is one."""

PREFIX = "doorbell"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("model") / "net_int8.onnx")


@pytest.fixture(scope="module")
def library(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_library(tmp_path_factory.mktemp("formats") / "with space", model, format="all", prefix=PREFIX)


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8", **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_second_run_writes_the_same_bytes(library: Path, model: Path, tmp_path: Path) -> None:
    again = small_library(tmp_path / "again", model, format="all", prefix=PREFIX)
    assert contents(again) == contents(library)


@pytest.mark.parametrize(
    ("format", "own"),
    [
        ("cmake", set()),
        ("zephyr", {"zephyr/module.yml", "zephyr/Kconfig", "zephyr/CMakeLists.txt"}),
        ("platformio", {"library.json"}),
        ("cmsis", {"aed.aed.pdsc", "aed.aed.0.1.0.pack"}),
    ],
)
def test_a_format_adds_its_files_alone(model: Path, tmp_path: Path, format: str, own: set[str]) -> None:
    made = set(contents(small_library(tmp_path / "one", model, format=format)))
    plain = {path for path in made if path.split("/")[0] in ("src", "include", "examples")}
    assert made - plain == own | {"API.md", "CMakeLists.txt", "LICENSE", "README.md", "aed_firmware.json"}
    assert "include/aed_net.h" in made


# --- CMake ---------------------------------------------------------------------------------------------------------


USER = """cmake_minimum_required(VERSION 3.13)
project(app C)
{how}
add_executable(app main.c)
target_link_libraries(app PRIVATE doorbell::doorbell)
"""
MAIN = '#include "doorbell_selftest.h"\nint main(void) { static doorbell_net n; return doorbell_selftest(&n); }\n'


@needs_cmake
def test_a_project_finds_the_installed_package_or_adds_the_folder(library: Path, tmp_path: Path) -> None:
    """Its own build passes ctest; both ways link a program that passes the self-test."""
    build = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}"]
    run("cmake", "-S", library, "-B", tmp_path / "own", *build)
    run("cmake", "--build", tmp_path / "own")
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path / "own")
    run("cmake", "--install", tmp_path / "own")
    ways = {
        "found": "find_package(doorbell 0.1 REQUIRED)",
        "added": f'add_subdirectory("{library}" doorbell)',
        "fetched": "include(FetchContent)\nFetchContent_Declare(doorbell SOURCE_DIR "
        f'"{library}")\nFetchContent_MakeAvailable(doorbell)',
    }
    for way, how in ways.items():
        (tmp_path / way).mkdir()
        (tmp_path / way / "CMakeLists.txt").write_text(USER.format(how=how))
        (tmp_path / way / "main.c").write_text(MAIN)
        place = tmp_path / f"{way}_build"
        run("cmake", "-S", tmp_path / way, "-B", place, f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
        run("cmake", "--build", place)
        run(place / "app")
        assert not list(place.rglob("doorbell_check*")), "the self-test is built of the folder alone"


# --- Zephyr --------------------------------------------------------------------------------------------------------


def test_the_zephyr_module_names_files_that_are_there(library: Path) -> None:
    module = yaml.safe_load((library / "zephyr/module.yml").read_text())
    assert module == {"name": PREFIX, "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    assert (library / module["build"]["kconfig"]).is_file()
    text = (library / module["build"]["cmake"] / "CMakeLists.txt").read_text()
    named = re.findall(r"\.\./(src/\S+\.c)", text)
    assert sorted(named) == sorted(f"src/{path.name}" for path in library.glob("src/*.c"))
    (folder,) = re.findall(r"zephyr_include_directories\(\.\./(\w+)\)", text)
    assert (library / folder / "doorbell_net.h").is_file() and "if(CONFIG_DOORBELL)" in text


def test_the_zephyr_module_fits_its_schema(library: Path) -> None:
    if not (SCHEMAS / "module-schema.yaml").is_file():
        pytest.skip("in no package: AED_SCHEMAS=<folder with module-schema.yaml of Zephyr's scripts/schemas>")
    jsonschema = pytest.importorskip("jsonschema")
    schema = yaml.safe_load((SCHEMAS / "module-schema.yaml").read_text())
    module = yaml.safe_load((library / "zephyr/module.yml").read_text())
    jsonschema.Draft202012Validator(schema).validate(module)
    known = schema["properties"]
    assert set(module) <= set(known) and set(module["build"]) <= set(known["build"]["properties"])  # it forbids none


def test_kconfig_defines_the_option(library: Path, tmp_path: Path) -> None:
    kconfiglib = pytest.importorskip("kconfiglib")
    around = "config FULL_LIBC_SUPPORTED\n\tbool\n\tdefault y\nconfig REQUIRES_FULL_LIBC\n\tbool\n"
    around += 'config FPU\n\tbool "f"\nconfig CPU_HAS_FPU\n\tbool\n\tdefault y\n'
    (tmp_path / "Kconfig").write_text(around + (library / "zephyr/Kconfig").read_text())
    config = kconfiglib.Kconfig(str(tmp_path / "Kconfig"), warn_to_stderr=False)
    assert config.warnings == []
    option = config.syms["DOORBELL"]
    assert option.str_value == "n"
    option.set_value("y")
    assert (option.str_value, config.syms["REQUIRES_FULL_LIBC"].str_value, config.syms["FPU"].str_value) == ("y",) * 3


CALLS = """cmake_minimum_required(VERSION 3.13)
project(stub C)
set(CONFIG_DOORBELL y)
macro(zephyr_library_named name)
  set(LIBRARY ${name})
  add_library(${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(${LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
"""


@needs_cmake
def test_the_zephyr_library_builds_with_functions_that_stand_for_zephyrs(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(library, folder)
    script = folder / "zephyr/CMakeLists.txt"
    script.write_text(CALLS + script.read_text())
    run("cmake", "-S", folder / "zephyr", "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    assert (tmp_path / "build/libdoorbell.a").is_file()


# --- Arduino -------------------------------------------------------------------------------------------------------

CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
}  # fmt: skip
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?"


def test_the_arduino_library_is_what_the_specification_says(library: Path) -> None:
    lines = (library / "library.properties").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines]
    keys = [key for key, _, _ in pairs]
    values = {key: value for key, _, value in pairs}
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(keys) and len(keys) == len(set(keys)) and all(values.values())
    assert set(keys) <= required | {"includes", "dot_a_linkage"}
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", values["name"])
    assert not values["name"].lower().startswith("arduino")
    assert re.fullmatch(SEMVER, values["version"]) and values["version"] == version()
    assert values["category"] in CATEGORIES and re.fullmatch("https?://.+", values["url"])
    assert not values["paragraph"].startswith(values["sentence"])  # the IDE shows one after the other
    assert (library / "src" / values["includes"]).is_file()
    assert all((path.parent / f"{path.parent.name}.ino").is_file() for path in library.glob("examples/*/*.ino"))
    assert not list(library.glob("*.ino")) and not (library / "include").exists()
    assert not [name for name in ("utility", "libraries") if (library / name).exists()]
    assert "version=9.9.9 " in values["paragraph"] + " ", "a name of a class is text, no line of its own"


ARDUINO = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
struct Port {
    void begin(unsigned long) {}
    size_t readBytes(char *to, size_t size) { return fread(to, 1, size, stdin); }
    void print(const char *text) { fputs(text, stdout); }
    void println(const char *text) { puts(text); }
};
static Port Serial;
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="apt-get install g++")
def test_the_sketch_compiles_as_cpp_and_prints_events(library: Path, tmp_path: Path) -> None:
    """With a port that is standard input; the library beside it as C, with the include path that Arduino gives."""
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = (library / "examples/Listen/Listen.ino").read_text()
    loop = "int main() { setup(); for (int i = 0; i < 500; ++i) { loop(); } return 0; }\n"
    (tmp_path / "sketch.cpp").write_text(sketch + loop)
    for source in library.glob("src/*.c"):
        run(
            "gcc",
            "-std=gnu11",
            "-Os",
            "-Wall",
            "-I",
            library / "src",
            "-c",
            source,
            "-o",
            tmp_path / f"{source.stem}.o",
        )
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-I", tmp_path, "-I", library / "src"]
    run("g++", *flags, tmp_path / "sketch.cpp", *tmp_path.glob("*.o"), "-lm", "-o", tmp_path / "sketch")
    level = np.repeat([0, 1, 0.1, 3], 20000)
    sound = (3000 * np.random.default_rng(0).standard_normal(80000) * level).astype("<i2").tobytes()
    done = subprocess.run([tmp_path / "sketch"], input=sound, capture_output=True, check=True)
    assert b"does not work" not in done.stdout and b"alarm " in done.stdout


# --- PlatformIO ----------------------------------------------------------------------------------------------------


def test_the_platformio_manifest_is_what_the_specification_says(library: Path) -> None:
    manifest = json.loads((library / "library.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest["name"]) and len(manifest["name"]) <= 50
    assert re.fullmatch(SEMVER, manifest["version"]) and len(manifest["description"]) <= LONGEST
    folders = manifest["build"]
    assert (library / folders["srcDir"]).is_dir() and (library / folders["includeDir"]).is_dir()
    assert all((library / folders["includeDir"] / name).is_file() for name in manifest["headers"])
    assert "dog" in manifest["description"] and "\n" not in manifest["description"]


@pytest.mark.skipif(not shutil.which("pio"), reason="pip install platformio, in an environment of its own")
def test_pio_packs_the_library(library: Path, tmp_path: Path) -> None:
    place, folder = tmp_path / "library.tar.gz", tmp_path / "copy"
    shutil.copytree(library, folder)
    manifest = json.loads((folder / "library.json").read_text())
    assert manifest.pop("license") == "Apache-2.0"  # pio looks it up in a list that it downloads
    (folder / "library.json").write_text(json.dumps(manifest))
    environment = os.environ | {
        "PLATFORMIO_CORE_DIR": str(tmp_path / "core"),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
    }
    run("pio", "pkg", "pack", folder, "-o", place, env=environment)
    with tarfile.open(place) as packed:
        names = packed.getnames()
    assert "src/doorbell_net.c" in names and "library.json" in names
    assert not [name for name in names if name.endswith(".pack")]


# --- CMSIS-Pack ----------------------------------------------------------------------------------------------------


def description(library: Path) -> Path:
    (path,) = library.glob("*.pdsc")
    return path


def test_the_pack_is_what_the_specification_says(library: Path) -> None:
    """What packchk looks for and the schema does not: names, references, files."""
    tree = ElementTree.parse(description(library)).getroot()
    vendor, name = tree.findtext("vendor"), tree.findtext("name")
    assert description(library).name == f"{vendor}.{name}.pdsc"
    newest = tree.find("releases")[0].get("version")
    (pack,) = library.glob("*.pack")
    assert pack.name == f"{vendor}.{name}.{newest}.pack" and newest == version()
    conditions = {condition.get("id") for condition in tree.find("conditions")}
    named = {node.get("condition") for node in tree.iter() if node.get("condition")}
    assert named <= conditions and conditions == named | {"supported"}
    assert [node.get("Dcore") for node in tree.iter() if node.get("Dcore")] == list(CORES)
    (component,) = tree.find("components")
    assert component.get("Csub") == PREFIX and component.get("Cversion") == newest
    files = [node.get("name") for node in component.find("files")]
    assert len(files) == len(set(files)) and all((library / path).exists() for path in files)
    compiled = {path for path in files if path.startswith("src/") and path.endswith(".c")}
    assert compiled == {f"src/{path.name}" for path in library.glob("src/*.c")}
    assert "<Türe> ??/ & ]]>" in component.findtext("description")
    with zipfile.ZipFile(pack) as archive:
        assert archive.testzip() is None and description(library).name in archive.namelist()
        assert {path.rstrip("/").split("/")[0] for path in files} <= {path.split("/")[0] for path in archive.namelist()}
        assert (library / "LICENSE").read_bytes() == archive.read(tree.findtext("license"))
        assert all(not Path(path).is_absolute() and ".." not in path for path in archive.namelist())


def test_the_pack_fits_its_schema(library: Path) -> None:
    if not (SCHEMAS / "PACK.xsd").is_file():
        pytest.skip("in no package: AED_SCHEMAS=<folder with PACK.xsd of Open-CMSIS-Pack-Spec>")
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(etree.parse(SCHEMAS / "PACK.xsd"))
    schema.assertValid(etree.parse(description(library)))
    cores = {node.get("value") for node in etree.parse(SCHEMAS / "PACK.xsd").iter("{*}enumeration")}
    assert set(CORES) <= cores  # the schema takes any token


# --- keys and texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"format": "mbed"}, "c.format: need one of"),
        ({"format": "arduino", "prefix": "arduino_bell"}, "c.prefix: Arduino keeps names"),
        ({"format": "cmsis", "url": "no address"}, "c.url: need an address"),
    ],
)
def test_what_no_format_takes_is_refused(settings: dict[str, str], word: str) -> None:
    with pytest.raises(AedError, match=word):
        check(DeployConfig(c=CSettings(**settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "said"), [("1.2.3", "1.2.3"), ("1.2", "1.2.0"), ("1.2.3rc1", "1.2.3-rc1"), ("1.2.3.dev4", "1.2.3-dev4")]
)
def test_versions_become_semantic_ones(monkeypatch: pytest.MonkeyPatch, own: str, said: str) -> None:
    monkeypatch.setattr(aed, "__version__", own)
    assert version() == said and re.fullmatch(SEMVER, said)


def test_long_texts_are_cut_and_control_characters_go() -> None:
    assert shortened("a\x00b\r\nc\u2028d") == "a b c d"
    assert len(shortened("class " * 99)) <= LONGEST and shortened("class " * 99).endswith("...")
