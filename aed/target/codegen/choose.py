"""The choice among plans: whole layers or rows, of mel bands or of frames, and from which layer on whole ones again."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aed.base.errors import AedError
from aed.target.codegen.plan import ORDERS, Plan, make_plan
from aed.target.codegen.program import Program
from aed.target.codegen.schedule import Schedule, in_parts
from aed.target.codegen.settings import PLAN_KINDS, PlanKind

MOST = 1.05
"""Instructions of a plan that ``auto`` takes, by estimate, as a multiple of those of whole layers."""

RUN = 115
"""Instructions around the run of a stage, measured on a Cortex-M33 and an M55."""

FINALISTS = 4
"""Plans whose arenas are made as small as can be, after a first look at all."""


@dataclass(frozen=True)
class Chosen:
    """A program, its plan, and what the choice was about.

    Args:
        program: Turned where its frames are rows.
        plan: Of this program.
        facts: For reports; JSON.
    """

    program: Program
    plan: Plan
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    program: Program
    cut: int
    plan: Plan
    instructions: float

    @property
    def ram(self) -> int:
        """Bytes of the arena, and of a patch that the caller has to hold beside the front end's columns."""
        return self.plan.size + (0 if self.plan.feeds else self.program.tensors[self.program.input].size)

    def order(self) -> tuple[int, float, int]:
        """The less the better; of equal ones that with fewer layers by rows."""
        return self.ram, self.instructions, self.cut

    def facts(self) -> dict[str, Any]:
        return {
            "arena_bytes": self.plan.size,
            "patch_bytes": self.ram - self.plan.size,
            "instructions_estimated": round(self.instructions),
        }


def choose_plan(lowered: Callable[[bool], Program], kind: PlanKind = "auto", key: str = "plan") -> Chosen:
    """The plan with the least RAM.

    Args:
        lowered: The program of a model, turned or not.
        kind: Which plans may be chosen.
        key: Of the configuration, for messages.

    Raises:
        AedError: There is no such kind, or the model has no C form.
    """
    if kind not in PLAN_KINDS:
        raise AedError(f"{key}: need one of {list(PLAN_KINDS)}, got {kind!r}")
    upright = lowered(False)
    layers = _candidate(upright, 0)
    if kind == "layers":
        return _chosen(layers, layers, "asked for")
    limit = MOST * layers.instructions
    others = list(_by_rows(lowered, upright))
    allowed = others if kind == "rows" else [layers, *(each for each in others if each.instructions <= limit)]
    finalists = sorted(allowed, key=_Candidate.order)[:FINALISTS]
    best = min((_candidate(each.program, each.cut) for each in finalists), key=_Candidate.order)
    if kind == "rows":
        reason = "the least RAM of all plans by rows"
    else:
        dropped = min(others, key=_Candidate.order, default=best)
        reason = f"the least RAM at no more than {MOST:g} times the instructions of whole layers"
        if dropped.ram < best.ram:
            more = dropped.instructions / layers.instructions
            reason += f"; {dropped.ram} bytes would take {more:.2f} times as many"
    return _chosen(best, layers, reason)


def _by_rows(lowered: Callable[[bool], Program], upright: Program) -> Iterator[_Candidate]:
    """A first look at all plans by rows."""
    programs = [upright]
    with suppress(AedError):  # a form of an operator that has no kernel when turned
        programs.append(lowered(True))
    for program in programs:
        yield from (_candidate(program, cut, orders=0) for cut in range(1, len(program.layers) + 1))


def _candidate(program: Program, cut: int, orders: int = ORDERS) -> _Candidate:
    parted, later = in_parts(program, cut)
    plan = make_plan(parted, later, orders=orders)
    return _Candidate(program, cut, plan, _instructions(parted, plan.schedule))


def _instructions(program: Program, schedule: Schedule) -> float:
    """Estimate for one patch."""
    total = 0.0
    for number, stage in enumerate(schedule.stages, 1):
        height, width, _ = program.tensors[stage.layer.output].shape
        runs = schedule.heights[number] // stage.rows
        total += runs * (RUN + stage.layer.instructions(program, height * width // runs))
    return total


def _chosen(best: _Candidate, layers: _Candidate, reason: str) -> Chosen:
    program, cut = in_parts(best.program, best.cut)
    by_rows = best.cut > 0
    facts: dict[str, Any] = {"plan": "rows" if by_rows else "layers", "reason": reason, **best.facts()}
    if by_rows:
        facts["rows"] = "frames" if best.plan.feeds else "mel bands"
        facts["layers_by_rows"] = cut
        facts["of_layers"] = len(program.layers)
        facts["by_whole_layers"] = layers.facts()
    return Chosen(program, best.plan, facts)
