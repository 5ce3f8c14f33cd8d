/* Activations that are no table. */
#include "aed_exact.h"

#include "aed_steps.h"

/* As ONNX Runtime's PRelu, of real values. */
void aed_prelu(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, const float *slope, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t c = 0; c < channels; ++c) {
            float value = in_scale * (float)(*in++ - in_zero);
            if (value < 0.0f) {
                value *= slope[c];
            }
            *out++ = aed_saturate(aed_round(value / out_scale) + out_zero);
        }
    }
}
