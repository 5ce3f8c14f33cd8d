/* Pooling, and padding alone. */
#include <stddef.h>

#include "aed_steps.h"

static int aed_same_scale(const aed_pool_t *layer) {
    return layer->in_scale == layer->out_scale && layer->window.in_zero == layer->window.out_zero;
}

void aed_max_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    const int same = aed_same_scale(pool);
    (void)scratch;
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        for (int32_t c = 0; c < window->in_c; ++c) {
            int8_t most = -128;
            for (int32_t i = 0; i < window->k_h; ++i) {
                for (int32_t j = 0; j < window->k_w && rows[i] != NULL; ++j) {
                    const int32_t x = left + j * window->dilation_w;
                    if (x >= 0 && x < window->in_w) {
                        const int8_t value = rows[i][x * window->in_c + c];
                        most = value > most ? value : most;
                    }
                }
            }
            *out++ = same ? most
                          : aed_change(most, pool->in_scale, pool->out_scale, window->in_zero, window->out_zero);
        }
    }
}

/* As ONNX Runtime's QLinearAveragePool: the mean of real values, then steps. */
void aed_average_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_pool_t *const pool = (const aed_pool_t *)layer;
    const aed_window_t *const window = &pool->window;
    const int32_t depth = window->in_c;
    const int32_t zero = window->in_zero;
    const float scale = pool->in_scale;
    int32_t inside = 0;
    (void)scratch;
    for (int32_t i = 0; i < window->k_h; ++i) {
        inside += rows[i] != NULL;
    }
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t start = column * window->stride_w - window->pad_left;
        const int32_t left = start > 0 ? start : 0;
        const int32_t right = start + window->k_w < window->in_w ? start + window->k_w : window->in_w;
        const float count = (float)(pool->count > 0 ? pool->count : inside * (right - left));
        for (int32_t c = 0; c < depth; ++c) {
            float sum = 0.0f;
            for (int32_t i = 0; i < window->k_h; ++i) {
                const int8_t *value = rows[i] != NULL ? rows[i] + left * depth + c : NULL;
                for (int32_t x = left; x < right && value != NULL; ++x) {
                    sum += scale * (float)(*value - zero);
                    value += depth;
                }
            }
            *out++ = aed_saturate(aed_round(sum / count / pool->out_scale + (float)window->out_zero));
        }
    }
}

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
