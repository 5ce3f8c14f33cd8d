/* Depthwise convolutions with vectors of WebAssembly; a part of aed_depthwise.c. */
#include "aed_wasm.h"

/* Four bytes of one and four of another, one beside the other, as int16. */
static inline v128_t aed_beside(v128_t one, v128_t other) {
    return wasm_i16x8_extend_low_i8x16(
        wasm_i8x16_shuffle(one, other, 0, 16, 1, 17, 2, 18, 3, 19, 0, 0, 0, 0, 0, 0, 0, 0));
}

/* Adds the products of four channels, from the o-th on; weight: four of each tap. */
static inline v128_t aed_quad_sums(const int8_t *const *tap, int32_t o, const int8_t *weight, int32_t taps, v128_t sums) {
    const v128_t zeros = wasm_i32x4_const_splat(0);
    int32_t t = 0;
    for (; t + 2 <= taps; t += 2) {
        const v128_t x = aed_beside(wasm_v128_load32_zero(tap[t] + o), wasm_v128_load32_zero(tap[t + 1] + o));
        const v128_t w = aed_beside(wasm_v128_load32_zero(weight + 4 * t), wasm_v128_load32_zero(weight + 4 * t + 4));
        sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(x, w));
    }
    if (t < taps) {
        const v128_t x = aed_beside(wasm_v128_load32_zero(tap[t] + o), zeros);
        sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(x, aed_beside(wasm_v128_load32_zero(weight + 4 * t), zeros)));
    }
    return sums;
}

/* Of four channels, whose weights lie as aed.target.codegen.packing.sliding has them, two pairs of taps each in 16
 * bytes: first the taps 0, 1 and 3, 4 of each channel, then 2, 6 and 5, 7. */
static inline void aed_four_channels(const int8_t *weight, v128_t *first, v128_t *second) {
    const v128_t even = wasm_v128_load(weight);     /* channels 0 and 2 */
    const v128_t odd = wasm_v128_load(weight + 16); /* 1 and 3 */
    *first = wasm_i8x16_shuffle(even, odd, 0, 1, 16, 17, 8, 9, 24, 25, 2, 3, 18, 19, 10, 11, 26, 27);
    *second = wasm_i8x16_shuffle(even, odd, 4, 5, 20, 21, 12, 13, 28, 29, 6, 7, 22, 23, 14, 15, 30, 31);
}

/* The ninth weights of four channels, beside zeros. */
static inline v128_t aed_ninths(const int8_t *weight) {
    const v128_t four = wasm_v128_load32_zero(weight + 32);
    return wasm_i16x8_extend_low_i8x16(
        wasm_i8x16_shuffle(four, wasm_i8x16_const_splat(0), 0, 16, 2, 16, 1, 16, 3, 16, 16, 16, 16, 16, 16, 16, 16, 16));
}

/* Weights of four channels: pairs of taps side by side, and the ninth beside zeros. */
static inline void aed_nine(const int8_t *weight, v128_t *nine) {
    v128_t first;
    v128_t second;
    aed_four_channels(weight, &first, &second);
    nine[0] = wasm_i16x8_extend_low_i8x16(first);
    nine[1] = wasm_i16x8_extend_high_i8x16(first);
    nine[2] = wasm_i16x8_extend_low_i8x16(second);
    nine[3] = wasm_i16x8_extend_high_i8x16(second);
    nine[4] = aed_ninths(weight);
}

/* Inputs of eight channels, or of four and what is left out. */
static inline v128_t aed_channels(const int8_t *from, int eight) {
    return eight ? wasm_i16x8_load8x8(from) : wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(from));
}

/* Adds the products of two taps to the sums of channels 0 to 3 and 4 to 7. */
static inline void aed_add_taps(v128_t *low, v128_t *high, v128_t x, v128_t y, v128_t low_weights, v128_t high_weights) {
    const v128_t first = wasm_i16x8_shuffle(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
    const v128_t second = wasm_i16x8_shuffle(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
    *low = wasm_i32x4_add(*low, wasm_i32x4_dot_i16x8(first, low_weights));
    *high = wasm_i32x4_add(*high, wasm_i32x4_dot_i16x8(second, high_weights));
}

/* A row of eight channels from the o-th on, or of four. step: from a pixel of a row to the next; of a row that is not
 * there, 0, and it is as many zero points as channels. */
AED_INLINE void aed_slide(
    const int8_t *const *rows, const int32_t *step, const int8_t *outside, int8_t *out, const aed_depthwise_t *layer,
    int32_t o, int eight, const int8_t *weight, const float *slope) {
    static const int8_t order[4][2] = {{0, 1}, {3, 4}, {2, 6}, {5, 7}};
    const aed_window_t *const window = &layer->window;
    v128_t low_nine[5];
    v128_t high_nine[5];
    aed_nine(weight, low_nine);
    aed_nine(eight ? weight + 36 : weight, high_nine);
    const int32_t other = eight ? o + 4 : o;
    const v128_t bias0 = wasm_v128_load(layer->bias + o);
    const v128_t bias1 = wasm_v128_load(layer->bias + other);
    const v128_t factor0 = wasm_v128_load(layer->factor + o);
    const v128_t factor1 = wasm_v128_load(layer->factor + other);
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        v128_t low = bias0;
        v128_t high = bias1;
        v128_t x[9];
        for (int32_t j = 0; j < 3; ++j) {
            const int there = left + j >= 0 && left + j < window->in_w;
            for (int32_t i = 0; i < 3; ++i) {
                x[3 * i + j] = aed_channels((there ? rows[i] + (left + j) * step[i] : outside) + o, eight);
            }
        }
        for (int pair = 0; pair < 4; ++pair) {
            aed_add_taps(&low, &high, x[order[pair][0]], x[order[pair][1]], low_nine[pair], high_nine[pair]);
        }
        aed_add_taps(&low, &high, x[8], x[8], low_nine[4], high_nine[4]);
        const v128_t steps = aed_eight_steps(
            aed_four_values(low, factor0, slope), aed_four_values(high, factor1, slope), window->out_zero);
        if (eight) {
            wasm_v128_store64_lane(out + o, steps, 0);
        } else {
            wasm_v128_store32_lane(out + o, steps, 0);
        }
        out += window->out_c;
    }
}

AED_INLINE void aed_depthwise_sliding(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const int32_t depth = depthwise->window.in_c;
    const int8_t *weight = (const int8_t *)depthwise->weight;
    int8_t *const outside = (int8_t *)scratch;
    const int8_t *there[3];
    int32_t step[3];
    memset(outside, depthwise->window.in_zero, (size_t)depth);
    for (int i = 0; i < 3; ++i) {
        there[i] = rows[i] != NULL ? rows[i] : outside;
        step[i] = rows[i] != NULL ? depth : 0;
    }
    for (int32_t o = 0; o + 8 <= depth; o += 8) {
        aed_slide(there, step, outside, out, depthwise, o, 1, weight, slope);
        weight += 72;
    }
    if (depth % 8 != 0) {
        aed_slide(there, step, outside, out, depthwise, depth - 4, 0, weight, slope);
    }
}
