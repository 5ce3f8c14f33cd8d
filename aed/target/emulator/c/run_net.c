/* Runs a net over the inputs of a file; writes outputs, ticks of every layer (for the first input, which is run once
 * more layer by layer) and the depth of the stack. */
#include <string.h>

#include "aed_net.h"
#include "probe.h"
#include "semihost.h"

int main(void) {
    static int8_t in[AED_NET_INPUT_SIZE];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    static int8_t again[AED_NET_OUTPUT_SIZE];
    static uint32_t ticks[AED_NET_LAYERS + 2];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    int first = 1;
    aed_start_clock();
    while (aed_read(from, in, sizeof in) == sizeof in) {
        aed_paint_stack();
        uint32_t start = aed_now();
        aed_net_run(in, out);
        ticks[AED_NET_LAYERS] = (aed_now() - start) & 0xFFFFFFu;
        ticks[AED_NET_LAYERS + 1] = aed_stack_depth();
        if (first) {
            first = 0;
            for (int layer = 0; layer < AED_NET_LAYERS; ++layer) {
                aed_start_clock(); /* anew: a layer may take all it can count */
                start = aed_now();
                aed_net_layer(layer, in, again);
                ticks[layer] = (aed_now() - start) & 0xFFFFFFu;
                if (aed_wrapped()) {
                    return 74;
                }
            }
            if (memcmp(out, again, sizeof out) != 0) {
                return 72;
            }
        }
        if (aed_write(to, out, sizeof out) || aed_write(to, ticks, sizeof ticks)) {
            return 73;
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
