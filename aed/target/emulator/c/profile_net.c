/* Runs a net once over the input of a file; writes sampled addresses. */
#include "sampler.h"
#include "semihost.h"
#include "whole_net.h"

int main(void) {
    static int8_t in[AED_NET_INPUT_SIZE];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0 || aed_read(from, in, sizeof in) != sizeof in) {
        return 71;
    }
    aed_sample_every(AED_TICKS);
    aed_run_patch(in, out);
    aed_sample_every(0u);
    if (aed_write(to, aed_sampled(), sizeof(aed_samples))) {
        return 73;
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
