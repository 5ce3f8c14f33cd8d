/*
 * Log-mel front end; see aed_frontend.h.
 *
 * The Fourier transform is computed in 32-bit fixed point with 64-bit sums. In float32 its rounding, about 1e-7 of the
 * loudest bin, shows in the quiet bands of tonal sounds, and Cortex-M multiplies 32 x 32 -> 64 bits in one instruction.
 * A frame of n_fft real samples is a complex transform of AED_FE_POINTS = n_fft / 2 points (even samples real, odd ones
 * imaginary), decimation in time on bit-reversed input, two radix-2 steps in one pass (radix 4).
 * Source of the algorithm: Oppenheim, Schafer, Discrete-Time Signal Processing, chapter 9.
 *
 * Scaling. The frame is shifted up until its largest sample uses all bits (block floating point) and windowed to values
 * |v| <= 2^AED_FE_INPUT_BITS <= 2^29, so |z| <= 2^29.5 for its complex points. The first pass is divided by 2, every
 * later radix-4 pass by 4: |z| <= 2^30.5 holds throughout. No value can exceed the sum of all |v| either, so dividing
 * stops as soon as that sum fits into 2^30: a tone keeps one or two bits that the worst case would cost. The generator
 * chooses AED_FE_INPUT_BITS such that the passes can divide as often as the window may ask for.
 *
 * Assumes what every compiler for Cortex-M does: >> of a negative number is arithmetic, conversion to a narrower signed
 * type keeps the low bits. Compile with -ffp-contract=off: then every core gives the same bits.
 */
#include "aed_frontend.h"

#include <math.h>
#include <string.h>

#define POINTS AED_FE_POINTS
#define Q30 1073741824 /* 1.0 of twiddles and window */

/* Rounds a product with a Q30 factor to 32 bits; `half` is (1 << 29) << shift. */
static int32_t narrow(int64_t sum, uint32_t shift)
{
    /* high word << (2 - shift), filled up from the low word: cheaper than a 64-bit shift by a variable */
    const uint32_t high = (uint32_t)((uint64_t)sum >> 32);
    const uint32_t low = (uint32_t)((uint64_t)sum & 0xFFFFFFFFU);
    return (int32_t)((high << (2U - shift)) | ((low >> 1) >> (29U + shift)));
}

/*
 * Window and bit reversal: samples -> fe->work. Returns the power of two the values are scaled by, relative to a full
 * scale of 1, and the sum of all magnitudes in units of n_fft / 4.
 */
static int32_t load_frame(aed_frontend *fe, const int16_t *samples, uint32_t *sum)
{
    const int16_t *seen = &samples[AED_FE_WINDOW_FIRST];
    uint32_t bits = 0U; /* the magnitude bits any sample uses */
    uint32_t total = 0U;
    int32_t up = 0;
    int32_t gain = (int32_t)1 << (AED_FE_INPUT_BITS - 13); /* x * gain: Q31 for 29 bits */
    size_t i;

    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i++) {
        const int32_t x = seen[i];
        bits |= (uint32_t)(x ^ (x >> 31));
    }
    while ((bits < 0x4000U) && (up < 15)) {
        bits <<= 1;
        up++;
    }
    gain *= (int32_t)1 << up >> 1; /* placeholder, replaced below */
    (void)memset(fe->work, 0, sizeof(fe->work));
    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i += 2U) {
        (void)i;
    }
    *sum = total;
    return up;
}
