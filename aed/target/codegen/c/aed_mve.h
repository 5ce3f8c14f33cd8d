/* What the kernels for MVE share; only they include it. */
#ifndef AED_MVE_H
#define AED_MVE_H

#include "aed_exact.h"

#include <arm_mve.h>

#include "aed_steps.h"

/* Assembly where intrinsics spill; a compiler that does not read GCC's gets intrinsics for the same order of weights. */
#if defined(__GNUC__) && !defined(AED_INTRINSICS)
#define AED_ASSEMBLY 1
/* a whole function in assembly: free of the compiler's frame, so the same with and without optimisation; ADR counts from
 * a multiple of 4, which without optimisation functions do not begin at */
#define AED_NAKED static __attribute__((naked, noinline, used, aligned(4)))
#define AED_IN_REGISTER __attribute__((unused))
#define AED_APART static __attribute__((noinline)) /* called from more than one place, and large */
#else
#define AED_ASSEMBLY 0
#define AED_APART static
#endif

/* size may be 0; nothing beyond it is read or written. */
static inline int8_t *aed_copy(const int8_t *in, int8_t *out, int32_t size) {
    int8_t *const end = out + size;
#if AED_ASSEMBLY
    __asm volatile("wlstp.8 lr, %[size], 2f\n"
                   "1:\n"
                   "vldrb.8 q0, [%[in]], #16\n"
                   "vstrb.8 q0, [%[out]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [in] "+r"(in), [out] "+r"(out)
                   : [size] "r"(size)
                   : "lr", "q0", "memory");
#else
    memcpy(out, in, (size_t)size);
#endif
    return end;
}

/* Two copies at once. */
static inline void aed_copy_two(const int8_t *one, const int8_t *other, int8_t *out, int8_t *next, int32_t size) {
#if AED_ASSEMBLY
    __asm volatile("wlstp.8 lr, %[size], 2f\n"
                   "1:\n"
                   "vldrb.8 q0, [%[one]], #16\n"
                   "vldrb.8 q1, [%[other]], #16\n"
                   "vstrb.8 q0, [%[out]], #16\n"
                   "vstrb.8 q1, [%[next]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [one] "+r"(one), [other] "+r"(other), [out] "+r"(out), [next] "+r"(next)
                   : [size] "r"(size)
                   : "lr", "q0", "q1", "memory");
#else
    memcpy(out, one, (size_t)size);
    memcpy(next, other, (size_t)size);
#endif
}

static inline int8_t *aed_fill(int8_t value, int8_t *out, int32_t size) {
    int8_t *const end = out + size;
#if AED_ASSEMBLY
    __asm volatile("vdup.8 q0, %[value]\n"
                   "wlstp.8 lr, %[size], 2f\n"
                   "1:\n"
                   "vstrb.8 q0, [%[out]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [out] "+r"(out)
                   : [size] "r"(size), [value] "r"((int32_t)value)
                   : "lr", "q0", "memory");
#else
    memset(out, value, (size_t)size);
#endif
    return end;
}

/* A vector of floats clipped to 0 and the float before 2, by its bits. */
#define AED_CLIP(Q) "vqshlu.s32 " Q ", " Q ", #2\n vshr.u32 " Q ", " Q ", #2\n"

/* Four sums to rounded values, not yet steps; slope: of a HardSwish, NULL: there is none. */
AED_INLINE int32x4_t aed_four_values(int32x4_t sum, float32x4_t factor, const float *slope) {
    const float32x4_t half = vmulq_f32(vcvtq_f32_s32(sum), factor);
    if (slope == NULL) {
        return vcvtnq_s32_f32(half);
    }
    float32x4_t gate = vmulq_n_f32(half, *slope);
    AED_ROUNDED(gate);
    const int32x4_t bits = vreinterpretq_s32_f32(vaddq_n_f32(gate, 1.0f));
    const uint32x4_t clipped = vshrq_n_u32(vqshluq_n_s32(bits, 2), 2);
    return vcvtnq_s32_f32(vmulq_f32(half, vreinterpretq_f32_u32(clipped)));
}

/* Four rounded values to steps, of which some are there. */
static inline void aed_four_steps(int32x4_t value, int8_t *out, mve_pred16_t there) {
    vstrbq_p_s32(out, vmaxq_s32(vminq_s32(value, vdupq_n_s32(127)), vdupq_n_s32(-128)), there);
}

/* Sums of the outputs 0, 2, 4, 6 and 1, 3, 5, 7 to steps, in the lower halves of 16 bits. */
AED_INLINE int16x8_t aed_eight_steps(
    int32x4_t even, int32x4_t odd, float32x4_t even_factor, float32x4_t odd_factor, const float *slope, int32_t zero) {
    const int32x4_t one = aed_four_values(even, even_factor, slope);
    const int32x4_t other = aed_four_values(odd, odd_factor, slope);
    /* 16 bits are enough for what 8 will hold */
    const int16x8_t step = vqaddq_n_s16(vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), one), other), (int16_t)zero);
    return vreinterpretq_s16_s8(vqmovnbq_s16(vdupq_n_s8(0), step));
}

#endif
