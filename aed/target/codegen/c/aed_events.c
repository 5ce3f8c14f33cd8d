/* Events of a stream; see aed_events.h. The same operations in the same order as aed.scoring.rule.RuleState. */
#include "aed_exact.h"

#include "aed_events.h"

#include <string.h>

void aed_events_init(aed_events *events, const aed_event_rule *rule) {
    memset(events, 0, sizeof *events);
    events->rule = rule;
}

/* The greatest probability. */
static float greatest(const float *probability) {
    float most = probability[0];
    for (int i = 1; i < AED_CLASSES; ++i) {
        most = probability[i] > most ? probability[i] : most;
    }
    return most;
}

/* An exponential mean, by a weight of the way to a value. */
static float moved(float mean, float weight, float value) {
    float way = weight * (value - mean);
    AED_ROUNDED(way);
    return mean + way;
}

/* Takes in the probabilities of a decision and their score; what is unknown counts as 0. */
static void take(aed_events *events, const float *probability, float score) {
    const aed_event_rule *const rule = events->rule;
    float *const newest = events->recent[events->next];
    const bool moves = rule->window == 0U && events->decision > 0U;
    for (int i = 0; i < AED_CLASSES; ++i) {
        const float value = score >= rule->unknown ? probability[i] : 0.0F;
        newest[i] = moves ? moved(newest[i], rule->weight, value) : value;
    }
}

/* The smoothed probability of a class; a mean is summed from the oldest decision to the newest. */
static float smoothed(const aed_events *events, int label) {
    const uint32_t window = events->rule->window;
    if (window == 0U) {
        return events->recent[0][label];
    }
    const uint32_t count = events->decision < window ? (uint32_t)events->decision + 1U : window;
    uint32_t at = events->next + 1U + window - count;
    at -= at < window ? 0U : window;
    float total = events->recent[at][label];
    for (uint32_t i = 1U; i < count; ++i) {
        at = at + 1U < window ? at + 1U : 0U;
        total += events->recent[at][label];
    }
    return total / (float)count;
}

/* Closes the event of a class; returns how many were written, 1. */
static int close_event(aed_event_state *state, int label, aed_event *found) {
    state->open = false;
    found->kind = AED_EVENT_ENDS;
    found->label = label;
    found->first = state->first;
    found->last = state->last;
    found->probability = state->peak;
    return 1;
}

/* Whether a class that is on raises an alarm; with the first its event begins. */
static bool is_due(const aed_event_rule *rule, const aed_event_state *state, uint64_t now) {
    const uint64_t since_alarm = now - state->alarmed;
    if (state->open) {
        return since_alarm >= rule->repeat;
    }
    const bool held = state->alarms && since_alarm <= rule->hold_off;
    return now - state->first + 1U >= rule->shortest && !held;
}

/* The decision of a class; returns how many were written, 0 or 1. */
static int step(aed_events *events, int label, float value, aed_event *found) {
    const aed_event_rule *const rule = events->rule;
    aed_event_state *const state = &events->states[label];
    const uint64_t now = events->decision;
    const bool was_on = state->on;
    state->on = value >= rule->on[label] || (was_on && !(value < rule->off[label]));
    if (!state->on) {
        return state->open && now - state->last > rule->gap ? close_event(state, label, found) : 0;
    }
    if (!was_on && !state->open) {
        state->first = now;
        state->peak = value;
    }
    state->peak = value > state->peak ? value : state->peak;
    state->last = now;
    if (!is_due(rule, state, now)) {
        return 0;
    }
    found->kind = state->open ? AED_EVENT_LASTS : AED_EVENT_BEGINS;
    found->label = label;
    found->first = state->first;
    found->last = now;
    found->probability = value;
    state->open = true;
    state->alarms = true;
    state->alarmed = now;
    return 1;
}

/* See aed_events_add. */
static int add(aed_events *events, const float *probability, float score, aed_event *found) {
    int count = 0;
    take(events, probability, score);
    for (int i = 0; i < AED_CLASSES; ++i) {
        count += step(events, i, smoothed(events, i), &found[count]);
    }
    events->next = events->next + 1U < events->rule->window ? events->next + 1U : 0U;
    ++events->decision;
    return count;
}

#if AED_BY_NEARNESS
int aed_events_add(aed_events *events, const float *probability, float nearness, aed_event *found) {
    return add(events, probability, aed_score(greatest(probability), nearness), found);
}
#else
int aed_events_add(aed_events *events, const float *probability, aed_event *found) {
    return add(events, probability, greatest(probability), found);
}
#endif

int aed_events_finish(aed_events *events, aed_event *found) {
    int count = 0;
    for (int i = 0; i < AED_CLASSES; ++i) {
        count += events->states[i].open ? close_event(&events->states[i], i, &found[count]) : 0;
        events->states[i].on = false;
    }
    return count;
}

/* Seconds from the stream's start to the patch of a decision. */
static double start_s(uint64_t decision) {
    return (double)(decision * AED_RULE_HOP_SAMPLES) / AED_RULE_SAMPLE_RATE;
}

/* From there to the middle of what the decision stands for. */
static double middle_s(const aed_events *events) {
    const volatile double lag = events->rule->lag * AED_RULE_HOP_S; /* rounded before it is subtracted */
    return AED_RULE_PATCH_S / 2.0 - lag;
}

double aed_event_onset_s(const aed_events *events, const aed_event *event) {
    const double onset = start_s(event->first) + middle_s(events) - AED_RULE_HOP_S / 2.0;
    return onset > 0.0 ? onset : 0.0;
}

double aed_event_offset_s(const aed_events *events, const aed_event *event) {
    const double offset = start_s(event->last) + middle_s(events) + AED_RULE_HOP_S / 2.0;
    return offset > 0.0 ? offset : 0.0;
}

double aed_event_heard_s(const aed_event *event) {
    return start_s(event->last) + AED_RULE_PATCH_S;
}
