/* Integer layers for small nets: int8 activations and weights, int32 sums, one float factor a channel.
 *
 * Every result is that of ONNX Runtime's integer kernels: sums are exact, (float)sum * factor is rounded half to
 * even, the zero point is added and the result saturated. Images are channels last. Portable C99; where the
 * compiler targets a core with the DSP extension or with MVE, the same results come out of its instructions.
 */
#ifndef AED_KERNELS_H
#define AED_KERNELS_H

#include <stdint.h>

/* Which instructions the kernels use, and so in which order they want their weights; aed_net.c has both orders. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(AED_PORTABLE)
#define AED_MVE 1
#define AED_SMLAD 0
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__thumb2__) && defined(__OPTIMIZE__) && \
    !defined(AED_PORTABLE)
/* the assembly takes 14 registers; without optimisation there are fewer */
#define AED_MVE 0
#define AED_SMLAD 1
#else
#define AED_MVE 0
#define AED_SMLAD 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A window that slides over an image; the first member of every layer that has one. */
typedef struct {
    int16_t in_h, in_w, in_c;
    int16_t out_h, out_w, out_c;
    int16_t k_h, k_w;
    int16_t stride_h, stride_w;
    int16_t pad_top, pad_left;
    int16_t dilation_h, dilation_w;
    int8_t in_zero, out_zero;
} aed_window_t;

typedef struct {
    aed_window_t window;
    const int8_t *weight;  /* (out_c, k) with k = k_h * k_w * in_c rounded up to a multiple of 16, zeros at the end */
    const int32_t *bias;   /* (out_c), the input's zero point folded in */
    const float *factor;   /* (out_c): output steps in one unit of the sum */
} aed_conv_t;

typedef struct {
    aed_window_t window;   /* out_c is a multiple of in_c */
    const int8_t *weight;  /* (out_c / 4, rounded up; k_h * k_w; 4) */
    const int32_t *bias;
    const float *factor;
} aed_depthwise_t;

typedef struct {
    aed_window_t window;
    float in_scale, out_scale;
    int8_t by_column;      /* whether ONNX goes through a window column by column: the order of a sum of floats */
} aed_pool_t;

/* One row of the output of a layer.
 *
 * rows: k_h rows of the input, from top to bottom; NULL where the window looks past the image.
 * out: (out_w, out_c). layer: a pointer to the kernel's own type.
 * scratch: aligned to 8; for a convolution 4 bytes for each of its k values; for a depthwise one a pointer for each
 * tap and in_c bytes.
 */
void aed_conv_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_max_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_average_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* of the window, kernel, stride and dilation are 1 */
void aed_pad_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);

void aed_global_average_pool(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor);
/* The same row by row. sums: int32 of each channel, aligned to 4; before: those without this row, NULL for the first;
 * it may be the same memory. */
void aed_row_sums(const int8_t *in, const void *before, void *sums, int32_t pixels, int32_t channels);
/* of `count` such rows together */
void aed_mean_of_sums(
    const int8_t *const *sums, int32_t count, int8_t *out, int32_t pixels, int32_t channels, int8_t in_zero, int8_t out_zero, float factor);
/* ONNX's pixel i is i % columns * step + i / columns here: the order of a sum of floats. */
void aed_mean(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t step, int32_t columns, float in_scale,
    float out_scale, int8_t in_zero, int8_t out_zero);
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
