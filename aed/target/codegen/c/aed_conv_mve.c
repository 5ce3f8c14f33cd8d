/* Convolutions of all channels, and dense layers, with MVE.
 *
 * The weights are a stream. A group of eight outputs: rows 0, 2, 4, 6, then rows 1, 3, 5, 7, each four side by side in
 * pieces of 16 values; then eight biases and eight factors in the same order of rows. After the last whole group come
 * the rows that are left, one after the other, their biases and their factors.
 */
#include "aed_exact.h"

#include "aed_kernels.h"

#if AED_MVE
#include <stddef.h>

#include "aed_mve.h"

#define AED_GROUP 8
#define AED_CONSTANTS 8 /* bytes of a bias and a factor */

/* Pairs of pixels, and the groups of outputs that all of them get. */
typedef struct {
    const int8_t *x[2];   /* the first two pixels, k values each */
    int8_t *out;
    int32_t next;         /* from the output of a pixel to that of the next one */
    const int8_t *stream;
    const int8_t *end;    /* of the last group */
    int32_t k;            /* a multiple of 16 */
    int32_t zero;
    int32_t step;         /* from a pixel to the one after the next */
    int32_t rest;         /* from the end of a pair's groups to the output of the next pair */
    int32_t pairs;
    uint32_t entry[2];    /* 0: not known yet, aed_pairs leaves them here for the next call */
    float slope;          /* of a HardSwish */
} aed_pairs_t;

#if AED_ASSEMBLY
/* 16 values of two pixels, q0 and q1, and of four rows: 128 products. Sums have to be in even registers. */
#define AED_PIECE(A)                                                                                                   \
    "vldrb.8 q0, [r3], #16\n"                                                                                          \
    "vldrb.8 q1, [r5], #16\n"                                                                                          \
    "vldrb.8 q2, [r1], #16\n"                                                                                          \
    "vmladav" A ".s8 r0, q2, q0\n"                                                                                     \
    "vmladav" A ".s8 r8, q2, q1\n"                                                                                     \
    "vldrb.8 q3, [r1], #16\n"                                                                                          \
    "vmladav" A ".s8 r2, q3, q0\n"                                                                                     \
    "vmladav" A ".s8 r10, q3, q1\n"                                                                                    \
    "vldrb.8 q2, [r1], #16\n"                                                                                          \
    "vmladav" A ".s8 r4, q2, q0\n"                                                                                     \
    "vmladav" A ".s8 r12, q2, q1\n"                                                                                    \
    "vldrb.8 q3, [r1], #16\n"                                                                                          \
    "vmladav" A ".s8 r6, q3, q0\n"                                                                                     \
    "vmladav" A ".s8 lr, q3, q1\n"
/* Four rows: a first piece, then the others, four a turn; ENTRY is where the first turn begins. */
#define AED_ROWS(ENTRY, TURN, END)                                                                                     \
    "ldrd r3, r5, [sp]\n" AED_PIECE("") "ldr pc, [sp, #" ENTRY "]\n" TURN ":\n"                                        \
    ".rept 4\n" AED_PIECE("a") ".endr\n"                                                                               \
    "cmp r3, r11\n"                                                                                                    \
    "bne " TURN "b\n" END ":\n"
/* Sums to vectors: those of the first pixel and those of the second. */
#define AED_SUMS(FIRST, SECOND)                                                                                        \
    "vmov " FIRST "[2], " FIRST "[0], r0, r4\n"                                                                        \
    "vmov " FIRST "[3], " FIRST "[1], r2, r6\n"                                                                        \
    "vmov " SECOND "[2], " SECOND "[0], r8, r12\n"                                                                     \
    "vmov " SECOND "[3], " SECOND "[1], r10, lr\n"

/* HardSwish of two vectors; r0 is the slope, r2 is 1. */
#define AED_SWISH(ONE, OTHER)                                                                                          \
    "vmul.f32 q2, " ONE ", r0\n"                                                                                       \
    "vmul.f32 q3, " OTHER ", r0\n"                                                                                     \
    "vadd.f32 q2, q2, r2\n"                                                                                            \
    "vadd.f32 q3, q3, r2\n" AED_CLIP("q2") AED_CLIP("q3")                                                              \
    "vmul.f32 " ONE ", " ONE ", q2\n"                                                                                  \
    "vmul.f32 " OTHER ", " OTHER ", q3\n"
#define AED_KEEP_SLOPE                                                                                                 \
    "ldr r12, [r0, #52]\n"                                                                                             \
    "str r12, [sp, #52]\n"
#define AED_SWISHES                                                                                                    \
    "ldr r0, [sp, #52]\n"                                                                                              \
    "mov r2, #0x3f800000\n" AED_SWISH("q4", "q5") AED_SWISH("q0", "q1")

/* On the stack lie the members of aed_pairs_t, then where the first turns begin. The lower half of r9 is the zero point,
 * the upper half `next`. */
#define AED_PAIRS(NAME, FRAME, KEEP, SWISHES)                                                                          \
    AED_NAKED void NAME(AED_IN_REGISTER const aed_pairs_t *pairs) {                                                    \
        __asm volatile(                                                                                                \
            "push {r4-r11, lr}\n"                                                                                      \
            "vpush {d8-d11}\n"                                                                                         \
            "sub sp, sp, #" FRAME "\n"                                                                                 \
            "ldm r0, {r1-r11}\n"                                                                                       \
            "stm sp, {r1-r11}\n" KEEP                                                                                  \
            "pkhbt r9, r8, r4, lsl #16\n"                                                                              \
            "lsrs r2, r7, #4\n"                                                                                        \
            "mov r7, r3\n" /* out */                                                                                   \
            "ldrd r5, r6, [r0, #44]\n"                                                                                 \
            "cbnz r5, 3f\n"                                                                                            \
            /* pieces after the first one, modulo 4, begin so many before the end of a turn */                         \
            "subs r2, r2, #1\n"                                                                                        \
            "rsb r3, r2, #0\n"                                                                                         \
            "and r3, r3, #3\n"                                                                                         \
            "movs r4, #56\n"                                                                                           \
            "adr.w r5, 10f\n"                                                                                          \
            "adr.w r6, 20f\n"                                                                                          \
            "mla r5, r3, r4, r5\n"                                                                                     \
            "mla r6, r3, r4, r6\n"                                                                                     \
            "adr.w r3, 11f\n"                                                                                          \
            "adr.w r4, 21f\n"                                                                                          \
            "cmp r2, #0\n"                                                                                             \
            "itt eq\n"                                                                                                 \
            "moveq r5, r3\n"                                                                                           \
            "moveq r6, r4\n"                                                                                           \
            "orr r5, r5, #1\n"                                                                                         \
            "orr r6, r6, #1\n"                                                                                         \
            "strd r5, r6, [r0, #44]\n"                                                                                 \
            "3:\n"                                                                                                     \
            "strd r5, r6, [sp, #44]\n"                                                                                 \
            "1:\n"                                                                                                     \
            "ldr r1, [sp, #16]\n"                                                                                      \
            "ldr r3, [sp]\n"                                                                                           \
            "ldr r11, [sp, #24]\n"                                                                                     \
            "add r11, r11, r3\n"                                                                                       \
            "2:\n"                                                                                                     \
            AED_ROWS("44", "10", "11") AED_SUMS("q4", "q5") AED_ROWS("48", "20", "21") AED_SUMS("q0", "q1")            \
            "vldrw.32 q2, [r1], #16\n"                                                                                 \
            "vldrw.32 q3, [r1], #16\n"                                                                                 \
            "vadd.i32 q4, q4, q2\n"                                                                                    \
            "vadd.i32 q5, q5, q2\n"                                                                                    \
            "vadd.i32 q0, q0, q3\n"                                                                                    \
            "vadd.i32 q1, q1, q3\n"                                                                                    \
            "vldrw.32 q2, [r1], #16\n"                                                                                 \
            "vcvt.f32.s32 q4, q4\n"                                                                                    \
            "vcvt.f32.s32 q5, q5\n"                                                                                    \
            "vldrw.32 q3, [r1], #16\n"                                                                                 \
            "vcvt.f32.s32 q0, q0\n"                                                                                    \
            "vcvt.f32.s32 q1, q1\n"                                                                                    \
            "vmul.f32 q4, q4, q2\n"                                                                                    \
            "vmul.f32 q5, q5, q2\n"                                                                                    \
            "vmul.f32 q0, q0, q3\n"                                                                                    \
            "vmul.f32 q1, q1, q3\n" SWISHES                                                                            \
            "vcvtn.s32.f32 q4, q4\n"                                                                                   \
            "vcvtn.s32.f32 q5, q5\n"                                                                                   \
            "vcvtn.s32.f32 q0, q0\n"                                                                                   \
            "vcvtn.s32.f32 q1, q1\n"                                                                                   \
            /* 16 bits are enough for what 8 will hold */                                                              \
            "vqmovnb.s32 q4, q4\n"                                                                                     \
            "vqmovnb.s32 q5, q5\n"                                                                                     \
            "vqmovnt.s32 q4, q0\n"                                                                                     \
            "vqmovnt.s32 q5, q1\n"                                                                                     \
            "add r0, r7, r9, asr #16\n"                                                                                \
            "vqadd.s16 q4, q4, r9\n"                                                                                   \
            "vqadd.s16 q5, q5, r9\n"                                                                                   \
            "vqmovnb.s16 q4, q4\n"                                                                                     \
            "vqmovnb.s16 q5, q5\n"                                                                                     \
            "ldr r2, [sp, #20]\n"                                                                                      \
            "vstrb.16 q5, [r0]\n"                                                                                      \
            "vstrb.16 q4, [r7], #8\n"                                                                                  \
            "cmp r1, r2\n"                                                                                             \
            "bne.w 2b\n"                                                                                               \
            "ldrd r3, r5, [sp]\n"                                                                                      \
            "ldrd r0, r2, [sp, #32]\n"                                                                                 \
            "ldr r4, [sp, #40]\n"                                                                                      \
            "add r3, r3, r0\n"                                                                                         \
            "add r5, r5, r0\n"                                                                                         \
            "add r7, r7, r2\n"                                                                                         \
            "strd r3, r5, [sp]\n"                                                                                      \
            "subs r4, r4, #1\n"                                                                                        \
            "str r4, [sp, #40]\n"                                                                                      \
            "bne.w 1b\n"                                                                                               \
            "add sp, sp, #" FRAME "\n"                                                                                 \
            "vpop {d8-d11}\n"                                                                                          \
            "pop {r4-r11, pc}\n");                                                                                     \
    }

AED_PAIRS(aed_pairs, "52", "", "")
AED_PAIRS(aed_swish_pairs, "56", AED_KEEP_SLOPE, AED_SWISHES)
#endif

/* The outputs of one pixel that make no group. */
AED_INLINE void aed_rest_of(
    const int8_t *x, const int8_t *row, int32_t outputs, const aed_pairs_t *pairs, int8_t *out, const float *slope) {
    const int32_t k = pairs->k;
    const int32_t *const bias = (const int32_t *)(const void *)(row + outputs * k);
    const float *const factor = (const float *)(const void *)(bias + outputs);
    for (int32_t o = 0; o < outputs; ++o) {
        int32_t sum = bias[o];
        for (int32_t i = 0; i < k; i += 16) {
            sum = vmladavaq_s8(sum, vld1q_s8(x + i), vld1q_s8(row));
            row += 16;
        }
        out[o] = aed_step_of(sum, factor[o], slope, pairs->zero);
    }
}

AED_APART void aed_rest(const int8_t *x, const int8_t *row, int32_t outputs, const aed_pairs_t *pairs, int8_t *out) {
    aed_rest_of(x, row, outputs, pairs, out, NULL);
}

AED_APART void aed_swish_rest(
    const int8_t *x, const int8_t *row, int32_t outputs, const aed_pairs_t *pairs, int8_t *out) {
    aed_rest_of(x, row, outputs, pairs, out, &pairs->slope);
}

#if !AED_ASSEMBLY
/* Sums of four rows, in pieces beside each other, and one pixel. */
static int32x4_t aed_quad(const int8_t *x, const int8_t *weight, int32_t k) {
    int32_t s0 = 0;
    int32_t s1 = 0;
    int32_t s2 = 0;
    int32_t s3 = 0;
    for (int32_t i = 0; i < k; i += 16) {
        const int8x16_t part = vld1q_s8(x + i);
        s0 = vmladavaq_s8(s0, part, vld1q_s8(weight));
        s1 = vmladavaq_s8(s1, part, vld1q_s8(weight + 16));
        s2 = vmladavaq_s8(s2, part, vld1q_s8(weight + 32));
        s3 = vmladavaq_s8(s3, part, vld1q_s8(weight + 48));
        weight += 64;
    }
    int32x4_t sum = vdupq_n_s32(s0);
    sum = vsetq_lane_s32(s1, sum, 1);
    sum = vsetq_lane_s32(s2, sum, 2);
    return vsetq_lane_s32(s3, sum, 3);
}

/* The groups of one pixel. */
AED_INLINE void aed_groups(const int8_t *x, const aed_pairs_t *pairs, int8_t *out, const float *slope) {
    const int8_t *stream = pairs->stream;
    const int32_t k = pairs->k;
    while (stream != pairs->end) {
        const int8_t *const odd = stream + 4 * k;
        const int32_t *const bias = (const int32_t *)(const void *)(odd + 4 * k);
        const float *const factor = (const float *)(const void *)(bias + AED_GROUP);
        const int32x4_t even_sums = vaddq_s32(aed_quad(x, stream, k), vld1q_s32(bias));
        const int32x4_t odd_sums = vaddq_s32(aed_quad(x, odd, k), vld1q_s32(bias + 4));
        const float32x4_t even_factor = vld1q_f32(factor);
        const float32x4_t odd_factor = vld1q_f32(factor + 4);
        vstrbq_s16(out, aed_eight_steps(even_sums, odd_sums, even_factor, odd_factor, slope, pairs->zero));
        stream = (const int8_t *)(factor + AED_GROUP);
        out += AED_GROUP;
    }
}

AED_INLINE void aed_pairs_of(const aed_pairs_t *pairs, const float *slope) {
    for (int32_t pair = 0; pair < pairs->pairs; ++pair) {
        for (int32_t i = 0; i < 2; ++i) {
            int8_t *const out = pairs->out + pair * 2 * pairs->next + i * pairs->next;
            aed_groups(pairs->x[i] + pair * pairs->step, pairs, out, slope);
        }
    }
}

static void aed_pairs(const aed_pairs_t *pairs) {
    aed_pairs_of(pairs, NULL);
}

static void aed_swish_pairs(const aed_pairs_t *pairs) {
    aed_pairs_of(pairs, &pairs->slope);
}
#endif

/* Copies the inputs of one output pixel; the input's zero point stands where the kernel looks outside. */
AED_APART void aed_gather(const int8_t *const *rows, const aed_window_t *window, int32_t column, int8_t *out) {
    const int32_t depth = window->in_c;
    const int32_t near = window->dilation_w == 1 ? window->k_w : 1; /* pixels beside each other */
    for (int32_t i = 0; i < window->k_h; ++i) {
        int32_t x = column * window->stride_w - window->pad_left;
        for (int32_t j = 0; j < window->k_w; j += near) {
            const int32_t from = x > 0 ? x : 0;
            const int32_t to = x + near < window->in_w ? x + near : window->in_w;
            if (rows[i] == NULL || to - from < near) {
                (void)aed_fill(window->in_zero, out, near * depth);
            }
            if (rows[i] != NULL && from < to) {
                (void)aed_copy(rows[i] + from * depth, out + (from - x) * depth, (to - from) * depth);
            }
            out += near * depth;
            x += window->dilation_w;
        }
    }
}

/* The same for a pixel and the next one, whose windows lie inside. */
static void aed_gather_two(
    const int8_t *const *rows, const aed_window_t *window, int32_t column, int8_t *out, int8_t *next) {
    const int32_t width = window->k_w * window->in_c;
    const int32_t step = window->stride_w * window->in_c;
    const int32_t left = column * step - window->pad_left * window->in_c;
    for (int32_t i = 0; i < window->k_h; ++i) {
        if (rows[i] != NULL) {
            aed_copy_two(rows[i] + left, rows[i] + left + step, out, next, width);
        } else {
            (void)aed_fill(window->in_zero, out, width);
            (void)aed_fill(window->in_zero, next, width);
        }
        out += width;
        next += width;
    }
}

/* The outputs of pixels beside each other; pairs: what is the same for all of them, the first two and the outputs. */
AED_INLINE void aed_pixels_of(aed_pairs_t *pairs, int32_t pixels, const aed_window_t *window, const float *slope) {
    const int32_t outputs = window->out_c;
    const int32_t rest = outputs & (AED_GROUP - 1);
    for (int32_t i = 0; i < pixels && rest > 0; ++i) { /* of one or two pixels */
        int8_t *const out = pairs->out + (i + 1) * outputs - rest;
        (slope == NULL ? aed_rest : aed_swish_rest)(pairs->x[i], pairs->end, rest, pairs, out);
    }
    if (outputs < AED_GROUP) {
        return;
    }
    pairs->pairs = pixels >> 1;
    if (pairs->pairs > 0) {
        (slope == NULL ? aed_pairs : aed_swish_pairs)(pairs);
    }
    if ((pixels & 1) != 0) { /* a last pixel alone is a pair with itself */
        pairs->x[0] += pairs->pairs * pairs->step;
        pairs->x[1] = pairs->x[0];
        pairs->out += (pixels - 1) * outputs;
        pairs->next = 0;
        pairs->pairs = 1;
        (slope == NULL ? aed_pairs : aed_swish_pairs)(pairs);
    }
}

static void aed_pixels(aed_pairs_t *pairs, int32_t pixels, const aed_window_t *window) {
    aed_pixels_of(pairs, pixels, window, NULL);
}

static void aed_swish_pixels(aed_pairs_t *pairs, int32_t pixels, const aed_window_t *window) {
    aed_pixels_of(pairs, pixels, window, &pairs->slope);
}

/* What is the same for all pixels; step stays to be set where there is more than one pair. */
AED_APART void aed_begin(aed_pairs_t *pairs, const aed_conv_t *conv, int32_t k) {
    const int32_t outputs = conv->window.out_c;
    const int32_t rest = outputs & (AED_GROUP - 1);
    pairs->next = outputs;
    pairs->stream = (const int8_t *)conv->weight;
    pairs->end = pairs->stream + (outputs - rest) * (k + AED_CONSTANTS);
    pairs->k = k;
    pairs->zero = conv->window.out_zero;
    pairs->step = 0;
    pairs->rest = outputs + rest;
    pairs->entry[0] = 0;
}

AED_INLINE void aed_pointwise_rows(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t pixel = window->stride_w * window->in_c;
    const int32_t once = (window->out_c & (AED_GROUP - 1)) == 0 ? window->out_w : 2;
    aed_pairs_t pairs;
    (void)scratch;
    aed_begin(&pairs, conv, window->in_c);
    if (slope != NULL) {
        pairs.slope = *slope;
    }
    pairs.step = 2 * pixel;
    pairs.x[0] = rows[0];
    for (int32_t left = window->out_w; left > 0; left -= once) {
        pairs.x[1] = pairs.x[0] + pixel;
        pairs.out = out;
        (slope == NULL ? aed_pixels : aed_swish_pixels)(&pairs, left < once ? left : once, window);
        pairs.x[0] += once * pixel;
        out += once * window->out_c;
    }
}

AED_BOTH_ROWS(aed_pointwise_row, aed_pointwise_swish_row, aed_pointwise_rows)

AED_INLINE void aed_conv_rows(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t k = (window->k_h * window->k_w * window->in_c + 15) & ~15;
    /* the windows of a pixel and the next one are whole if the first begins between 0 and last */
    const int32_t last = window->dilation_w == 1 ? window->in_w - window->k_w - window->stride_w : -1;
    int8_t *const one = (int8_t *)scratch;
    int8_t *const other = one + k;
    aed_pairs_t pairs;
    aed_begin(&pairs, conv, k);
    if (slope != NULL) {
        pairs.slope = *slope;
    }
    pairs.x[0] = one;
    pairs.x[1] = other;
    for (int32_t column = 0; column < window->out_w; column += 2) {
        const int32_t left = column * window->stride_w - window->pad_left;
        const int32_t pixels = window->out_w - column > 1 ? 2 : 1;
        if (pixels == 2 && left >= 0 && left <= last) {
            aed_gather_two(rows, window, column, one, other);
        } else {
            aed_gather(rows, window, column, one);
            if (pixels == 2) {
                aed_gather(rows, window, column + 1, other);
            }
        }
        pairs.out = out;
        (slope == NULL ? aed_pixels : aed_swish_pixels)(&pairs, pixels, window);
        out += 2 * window->out_c;
    }
}

AED_BOTH_ROWS(aed_conv_row, aed_conv_swish_row, aed_conv_rows)
#endif
