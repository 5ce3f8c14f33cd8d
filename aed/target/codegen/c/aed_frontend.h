/*
 * Log-mel front end: 16-bit samples in, int8 patches for the net out.
 *
 * Same numbers as aed.dsp.logmel in Python (Fourier transform in float64) followed by QuantizeLinear. The sizes come
 * from aed_frontend_tables.h, which aed.target.codegen.frontend generates. No heap, no globals but constant tables; one
 * aed_frontend per stream.
 *
 *     static aed_frontend fe;
 *     aed_frontend_init(&fe);
 *     for each block of samples:
 *         while (count > 0) {
 *             int ready;
 *             size_t used = aed_frontend_feed(&fe, samples, count, &ready);
 *             samples += used;
 *             count -= used;
 *             if (ready != 0) {
 *                 aed_frontend_patch(&fe, net_input);
 *                 run the net
 *             }
 *         }
 */
#ifndef AED_FRONTEND_H
#define AED_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#include "aed_spectrum.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AED_FRONTEND_PATCH_BYTES (AED_FE_N_MELS * AED_FE_PATCH_FRAMES)

/* A stream of columns: frames as int8 values of the net's input. Enough for a net that takes column after column. */
typedef struct {
    int16_t samples[AED_FE_N_FFT]; /* the frame being filled */
    size_t fill;                   /* samples in it */
    size_t skip;                   /* samples to drop before it, where hop > n_fft */
    aed_spectrum spectrum;
} aed_columns;

/* A stream of patches. */
typedef struct {
    aed_columns stream;
    int8_t columns[AED_FE_PATCH_FRAMES][AED_FE_N_MELS]; /* ring of the latest ones */
    size_t next;                                        /* where the next one goes = the oldest one */
    size_t wanted;                                      /* columns until the next patch is complete */
} aed_frontend;

/* Empties the stream: the next sample is the first of column 0. */
void aed_columns_init(aed_columns *stream);

/*
 * Takes samples in, any number of them, and returns how many it took. It takes all of them and sets *ready = 0, or
 * stops at the sample that completes a frame, writes it to column[AED_FE_N_MELS] and sets *ready = 1: feed the rest after.
 * Frames begin every AED_FE_HOP_LENGTH samples, whatever the sizes of the blocks.
 */
size_t aed_columns_feed(aed_columns *stream, const int16_t *samples, size_t count, int8_t *column, int *ready);

/*
 * The log-mel values logmel[AED_FE_N_MELS] of the frame samples[AED_FE_N_FFT], not quantised. Uses the work buffer
 * only: the stream goes on as if it had not been called.
 */
void aed_columns_frame(aed_columns *stream, const int16_t *samples, float *logmel);

/* Empties the stream: the next sample is the first of frame 0. */
void aed_frontend_init(aed_frontend *fe);

/*
 * Takes samples in, any number of them, and returns how many it took. It takes all of them and sets *ready = 0, or
 * stops at the sample that completes a patch and sets *ready = 1: copy the patch, then feed the rest. Patches begin
 * every AED_FE_PATCH_HOP frames, whatever the sizes of the blocks.
 */
size_t aed_frontend_feed(aed_frontend *fe, const int16_t *samples, size_t count, int *ready);

/*
 * Copies the last AED_FE_PATCH_FRAMES frames to patch[AED_FRONTEND_PATCH_BYTES], (n_mels, patch_frames), row-major.
 * With one channel this is the input of the net in NCHW and in NHWC alike.
 */
void aed_frontend_patch(const aed_frontend *fe, int8_t *patch);

/* The int8 value of a log-mel value: round half to even of value / scale, plus zero point, saturated. */
int8_t aed_frontend_quantise(float value);

#ifdef __cplusplus
}
#endif

#endif /* AED_FRONTEND_H */
