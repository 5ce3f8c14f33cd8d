/* Sums and products value by value, with MVE. */
#include "aed_exact.h"

#include "aed_kernels.h"

#if AED_MVE
#include <math.h>

#include "aed_mve.h"

#define AED_REPEATED 64 /* a second input of at most half as many values is written out before */

/* As ONNX Runtime's QLinearAdd on x86: fused multiply-adds, the zero point added before rounding. */
static void aed_add_values(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, float one_factor, float other_factor,
    float fixed) {
#if AED_ASSEMBLY
    __asm volatile("vdup.32 q2, %[other_factor]\n"
                   "wlstp.32 lr, %[size], 2f\n"
                   "1:\n"
                   "vldrb.s32 q1, [%[other]], #4\n"
                   "vldrb.s32 q0, [%[one]], #4\n"
                   "vcvt.f32.s32 q1, q1\n"
                   "vcvt.f32.s32 q0, q0\n"
                   "vfmas.f32 q1, q2, %[fixed]\n"
                   "vfma.f32 q1, q0, %[one_factor]\n"
                   "vcvtn.s32.f32 q1, q1\n"
                   "vqmovnb.s32 q1, q1\n"
                   "vqmovnb.s16 q1, q1\n"
                   "vstrb.32 q1, [%[out]], #4\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [one] "+l"(one), [other] "+l"(other), [out] "+l"(out)
                   : [size] "r"(size), [one_factor] "r"(one_factor), [other_factor] "r"(other_factor), [fixed] "r"(fixed)
                   : "lr", "q0", "q1", "q2", "memory");
#else
    for (int32_t i = 0; i < size; i += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(size - i));
        float32x4_t value = vcvtq_f32_s32(vldrbq_z_s32(other + i, there));
        value = vfmasq_n_f32(value, vdupq_n_f32(other_factor), fixed);
        value = vfmaq_n_f32(value, vcvtq_f32_s32(vldrbq_z_s32(one + i, there)), one_factor);
        aed_four_steps(vcvtnq_s32_f32(value), out + i, there);
    }
#endif
}

/* As ONNX Runtime's QLinearMul: an exact product, the zero point added before rounding. */
static void aed_multiply_values(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, float factor, int32_t one_zero,
    int32_t other_zero, float zero) {
#if AED_ASSEMBLY
    __asm volatile("wlstp.32 lr, %[size], 2f\n"
                   "1:\n"
                   "vldrb.s32 q1, [%[other]], #4\n"
                   "vldrb.s32 q0, [%[one]], #4\n"
                   "vsub.i32 q1, q1, %[other_zero]\n"
                   "vsub.i32 q0, q0, %[one_zero]\n"
                   "vmul.i32 q0, q0, q1\n"
                   "vcvt.f32.s32 q0, q0\n"
                   "vmul.f32 q0, q0, %[factor]\n"
                   "vadd.f32 q0, q0, %[zero]\n"
                   "vcvtn.s32.f32 q0, q0\n"
                   "vqmovnb.s32 q0, q0\n"
                   "vqmovnb.s16 q0, q0\n"
                   "vstrb.32 q0, [%[out]], #4\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [one] "+l"(one), [other] "+l"(other), [out] "+l"(out)
                   : [size] "r"(size), [factor] "r"(factor), [one_zero] "r"(one_zero), [other_zero] "r"(other_zero),
                     [zero] "r"(zero)
                   : "lr", "q0", "q1", "memory");
#else
    for (int32_t i = 0; i < size; i += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(size - i));
        const int32x4_t left = vsubq_n_s32(vldrbq_z_s32(one + i, there), one_zero);
        const int32x4_t right = vsubq_n_s32(vldrbq_z_s32(other + i, there), other_zero);
        const float32x4_t value = vmulq_n_f32(vcvtq_f32_s32(vmulq_s32(left, right)), factor);
        aed_four_steps(vcvtnq_s32_f32(vaddq_n_f32(value, zero)), out + i, there);
    }
#endif
}

/* A short second input, which comes again and again, becomes repeated: as often as it fits, if at least twice. Returns
 * the values until it comes again. */
static int32_t aed_repeat(const int8_t **other, int32_t period, int32_t size, int8_t repeated[AED_REPEATED]) {
    if (2 * period > AED_REPEATED || period >= size) {
        return period;
    }
    const int32_t whole = AED_REPEATED / period * period;
    for (int32_t i = 0; i < whole; ++i) {
        repeated[i] = i < period ? (*other)[i] : repeated[i - period];
    }
    *other = repeated;
    return whole;
}

void aed_add(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float one_factor,
    float other_factor, int8_t one_zero, int8_t other_zero, int8_t out_zero) {
    const float zeros = fmaf(one_factor, (float)one_zero, other_factor * (float)other_zero);
    const float fixed = (float)out_zero - zeros;
    int8_t repeated[AED_REPEATED];
    period = aed_repeat(&other, period, size, repeated);
    for (; size > 0; size -= period) {
        const int32_t count = size < period ? size : period;
        aed_add_values(one, other, out, count, one_factor, other_factor, fixed);
        one += count;
        out += count;
    }
}

void aed_multiply(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float factor, int8_t one_zero,
    int8_t other_zero, int8_t out_zero) {
    int8_t repeated[AED_REPEATED];
    period = aed_repeat(&other, period, size, repeated);
    for (; size > 0; size -= period) {
        const int32_t count = size < period ? size : period;
        aed_multiply_values(one, other, out, count, factor, one_zero, other_zero, (float)out_zero);
        one += count;
        out += count;
    }
}
#endif
