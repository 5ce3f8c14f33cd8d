/* Integer layers for small nets: int8 activations and weights, int32 sums, one float factor a channel.
 *
 * Every result is that of ONNX Runtime's integer kernels: sums are exact, (float)sum * factor is rounded half to
 * even, the zero point is added and the result saturated. Images are channels last. Portable C99; where the
 * compiler targets a core with the DSP extension, dot products use SMLAD.
 */
#ifndef AED_KERNELS_H
#define AED_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const int8_t *weight;  /* (out_c, k) with k = k_h * k_w * in_c rounded up to a multiple of 16, zeros at the end */
    const int32_t *bias;   /* (out_c), the input's zero point folded in */
    const float *factor;   /* (out_c): output steps in one unit of the sum */
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c;
    int16_t k_h, k_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t dilation_h, dilation_w;
    int8_t in_zero, out_zero;
} aed_conv_t;

typedef struct {
    const int8_t *weight;  /* (out_c / 4, rounded up; k_h * k_w; 4) */
    const int32_t *bias;
    const float *factor;
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c; /* out_c is a multiple of in_c */
    int16_t k_h, k_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t dilation_h, dilation_w;
    int8_t in_zero, out_zero;
} aed_depthwise_t;

typedef struct {
    int16_t in_h, in_w, channels;
    int16_t out_h, out_w;
    int16_t k_h, k_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t dilation_h, dilation_w;
    int8_t in_zero, out_zero;
} aed_pool_t;

/* scratch: 4 bytes for each of the k values of a convolution; a pointer for each tap and in_c bytes for a depthwise
 * one; aligned to 8. */
void aed_conv(const int8_t *in, int8_t *out, const aed_conv_t *layer, void *scratch);
void aed_depthwise(const int8_t *in, int8_t *out, const aed_depthwise_t *layer, void *scratch);
void aed_max_pool(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale);
void aed_average_pool(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale);
void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor);
void aed_mean(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, float in_scale, float out_scale, int8_t in_zero,
    int8_t out_zero);
/* of layer, kernel, stride and dilation do not count */
void aed_pad(const int8_t *in, int8_t *out, const aed_pool_t *layer, float in_scale, float out_scale);
/* other has period values, again and again: as many as one, a row of all channels, one per channel, or a single one. */
void aed_add(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float one_factor,
    float other_factor, int8_t one_zero, int8_t other_zero, int8_t out_zero);
void aed_multiply(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, float factor, int8_t one_zero,
    int8_t other_zero, int8_t out_zero);
/* table: outputs for -128, -127, ... 127. */
void aed_lookup(const int8_t *in, int8_t *out, int32_t size, const int8_t *table);
/* table: 256 exponentials, by how many steps a value lies under the largest; steps: of the output in 1. */
void aed_softmax(const int8_t *in, int8_t *out, int32_t size, const float *table, float steps, int8_t out_zero);
void aed_requantise(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t out_stride, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero);

#ifdef __cplusplus
}
#endif

#endif
