/* Means of each channel over an image. */
#include "aed_exact.h"

#include <stddef.h>

#include "aed_steps.h"
#include "aed_words.h"

#if !AED_MVE
#if AED_SMLAD
#define AED_FIT_16_BITS 255 /* so many int8 have a sum of 16 bits */

/* Sums of four channels and what was before, which may be the same memory; at least one pixel. */
static inline void aed_sum_quad(
    const int8_t *from, int32_t pixels, int32_t channels, const int32_t before[4], int32_t sum[4]) {
    int32_t sum0 = before[0];
    int32_t sum1 = before[1];
    int32_t sum2 = before[2];
    int32_t sum3 = before[3];
    do {
        int32_t count = pixels < AED_FIT_16_BITS ? pixels : AED_FIT_16_BITS;
        uint32_t even = 0;
        uint32_t odd = 0;
        uint32_t word;
        uint32_t next;
        pixels -= count;
        __asm volatile("lsrs %[count], %[count], #1\n" /* an odd pixel alone, then two a turn */
                       "bcc 1f\n"
                       "ldr %[word], [%[from]]\n"
                       "add %[from], %[from], %[channels]\n"
                       "sxtab16 %[even], %[even], %[word]\n"
                       "sxtab16 %[odd], %[odd], %[word], ror #8\n"
                       "cmp %[count], #0\n"
                       "beq 2f\n"
                       "1:\n"
                       "ldr %[word], [%[from]]\n"
                       "ldr %[next], [%[from], %[channels]]\n"
                       "add %[from], %[from], %[channels], lsl #1\n"
                       "subs %[count], %[count], #1\n"
                       "sxtab16 %[even], %[even], %[word]\n"
                       "sxtab16 %[odd], %[odd], %[word], ror #8\n"
                       "sxtab16 %[even], %[even], %[next]\n"
                       "sxtab16 %[odd], %[odd], %[next], ror #8\n"
                       "bne 1b\n"
                       "2:\n"
                       : [from] "+r"(from), [count] "+r"(count), [even] "+r"(even), [odd] "+r"(odd), [word] "=&r"(word),
                         [next] "=&r"(next)
                       : [channels] "r"(channels)
                       : "cc", "memory");
        sum0 += (int16_t)even;
        sum1 += (int16_t)odd;
        sum2 += (int16_t)(even >> 16);
        sum3 += (int16_t)(odd >> 16);
    } while (pixels > 0);
    sum[0] = sum0;
    sum[1] = sum1;
    sum[2] = sum2;
    sum[3] = sum3;
}
#endif

/* The sum of one channel. */
static int32_t aed_sum(const int8_t *from, int32_t pixels, int32_t channels) {
    int32_t sum = 0;
    for (; pixels > 0; --pixels) {
        sum += *from;
        from += channels;
    }
    return sum;
}

void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    const int32_t zeros = pixels * in_zero;
    int32_t c = 0;
#if AED_SMLAD
    const int32_t before[4] = {-zeros, -zeros, -zeros, -zeros};
    for (; c + 4 <= channels; c += 4) {
        int32_t sum[4];
        aed_sum_quad(in + c, pixels, channels, before, sum);
        for (int32_t j = 0; j < 4; ++j) {
            out[c + j] = aed_step(sum[j], factor, out_zero);
        }
    }
#endif
    for (; c < channels; ++c) {
        out[c] = aed_step(aed_sum(in + c, pixels, channels) - zeros, factor, out_zero);
    }
}

void aed_row_sums(const int8_t *in, const void *before, void *sums, int32_t pixels, int32_t channels) {
    const int32_t *const from = (const int32_t *)before;
    int32_t *const to = (int32_t *)sums;
    int32_t c = 0;
#if AED_SMLAD
    static const int32_t none[4] = {0, 0, 0, 0};
    for (; c + 4 <= channels; c += 4) {
        aed_sum_quad(in + c, pixels, channels, from != NULL ? from + c : none, to + c);
    }
#endif
    for (; c < channels; ++c) {
        to[c] = aed_sum(in + c, pixels, channels) + (from != NULL ? from[c] : 0);
    }
}

void aed_mean_of_sums(
    const int8_t *const *sums, int32_t count, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    for (int32_t c = 0; c < channels; ++c) {
        int32_t sum = -pixels * in_zero;
        for (int32_t row = 0; row < count; ++row) {
            sum += ((const int32_t *)(const void *)sums[row])[c];
        }
        out[c] = aed_step(sum, factor, out_zero);
    }
}
#endif

/* The pixels of a channel in ONNX's order. */
typedef struct {
    const int8_t *at;
    int32_t step;     /* to the next one */
    int32_t back;     /* to the first of the next column, from behind the last one of a column */
    int32_t columns;  /* pixels until then, all and left */
    int32_t left;
    int32_t zero;
    float scale;
} aed_walk_t;

static inline float aed_next(aed_walk_t *walk) {
    const float value = aed_real(*walk->at - walk->zero, walk->scale);
    walk->at += walk->step;
    if (--walk->left == 0) {
        walk->left = walk->columns;
        walk->at += walk->back;
    }
    return value;
}

static inline void aed_add_next_4(aed_walk_t *walk, float *sums) {
    sums[0] += aed_next(walk);
    sums[1] += aed_next(walk);
    sums[2] += aed_next(walk);
    sums[3] += aed_next(walk);
}

/* As ONNX Runtime's ReduceMean, which is Eigen's float sum: eight sums side by side from the first address that is a
 * multiple of 16 bytes, then the values before and after; channel c begins pixels * c floats after such an address. */
void aed_mean(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t step, int32_t columns, float in_scale,
    float out_scale, int8_t in_zero, int8_t out_zero) {
    for (int32_t c = 0; c < channels; ++c) {
        const int32_t before = (4 - pixels * c % 4) % 4;
        const int32_t start = before < pixels ? before : pixels;
        const int32_t quads = (pixels - start) / 4;
        aed_walk_t walk = {in + c, step * channels, (1 - columns * step) * channels, columns, columns, in_zero, in_scale};
        float first[3] = {0.0f, 0.0f, 0.0f};
        float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        float next[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int32_t i = 0; i < start; ++i) {
            first[i] = aed_next(&walk);
        }
        for (int32_t eights = quads / 2; eights > 0; --eights) {
            aed_add_next_4(&walk, part);
            aed_add_next_4(&walk, next);
        }
        for (int32_t j = 0; j < 4; ++j) {
            part[j] += next[j];
        }
        if (quads % 2 != 0) {
            aed_add_next_4(&walk, part);
        }
        float sum = (part[0] + part[2]) + (part[1] + part[3]);
        for (int32_t i = 0; i < start; ++i) {
            sum += first[i];
        }
        for (int32_t i = start + 4 * quads; i < pixels; ++i) {
            sum += aed_next(&walk);
        }
        out[c] = aed_saturate(aed_round(sum / (float)pixels / out_scale) + out_zero);
    }
}
