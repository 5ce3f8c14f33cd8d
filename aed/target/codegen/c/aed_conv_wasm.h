/* aed_conv_pairs with vectors of WebAssembly; a part of aed_conv.c.
 *
 * Two pixels and two pairs of rows at once. Of a pair, the sum S over its low bytes, which are w_o, and T over whole
 * weights are made in four parts each; T - S is 256 times the other sum, see aed.target.codegen.packing.
 */
#include "aed_wasm.h"

/* Inputs of a pixel as int16, in the order of the weights: of each four the values 0, 2, 1, 3; k a multiple of 4. */
static void aed_widen(const int8_t *in, int16_t *out, int32_t k) {
    int32_t i = 0;
    for (; i + 8 <= k; i += 8) {
        const v128_t x = wasm_i16x8_load8x8(in + i);
        wasm_v128_store(out + i, wasm_i16x8_shuffle(x, x, 0, 2, 1, 3, 4, 6, 5, 7));
    }
    if (i < k) {
        const v128_t x = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(in + i));
        wasm_v128_store64_lane(out + i, wasm_i16x8_shuffle(x, x, 0, 2, 1, 3, 4, 6, 5, 7), 0);
    }
}

/* The same of the pixel of a column, out of the rows themselves where its window lies inside them in whole words. */
static void aed_inputs_of(const int8_t *const *rows, const aed_conv_t *conv, int32_t column, int16_t *out, int8_t *bytes) {
    const aed_window_t *const window = &conv->window;
    const int32_t depth = window->in_c;
    const int32_t pitch = conv->pitch;
    const int32_t left = (column * window->stride_w - window->pad_left) * depth;
    const int near = window->dilation_w == 1 || window->k_w == 1;
    int inside = near && pitch % 4 == 0 && left >= 0 && left + pitch <= window->in_w * depth;
    for (int32_t i = 0; i < window->k_h; ++i) {
        inside = inside && rows[i] != NULL;
    }
    if (!inside) {
        aed_gather(rows, conv, column, bytes);
        aed_widen(bytes, out, conv->values);
        return;
    }
    for (int32_t i = 0; i < window->k_h; ++i) {
        aed_widen(rows[i] + left, out + i * pitch, pitch);
    }
}

/* Parts of the sums of two pairs of rows and one pixel. */
typedef struct {
    v128_t low0, whole0, low1, whole1;
} aed_parts_t;

/* Adds the products of eight values, of which w is a pair of rows, and low is w_o. */
static inline void aed_add_products(v128_t *low_part, v128_t *whole_part, v128_t low, v128_t w, v128_t x) {
    *low_part = wasm_i32x4_add(*low_part, wasm_i32x4_dot_i16x8(x, low));
    *whole_part = wasm_i32x4_add(*whole_part, wasm_i32x4_dot_i16x8(x, w));
}

static inline void aed_add_eight(aed_parts_t *p0, aed_parts_t *p1, v128_t w0, v128_t w1, v128_t x0, v128_t x1) {
    const v128_t low0 = wasm_i16x8_shr(wasm_i16x8_shl(w0, 8), 8);
    const v128_t low1 = wasm_i16x8_shr(wasm_i16x8_shl(w1, 8), 8);
    aed_add_products(&p0->low0, &p0->whole0, low0, w0, x0);
    aed_add_products(&p1->low0, &p1->whole0, low0, w0, x1);
    aed_add_products(&p0->low1, &p0->whole1, low1, w1, x0);
    aed_add_products(&p1->low1, &p1->whole1, low1, w1, x1);
}

/* The sums of four rows, those of the rows o + 1 and o + 3 times 256. */
static inline v128_t aed_four_sums(const aed_parts_t *p) {
    const v128_t pair0 = wasm_i32x4_add(
        wasm_i32x4_shuffle(p->low0, p->whole0, 0, 4, 1, 5), wasm_i32x4_shuffle(p->low0, p->whole0, 2, 6, 3, 7));
    const v128_t pair1 = wasm_i32x4_add(
        wasm_i32x4_shuffle(p->low1, p->whole1, 0, 4, 1, 5), wasm_i32x4_shuffle(p->low1, p->whole1, 2, 6, 3, 7));
    const v128_t sums = wasm_i32x4_add(wasm_i64x2_shuffle(pair0, pair1, 0, 2), wasm_i64x2_shuffle(pair0, pair1, 1, 3));
    return wasm_i32x4_sub(sums, wasm_i32x4_shuffle(sums, wasm_i32x4_const_splat(0), 4, 0, 4, 2));
}

/* Four outputs of two pixels, in the lower half, of the rows of weights that begin at w0 and w1. */
AED_INLINE v128_t aed_block(
    const int16_t *w0, const int16_t *w1, const int16_t *x0, const int16_t *x1, int32_t k, const int32_t *bias,
    const float *factor, const float *slope, int32_t zero) {
    const v128_t zeros = wasm_i32x4_const_splat(0);
    const v128_t biases = wasm_i32x4_mul(wasm_v128_load(bias), wasm_i32x4_const(1, 256, 1, 256));
    const v128_t factors = wasm_f32x4_mul(wasm_v128_load(factor), wasm_f32x4_const(1.0f, 0x1p-8f, 1.0f, 0x1p-8f));
    aed_parts_t p0 = {zeros, zeros, zeros, zeros};
    aed_parts_t p1 = p0;
    int32_t i = 0;
    for (; i + 8 <= k; i += 8) {
        aed_add_eight(
            &p0, &p1, wasm_v128_load(w0 + i), wasm_v128_load(w1 + i), wasm_v128_load(x0 + i), wasm_v128_load(x1 + i));
    }
    if (i < k) {
        aed_add_eight(
            &p0, &p1, wasm_v128_load64_zero(w0 + i), wasm_v128_load64_zero(w1 + i), wasm_v128_load64_zero(x0 + i),
            wasm_v128_load64_zero(x1 + i));
    }
    return aed_eight_steps(
        aed_four_values(wasm_i32x4_add(aed_four_sums(&p0), biases), factors, slope),
        aed_four_values(wasm_i32x4_add(aed_four_sums(&p1), biases), factors, slope), zero);
}

AED_INLINE void aed_conv_pairs(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t k = conv->values;
    const int32_t outputs = window->out_c;
    const int32_t fours = outputs & ~3;
    const int32_t rest = outputs - fours;
    int32_t bias[4] = {0, 0, 0, 0};
    float factor[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    memcpy(bias, conv->bias + fours, sizeof bias[0] * (size_t)rest);
    memcpy(factor, conv->factor + fours, sizeof factor[0] * (size_t)rest);
    for (int32_t column = 0; column < window->out_w; column += 2) {
        const int both = column + 1 < window->out_w;
        const int16_t *weight = (const int16_t *)conv->weight;
        int16_t *const x0 = (int16_t *)scratch;
        int16_t *const x1 = both ? x0 + k : x0; /* a last pixel alone is computed twice */
        int8_t *const y0 = out + column * outputs;
        int8_t *const y1 = both ? y0 + outputs : y0;
        aed_inputs_of(rows, conv, column, x0, (int8_t *)(x1 + k));
        if (both) {
            aed_inputs_of(rows, conv, column + 1, x1, (int8_t *)(x1 + k));
        }
        for (int32_t o = 0; o < fours; o += 4) {
            const v128_t steps =
                aed_block(weight, weight + k, x0, x1, k, conv->bias + o, conv->factor + o, slope, window->out_zero);
            wasm_v128_store32_lane(y1 + o, steps, 1);
            wasm_v128_store32_lane(y0 + o, steps, 0);
            weight += 2 * k;
        }
        if (rest > 0) {
            int8_t steps[16];
            const int16_t *const next = rest > 2 ? weight + k : weight;
            wasm_v128_store(steps, aed_block(weight, next, x0, x1, k, bias, factor, slope, window->out_zero));
            memcpy(y1 + fours, steps + 4, (size_t)rest);
            memcpy(y0 + fours, steps, (size_t)rest);
        }
    }
}
