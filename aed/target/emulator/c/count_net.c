/* Runs a net once over the input of a file; writes the ticks of each of its layers. Of a stream, they are those of the
 * output after the first one. */
#include "probe.h"
#include "semihost.h"
#include "whole_net.h"

static uint32_t ticks[AED_NET_LAYERS];
static int wrapped;

void aed_count(int stage, int begins) {
    if (begins) {
        aed_start_clock(); /* anew: a run may take all it can count */
    } else {
        ticks[stage] += (aed_now() + 1u) & 0xFFFFFFu; /* it starts with a tick from 0 to the largest value */
        wrapped |= aed_wrapped();
    }
}

int main(void) {
    static int8_t in[AED_NET_INPUT_SIZE];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0 || aed_read(from, in, sizeof in) != sizeof in) {
        return 71;
    }
    aed_run_patch(in, out);
#if AED_NET_HOP > 0
    for (int stage = 0; stage < AED_NET_LAYERS; ++stage) {
        ticks[stage] = 0u;
    }
    aed_run_hop(in, out);
#endif
    if (wrapped) {
        return 74;
    }
    if (aed_write(to, ticks, sizeof ticks)) {
        return 73;
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
