/*
 * The event rule: probabilities of one decision after the other in, alarms and events out; see aed.scoring.rule.
 *
 *     static aed_events events;
 *     aed_events_init(&events, &aed_rule);
 *     for each output of the net:
 *         aed_probabilities(out, probability);
 *         int count = aed_events_add(&events, probability, found);
 *         for (int i = 0; i < count; ++i) {
 *             act on found[i]
 *         }
 *
 * No heap, no globals but constant tables; one aed_events per stream.
 */
#ifndef AED_EVENTS_H
#define AED_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "aed_classes.h"
#include "aed_rule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A rule. aed_rule is that of the model; a copy of it can be changed. Times are in decisions. */
typedef struct {
    const float *on;   /* of each class the smoothed probability with which it is on; over 1: never */
    const float *off;  /* under it the class is off again; not over on */
    float unknown;     /* a decision whose score is under it counts as 0 for all classes */
    float weight;      /* of exponential smoothing: of the way to the newest probability, over 0, up to 1 */
    uint32_t window;   /* decisions of the mean, up to AED_RULE_WINDOW; 0: exponential smoothing */
    uint64_t shortest; /* that a class has to be on, from 1 */
    uint64_t gap;      /* that an event may be off without an end */
    uint64_t hold_off; /* after an alarm, in which no event of the class begins */
    uint64_t repeat;   /* after which an event that lasts raises another alarm, from 1 */
    double lag;        /* by which smoothing delays a rise */
} aed_event_rule;

extern const aed_event_rule aed_rule;

typedef enum {
    AED_EVENT_BEGINS, /* the first alarm of an event */
    AED_EVENT_LASTS,  /* another alarm, as it lasts */
    AED_EVENT_ENDS
} aed_event_kind;

/* Decisions are counted from 0, in 64 bits: for longer than any device lives. */
typedef struct {
    aed_event_kind kind;
    int label;         /* index of aed_class_names */
    uint64_t first;    /* the first decision of the event */
    uint64_t last;     /* of an alarm, the decision that raises it; of an end, the last one that is on */
    float probability; /* smoothed: of an alarm, of this decision; of an end, the greatest of the event */
} aed_event;

/* What a class needs to remember. */
typedef struct {
    uint64_t first;   /* decision of its event, or with which it went on */
    uint64_t last;    /* of its event, the last that is on */
    uint64_t alarmed; /* of its last alarm */
    float peak;
    bool on;
    bool open;   /* there is an event */
    bool alarms; /* there was an alarm */
} aed_event_state;

/* A stream under a rule. */
typedef struct {
    const aed_event_rule *rule;
    uint64_t decision; /* the next one */
    aed_event_state states[AED_CLASSES];
    float recent[AED_RULE_WINDOW][AED_CLASSES]; /* ring of the last decisions; [0]: the exponential mean */
    uint32_t next;                              /* where the newest goes */
} aed_events;

/* Begins a stream. The rule has to stay where it is. */
void aed_events_init(aed_events *events, const aed_event_rule *rule);

/*
 * Takes probability[AED_CLASSES] of the next decision. Writes the alarms it raises and the events that end with it to
 * found[AED_CLASSES], at most one a class, in the order of the classes; returns how many.
 */
#if AED_BY_NEARNESS
int aed_events_add(aed_events *events, const float *probability, float nearness, aed_event *found);
#else
int aed_events_add(aed_events *events, const float *probability, aed_event *found);
#endif

/* Ends the stream: the same for the events that have not ended. */
int aed_events_finish(aed_events *events, aed_event *found);

/* Seconds from the stream's start to the event's start and end, dated back by the delay of smoothing. */
double aed_event_onset_s(const aed_events *events, const aed_event *event);
double aed_event_offset_s(const aed_events *events, const aed_event *event);

/* Seconds from the stream's start to the end of what event->last is decided of: of an alarm, when it is raised. */
double aed_event_heard_s(const aed_event *event);

#ifdef __cplusplus
}
#endif

#endif
