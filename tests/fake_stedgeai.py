"""A double of ST's ``stedgeai`` and ``stm32ai`` for tests: options, files, text and errors as others published them.

Put on a PATH by tests. ``FAKE_STEDGEAI_VERSION`` is ``2.0``, ``2.2``, ``3.0``, ``4.0`` (ST Edge AI Core) or ``7.3``,
``8.1`` (STM.ai); ``FAKE_STEDGEAI_MODE`` is how it misbehaves. Sizes of weights and multiply-accumulates are those of
the ONNX model; activations are the largest input and output of a layer; the library is 57.7 KiB, what ST published for
YAMNet-256 on an STM32U5. The "C code" of ``validate`` is ONNX Runtime.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

VERSIONS = {
    "7.3": "Neural Network Tools for STM32AI v1.6.0 (STM.ai v7.3.0-RC5)",
    "8.1": "Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.1.0-19520)",
    "2.0": "ST Edge AI Core v2.0.0-20049\n  ISPU 1.1.0\n  MLC 1.1.0\n  STM32CubeAI 10.0.0\n  StellarStudioAI 2.0.0",
    "2.2": "ST Edge AI Core v2.2.0-20266 2adc00962\n  ISPU 1.2.0\n  STM32CubeAI 10.2.0",
    "3.0": "ST Edge AI Core v3.0.0-A1\n  STM32CubeAI 11.0.0-A1",
    "4.0": "ST Edge AI Core v4.0.1-20581 7ed50de05\n  ISPU 2.0.1-RC2\n  MLC 1.2.4-RC2\n  STM32CubeAI 12.0.1-RC2",
}

LIBRARY_FLASH, LIBRARY_RAM, TOOLCHAIN_FLASH = 59_085, 7_793, 732

BOARD_ERRORS = {
    "port_busy": "E801(HwIOError): could not open port 'COM6': PermissionError(13, 'Access is denied.', None, 5)",
    "no_board": "E801(HwIOError): No SERIAL COM port detected (STM board is not connected!)",
    "wrong_name": 'E200(ValidationError): TARGET: Unable to bind the ST.AI runtime with "network" c-model: []',
}

# option -> number of words after it; None: one word that may be missing
COMMON = {
    "--model": 1, "-m": 1, "--type": 1, "-t": 1, "--name": 1, "-n": 1, "--compression": 1, "-c": 1, "--workspace": 1,
    "-w": 1, "--output": 1, "-o": 1, "--optimization": 1, "-O": 1, "--verbosity": 1, "-v": 1, "--quiet": 0,
    "--allocate-inputs": 0, "--allocate-outputs": 0, "--address": 1, "--copy-weights-at": 1, "--mode": 1, "--desc": 1,
    "-d": 1, "--batch-size": 1, "-b": 1, "--valinput": 1, "-vi": 1, "--valoutput": 1, "-vo": 1, "--binary": 0,
    "--classifier": 0, "--no-report": 0, "--no-workspace": 0, "--seed": 1, "--split-weights": 0,
}  # fmt: skip
CORE = {
    "--target": 1, "--device": 1, "--no-inputs-allocation": 0, "--no-outputs-allocation": 0, "--memory-pool": 1,
    "--input-data-type": 1, "--output-data-type": 1, "--inputs-ch-position": 1, "--outputs-ch-position": 1, "--dll": 0,
    "--input-memory-alignment": 1, "--output-memory-alignment": 1, "--st-neural-art": None,
}  # fmt: skip
MODES = {True: ("host", "target", "host-io-only", "target-io-only"), False: ("x86", "stm32", "stm32-io-only")}
SERIES = {
    "n6", "u5", "u3", "h7", "h5", "f7", "f4", "f3", "l4", "l4p", "l5", "g4", "g0", "f0", "l0", "c0", "c5", "wb", "wl",
}  # fmt: skip


def main() -> int:
    """Exit code."""
    release, mode = os.environ.get("FAKE_STEDGEAI_VERSION", "4.0"), os.environ.get("FAKE_STEDGEAI_MODE", "ok")
    core = float(release) < 7
    words = sys.argv[1:]
    if mode == "garbage_version":
        print("\x00\ufffdSegmentation fault")
        return 0
    if mode == "prompt":
        return prompt()
    if mode == "no_python":
        print("/opt/st/stedgeai: line 7: ./python: No such file or directory")
        return 127
    if "--version" in words:
        print(VERSIONS[release])
        return 0
    print(VERSIONS[release].splitlines()[0])
    if mode == "environment":
        print(json.dumps(dict(os.environ)))
    if mode == "hang":
        return hang()
    action = words.pop(0) if words and not words[0].startswith("-") else "analyze"
    action = "analyze" if action == "analyse" else action
    if action not in ("analyze", "generate", "validate"):
        return usage(f"invalid choice: {action!r}")
    given = options(words, core, release)
    if isinstance(given, str):
        return usage(given)
    if "model" not in given:
        return usage("error: --model is required")
    return run(action, given, core, release, mode)


def prompt() -> int:
    """Asks, as after an installation; without an answer it fails."""
    print("Do you accept that usage statistics are collected? [y/n]", flush=True)
    if sys.stdin.readline().strip() != "n":
        print("EOF when reading a line")
        return 1
    return 0


def hang() -> int:
    """Waits for a child that waits for ever."""
    child = os.fork()
    if child == 0:
        Path(os.environ["FAKE_STEDGEAI_PID"]).write_text(str(os.getpid()))
        time.sleep(600)
    os.waitpid(child, 0)
    return 0


def usage(error: str) -> int:
    print("usage: stedgeai [analyze|generate|validate] --model FILE [options]")
    print(error if error.startswith("error") else f"error: {error}")
    return 2


def options(words: list[str], core: bool, release: str) -> dict[str, str] | str:
    """Long name -> value, or what is wrong."""
    known = COMMON | (CORE if core else {"--series": 1})
    if core and float(release) >= 3:
        known["--c-api"] = 1
    if core and float(release) >= 4:
        known["--hsp"] = None
    short = {"-m": "model", "-n": "name", "-o": "output", "-w": "workspace", "-d": "desc", "-b": "batch-size"}
    short |= {"-vi": "valinput", "-O": "optimization", "-t": "type", "-c": "compression", "-v": "verbosity"}
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word not in known:
            return f"unrecognized arguments: {word}"
        name, count = short.get(word, word.lstrip("-")), known[word]
        if count is None:
            count = 1 if words and not words[0].startswith("-") else 0
        if count and not words:
            return f"argument {word}: expected one argument"
        found[name] = words.pop(0) if count else ""
    series = found.get("target" if core else "series", "stm32")
    if series.removeprefix("stm32") not in ("", *SERIES) or (series == "stm32u3" and core and float(release) < 4):
        return f"argument --target: invalid choice: {series!r}"
    if "hsp" in found and series != "stm32u3":
        return "argument --hsp: not supported by this target"
    if found.get("mode", MODES[core][0]) not in MODES[core]:
        return f"argument --mode: invalid choice: {found['mode']!r}"
    return found | {"series": series}


def run(action: str, given: dict[str, str], core: bool, release: str, mode: str) -> int:
    neural_art, series = "st-neural-art" in given, given["series"]
    if neural_art and not all(word.isascii() for word in sys.argv):
        print("terminate called after throwing an instance of 'wstring_convert'")
        print("E103(CliRuntimeError): Error calling the Neural Art compiler")
        return 1
    st_ai = core and float(release) >= 3 and given.get("c-api") != "legacy"
    if st_ai and ("address" in given or "copy-weights-at" in given):
        print("E102(CliArgumentError): --address/--copy-weights-at arguments are not supported with the 'st-ai' c-api.")
        return 1
    on_host = given.get("mode", "host") in ("host", "x86")
    if action == "validate" and on_host and series in ("stm32n6", "stm32v8"):
        print(
            "E102(CliArgumentError): Validation on host is not supported for devices based on Arm Cortex M55/M85 core."
        )
        return 1
    if (mode == "silent" and action != "validate") or mode == "silent_all":
        return 0
    nodes = remembered(Path(given["model"]))
    if isinstance(nodes, str):
        print(f"E010(InvalidModelError): {nodes}")
        return 1
    output = Path(given.get("output", "st_ai_output"))
    workspace = Path(given.get("workspace", "st_ai_ws"))
    for folder in (output, workspace):
        folder.mkdir(parents=True, exist_ok=True)
    name = given.get("name", "network")
    sizes = {
        "weights": sum(node["weights"] for node in nodes),
        "activations": max(node["activations"] for node in nodes),
        "macc": 0 if neural_art else sum(node["macc"] for node in nodes),
    }
    if mode == "huge":
        sizes["activations"] = 900 * 1024 * 1024
    if mode not in ("tail_only", "no_report"):
        if core:
            write_c_info(output / f"{name}_c_info.json", nodes, sizes, release, series, mode)
        if not core or float(release) < 2.15:
            write_report(workspace if not core else output, name, sizes, release)
    if mode == "truncated":
        for path in (*output.glob("*.json"), *workspace.glob("*.json")):
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    quiet = mode in ("no_kernel", "absurd")
    if not quiet:
        head(action, given, sizes, series)
    if action == "validate" and (code := validate(given, name, output, sizes, on_host, mode)):
        return code
    if action == "generate" and mode != "no_code":
        generate(output, name, st_ai, neural_art)
    if not quiet:
        tail(sizes, Path(given["model"]).name)
    return 0


def remembered(path: Path) -> list[dict] | str:
    """What :func:`count` says of a file; once per content, for the sake of the tests' time."""
    raw = path.read_bytes()
    if path.suffix != ".onnx":  # as it is: its size tells that all of it came
        return [
            {"name": path.suffix, "input": [1], "type": path.suffix, "macc": 1, "weights": len(raw), "activations": 1}
        ]
    cache = os.environ.get("FAKE_STEDGEAI_CACHE")
    known = Path(cache, hashlib.sha256(raw).hexdigest()) if cache else None
    if known is not None and known.is_file():
        return json.loads(known.read_text())
    try:
        import onnx

        model = onnx.load_from_string(raw)
        onnx.checker.check_model(model)
    except Exception as error:
        return f"Couldn't load ONNX model {path.name}: {str(error)[:80]}"
    found = count(model)
    if known is not None:
        known.write_text(json.dumps(found))
    return found


def count(model) -> list[dict] | str:
    """A row a layer, or why the model is refused."""
    from onnx import numpy_helper, shape_inference

    inferred = shape_inference.infer_shapes(model)
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    shapes = {v.name: [max(1, dim.dim_value) for dim in v.type.tensor_type.shape.dim] for v in values}
    int8 = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    source = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    if not all(value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input):
        return "parametric shapes, --fix-parametric-shapes is needed"
    size = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rows = []
    for node in model.graph.node:
        if node.op_type in ("NonZero", "Loop", "If", "Unique"):
            return f"Unsupported layer type: {node.op_type}"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        held = [arrays[source.get(name, name)] for name in node.input if source.get(name, name) in arrays]
        held = held if node.op_type in ("Conv", "Gemm", "MatMul", "Add", "Mul", "BatchNormalization") else []
        made = elements(shapes.get(node.output[0], [1]))
        taken = sum(elements(shapes.get(name, [1])) for name in node.input if source.get(name, name) not in arrays)
        macc = 0
        if node.op_type == "Conv" and held:
            macc = made * elements(held[0].shape[1:])
        elif node.op_type in ("Gemm", "MatMul") and held:
            macc = int(held[0].size)
        rows.append(
            {
                "name": node.name or node.output[0],
                "input": size,
                "type": node.op_type,
                "macc": macc,
                "weights": sum(int(array.nbytes) for array in held),
                "activations": (made + taken) * (1 if int8 else 4),
            }
        )
    return rows


def elements(shape) -> int:
    total = 1
    for size in shape:
        total *= int(size)
    return total


def write_c_info(path: Path, nodes, sizes, release: str, series: str, mode: str) -> None:
    memory = {
        "activations": sizes["activations"],
        "io": [0, 0],
        "kernel_flash": LIBRARY_FLASH,
        "kernel_ram": LIBRARY_RAM,
        "series": series,
        "toolchain": "GCC",
        "toolchain_flash": TOOLCHAIN_FLASH,
        "toolchain_ram": 0,
        "weights": sizes["weights"],
    }
    if mode == "no_kernel":
        memory = {key: value for key, value in memory.items() if not key.startswith("kernel_")}
    if mode == "absurd":
        memory |= {"weights": float("nan"), "activations": -1, "kernel_flash": True, "kernel_ram": 1e300}
    rows = [
        {"id": number, "name": node["name"], "type": node["type"], "macc": node["macc"] if sizes["macc"] else 0}
        for number, node in enumerate(nodes)
    ]
    text = VERSIONS[release].splitlines()[0].partition(" v")[2]
    content = {
        "json_schema_version": "2.0",
        "environment": {"tools": [{"name": "ST.EdgeAI.Core", "version": text, "arguments": sys.argv[1:]}]},
        "graphs": [{"id": 0, "name": "network", "nodes": rows}],
        "memory_footprint": memory,
        "memory_pools": [],
        "buffers": [],
    }
    path.write_text(json.dumps(content))


def write_report(folder: Path, name: str, sizes, release: str) -> None:
    old = float(release) > 7
    content = {
        "report_version": 1.0,
        "cli_version_str": release,
        "error": 0,
        "error_str": [],
        "rom_size": sizes["weights"],
        "rom_n_macc": sizes["macc"],
        "ram_size": [sizes["activations"]] if old else sizes["activations"],
        "ram_io_size": [0, 0],
    }
    (folder / f"{name}_report.json").write_text(json.dumps(content))


def head(action: str, given, sizes, series: str) -> None:
    rule = "-" * 90
    rows = [
        ("model file", given["model"]),
        ("type", "onnx"),
        ("c_name", given.get("name", "network")),
        ("options", "allocate-inputs, allocate-outputs"),
        ("optimization", given.get("optimization", "balanced")),
        ("target/series", f"{series}npu" if "st-neural-art" in given else series),
    ]
    print(f"\n Exec/report summary ({action})\n {rule}")
    for key, value in rows:
        print(f" {key:<18} :   {value}")
    print(f" {rule}\n macc               :   {sizes['macc']:,}")
    weights, activations = sizes["weights"], sizes["activations"]
    print(f" weights (ro)       :   {weights:,} B ({weights / 1024:.2f} KiB) (1 segment)")
    print(f" activations (rw)   :   {activations:,} B ({activations / 1024:.2f} KiB) (1 segment) *\n {rule}")


def tail(sizes, name: str) -> None:
    weights, activations = sizes["weights"], sizes["activations"]
    print("elapsed time (analyze): 1.234s")
    print(f"Model file:      {name}")
    print(f"Total Flash:     {weights + LIBRARY_FLASH} B ({(weights + LIBRARY_FLASH) / 1024:.2f} KiB)")
    print(f"    Weights:     {weights} B ({weights / 1024:.2f} KiB)")
    print(f"    Library:     {LIBRARY_FLASH} B (57.70 KiB)")
    print(f"Total Ram:       {activations + LIBRARY_RAM} B ({(activations + LIBRARY_RAM) / 1024:.2f} KiB)")
    print(
        f"    Activations: {activations} B ({activations / 1024:.2f} KiB)\n    Library:     {LIBRARY_RAM} B (7.61 KiB)"
    )


def generate(output: Path, name: str, st_ai: bool, neural_art: bool) -> None:
    files = [f"{name}.c", f"{name}.h", f"{name}_data.c", f"{name}_data.h", "LICENSE.txt"]
    files += [f"{name}_details.h"] if st_ai else [f"{name}_config.h"]
    files += [f"{name}_ecblobs.h", f"{name}_atonbuf.xSPI2.raw"] if neural_art else []
    for file in files:
        (output / file).write_text("/* a double wrote this */\n")
    (output / f"{name}_generate_report.txt").write_text("ST Edge AI Core\n")


def computed(path: Path, inputs):
    """ONNX Runtime's outputs; once per model and inputs, for the sake of the tests' time."""
    import numpy as np

    cache = os.environ.get("FAKE_STEDGEAI_CACHE")
    known = Path(cache or "", hashlib.sha256(path.read_bytes() + inputs.tobytes()).hexdigest() + ".npy")
    if cache and known.is_file():
        return np.load(known)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    made = np.concatenate([session.run(None, {name: one[None]})[0] for one in inputs])
    if cache:
        np.save(known, made)
    return made


def validate(given, name: str, output: Path, sizes, on_host: bool, mode: str) -> int:
    """Runs the model and writes what the tool writes of it."""
    import numpy as np

    where = "HOST" if on_host else "TARGET"
    print(f"Running the ST.AI c-model (AI RUNNER)...(name={name}, mode={where})")
    if not on_host and mode in BOARD_ERRORS:
        print(BOARD_ERRORS[mode])
        return 0 if mode == "no_board" else 1
    shape = remembered(Path(given["model"]))[0]["input"]
    if "valinput" in given:
        inputs = np.load(given["valinput"])
    else:
        inputs = np.random.default_rng(42).random((int(given["batch-size"]), *shape), np.float32)
    wanted = [*shape[1:], 1] if given.get("inputs-ch-position") == "chlast" else shape
    if list(inputs.shape[1:]) != wanted:
        print(f"E200(ValidationError): shape {inputs.shape} of the inputs is not (N, {wanted})")
        return 1
    made = computed(Path(given["model"]), inputs.reshape(-1, *shape))
    device = made + (np.float32(0.001) if not on_host else 0)
    c_outputs = device.astype(made.dtype).reshape(len(made), 1, 1, -1)
    if mode != "no_npz":
        arrays = {"m_inputs_1": inputs, "m_outputs_1": made.astype(np.float64), "c_outputs_1": c_outputs}
        np.savez(output / f"{name}_val_io.npz", **arrays)
        if mode == "bad_npz":
            (output / f"{name}_val_io.npz").write_bytes(b"PK\x03\x04 nothing")
    lines = [f' ST.AI Profiling results v2.0 - "{name}"', " " + "-" * 60, f" nb sample(s)   :   {len(made)}"]
    lines += [" duration       :   6.185 ms by sample (6.180/6.191/0.002)", f" macc           :   {sizes['macc']}"]
    if not on_host:
        lines += [" cycles/MACC    :   1.12", " CPU cycles     :   [989,572]", " " + "-" * 60]
        lines += ["  Inference time per node", "  " + "-" * 60]
        lines += ["  c_id  m_id  type              dur (ms)      %   cumul   CPU cycles     name", "  " + "-" * 60]
        lines += ["  0     1     Conv2D (0x103)       5.000  80.8%   80.8%   [ 800,000 ]   ai_node_0"]
        lines += ["  1     2     Dense (0x104)        1.100  17.8%   98.6%   [ 176,000 ]   ai_node_1"]
        lines += ["  n/a   n/a   Inter-nodal          0.085   1.4%  100.0%                 n/a"]
        lines += [" device.desc    :   stm32 family - 0x482 - STM32U5xx @160MHz"]
    error = float(np.sqrt(np.mean((device - made.astype(np.float64)) ** 2)))
    lines += [
        "Evaluation report (summary)",
        "-" * 90,
        "Output  acc  rmse  mae  l2r  mean  std  nse  cos  tensor",
        "-" * 90,
    ]
    row = f"n.a.   {error:.9f}   {error:.9f}   0.000000074   0.000000   0.000000   1.000000   0.999998"
    lines += [
        f"{where} c-model #1   {row}   'out', 10 x f32(1x3), m_id=[6]",
        f"X-cross #1          {row}   'out', m_id=[6]",
    ]
    text = "\n".join(lines)
    print(text)
    (output / f"{name}_validate_report.txt").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
