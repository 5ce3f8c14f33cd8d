/*
 * Log-mel front end; see aed_frontend.h.
 *
 * All sums have a defined order, so that host and target give the same bits, with vectors of four or without; compile with
 * -ffp-contract=off.
 */
#include "aed_frontend.h"

#include <string.h>

/*
 * Natural logarithm of a positive normal number, error under 1.5 ulp; no library call, so that every target agrees.
 * x = 2^e (1 + f), 1 + f from sqrt(1/2) to sqrt(2); log(1 + f) = f + f^2 q(f), where q is the polynomial of the least
 * maximum error of the whole (Remez), 7e-9.
 */
static float natural_log(float x)
{
    const float ln2_high = 6.9313812256e-01F; /* 16 bits: exact times an exponent */
    const float ln2_low = 9.0580006145e-06F;
    int32_t word;
    float f;
    float e;
    float q;

    (void)memcpy(&word, &x, sizeof(word));
    word += 0x3F800000 - 0x3F3504F3; /* mantissa from sqrt(1/2) to sqrt(2) */
    e = (float)((word >> 23) - 127);
    word = (word & 0x007FFFFF) + 0x3F3504F3;
    (void)memcpy(&f, &word, sizeof(f));
    f -= 1.0F;
    q = (f * 8.6721912e-02F) - 1.43790096e-01F;
    q = (f * q) + 1.49779916e-01F;
    q = (f * q) - 1.65644258e-01F;
    q = (f * q) + 1.99548751e-01F;
    q = (f * q) - 2.50016987e-01F;
    q = (f * q) + 3.33341658e-01F;
    q = (f * q) - 0.5F;
    return (((f * f) * q) + (e * ln2_low)) + f + (e * ln2_high);
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

/* Mel bands of the magnitudes, and their logarithm. Every fourth product goes to the same sum, as with vectors. */
static void log_mel(const aed_spectrum_word *magnitudes, float unit, float *logmel)
{
    const float *w = aed_fe_mel_weights;
    size_t band;

    for (band = 0U; band < (size_t)AED_FE_N_MELS; band++) {
        const aed_spectrum_word *m = &magnitudes[aed_fe_mel_first[band]];
        size_t left = aed_fe_mel_count[band];
        float sum0 = 0.0F;
        float sum1 = 0.0F;
        float sum2 = 0.0F;
        float sum3 = 0.0F;

        for (; left >= 4U; left -= 4U) {
            sum0 += w[0] * m[0].real;
            sum1 += w[1] * m[1].real;
            sum2 += w[2] * m[2].real;
            sum3 += w[3] * m[3].real;
            w += 4;
            m += 4;
        }
        if (left > 0U) {
            sum0 += w[0] * m[0].real;
        }
        if (left > 1U) {
            sum1 += w[1] * m[1].real;
        }
        if (left > 2U) {
            sum2 += w[2] * m[2].real;
        }
        w += left;
        logmel[band] = compress(((sum0 + sum1) + (sum2 + sum3)) * unit);
    }
}

void aed_columns_frame(aed_columns *stream, const int16_t *samples, float *logmel)
{
    const float unit = aed_spectrum_run(&stream->spectrum, samples);

    log_mel(stream->spectrum.work, unit, logmel);
}

int8_t aed_frontend_quantise(float value)
{
    const float lowest = (float)(-128 - AED_FE_ZERO_POINT);
    const float highest = (float)(127 - AED_FE_ZERO_POINT);
    float level = value / AED_FE_SCALE;

    level = (level > highest) ? highest : level;
    level = (level < lowest) ? lowest : level;
    level = (level + 12582912.0F) - 12582912.0F; /* 1.5 * 2^23: the sum has no bits for a fraction */
    return (int8_t)((int32_t)level + AED_FE_ZERO_POINT);
}

/* The column of the full frame of samples, which move on by a hop. */
static void take_frame(aed_columns *stream, int8_t *column)
{
    float logmel[AED_FE_N_MELS];
    size_t band;

    aed_columns_frame(stream, stream->samples, logmel);
    for (band = 0U; band < (size_t)AED_FE_N_MELS; band++) {
        column[band] = aed_frontend_quantise(logmel[band]);
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
