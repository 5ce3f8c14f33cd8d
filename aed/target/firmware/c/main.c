/* Finds events in the sound of a microphone: 16-bit mono samples in; out a line for each alarm, and one for each event
 * once it has ended, by the event rule of the model. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_events.h"
#include "aed_listener.h"
#include "report.h"

#define BLOCK 160U

/* The next samples at AED_FE_SAMPLE_RATE Hz; 0 ends. Here from a file, on a board from the buffer of the microphone. */
static size_t microphone(int16_t *block, size_t size) {
    return fread(block, sizeof block[0], size, stdin);
}

int main(void) {
    static aed_listener listener;
    static aed_events events;
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
                float probability[AED_CLASSES] = {0.0F}; /* of sound under the gate */
                if (ready != AED_LISTENER_QUIET) {
                    aed_probabilities(out, probability);
                }
                decide(&events, out, probability);
            }
        }
    }
    finish(&events);
    return 0;
}
