/* A clip from a file through front end and net; writes of each patch whether the net ran, and its output. */
#include "aed_listener.h"
#include "semihost.h"

int main(void) {
    static aed_listener listener;
    static int16_t samples[AED_BLOCK];
    static int8_t record[1 + AED_NET_OUTPUT_SIZE];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_listener_init(&listener);
    uint32_t bytes;
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        const int16_t *next = samples;
        size_t count = bytes / sizeof samples[0];
        while (count > 0u) {
            int ready;
            const size_t used = aed_listen(&listener, next, count, &record[1], &ready);
            next += used;
            count -= used;
            record[0] = ready != AED_LISTENER_QUIET;
            if (ready != 0 && aed_write(to, record, sizeof record)) {
                return 73;
            }
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
