/* Finds events in the sound of a microphone: 16-bit mono samples in; out a line for each alarm, and one for each event
 * once it has ended, by the event rule of the model. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_events.h"
#include "aed_listener.h"
#if AED_BY_NEARNESS
#include "aed_nearness.h"
#endif

#define BLOCK 160U

/* The next samples at AED_FE_SAMPLE_RATE Hz; 0 ends. Here from a file, on a board from the buffer of the microphone. */
static size_t microphone(int16_t *block, size_t size) {
    return fread(block, sizeof block[0], size, stdin);
}

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

/* A decision. */
static void decide(aed_events *events, const int8_t *out) {
    float probability[AED_CLASSES];
    aed_event found[AED_CLASSES];
    aed_probabilities(out, probability);
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
#endif
    for (int i = 0; i < count; ++i) {
        report(events, &found[i]);
    }
}

int main(void) {
    static aed_listener listener;
    static aed_events events;
    aed_event left[AED_CLASSES];
    int8_t out[AED_NET_OUTPUT_SIZE];
    int16_t block[BLOCK];
    size_t count;
    aed_listener_init(&listener);
    aed_events_init(&events, &aed_rule);
    while ((count = microphone(block, BLOCK)) > 0U) {
        for (size_t used = 0U; used < count;) {
            int ready;
            used += aed_listen(&listener, &block[used], count - used, out, &ready);
            if (ready != 0) {
                decide(&events, out);
            }
        }
    }
    const int unended = aed_events_finish(&events, left); /* a microphone never gets here */
    for (int i = 0; i < unended; ++i) {
        report(&events, &left[i]);
    }
    return 0;
}
