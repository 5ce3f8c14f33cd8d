/* A clip from a file through front end and net; writes the net's output of each patch. */
#include "aed_frontend.h"
#include "aed_net.h"
#include "semihost.h"

int main(void) {
    static aed_frontend fe;
    static int16_t samples[AED_BLOCK];
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_frontend_init(&fe);
    uint32_t bytes;
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        const int16_t *next = samples;
        size_t count = bytes / sizeof samples[0];
        while (count > 0u) {
            int ready;
            const size_t used = aed_frontend_feed(&fe, next, count, &ready);
            next += used;
            count -= used;
            if (ready != 0) {
                aed_frontend_patch(&fe, patch);
                aed_net_run(patch, out);
                if (aed_write(to, out, sizeof out)) {
                    return 73;
                }
            }
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
