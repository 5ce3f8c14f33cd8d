/* The magnitudes of a frame's Fourier transform; aed_frontend.c calls it. */
#ifndef AED_SPECTRUM_H
#define AED_SPECTRUM_H

#include <stdint.h>

#include "aed_frontend_tables.h"

#ifdef AED_FE_CMSIS_DSP /* the transform of CMSIS-DSP >= 1.14.3 instead of this project's own */
#include "arm_math.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Fixed point in the Fourier transform, float once it holds magnitudes. */
typedef union {
    int32_t fixed;
    float real;
} aed_spectrum_word;

typedef struct {
    aed_spectrum_word work[AED_FE_N_FFT + 1];
#ifdef AED_FE_CMSIS_DSP
    float bins[AED_FE_N_FFT];
    arm_rfft_fast_instance_f32 transform;
#endif
} aed_spectrum;

void aed_spectrum_init(aed_spectrum *spectrum);

/*
 * The bins 0 to n_fft / 2 of the windowed frame samples[AED_FE_N_FFT] into work[0].real and on: their magnitudes, or
 * powers where AED_FE_POWER is 2, divided by the power of two that is returned. 1.0 is the full scale of samples.
 */
float aed_spectrum_run(aed_spectrum *spectrum, const int16_t *samples);

#ifdef __cplusplus
}
#endif

#endif /* AED_SPECTRUM_H */
