/* Convolutions of each channel alone, with MVE.
 *
 * The weights are a stream, in one of two orders. Blocks of 16 channels, for windows of 3 x 3 whose sums of two products
 * fit 16 bits: 16 biases (of the channels 0, 4, 8, 12, then 2, 6, 10, 14, then 1, 5, 9, 13, then 3, 7, 11, 15), nine
 * times 16 weights, 16 factors in the order of the biases; a last block is filled up with zeros. Quads, for all others:
 * four biases, four factors, and four weights for each tap of the window.
 */
#include "aed_kernels.h"

#if AED_MVE
#include <stddef.h>

#include "aed_mve.h"

#define AED_TAPS 9

/* Pixels beside each other whose windows lie inside the image, or one pixel. */
typedef struct {
    const int8_t *tap[AED_TAPS];
    const int8_t *stream;
    int8_t *out;
    int32_t depth;      /* a multiple of 4 */
    int32_t zero;
    const int8_t *end;  /* of the outputs */
    /* from what lies behind the last block of a pixel to the next pixel: taps of three rows, outputs */
    int32_t step[3];
    int32_t out_step;
    int32_t steps;      /* whether any is not 0 */
} aed_run_t;

#if AED_ASSEMBLY
/* To the sums q0 to q3 what is in q6 and q7, 16 bits each. */
#define AED_WIDEN                                                                                                      \
    "vmovlb.s16 q4, q6\n"                                                                                              \
    "vmovlt.s16 q5, q6\n"                                                                                              \
    "vadd.i32 q0, q0, q4\n"                                                                                            \
    "vmovlb.s16 q4, q7\n"                                                                                              \
    "vadd.i32 q1, q1, q5\n"                                                                                            \
    "vmovlt.s16 q5, q7\n"                                                                                              \
    "vadd.i32 q2, q2, q4\n"                                                                                            \
    "vadd.i32 q3, q3, q5\n"
#define AED_TAP(X, WEIGHT)                                                                                             \
    "vldrb.8 q4, [" X "], #16\n"                                                                                       \
    "vldrb.8 q5, [r9, #" WEIGHT "]!\n"                                                                                 \
    "vmullb.s8 q6, q4, q5\n"                                                                                           \
    "vmullt.s8 q7, q4, q5\n"
/* A second one, whose inputs have to be read twice: all registers are in use. */
#define AED_TAP_2(X)                                                                                                   \
    "vldrb.8 q4, [" X "]\n"                                                                                            \
    "vldrb.8 q5, [r9, #16]!\n"                                                                                         \
    "vmullb.s8 q4, q4, q5\n"                                                                                           \
    "vadd.i16 q6, q6, q4\n"                                                                                            \
    "vldrb.8 q4, [" X "], #16\n"                                                                                       \
    "vmullt.s8 q4, q4, q5\n"                                                                                           \
    "vadd.i16 q7, q7, q4\n"
#define AED_ROUND(SUM)                                                                                                 \
    "vldrw.32 q4, [r9, #16]!\n"                                                                                        \
    "vcvt.f32.s32 " SUM ", " SUM "\n"                                                                                  \
    "vmul.f32 " SUM ", " SUM ", q4\n"                                                                                  \
    "vcvtn.s32.f32 " SUM ", " SUM "\n"

/* The taps in r0 to r8; r9 lies 16 bytes below what is read next. Predicated by bytes, every instruction leaves out the
 * channels of a last block that are not there: a lane of 32 bits holds one of four channels that are there or not
 * together. */
AED_NAKED void aed_run(AED_IN_REGISTER const aed_run_t *run) {
    __asm volatile(
        "push {r4-r11, lr}\n"
        "vpush {d8-d15}\n"
        "sub sp, sp, #28\n"
        "add r1, r0, #52\n"
        "ldm r1, {r2-r7}\n"
        "stm sp, {r2-r7}\n" /* end, step, out_step, steps */
        "ldr r1, [r0, #36]\n"
        "subs r1, r1, #16\n"
        "str r1, [sp, #24]\n"
        "ldrd r10, r11, [r0, #40]\n" /* out, depth */
        "ldr r12, [r0, #48]\n"       /* zero */
        "ldm r0, {r0-r8}\n"
        "1:\n"
        "ldr r9, [sp, #24]\n"
        "dlstp.8 lr, r11\n"
        "2:\n"
        "vldrb.8 q4, [r0], #16\n"
        "vldrb.8 q5, [r9, #80]\n"
        "vmullb.s8 q6, q4, q5\n"
        "vmullt.s8 q7, q4, q5\n"
        "vldrb.8 q4, [r1], #16\n"
        "vldrb.8 q5, [r9, #96]\n"
        "vmullb.s8 q3, q4, q5\n"
        "vmullt.s8 q4, q4, q5\n"
        "vadd.i16 q6, q6, q3\n"
        "vadd.i16 q7, q7, q4\n"
        "vldrw.32 q0, [r9, #16]!\n"
        "vldrw.32 q1, [r9, #16]!\n"
        "vldrw.32 q2, [r9, #16]!\n"
        "vldrw.32 q3, [r9, #16]!\n"
        AED_WIDEN AED_TAP("r2", "48") AED_TAP_2("r3")
        AED_WIDEN AED_TAP("r4", "16") AED_TAP_2("r5")
        AED_WIDEN AED_TAP("r6", "16") AED_TAP_2("r7")
        AED_WIDEN AED_TAP("r8", "16")
        AED_WIDEN AED_ROUND("q0") AED_ROUND("q1") AED_ROUND("q2") AED_ROUND("q3")
        /* 16 bits are enough for what 8 will hold */
        "vqmovnb.s32 q4, q0\n"
        "vqmovnb.s32 q5, q2\n"
        "vqmovnt.s32 q4, q1\n"
        "vqmovnt.s32 q5, q3\n"
        "vqadd.s16 q4, q4, r12\n"
        "vqadd.s16 q5, q5, r12\n"
        "vqmovnb.s16 q6, q4\n"
        "vqmovnt.s16 q6, q5\n"
        "vstrb.8 q6, [r10], #16\n"
        "letp lr, 2b\n"
        "ldr lr, [sp, #20]\n"
        "cmp lr, #0\n"
        "beq 3f\n"
        "ldr lr, [sp, #4]\n"
        "add r0, r0, lr\n"
        "add r1, r1, lr\n"
        "add r2, r2, lr\n"
        "ldr lr, [sp, #8]\n"
        "add r3, r3, lr\n"
        "add r4, r4, lr\n"
        "add r5, r5, lr\n"
        "ldr lr, [sp, #12]\n"
        "add r6, r6, lr\n"
        "add r7, r7, lr\n"
        "add r8, r8, lr\n"
        "ldr lr, [sp, #16]\n"
        "add r10, r10, lr\n"
        "3:\n"
        "ldr lr, [sp]\n"
        "cmp r10, lr\n"
        "bne.w 1b\n"
        "add sp, sp, #28\n"
        "vpop {d8-d15}\n"
        "pop {r4-r11, pc}\n");
}
#else
static void aed_run(const aed_run_t *run) {
    const int32_t padded = (run->depth + 15) / 16 * 16;
    const int8_t *tap[AED_TAPS];
    int8_t *out = run->out;
    memcpy(tap, run->tap, sizeof tap);
    while (out != run->end) {
        const int8_t *weight = run->stream;
        for (int32_t c = 0; c < run->depth; c += 16) {
            const mve_pred16_t there = vctp8q((uint32_t)(run->depth - c));
            int32x4_t sum[4];
            float32x4_t value;
            for (int32_t i = 0; i < 4; ++i) {
                sum[i] = vldrwq_s32((const int32_t *)(const void *)(weight + 16 * i));
            }
            weight += 64;
            for (int32_t t = 0; t < AED_TAPS; ++t) {
                const int8x16_t x = vldrbq_z_s8(tap[t] + c, there);
                const int8x16_t w = vldrbq_s8(weight);
                const int16x8_t even = vmullbq_int_s8(x, w);
                const int16x8_t odd = vmulltq_int_s8(x, w);
                sum[0] = vaddq_s32(sum[0], vmovlbq_s16(even));
                sum[1] = vaddq_s32(sum[1], vmovltq_s16(even));
                sum[2] = vaddq_s32(sum[2], vmovlbq_s16(odd));
                sum[3] = vaddq_s32(sum[3], vmovltq_s16(odd));
                weight += 16;
            }
            for (int32_t i = 0; i < 4; ++i) {
                value = vmulq_f32(vcvtq_f32_s32(sum[i]), vldrwq_f32((const float *)(const void *)weight));
                sum[i] = vcvtnq_s32_f32(value);
                weight += 16;
            }
            int16x8_t even = vqmovnbq_s32(vdupq_n_s16(0), sum[0]);
            int16x8_t odd = vqmovnbq_s32(vdupq_n_s16(0), sum[2]);
            even = vqaddq_n_s16(vqmovntq_s32(even, sum[1]), (int16_t)run->zero);
            odd = vqaddq_n_s16(vqmovntq_s32(odd, sum[3]), (int16_t)run->zero);
            vstrbq_p_s8(out + c, vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), even), odd), there);
        }
        for (int32_t t = 0; t < AED_TAPS; ++t) {
            tap[t] += padded + run->step[t / 3];
        }
        out += run->depth;
    }
}
#endif

void aed_depthwise_3x3_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t depth = window->in_c;
    const int32_t padded = (depth + 15) / 16 * 16;
    const int32_t stride = window->stride_w;
    const int32_t width = 2 * window->dilation_w; /* from the first tap to the last */
    const int32_t past = window->in_w - width + window->pad_left; /* the first place where a window looks past the row */
    const int32_t first = (window->pad_left + stride - 1) / stride;
    const int32_t last = past > 0 ? (past + stride - 1) / stride : 0;
    int8_t *const outside = (int8_t *)scratch;
    aed_run_t run;
    aed_fill(window->in_zero, outside, depth);
    run.stream = (const int8_t *)depthwise->weight;
    run.depth = depth;
    run.zero = window->out_zero;
    run.out_step = depth - padded;
    run.steps = run.out_step;
    for (int32_t i = 0; i < 3; ++i) {
        run.step[i] = (rows[i] != NULL ? stride * depth : 0) - padded;
        run.steps |= run.step[i];
    }
    int32_t count;
    for (int32_t column = 0; column < window->out_w; column += count) {
        const int32_t left = column * stride - window->pad_left;
        const int32_t end = last < window->out_w ? last : window->out_w;
        const int8_t **tap = run.tap;
        count = column >= first && column < end ? end - column : 1;
        for (int32_t i = 0; i < 3; ++i) {
            for (int32_t j = 0; j < 3; ++j) {
                const int32_t x = left + j * window->dilation_w;
                *tap++ = rows[i] != NULL && x >= 0 && x < window->in_w ? rows[i] + x * depth : outside;
            }
        }
        run.out = out;
        out += count * depth;
        run.end = out;
        aed_run(&run);
    }
}

void aed_depthwise_row(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t taps = window->k_h * window->k_w;
    const int32_t depth = window->in_c;
    const int32_t outputs = window->out_c;
    const int32_t multiplier = outputs / depth;
    const int8_t **tap = (const int8_t **)scratch;
    int8_t *const outside = (int8_t *)(tap + taps);
    aed_fill(window->in_zero, outside, depth);
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int32_t left = column * window->stride_w - window->pad_left;
        int32_t t = 0;
        for (int32_t i = 0; i < window->k_h; ++i) {
            for (int32_t j = 0; j < window->k_w; ++j) {
                const int32_t x = left + j * window->dilation_w;
                tap[t++] = rows[i] != NULL && x >= 0 && x < window->in_w ? rows[i] + x * depth : outside;
            }
        }
        const int8_t *quad = (const int8_t *)depthwise->weight;
        for (int32_t o = 0; o < outputs; o += 4) {
            const int32_t *const bias = (const int32_t *)(const void *)quad;
            const float *const factor = (const float *)(const void *)(bias + 4);
            const int8_t *weight = (const int8_t *)(factor + 4);
            if (multiplier == 1 && o + 4 <= outputs) {
                int32x4_t sum = vld1q_s32(bias);
                for (t = 0; t < taps; ++t) {
                    sum = vaddq_s32(sum, vmulq_s32(vldrbq_s32(tap[t] + o), vldrbq_s32(weight)));
                    weight += 4;
                }
                aed_steps(sum, factor, window->out_zero, out + o);
            } else {
                for (int32_t j = 0; j < 4 && o + j < outputs; ++j) {
                    int32_t sum = bias[j];
                    for (t = 0; t < taps; ++t) {
                        sum += tap[t][(o + j) / multiplier] * weight[4 * t + j];
                    }
                    out[o + j] = aed_step(sum, factor[j], window->out_zero);
                }
            }
            quad += 32 + 4 * taps;
        }
        out += outputs;
    }
}
#endif
