/* Runs a net over the inputs of a file; writes outputs, ticks and the depth of the stack. Of a stream, ticks are those of
 * the output after the first one. */
#include "probe.h"
#include "semihost.h"
#include "whole_net.h"

int main(void) {
    static int8_t in[AED_NET_INPUT_SIZE];
    static int8_t out[AED_NET_OUTPUT_SIZE];
#if AED_NET_HOP > 0
    static int8_t again[AED_NET_OUTPUT_SIZE];
#endif
    static uint32_t facts[2];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    aed_start_clock();
    while (aed_read(from, in, sizeof in) == sizeof in) {
        aed_paint_stack();
        const uint32_t start = aed_now();
        aed_run_patch(in, out);
        facts[0] = (aed_now() - start) & 0xFFFFFFu;
#if AED_NET_HOP > 0
        const uint32_t next = aed_now();
        aed_run_hop(in, again);
        facts[0] = (aed_now() - next) & 0xFFFFFFu;
#endif
        facts[1] = aed_stack_depth();
        if (aed_write(to, out, sizeof out) || aed_write(to, facts, sizeof facts)) {
            return 73;
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
