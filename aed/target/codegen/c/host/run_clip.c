/* A whole clip through front end and net, for calls from outside; one clip at a time. */
#include <stddef.h>
#include <stdint.h>

#include "aed_frontend.h"
#include "aed_net.h"

/* Returns the number of patches; writes the net's output of each of the first max ones. */
int32_t aed_run_clip(const int16_t *samples, int32_t count, int8_t *outputs, int32_t max);

int32_t aed_run_clip(const int16_t *samples, int32_t count, int8_t *outputs, int32_t max) {
    static aed_frontend fe;
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    int32_t patches = 0;
    size_t left = (size_t)count;
    aed_frontend_init(&fe);
    while (left > 0u) {
        int ready;
        const size_t used = aed_frontend_feed(&fe, samples, left, &ready);
        samples += used;
        left -= used;
        if (ready != 0) {
            if (patches < max) {
                aed_frontend_patch(&fe, patch);
                aed_net_run(patch, outputs);
                outputs += AED_NET_OUTPUT_SIZE;
            }
            ++patches;
        }
    }
    return patches;
}
