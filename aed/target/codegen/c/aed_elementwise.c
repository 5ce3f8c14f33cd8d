/* Value by value. */
#include "aed_exact.h"

#include <math.h>

#include "aed_steps.h"
#include "aed_words.h"

#if !AED_MVE
#if AED_SMLAD
/* The end of a loop over words: four steps become one, which is stored. */
#define AED_STORE_4                                                                                                    \
    "bfi r4, r5, #8, #8\n"                                                                                             \
    "bfi r4, r6, #16, #8\n"                                                                                            \
    "bfi r4, r8, #24, #8\n"                                                                                            \
    "str r4, [%[out]], #4\n"                                                                                           \
    "cmp %[one], %[end]\n"                                                                                             \
    "bne 1b\n"

/* Sums of count values, a multiple of 4 and not 0. */
AED_ALONE void aed_add_words(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t count, float one_factor, float other_factor, float fixed) {
    const int8_t *const end = one + count;
    __asm volatile("1:\n"
                   "ldr r4, [%[one]], #4\n"
                   "ldr r8, [%[other]], #4\n"
                   "sxtb r5, r4, ror #8\n"
                   "sxtb r6, r4, ror #16\n"
                   "asr r9, r4, #24\n"
                   "sxtb r4, r4\n"
                   "vmov s0, s1, r4, r5\n"
                   "vmov s2, s3, r6, r9\n"
                   "sxtb r5, r8, ror #8\n"
                   "sxtb r6, r8, ror #16\n"
                   "asr r9, r8, #24\n"
                   "sxtb r8, r8\n"
                   "vmov s4, s5, r8, r5\n"
                   "vmov s6, s7, r6, r9\n"
                   "vcvt.f32.s32 s0, s0\n"
                   "vcvt.f32.s32 s1, s1\n"
                   "vcvt.f32.s32 s2, s2\n"
                   "vcvt.f32.s32 s3, s3\n"
                   "vcvt.f32.s32 s4, s4\n"
                   "vcvt.f32.s32 s5, s5\n"
                   "vcvt.f32.s32 s6, s6\n"
                   "vcvt.f32.s32 s7, s7\n"
                   "vmov.f32 s8, %[fixed]\n"
                   "vmov.f32 s9, %[fixed]\n"
                   "vmov.f32 s10, %[fixed]\n"
                   "vmov.f32 s11, %[fixed]\n"
                   "vfma.f32 s8, s4, %[other_factor]\n"
                   "vfma.f32 s9, s5, %[other_factor]\n"
                   "vfma.f32 s10, s6, %[other_factor]\n"
                   "vfma.f32 s11, s7, %[other_factor]\n"
                   "vfma.f32 s8, s0, %[one_factor]\n"
                   "vfma.f32 s9, s1, %[one_factor]\n"
                   "vfma.f32 s10, s2, %[one_factor]\n"
                   "vfma.f32 s11, s3, %[one_factor]\n"
                   "vcvtr.s32.f32 s8, s8\n"
                   "vcvtr.s32.f32 s9, s9\n"
                   "vcvtr.s32.f32 s10, s10\n"
                   "vcvtr.s32.f32 s11, s11\n"
                   "vmov r4, r5, s8, s9\n"
                   "vmov r6, r8, s10, s11\n"
                   "ssat r4, #8, r4\n"
                   "ssat r5, #8, r5\n"
                   "ssat r6, #8, r6\n"
                   "ssat r8, #8, r8\n"
                   AED_STORE_4
                   : [one] "+r"(one), [other] "+r"(other), [out] "+r"(out)
                   : [end] "r"(end), [one_factor] "t"(one_factor), [other_factor] "t"(other_factor), [fixed] "t"(fixed)
                   : "r4", "r5", "r6", "r8", "r9", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10",
                     "s11", "cc", "memory");
}
#elif AED_WASM
#include "aed_elementwise_wasm.h"
#endif

/* As ONNX Runtime's QLinearAdd on x86: fused multiply-adds, the zero point added before rounding. */
void aed_add(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float one_factor,
    float other_factor, int8_t one_zero, int8_t other_zero, int8_t out_zero) {
    const float zeros = fmaf(one_factor, (float)one_zero, other_factor * (float)other_zero);
    const float fixed = (float)out_zero - zeros;
    int32_t i = 0;
    while (i < size) {
        const int32_t end = i + period;
        int32_t j = 0;
#if AED_SMLAD || AED_WASM
        j = period / 4 * 4;
        if (j > 0) {
            aed_add_words(one + i, other, out + i, j, one_factor, other_factor, fixed);
            i += j;
        }
#endif
        for (; i < end; ++i, ++j) {
            const float value = fmaf((float)one[i], one_factor, fmaf((float)other[j], other_factor, fixed));
            out[i] = aed_saturate(aed_round(value));
        }
    }
}

/* As ONNX Runtime's QLinearMul: an exact product, the zero point added before rounding. */
void aed_multiply(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float factor, int8_t one_zero,
    int8_t other_zero, int8_t out_zero) {
    int32_t j = 0;
    for (int32_t i = 0; i < size; ++i) {
        const int32_t product = (one[i] - one_zero) * (other[j] - other_zero);
        out[i] = aed_saturate(aed_round(aed_real(product, factor) + (float)out_zero));
        if (++j == period) {
            j = 0;
        }
    }
}
#endif

#if !AED_MVE && !AED_WASM
#define AED_SUM_BITS 22     /* after the point of a sum */
#define AED_PRODUCT_BITS 20 /* and of a product */

/* one * other / 2^16, other of 16 bits. */
static inline int32_t aed_scaled(int32_t one, int32_t other) {
    return (int32_t)(((int64_t)one * other) >> 16);
}

#if AED_SMLAD
/* Sums of count values, a multiple of 4 and not 0: values as the upper bytes of halves. */
AED_ALONE void aed_add_whole_words(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t count, int32_t one_factor, int32_t other_factor, int32_t fixed) {
    const int8_t *const end = one + count;
    const uint32_t mask = 0xFF00FF00u;
    __asm volatile("1:\n"
                   "ldr r4, [%[one]], #4\n"
                   "ldr r5, [%[other]], #4\n"
                   "and r6, %[mask], r4, lsl #8\n"
                   "and r8, %[mask], r5, lsl #8\n"
                   "and r4, r4, %[mask]\n"
                   "and r5, r5, %[mask]\n"
                   "smlawb r9, %[one_factor], r6, %[fixed]\n"
                   "smlawt r6, %[one_factor], r6, %[fixed]\n"
                   "smlawb r9, %[other_factor], r8, r9\n"
                   "smlawt r6, %[other_factor], r8, r6\n"
                   "smlawb r8, %[one_factor], r4, %[fixed]\n"
                   "smlawt r4, %[one_factor], r4, %[fixed]\n"
                   "smlawb r8, %[other_factor], r5, r8\n"
                   "smlawt r4, %[other_factor], r5, r4\n"
                   "ssat r9, #8, r9, asr #22\n"
                   "ssat r8, #8, r8, asr #22\n"
                   "ssat r6, #8, r6, asr #22\n"
                   "ssat r4, #8, r4, asr #22\n"
                   "bfi r9, r8, #8, #8\n"
                   "bfi r9, r6, #16, #8\n"
                   "bfi r9, r4, #24, #8\n"
                   "str r9, [%[out]], #4\n"
                   "cmp %[one], %[end]\n"
                   "bne 1b\n"
                   : [one] "+r"(one), [other] "+r"(other), [out] "+r"(out)
                   : [end] "r"(end), [one_factor] "r"(one_factor), [other_factor] "r"(other_factor),
                     [fixed] "r"(fixed), [mask] "r"(mask)
                   : "r4", "r5", "r6", "r8", "r9", "cc", "memory");
}

/* Products of count values, a multiple of 4 and not 0, each with its own factor. */
AED_ALONE void aed_multiply_words(
    const int8_t *one, int8_t *out, int32_t count, const int32_t *factor, uint32_t zeros, int32_t fixed) {
    const int8_t *const end = one + count;
    __asm volatile("1:\n"
                   "ldr r9, [%[one]], #4\n"
                   "ldm %[factor]!, {r4, r5, r6, r8}\n"
                   "lsl r10, r9, #8\n"
                   "and r9, r9, #0xFF00FF00\n"
                   "and r10, r10, #0xFF00FF00\n"
                   "shsub16 r9, r9, %[zeros]\n"
                   "shsub16 r10, r10, %[zeros]\n"
                   "smlawb r4, r4, r10, %[fixed]\n"
                   "smlawt r6, r6, r10, %[fixed]\n"
                   "smlawb r5, r5, r9, %[fixed]\n"
                   "smlawt r8, r8, r9, %[fixed]\n"
                   "ssat r4, #8, r4, asr #20\n"
                   "ssat r5, #8, r5, asr #20\n"
                   "ssat r6, #8, r6, asr #20\n"
                   "ssat r8, #8, r8, asr #20\n"
                   AED_STORE_4
                   : [one] "+r"(one), [out] "+r"(out), [factor] "+r"(factor)
                   : [end] "r"(end), [zeros] "r"(zeros), [fixed] "r"(fixed)
                   : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");
}
#endif

void aed_add_whole(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, int32_t one_factor,
    int32_t other_factor, int32_t fixed) {
    for (; size > 0; size -= period) {
        int32_t j = 0;
#if AED_SMLAD
        j = period / 4 * 4;
        if (j > 0) {
            aed_add_whole_words(one, other, out, j, one_factor, other_factor, fixed);
        }
#endif
        for (; j < period; ++j) {
            const int32_t sum = fixed + aed_scaled(other_factor, other[j] * 256) + aed_scaled(one_factor, one[j] * 256);
            out[j] = aed_saturate(sum >> AED_SUM_BITS);
        }
        one += period;
        out += period;
    }
}

void aed_multiply_whole(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, int32_t factor, int32_t fixed,
    int8_t one_zero, int8_t other_zero, void *scratch) {
    int32_t i = 0;
    int32_t j = 0;
#if AED_SMLAD
    if (scratch != NULL && period % 4 == 0) {
        int32_t *const part = (int32_t *)scratch;
        for (j = 0; j < period; ++j) {
            part[j] = (int32_t)(((int64_t)(other[j] - other_zero) * factor) >> 8);
        }
        for (; i < size; i += period) {
            aed_multiply_words(one + i, out + i, period, part, (uint8_t)one_zero * 0x01000100u, fixed);
        }
        j = 0;
    }
#else
    (void)scratch;
#endif
    for (; i < size; ++i) {
        const int32_t part = (int32_t)(((int64_t)(other[j] - other_zero) * factor) >> 8);
        const int32_t product = fixed + aed_scaled(part, (one[i] - one_zero) * 128);
        out[i] = aed_saturate(product >> AED_PRODUCT_BITS);
        if (++j == period) {
            j = 0;
        }
    }
}
#endif

void aed_lookup(const int8_t *in, int8_t *out, int32_t size, const int8_t *table) {
    int32_t i = 0;
#if AED_SMLAD
    const uint8_t *const bytes = (const uint8_t *)table;
    for (; i + 4 <= size; i += 4) {
        const uint32_t at = aed_load(in + i) ^ 0x80808080u;
        const uint32_t low = bytes[at & 255u] | ((uint32_t)bytes[(at >> 8) & 255u] << 8);
        aed_store(out + i, low | ((uint32_t)bytes[(at >> 16) & 255u] << 16) | ((uint32_t)bytes[at >> 24] << 24));
    }
#endif
    for (; i < size; ++i) {
        out[i] = table[in[i] + 128];
    }
}

/* As ONNX Runtime's QLinearSoftmax. */
void aed_softmax(const int8_t *in, int8_t *out, int32_t size, const float *table, float steps, int8_t out_zero) {
    int8_t most = in[0];
    float sum = 0.0f;
    for (int32_t i = 1; i < size; ++i) {
        most = in[i] > most ? in[i] : most;
    }
    for (int32_t i = 0; i < size; ++i) {
        sum += table[most - in[i]];
    }
    for (int32_t i = 0; i < size; ++i) {
        out[i] = aed_saturate(aed_round(table[most - in[i]] * steps / sum) + out_zero);
    }
}

void aed_requantise(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t out_stride, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t c = 0; c < channels; ++c) {
            out[c] = aed_change(in[c], in_scale, out_scale, in_zero, out_zero);
        }
        in += channels;
        out += out_stride;
    }
}
