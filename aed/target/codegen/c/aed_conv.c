/* Convolutions of all channels, and dense layers. */
#include "aed_kernels.h"

#if !AED_MVE
#include <stddef.h>
#include <string.h>

#include "aed_steps.h"

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

/* Unpacks the inputs of one output pixel; the input's zero point stands where the kernel looks outside. */
static void aed_gather(const int8_t *const *rows, const aed_window_t *window, int32_t column, int16_t *out) {
    const int32_t depth = window->in_c;
    const int32_t left = column * window->stride_w - window->pad_left;
    int8_t quad[4];
    int32_t held = 0;
    if (window->k_h == 1 && window->k_w == 1 && rows[0] != NULL && left >= 0 && left < window->in_w) {
        aed_unpack(rows[0] + left * depth, out, depth);
        return;
    }
    for (int32_t i = 0; i < window->k_h; ++i) {
        for (int32_t j = 0; j < window->k_w; ++j) {
            const int32_t x = left + j * window->dilation_w;
            const int inside = rows[i] != NULL && x >= 0 && x < window->in_w;
            const int8_t *pixel = inside ? rows[i] + x * depth : NULL;
            for (int32_t c = 0; c < depth; ++c) {
                quad[held] = inside ? pixel[c] : window->in_zero;
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

void aed_conv_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t k = (window->k_h * window->k_w * window->in_c + 15) / 16 * 16;
    const int32_t outputs = window->out_c;
    const int32_t zero = window->out_zero;
    int16_t *x = (int16_t *)scratch;
    memset(x, 0, (size_t)k * 4u); /* values past the last one stay 0 */
    for (int32_t column = 0; column < window->out_w; column += 2) {
        const int32_t both = column + 1 < window->out_w;
        aed_gather(rows, window, column, x);
        if (both) {
            aed_gather(rows, window, column + 1, x + 4);
        }
        int8_t *y0 = out + column * outputs;
        int8_t *y1 = both ? y0 + outputs : y0; /* a last pixel alone is written twice, the right one last */
        const int8_t *weight = (const int8_t *)conv->weight;
        const int32_t *bias = conv->bias;
        const float *factor = conv->factor;
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
#endif
