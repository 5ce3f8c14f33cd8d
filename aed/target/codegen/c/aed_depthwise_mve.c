/* Convolutions of each channel alone, with MVE.
 *
 * The weights are a stream, in one of two orders. Blocks of 16 channels, for layers with as many outputs as inputs, a
 * multiple of 4, where sums of two products fit 16 bits: 16 biases (of the channels 0, 4, 8, 12, then 2, 6, 10, 14, then
 * 1, 5, 9, 13, then 3, 7, 11, 15), 16 weights for each tap of the window, 16 factors in the order of the biases; a last
 * block is filled up with zeros. Quads, for all others: four biases, four factors, four weights for each tap.
 */
#include "aed_exact.h"

#include "aed_kernels.h"

#if AED_MVE
#include <stddef.h>

#include "aed_mve.h"

/* Where a window finds its inputs, tap by tap; outside: as many values as channels, all the input's zero point. */
AED_APART void aed_taps(
    const int8_t *const *rows, const aed_window_t *window, int32_t column, const int8_t *outside, const int8_t **tap) {
    const int32_t depth = window->in_c;
    const int32_t width = window->in_w;
    const int32_t step = window->dilation_w;
    const int32_t first = column * window->stride_w - window->pad_left;
    const int32_t end = first + window->k_w * step;
    for (int32_t i = window->k_h; i > 0; --i) {
        const int8_t *const row = *rows++;
        for (int32_t x = first; x < end; x += step) {
            *tap++ = row != NULL && x >= 0 && x < width ? row + x * depth : outside;
        }
    }
}

/* Pixels beside each other whose windows of 3 x 3 lie inside the row, or one pixel. */
typedef struct {
    const int8_t *tap[9];
    const int8_t *stream;
    int8_t *out;
    int32_t depth;     /* a multiple of 4 */
    int32_t zero;
    const int8_t *end; /* of the outputs */
    /* from what lies behind the last block of a pixel to the next pixel: taps of three rows, outputs */
    int32_t step[3];
    int32_t out_step;
    int32_t steps;     /* whether any is not 0 */
    float slope;       /* of a HardSwish */
} aed_run_t;

#if AED_ASSEMBLY
/* Both functions work on 16 channels at once and are predicated by bytes: every instruction leaves out the channels of a
 * last block that are not there. A lane of 32 bits holds one of four channels that are there or not together. The sums
 * are q0 to q3, in the order of the biases. */

/* Adds to the sums what is in q6 and q7, of 16 bits. */
#define AED_WIDEN                                                                                                      \
    "vmovlb.s16 q4, q6\n"                                                                                              \
    "vmovlt.s16 q5, q6\n"                                                                                              \
    "vadd.i32 q0, q0, q4\n"                                                                                            \
    "vmovlb.s16 q4, q7\n"                                                                                              \
    "vadd.i32 q1, q1, q5\n"                                                                                            \
    "vmovlt.s16 q5, q7\n"                                                                                              \
    "vadd.i32 q2, q2, q4\n"                                                                                            \
    "vadd.i32 q3, q3, q5\n"
/* Products of one tap, to q6 and q7. */
#define AED_TAP(X, WEIGHT)                                                                                             \
    "vldrb.8 q4, " X "\n"                                                                                              \
    "vldrb.8 q5, " WEIGHT "\n"                                                                                         \
    "vmullb.s8 q6, q4, q5\n"                                                                                           \
    "vmullt.s8 q7, q4, q5\n"
/* Those of a second one besides; its inputs are read twice, for no register is free. */
#define AED_SECOND(X, X_AGAIN, WEIGHT)                                                                                 \
    "vldrb.8 q4, " X "\n"                                                                                              \
    "vldrb.8 q5, " WEIGHT "\n"                                                                                         \
    "vmullb.s8 q4, q4, q5\n"                                                                                           \
    "vadd.i16 q6, q6, q4\n"                                                                                            \
    "vldrb.8 q4, " X_AGAIN "\n"                                                                                        \
    "vmullt.s8 q4, q4, q5\n"                                                                                           \
    "vadd.i16 q7, q7, q4\n"
#define AED_ROUND(SUM, FACTOR)                                                                                         \
    "vldrw.32 q4, " FACTOR "\n"                                                                                        \
    "vcvt.f32.s32 " SUM ", " SUM "\n"                                                                                  \
    "vmul.f32 " SUM ", " SUM ", q4\n"                                                                                  \
    "vcvtn.s32.f32 " SUM ", " SUM "\n"
/* The same with a HardSwish between; BEGIN makes the slope S and 1 of it, both registers or vectors. */
#define AED_ROUND_SWISH(SUM, FACTOR, S, ONE)                                                                           \
    "vldrw.32 q4, " FACTOR "\n"                                                                                        \
    "vcvt.f32.s32 " SUM ", " SUM "\n"                                                                                  \
    "vmul.f32 " SUM ", " SUM ", q4\n"                                                                                  \
    "vmul.f32 q4, " SUM ", " S "\n"                                                                                    \
    "vadd.f32 q4, q4, " ONE "\n" AED_CLIP("q4")                                                                        \
    "vmul.f32 " SUM ", " SUM ", q4\n"                                                                                  \
    "vcvtn.s32.f32 " SUM ", " SUM "\n"
/* The sums, rounded, to steps in q6; r12 is the zero point; 16 bits are enough for what 8 will hold. */
#define AED_STEPS                                                                                                      \
    "vqmovnb.s32 q4, q0\n"                                                                                             \
    "vqmovnb.s32 q5, q2\n"                                                                                             \
    "vqmovnt.s32 q4, q1\n"                                                                                             \
    "vqmovnt.s32 q5, q3\n"                                                                                             \
    "vqadd.s16 q4, q4, r12\n"                                                                                          \
    "vqadd.s16 q5, q5, r12\n"                                                                                          \
    "vqmovnb.s16 q6, q4\n"                                                                                             \
    "vqmovnt.s16 q6, q5\n"

/* The taps in r0 to r8; r9 lies 16 bytes below what is read next. */
#define AED_RUN(NAME, FRAME, KEEP, BEGIN, ROUND)                                                                       \
    AED_NAKED void NAME(AED_IN_REGISTER const aed_run_t *run) {                                                        \
        __asm volatile(                                                                                                \
            "push {r4-r11, lr}\n"                                                                                      \
            "vpush {d8-d15}\n"                                                                                         \
            "sub sp, sp, #" FRAME "\n" KEEP                                                                            \
            "add r1, r0, #52\n"                                                                                        \
            "ldm r1, {r2-r7}\n"                                                                                        \
            "stm sp, {r2-r7}\n" /* end, step, out_step, steps */                                                       \
            "ldr r1, [r0, #36]\n"                                                                                      \
            "subs r1, r1, #16\n"                                                                                       \
            "str r1, [sp, #24]\n"        /* stream */                                                                  \
            "ldrd r10, r11, [r0, #40]\n" /* out, depth */                                                              \
            "ldr r12, [r0, #48]\n"       /* zero */                                                                    \
            "ldm r0, {r0-r8}\n"                                                                                        \
            "1:\n"                                                                                                     \
            "ldr r9, [sp, #24]\n"                                                                                      \
            "dlstp.8 lr, r11\n"                                                                                        \
            "2:\n"                                                                                                     \
            /* the first two before the sums take up their registers */                                                \
            AED_TAP("[r0], #16", "[r9, #80]")                                                                          \
            "vldrb.8 q4, [r1], #16\n"                                                                                  \
            "vldrb.8 q5, [r9, #96]\n"                                                                                  \
            "vmullb.s8 q3, q4, q5\n"                                                                                   \
            "vmullt.s8 q4, q4, q5\n"                                                                                   \
            "vadd.i16 q6, q6, q3\n"                                                                                    \
            "vadd.i16 q7, q7, q4\n"                                                                                    \
            "vldrw.32 q0, [r9, #16]!\n"                                                                                \
            "vldrw.32 q1, [r9, #16]!\n"                                                                                \
            "vldrw.32 q2, [r9, #16]!\n"                                                                                \
            "vldrw.32 q3, [r9, #16]!\n"                                                                                \
            AED_WIDEN AED_TAP("[r2], #16", "[r9, #48]!") AED_SECOND("[r3]", "[r3], #16", "[r9, #16]!")                 \
            AED_WIDEN AED_TAP("[r4], #16", "[r9, #16]!") AED_SECOND("[r5]", "[r5], #16", "[r9, #16]!")                 \
            AED_WIDEN AED_TAP("[r6], #16", "[r9, #16]!") AED_SECOND("[r7]", "[r7], #16", "[r9, #16]!")                 \
            AED_WIDEN AED_TAP("[r8], #16", "[r9, #16]!")                                                               \
            AED_WIDEN BEGIN ROUND("q0", "[r9, #16]!") ROUND("q1", "[r9, #16]!")                                        \
            ROUND("q2", "[r9, #16]!") ROUND("q3", "[r9, #16]!") AED_STEPS                                              \
            "vstrb.8 q6, [r10], #16\n"                                                                                 \
            "letp lr, 2b\n"                                                                                            \
            "ldr lr, [sp, #20]\n"                                                                                      \
            "cmp lr, #0\n"                                                                                             \
            "beq 3f\n"                                                                                                 \
            "ldr lr, [sp, #4]\n"                                                                                       \
            "add r0, r0, lr\n"                                                                                         \
            "add r1, r1, lr\n"                                                                                         \
            "add r2, r2, lr\n"                                                                                         \
            "ldr lr, [sp, #8]\n"                                                                                       \
            "add r3, r3, lr\n"                                                                                         \
            "add r4, r4, lr\n"                                                                                         \
            "add r5, r5, lr\n"                                                                                         \
            "ldr lr, [sp, #12]\n"                                                                                      \
            "add r6, r6, lr\n"                                                                                         \
            "add r7, r7, lr\n"                                                                                         \
            "add r8, r8, lr\n"                                                                                         \
            "ldr lr, [sp, #16]\n"                                                                                      \
            "add r10, r10, lr\n"                                                                                       \
            "3:\n"                                                                                                     \
            "ldr lr, [sp]\n"                                                                                           \
            "cmp r10, lr\n"                                                                                            \
            "bne.w 1b\n"                                                                                               \
            "add sp, sp, #" FRAME "\n"                                                                                 \
            "vpop {d8-d15}\n"                                                                                          \
            "pop {r4-r11, pc}\n");                                                                                     \
    }

/* No register is free: slope and 1 are vectors on the stack. */
#define AED_RUN_KEEP                                                                                                   \
    "ldr r1, [r0, #76]\n"                                                                                              \
    "vdup.32 q0, r1\n"                                                                                                 \
    "mov r1, #0x3f800000\n"                                                                                            \
    "vdup.32 q1, r1\n"                                                                                                 \
    "add r1, sp, #28\n"                                                                                                \
    "vstrw.32 q0, [r1]\n"                                                                                              \
    "vstrw.32 q1, [r1, #16]\n"
#define AED_RUN_BEGIN                                                                                                  \
    "vldrw.32 q5, [sp, #28]\n"                                                                                         \
    "vldrw.32 q6, [sp, #44]\n"
#define AED_RUN_ROUND(SUM, FACTOR) AED_ROUND_SWISH(SUM, FACTOR, "q5", "q6")

AED_RUN(aed_run, "28", "", "", AED_ROUND)
AED_RUN(aed_swish_run, "60", AED_RUN_KEEP, AED_RUN_BEGIN, AED_RUN_ROUND)


/* One pixel. tap: of each of taps taps; depth: a multiple of 4. */
#define AED_PIXEL(NAME, BEGIN, ROUND)                                                                                  \
    AED_NAKED void NAME(                                                                                               \
        AED_IN_REGISTER const int8_t *const *tap, AED_IN_REGISTER const int8_t *stream, AED_IN_REGISTER int8_t *out,   \
        AED_IN_REGISTER int32_t taps, AED_IN_REGISTER int32_t depth, AED_IN_REGISTER int32_t zero,                     \
        AED_IN_REGISTER const float *slope) {                                                                          \
        __asm volatile(                                                                                                \
            "push {r4-r11, lr}\n"                                                                                      \
            "vpush {d8-d15}\n"                                                                                         \
            "ldrd r4, r12, [sp, #100]\n" /* depth, zero */                                                             \
            "movs r5, #0\n"              /* channel */                                                                 \
            "lsr r11, r3, #1\n"                                                                                        \
            "dlstp.8 lr, r4\n"                                                                                         \
            "1:\n"                                                                                                     \
            "vldrw.32 q0, [r1], #16\n"                                                                                 \
            "vldrw.32 q1, [r1], #16\n"                                                                                 \
            "vldrw.32 q2, [r1], #16\n"                                                                                 \
            "vldrw.32 q3, [r1], #16\n"                                                                                 \
            "mov r6, r0\n"                                                                                             \
            "movs r7, r11\n"                                                                                           \
            "beq 3f\n"                                                                                                 \
            "2:\n"                                                                                                     \
            "ldrd r8, r9, [r6], #8\n"                                                                                  \
            "add r8, r8, r5\n"                                                                                         \
            "add r9, r9, r5\n"                                                                                         \
            AED_TAP("[r8]", "[r1], #16") AED_SECOND("[r9]", "[r9]", "[r1], #16") AED_WIDEN                             \
            "subs r7, r7, #1\n"                                                                                        \
            "bne 2b\n"                                                                                                 \
            "3:\n"                                                                                                     \
            "lsls r7, r3, #31\n"                                                                                       \
            "beq 4f\n"                                                                                                 \
            "ldr r8, [r6]\n"                                                                                           \
            "add r8, r8, r5\n"                                                                                         \
            AED_TAP("[r8]", "[r1], #16") AED_WIDEN                                                                     \
            "4:\n"                                                                                                     \
            BEGIN ROUND("q0", "[r1], #16") ROUND("q1", "[r1], #16")                                                    \
            ROUND("q2", "[r1], #16") ROUND("q3", "[r1], #16") AED_STEPS                                                \
            "vstrb.8 q6, [r2], #16\n"                                                                                  \
            "adds r5, r5, #16\n"                                                                                       \
            "letp lr, 1b\n"                                                                                            \
            "vpop {d8-d15}\n"                                                                                          \
            "pop {r4-r11, pc}\n");                                                                                     \
    }

#define AED_PIXEL_BEGIN                                                                                                \
    "ldr r8, [sp, #108]\n"                                                                                             \
    "ldr r8, [r8]\n"                                                                                                   \
    "mov r9, #0x3f800000\n"
#define AED_PIXEL_ROUND(SUM, FACTOR) AED_ROUND_SWISH(SUM, FACTOR, "r8", "r9")

AED_PIXEL(aed_pixel, "", AED_ROUND)
AED_PIXEL(aed_swish_pixel, AED_PIXEL_BEGIN, AED_PIXEL_ROUND)

#else
AED_INLINE void aed_pixel_of(
    const int8_t *const *tap, const int8_t *stream, int8_t *out, int32_t taps, int32_t depth, int32_t zero,
    const float *slope) {
    for (int32_t c = 0; c < depth; c += 16) {
        const mve_pred16_t there = vctp8q((uint32_t)(depth - c));
        int32x4_t sum[4];
        for (int32_t i = 0; i < 4; ++i) {
            sum[i] = vldrwq_s32((const int32_t *)(const void *)stream);
            stream += 16;
        }
        for (int32_t t = 0; t < taps; ++t) {
            const int8x16_t x = vldrbq_z_s8(tap[t] + c, there);
            const int16x8_t even = vmullbq_int_s8(x, vldrbq_s8(stream));
            const int16x8_t odd = vmulltq_int_s8(x, vldrbq_s8(stream));
            sum[0] = vaddq_s32(sum[0], vmovlbq_s16(even));
            sum[1] = vaddq_s32(sum[1], vmovltq_s16(even));
            sum[2] = vaddq_s32(sum[2], vmovlbq_s16(odd));
            sum[3] = vaddq_s32(sum[3], vmovltq_s16(odd));
            stream += 16;
        }
        const float *const factor = (const float *)(const void *)stream;
        const int16x8_t even = aed_eight_steps(sum[0], sum[1], vld1q_f32(factor), vld1q_f32(factor + 4), slope, zero);
        const int16x8_t odd = aed_eight_steps(sum[2], sum[3], vld1q_f32(factor + 8), vld1q_f32(factor + 12), slope, zero);
        vstrbq_p_s8(out + c, vreinterpretq_s8_s16(vsliq_n_s16(even, odd, 8)), there);
        stream += 64;
    }
}

AED_INLINE void aed_run_of(const aed_run_t *run, const float *slope) {
    const int32_t padded = (run->depth + 15) & ~15;
    const int8_t *tap[9];
    memcpy(tap, run->tap, sizeof tap);
    for (int8_t *out = run->out; out != run->end; out += run->depth) {
        aed_pixel_of(tap, run->stream, out, 9, run->depth, run->zero, slope);
        for (int32_t t = 0; t < 9; ++t) {
            tap[t] += padded + run->step[t / 3];
        }
    }
}

static void aed_pixel(
    const int8_t *const *tap, const int8_t *stream, int8_t *out, int32_t taps, int32_t depth, int32_t zero,
    const float *slope) {
    (void)slope;
    aed_pixel_of(tap, stream, out, taps, depth, zero, NULL);
}

static void aed_swish_pixel(
    const int8_t *const *tap, const int8_t *stream, int8_t *out, int32_t taps, int32_t depth, int32_t zero,
    const float *slope) {
    aed_pixel_of(tap, stream, out, taps, depth, zero, slope);
}

static void aed_run(const aed_run_t *run) {
    aed_run_of(run, NULL);
}

static void aed_swish_run(const aed_run_t *run) {
    aed_run_of(run, &run->slope);
}
#endif

AED_INLINE void aed_depthwise_3x3(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t depth = window->in_c;
    const int32_t padded = (depth + 15) & ~15;
    const int32_t stride = window->stride_w;
    const int32_t last = window->in_w - 1 - 2 * window->dilation_w; /* where the last window inside the row begins */
    int8_t *const outside = (int8_t *)scratch;
    aed_run_t run;
    (void)aed_fill(window->in_zero, outside, depth);
    run.stream = (const int8_t *)depthwise->weight;
    run.depth = depth;
    run.zero = window->out_zero;
    if (slope != NULL) {
        run.slope = *slope;
    }
    run.out_step = depth - padded;
    run.steps = run.out_step;
    for (int32_t i = 0; i < 3; ++i) {
        run.step[i] = (rows[i] != NULL ? stride * depth : 0) - padded;
        run.steps |= run.step[i];
    }
    int32_t count;
    for (int32_t column = 0; column < window->out_w; column += count) {
        const int32_t left = column * stride - window->pad_left;
        const int32_t whole = left >= 0 && left <= last ? (last - left) / stride + 1 : 1;
        count = whole < window->out_w - column ? whole : window->out_w - column;
        aed_taps(rows, window, column, outside, run.tap);
        run.out = out;
        out += count * depth;
        run.end = out;
        (slope == NULL ? aed_run : aed_swish_run)(&run);
    }
}

AED_BOTH_ROWS(aed_depthwise_3x3_row, aed_depthwise_3x3_swish_row, aed_depthwise_3x3)

AED_INLINE void aed_depthwise_blocks(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t taps = window->k_h * window->k_w;
    const int32_t depth = window->in_c;
    const int8_t **const tap = (const int8_t **)scratch;
    int8_t *const outside = (int8_t *)(tap + taps);
    (void)aed_fill(window->in_zero, outside, depth);
    for (int32_t column = 0; column < window->out_w; ++column) {
        aed_taps(rows, window, column, outside, tap);
        (slope == NULL ? aed_pixel : aed_swish_pixel)(
            tap, (const int8_t *)depthwise->weight, out, taps, depth, window->out_zero, slope);
        out += depth;
    }
}

AED_BOTH_ROWS(aed_depthwise_blocks_row, aed_depthwise_blocks_swish_row, aed_depthwise_blocks)

AED_INLINE void aed_depthwise_rows(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t taps = window->k_h * window->k_w;
    const int32_t outputs = window->out_c;
    const uint32_t multiplier = (uint32_t)(outputs / window->in_c);
    const int8_t **const tap = (const int8_t **)scratch;
    int8_t *const outside = (int8_t *)(tap + taps);
    (void)aed_fill(window->in_zero, outside, window->in_c);
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int8_t *stream = (const int8_t *)depthwise->weight;
        aed_taps(rows, window, column, outside, tap);
        for (int32_t o = 0; o < outputs; o += 4) {
            const mve_pred16_t there = vctp32q((uint32_t)(outputs - o));
            const float32x4_t factor = vldrwq_f32((const float *)(const void *)(stream + 16));
            int32x4_t sum = vldrwq_s32((const int32_t *)(const void *)stream);
            uint32_t channel[4];
            for (uint32_t j = 0; j < 4; ++j) {
                channel[j] = ((uint32_t)o + j) / multiplier;
            }
            const uint32x4_t channels = vldrwq_u32(channel);
            stream += 32;
            for (int32_t t = 0; t < taps; ++t) {
                const int32x4_t x = vldrbq_gather_offset_z_s32(tap[t], channels, there);
                sum = vaddq_s32(sum, vmulq_s32(x, vldrbq_s32(stream)));
                stream += 4;
            }
            aed_four_steps(vqaddq_n_s32(aed_four_values(sum, factor, slope), window->out_zero), out + o, there);
        }
        out += outputs;
    }
}

AED_BOTH_ROWS(aed_depthwise_row, aed_depthwise_swish_row, aed_depthwise_rows)
#endif
