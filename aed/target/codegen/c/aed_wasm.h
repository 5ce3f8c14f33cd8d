/* What the kernels share that are made of WebAssembly's vectors; no relaxed ones, which may fuse or saturate otherwise. */
#ifndef AED_WASM_H
#define AED_WASM_H

#include <wasm_simd128.h>

#include "aed_steps.h"

/* Four values, rounded to what 16 bits hold. Once they are between whole numbers of 16 bits, a sum with 1.5 * 2^23 has
 * no bits for a fraction: it is rounded half to even, and its lower bits are the value. */
static inline v128_t aed_four_rounded(v128_t value) {
    value = wasm_f32x4_pmax(wasm_f32x4_const_splat(-32768.0f), wasm_f32x4_pmin(wasm_f32x4_const_splat(32767.0f), value));
    value = wasm_f32x4_add(value, wasm_f32x4_const_splat(12582912.0f));
    return wasm_i32x4_sub(value, wasm_i32x4_const_splat(0x4B400000));
}

/* Four sums to such values, by way of a HardSwish where slope is not NULL; see aed_swish_step. */
AED_INLINE v128_t aed_four_values(v128_t sum, v128_t factor, const float *slope) {
    const v128_t value = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum), factor);
    if (slope == NULL) {
        return aed_four_rounded(value);
    }
    v128_t gate = wasm_f32x4_add(wasm_f32x4_mul(value, wasm_f32x4_splat(*slope)), wasm_f32x4_const_splat(1.0f));
    gate = wasm_i32x4_min(wasm_i32x4_max(gate, wasm_i32x4_const_splat(0)), wasm_i32x4_const_splat(0x3FFFFFFF));
    return aed_four_rounded(wasm_f32x4_mul(value, gate));
}

/* Twice four such values to steps, in the lower half. */
static inline v128_t aed_eight_steps(v128_t one, v128_t other, int32_t zero) {
    const v128_t values = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4(one, other), wasm_i16x8_splat((int16_t)zero));
    return wasm_i8x16_narrow_i16x8(values, values);
}

#endif
