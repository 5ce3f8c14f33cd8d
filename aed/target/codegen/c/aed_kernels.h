/* Integer layers for small nets: int8 activations and weights, int32 sums, one float factor a channel.
 *
 * Every result is that of ONNX Runtime's integer kernels: sums are exact, (float)sum * factor is rounded half to
 * even, the zero point is added and the result saturated. Images are channels last. Portable C99; where the
 * compiler targets a core with the DSP extension or with MVE, or WebAssembly with vectors, the same results come out of
 * its instructions.
 */
#ifndef AED_KERNELS_H
#define AED_KERNELS_H

#include <stdint.h>

/* Which instructions the kernels use, and so in which order they want their weights; aed_net.c has both orders. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(AED_PORTABLE)
#define AED_MVE 1
#define AED_SMLAD 0
#define AED_WASM 0
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED) && \
    defined(__thumb2__) && defined(__ARM_FP) && (__ARM_FP & 4) && defined(__OPTIMIZE__) && !defined(__clang__) && \
    !defined(AED_PORTABLE)
/* the assembly takes the FPU, words at any address, and 14 registers; without optimisation, and with clang, there are fewer */
#define AED_MVE 0
#define AED_SMLAD 1
#define AED_WASM 0
#elif defined(__wasm_simd128__) && !defined(AED_PORTABLE)
#define AED_MVE 0
#define AED_SMLAD 0
#define AED_WASM 1
#else
#define AED_MVE 0
#define AED_SMLAD 0
#define AED_WASM 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if AED_SMLAD
typedef int32_t aed_factor_t; /* the bits of a float, or below 0 a whole number: aed_steps.h */
#else
typedef float aed_factor_t;
#endif

/* A window that slides over the rows of an image that are given to a kernel; the first member of every layer that has
 * one. Down the image it is aed_stages.h that knows where it stands. */
typedef struct {
    int16_t in_w, in_c;
    int16_t out_w, out_c;
    int16_t k_h, k_w;
    int16_t stride_w, pad_left, dilation_w;
    int8_t in_zero, out_zero;
} aed_window_t;

typedef struct {
    aed_window_t window;
#if AED_MVE
    const void *weight;    /* a stream; aed_conv_mve.c says of what */
#else
    const void *weight;    /* in the order of the core's kernels: aed_conv.c */
    const int32_t *bias;   /* (out_c and one more if that is odd), the input's zero point folded in */
    const aed_factor_t *factor; /* as many: output steps in one unit of the sum */
    int32_t values;        /* inputs of an output pixel, filled up to a multiple of 4 */
    int32_t pitch;         /* how many of them a row of the kernel has; a multiple of 4: a row of them is whole words */
#endif
} aed_conv_t;

typedef struct {
    aed_window_t window;   /* out_c is a multiple of in_c */
#if AED_MVE
    const void *weight;    /* a stream; aed_depthwise_mve.c says of what */
#else
    const void *weight;    /* in the order of the core's kernels: aed_depthwise.c */
    const int32_t *bias;
    const aed_factor_t *factor;
#endif
} aed_depthwise_t;

/* A layer of these two kinds and the HardSwish of its sums: half = sum * factor, and a step is
 * half * clip(half * slope + 1, 0, 2), rounded, and the zero point. The upper end is the float before 2. */
typedef struct {
    const void *layer;
    float slope;           /* 2 / 3 of the output's scale */
} aed_swish_t;

typedef struct {
    aed_window_t window;
    float in_scale, out_scale;
    int32_t count;         /* of a mean: what a sum is divided by; 0: the pixels of the window that are in the image */
    int8_t by_column;      /* whether ONNX goes through a window column by column: the order of a sum of floats */
} aed_pool_t;

/* One row of the output of a layer.
 *
 * rows: k_h rows of the input, from top to bottom; NULL where the window looks past the image.
 * out: (out_w, out_c). layer: a pointer to the kernel's own type.
 * scratch: aligned to 8; aed_net.c has as many bytes as the layers of its net need on this core.
 */
void aed_conv_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* those whose names end so take an aed_swish_t */
void aed_conv_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
#if AED_MVE
#define AED_ROW(mve, others) mve
/* a kernel of one pixel, no padding, channels a multiple of 16 */
void aed_pointwise_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_pointwise_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* weights in blocks; the first for windows of 3 x 3 */
void aed_depthwise_3x3_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_3x3_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_blocks_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_blocks_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
#else
#define AED_ROW(mve, others) others
/* rows of weights in pairs */
void aed_conv_pairs_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_conv_pairs_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* weights for a kernel of 3 x 3 that slides over columns */
void aed_depthwise_sliding_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_sliding_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* a kernel of 5 x 5 whose steps fit 16 bits */
void aed_depthwise_5x5_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_depthwise_5x5_swish_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
#endif
void aed_max_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
void aed_average_pool_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);
/* of the window, kernel, stride_w and dilation_w are 1 */
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
#if AED_MVE || AED_WASM
#define AED_WHOLE(vectors, others) vectors
#else
#define AED_WHOLE(vectors, others) others
/* The same in whole numbers, where the generator has found some that give the same outputs for all inputs. A sum is in
 * 2^-22 of a step, a product in 2^-20, and one half is in fixed. scratch: period words, or NULL. */
void aed_add_whole(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, int32_t one_factor,
    int32_t other_factor, int32_t fixed);
void aed_multiply_whole(
    const int8_t *one, const int8_t *other, int8_t *out, int32_t size, int32_t period, int32_t factor, int32_t fixed,
    int8_t one_zero, int8_t other_zero, void *scratch);
#endif
/* table: outputs for -128, -127, ... 127. */
void aed_lookup(const int8_t *in, int8_t *out, int32_t size, const int8_t *table);
/* slope: (channels), of values below 0. */
void aed_prelu(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, const float *slope, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero);
/* table: 256 exponentials, by how many steps a value lies under the largest; steps: of the output in 1. */
void aed_softmax(const int8_t *in, int8_t *out, int32_t size, const float *table, float steps, int8_t out_zero);
void aed_requantise(
    const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t out_stride, float in_scale, float out_scale,
    int8_t in_zero, int8_t out_zero);

#ifdef __cplusplus
}
#endif

#endif
