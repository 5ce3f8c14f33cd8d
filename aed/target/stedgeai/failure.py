"""Errors for a failed run of the tool, with advice."""

import re
from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import Finished

_CODE = re.compile(r"^\s{0,8}(E\d{3}\(\w{1,40}\): ?.{0,400}|INTERNAL ERROR: ?.{0,400})", re.MULTILINE)

ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"Validation on host is not supported",
        "this core runs on the board only: connect it and give its port, serial=serial:921600; memory alone is "
        "reported without a board: aed benchmark model=model_int8.onnx target=stedgeai",
    ),
    (
        r"--(?:address|copy-weights-at)\b.{0,80}not supported",
        "this project passes no such option unless stedgeai.extra has it: a "
        "wrapper of the tool, or its own configuration, adds it; remove it there",
    ),
    (
        r"Neural ?Art compiler|wstring_convert",
        "ST's compiler for the accelerator takes no path with letters beyond ASCII (a user name, say: set TMPDIR, on "
        "Windows TEMP, to a plain folder), and only int8; else the lines before it say which operator it refused",
    ),
    (
        r"could not open port|PermissionError|Access is denied|resource busy|Permission denied: '?/dev/",
        "the port is busy or closed to you: close terminals and debuggers that use it, plug the board in again; on "
        "Linux join the group dialout",
    ),
    (
        r"No SERIAL COM port|unsupported \".{0,80}\" descriptor|No such file or directory: '/dev/",
        "no board at this port: connect the board's ST-LINK or give its port: aed benchmark "
        "stedgeai.serial=serial:COM3:921600, aed evaluate serial=serial:COM3:921600",
    ),
    (
        r"Unable to bind|Invalid firmware|[Nn]o weights are available",
        "the board answers, but not with this net: load ST's validation program built from this very model, its C name "
        "the same (stedgeai.c_name, as a rule network), and take its baud rate (115200; STM32N6 921600); on STM32N6 "
        "ST's n6_loader.py loads it",
    ),
    (
        r"E010\(|InvalidModelError|NotImplementedError|[Uu]nsupported (?:layer|operator|type)|INTERNAL ERROR",
        "the tool cannot take this model: it knows a subset of opsets 7 to 20 and wants fixed shapes of batch 1; "
        "export with this project's defaults, or try a newer tool",
    ),
    (
        r"usage (?:statistics|data)|statistics.{0,200}\[?[Yy]/[Nn]|EOFError|EOF when reading",
        "after installation the tool asks once whether it may send usage statistics: run '{program} --version' in a "
        "terminal and answer it",
    ),
    (
        r"python(?:3|\.exe)?'?:? .{0,60}(?:not found|not recognized|No such file)|No module named"
        r"|No such file or directory: .{0,200}python",
        "the tool misses its own Python: install it anew with all components, and do not move single files out of its "
        "folder",
    ),
    (
        r"unrecognized argument|invalid choice|unknown option|expected one argument|required: ",
        "the tool does not know an option: its version is other than it prints; stedgeai.tool=<folder> (deploy: "
        "stm32.tool=<folder>) names another one",
    ),
    (r"[Nn]o space left|Errno 28|disk full", "the disk is full; the tool works in the system's temporary folder"),
    (
        r"did not end within",
        "it hung, waited for an answer, or needs longer: then raise the time limit: stedgeai.timeout_s=7200 (deploy: "
        "stm32.timeout_s=7200)",
    ),
)
"""Text that the tool prints, as far as others have published it -> advice; the first match is taken."""


def error_line(output: str) -> str | None:
    """The tool's own error, ``E010(InvalidModelError): ...``, if it printed one."""
    match = _CODE.search(output)
    return match.group(1).strip() if match else None


def advice(output: str, program: Path) -> str | None:
    """Advice for ``output``, where there is any."""
    for pattern, text in ADVICE:
        if re.search(pattern, output, re.MULTILINE):
            return text.format(program=program)
    return None


def failed(program: Path, action: str, code: int | None, output: str, log: Path | None = None) -> AedError:
    """The error for a run that failed.

    Args:
        program: The tool.
        action: Command of the tool.
        code: Exit code; None: it was stopped.
        output: Text that it printed.
        log: File with all of it.
    """
    end = "" if code is None else f" (exit code {code})"
    lines = [f"{program.name} {action} failed{end}: {error_line(output) or ''}".rstrip(": ")]
    if tail := Finished(code or 0, output).tail:
        lines.append(tail)
    if text := advice(output, program):
        lines.append(f"What to do: {text}")
    if log is not None:
        lines.append(f"All it printed: {log}")
    return AedError("\n".join(lines))
