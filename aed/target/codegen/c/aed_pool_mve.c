/* Largest and mean values, with MVE. */
#include "aed_exact.h"

#include "aed_kernels.h"

#if AED_MVE
#include <stddef.h>

#include "aed_mve.h"

/* out becomes the larger of both. */
static inline void aed_larger(const int8_t *in, int8_t *out, int32_t size) {
#if AED_ASSEMBLY
    __asm volatile("wlstp.8 lr, %[size], 2f\n"
                   "1:\n"
                   "vldrb.8 q0, [%[in]], #16\n"
                   "vldrb.8 q1, [%[out]]\n"
                   "vmax.s8 q0, q0, q1\n"
                   "vstrb.8 q0, [%[out]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [in] "+r"(in), [out] "+r"(out)
                   : [size] "r"(size)
                   : "lr", "q0", "q1", "memory");
#else
    for (int32_t i = 0; i < size; i += 16) {
        const mve_pred16_t there = vctp8q((uint32_t)(size - i));
        const int8x16_t most = vmaxq_s8(vldrbq_z_s8(in + i, there), vldrbq_z_s8(out + i, there));
        vstrbq_p_s8(out + i, most, there);
    }
#endif
}

void aed_max_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    const int32_t depth = window->in_c;
    const int same = aed_same_scale(pool);
    (void)scratch;
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        int seen = 0;
        for (int32_t i = 0; i < window->k_h; ++i) {
            for (int32_t j = 0; j < window->k_w && rows[i] != NULL; ++j) {
                const int32_t x = left + j * window->dilation_w;
                if (x < 0 || x >= window->in_w) {
                    continue;
                }
                if (seen) {
                    aed_larger(rows[i] + x * depth, out, depth);
                } else {
                    (void)aed_copy(rows[i] + x * depth, out, depth);
                    seen = 1;
                }
            }
        }
        if (!seen) {
            (void)aed_fill(-128, out, depth);
        }
        for (int32_t c = 0; c < depth && !same; ++c) {
            out[c] = aed_change(out[c], pool->in_scale, pool->out_scale, window->in_zero, window->out_zero);
        }
        out += depth;
    }
}

#define AED_PIXELS 256 /* whose sum fits 16 bits */

void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    for (int32_t c = 0; c < channels; c += 8) {
        const mve_pred16_t there = vctp16q((uint32_t)(channels - c));
        int32x4_t even = vdupq_n_s32(-pixels * in_zero);
        int32x4_t odd = even;
        const int8_t *x = in + c;
        for (int32_t left = pixels; left > 0; left -= AED_PIXELS) {
            int16x8_t sum = vdupq_n_s16(0);
            for (int32_t i = left < AED_PIXELS ? left : AED_PIXELS; i > 0; --i) {
                sum = vaddq_s16(sum, vldrbq_z_s16(x, there));
                x += channels;
            }
            even = vaddq_s32(even, vmovlbq_s16(sum));
            odd = vaddq_s32(odd, vmovltq_s16(sum));
        }
        vstrbq_p_s16(out + c, aed_eight_steps(even, odd, vdupq_n_f32(factor), vdupq_n_f32(factor), NULL, out_zero), there);
    }
}

void aed_row_sums(const int8_t *in, const void *before, void *sums, int32_t pixels, int32_t channels) {
    const int32_t *const from = (const int32_t *)before;
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(channels - c));
        int32x4_t sum = from != NULL ? vldrwq_z_s32(from + c, there) : vdupq_n_s32(0);
        const int8_t *x = in + c;
        for (int32_t i = pixels; i > 0; --i) {
            sum = vaddq_s32(sum, vldrbq_z_s32(x, there));
            x += channels;
        }
        vstrwq_p_s32((int32_t *)sums + c, sum, there);
    }
}

void aed_mean_of_sums(
    const int8_t *const *sums, int32_t count, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor) {
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(channels - c));
        int32x4_t sum = vdupq_n_s32(-pixels * in_zero);
        for (int32_t row = 0; row < count; ++row) {
            sum = vaddq_s32(sum, vldrwq_z_s32((const int32_t *)(const void *)sums[row] + c, there));
        }
        aed_four_steps(vqaddq_n_s32(aed_four_values(sum, vdupq_n_f32(factor), NULL), out_zero), out + c, there);
    }
}
#endif
