#include "probe.h"

extern uint32_t aed_stack_top;
extern uint32_t aed_stack_bottom;

#define PAINT 0xA5A5A5A5u

static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;

void aed_start_clock(void) {
    systick[1] = 0xFFFFFFu;
    systick[2] = 0u;
    systick[0] = 5u;
}

uint32_t aed_now(void) {
    return 0xFFFFFFu - systick[2];
}

int aed_wrapped(void) {
    return (systick[0] & 0x10000u) != 0u; /* COUNTFLAG, which a write to the counter clears */
}

void aed_paint_stack(void) {
    const uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    here -= 16; /* for words that this function itself may push after that */
    /* volatile: as a call of memset it would paint over that call's own frame */
    for (volatile uint32_t *word = &aed_stack_bottom; word < here; ++word) {
        *word = PAINT;
    }
}

uint32_t aed_stack_depth(void) {
    const uint32_t *word = &aed_stack_bottom;
    while (*word == PAINT) {
        ++word;
    }
    return (uint32_t)((const char *)&aed_stack_top - (const char *)word);
}
