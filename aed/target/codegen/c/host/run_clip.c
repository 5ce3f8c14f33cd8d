/* A whole clip through front end and net, for calls from outside; one clip at a time. */
#include "aed_listener.h"

/* Returns the number of patches; writes the net's output of each of the first max ones, and whether the net ran. */
int32_t aed_run_clip(const int16_t *samples, int32_t count, int8_t *outputs, bool *ran, int32_t max);

int32_t aed_run_clip(const int16_t *samples, int32_t count, int8_t *outputs, bool *ran, int32_t max) {
    static aed_listener listener;
    int8_t spare[AED_NET_OUTPUT_SIZE];
    int32_t patches = 0;
    size_t left = (size_t)count;
    aed_listener_init(&listener);
    while (left > 0u) {
        int ready;
        const size_t used = aed_listen(&listener, samples, left, patches < max ? outputs : spare, &ready);
        samples += used;
        left -= used;
        if (ready != 0) {
            if (patches < max) {
                outputs += AED_NET_OUTPUT_SIZE;
                ran[patches] = ready != AED_LISTENER_QUIET;
            }
            ++patches;
        }
    }
    return patches;
}
