/* Pooling, and padding alone. */
#include "aed_exact.h"

#include <stddef.h>
#include <string.h>

#include "aed_steps.h"
#include "aed_words.h"

#if !AED_MVE
#define AED_TAPS 16 /* pixels that are compared at once */

/* out becomes the largest of itself and of the pixels. */
static void aed_largest(const int8_t *const *pixels, int32_t count, int8_t *out, int32_t depth) {
    int32_t c = 0;
#if AED_SMLAD
    for (; c + 4 <= depth; c += 4) {
        uint32_t most = aed_load(out + c);
        for (int32_t t = 0; t < count; ++t) {
            most = aed_larger(aed_load(pixels[t] + c), most);
        }
        aed_store(out + c, most);
    }
#endif
    for (; c < depth; ++c) {
        for (int32_t t = 0; t < count; ++t) {
            out[c] = pixels[t][c] > out[c] ? pixels[t][c] : out[c];
        }
    }
}

void aed_max_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    const int same = aed_same_scale(pool);
    const int32_t depth = window->in_c;
    (void)scratch;
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        const int8_t *pixels[AED_TAPS];
        int32_t count = 0;
        memset(out, -128, (size_t)depth);
        for (int32_t i = 0; i < window->k_h; ++i) {
            for (int32_t j = 0; j < window->k_w && rows[i] != NULL; ++j) {
                const int32_t x = left + j * window->dilation_w;
                if (x >= 0 && x < window->in_w) {
                    pixels[count++] = rows[i] + x * depth;
                }
                if (count == AED_TAPS) {
                    aed_largest(pixels, count, out, depth);
                    count = 0;
                }
            }
        }
        aed_largest(pixels, count, out, depth);
        for (int32_t c = 0; c < depth && !same; ++c) {
            out[c] = aed_change(out[c], pool->in_scale, pool->out_scale, window->in_zero, window->out_zero);
        }
        out += depth;
    }
}
#endif

void aed_pad_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    const int same = aed_same_scale(pool);
    const int32_t left = window->pad_left * window->in_c;
    const int32_t right = left + window->in_w * window->in_c;
    const int8_t *in = rows[0];
    (void)scratch;
    for (int32_t x = 0; x < window->out_w * window->in_c; ++x) {
        if (in == NULL || x < left || x >= right) {
            *out++ = window->out_zero;
        } else if (same) {
            *out++ = *in++;
        } else {
            *out++ = aed_change(*in++, pool->in_scale, pool->out_scale, window->in_zero, window->out_zero);
        }
    }
}
