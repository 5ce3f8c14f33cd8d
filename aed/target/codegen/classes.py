"""C for the steps after the net: names of the classes, probabilities, decisions, and recordings of several patches."""

from aed.base.errors import AedError
from aed.dsp.aggregate import Aggregate
from aed.export.card import ModelCard
from aed.scoring.decision import UNKNOWN_INDEX
from aed.scoring.steps import exponentials, sigmoids
from aed.target.codegen.fixed import EXACT, fixed_sources
from aed.target.codegen.program import Tensor
from aed.target.codegen.text import c_float, c_lines, c_string


def class_sources(card: ModelCard, output: Tensor, embedding: int = 0) -> dict[str, str]:
    """File name -> content of ``aed_classes.h`` and ``aed_classes.c``; they need ``aed_net.h``.

    Probabilities are those of :func:`aed.inference.classifier.to_posteriors`, bit for bit; they decide as
    :meth:`aed.scoring.decision.Decision.decide` does.

    Args:
        card: Of the model.
        output: Of the net.
        embedding: Values of the embedding, the last ones of the output.

    Raises:
        AedError: There are not as many classes as outputs, or the decision rule does not fit them.
    """
    names = card.class_names
    if len(names) != (size := output.size - embedding):
        raise AedError(f"the net has {size} outputs, its card {len(names)} classes")
    if card.decision.by_nearness and not embedding:
        raise AedError("the card decides by the nearness of an embedding, which the net does not have: export it anew")
    card.decision.check(card.task, len(names))
    return {"aed_classes.h": _header(card), "aed_classes.c": _source(card, output)} | fixed_sources([EXACT])


def rule(card: ModelCard) -> str:
    """The classes that are detected, in words: a part of a sentence."""
    if card.task == "multi_label":
        return "each class whose probability is not under its threshold"
    best = "the most probable class, the first of equal ones"
    least, what = card.decision.unknown_threshold, "score" if card.decision.by_nearness else "probability"
    return best if least is None else f"{best}, if its {what} is not under {least:g}"


def _header(card: ModelCard) -> str:
    near = card.decision.by_nearness
    argument = ", float nearness" if near else ""
    return f"""/* Generated: what the net's outputs stand for, and what is decided of them. */
#ifndef AED_CLASSES_H
#define AED_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

#define AED_CLASSES {len(card.class_names)}

/* None of the classes. */
#define AED_UNKNOWN ({UNKNOWN_INDEX})

/* 1: what is unknown depends on the nearness, too: see aed_nearness.h. */
#define AED_BY_NEARNESS {int(near)}

#ifdef __cplusplus
extern "C" {{
#endif

extern const char *const aed_class_names[AED_CLASSES];

/* Probabilities of an output of aed_net_run, AED_CLASSES long. */
void aed_probabilities(const int8_t *out, float *probability);
{_SCORE_HEADER if near else ""}
/*
 * Which classes are detected: {rule(card)}.
 * Both are AED_CLASSES long. Returns the most probable of the detected classes, or AED_UNKNOWN.
 */
int aed_decide(const float *probability{argument}, bool *detected);

/* A recording so far; its probabilities are the {card.decision.aggregate} of each class over its patches. */
typedef struct {{
    {_KINDS[card.decision.aggregate]} total[AED_CLASSES];
{f"    {_KINDS[card.decision.aggregate]} nearness;{chr(10)}" if near else ""}    uint32_t patches;
}} aed_clip;

/* Begins a recording. */
void aed_clip_reset(aed_clip *clip);

/* Adds the probabilities of its next patch. */
void aed_clip_add(aed_clip *clip, const float *probability{argument});

/* Its probabilities, AED_CLASSES long; all 0 before the first patch. */
void aed_clip_probabilities(const aed_clip *clip, float *probability);
{_CLIP_NEARNESS_HEADER if near else ""}
#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(card: ModelCard, output: Tensor) -> str:
    table, form = _probabilities(card, output)
    return f"""/* Generated: names of the classes, probabilities from int8, decisions. */
#include "aed_exact.h"

#include "aed_classes.h"
#include "aed_net.h"

const char *const aed_class_names[AED_CLASSES] = {{
{c_lines(map(c_string, card.class_names))}
}};

{table}void aed_probabilities(const int8_t *out, float *probability) {{
{form}}}

{_several(card) if card.task == "multi_label" else _near(card) if card.decision.by_nearness else _one(card)}
{_clips(card.decision.aggregate, card.decision.by_nearness)}"""


_SCORE_HEADER = """
/* The score of a sound, by which it is decided whether it is unknown: of its greatest probability and its nearness. */
float aed_score(float most, float nearness);
"""

_CLIP_NEARNESS_HEADER = """
/* Its nearness; 0 before the first patch. */
float aed_clip_nearness(const aed_clip *clip);
"""


def _probabilities(card: ModelCard, output: Tensor) -> tuple[str, str]:
    """A table, and the body of the function that makes probabilities of it."""
    scale, temperature = float(output.scale), card.decision.temperature
    if card.outputs == "probabilities":
        return "", _REAL
    if card.task == "multi_label":
        values, form = sigmoids(scale, output.zero, temperature), _SIGMOID
    else:
        values, form = exponentials(scale, temperature), _SOFTMAX
    return f"static const float of_step[{len(values)}] = {{\n{c_lines(map(c_float, values))}\n}};\n\n", form


_REAL = """    for (int i = 0; i < AED_CLASSES; ++i) {
        probability[i] = AED_NET_OUTPUT_SCALE * (float)(out[i] - AED_NET_OUTPUT_ZERO);
    }
"""

_SIGMOID = """    for (int i = 0; i < AED_CLASSES; ++i) {
        probability[i] = of_step[out[i] + 128];
    }
"""

_SOFTMAX = """    int most = out[0];
    float sum = 0.0F;
    for (int i = 1; i < AED_CLASSES; ++i) {
        most = out[i] > most ? out[i] : most;
    }
    for (int i = 0; i < AED_CLASSES; ++i) {
        probability[i] = of_step[most - out[i]];
        sum += probability[i];
    }
    for (int i = 0; i < AED_CLASSES; ++i) {
        probability[i] /= sum;
    }
"""


def _one(card: ModelCard) -> str:
    """``aed_decide`` of a single-label model."""
    least = card.decision.unknown_threshold
    known = "true" if least is None else f"probability[best] >= {c_float(least)}"
    return f"""int aed_decide(const float *probability, bool *detected) {{
    int best = 0;
    for (int i = 0; i < AED_CLASSES; ++i) {{
        best = probability[i] > probability[best] ? i : best;
        detected[i] = false;
    }}
    detected[best] = {known};
    return detected[best] ? best : AED_UNKNOWN;
}}
"""


def _near(card: ModelCard) -> str:
    """``aed_decide`` of a model that weighs its nearness; see :func:`aed.scoring.nearness.blend`."""
    nearness, least = card.decision.nearness, card.decision.unknown_threshold
    assert nearness is not None
    posterior, near = c_float(1 - nearness.weight), c_float(nearness.weight)
    return f"""float aed_score(float most, float nearness) {{
    float posterior = {posterior} * most;
    float near = {near} * nearness;
    AED_ROUNDED(posterior);
    AED_ROUNDED(near);
    return posterior + near;
}}

int aed_decide(const float *probability, float nearness, bool *detected) {{
    int best = 0;
    for (int i = 0; i < AED_CLASSES; ++i) {{
        best = probability[i] > probability[best] ? i : best;
        detected[i] = false;
    }}
    detected[best] = aed_score(probability[best], nearness) >= {c_float(-1.0 if least is None else least)};
    return detected[best] ? best : AED_UNKNOWN;
}}
"""


def _several(card: ModelCard) -> str:
    """``aed_decide`` of a multi-label model."""
    return f"""static const float thresholds[AED_CLASSES] = {{
{c_lines(map(c_float, card.decision.thresholds_of(len(card.class_names))))}
}};

int aed_decide(const float *probability, bool *detected) {{
    int best = AED_UNKNOWN;
    for (int i = 0; i < AED_CLASSES; ++i) {{
        detected[i] = probability[i] >= thresholds[i];
        if (detected[i] && ((best == AED_UNKNOWN) || (probability[i] > probability[best]))) {{
            best = i;
        }}
    }}
    return best;
}}
"""


_KINDS = {"mean": "double", "max": "float"}
"""C type of the values stored of a recording; sums are float64, as in :func:`aed.dsp.aggregate.clip_posteriors`."""

_ADD = {
    "mean": "clip->total[i] += (double)probability[i];",
    "max": "clip->total[i] = probability[i] > clip->total[i] ? probability[i] : clip->total[i];",
}
_GIVE = {
    "mean": "probability[i] = clip->patches > 0U ? (float)(clip->total[i] / (double)clip->patches) : 0.0F;",
    "max": "probability[i] = clip->total[i];",
}


_ADD_NEARNESS = {
    "mean": "clip->nearness += (double)nearness;",
    "max": "clip->nearness = clip->patches == 0U || nearness > clip->nearness ? nearness : clip->nearness;",
}
_GIVE_NEARNESS = {
    "mean": "clip->patches > 0U ? (float)(clip->nearness / (double)clip->patches) : 0.0F",
    "max": "clip->nearness",
}


def _clips(aggregate: Aggregate, near: bool) -> str:
    """The functions of ``aed_clip``; ``near``: with the nearness."""
    reset = "    clip->nearness = 0;\n" if near else ""
    add = f"    {_ADD_NEARNESS[aggregate]}\n" if near else ""
    more = _CLIP_NEARNESS.format(value=_GIVE_NEARNESS[aggregate]) if near else ""
    return f"""void aed_clip_reset(aed_clip *clip) {{
    for (int i = 0; i < AED_CLASSES; ++i) {{
        clip->total[i] = 0;
    }}
{reset}    clip->patches = 0U;
}}

void aed_clip_add(aed_clip *clip, const float *probability{", float nearness" if near else ""}) {{
    for (int i = 0; i < AED_CLASSES; ++i) {{
        {_ADD[aggregate]}
    }}
{add}    ++clip->patches;
}}

void aed_clip_probabilities(const aed_clip *clip, float *probability) {{
    for (int i = 0; i < AED_CLASSES; ++i) {{
        {_GIVE[aggregate]}
    }}
}}
{more}"""


_CLIP_NEARNESS = """
float aed_clip_nearness(const aed_clip *clip) {{
    return {value};
}}
"""
