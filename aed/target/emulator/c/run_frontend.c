/* Feeds a front end with the samples of a file; writes every patch, its ticks and the depth of the stack. */
#include "aed_frontend.h"
#include "probe.h"
#include "semihost.h"

int main(void) {
    static aed_frontend fe;
    static int16_t samples[AED_BLOCK];
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    static uint32_t facts[2];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_start_clock();
    aed_frontend_init(&fe);
    uint32_t bytes;
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        const int16_t *next = samples;
        size_t count = bytes / sizeof samples[0];
        while (count > 0u) {
            int ready;
            aed_paint_stack();
            const uint32_t start = aed_now();
            const size_t used = aed_frontend_feed(&fe, next, count, &ready);
            if (ready != 0) {
                aed_frontend_patch(&fe, patch);
            }
            facts[0] += (aed_now() - start) & 0xFFFFFFu;
            const uint32_t depth = aed_stack_depth();
            facts[1] = depth > facts[1] ? depth : facts[1];
            next += used;
            count -= used;
            if (ready != 0) {
                if (aed_write(to, patch, sizeof patch) || aed_write(to, facts, sizeof facts)) {
                    return 73;
                }
                facts[0] = 0u;
            }
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
