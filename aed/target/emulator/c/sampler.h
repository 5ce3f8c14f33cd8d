/* Where the time goes: at a fixed number of ticks, the address that is being executed. */
#ifndef AED_SAMPLER_H
#define AED_SAMPLER_H

#include <stdint.h>

#define AED_SAMPLES 1024

typedef struct {
    uint32_t count;
    uint32_t address[AED_SAMPLES];
} aed_samples;

void aed_sample_every(uint32_t ticks); /* starts; 0 stops */
const aed_samples *aed_sampled(void);

#endif
