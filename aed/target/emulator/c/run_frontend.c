/* Feeds a front end with the samples of a file; writes every patch, its ticks and the depth of the stack. With
 * AED_BY_COLUMNS it is a stream of columns, of which the harness makes patches, one after the other. */
#include "aed_frontend.h"
#include "probe.h"
#include "semihost.h"

int main(void) {
#ifdef AED_BY_COLUMNS
    static aed_columns fe;
    int columns = 0;
#else
    static aed_frontend fe;
#endif
    static int16_t samples[AED_BLOCK];
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    static uint32_t facts[2];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_start_clock();
#ifdef AED_BY_COLUMNS
    aed_columns_init(&fe);
#else
    aed_frontend_init(&fe);
#endif
    uint32_t bytes;
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        const int16_t *next = samples;
        size_t count = bytes / sizeof samples[0];
        while (count > 0u) {
            int ready;
            aed_paint_stack();
            const uint32_t start = aed_now();
#ifdef AED_BY_COLUMNS
            const size_t used = aed_columns_feed(&fe, next, count, patch + columns * AED_FE_N_MELS, &ready);
            columns += ready;
            ready = columns == AED_FE_PATCH_FRAMES;
            columns = ready != 0 ? 0 : columns;
#else
            const size_t used = aed_frontend_feed(&fe, next, count, &ready);
            if (ready != 0) {
                aed_frontend_patch(&fe, patch);
            }
#endif
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
