"""The page of the C library's interface: every name that GCC sees, with its comment; in docs and library."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
from small_library import save_small, small_library

from aed.target.codegen.generate import OF_KERNELS
from aed.target.firmware.api import api_page, entries

pytestmark = pytest.mark.usefixtures("compiles")

ROOT = Path(__file__).parents[1]

HEADER = """/*
 * Of a thing.
 *
 *     aed_thing thing;
 */
#ifndef AED_THING_H
#define AED_THING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many. */
#define AED_THINGS 3
#define AED_OTHERS (-4)

#if AED_THINGS > 2

/* A thing; see *more. */
typedef struct {
    union {
        int32_t a; /* an a; or not */
        float b;
    } of;
} aed_thing;

#else
typedef int aed_thing;
#endif

/* What is done
 * with it. */
void aed_do(const aed_thing *thing,
            int n);

int aed_bare(void);

extern const float aed_table[AED_THINGS];

#ifdef __cplusplus
}
#endif

#endif
"""


def test_declarations_go_with_the_comment_over_them():
    intro, found = entries(HEADER)
    assert intro == "Of a thing.\n\n    aed_thing thing;"
    assert [(entry.names, entry.meaning, entry.where) for entry in found] == [
        (["AED_THINGS", "AED_OTHERS"], "How many.", ()),
        (["aed_thing"], "A thing; see *more.", ("AED_THINGS > 2",)),
        (["aed_thing"], "", ("not AED_THINGS > 2",)),
        (["aed_do"], "What is done\nwith it.", ()),
        (["aed_bare"], "", ()),
        (["aed_table"], "", ()),
    ]
    assert "int32_t a; /* an a; or not */" in found[1].code and found[3].code.endswith("int n);")


def test_numbers_of_one_model_are_left_out_of_the_docs():
    page = api_page({"aed_thing.h": HEADER}, values=False)
    assert "#define AED_THINGS ...\n#define AED_OTHERS ...\n" in page
    assert "#define AED_THINGS 3\n#define AED_OTHERS (-4)\n" in api_page({"aed_thing.h": HEADER})


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    return small_library(folder / "lib", save_small(folder / "m.onnx"), prefix="own")


def test_the_library_says_all_that_a_compiler_sees(library, tmp_path):
    """GCC lists the prototypes and macros of the headers; the page has each, under the library's own prefix."""
    headers = [path.name for path in sorted((library / "include").glob("*.h"))]
    (tmp_path / "all.c").write_text("".join(f'#include "{name}"\n' for name in headers))
    told = ["gcc", "-I", library / "include", "-I", library / "src", tmp_path / "all.c"]
    subprocess.run([*told, "-fsyntax-only", "-aux-info", tmp_path / "prototypes"], check=True)
    macros = subprocess.run([*told, "-E", "-dM"], check=True, capture_output=True, text=True).stdout
    internal = {f"own_{name.removeprefix('aed_')}" for name in (*OF_KERNELS, "aed_kernels.h")}
    prototypes = re.findall(r"/include/(\w+\.h):\d+.*? \*?(own_\w+) \(", (tmp_path / "prototypes").read_text())
    functions = {name for header, name in prototypes if header not in internal}
    page = (library / "API.md").read_text(encoding="utf-8")
    assert len(functions) > 15
    assert not {name for name in functions if f"### `{name}`" not in page}
    own = {name for header in headers if header not in internal for name in _defined(library / "include" / header)}
    seen = {name for name in re.findall(r"#define (OWN_\w+)", macros) if name in own and not name.endswith("_H")}
    assert len(seen) > 20 and not {name for name in seen if f"#define {name}" not in page}


def _defined(header: Path) -> list[str]:
    return re.findall(r"#define (\w+)", header.read_text(encoding="utf-8"))


def test_the_docs_have_the_page_of_the_headers():
    spec = importlib.util.spec_from_file_location("c_api", ROOT / "scripts" / "c_api.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page() == script.PAGE.read_text(encoding="utf-8"), "python scripts/c_api.py"
