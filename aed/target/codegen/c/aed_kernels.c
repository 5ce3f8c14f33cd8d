#include "aed_kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(AED_PORTABLE)
#define AED_MVE 1
#define AED_SMLAD 0
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__thumb2__) && defined(__OPTIMIZE__) && \
    !defined(AED_PORTABLE)
/* the assembly takes 14 registers; without optimisation there are fewer */
#define AED_MVE 0
#define AED_SMLAD 1
#else
#define AED_MVE 0
#define AED_SMLAD 0
#endif

/* ---- one sum to one step ------------------------------------------------------------------------------------- */

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

#if AED_MVE
/* Four sums to four steps. */
static inline void aed_steps(int32x4_t sum, const float *factor, int32_t zero, int8_t *out) {
    const float32x4_t value = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(factor));
    int32x4_t step = vqaddq_n_s32(vcvtnq_s32_f32(value), zero);
    step = vmaxq_s32(vminq_s32(step, vdupq_n_s32(127)), vdupq_n_s32(-128));
    vstrbq_s32(out, step);
}
#endif

#if !AED_MVE
/* ---- dot products of int8 weights and unpacked inputs -------------------------------------------------------- */

/* Inputs of two pixels are unpacked to int16 side by side, four of the one and four of the other, each four in the
 * order 0, 2, 1, 3: as SXTB16 unpacks a word of weights. */
#define AED_PAIR 8

/* Unpacks count values of one pixel; fills up with 0 to a multiple of 4. */
static void aed_unpack(const int8_t *in, int16_t *out, int32_t count) {
    int32_t i = 0;
    for (; i + 4 <= count; i += 4) {
#if AED_SMLAD
        uint32_t word;
        uint32_t even;
        uint32_t odd;
        memcpy(&word, in + i, sizeof word);
        __asm("sxtb16 %0, %1" : "=r"(even) : "r"(word));
        __asm("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
        memcpy(out, &even, sizeof even);
        memcpy(out + 2, &odd, sizeof odd);
#else
        out[0] = in[i];
        out[1] = in[i + 2];
        out[2] = in[i + 1];
        out[3] = in[i + 3];
#endif
        out += AED_PAIR;
    }
    if (i < count) {
        int8_t last[4] = {0, 0, 0, 0};
        memcpy(last, in + i, (size_t)(count - i));
        out[0] = last[0];
        out[1] = last[2];
        out[2] = last[1];
        out[3] = last[3];
    }
}

#if AED_SMLAD
/* Four values of two pixels against four weights of two rows: 16 products in 16 instructions. */
#define AED_QUAD                                                                                                       \
    "ldrd %[a], %[b], [%[x]], #8\n"                                                                                    \
    "ldrd %[c], %[d], [%[x]], #8\n"                                                                                    \
    "ldr %[t], [%[w0]], #4\n"                                                                                          \
    "sxtb16 %[u], %[t]\n"                                                                                              \
    "sxtb16 %[t], %[t], ror #8\n"                                                                                      \
    "smlad %[s00], %[a], %[u], %[s00]\n"                                                                               \
    "smlad %[s10], %[c], %[u], %[s10]\n"                                                                               \
    "smlad %[s00], %[b], %[t], %[s00]\n"                                                                               \
    "smlad %[s10], %[d], %[t], %[s10]\n"                                                                               \
    "ldr %[t], [%[w1]], #4\n"                                                                                          \
    "sxtb16 %[u], %[t]\n"                                                                                              \
    "sxtb16 %[t], %[t], ror #8\n"                                                                                      \
    "smlad %[s01], %[a], %[u], %[s01]\n"                                                                               \
    "smlad %[s11], %[c], %[u], %[s11]\n"                                                                               \
    "smlad %[s01], %[b], %[t], %[s01]\n"                                                                               \
    "smlad %[s11], %[d], %[t], %[s11]\n"
#endif

/* Adds the products of two rows of weights, k values each, with two unpacked pixels to the sums: row 0 and 1
 * with pixel 0, row 0 and 1 with pixel 1. k is a multiple of 16. */
static inline void aed_dot_2x2(
    const int8_t *row0, const int8_t *row1, const int16_t *x, int32_t k, int32_t *sum00, int32_t *sum01, int32_t *sum10,
    int32_t *sum11) {
    int32_t s00 = *sum00;
    int32_t s01 = *sum01;
    int32_t s10 = *sum10;
    int32_t s11 = *sum11;
#if AED_SMLAD
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
    uint32_t t;
    uint32_t u;
    /* in one piece: it takes all 14 registers, and a compiler that schedules it spills some */
    __asm volatile("1:\n" AED_QUAD AED_QUAD AED_QUAD AED_QUAD "subs %[k], %[k], #16\n"
                   "bgt 1b\n"
                   : [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11), [w0] "+r"(row0),
                     [w1] "+r"(row1), [x] "+r"(x), [k] "+r"(k), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d),
                     [t] "=&r"(t), [u] "=&r"(u)
                   :
                   : "cc", "memory");
#else
    for (int32_t i = 0; i < k; i += 4) {
        static const int32_t place[4] = {0, 2, 1, 3};
        for (int32_t j = 0; j < 4; ++j) {
            const int32_t a = row0[i + place[j]];
            const int32_t b = row1[i + place[j]];
            s00 += x[j] * a;
            s01 += x[j] * b;
            s10 += x[4 + j] * a;
            s11 += x[4 + j] * b;
        }
        x += AED_PAIR;
    }
#endif
    *sum00 = s00;
    *sum01 = s01;
    *sum10 = s10;
    *sum11 = s11;
}

/* ---- convolutions -------------------------------------------------------------------------------------------- */

/* Unpacks the inputs of one output pixel; the input's zero point stands where the kernel looks outside. */
static void aed_gather(const int8_t *in, const aed_conv_t *layer, int32_t row, int32_t column, int16_t *out) {
    const int32_t depth = layer->in_c;
    const int32_t top = row * layer->stride_h - layer->pad_top;
    const int32_t left = column * layer->stride_w - layer->pad_left;
    int8_t quad[4];
    int32_t held = 0;
    if (layer->k_h == 1 && layer->k_w == 1 && top >= 0 && top < layer->in_h && left >= 0 && left < layer->in_w) {
        aed_unpack(in + (top * layer->in_w + left) * depth, out, depth);
        return;
    }
    for (int32_t i = 0; i < layer->k_h; ++i) {
        const int32_t y = top + i * layer->dilation_h;
        for (int32_t j = 0; j < layer->k_w; ++j) {
            const int32_t x = left + j * layer->dilation_w;
            const int inside = y >= 0 && y < layer->in_h && x >= 0 && x < layer->in_w;
            const int8_t *pixel = inside ? in + (y * layer->in_w + x) * depth : NULL;
            for (int32_t c = 0; c < depth; ++c) {
                quad[held] = inside ? pixel[c] : layer->in_zero;
                ++held;
                if (held == 4) {
                    aed_unpack(quad, out, 4);
                    out += AED_PAIR;
                    held = 0;
                }
            }
        }
    }
    if (held > 0) {
        aed_unpack(quad, out, held);
    }
}

void aed_conv(const int8_t *in, int8_t *out, const aed_conv_t *layer, void *scratch) {
    const int32_t k = (layer->k_h * layer->k_w * layer->in_c + 15) / 16 * 16;
    const int32_t pixels = layer->out_h * layer->out_w;
    const int32_t outputs = layer->out_c;
    int16_t *x = (int16_t *)scratch;
    int32_t row = 0;
    int32_t column = 0;
    const int32_t zero = layer->out_zero;
    memset(x, 0, (size_t)k * 4u); /* values past the last one stay 0 */
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        const int32_t both = pixel + 1 < pixels;
        aed_gather(in, layer, row, column, x);
        if (++column == layer->out_w) {
            column = 0;
            ++row;
        }
        if (both) {
            aed_gather(in, layer, row, column, x + 4);
            if (++column == layer->out_w) {
                column = 0;
                ++row;
            }
        }
        int8_t *y0 = out + pixel * outputs;
        int8_t *y1 = both ? y0 + outputs : y0; /* a last pixel alone is written twice, the right one last */
        const int8_t *weight = layer->weight;
        const int32_t *bias = layer->bias;
        const float *factor = layer->factor;
        for (int32_t pair = outputs / 2; pair > 0; --pair) {
            int32_t s00 = bias[0];
            int32_t s01 = bias[1];
            int32_t s10 = s00;
            int32_t s11 = s01;
            aed_dot_2x2(weight, weight + k, x, k, &s00, &s01, &s10, &s11);
            weight += 2 * k;
            bias += 2;
            y1[0] = aed_step(s10, factor[0], zero);
            y1[1] = aed_step(s11, factor[1], zero);
            y0[0] = aed_step(s00, factor[0], zero);
            y0[1] = aed_step(s01, factor[1], zero);
            factor += 2;
            y0 += 2;
            y1 += 2;
        }
        if (outputs % 2 != 0) {
            int32_t s00 = bias[0];
            int32_t s10 = s00;
            int32_t ignored0 = 0;
            int32_t ignored1 = 0;
            aed_dot_2x2(weight, weight, x, k, &s00, &ignored0, &s10, &ignored1);
            y1[0] = aed_step(s10, factor[0], zero);
            y0[0] = aed_step(s00, factor[0], zero);
        }
    }
}

#else /* AED_MVE */

/* Copies the inputs of one output pixel; the input's zero point stands where the kernel looks outside. */
static void aed_gather(const int8_t *in, const aed_conv_t *layer, int32_t row, int32_t column, int8_t *out) {
    const int32_t depth = layer->in_c;
    const int32_t top = row * layer->stride_h - layer->pad_top;
    const int32_t left = column * layer->stride_w - layer->pad_left;
    for (int32_t i = 0; i < layer->k_h; ++i) {
        const int32_t y = top + i * layer->dilation_h;
        for (int32_t j = 0; j < layer->k_w; ++j) {
            const int32_t x = left + j * layer->dilation_w;
            const int inside = y >= 0 && y < layer->in_h && x >= 0 && x < layer->in_w;
            const int8_t *pixel = in + (inside ? (y * layer->in_w + x) * depth : 0);
            if (depth == 1) {
                *out = inside ? *pixel : layer->in_zero;
            } else if (inside) {
                memcpy(out, pixel, (size_t)depth);
            } else {
                memset(out, layer->in_zero, (size_t)depth);
            }
            out += depth;
        }
    }
}

/* The sum of one row of weights, k values, and one pixel; k is a multiple of 16. */
static inline int32_t aed_dot(const int8_t *weight, const int8_t *x, int32_t k, int32_t sum) {
    for (; k > 0; k -= 16) {
        sum = vmladavaq_s8(sum, vld1q_s8(x), vld1q_s8(weight));
        x += 16;
        weight += 16;
    }
    return sum;
}

void aed_conv(const int8_t *in, int8_t *out, const aed_conv_t *layer, void *scratch) {
    const int32_t k = (layer->k_h * layer->k_w * layer->in_c + 15) / 16 * 16;
    const int32_t outputs = layer->out_c;
    const int32_t zero = layer->out_zero;
    int8_t *const x = (int8_t *)scratch;
    memset(x, 0, (size_t)k); /* values past the last one stay 0 */
    for (int32_t row = 0; row < layer->out_h; ++row) {
        for (int32_t column = 0; column < layer->out_w; ++column) {
            aed_gather(in, layer, row, column, x);
            const int8_t *weight = layer->weight;
            int32_t o = 0;
            for (; o + 4 <= outputs; o += 4) {
                int32_t s0 = layer->bias[o];
                int32_t s1 = layer->bias[o + 1];
                int32_t s2 = layer->bias[o + 2];
                int32_t s3 = layer->bias[o + 3];
                for (int32_t i = 0; i < k; i += 16) {
                    const int8x16_t part = vld1q_s8(x + i);
                    s0 = vmladavaq_s8(s0, part, vld1q_s8(weight));
                    s1 = vmladavaq_s8(s1, part, vld1q_s8(weight + k));
                    s2 = vmladavaq_s8(s2, part, vld1q_s8(weight + 2 * k));
                    s3 = vmladavaq_s8(s3, part, vld1q_s8(weight + 3 * k));
                    weight += 16;
                }
                weight += 3 * k;
                int32x4_t sum = vdupq_n_s32(s0);
                sum = vsetq_lane_s32(s1, sum, 1);
                sum = vsetq_lane_s32(s2, sum, 2);
                sum = vsetq_lane_s32(s3, sum, 3);
                aed_steps(sum, layer->factor + o, zero, out + o);
            }
            for (; o < outputs; ++o) {
                out[o] = aed_step(aed_dot(weight, x, k, layer->bias[o]), layer->factor[o], zero);
                weight += k;
            }
            out += outputs;
        }
    }
}
#endif

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
    const int32_t zero = layer->out_zero;
#if AED_MVE
    int32x4_t sum = vld1q_s32(layer->bias + o);
    for (int32_t t = 0; t < taps; ++t) {
        sum = vaddq_s32(sum, vmulq_s32(vldrbq_s32(tap[t] + o), vldrbq_s32(weight)));
        weight += 4;
    }
    aed_steps(sum, factor, zero, out);
#else
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
#endif
}

void aed_depthwise(const int8_t *in, int8_t *out, const aed_depthwise_t *layer, void *scratch) {
    const int32_t taps = layer->k_h * layer->k_w;
    const int32_t depth = layer->in_c;
    const int32_t outputs = layer->out_c;
    const int32_t multiplier = outputs / depth;
    const int8_t **tap = (const int8_t **)scratch;
    int8_t *outside = (int8_t *)(tap + taps);
    memset(outside, layer->in_zero, (size_t)depth);
    for (int32_t row = 0; row < layer->out_h; ++row) {
        for (int32_t column = 0; column < layer->out_w; ++column) {
            const int32_t top = row * layer->stride_h - layer->pad_top;
            const int32_t left = column * layer->stride_w - layer->pad_left;
            int32_t t = 0;
            for (int32_t i = 0; i < layer->k_h; ++i) {
                const int32_t y = top + i * layer->dilation_h;
                for (int32_t j = 0; j < layer->k_w; ++j) {
                    const int32_t x = left + j * layer->dilation_w;
                    const int inside = y >= 0 && y < layer->in_h && x >= 0 && x < layer->in_w;
                    tap[t++] = inside ? in + (y * layer->in_w + x) * depth : outside;
                }
            }
            int32_t o = 0;
            const int8_t *weight = layer->weight;
            for (; o < outputs; o += 4) {
                if (multiplier == 1 && o + 4 <= outputs) {
                    aed_quad_step(tap, o, weight, taps, layer, out + o);
                } else {
                    const int32_t count = outputs - o < 4 ? outputs - o : 4;
                    for (int32_t j = 0; j < count; ++j) {
                        int32_t sum = layer->bias[o + j];
                        for (t = 0; t < taps; ++t) {
                            sum += tap[t][(o + j) / multiplier] * weight[4 * t + j];
                        }
                        out[o + j] = aed_step(sum, layer->factor[o + j], layer->out_zero);
                    }
                }
                weight += 4 * taps;
            }
            out += outputs;
        }
    }
}

/* ---- pooling ------------------------------------------------------------------------------------------------- */

void aed_max_pool(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale) {
    const int same = in_scale == out_scale && layer->in_zero == layer->out_zero;
    for (int32_t row = 0; row < layer->out_h; ++row) {
        for (int32_t column = 0; column < layer->out_w; ++column) {
            for (int32_t c = 0; c < layer->channels; ++c) {
                int8_t most = -128;
                for (int32_t i = 0; i < layer->k_h; ++i) {
                    const int32_t y = row * layer->stride_h - layer->pad_top + i * layer->dilation_h;
                    for (int32_t j = 0; j < layer->k_w; ++j) {
                        const int32_t x = column * layer->stride_w - layer->pad_left + j * layer->dilation_w;
                        if (y >= 0 && y < layer->in_h && x >= 0 && x < layer->in_w) {
                            const int8_t value = in[(y * layer->in_w + x) * layer->channels + c];
                            most = value > most ? value : most;
                        }
                    }
                }
                *out++ = same ? most : aed_change(most, in_scale, out_scale, layer->in_zero, layer->out_zero);
            }
        }
    }
}

/* As ONNX Runtime's QLinearAveragePool: the mean of real values, then steps. */
void aed_average_pool(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale) {
    const float count = (float)(layer->k_h * layer->k_w);
    for (int32_t row = 0; row < layer->out_h; ++row) {
        for (int32_t column = 0; column < layer->out_w; ++column) {
            for (int32_t c = 0; c < layer->channels; ++c) {
                float sum = 0.0f;
                for (int32_t i = 0; i < layer->k_h; ++i) {
                    const int32_t y = row * layer->stride_h + i * layer->dilation_h;
                    for (int32_t j = 0; j < layer->k_w; ++j) {
                        const int32_t x = column * layer->stride_w + j * layer->dilation_w;
                        const int32_t step = in[(y * layer->in_w + x) * layer->channels + c] - layer->in_zero;
                        sum += in_scale * (float)step;
                    }
                }
                *out++ = aed_saturate(aed_round(sum / count / out_scale + (float)layer->out_zero));
            }
        }
    }
}

void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    for (int32_t c = 0; c < channels; ++c) {
        int32_t sum = -pixels * in_zero;
        for (int32_t pixel = 0; pixel < pixels; ++pixel) {
            sum += in[pixel * channels + c];
        }
        out[c] = aed_step(sum, factor, out_zero);
    }
}

/* As ONNX Runtime's ReduceMean, which is Eigen's float sum: eight sums side by side from the first address that is a
 * multiple of 16 bytes, then the values before and after; channel c begins pixels * c floats after such an address. */
void aed_mean(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, float in_scale, float out_scale, int8_t in_zero,
    int8_t out_zero) {
    for (int32_t c = 0; c < channels; ++c) {
        const int32_t before = (4 - pixels * c % 4) % 4;
        const int32_t start = before < pixels ? before : pixels;
        const int32_t quads = (pixels - start) / 4;
        const int32_t end = start + 4 * quads;
        float part[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (int32_t i = start; i < end; ++i) {
            const int32_t place = i - start;
            if (place == quads / 2 * 8) { /* a last four alone */
                for (int32_t j = 0; j < 4; ++j) {
                    part[j] += part[4 + j];
                    part[4 + j] = 0.0f;
                }
            }
            part[place % 8] += in_scale * (float)(in[i * channels + c] - in_zero);
        }
        for (int32_t j = 0; j < 4; ++j) {
            part[j] += part[4 + j];
        }
        float sum = (part[0] + part[2]) + (part[1] + part[3]);
        for (int32_t i = 0; i < pixels; ++i) {
            if (i < start || i >= end) {
                sum += in_scale * (float)(in[i * channels + c] - in_zero);
            }
        }
        out[c] = aed_saturate(aed_round(sum / (float)pixels / out_scale) + out_zero);
    }
}

/* ---- moved about --------------------------------------------------------------------------------------------- */

void aed_pad(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale) {
    const int same = in_scale == out_scale && layer->in_zero == layer->out_zero;
    const int32_t row = layer->in_w * layer->channels;
    const int32_t left = layer->pad_left * layer->channels;
    const int32_t wide = layer->out_w * layer->channels;
    for (int32_t y = -layer->pad_top; y < layer->out_h - layer->pad_top; ++y) {
        const int inside = y >= 0 && y < layer->in_h;
        for (int32_t x = 0; x < wide; ++x) {
            if (!inside || x < left || x >= left + row) {
                *out++ = layer->out_zero;
            } else if (same) {
                *out++ = *in++;
            } else {
                *out++ = aed_change(*in++, in_scale, out_scale, layer->in_zero, layer->out_zero);
            }
        }
    }
}

/* ---- element by element -------------------------------------------------------------------------------------- */

/* As ONNX Runtime's QLinearAdd on x86: fused multiply-adds, the zero point added before rounding. */
void aed_add(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float one_factor,
    float other_factor, int8_t one_zero, int8_t other_zero, int8_t out_zero) {
    const float zeros = fmaf(one_factor, (float)one_zero, other_factor * (float)other_zero);
    const float fixed = (float)out_zero - zeros;
    int32_t j = 0;
    for (int32_t i = 0; i < size; ++i) {
        const float value = fmaf((float)one[i], one_factor, fmaf((float)other[j], other_factor, fixed));
        out[i] = aed_saturate(aed_round(value));
        if (++j == period) {
            j = 0;
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
        out[i] = aed_saturate(aed_round((float)product * factor + (float)out_zero));
        if (++j == period) {
            j = 0;
        }
    }
}

void aed_lookup(const int8_t *in, int8_t *out, int32_t size, const int8_t *table) {
    for (int32_t i = 0; i < size; ++i) {
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
