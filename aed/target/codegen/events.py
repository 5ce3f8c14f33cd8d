"""C of the event rule: ``c/aed_events.c``, and the rule of a model card for it."""

from aed.export.card import ModelCard
from aed.inference.detection import rule_of
from aed.target.codegen.fixed import EXACT, fixed_sources
from aed.target.codegen.text import c_float, c_lines

FILES = (EXACT, "aed_events.h", "aed_events.c")
"""The C code that is the same for every rule."""

MOST = 2**64 - 1
"""Decisions that C counts: more than a device lives."""


def event_sources(card: ModelCard, hop: int) -> dict[str, str]:
    """File name -> content of ``aed_events``, and of ``aed_rule`` with the card's rule; they need ``aed_classes.h``.

    Alarms, events and smoothed posteriors are those of :class:`aed.scoring.rule.RuleState`, bit for bit.

    Args:
        card: Of the model.
        hop: Frames from one decision to the next.

    Raises:
        AedError: The rule is for another number of classes.
    """
    return {**fixed_sources(FILES), "aed_rule.h": _header(card, hop), "aed_rule.c": _source(card, hop)}


def events_bytes(card: ModelCard) -> int:
    """``sizeof(aed_events)`` on a 32-bit core."""
    classes = len(card.class_names)
    return -(-(16 + 32 * classes + 4 * _window(card) * classes + 4) // 8) * 8


def in_words(card: ModelCard) -> str:
    """The rule: a part of a sentence."""
    rule = rule_of(card)
    keys = ("window" if rule.smoothing == "mean" else "weight", "shortest_s", "gap_s", "hold_off_s", "repeat_s")
    return ", ".join([f"`smoothing` {rule.smoothing}", *(f"`{key}` {getattr(rule, key):g}" for key in keys)])


def _window(card: ModelCard) -> int:
    """Decisions to keep."""
    rule = rule_of(card)
    return rule.window if rule.smoothing == "mean" else 1


def _header(card: ModelCard, hop: int) -> str:
    frontend = card.frontend
    samples, rate = hop * frontend.hop_length, frontend.sample_rate
    return f"""/* Generated: when decisions are made, and how many of them aed_events keeps. */
#ifndef AED_RULE_H
#define AED_RULE_H

/* Decisions that aed_events keeps for a mean. */
#define AED_RULE_WINDOW {_window(card)}

#define AED_RULE_SAMPLE_RATE {rate}

/* From one decision to the next. */
#define AED_RULE_HOP_SAMPLES {samples}U
#define AED_RULE_HOP_S {samples / rate!r}

/* Of the sound that a decision hears. */
#define AED_RULE_PATCH_S {frontend.patch_samples / rate!r}

#endif
"""


def _unknown(card: ModelCard) -> float:
    """The least score of a decision that is known; a blend with a cosine may be under 0."""
    none = -1.0 if card.decision.by_nearness else 0.0
    return none if card.decision.unknown_threshold is None else card.decision.unknown_threshold


def _source(card: ModelCard, hop: int) -> str:
    rule, number = rule_of(card), len(card.class_names)
    on, off = rule.thresholds(number)
    times = rule.decisions(hop * card.frontend.hop_length / card.frontend.sample_rate)
    counts = "\n".join(f"    .{name} = {min(count, MOST)}ULL," for name, count in times._asdict().items())
    return f"""/* Generated: the event rule of the model. */
#include "aed_events.h"

static const float on[AED_CLASSES] = {{
{c_lines(map(c_float, on))}
}};

static const float off[AED_CLASSES] = {{
{c_lines(map(c_float, off))}
}};

const aed_event_rule aed_rule = {{
    .on = on,
    .off = off,
    .unknown = {c_float(_unknown(card))},
    .weight = {c_float(rule.weight)},
    .window = {0 if rule.smoothing == "exponential" else rule.window}U,
{counts}
    .lag = {rule.lag!r},
}};
"""
