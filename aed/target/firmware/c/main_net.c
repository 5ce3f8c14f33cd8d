/* Finds events in patches, AED_RULE_HOP_SAMPLES of sound from one to the next: int8 patches in; out a line for each alarm,
 * and one for each event once it has ended, by the event rule of the model. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_events.h"
#include "aed_net.h"
#include "report.h"

/* The next patch; 0 ends. Here from a file, on a board from your own front end. */
static int next_patch(int8_t *patch) {
    return fread(patch, 1, AED_NET_INPUT_SIZE, stdin) == AED_NET_INPUT_SIZE ? 1 : 0;
}

int main(void) {
    static aed_net net;
    static int8_t patch[AED_NET_INPUT_SIZE];
    static aed_events events;
    aed_events_init(&events, &aed_rule);
    while (next_patch(patch) != 0) {
        int8_t out[AED_NET_OUTPUT_SIZE];
        float probability[AED_CLASSES];
#if AED_NET_FEEDS /* patches are frame after frame */
        aed_net_run_frames(&net, patch, out);
#else
        aed_net_run(&net, patch, out);
#endif
        aed_probabilities(out, probability);
        decide(&events, out, probability);
    }
    finish(&events);
    return 0;
}
