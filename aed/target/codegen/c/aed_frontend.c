/*
 * Log-mel front end; see aed_frontend.h.
 *
 * All sums have a defined order, so that host and target give the same bits, with vectors of four or without.
 */
#include "aed_exact.h"

#include "aed_frontend.h"

#include <string.h>

#if defined(__ARM_FEATURE_MVE) && ((__ARM_FEATURE_MVE & 2) != 0) && defined(__GNUC__) && !defined(AED_PORTABLE)

#include <arm_mve.h>

/* Four values at a time, for code that is the same with one: operators of C and these functions. */
typedef float32x4_t reals;
typedef int32x4_t words;
#define LANES 4U

static inline reals all_of(float value)
{
    return vdupq_n_f32(value);
}

static inline reals to_reals(words values)
{
    return vcvtq_f32_s32(values);
}

static inline words to_words(reals values)
{
    return vcvtq_s32_f32(values);
}

static inline reals larger(reals a, reals b)
{
    return vmaxnmq_f32(a, b);
}

static inline reals smaller(reals a, reals b)
{
    return vminnmq_f32(a, b);
}

static inline reals quotient(reals a, float b)
{
    register float32x4_t values __asm("q0") = a;
    register float divisor __asm("s4") = b;

    __asm("vdiv.f32 s0, s0, s4\n vdiv.f32 s1, s1, s4\n vdiv.f32 s2, s2, s4\n vdiv.f32 s3, s3, s4"
          : "+w"(values)
          : "t"(divisor));
    return values;
}

static inline reals product(reals a, reals b)
{
    reals both = a * b;

    AED_ROUNDED(both);
    return both;
}

/* The first `count` of four. */
static inline void store(float *to, reals values, size_t count)
{
    vstrwq_p_f32(to, values, vctp32q((uint32_t)count));
}

static inline void store_bytes(int8_t *to, words values, size_t count)
{
    vstrbq_p_s32(to, values, vctp32q((uint32_t)count));
}

/* The sums of the products of up to four bands, the first of which is `band`. */
static inline reals mel_sums(const aed_spectrum_word *magnitudes, size_t band, const float **weights)
{
    float sums[4][4];
    float32x4x4_t four;
    size_t i;

    for (i = 0U; i < 4U; i++) {
        float32x4_t sum = vdupq_n_f32(0.0F);

        if ((band + i) < (size_t)AED_FE_N_MELS) {
            const aed_spectrum_word *m = &magnitudes[aed_fe_mel_first[band + i]];
            const uint32_t count = aed_fe_mel_count[band + i];
            const float *w = *weights;
            float32x4_t x, y;

            /* lanes past the count are left out */
            __asm volatile("dlstp.32 lr, %[count]\n"
                           "1: vldrw.u32 %q[x], [%[m]], #16\n vldrw.u32 %q[y], [%[w]], #16\n"
                           "vmul.f32 %q[x], %q[x], %q[y]\n vadd.f32 %q[sum], %q[sum], %q[x]\n"
                           "letp lr, 1b\n"
                           : [sum] "+w"(sum), [x] "=&w"(x), [y] "=&w"(y), [m] "+r"(m), [w] "+r"(w)
                           : [count] "r"(count)
                           : "lr", "memory");
            *weights += count;
        }
        vst1q_f32(sums[i], sum);
    }
    four = vld4q_f32(sums[0]);
    return (four.val[0] + four.val[1]) + (four.val[2] + four.val[3]);
}

#else

typedef float reals;
typedef int32_t words;
#define LANES 1U

static inline reals all_of(float value)
{
    return value;
}

static inline reals to_reals(words value)
{
    return (reals)value;
}

static inline words to_words(reals value)
{
    return (words)value;
}

static inline reals larger(reals a, reals b)
{
    return (a > b) ? a : b;
}

static inline reals smaller(reals a, reals b)
{
    return (a < b) ? a : b;
}

static inline reals quotient(reals a, float b)
{
    return a / b;
}

static inline reals product(reals a, reals b)
{
    reals both = a * b;

    AED_ROUNDED(both);
    return both;
}

static inline void store(float *to, reals value, size_t count)
{
    (void)count;
    *to = value;
}

static inline void store_bytes(int8_t *to, words value, size_t count)
{
    (void)count;
    *to = (int8_t)value;
}

/* The sum of the products of a band: every fourth product goes to the same sum, as with vectors. */
static inline reals mel_sums(const aed_spectrum_word *magnitudes, size_t band, const float **weights)
{
    const aed_spectrum_word *m = &magnitudes[aed_fe_mel_first[band]];
    const float *w = *weights;
    size_t left = aed_fe_mel_count[band];
    float sum0 = 0.0F;
    float sum1 = 0.0F;
    float sum2 = 0.0F;
    float sum3 = 0.0F;

    for (; left >= 4U; left -= 4U) {
        sum0 += product(w[0], m[0].real);
        sum1 += product(w[1], m[1].real);
        sum2 += product(w[2], m[2].real);
        sum3 += product(w[3], m[3].real);
        w += 4;
        m += 4;
    }
    if (left > 0U) {
        sum0 += product(w[0], m[0].real);
    }
    if (left > 1U) {
        sum1 += product(w[1], m[1].real);
    }
    if (left > 2U) {
        sum2 += product(w[2], m[2].real);
    }
    *weights = w + left;
    return (sum0 + sum1) + (sum2 + sum3);
}

#endif

/*
 * Natural logarithm of positive normal numbers, error under 1.5 ulp; no library call, so that every target agrees.
 * x = 2^e (1 + f), 1 + f from sqrt(1/2) to sqrt(2); log(1 + f) = f + f^2 q(f), where q is the polynomial of the least
 * maximum error of the whole (Remez), 7e-9.
 */
static inline reals natural_log(reals x)
{
    const float ln2_high = 6.9313812256e-01F; /* 16 bits: exact times an exponent */
    const float ln2_low = 9.0580006145e-06F;
    words word;
    reals f;
    reals e;
    reals q;

    (void)memcpy(&word, &x, sizeof(word));
    word += 0x3F800000 - 0x3F3504F3; /* mantissa from sqrt(1/2) to sqrt(2) */
    e = to_reals((word >> 23) - 127);
    word = (word & 0x007FFFFF) + 0x3F3504F3;
    (void)memcpy(&f, &word, sizeof(f));
    f -= 1.0F;
    q = product(f, all_of(8.6721912e-02F)) - 1.43790096e-01F;
    q = product(f, q) + 1.49779916e-01F;
    q = product(f, q) - 1.65644258e-01F;
    q = product(f, q) + 1.99548751e-01F;
    q = product(f, q) - 2.50016987e-01F;
    q = product(f, q) + 3.33341658e-01F;
    q = product(f, q) - 0.5F;
    return (product(f * f, q) + product(e, all_of(ln2_low))) + f + product(e, all_of(ln2_high));
}

/* aed.dsp.logmel.compress */
static inline reals compress(reals mel)
{
#if AED_FE_TO_DB
    const reals level = natural_log(larger(mel, all_of(AED_FE_FLOOR)));
#else
    const reals level = natural_log(mel + AED_FE_LOG_OFFSET);
#endif

#if AED_FE_SCALES_LOG
    return product(level, all_of(AED_FE_LOG_FACTOR)) - AED_FE_LOG_SHIFT;
#else
    return level;
#endif
}

/* Log-mel values -> int8 values of the net's input: round half to even of value / scale, plus zero point, saturated. */
static inline words quantised(reals values)
{
    reals level = quotient(values, AED_FE_SCALE);

    level = larger(level, all_of((float)(-128 - AED_FE_ZERO_POINT)));
    level = smaller(level, all_of((float)(127 - AED_FE_ZERO_POINT)));
    level = (level + 12582912.0F) - 12582912.0F; /* 1.5 * 2^23: the sum has no bits for a fraction */
    return to_words(level) + AED_FE_ZERO_POINT;
}

int8_t aed_frontend_quantise(float value)
{
    int8_t level;

    store_bytes(&level, quantised(all_of(value)), 1U);
    return level;
}

void aed_columns_frame(aed_columns *stream, const int16_t *samples, float *logmel)
{
    const float unit = aed_spectrum_run(&stream->spectrum, samples);
    const float *weights = aed_fe_mel_weights;
    size_t band;

    for (band = 0U; band < (size_t)AED_FE_N_MELS; band += LANES) {
        const reals sums = mel_sums(stream->spectrum.work, band, &weights);

        store(&logmel[band], compress(product(sums, all_of(unit))), (size_t)AED_FE_N_MELS - band);
    }
}

/* The column of the full frame of samples, which move on by a hop. */
static void take_frame(aed_columns *stream, int8_t *column)
{
    const float unit = aed_spectrum_run(&stream->spectrum, stream->samples);
    const float *weights = aed_fe_mel_weights;
    size_t band;

    for (band = 0U; band < (size_t)AED_FE_N_MELS; band += LANES) {
        const reals sums = mel_sums(stream->spectrum.work, band, &weights);

        store_bytes(&column[band], quantised(compress(product(sums, all_of(unit)))), (size_t)AED_FE_N_MELS - band);
    }
#if AED_FE_HOP_LENGTH < AED_FE_N_FFT
    stream->fill = (size_t)AED_FE_N_FFT - (size_t)AED_FE_HOP_LENGTH;
    (void)memmove(stream->samples, &stream->samples[AED_FE_HOP_LENGTH], stream->fill * sizeof(stream->samples[0]));
#else
    stream->fill = 0U;
    stream->skip = (size_t)AED_FE_HOP_LENGTH - (size_t)AED_FE_N_FFT;
#endif
}

void aed_columns_init(aed_columns *stream)
{
    (void)memset(stream, 0, sizeof(*stream));
    aed_spectrum_init(&stream->spectrum);
}

size_t aed_columns_feed(aed_columns *stream, const int16_t *samples, size_t count, int8_t *column, int *ready)
{
    size_t used = (count < stream->skip) ? count : stream->skip;
    const size_t room = (size_t)AED_FE_N_FFT - stream->fill;
    const size_t taken = ((count - used) < room) ? (count - used) : room;

    (void)memcpy(&stream->samples[stream->fill], &samples[used], taken * sizeof(samples[0]));
    stream->skip -= used;
    stream->fill += taken;
    *ready = 0;
    if (stream->fill == (size_t)AED_FE_N_FFT) {
        take_frame(stream, column);
        *ready = 1;
    }
    return used + taken;
}

void aed_frontend_init(aed_frontend *fe)
{
    (void)memset(fe, 0, sizeof(*fe));
    aed_columns_init(&fe->stream);
    fe->wanted = AED_FE_PATCH_FRAMES;
}

size_t aed_frontend_feed(aed_frontend *fe, const int16_t *samples, size_t count, int *ready)
{
    size_t used = 0U;

    *ready = 0;
    while ((used < count) && (*ready == 0)) {
        int column;

        used += aed_columns_feed(&fe->stream, &samples[used], count - used, fe->columns[fe->next], &column);
        if (column != 0) {
            fe->next = ((fe->next + 1U) < (size_t)AED_FE_PATCH_FRAMES) ? (fe->next + 1U) : 0U;
            fe->wanted--;
            if (fe->wanted == 0U) {
                fe->wanted = AED_FE_PATCH_HOP;
                *ready = 1;
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
