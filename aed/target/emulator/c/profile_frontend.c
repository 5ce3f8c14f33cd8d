/* Feeds a front end with the samples of a file up to its first patch; writes sampled addresses. */
#include "aed_frontend.h"
#include "sampler.h"
#include "semihost.h"

int main(void) {
    static aed_frontend fe;
    static int16_t samples[AED_BLOCK];
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_frontend_init(&fe);
    int ready = 0;
    uint32_t bytes;
    aed_sample_every(AED_TICKS);
    while (ready == 0 && (bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        (void)aed_frontend_feed(&fe, samples, bytes / sizeof samples[0], &ready);
        if (ready != 0) {
            aed_frontend_patch(&fe, patch);
        }
    }
    aed_sample_every(0u);
    if (aed_write(to, aed_sampled(), sizeof(aed_samples))) {
        return 73;
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
