/* Runs a net over the inputs of a file; writes outputs, ticks of every layer and the depth of the stack. */
#include <stdint.h>
#include <string.h>

#include "aed_net.h"
#include "semihost.h"

extern uint32_t aed_stack_top;
extern uint32_t aed_stack_bottom;

#define PAINT 0xA5A5A5A5u

static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;

static uint32_t now(void) {
    return 0xFFFFFFu - systick[2];
}

static void start_clock(void) {
    systick[1] = 0xFFFFFFu;
    systick[2] = 0u;
    systick[0] = 5u;
}

/* Everything under this function's frame is painted; what is found unpainted later was used. */
static void __attribute__((noinline)) paint(void) {
    const uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    /* volatile: as a call of memset it would paint over that call's own frame */
    for (volatile uint32_t *word = &aed_stack_bottom; word < here; ++word) {
        *word = PAINT;
    }
}

static uint32_t __attribute__((noinline)) depth(void) {
    const uint32_t *word = &aed_stack_bottom;
    while (*word == PAINT) {
        ++word;
    }
    return (uint32_t)((const char *)&aed_stack_top - (const char *)word);
}

int main(void) {
    static int8_t in[AED_NET_INPUT_SIZE];
    static int8_t out[AED_NET_OUTPUT_SIZE];
    static uint32_t ticks[AED_NET_LAYERS + 1];
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    if (from < 0 || to < 0) {
        return 71;
    }
    start_clock();
    paint();
    while (aed_read(from, in, sizeof in) == sizeof in) {
        uint32_t start = now();
        aed_net_run(in, out);
        ticks[AED_NET_LAYERS] = (now() - start) & 0xFFFFFFu;
        const uint32_t used = depth();
        int8_t again[AED_NET_OUTPUT_SIZE];
        for (int layer = 0; layer < AED_NET_LAYERS; ++layer) {
            start = now();
            aed_net_layer(layer, in, again);
            ticks[layer] = (now() - start) & 0xFFFFFFu;
        }
        if (memcmp(out, again, sizeof out) != 0) {
            return 72;
        }
        if (aed_write(to, out, sizeof out) || aed_write(to, ticks, sizeof ticks) || aed_write(to, &used, sizeof used)) {
            return 73;
        }
    }
    aed_close(from);
    aed_close(to);
    return 0;
}
