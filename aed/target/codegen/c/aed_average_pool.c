/* Average pooling, as ONNX Runtime's QLinearAveragePool: the mean of real values, one pixel after the other as ONNX has
 * them, then steps. */
#include "aed_exact.h"

#include <stddef.h>

#include "aed_steps.h"

#if AED_MVE
#include "aed_mve.h"

/* The steps of a window, of all channels: `inside` rows, `wide` pixels of each from `left` on. */
static void aed_mean_of_window(
    const int8_t *const *rows, int32_t inside, int32_t left, int32_t wide, const aed_pool_t *pool, float count,
    int8_t *out) {
    const int by_column = pool->by_column != 0;
    const int32_t outer = by_column ? wide : inside;
    const int32_t inner = by_column ? inside : wide;
    const int32_t depth = pool->window.in_c;
    for (int32_t c = 0; c < depth; c += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(depth - c));
        float32x4_t sum = vdupq_n_f32(0.0f);
        for (int32_t a = 0; a < outer; ++a) {
            for (int32_t b = 0; b < inner; ++b) {
                const int8_t *const row = rows[by_column ? b : a];
                const int8_t *const from = row + (left + (by_column ? a : b)) * depth + c;
                const int32x4_t step = vsubq_n_s32(vldrbq_z_s32(from, there), pool->window.in_zero);
                sum = vaddq_f32(sum, vmulq_n_f32(vcvtq_f32_s32(step), pool->in_scale));
            }
        }
        float mean[4];
        vst1q_f32(mean, sum);
        for (int32_t j = 0; j < 4; ++j) { /* there is no division of vectors */
            mean[j] = mean[j] / count / pool->out_scale;
        }
        sum = vaddq_n_f32(vld1q_f32(mean), (float)pool->window.out_zero);
        aed_four_steps(vcvtnq_s32_f32(sum), out + c, there);
    }
}
#else
/* Sums of the real values of 4 channels of a window, or of 1, one pixel after the other as ONNX has them. */
static inline void aed_add_window(
    const int8_t *const *rows, int32_t inside, int32_t first, int32_t wide, const aed_pool_t *pool, int32_t channels,
    float *sum) {
    const int by_column = pool->by_column != 0;
    const int32_t outer = by_column ? wide : inside;
    const int32_t inner = by_column ? inside : wide;
    const int32_t depth = pool->window.in_c;
    const int32_t zero = pool->window.in_zero;
    const float scale = pool->in_scale;
    float sum0 = 0.0f;
    float sum1 = 0.0f;
    float sum2 = 0.0f;
    float sum3 = 0.0f;
    for (int32_t a = 0; a < outer; ++a) {
        for (int32_t b = 0; b < inner; ++b) {
            const int8_t *const from = rows[by_column ? b : a] + first + (by_column ? a : b) * depth;
            sum0 += aed_real(from[0] - zero, scale);
            if (channels == 4) {
                sum1 += aed_real(from[1] - zero, scale);
                sum2 += aed_real(from[2] - zero, scale);
                sum3 += aed_real(from[3] - zero, scale);
            }
        }
    }
    sum[0] = sum0;
    sum[1] = sum1;
    sum[2] = sum2;
    sum[3] = sum3;
}

/* The steps of a window, of all channels: `inside` rows, `wide` pixels of each from `left` on. */
static void aed_mean_of_window(
    const int8_t *const *rows, int32_t inside, int32_t left, int32_t wide, const aed_pool_t *pool, float count,
    int8_t *out) {
    const int32_t depth = pool->window.in_c;
    for (int32_t c = 0; c < depth;) {
        float sum[4];
        const int32_t channels = c + 4 <= depth ? 4 : 1;
        if (channels == 4) {
            aed_add_window(rows, inside, left * depth + c, wide, pool, 4, sum);
        } else {
            aed_add_window(rows, inside, left * depth + c, wide, pool, 1, sum);
        }
        for (int32_t j = 0; j < channels; ++j) {
            *out++ = aed_saturate(aed_round(sum[j] / count / pool->out_scale + (float)pool->window.out_zero));
        }
        c += channels;
    }
}
#endif

void aed_average_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    int32_t inside = window->k_h; /* rows, which follow each other */
    (void)scratch;
    for (; inside > 0 && rows[0] == NULL; --inside) {
        ++rows;
    }
    for (; inside > 0 && rows[inside - 1] == NULL; --inside) {
    }
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t start = column * window->stride_w - window->pad_left;
        const int32_t left = start > 0 ? start : 0;
        const int32_t right = start + window->k_w < window->in_w ? start + window->k_w : window->in_w;
        const float count = (float)(pool->count > 0 ? pool->count : inside * (right - left));
        aed_mean_of_window(rows, inside, left, right - left, pool, count, out);
        out += window->in_c;
    }
}
