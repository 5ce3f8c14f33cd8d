/* Means of each channel over an image. */
#include <stddef.h>

#include "aed_steps.h"
#include "aed_words.h"

/* So many int8 have a sum of 16 bits. */
#define AED_FIT_16_BITS 255

#if !AED_MVE
void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    int32_t c = 0;
#if AED_SMLAD
    for (; c + 4 <= channels; c += 4) {
        int32_t sum[4] = {0, 0, 0, 0};
        const int8_t *from = in + c;
        for (int32_t pixel = 0; pixel < pixels;) {
            const int32_t last = pixels - pixel < AED_FIT_16_BITS ? pixels : pixel + AED_FIT_16_BITS;
            uint32_t even = 0;
            uint32_t odd = 0;
            for (; pixel < last; ++pixel) {
                const uint32_t word = aed_load(from);
                even = aed_add_even(even, word);
                odd = aed_add_odd(odd, word);
                from += channels;
            }
            sum[0] += (int16_t)even;
            sum[1] += (int16_t)odd;
            sum[2] += (int16_t)(even >> 16);
            sum[3] += (int16_t)(odd >> 16);
        }
        for (int32_t j = 0; j < 4; ++j) {
            out[c + j] = aed_step(sum[j] - pixels * in_zero, factor, out_zero);
        }
    }
#endif
    for (; c < channels; ++c) {
        int32_t sum = -pixels * in_zero;
        for (int32_t pixel = 0; pixel < pixels; ++pixel) {
            sum += in[pixel * channels + c];
        }
        out[c] = aed_step(sum, factor, out_zero);
    }
}
#endif

void aed_row_sums(const int8_t *in, const void *before, void *sums, int32_t pixels, int32_t channels) {
    const int32_t *const from = (const int32_t *)before;
    int32_t *const to = (int32_t *)sums;
    for (int32_t c = 0; c < channels; ++c) {
        int32_t sum = from != NULL ? from[c] : 0;
        for (int32_t pixel = 0; pixel < pixels; ++pixel) {
            sum += in[pixel * channels + c];
        }
        to[c] = sum;
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

/* As ONNX Runtime's ReduceMean, which is Eigen's float sum: eight sums side by side from the first address that is a
 * multiple of 16 bytes, then the values before and after; channel c begins pixels * c floats after such an address. */
void aed_mean(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t step, int32_t columns, float in_scale,
    float out_scale, int8_t in_zero, int8_t out_zero) {
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
            part[place % 8] += in_scale * (float)(in[(i % columns * step + i / columns) * channels + c] - in_zero);
        }
        for (int32_t j = 0; j < 4; ++j) {
            part[j] += part[4 + j];
        }
        float sum = (part[0] + part[2]) + (part[1] + part[3]);
        for (int32_t i = 0; i < pixels; ++i) {
            if (i < start || i >= end) {
                sum += in_scale * (float)(in[(i % columns * step + i / columns) * channels + c] - in_zero);
            }
        }
        out[c] = aed_saturate(aed_round(sum / (float)pixels / out_scale) + out_zero);
    }
}

