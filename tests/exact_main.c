/* Samples in; out of each patch the outputs, probabilities and smoothed probabilities, bit by bit, then these of a long
 * silence, in which they get as small as a float can be. Then the self-test. */
#include "aed_classes.h"
#include "aed_events.h"
#include "aed_listener.h"
#include "aed_selftest.h"
#include "semihost.h"

static aed_listener listener;
static aed_events events;
static aed_event found[AED_CLASSES];

int main(void) {
    static int16_t samples[AED_BLOCK];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    static float probability[AED_CLASSES];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    if (aed_selftest(&listener.net) != 0) {
        return 76;
    }
    aed_listener_init(&listener);
    aed_events_init(&events, &aed_rule);
    uint32_t bytes;
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        const size_t count = bytes / sizeof samples[0];
        for (size_t used = 0u; used < count;) {
            int ready;
            used += aed_listen(&listener, &samples[used], count - used, out, &ready);
            if (ready != 0) {
                aed_probabilities(out, probability);
                (void)aed_events_add(&events, probability, found);
                if (aed_write(to, out, sizeof out) || aed_write(to, probability, sizeof probability) ||
                    aed_write(to, events.recent, sizeof events.recent)) {
                    return 73;
                }
            }
        }
    }
    for (int label = 0; label < AED_CLASSES; ++label) {
        probability[label] = 0.0F;
    }
    for (int decision = 0; decision < 500; ++decision) {
        (void)aed_events_add(&events, probability, found);
        if (decision >= 250 && aed_write(to, events.recent, sizeof events.recent)) {
            return 73;
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
