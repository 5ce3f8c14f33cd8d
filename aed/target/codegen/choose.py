"""The choice among plans: whole layers or rows, of mel bands or of frames, and from which layer on whole ones again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from aed.base.errors import AedError
from aed.target.codegen import costs
from aed.target.codegen.plan import ORDERS, Plan, make_plan
from aed.target.codegen.program import Program
from aed.target.codegen.schedule import Schedule, Stage, in_parts
from aed.target.codegen.settings import AUTO, PlanKind, PlanSettings
from aed.target.codegen.stream import as_stream

MOST = 1.08
"""Instructions of a plan that ``auto`` takes, by estimate, as a multiple of those of whole layers."""

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


def choose_plan(
    lowered: Callable[[bool], Program], settings: PlanSettings = AUTO, patch_hop: int = 0, prefix: str = ""
) -> Chosen:
    """The plan with the least RAM.

    Args:
        lowered: The program of a model, turned or not.
        settings: Which plans may be chosen.
        patch_hop: Columns between two decisions of a stream that has no hop of its own; 0: it needs one.
        prefix: Of the keys, for messages.

    Raises:
        AedError: A setting has no such value, the model has no C form, or it cannot be a stream.
    """
    kind, hop = settings.plan, patch_hop if settings.hop is None else settings.hop
    if kind not in get_args(PlanKind):
        raise AedError(f"{prefix}plan: need one of {list(get_args(PlanKind))}, got {kind!r}")
    if settings.hop is not None and (kind != "stream" or hop < 1):
        raise AedError(f"{prefix}hop: need columns from 1 on, of {prefix}plan=stream alone, got {settings.hop}")
    if kind == "stream":
        return _stream(lowered(True), hop, prefix)
    upright = lowered(False)
    layers = _candidate(upright, 0)
    if kind == "layers":
        return _chosen(layers, layers, "asked for")
    limit = MOST * layers.instructions
    others = list(_by_rows(lowered, upright))
    allowed = others if kind == "rows" else [layers, *(each for each in others if each.instructions <= limit)]
    best = _smallest(allowed)
    if kind == "rows":
        reason = "the least RAM of all plans by rows"
    else:
        reason = f"the least RAM at no more than {MOST:g} times the instructions of whole layers"
        over = [each for each in others if each.instructions > limit]
        if over and (dropped := _smallest(over)).ram < best.ram:
            more = dropped.instructions / layers.instructions
            reason += f"; {dropped.ram} bytes would take {more:.2f} times as many"
    return _chosen(best, layers, reason)


def _stream(program: Program, hop: int, prefix: str) -> Chosen:
    try:
        program = as_stream(program, hop)
    except AedError as error:
        raise AedError(f"{prefix}{error}") from error
    plan = make_plan(program, hop=hop)
    per_run = [costs.RUN + stage.layer.instructions(program, _pixels(program, stage)) for stage in plan.schedule.stages]
    steps = plan.schedule.steps[plan.schedule.loop :]
    facts = {
        "plan": "stream",
        "reason": "asked for",
        "arena_bytes": plan.size,
        "patch_bytes": 0,
        "hop_columns": hop,
        "instructions_estimated": round(sum(per_run[step] for step in steps if step >= 0)),
    }
    return Chosen(program, plan, facts)


def _pixels(program: Program, stage: Stage) -> int:
    """Of the output, made in one run."""
    height, width, _ = program.tensors[stage.layer.output].shape
    return height * width * stage.rows // height


def _smallest(looked_at: Sequence[_Candidate]) -> _Candidate:
    """The least of all, once the arenas of those that look best are made as small as can be."""
    finalists = sorted(looked_at, key=_Candidate.order)[:FINALISTS]
    return min((_candidate(each.program, each.cut) for each in finalists), key=_Candidate.order)


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
        runs = schedule.heights[number] // stage.rows
        total += runs * (costs.RUN + stage.layer.instructions(program, _pixels(program, stage)))
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
