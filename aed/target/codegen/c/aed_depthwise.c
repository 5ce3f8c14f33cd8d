/* Convolutions of each channel alone. */
#include "aed_kernels.h"

#if !AED_MVE
#include <stddef.h>
#include <string.h>

#include "aed_steps.h"

#if AED_SMLAD
#define AED_TAP                                                                                                        \
    "ldr %[x], [%[tap]], #4\n"                                                                                         \
    "ldr %[w], [%[weight]], #4\n"                                                                                      \
    "ldr %[x], [%[x], %[o]]\n"                                                                                         \
    "sxtb16 %[v], %[w]\n"                                                                                              \
    "sxtb16 %[w], %[w], ror #8\n"                                                                                      \
    "sxtb16 %[u], %[x]\n"                                                                                              \
    "sxtb16 %[x], %[x], ror #8\n"                                                                                      \
    "smlabb %[s0], %[u], %[v], %[s0]\n"                                                                                \
    "smlabb %[s1], %[x], %[w], %[s1]\n"                                                                                \
    "smlatt %[s2], %[u], %[v], %[s2]\n"                                                                                \
    "smlatt %[s3], %[x], %[w], %[s3]\n"
#define AED_TAP_OPERANDS                                                                                               \
    : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [tap] "+r"(tap), [weight] "+r"(weight),              \
      [x] "=&r"(x), [w] "=&r"(w), [u] "=&r"(u), [v] "=&r"(v)                                                           \
    : [o] "r"(o)                                                                                                       \
    : "memory"
#endif

/* Four channels of one pixel, from the o-th on. */
static inline void aed_quad_step(
    const int8_t **tap, int32_t o, const int8_t *weight, int32_t taps, const aed_depthwise_t *layer, int8_t *out) {
    const float *const factor = layer->factor + o;
    const int32_t zero = layer->window.out_zero;
    int32_t s0 = layer->bias[o];
    int32_t s1 = layer->bias[o + 1];
    int32_t s2 = layer->bias[o + 2];
    int32_t s3 = layer->bias[o + 3];
#if AED_SMLAD
    uint32_t x;
    uint32_t w;
    uint32_t u;
    uint32_t v;
    for (; taps >= 3; taps -= 3) {
        __asm volatile(AED_TAP AED_TAP AED_TAP AED_TAP_OPERANDS);
    }
    for (; taps > 0; --taps) {
        __asm volatile(AED_TAP AED_TAP_OPERANDS);
    }
#else
    for (int32_t t = 0; t < taps; ++t) {
        s0 += tap[t][o] * weight[4 * t];
        s1 += tap[t][o + 1] * weight[4 * t + 1];
        s2 += tap[t][o + 2] * weight[4 * t + 2];
        s3 += tap[t][o + 3] * weight[4 * t + 3];
    }
#endif
    out[0] = aed_step(s0, factor[0], zero);
    out[1] = aed_step(s1, factor[1], zero);
    out[2] = aed_step(s2, factor[2], zero);
    out[3] = aed_step(s3, factor[3], zero);
}

void aed_depthwise_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t taps = window->k_h * window->k_w;
    const int32_t depth = window->in_c;
    const int32_t outputs = window->out_c;
    const int32_t multiplier = outputs / depth;
    const int8_t **tap = (const int8_t **)scratch;
    int8_t *outside = (int8_t *)(tap + taps);
    memset(outside, window->in_zero, (size_t)depth);
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        int32_t t = 0;
        for (int32_t i = 0; i < window->k_h; ++i) {
            for (int32_t j = 0; j < window->k_w; ++j) {
                const int32_t x = left + j * window->dilation_w;
                tap[t++] = rows[i] != NULL && x >= 0 && x < window->in_w ? rows[i] + x * depth : outside;
            }
        }
        const int8_t *weight = (const int8_t *)depthwise->weight;
        for (int32_t o = 0; o < outputs; o += 4) {
            if (multiplier == 1 && o + 4 <= outputs) {
                aed_quad_step(tap, o, weight, taps, depthwise, out + o);
            } else {
                const int32_t count = outputs - o < 4 ? outputs - o : 4;
                for (int32_t j = 0; j < count; ++j) {
                    int32_t sum = depthwise->bias[o + j];
                    for (t = 0; t < taps; ++t) {
                        sum += tap[t][(o + j) / multiplier] * weight[4 * t + j];
                    }
                    out[o + j] = aed_step(sum, depthwise->factor[o + j], window->out_zero);
                }
            }
            weight += 4 * taps;
        }
        out += outputs;
    }
}
#endif
