/*
 * The Fourier transform of the front end, in 32-bit fixed point; see aed_spectrum.h.
 *
 * In float32 its rounding, about 1e-7 of the loudest bin, shows in the quiet bands of tonal sounds. A frame of n_fft real
 * samples is a complex transform of AED_FE_POINTS = n_fft / 2 points (even samples real, odd ones imaginary), decimation
 * in time: radix 4 while the samples are loaded, radix 2 where the number of points is no power of 4, radix 4 from there.
 * Source of the algorithm: Oppenheim, Schafer, Discrete-Time Signal Processing, chapter 9.
 *
 * Every product is (a * b + 2^31) >> 32, added to a sum of 32 bits: one instruction of the cores with DSP extension, one
 * or two of those with MVE, and the same bits in plain C.
 *
 * Why nothing overflows. No value of a transform can exceed the sum S of |v| over the samples v that it is made of. The
 * samples are shifted up until the largest uses all bits (block floating point) and windowed to |v| <=
 * 2^AED_FE_INPUT_BITS. Each pass with twiddles divides: the first by 2^(1 + extra), the last two by 2, others by 4. Up to
 * there the window alone tells how large S can be, and the generator chooses AED_FE_INPUT_BITS such that all results
 * stay under 2^31, also those of the last two passes with extra = 2. For less loss of precision, load_frame adds up |v|
 * of the four transforms that the last pass joins, and the smallest `extra` is taken that keeps these and the whole under
 * 2^31. Sums inside of a pass are parts of its results; twice a value of a pass, from which such a sum is subtracted,
 * is not more than the pass before gave. Rounding adds less than 8 to a value in each pass, 2^15 are left for it. The
 * separation of the real bins adds halves.
 *
 * With AED_FE_CMSIS_DSP defined, CMSIS-DSP's float32 transform takes its place, but with errors of some 1e-3 log units in
 * quiet bands of tonal sounds.
 *
 * Assumes, as is so in every compiler for Cortex-M: >> of a negative number is arithmetic, conversion to a narrower signed
 * type keeps the low bits. Compile with -ffp-contract=off: then host and target give the same bits.
 */
#include "aed_exact.h"

#include "aed_spectrum.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static inline float square_root(float x)
{
#if defined(__ARM_FP) && ((__ARM_FP & 4) != 0) && defined(__GNUC__) && !defined(__aarch64__)
    /* sqrtf would be this and a call that sets errno */
    float root;

    __asm("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
#else
    return sqrtf(x);
#endif
}

/* |x + i y| ** power. */
static inline float magnitude(float x, float y)
{
    float x2 = x * x;
    float y2 = y * y;

    AED_ROUNDED(x2);
    AED_ROUNDED(y2);
    const float square = x2 + y2;

#if AED_FE_POWER == 1
    return square_root(square);
#else
    return square;
#endif
}

#ifndef AED_FE_CMSIS_DSP

#define POINTS ((size_t)AED_FE_POINTS)

#if defined(AED_PORTABLE) || !defined(__GNUC__)
#define AED_FE_MVE 0
#define AED_FE_SMMLA 0
#else
#if defined(__ARM_FEATURE_MVE) && ((__ARM_FEATURE_MVE & 2) != 0) && defined(__OPTIMIZE__) && (AED_FE_POINTS >= 16)
#define AED_FE_MVE 1 /* four points at a time */
#include <arm_mve.h>
#else
#define AED_FE_MVE 0
#endif
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define AED_FE_SMMLA 1
#else
#define AED_FE_SMMLA 0
#endif
#endif

#if AED_FE_SMMLA

static inline int32_t product(int32_t a, int32_t b)
{
    int32_t result;

    __asm("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

static inline int32_t plus_product(int32_t sum, int32_t a, int32_t b)
{
    int32_t result;

    __asm("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline int32_t minus_product(int32_t sum, int32_t a, int32_t b)
{
    int32_t result;

    __asm("smmlsr %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

#else

static inline int32_t product(int32_t a, int32_t b)
{
    return (int32_t)((((int64_t)a * b) + ((int64_t)1 << 31)) >> 32);
}

static inline int32_t plus_product(int32_t sum, int32_t a, int32_t b)
{
    return sum + product(a, b);
}

/* The product with -b, as SMMLSR has it, not minus the product with b: halves are rounded up. */
static inline int32_t minus_product(int32_t sum, int32_t a, int32_t b)
{
    return sum + product(a, -b);
}

#endif

/* Bits that differ from the next lower one, of every second sample in one half, of the others in the other. */
#if AED_FE_MVE

static uint32_t changing_bits(const int16_t *samples)
{
    uint16x8_t changes = vdupq_n_u16(0U);
    uint32x4_t pairs;
    size_t i;

    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i += 8U) {
        const uint16x8_t eight = vreinterpretq_u16_s16(vldrhq_s16(&samples[(size_t)AED_FE_WINDOW_FIRST + i]));

        changes = vorrq_u16(changes, veorq_u16(eight, vshlq_n_u16(eight, 1)));
    }
    pairs = vreinterpretq_u32_u16(changes);
    return vgetq_lane_u32(pairs, 0) | vgetq_lane_u32(pairs, 1) | vgetq_lane_u32(pairs, 2) | vgetq_lane_u32(pairs, 3);
}

#else

static inline uint32_t changing_bits_of(const int16_t *two)
{
    uint32_t pair;

    (void)memcpy(&pair, two, sizeof(pair));
    return pair ^ (pair << 1);
}

static uint32_t changing_bits(const int16_t *samples)
{
    const int16_t *const seen = &samples[AED_FE_WINDOW_FIRST];
    uint32_t changes = 0U;
    size_t i;

    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i += 8U) {
        changes |= changing_bits_of(&seen[i]) | changing_bits_of(&seen[i + 2U]);
        changes |= changing_bits_of(&seen[i + 4U]) | changing_bits_of(&seen[i + 6U]);
    }
    return changes;
}

#endif

/* How often a sample of 16 bits can be doubled, at most 14 times. */
static uint32_t headroom(const int16_t *samples)
{
    uint32_t changes = changing_bits(samples);
    uint32_t doublings = 0U;

    /* the lowest bit of each half has none below it */
    changes = (changes | (changes >> 16)) & 0xFFFEU;
    while ((changes < 0x8000U) && (doublings < 14U)) {
        changes <<= 1;
        doublings++;
    }
    return doublings;
}

/* The unit of sums of |v|: small enough that AED_FE_N_FFT of them fit 32 bits. */
#define SUM_SHIFT (AED_FE_LOG2_POINTS - 2)

/* The sum of all |v| that the passes without extra ones divide to under 2^31; 2^15 are left for rounding. */
#define SUM_LIMIT (((((uint32_t)1 << 31) - ((uint32_t)1 << 15)) >> SUM_SHIFT) << AED_FE_HALVINGS)

#define MOST_EXTRA (AED_FE_POINTS < 32 ? 0U : 2U) /* the first pass with twiddles must not be the last one */

/* |v|, or |v| - 1 of negative ones. */
static inline uint32_t size_of(int32_t v)
{
    return (uint32_t)(v ^ (v >> 31));
}

/*
 * Windows the samples, shifted left by 16 bits and by their headroom, and takes them through the first pass: radix-4
 * butterflies without twiddles. Adds to each of sums[4] |v| of every fourth point, not rounded up: by less than 8 for each
 * of its POINTS / 16 times eight values.
 */
#if AED_FE_MVE

/* The points n to n + 3 of the samples; their |v| are added to *sum. */
static inline int32x4x2_t load_points(const int16_t *samples, size_t n, int32_t doublings, uint32x4_t *sum)
{
    const int16x8_t eight = vshlq_r_s16(vldrhq_s16(&samples[2U * n]), doublings);
    const int32x4x2_t window = vld2q_s32(&aed_fe_window[2U * n]);
    int32x4x2_t z;

    z.val[0] = vrmulhq_s32(vshllbq_n_s16(eight, 16), window.val[0]);
    z.val[1] = vrmulhq_s32(vshlltq_n_s16(eight, 16), window.val[1]);
    *sum = vaddq_u32(*sum, vreinterpretq_u32_s32(veorq_s32(z.val[0], vshrq_n_s32(z.val[0], 31))));
    *sum = vaddq_u32(*sum, vreinterpretq_u32_s32(veorq_s32(z.val[1], vshrq_n_s32(z.val[1], 31))));
    return z;
}

static void load_frame(const int16_t *samples, uint32_t doublings, aed_spectrum_word *work, uint32_t *sums)
{
    const int32_t shift = (int32_t)doublings;
    uint32x4_t all = vdupq_n_u32(0U);
    size_t n;

    for (n = 0U; n < (POINTS / 4U); n += 4U) {
        const uint32x4_t to =
            vaddq_n_u32(vshlq_n_u32(vldrhq_u32(&aed_fe_order[n]), 2), (uint32_t)(uintptr_t)work);
        uint32x4_t sum = vdupq_n_u32(0U);
        int32x4x2_t a = load_points(samples, n, shift, &sum);
        int32x4x2_t b = load_points(samples, n + (POINTS / 2U), shift, &sum);
        const int32x4_t sr = vaddq_s32(a.val[0], b.val[0]);
        const int32x4_t si = vaddq_s32(a.val[1], b.val[1]);
        const int32x4_t dr = vsubq_s32(a.val[0], b.val[0]);
        const int32x4_t di = vsubq_s32(a.val[1], b.val[1]);
        int32x4_t tr, ti, er, ei;

        a = load_points(samples, n + (POINTS / 4U), shift, &sum);
        b = load_points(samples, n + (3U * POINTS / 4U), shift, &sum);
        tr = vaddq_s32(a.val[0], b.val[0]);
        ti = vaddq_s32(a.val[1], b.val[1]);
        er = vsubq_s32(a.val[0], b.val[0]);
        ei = vsubq_s32(a.val[1], b.val[1]);
        all = vaddq_u32(all, vshrq_n_u32(sum, SUM_SHIFT));
        vstrwq_scatter_base_s32(to, 0, vaddq_s32(sr, tr));
        vstrwq_scatter_base_s32(to, 4, vaddq_s32(si, ti));
        vstrwq_scatter_base_s32(to, 8, vaddq_s32(dr, ei));
        vstrwq_scatter_base_s32(to, 12, vsubq_s32(di, er));
        vstrwq_scatter_base_s32(to, 16, vsubq_s32(sr, tr));
        vstrwq_scatter_base_s32(to, 20, vsubq_s32(si, ti));
        vstrwq_scatter_base_s32(to, 24, vsubq_s32(dr, ei));
        vstrwq_scatter_base_s32(to, 28, vaddq_s32(di, er));
    }
    vst1q_u32(sums, all);
}

#else

/* The point of samples 2 n and 2 n + 1, windowed; |v| of both is added to *sum. */
static inline void load_point(const int16_t *samples, size_t n, uint32_t shift, int32_t *re, int32_t *im, uint32_t *sum)
{
    const int32_t even = (int32_t)((uint32_t)samples[2U * n] << shift);
    const int32_t odd = (int32_t)((uint32_t)samples[(2U * n) + 1U] << shift);

    *re = product(even, aed_fe_window[2U * n]);
    *im = product(odd, aed_fe_window[(2U * n) + 1U]);
    *sum += size_of(*re) + size_of(*im);
}

static void load_frame(const int16_t *samples, uint32_t doublings, aed_spectrum_word *work, uint32_t *sums)
{
    const uint32_t shift = 16U + doublings;
    size_t first;
    size_t n;

    for (first = 0U; first < 4U; first++) {
        uint32_t all = 0U;

        for (n = first; n < (POINTS / 4U); n += 4U) {
            aed_spectrum_word *const z = &work[aed_fe_order[n]];
            uint32_t sum = 0U;
            int32_t ar, ai, br, bi, cr, ci, dr, di, sr, si;

            load_point(samples, n, shift, &ar, &ai, &sum);
            load_point(samples, n + (POINTS / 2U), shift, &br, &bi, &sum);
            sr = ar + br;
            si = ai + bi;
            ar -= br;
            ai -= bi;
            load_point(samples, n + (POINTS / 4U), shift, &cr, &ci, &sum);
            load_point(samples, n + (3U * POINTS / 4U), shift, &dr, &di, &sum);
            br = cr + dr;
            bi = ci + di;
            cr -= dr;
            ci -= di;
            z[0].fixed = sr + br;
            z[1].fixed = si + bi;
            z[2].fixed = ar + ci;
            z[3].fixed = ai - cr;
            z[4].fixed = sr - br;
            z[5].fixed = si - bi;
            z[6].fixed = ar - ci;
            z[7].fixed = ai + cr;
            all += sum >> SUM_SHIFT;
        }
        sums[first] = all;
    }
}

#endif

/* How often the first pass with twiddles halves more than once; see above. */
static uint32_t extra_halvings(const uint32_t *sums)
{
    const uint32_t all = AED_FE_N_FFT + sums[0] + sums[1] + sums[2] + sums[3]; /* rounded up by 1 a sample */
    uint32_t largest = all;
    uint32_t extra = 0U;
    size_t i;

    for (i = 0U; i < 4U; i++) {
        /* of half as much, as the last pass divides by 2 */
        const uint32_t doubled = 2U * (sums[i] + ((uint32_t)AED_FE_N_FFT / 4U));

        largest = (doubled > largest) ? doubled : largest;
    }
    while ((extra != MOST_EXTRA) && ((largest >> extra) >= SUM_LIMIT)) {
        extra++;
    }
    return extra;
}

#if AED_FE_MVE

/* z (c - i s), w = c, s. The product with -s, not minus the product with s: halves are rounded up. */
static inline int32x4x2_t turned(int32x4x2_t z, int32x4x2_t w)
{
    int32x4x2_t result;

    result.val[0] = vaddq_s32(vrmulhq_s32(z.val[0], w.val[0]), vrmulhq_s32(z.val[1], w.val[1]));
    result.val[1] = vaddq_s32(vrmulhq_s32(z.val[1], w.val[0]), vrmulhq_s32(z.val[0], vnegq_s32(w.val[1])));
    return result;
}

static inline int32x4x2_t plus(int32x4x2_t a, int32x4x2_t b)
{
    a.val[0] = vaddq_s32(a.val[0], b.val[0]);
    a.val[1] = vaddq_s32(a.val[1], b.val[1]);
    return a;
}

static inline int32x4x2_t minus(int32x4x2_t a, int32x4x2_t b)
{
    a.val[0] = vsubq_s32(a.val[0], b.val[0]);
    a.val[1] = vsubq_s32(a.val[1], b.val[1]);
    return a;
}

#endif

/* The factor of a value without twiddle in a pass that divides by 2^shift; for 1/2 the largest there is. */
static inline int32_t one_half_to(uint32_t shift)
{
    return (int32_t)(((uint32_t)1 << (32U - shift)) - ((shift == 1U) ? 1U : 0U));
}

#if AED_FE_LOG2_POINTS % 2 == 1

/* From transforms of 4 points to those of 8, divided by 2^shift. Twiddles: 4 times (cos, sin). */
#if AED_FE_MVE

static void radix2_pass(aed_spectrum_word *work, const int32_t *twiddles, uint32_t shift)
{
    const int32x4x2_t w = vld2q_s32(twiddles);
    const int32x4_t unit = vdupq_n_s32(one_half_to(shift));
    size_t i;

    for (i = 0U; i < (2U * POINTS); i += 16U) {
        int32x4x2_t a = vld2q_s32(&work[i].fixed);
        int32x4x2_t b = vld2q_s32(&work[i + 8U].fixed);

        a.val[0] = vrmulhq_s32(a.val[0], unit);
        a.val[1] = vrmulhq_s32(a.val[1], unit);
        b = turned(b, w);
        vst2q_s32(&work[i].fixed, plus(a, b));
        vst2q_s32(&work[i + 8U].fixed, minus(a, b));
    }
}

#else

static void radix2_pass(aed_spectrum_word *work, const int32_t *twiddles, uint32_t shift)
{
    const int32_t unit = one_half_to(shift);
    const int32_t more = (POINTS == 8U) ? 1 : 0; /* for split_bins, as in radix4_pass */
    size_t k;
    size_t i;

    for (k = 0U; k < 8U; k += 2U) {
        const int32_t c = twiddles[k];
        const int32_t s = twiddles[k + 1U];

        for (i = k; i < (2U * POINTS); i += 16U) {
            aed_spectrum_word *const a = &work[i];
            aed_spectrum_word *const b = &work[i + 8U];
            const int32_t re = product(a[0].fixed, unit) + more;
            const int32_t im = product(a[1].fixed, unit) + more;
            const int32_t x = b[0].fixed;
            const int32_t y = b[1].fixed;

            a[0].fixed = plus_product(plus_product(re, x, c), y, s);
            a[1].fixed = minus_product(plus_product(im, y, c), x, s);
            b[0].fixed = (2 * re) - a[0].fixed;
            b[1].fixed = (2 * im) - a[1].fixed;
        }
    }
}

#endif

#endif

/*
 * The radix-4 butterflies of one transform of 4 * length points out of its quarters, which lie in bit-reversed order: those
 * of the samples 4n, 4n + 2, 4n + 1, 4n + 3. Twiddles: length times (cos, sin) of one, two, three angles. The first
 * quarter is multiplied by `unit`; in the last pass it is halved, and all values become 1 too large for split_bins.
 */
#if AED_FE_MVE

/* Two vectors as a product with twiddles (cos in c, sin in s): re and im, `spare` and what is in x, y, c, s may be lost. */
#define TURN(re, im, spare)                                                                                            \
    "vrmulh.s32 " re ", q0, q2\n vrmulh.s32 " spare ", q1, q3\n vadd.i32 " re ", " re ", " spare "\n"                    \
    "vrmulh.s32 " im ", q1, q2\n vneg.s32 q3, q3\n vrmulh.s32 q0, q0, q3\n vadd.i32 " im ", " im ", q0\n"

static inline __attribute__((always_inline)) void butterflies(
    aed_spectrum_word *work, const int32_t *twiddles, const size_t length, int32_t unit, const int last)
{
    const size_t step = 2U * length; /* words of a quarter */
    const int32_t *w1 = twiddles;
    const int32_t *w2 = &w1[step];
    const int32_t *w3 = &w2[step];
    aed_spectrum_word *z0 = work;
    aed_spectrum_word *z2 = &z0[step];
    aed_spectrum_word *z1 = &z2[step];
    aed_spectrum_word *z3 = &z1[step];

    /* all 8 vectors: one that is needed later waits in the last quarter */
    __asm volatile(
        "dls lr, %[count]\n"
        "1: vld20.32 {q0, q1}, [%[z3]]\n vld21.32 {q0, q1}, [%[z3]]\n"
        "vld20.32 {q2, q3}, [%[w3]]\n vld21.32 {q2, q3}, [%[w3]]!\n"
        TURN("q4", "q5", "q5")
        "vld20.32 {q0, q1}, [%[z1]]\n vld21.32 {q0, q1}, [%[z1]]\n"
        "vld20.32 {q2, q3}, [%[w1]]\n vld21.32 {q2, q3}, [%[w1]]!\n"
        TURN("q6", "q7", "q7")
        "vadd.i32 q1, q4, q6\n vadd.i32 q2, q5, q7\n vsub.i32 q5, q5, q7\n vsub.i32 q7, q4, q6\n"
        "vstrw.32 q5, [%[z3]]\n"
        "vld20.32 {q3, q4}, [%[z2]]\n vld21.32 {q3, q4}, [%[z2]]\n"
        "vld20.32 {q5, q6}, [%[w2]]\n vld21.32 {q5, q6}, [%[w2]]!\n"
        "vrmulh.s32 q0, q3, q5\n vrmulh.s32 q5, q4, q5\n vrmulh.s32 q4, q4, q6\n vneg.s32 q6, q6\n"
        "vrmulh.s32 q6, q3, q6\n vadd.i32 q0, q0, q4\n vadd.i32 q5, q5, q6\n"
        "vld20.32 {q3, q4}, [%[z0]]\n vld21.32 {q3, q4}, [%[z0]]\n"
        ".if %c[last]\n vmov.i32 q6, #3\n vadd.i32 q3, q3, q6\n vadd.i32 q4, q4, q6\n"
        "vshr.s32 q3, q3, #1\n vshr.s32 q4, q4, #1\n"
        ".else\n vdup.32 q6, %[unit]\n vrmulh.s32 q3, q3, q6\n vrmulh.s32 q4, q4, q6\n .endif\n"
        "vsub.i32 q6, q4, q5\n vadd.i32 q4, q4, q5\n vsub.i32 q5, q3, q0\n vadd.i32 q3, q3, q0\n"
        "vadd.i32 q0, q3, q1\n vsub.i32 q3, q3, q1\n vadd.i32 q1, q4, q2\n vsub.i32 q4, q4, q2\n"
        "vst20.32 {q0, q1}, [%[z0]]\n vst21.32 {q0, q1}, [%[z0]]!\n"
        "vst20.32 {q3, q4}, [%[z1]]\n vst21.32 {q3, q4}, [%[z1]]!\n"
        "vldrw.32 q1, [%[z3]]\n"
        "vsub.i32 q0, q5, q1\n vadd.i32 q5, q5, q1\n vadd.i32 q1, q6, q7\n vsub.i32 q6, q6, q7\n"
        "vst20.32 {q0, q1}, [%[z2]]\n vst21.32 {q0, q1}, [%[z2]]!\n"
        "vst20.32 {q5, q6}, [%[z3]]\n vst21.32 {q5, q6}, [%[z3]]!\n"
        "le lr, 1b\n"
        : [z0] "+r"(z0), [z1] "+r"(z1), [z2] "+r"(z2), [z3] "+r"(z3), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3)
        : [count] "r"(length / 4U), [unit] "r"(unit), [last] "i"(last)
        : "lr", "memory", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7");
}

#elif AED_FE_SMMLA && defined(__OPTIMIZE__) && !defined(__clang__) /* which keeps registers for itself */

/* A step, the size of a quarter and of the twiddles of an angle in bytes, fits the offsets of LDRD and STRD, or not. */
#define EITHER(near, far) ".if %c[step] < 1024\n " near "\n.else\n " far "\n.endif\n"

static inline __attribute__((always_inline)) void butterflies(
    aed_spectrum_word *work, const int32_t *twiddles, const size_t length, int32_t unit, const int last)
{
    const int32_t *const end = &twiddles[4U * length];
    const int32_t *w = &twiddles[2U * length];          /* of two angles */
    aed_spectrum_word *z = &work[(6U * length) - 2U]; /* before the last quarter */
    int32_t x, y, c, s, ar, br, bi, er, ei, fr, fi;

    /* all 14 registers: c and x also take results, y also the imaginary part of what ar is the real part of */
    __asm volatile("1: ldrd %[x], %[y], [%[z], #8]!\n"
        EITHER("ldrd %[c], %[s], [%[w], #%c[step]]", "add %[w], %[w], #%c[step]\n ldrd %[c], %[s], [%[w]]")
        "smmulr %[fr], %[x], %[c]\n smmulr %[fi], %[y], %[c]\n"
        "smmlar %[fr], %[y], %[s], %[fr]\n smmlsr %[fi], %[x], %[s], %[fi]\n"
        EITHER("ldrd %[x], %[y], [%[z], #-%c[step]]!", "sub %[z], %[z], #%c[step]\n ldrd %[x], %[y], [%[z]]")
        EITHER("ldrd %[c], %[s], [%[w], #-%c[step]]", "sub %[w], %[w], #2 * %c[step]\n ldrd %[c], %[s], [%[w]]")
        "smmlar %[er], %[x], %[c], %[fr]\n smmlar %[ei], %[y], %[c], %[fi]\n"
        "smmlar %[er], %[y], %[s], %[er]\n smmlsr %[ei], %[x], %[s], %[ei]\n"
        "rsb %[fr], %[er], %[fr], lsl #1\n rsb %[fi], %[ei], %[fi], lsl #1\n"
        EITHER("ldrd %[x], %[y], [%[z], #-%c[step]]!", "sub %[z], %[z], #%c[step]\n ldrd %[x], %[y], [%[z]]")
        EITHER("ldrd %[br], %[bi], [%[z], #-%c[step]]", "sub %[z], %[z], #%c[step]\n ldrd %[br], %[bi], [%[z]]")
        EITHER("ldrd %[c], %[s], [%[w]], #8", "add %[w], %[w], #%c[step]\n ldrd %[c], %[s], [%[w]], #8")
        ".if %c[last]\n add %[br], %[br], #3\n asr %[br], %[br], #1\n add %[bi], %[bi], #3\n asr %[bi], %[bi], #1\n"
        ".else\n smmulr %[br], %[br], %[unit]\n smmulr %[bi], %[bi], %[unit]\n .endif\n"
        "smmlar %[ar], %[x], %[c], %[br]\n smmlar %[ar], %[y], %[s], %[ar]\n"
        "smmlar %[y], %[y], %[c], %[bi]\n smmlsr %[y], %[x], %[s], %[y]\n"
        "rsb %[br], %[ar], %[br], lsl #1\n rsb %[bi], %[y], %[bi], lsl #1\n"
        "add %[x], %[ar], %[er]\n add %[c], %[y], %[ei]\n"
        EITHER("strd %[x], %[c], [%[z], #-%c[step]]", "strd %[x], %[c], [%[z]]\n add %[z], %[z], #%c[step]")
        "sub %[x], %[br], %[fi]\n add %[c], %[bi], %[fr]\n strd %[x], %[c], [%[z]]\n"
        "sub %[ar], %[ar], %[er]\n sub %[y], %[y], %[ei]\n"
        EITHER("strd %[ar], %[y], [%[z], #%c[step]]!", "add %[z], %[z], #%c[step]\n strd %[ar], %[y], [%[z]]")
        "add %[br], %[br], %[fi]\n sub %[bi], %[bi], %[fr]\n"
        EITHER("strd %[br], %[bi], [%[z], #%c[step]]!", "add %[z], %[z], #%c[step]\n strd %[br], %[bi], [%[z]]")
        "ldr %[s], %[end]\n cmp %[w], %[s]\n bne 1b\n"
        : [z] "+r"(z), [w] "+r"(w), [x] "=&r"(x), [y] "=&r"(y), [c] "=&r"(c), [s] "=&r"(s), [ar] "=&r"(ar),
          [br] "=&r"(br), [bi] "=&r"(bi), [er] "=&r"(er), [ei] "=&r"(ei), [fr] "=&r"(fr), [fi] "=&r"(fi)
        : [unit] "r"(unit), [end] "m"(end), [step] "i"(8U * length), [last] "i"(last)
        : "cc", "memory");
}

#else

static inline void butterflies(
    aed_spectrum_word *work, const int32_t *twiddles, size_t length, int32_t unit, int last)
{
    const size_t step = 2U * length; /* words of a quarter */
    size_t i;

    for (i = 0U; i < step; i += 2U) {
        const int32_t *const w = &twiddles[i];
        aed_spectrum_word *const q0 = &work[i];
        aed_spectrum_word *const q2 = &q0[step];
        aed_spectrum_word *const q1 = &q2[step];
        aed_spectrum_word *const q3 = &q1[step];
        int32_t er, ei, fr, fi, ar, ai, br, bi, x, y;

        x = q3[0].fixed;
        y = q3[1].fixed;
        fr = plus_product(product(x, w[2U * step]), y, w[(2U * step) + 1U]);
        fi = minus_product(product(y, w[2U * step]), x, w[(2U * step) + 1U]);
        x = q1[0].fixed;
        y = q1[1].fixed;
        er = plus_product(plus_product(fr, x, w[0]), y, w[1]);
        ei = minus_product(plus_product(fi, y, w[0]), x, w[1]);
        fr = (2 * fr) - er;
        fi = (2 * fi) - ei;
        x = q2[0].fixed;
        y = q2[1].fixed;
        br = (last != 0) ? ((q0[0].fixed + 3) >> 1) : product(q0[0].fixed, unit);
        bi = (last != 0) ? ((q0[1].fixed + 3) >> 1) : product(q0[1].fixed, unit);
        ar = plus_product(plus_product(br, x, w[step]), y, w[step + 1U]);
        ai = minus_product(plus_product(bi, y, w[step]), x, w[step + 1U]);
        br = (2 * br) - ar;
        bi = (2 * bi) - ai;
        q0[0].fixed = ar + er;
        q0[1].fixed = ai + ei;
        q1[0].fixed = ar - er;
        q1[1].fixed = ai - ei;
        q2[0].fixed = br - fi;
        q2[1].fixed = bi + fr;
        q3[0].fixed = br + fi;
        q3[1].fixed = bi - fr;
    }
}

#endif

/* A radix-4 pass, divided by 2^shift. */
static inline __attribute__((always_inline)) void radix4_pass(
    aed_spectrum_word *work, const int32_t *twiddles, const size_t length, uint32_t shift)
{
    const int32_t unit = one_half_to(shift);
    size_t i;

    for (i = 0U; i < (2U * POINTS); i += 8U * length) {
        butterflies(&work[i], twiddles, length, unit, (4U * length) == POINTS);
    }
}

/* The pass of a length, where the transform has one after the first; the last two divide by 2, the others by 4. */
#define PASS(length)                                                                                                   \
    if ((length) < POINTS) {                                                                                           \
        radix4_pass(work, &aed_fe_twiddles[(2U * (length)) - 8U], (length), ((16U * (length)) < POINTS) ? 2U : 1U);    \
    }

#define TWIDDLES (AED_FE_LOG2_POINTS % 2 == 1 ? 8U : 24U) /* of the first pass with any, in words */

/* All passes with twiddles; the first one divides by 2^(1 + extra). */
static void transform(aed_spectrum_word *work, uint32_t extra)
{
    int32_t divided[TWIDDLES];
    size_t i;

    for (i = 0U; i < TWIDDLES; i++) {
        divided[i] = aed_fe_twiddles[i] >> extra;
    }
#if AED_FE_LOG2_POINTS % 2 == 1
    radix2_pass(work, divided, 1U + extra);
    PASS(8U)
    PASS(32U)
    PASS(128U)
    PASS(512U)
    PASS(2048U)
    PASS(8192U)
#else
    radix4_pass(work, divided, 4U, 1U + extra);
    PASS(16U)
    PASS(64U)
    PASS(256U)
    PASS(1024U)
    PASS(4096U)
#endif
}

/*
 * Transform of POINTS complex values, each 1 too large -> magnitudes of the bins X of the real samples.
 * With E = (Z[k] + conj Z[M - k]) / 2 and O = (Z[k] - conj Z[M - k]) / 2:
 * X[k] = E - i w^k O and X[M - k] = conj(E + i w^k O), w = exp(-2 pi i / n_fft).
 * Bin k goes to work[k], bin M - k to work[2 M - k], words that were read before.
 */
#if AED_FE_MVE

static inline int32x4_t magnitudes(int32x4_t re, int32x4_t im)
{
    const float32x4_t x = vcvtq_f32_s32(re);
    const float32x4_t y = vcvtq_f32_s32(im);
    float32x4_t x2 = vmulq_f32(x, x);
    float32x4_t y2 = vmulq_f32(y, y);

    AED_ROUNDED(x2);
    AED_ROUNDED(y2);
    register float32x4_t squares __asm("q0") = vaddq_f32(x2, y2);

#if AED_FE_POWER == 1
    __asm("vsqrt.f32 s0, s0\n vsqrt.f32 s1, s1\n vsqrt.f32 s2, s2\n vsqrt.f32 s3, s3" : "+w"(squares));
#endif
    return vreinterpretq_s32_f32(squares);
}

static void split_pairs(aed_spectrum_word *work)
{
    size_t k;

    for (k = 1U; k <= (POINTS / 2U); k += 4U) {
        const int32_t *const last = &work[2U * (POINTS - k - 3U)].fixed;
        int32x4x2_t a = vld2q_s32(&work[2U * k].fixed);
        int32x4_t re = vldrwq_gather_shifted_offset_s32(last, vddupq_n_u32(6U, 2));
        int32x4_t im = vldrwq_gather_shifted_offset_s32(&last[1], vddupq_n_u32(6U, 2));
        int32x4x2_t odd;

        a.val[0] = vshrq_n_s32(a.val[0], 1);
        a.val[1] = vshrq_n_s32(a.val[1], 1);
        re = vshrq_n_s32(re, 1);
        im = vshrq_n_s32(im, 1);
        odd.val[0] = vsubq_s32(a.val[0], re);
        odd.val[1] = vaddq_s32(a.val[1], im);
        re = vaddq_s32(a.val[0], re);
        im = vsubq_s32(a.val[1], im);
        odd = turned(odd, vld2q_s32(aed_fe_split[k - 1U]));
        odd = plus(odd, odd);
        vst1q_s32(&work[k].fixed, magnitudes(vaddq_s32(re, odd.val[1]), vsubq_s32(im, odd.val[0])));
        vstrwq_scatter_shifted_offset_s32(
            &work[(2U * POINTS) - k - 3U].fixed, vddupq_n_u32(3U, 1),
            magnitudes(vsubq_s32(re, odd.val[1]), vaddq_s32(im, odd.val[0])));
    }
}

#else

static void split_pairs(aed_spectrum_word *work)
{
    size_t k;

    for (k = 1U; k <= (POINTS / 2U); k++) {
        const aed_spectrum_word *const a = &work[2U * k];
        const aed_spectrum_word *const b = &work[2U * (POINTS - k)];
        const int32_t c = aed_fe_split[k - 1U][0];
        const int32_t s = aed_fe_split[k - 1U][1];
        const int32_t even_re = (a[0].fixed >> 1) + (b[0].fixed >> 1);
        const int32_t even_im = (a[1].fixed >> 1) - (b[1].fixed >> 1);
        const int32_t odd_re = (a[0].fixed >> 1) - (b[0].fixed >> 1);
        const int32_t odd_im = (a[1].fixed >> 1) + (b[1].fixed >> 1);
        const int32_t p = 2 * minus_product(product(odd_im, c), odd_re, s);
        const int32_t q = 2 * plus_product(product(odd_re, c), odd_im, s);

        work[k].real = magnitude((float)(even_re + p), (float)(even_im - q));
        work[(2U * POINTS) - k].real = magnitude((float)(even_re - p), (float)(even_im + q));
    }
}

#endif

static void split_bins(aed_spectrum_word *work)
{
    const int32_t re = work[0].fixed - 1;
    const int32_t im = work[1].fixed - 1;

    work[0].real = magnitude((float)(re + im), 0.0F);
    work[2U * POINTS].real = magnitude((float)(re - im), 0.0F);
    split_pairs(work);
    (void)memcpy(&work[(POINTS / 2U) + 1U], &work[(3U * POINTS / 2U) + 1U], (POINTS / 2U) * sizeof(work[0]));
}

/* 2^exponent, a normal number. */
static float power_of_two(int32_t exponent)
{
    const int32_t word = (exponent + 127) * ((int32_t)1 << 23);
    float result;

    (void)memcpy(&result, &word, sizeof(result));
    return result;
}

void aed_spectrum_init(aed_spectrum *spectrum)
{
    (void)spectrum;
}

float aed_spectrum_run(aed_spectrum *spectrum, const int16_t *samples)
{
    aed_spectrum_word *const work = spectrum->work;
    const uint32_t doublings = headroom(samples);
    uint32_t sums[4];
    uint32_t extra;

    load_frame(samples, doublings, work, sums);
    extra = extra_halvings(sums);
    transform(work, extra);
    split_bins(work);
    return power_of_two((AED_FE_HALVINGS + (int32_t)extra - AED_FE_INPUT_BITS - (int32_t)doublings) * AED_FE_POWER);
}

#else /* AED_FE_CMSIS_DSP */

#define INIT_OF(n_fft) arm_rfft_fast_init_##n_fft##_f32
#define INIT(n_fft) INIT_OF(n_fft)

void aed_spectrum_init(aed_spectrum *spectrum)
{
    (void)INIT(AED_FE_N_FFT)(&spectrum->transform);
}

float aed_spectrum_run(aed_spectrum *spectrum, const int16_t *samples)
{
    float *const wave = &spectrum->work[0].real;
    const float *const bins = spectrum->bins;
    size_t i;

    for (i = 0U; i < (size_t)AED_FE_N_FFT; i++) {
        /* exact up to here: 16 bits; the window is in units of 2^-(AED_FE_INPUT_BITS + 1) */
        wave[i] = ((float)samples[i] * 0x1p-15F) * ((float)aed_fe_window[i] / (float)(1UL << (AED_FE_INPUT_BITS + 1)));
    }
    arm_rfft_fast_f32(&spectrum->transform, wave, spectrum->bins, 0U);
    /* the real bins 0 and n_fft / 2 come first, then re, im of the others */
    wave[0] = magnitude(bins[0], 0.0F);
    wave[AED_FE_N_FFT / 2] = magnitude(bins[1], 0.0F);
    for (i = 1U; i < ((size_t)AED_FE_N_FFT / 2U); i++) {
        wave[i] = magnitude(bins[2U * i], bins[(2U * i) + 1U]);
    }
    return 1.0F;
}

#endif /* AED_FE_CMSIS_DSP */
