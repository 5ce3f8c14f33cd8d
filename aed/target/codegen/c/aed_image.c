/* A layer row by row over a whole image. */
#include <stddef.h>

#include "aed_kernels.h"

void aed_image(aed_row_t row, const int8_t *in, int8_t *out, const void *layer, void *scratch) {
    const aed_window_t *const window = (const aed_window_t *)layer;
    const int8_t **const rows = (const int8_t **)scratch;
    const int32_t in_row = window->in_w * window->in_c;
    const int32_t out_row = window->out_w * window->out_c;
    const size_t words = ((size_t)window->k_h * sizeof *rows + 7u) / 8u;
    for (int32_t y = 0; y < window->out_h; ++y) {
        for (int32_t i = 0; i < window->k_h; ++i) {
            const int32_t from = y * window->stride_h - window->pad_top + i * window->dilation_h;
            rows[i] = from >= 0 && from < window->in_h ? in + from * in_row : NULL;
        }
        row(rows, out, layer, (uint64_t *)scratch + words);
        out += out_row;
    }
}
