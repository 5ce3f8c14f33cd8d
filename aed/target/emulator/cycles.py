"""Cycles of a program, estimated: the instructions it was seen at, weighted by the core's published timing table.

The table is that of the Cortex-M4 (Technical Reference Manual r0p1, tables 3-1 and 7-1): memories without wait
states, a load right after a load or store in one cycle, a taken branch in 1 + P cycles with P = 2. Arm publishes none
for the Cortex-M33, whose pipeline is as short: it has the same one here. On the Cortex-M55 a vector instruction takes
two cycles (64 of its 128 bits a cycle; overlaps of neighbours are not counted), the others as above. The Cortex-M7
issues two instructions at once by rules that are not published: no estimate.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from aed.base.processes import run_tool

CORES = ("cortex-m4", "cortex-m33", "cortex-m55")
"""Cores with an estimate."""

REFILL = 2
"""Cycles to refill the pipeline after a taken branch: 1 to 3."""

_SINGLE = re.compile(r"(ldr|str)(s?[bh])?$")
_MANY = re.compile(r"(ldm|stm|push|pop|vldm|vstm|vpush|vpop)")
_CONDITIONS = "eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|hs|lo"
_BRANCH = re.compile(rf"(b|bl|bx|blx|cbz|cbnz|le|letp|wls|dls|tbb|tbh)({_CONDITIONS})?$")
_FLOAT = {"vdiv": 14, "vsqrt": 14, "vmla": 3, "vmls": 3, "vnmla": 3, "vnmls": 3, "vfma": 3, "vfms": 3}


def cycles_per_instruction(addresses: Iterable[int], elf: Path, core: str) -> float | None:
    """Mean cycles of an instruction.

    Args:
        addresses: At which the program was seen; each is an instruction.
        elf: The program.
        core: ``cortex-m33``.

    Returns:
        None for a core without a published table.
    """
    if core not in CORES:
        return None
    listing = run_tool(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf], 60)
    costs, previous = {}, ""
    for line in listing.splitlines():
        parts = line.strip().split("\t")
        if len(parts) < 2 or not parts[0].endswith(":"):
            previous = ""
            continue
        name, operands = parts[1].strip(), parts[2].split(";")[0].split("@")[0] if len(parts) > 2 else ""
        address = int(parts[0].rstrip(": "), 16)
        costs[address] = cycles_of(name, operands, previous, address)
        previous = name
    known = [costs[address] for address in addresses if address in costs]
    return sum(known) / len(known) if known else None


def cycles_of(name: str, operands: str, previous: str = "", address: int = 0) -> float:
    """Cycles of one instruction.

    Args:
        name: Mnemonic as ``objdump`` writes it.
        operands: The rest of its line.
        previous: Mnemonic of the instruction before.
        address: Of the instruction: a conditional branch is taken where it leads back.
    """
    bare = name.removesuffix(".n").removesuffix(".w")
    stem = bare.split(".")[0]
    if _MANY.match(stem):
        registers = _registers(operands)
        return 1 + registers + (REFILL if "pc" in operands else 0)
    if stem.startswith(("ldrd", "strd")):
        return 3
    if stem.startswith("v"):
        return _float_or_vector(stem, bare, operands)
    if match := _SINGLE.match(stem.removesuffix("t")):
        stores, follows = match[1] == "str", _SINGLE.match(previous.split(".")[0]) is not None
        return (1 if stores or follows else 2) + (REFILL if operands.startswith("pc") else 0)
    if stem in ("sdiv", "udiv"):
        return 7  # 2 to 12
    if match := _BRANCH.match(stem):
        conditional = match[2] is not None or match[1] in ("cbz", "cbnz")
        target = re.search(r"([0-9a-f]+) <|^\s*([0-9a-f]+)\b", operands)
        ahead = target is not None and int(target[1] or target[2], 16) > address
        return 1 if conditional and ahead else 1 + REFILL
    return 1


def _float_or_vector(stem: str, bare: str, operands: str) -> float:
    """Cycles of an instruction of the FPU, or of MVE where it names a vector register."""
    if re.search(r"\bq\d", operands):
        return 2
    if stem.startswith(("vldr", "vstr")):
        return 2 if stem.startswith("vldr") else 1
    if stem == "vmov" and len(re.findall(r"\b[rs]\d+|\b(?:ip|lr|sl|fp|r9)\b", operands)) == 4:
        return 2
    return _FLOAT.get(stem, 1)


def _registers(operands: str) -> int:
    """Number of registers in a list ``{r4-r7, lr}``."""
    total = 0
    for part in operands.partition("{")[2].partition("}")[0].split(","):
        ends = [int(number) for number in re.findall(r"[rsd](\d+)", part)]
        total += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
    return total
