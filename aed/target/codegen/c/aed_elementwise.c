/* Value by value. */
#include <math.h>

#include "aed_steps.h"

#if !AED_MVE
/* As ONNX Runtime's QLinearAdd on x86: fused multiply-adds, the zero point added before rounding. */
void aed_add(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float one_factor,
    float other_factor, int8_t one_zero, int8_t other_zero, int8_t out_zero) {
    const float zeros = fmaf(one_factor, (float)one_zero, other_factor * (float)other_zero);
    const float fixed = (float)out_zero - zeros;
    int32_t j = 0;
    for (int32_t i = 0; i < size; ++i) {
        const float value = fmaf((float)one[i], one_factor, fmaf((float)other[j], other_factor, fixed));
        out[i] = aed_saturate(aed_round(value));
        if (++j == period) {
            j = 0;
        }
    }
}

/* As ONNX Runtime's QLinearMul: an exact product, the zero point added before rounding. */
void aed_multiply(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float factor, int8_t one_zero,
    int8_t other_zero, int8_t out_zero) {
    int32_t j = 0;
    for (int32_t i = 0; i < size; ++i) {
        const int32_t product = (one[i] - one_zero) * (other[j] - other_zero);
        out[i] = aed_saturate(aed_round((float)product * factor + (float)out_zero));
        if (++j == period) {
            j = 0;
        }
    }
}
#endif

void aed_lookup(const int8_t *in, int8_t *out, int32_t size, const int8_t *table) {
    for (int32_t i = 0; i < size; ++i) {
        out[i] = table[in[i] + 128];
    }
}

/* As ONNX Runtime's QLinearSoftmax. */
void aed_softmax(const int8_t *in, int8_t *out, int32_t size, const float *table, float steps, int8_t out_zero) {
    int8_t most = in[0];
    float sum = 0.0f;
    for (int32_t i = 1; i < size; ++i) {
        most = in[i] > most ? in[i] : most;
    }
    for (int32_t i = 0; i < size; ++i) {
        sum += table[most - in[i]];
    }
    for (int32_t i = 0; i < size; ++i) {
        out[i] = aed_saturate(aed_round(table[most - in[i]] * steps / sum) + out_zero);
    }
}

void aed_requantise(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t out_stride, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t c = 0; c < channels; ++c) {
            out[c] = aed_change(in[c], in_scale, out_scale, in_zero, out_zero);
        }
        in += channels;
        out += out_stride;
    }
}
