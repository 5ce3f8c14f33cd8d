#include "sampler.h"

static aed_samples samples;
static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;

void aed_systick(void);
void aed_sample(const uint32_t *frame);

/* The stacked registers are r0-r3, r12, lr, pc, xpsr, whether or not those of the FPU follow. */
void aed_sample(const uint32_t *frame) {
    if (samples.count < AED_SAMPLES) {
        samples.address[samples.count] = frame[6];
        ++samples.count;
    }
}

__attribute__((naked)) void aed_systick(void) {
    __asm volatile("mov r0, sp\n"
                   "b aed_sample");
}

void aed_sample_every(uint32_t ticks) {
    systick[0] = 0u;
    if (ticks > 0u) {
        systick[1] = ticks - 1u;
        systick[2] = 0u;
        systick[0] = 7u;
    }
}

const aed_samples *aed_sampled(void) {
    return &samples;
}
