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
 * |v| <= 2^AED_FE_INPUT_BITS <= 2^29, so |z| <= 2^29.5 for its complex points. The first pass is divided by at most 2,
 * every later one by at most 4, which keeps |z| <= 2^30.5. No value can exceed the sum of all |v| either, so dividing
 * stops as soon as that sum fits into 2^30: a tone keeps a bit or two that the worst case would cost. The generator
 * chooses AED_FE_INPUT_BITS such that the passes together can divide as often as the window may ask for.
 *
 * With AED_FE_CMSIS_DSP defined, CMSIS-DSP's float32 transform takes its place: fewer instructions, but errors of some 1e-3
 * log units in quiet bands of tonal sounds.
 *
 * Assumes, as is so in every compiler for Cortex-M: >> of a negative number is arithmetic, conversion to a narrower signed
 * type keeps the low bits. Compile with -ffp-contract=off: then host and target give the same bits.
 */
#include "aed_frontend.h"

#include <math.h>
#include <string.h>

#ifndef AED_FE_CMSIS_DSP

#define POINTS ((size_t)AED_FE_POINTS)
#define Q30 ((int64_t)1073741824) /* 1.0 of window and twiddles */

/* The sum of all |v| that needs no more division, in load_frame's unit; 2^14 are left for rounding. */
#define SUM_LIMIT ((((uint32_t)1 << 30) - ((uint32_t)1 << 14)) / ((uint32_t)AED_FE_N_FFT / 4U))

/* The power of two that values are scaled by against full scale = 1.0, and how often the passes have to halve them. */
typedef struct {
    int32_t exponent;
    uint32_t halvings;
} scaling;

/* A Q30 product, `rounding` = 2^(29 + shift) added, to 32 bits and divided by 2^shift, shift <= 2. */
static int32_t narrow(int64_t product, uint32_t shift)
{
    /* built from its two words: a 64-bit shift by a variable costs twice as much on a 32-bit core */
    const uint32_t high = (uint32_t)((uint64_t)product >> 32);
    const uint32_t low = (uint32_t)((uint64_t)product & 0xFFFFFFFFU);

    return (int32_t)((high << (2U - shift)) | ((low >> 1) >> (29U + shift)));
}

/* Windows the samples into the work buffer, in bit-reversed order. */
static scaling load_frame(aed_frontend *fe, const int16_t *samples)
{
    const int16_t *seen = &samples[AED_FE_WINDOW_FIRST];
    scaling result;
    uint32_t bits = 0U;
    uint32_t sum = AED_FE_N_FFT; /* of |v|, in units of n_fft / 4, rounded up */
    int32_t gain = (int32_t)1 << (AED_FE_INPUT_BITS - 13);
    size_t i;

    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i++) {
        const int32_t x = seen[i];
        bits |= (uint32_t)(x ^ (x >> 31));
    }
    result.exponent = AED_FE_INPUT_BITS;
    while ((bits < 0x4000U) && (result.exponent < (AED_FE_INPUT_BITS + 14))) {
        bits <<= 1;
        gain *= 2;
        result.exponent++;
    }

    (void)memset(fe->work, 0, sizeof(fe->work));
    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i += 2U) {
        const int64_t even = (int64_t)(seen[i] * gain) * aed_fe_window[i];
        const int64_t odd = (int64_t)(seen[i + 1U] * gain) * aed_fe_window[i + 1U];
        const int32_t re = (int32_t)((even + ((int64_t)1 << 31)) >> 32);
        const int32_t im = (int32_t)((odd + ((int64_t)1 << 31)) >> 32);
        aed_frontend_word *z = &fe->work[2U * (size_t)aed_fe_order[((size_t)AED_FE_WINDOW_FIRST + i) / 2U]];

        z[0].fixed = re;
        z[1].fixed = im;
        sum += (uint32_t)((re < 0) ? -re : re) / ((uint32_t)AED_FE_N_FFT / 4U);
        sum += (uint32_t)((im < 0) ? -im : im) / ((uint32_t)AED_FE_N_FFT / 4U);
    }
    result.halvings = 0U;
    while ((sum >> result.halvings) >= SUM_LIMIT) {
        result.halvings++;
    }
    result.exponent -= (int32_t)result.halvings;
    return result;
}

#if AED_FE_LOG2_POINTS % 2 == 0

/* The first pass: radix-4 butterflies without twiddles. Returns its halvings: at most 1. */
static uint32_t first_pass(aed_frontend_word *z, uint32_t halvings)
{
    const uint32_t shift = (halvings < 1U) ? halvings : 1U;
    const int32_t rounding = (int32_t)shift;
    size_t i;

    for (i = 0U; i < (2U * POINTS); i += 8U) {
        /* -2^29 <= v < 2^29, and at most two of the four are subtracted: the sums stay under 2^31 */
        const int32_t sr = z[i].fixed + z[i + 2U].fixed;
        const int32_t si = z[i + 1U].fixed + z[i + 3U].fixed;
        const int32_t dr = z[i].fixed - z[i + 2U].fixed;
        const int32_t di = z[i + 1U].fixed - z[i + 3U].fixed;
        const int32_t tr = z[i + 4U].fixed + z[i + 6U].fixed;
        const int32_t ti = z[i + 5U].fixed + z[i + 7U].fixed;
        const int32_t er = z[i + 4U].fixed - z[i + 6U].fixed;
        const int32_t ei = z[i + 5U].fixed - z[i + 7U].fixed;

        z[i].fixed = (sr + tr + rounding) >> shift;
        z[i + 1U].fixed = (si + ti + rounding) >> shift;
        z[i + 2U].fixed = (dr + ei + rounding) >> shift;
        z[i + 3U].fixed = (di - er + rounding) >> shift;
        z[i + 4U].fixed = (sr - tr + rounding) >> shift;
        z[i + 5U].fixed = (si - ti + rounding) >> shift;
        z[i + 6U].fixed = (dr - ei + rounding) >> shift;
        z[i + 7U].fixed = (di + er + rounding) >> shift;
    }
    return shift;
}

#define FIRST_LENGTH 4U

#else

/* The first pass: radix-2 butterflies, exact and without twiddles. Returns its halvings: none. */
static uint32_t first_pass(aed_frontend_word *z, uint32_t halvings)
{
    size_t i;

    (void)halvings;
    for (i = 0U; i < (2U * POINTS); i += 4U) {
        const int32_t re = z[i + 2U].fixed;
        const int32_t im = z[i + 3U].fixed;

        z[i + 2U].fixed = z[i].fixed - re;
        z[i + 3U].fixed = z[i + 1U].fixed - im;
        z[i].fixed += re;
        z[i + 1U].fixed += im;
    }
    return 0U;
}

#define FIRST_LENGTH 2U

#endif

/*
 * A radix-4 pass: from transforms of `length` points to transforms of four times as many, divided by 2^shift. Quarters
 * lie in bit-reversed order: those of the samples 4n, 4n + 2, 4n + 1, 4n + 3.
 */
static void radix4_pass(aed_frontend_word *z, size_t length, uint32_t shift)
{
    const int64_t rounding = (int64_t)1 << (29U + shift);
    const size_t step = 2U * length; /* words of a quarter */
    const size_t turn = POINTS / (4U * length);
    size_t k;
    size_t i;

    for (k = 0U; k < length; k++) {
        const int32_t *const w1 = aed_fe_twiddles[k * turn * 2U];
        const int32_t *const w2 = aed_fe_twiddles[k * turn * 4U];
        const int32_t *const w3 = aed_fe_twiddles[k * turn * 6U];
        const int32_t c1 = w1[0];
        const int32_t s1 = w1[1];
        const int32_t c2 = w2[0];
        const int32_t s2 = w2[1];
        const int32_t c3 = w3[0];
        const int32_t s3 = w3[1];

        for (i = 2U * k; i < (2U * POINTS); i += 4U * step) {
            aed_frontend_word *const q0 = &z[i];
            aed_frontend_word *const q2 = &q0[step];
            aed_frontend_word *const q1 = &q2[step];
            aed_frontend_word *const q3 = &q1[step];
            /* x_m * (c_m - i s_m), not rounded */
            const int64_t r0 = (q0[0].fixed * Q30) + rounding;
            const int64_t i0 = (q0[1].fixed * Q30) + rounding;
            const int64_t r1 = ((int64_t)q1[0].fixed * c1) + ((int64_t)q1[1].fixed * s1);
            const int64_t i1 = ((int64_t)q1[1].fixed * c1) - ((int64_t)q1[0].fixed * s1);
            const int64_t r2 = ((int64_t)q2[0].fixed * c2) + ((int64_t)q2[1].fixed * s2);
            const int64_t i2 = ((int64_t)q2[1].fixed * c2) - ((int64_t)q2[0].fixed * s2);
            const int64_t r3 = ((int64_t)q3[0].fixed * c3) + ((int64_t)q3[1].fixed * s3);
            const int64_t i3 = ((int64_t)q3[1].fixed * c3) - ((int64_t)q3[0].fixed * s3);

            q0[0].fixed = narrow((r0 + r2) + (r1 + r3), shift);
            q0[1].fixed = narrow((i0 + i2) + (i1 + i3), shift);
            q2[0].fixed = narrow((r0 - r2) + (i1 - i3), shift);
            q2[1].fixed = narrow((i0 - i2) - (r1 - r3), shift);
            q1[0].fixed = narrow((r0 + r2) - (r1 + r3), shift);
            q1[1].fixed = narrow((i0 + i2) - (i1 + i3), shift);
            q3[0].fixed = narrow((r0 - r2) - (i1 - i3), shift);
            q3[1].fixed = narrow((i0 - i2) + (r1 - r3), shift);
        }
    }
}

#endif /* not AED_FE_CMSIS_DSP */

/* |x + iy| ** power. */
static float magnitude(float x, float y)
{
    const float square = (x * x) + (y * y);

#if AED_FE_POWER == 1
    return sqrtf(square);
#else
    return square;
#endif
}

#ifndef AED_FE_CMSIS_DSP

/* Of one bin 2 X, its parts in the scale of the transform; `unit` undoes scale and factor 2. */
static float scaled_magnitude(int32_t re, int32_t im, float unit)
{
    return magnitude((float)re * unit, (float)im * unit);
}

/*
 * Transform of POINTS complex values -> magnitudes (or powers) of the n_fft / 2 + 1 bins of the real samples: bin k in
 * work[2 k].real. With E = Z[k] + conj Z[M - k] and O = Z[k] - conj Z[M - k]:
 * 2 X[k] = E - i w^k O and 2 X[M - k] = conj(E + i w^k O), w = exp(-2 pi i / n_fft).
 */
static void split_bins(aed_frontend_word *z, float unit)
{
    const int32_t first_re = z[0].fixed;
    const int32_t first_im = z[1].fixed;
    size_t k;

    z[0].real = scaled_magnitude(2 * (first_re + first_im), 0, unit);
    z[2U * POINTS].real = scaled_magnitude(2 * (first_re - first_im), 0, unit);
    for (k = 1U; k <= (POINTS / 2U); k++) {
        aed_frontend_word *const a = &z[2U * k];
        aed_frontend_word *const b = &z[2U * (POINTS - k)];
        const int32_t c = aed_fe_twiddles[k][0];
        const int32_t s = aed_fe_twiddles[k][1];
        const int32_t even_re = a[0].fixed + b[0].fixed;
        const int32_t even_im = a[1].fixed - b[1].fixed;
        const int32_t odd_re = a[0].fixed - b[0].fixed;
        const int32_t odd_im = a[1].fixed + b[1].fixed;
        const int32_t p = narrow((((int64_t)odd_im * c) - ((int64_t)odd_re * s)) + (Q30 / 2), 0U);
        const int32_t q = narrow((((int64_t)odd_re * c) + ((int64_t)odd_im * s)) + (Q30 / 2), 0U);

        a[0].real = scaled_magnitude(even_re + p, even_im - q, unit);
        b[0].real = scaled_magnitude(even_re - p, even_im + q, unit);
    }
}

#endif /* not AED_FE_CMSIS_DSP */

/*
 * Natural logarithm of a positive normal number, error under 1 ulp; no library call, so that every target agrees.
 * Source of method and coefficients: FreeBSD msun e_logf.c (Remez on [0, 0.1716]).
 */
static float natural_log(float x)
{
    const float ln2_high = 6.9313812256e-01F; /* 16 bits: exact times an exponent */
    const float ln2_low = 9.0580006145e-06F;
    int32_t word;
    int32_t exponent;
    float m;
    float f;
    float s;
    float z;
    float w;
    float r;
    float half_square;
    float e;

    (void)memcpy(&word, &x, sizeof(word));
    word += 0x3F800000 - 0x3F3504F3; /* mantissa from sqrt(1/2) to sqrt(2) */
    exponent = (word >> 23) - 127;
    word = (word & 0x007FFFFF) + 0x3F3504F3;
    (void)memcpy(&m, &word, sizeof(m));
    f = m - 1.0F;
    s = f / (2.0F + f);
    z = s * s;
    w = z * z;
    r = (w * (0.40000972152F + (w * 0.24279078841F))) + (z * (0.66666662693F + (w * 0.28498786688F)));
    half_square = 0.5F * f * f;
    e = (float)exponent;
    return ((s * (half_square + r)) + (e * ln2_low) - half_square) + f + (e * ln2_high);
}

/* aed.dsp.logmel.compress */
static float compress(float mel)
{
#if AED_FE_TO_DB
    const float floored = (mel > AED_FE_FLOOR) ? mel : AED_FE_FLOOR;

    return (natural_log(floored) * AED_FE_DB_FACTOR) - AED_FE_DB_REF;
#else
    return natural_log(mel + AED_FE_LOG_OFFSET);
#endif
}

/* Mel bands of the magnitudes, and their logarithm. */
static void log_mel(const aed_frontend_word *z, float *logmel)
{
    const float *weight = aed_fe_mel_weights;
    size_t band;

    for (band = 0U; band < (size_t)AED_FE_N_MELS; band++) {
        const size_t stop = (size_t)aed_fe_mel_first[band] + (size_t)aed_fe_mel_count[band];
        float sum = 0.0F;
        size_t k;

        for (k = aed_fe_mel_first[band]; k < stop; k++) {
            sum += *weight * z[2U * k].real;
            weight++;
        }
        logmel[band] = compress(sum);
    }
}

#ifdef AED_FE_CMSIS_DSP

#define INIT_OF(n_fft) arm_rfft_fast_init_##n_fft##_f32
#define INIT(n_fft) INIT_OF(n_fft)

void aed_frontend_frame(aed_frontend *fe, const int16_t *samples, float *logmel)
{
    const int16_t *const seen = &samples[AED_FE_WINDOW_FIRST];
    float *const wave = &fe->work[0].real;
    const float *const bins = fe->spectrum;
    size_t i;

    (void)memset(fe->work, 0, sizeof(fe->work));
    for (i = 0U; i < (size_t)AED_FE_WINDOW_COUNT; i++) {
        /* exact up to here: 16 bits times 2^-15; the window is in units of 2^-30 */
        wave[(size_t)AED_FE_WINDOW_FIRST + i] = ((float)seen[i] * 0x1p-15F) * ((float)aed_fe_window[i] * 0x1p-30F);
    }
    arm_rfft_fast_f32(&fe->transform, wave, fe->spectrum, 0U);
    /* the real bins 0 and n_fft / 2 come first, then re, im of the others */
    fe->work[0].real = magnitude(bins[0], 0.0F);
    fe->work[AED_FE_N_FFT].real = magnitude(bins[1], 0.0F);
    for (i = 2U; i < (size_t)AED_FE_N_FFT; i += 2U) {
        fe->work[i].real = magnitude(bins[i], bins[i + 1U]);
    }
    log_mel(fe->work, logmel);
}

#else

void aed_frontend_frame(aed_frontend *fe, const int16_t *samples, float *logmel)
{
    const scaling scale = load_frame(fe, samples);
    uint32_t left = scale.halvings;
    size_t length;

    left -= first_pass(fe->work, left);
    for (length = FIRST_LENGTH; length < POINTS; length *= 4U) {
        const uint32_t shift = (left < 2U) ? left : 2U;

        radix4_pass(fe->work, length, shift);
        left -= shift;
    }
    split_bins(fe->work, ldexpf(1.0F, -(scale.exponent + 1)));
    log_mel(fe->work, logmel);
}

#endif /* AED_FE_CMSIS_DSP */

int8_t aed_frontend_quantise(float value)
{
    float level = rintf(value / AED_FE_SCALE) + (float)AED_FE_ZERO_POINT;

    level = (level > 127.0F) ? 127.0F : level;
    level = (level < -128.0F) ? -128.0F : level;
    return (int8_t)level;
}

/* The full frame of samples becomes the newest column; the samples move on by a hop. */
static void take_frame(aed_frontend *fe)
{
    float logmel[AED_FE_N_MELS];
    size_t band;

    aed_frontend_frame(fe, fe->samples, logmel);
    for (band = 0U; band < (size_t)AED_FE_N_MELS; band++) {
        fe->columns[fe->next][band] = aed_frontend_quantise(logmel[band]);
    }
    fe->next = ((fe->next + 1U) < (size_t)AED_FE_PATCH_FRAMES) ? (fe->next + 1U) : 0U;
#if AED_FE_HOP_LENGTH < AED_FE_N_FFT
    fe->fill = (size_t)AED_FE_N_FFT - (size_t)AED_FE_HOP_LENGTH;
    (void)memmove(fe->samples, &fe->samples[AED_FE_HOP_LENGTH], fe->fill * sizeof(fe->samples[0]));
#else
    fe->fill = 0U;
    fe->skip = (size_t)AED_FE_HOP_LENGTH - (size_t)AED_FE_N_FFT;
#endif
}

void aed_frontend_init(aed_frontend *fe)
{
    (void)memset(fe, 0, sizeof(*fe));
    fe->wanted = AED_FE_PATCH_FRAMES;
#ifdef AED_FE_CMSIS_DSP
    (void)INIT(AED_FE_N_FFT)(&fe->transform);
#endif
}

size_t aed_frontend_feed(aed_frontend *fe, const int16_t *samples, size_t count, int *ready)
{
    size_t used = 0U;

    *ready = 0;
    while ((used < count) && (*ready == 0)) {
        const size_t left = count - used;

        if (fe->skip > 0U) {
            const size_t dropped = (left < fe->skip) ? left : fe->skip;

            fe->skip -= dropped;
            used += dropped;
        } else {
            const size_t room = (size_t)AED_FE_N_FFT - fe->fill;
            const size_t taken = (left < room) ? left : room;

            (void)memcpy(&fe->samples[fe->fill], &samples[used], taken * sizeof(samples[0]));
            fe->fill += taken;
            used += taken;
            if (fe->fill == (size_t)AED_FE_N_FFT) {
                take_frame(fe);
                fe->wanted--;
                if (fe->wanted == 0U) {
                    fe->wanted = AED_FE_PATCH_HOP;
                    *ready = 1;
                }
            }
        }
    }
    return used;
}

void aed_frontend_patch(const aed_frontend *fe, int8_t *patch)
{
    size_t frame;
    size_t band;
    size_t column = fe->next; /* the oldest */

    for (frame = 0U; frame < (size_t)AED_FE_PATCH_FRAMES; frame++) {
        for (band = 0U; band < (size_t)AED_FE_N_MELS; band++) {
            patch[(band * (size_t)AED_FE_PATCH_FRAMES) + frame] = fe->columns[column][band];
        }
        column = ((column + 1U) < (size_t)AED_FE_PATCH_FRAMES) ? (column + 1U) : 0U;
    }
}
