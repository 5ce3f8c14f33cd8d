/* aed_add_words with vectors of WebAssembly; a part of aed_elementwise.c. */
#include "aed_wasm.h"

/* Whether products with an int8 and a sum of such values are exact in double: then a rounding to float after a sum in
 * double is that of a fused multiply-add. Multiples of 2^-41 under 2^11 have 52 bits. */
static int aed_is_exact(float value) {
    const float size = value < 0.0f ? -value : value;
    return size == 0.0f || (size >= 0x1p-18f && size <= 2.0f);
}

/* Two values of one * factor + sum, rounded once. */
static inline v128_t aed_two_fused(v128_t one, v128_t factor, v128_t sum) {
    const v128_t product = wasm_f64x2_mul(wasm_f64x2_convert_low_i32x4(one), factor);
    return wasm_f32x4_demote_f64x2_zero(wasm_f64x2_add(product, wasm_f64x2_promote_low_f32x4(sum)));
}

/* Four of them. */
static inline v128_t aed_four_fused(v128_t one, v128_t factor, v128_t sum) {
    const v128_t low = aed_two_fused(one, factor, sum);
    const v128_t high = aed_two_fused(wasm_i32x4_shuffle(one, one, 2, 3, 2, 3), factor, wasm_i32x4_shuffle(sum, sum, 2, 3, 2, 3));
    return wasm_i32x4_shuffle(low, high, 0, 1, 4, 5);
}

/* Four int8 as int32. */
static inline v128_t aed_four(const int8_t *from) {
    return wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(from)));
}

/* Sums of count values, a multiple of 4. */
static void aed_add_words(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t count, float one_factor, float other_factor, float fixed) {
    const int exact = aed_is_exact(one_factor) && aed_is_exact(other_factor) && aed_is_exact(fixed / 256.0f);
    const v128_t factor = wasm_f64x2_splat((double)one_factor);
    const v128_t next = wasm_f64x2_splat((double)other_factor);
    for (int32_t i = 0; i < count; i += 4) {
        v128_t sum = wasm_f32x4_splat(fixed);
        if (exact) {
            sum = aed_four_fused(aed_four(one + i), factor, aed_four_fused(aed_four(other + i), next, sum));
        } else {
            float sums[4];
            for (int32_t j = 0; j < 4; ++j) {
                sums[j] = fmaf((float)one[i + j], one_factor, fmaf((float)other[i + j], other_factor, fixed));
            }
            sum = wasm_v128_load(sums);
        }
        wasm_v128_store32_lane(out + i, aed_eight_steps(aed_four_rounded(sum), wasm_i32x4_const_splat(0), 0), 0);
    }
}
