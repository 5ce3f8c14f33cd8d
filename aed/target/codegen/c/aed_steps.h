/* From sums to steps: what every kernel ends with. */
#ifndef AED_STEPS_H
#define AED_STEPS_H

#include "aed_exact.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "aed_kernels.h"

/* Of one text the compiler makes two functions, with a HardSwish and without. */
#if defined(__GNUC__)
#define AED_INLINE static inline __attribute__((always_inline))
#else
#define AED_INLINE static inline
#endif
#define AED_SWISH_ROW(name, of)                                                                                        \
    void name(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {                              \
        const aed_swish_t *const swish = (const aed_swish_t *)layer;                                                   \
        of(rows, out, swish->layer, scratch, &swish->slope);                                                           \
    }
#define AED_BOTH_ROWS(name, swish_name, of)                                                                            \
    void name(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {                              \
        of(rows, out, layer, scratch, NULL);                                                                           \
    }                                                                                                                  \
    AED_SWISH_ROW(swish_name, of)

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

/* A value of steps, rounded before anything is added. */
static inline float aed_real(int32_t steps, float scale) {
    float real = scale * (float)steps;
    AED_ROUNDED(real);
    return real;
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

/* On cores with SMLAD a factor m below 0 stands for the step (zero + 1/2) - sum * m / 2^32 where both have AED_STEP_BITS
 * bits after the point, rounded down: the generator has found one that gives every step that the float gives. It is for
 * assembly; kernels in C get the bits of floats. */
#define AED_STEP_BITS 2

static inline float aed_factor(const aed_factor_t *from) {
    float factor;
    memcpy(&factor, from, sizeof factor);
    return factor;
}

static inline int8_t aed_step(int32_t sum, float factor, int32_t zero) {
    return aed_saturate(aed_round((float)sum * factor) + zero);
}

/* The step of a sum's HardSwish; see aed_swish_t. */
static inline int8_t aed_swish_step(int32_t sum, float factor, float slope, int32_t zero) {
    const float half = (float)sum * factor;
    float gate = half * slope;
    int32_t bits;
    AED_ROUNDED(gate);
    gate += 1.0f;
    memcpy(&bits, &gate, sizeof bits);
#if AED_SMLAD || AED_MVE
    __asm("usat %0, #30, %1" : "=r"(bits) : "r"(bits));
#else
    bits = bits < 0 ? 0 : bits > 0x3FFFFFFF ? 0x3FFFFFFF : bits;
#endif
    memcpy(&gate, &bits, sizeof gate);
    return aed_saturate(aed_round(half * gate) + zero);
}

/* slope: of a HardSwish; NULL: there is none. */
AED_INLINE int8_t aed_step_of(int32_t sum, float factor, const float *slope, int32_t zero) {
    return slope == NULL ? aed_step(sum, factor, zero) : aed_swish_step(sum, factor, *slope, zero);
}

/* A step of one scale as one of another, by way of its real value. */
static inline int8_t aed_change(int32_t step, float in_scale, float out_scale, int32_t in_zero, int32_t out_zero) {
    return aed_saturate(aed_round(in_scale * (float)(step - in_zero) / out_scale) + out_zero);
}

static inline int aed_same_scale(const aed_pool_t *layer) {
    return layer->in_scale == layer->out_scale && layer->window.in_zero == layer->window.out_zero;
}

#endif
