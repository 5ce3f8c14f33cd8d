/* What the example does with decisions: alarms and events by the event rule of the model, a line of text each. */
#ifndef REPORT_H
#define REPORT_H

#include <stdio.h>

#include "aed_classes.h"
#include "aed_events.h"
#if AED_BY_NEARNESS
#include "aed_nearness.h"
#endif

/* Here a line of text, on a board a lamp, a message, a radio packet. */
static void report(const aed_events *events, const aed_event *event) {
    const char *const name = aed_class_names[event->label];
    if (event->kind == AED_EVENT_ENDS) {
        const double onset = aed_event_onset_s(events, event);
        const double offset = aed_event_offset_s(events, event);
        (void)printf("event %.3f %.3f %.6f %s\n", onset, offset, (double)event->probability, name);
    } else {
        (void)printf("alarm %.3f %.6f %s\n", aed_event_heard_s(event), (double)event->probability, name);
    }
}

/* A decision: an output of the net and its probabilities, which are 0 for sound under a gate. */
static void decide(aed_events *events, const int8_t *out, const float *probability) {
    aed_event found[AED_CLASSES];
#ifdef AED_PRINT_PROBABILITIES
    for (int i = 0; i < AED_CLASSES; ++i) {
        (void)printf("%s%.9g", i == 0 ? "probabilities " : " ", (double)probability[i]);
    }
    (void)printf("\n");
#endif
#if AED_BY_NEARNESS
    const int count = aed_events_add(events, probability, aed_nearness(out), found);
#else
    const int count = aed_events_add(events, probability, found);
    (void)out;
#endif
    for (int i = 0; i < count; ++i) {
        report(events, &found[i]);
    }
}

/* The end of the stream, to which a microphone never gets. */
static void finish(aed_events *events) {
    aed_event found[AED_CLASSES];
    const int count = aed_events_finish(events, found);
    for (int i = 0; i < count; ++i) {
        report(events, &found[i]);
    }
}

#endif
