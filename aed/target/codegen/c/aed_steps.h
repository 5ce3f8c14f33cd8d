/* From sums to steps: what every kernel ends with. */
#ifndef AED_STEPS_H
#define AED_STEPS_H

#include <math.h>
#include <string.h>

#include "aed_kernels.h"

static inline int32_t aed_round(float value) {
#if defined(__ARM_FP) && (__ARM_FP & 4) && !defined(__aarch64__)
    int32_t rounded;
    float bits;
    /* rounds as the FPU is set: half to even after reset; saturates */
    __asm("vcvtr.s32.f32 %0, %1" : "=t"(bits) : "t"(value));
    memcpy(&rounded, &bits, sizeof rounded);
    return rounded;
#else
    if (value >= 1e6f) {
        return 1000000;
    }
    return value <= -1e6f ? -1000000 : (int32_t)rintf(value);
#endif
}

static inline int8_t aed_saturate(int32_t value) {
#if AED_SMLAD || AED_MVE
    int32_t saturated;
    __asm("ssat %0, #8, %1" : "=r"(saturated) : "r"(value));
    return (int8_t)saturated;
#else
    if (value > 127) {
        return 127;
    }
    return value < -128 ? (int8_t)-128 : (int8_t)value;
#endif
}

static inline int8_t aed_step(int32_t sum, float factor, int32_t zero) {
    return aed_saturate(aed_round((float)sum * factor) + zero);
}

/* A step of one scale as one of another, by way of its real value. */
static inline int8_t aed_change(int32_t step, float in_scale, float out_scale, int32_t in_zero, int32_t out_zero) {
    return aed_saturate(aed_round(in_scale * (float)(step - in_zero) / out_scale) + out_zero);
}

static inline int aed_same_scale(const aed_pool_t *layer) {
    return layer->in_scale == layer->out_scale && layer->window.in_zero == layer->window.out_zero;
}

#endif
