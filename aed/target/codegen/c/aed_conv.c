/* Convolutions of all channels, and dense layers.
 *
 * Rows of weights come in pairs, row o and o + 1 as w_o + 256 w_(o+1) in one int16: two rows in as many bytes as two
 * rows of int8, and a multiplication by such a weight serves both. SXTB16 takes the w_o out of four bytes, so a
 * sum over low bytes is S_o, a sum over whole weights S_o + 256 S_(o+1), from which the other follows. Four weights
 * lie in the order 0, 2, 1, 3: the halves of two words.
 */
#include "aed_exact.h"

#include "aed_kernels.h"

#if !AED_MVE
#include <stddef.h>
#include <string.h>

#include "aed_steps.h"
#include "aed_words.h"

/* Copies the inputs of one output pixel; the input's zero point stands where the kernel looks outside. Whole words
 * are copied: up to 3 bytes of out after the last value are written too. */
static void aed_gather(const int8_t *const *rows, const aed_conv_t *conv, int32_t column, int8_t *out) {
    const aed_window_t *const window = &conv->window;
    const int32_t depth = window->in_c;
    const int32_t left = column * window->stride_w - window->pad_left;
    const int32_t wide = window->k_w * depth;
    const int whole = window->dilation_w == 1 && left >= 0 && left * depth + wide + 3 < window->in_w * depth;
    for (int32_t i = 0; i < window->k_h; ++i) {
        if (whole && rows[i] != NULL) {
            const int8_t *from = rows[i] + left * depth;
            int8_t *to = out;
            do {
                memcpy(to, from, 4);
                to += 4;
                from += 4;
            } while (to < out + wide);
        } else {
            for (int32_t j = 0; j < window->k_w; ++j) {
                const int32_t x = left + j * window->dilation_w;
                const int inside = rows[i] != NULL && x >= 0 && x < window->in_w;
                if (depth == 1) { /* of the first layer: not worth a call */
                    out[j] = inside ? rows[i][x] : window->in_zero;
                } else if (inside) {
                    memcpy(out + j * depth, rows[i] + x * depth, (size_t)depth);
                } else {
                    memset(out + j * depth, window->in_zero, (size_t)depth);
                }
            }
        }
        out += conv->pitch;
    }
}

#if AED_SMLAD
AED_NEEDS_ALL_REGISTERS

/* What the assembly keeps on the stack, in this order; it changes factor, bias and out. */
typedef struct {
    const aed_factor_t *factor;
    const int32_t *bias;
    int8_t *out;              /* of the first pixel */
    int32_t zero;             /* and one half, with AED_STEP_BITS bits after the point */
    int32_t high_zero;        /* 256 times that */
    int32_t second;           /* bytes from out to the outputs of the second pixel, and from there to those of the third */
    const int8_t *end;        /* of the outputs of the first pixel: the assembly fills it in */
    const uint32_t *x_end;
    uint32_t *x;
    uint32_t skip;            /* bytes of code to leave out where the loop is entered */
    float slope;              /* of a HardSwish; not on the stack */
    int32_t whole_slope;      /* in 2^-36; nor is this */
} aed_block_t;

/* Each of the following takes four values: r0 points to the weights, r1 to the pixels. Sums over low bytes are in
 * r2, r4, r6, sums over whole weights in r3, r5, r7. The first four of a row find the biases in r2 and r3: l and h
 * are the sums of the other pixels, or these. */
#define AED_TWO_OF_3(w, l1, l2, h1, h2)                                                                                \
    "ldm r1!, {r11, r12, lr}\n"                                                                                        \
    "sxtb16 r10, " w "\n"                                                                                              \
    "smlad r6, lr, r10, " l2 "\n"                                                                                      \
    "smlad r4, r12, r10, " l1 "\n"                                                                                     \
    "smlad r2, r11, r10, r2\n"                                                                                         \
    "smlad r7, lr, " w ", " h2 "\n"                                                                                    \
    "smlad r5, r12, " w ", " h1 "\n"                                                                                   \
    "smlad r3, r11, " w ", r3\n"
#define AED_FOUR_OF_3(l1, l2, h1, h2)                                                                                  \
    "ldrd r8, r9, [r0], #8\n" AED_TWO_OF_3("r8", l1, l2, h1, h2) AED_TWO_OF_3("r9", "r4", "r6", "r5", "r7")
#define AED_FIRST_OF_3 AED_FOUR_OF_3("r2", "r2", "r3", "r3")
#define AED_NEXT_OF_3 AED_FOUR_OF_3("r4", "r6", "r5", "r7")
#define AED_EACH_OF_3(do) do("r2", "r3", "s0", "s1") do("r4", "r5", "s2", "s3") do("r6", "r7", "s4", "s5")
#define AED_STORE_3 "strh r6, [r10, r11, lsl #1]\n strh r4, [r10, r11]\n strh r2, [r10], #2\n"

#define AED_FOUR_OF_2(l1, h1)                                                                                          \
    "ldrd r8, r9, [r0], #8\n"                                                                                          \
    "ldm r1!, {r6, r7, r11, r12}\n"                                                                                    \
    "sxtb16 r10, r8\n"                                                                                                 \
    "smlad r4, r7, r10, " l1 "\n"                                                                                      \
    "smlad r2, r6, r10, r2\n"                                                                                          \
    "smlad r5, r7, r8, " h1 "\n"                                                                                       \
    "smlad r3, r6, r8, r3\n"                                                                                           \
    "sxtb16 r10, r9\n"                                                                                                 \
    "smlad r4, r12, r10, r4\n"                                                                                         \
    "smlad r2, r11, r10, r2\n"                                                                                         \
    "smlad r5, r12, r9, r5\n"                                                                                          \
    "smlad r3, r11, r9, r3\n"
#define AED_FIRST_OF_2 AED_FOUR_OF_2("r2", "r3")
#define AED_NEXT_OF_2 AED_FOUR_OF_2("r4", "r5")
#define AED_EACH_OF_2(do) do("r2", "r3", "s0", "s1") do("r4", "r5", "s2", "s3")
#define AED_STORE_2 "strh r4, [r10, r11]\n strh r2, [r10], #2\n"

#define AED_NEXT_OF_1                                                                                                  \
    "ldrd r8, r9, [r0], #8\n"                                                                                          \
    "ldrd r6, r7, [r1], #8\n"                                                                                          \
    "sxtb16 r10, r8\n"                                                                                                 \
    "sxtb16 r11, r9\n"                                                                                                 \
    "smlad r2, r6, r10, r2\n"                                                                                          \
    "smlad r3, r6, r8, r3\n"                                                                                           \
    "smlad r2, r7, r11, r2\n"                                                                                          \
    "smlad r3, r7, r9, r3\n"
#define AED_FIRST_OF_1 AED_NEXT_OF_1
#define AED_EACH_OF_1(do) do("r2", "r3", "s0", "s1")
#define AED_STORE_1 "strh r2, [r10], #2\n"

/* From two sums to two steps. */
#define AED_APART(l, h, a, b) "sub " h ", " h ", " l "\n"
#define AED_TO_FPU(l, h, a, b) "vmov " a ", " b ", " l ", " h "\n"
#define AED_TO_FLOAT(l, h, a, b) "vcvt.f32.s32 " a ", " a "\n vcvt.f32.s32 " b ", " b ", #8\n" /* #8: a 256th */
#define AED_SCALE(l, h, a, b) "vmul.f32 " a ", " a ", s6\n vmul.f32 " b ", " b ", s7\n"
#define AED_ROUND(l, h, a, b) "vcvtr.s32.f32 " a ", " a "\n vcvtr.s32.f32 " b ", " b "\n"
#define AED_FROM_FPU(l, h, a, b) "vmov " l ", " h ", " a ", " b "\n"
#define AED_SHIFT(l, h, a, b) "qadd " l ", " l ", lr\n qadd " h ", " h ", lr\n"
#define AED_SATURATE(l, h, a, b) "ssat " l ", #8, " l "\n ssat " h ", #8, " h "\n"
/* The same in whole numbers: factors in r1 and lr, zero points in r11 and r12. h is 256 times the sum. */
#define AED_WHOLE_STEPS(l, h, a, b)                                                                                    \
    "smmls " l ", " l ", r1, r11\n"                                                                                    \
    "smmls " h ", " h ", lr, r12\n"                                                                                    \
    "ssat " l ", #8, " l ", asr #2\n"                                                                                  \
    "ssat " h ", #8, " h ", asr #10\n"
/* With a HardSwish: less half a step with 19 bits after the point, gate with 23 bits, step with 10; the slope in r9, 1 in
 * r11, the zero point in r12. r1, lr and r10 have the factors and a gate. */
#define AED_WHOLE_SWISH(l, h, a, b)                                                                                    \
    "lsl " l ", " l ", #12\n"                                                                                          \
    "lsl " h ", " h ", #4\n"                                                                                           \
    "smmulr " l ", " l ", r1\n"                                                                                        \
    "smmulr " h ", " h ", lr\n"                                                                                        \
    "smmlsr r10, " l ", r9, r11\n"                                                                                     \
    "usat r10, #24, r10\n"                                                                                             \
    "smmls " l ", " l ", r10, r12\n"                                                                                   \
    "smmlsr r10, " h ", r9, r11\n"                                                                                     \
    "usat r10, #24, r10\n"                                                                                             \
    "smmls " h ", " h ", r10, r12\n"                                                                                   \
    "ssat " l ", #8, " l ", asr #10\n"                                                                                 \
    "ssat " h ", #8, " h ", asr #10\n"
#define AED_JOIN(l, h, a, b) "bfi " l ", " h ", #8, #8\n"

/* With a HardSwish: s8 is the slope, s9 is 1, s12 the slope in whole numbers. */
#define AED_SLOPE "vldr s8, [r1, #40]\n vmov.f32 s9, #1.0\n vldr s12, [r1, #44]\n"
#define AED_SWISH(l, h, a, b)                                                                                          \
    "vmul.f32 s10, " a ", s8\n"                                                                                        \
    "vmul.f32 s11, " b ", s8\n"                                                                                        \
    "vadd.f32 s10, s10, s9\n"                                                                                          \
    "vadd.f32 s11, s11, s9\n"                                                                                          \
    "vmov " l ", " h ", s10, s11\n"                                                                                    \
    "usat " l ", #30, " l "\n"                                                                                         \
    "usat " h ", #30, " h "\n"                                                                                         \
    "vmov s10, s11, " l ", " h "\n"                                                                                    \
    "vmul.f32 " a ", " a ", s10\n"                                                                                     \
    "vmul.f32 " b ", " b ", s11\n"
#define AED_NO_SWISH(l, h, a, b) ""

/* What follows the loop, up to where steps are stored: in whole numbers where both factors, in r1 and lr, are below 0;
 * else by floats. */
#define AED_BY_FLOATS(each, swish)                                                                                     \
    "5:\n"                                                                                                             \
    "vmov s6, s7, r1, lr\n"                                                                                            \
    "asr lr, r11, #2\n" each(AED_TO_FPU) each(AED_TO_FLOAT) each(AED_SCALE) each(swish)                                \
    each(AED_ROUND) each(AED_FROM_FPU) each(AED_SHIFT) each(AED_SATURATE) each(AED_JOIN)                               \
    "b 4b\n"
#define AED_WHOLE_OR_FLOATS(each)                                                                                      \
    "cmp lr, #0\n"                                                                                                     \
    "bpl 5f\n" each(AED_WHOLE_STEPS) each(AED_JOIN) "4:\n"
#define AED_FLOATS_APART(each) AED_BY_FLOATS(each, AED_NO_SWISH)
#define AED_WHOLE_SWISH_OR_FLOATS(each)                                                                                \
    "cmp lr, #0\n"                                                                                                     \
    "bpl 5f\n"                                                                                                         \
    "mov r11, #0x800000\n"                                                                                             \
    "vmov r9, s12\n" each(AED_WHOLE_SWISH) each(AED_JOIN)                                                              \
    "ldrd r9, r10, [sp, #4]\n"                                                                                         \
    "4:\n"
#define AED_SWISH_APART(each) AED_BY_FLOATS(each, AED_SWISH)

#define AED_4_TIMES(text) text text text text
#define AED_8_TIMES(text) AED_4_TIMES(text) AED_4_TIMES(text)

/* All pairs of rows of a layer with some pixels. */
#define AED_ALL_PAIRS(name, first, loop, each, store, slope, steps, apart)                                             \
    AED_ALONE void name(const int16_t *weights, const aed_block_t *block) {                                            \
        register const int16_t *r0 __asm("r0") = weights;                                                              \
        register const aed_block_t *r1 __asm("r1") = block;                                                            \
        __asm volatile(slope "ldm r1, {r2-r11}\n"                                                                      \
                       "add r8, r4, r7\n"                                                                              \
                       "adr r12, 1f\n"                                                                                 \
                       "add r11, r11, r12\n"                                                                           \
                       "push {r2-r11}\n"                                                                               \
                       "ldm sp, {r8-r10}\n"                                                                            \
                       "b 2f\n"                                                                                        \
                       ".p2align 2\n"                                                                                  \
                       "1:\n" loop                                                                                     \
                       "ldr r8, [sp, #28]\n"                                                                           \
                       "cmp r1, r8\n"                                                                                  \
                       "bne 1b\n" each(AED_APART)                                                                      \
                       "ldm sp, {r8-r12}\n"                                                                            \
                       "ldrd r1, lr, [r8], #8\n" steps(each)                                                           \
                       "ldrd r11, r12, [sp, #20]\n" store                                                              \
                       "cmp r10, r12\n"                                                                                \
                       "beq 3f\n"                                                                                      \
                       "2:\n"                                                                                          \
                       "ldrd r2, r3, [r9], #8\n"                                                                       \
                       "stm sp, {r8-r10}\n"                                                                            \
                       "ldr r1, [sp, #32]\n" first                                                                     \
                       "ldr pc, [sp, #36]\n" apart(each)                                                               \
                       "3:\n"                                                                                          \
                       "add sp, #40\n"                                                                                 \
                       : "+r"(r0), "+r"(r1)                                                                            \
                       :                                                                                               \
                       : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "s0", "s1",        \
                         "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "cc", "memory");         \
    }

#define AED_BLOCKS(slope, steps, apart, one, two, three)                                                               \
    AED_ALL_PAIRS(one, AED_FIRST_OF_1, AED_4_TIMES(AED_NEXT_OF_1), AED_EACH_OF_1, AED_STORE_1, slope, steps, apart)    \
    AED_ALL_PAIRS(two, AED_FIRST_OF_2, AED_8_TIMES(AED_NEXT_OF_2), AED_EACH_OF_2, AED_STORE_2, slope, steps, apart)    \
    AED_ALL_PAIRS(three, AED_FIRST_OF_3, AED_8_TIMES(AED_NEXT_OF_3), AED_EACH_OF_3, AED_STORE_3, slope, steps, apart)

AED_BLOCKS("", AED_WHOLE_OR_FLOATS, AED_FLOATS_APART, aed_block_1, aed_block_2, aed_block_3)
AED_BLOCKS(AED_SLOPE, AED_WHOLE_SWISH_OR_FLOATS, AED_SWISH_APART, aed_swish_block_1, aed_swish_block_2, aed_swish_block_3)

typedef void aed_run_block_t(const int16_t *weights, const aed_block_t *block);

/* The blocks of 1, 2, 3 pixels; the bytes of AED_NEXT_OF_..., four an instruction, and how often the loop has them. */
static const struct {
    uint32_t bytes, times;
} aed_blocks[3] = {{32, 4}, {48, 8}, {68, 8}};

/* Unpacks k values of one of some pixels: of each four, the even ones of all pixels and then the odd ones. */
static void aed_unpack(const int8_t *in, uint32_t *out, int32_t k, int32_t pixels) {
    const int8_t *const end = in + k;
    for (; in < end; in += 4) {
        const uint32_t word = aed_load(in);
        out[0] = aed_even(word);
        out[pixels] = aed_odd(word);
        out += 2 * pixels;
    }
}

/* The same for three pixels, each stride bytes after the one before, out of height rows from left on: k values of each. */
AED_ALONE void aed_unpack_3(
    const int8_t *const *rows, int32_t left, uint32_t *out, int32_t k, int32_t stride, int32_t height) {
    const int8_t *in;
    const int8_t *end;
    __asm volatile("1:\n"
                   "ldr %[in], [%[rows]], #4\n"
                   "add %[in], %[in], %[left]\n"
                   "add %[end], %[in], %[k]\n"
                   "2:\n"
                   "ldr r5, [%[in], %[stride]]\n"
                   "ldr r6, [%[in], %[stride], lsl #1]\n"
                   "ldr r4, [%[in]], #4\n"
                   "sxtb16 r2, r4\n"
                   "sxtb16 r3, r5\n"
                   "sxtb16 r5, r5, ror #8\n"
                   "sxtb16 r4, r4, ror #8\n"
                   "sxtb16 r8, r6\n"
                   "sxtb16 r6, r6, ror #8\n"
                   "stm %[out]!, {r2, r3, r8}\n"
                   "stm %[out]!, {r4, r5, r6}\n"
                   "cmp %[in], %[end]\n"
                   "bne 2b\n"
                   "subs %[height], #1\n"
                   "bne 1b\n"
                   : [rows] "+r"(rows), [out] "+r"(out), [height] "+r"(height), [in] "=&r"(in), [end] "=&r"(end)
                   : [left] "r"(left), [k] "r"(k), [stride] "r"(stride)
                   : "r2", "r3", "r4", "r5", "r6", "r8", "cc", "memory");
}

/* Unpacks the inputs of some pixels out of the rows themselves; false where one of them looks past the left or right
 * end, or where rows of the kernel are no whole words. */
static int aed_unpack_rows(
    const int8_t *const *rows, const aed_conv_t *conv, int32_t column, int32_t pixels, uint32_t *out) {
    const aed_window_t *const window = &conv->window;
    const int32_t depth = window->in_c;
    const int32_t pitch = conv->pitch;
    const int32_t left = (column * window->stride_w - window->pad_left) * depth;
    const int32_t stride = window->stride_w * depth;
    const int near = window->dilation_w == 1 || window->k_w == 1;
    if (!near || pitch % 4 != 0 || left < 0 || left + (pixels - 1) * stride + pitch > window->in_w * depth) {
        return 0;
    }
    for (int32_t i = 0; i < window->k_h; ++i) {
        if (rows[i] == NULL) {
            for (int32_t word = 0; word < pixels * pitch / 2; ++word) {
                out[word] = (uint16_t)window->in_zero * 0x10001u;
            }
        } else if (pixels == 3) {
            aed_unpack_3(rows + i, left, out, pitch, stride, 1);
        } else {
            for (int32_t pixel = 0; pixel < pixels; ++pixel) {
                aed_unpack(rows[i] + left + pixel * stride, out + pixel, pitch, pixels);
            }
        }
        out += pixels * pitch / 2;
    }
    return 1;
}

/* Whether all windows of a row may be unpacked where they lie, but at its ends. */
static int aed_is_plain(const int8_t *const *rows, const aed_conv_t *conv) {
    int plain = conv->pitch % 4 == 0 && (conv->window.dilation_w == 1 || conv->window.k_w == 1);
    for (int32_t i = 0; i < conv->window.k_h; ++i) {
        plain = plain && rows[i] != NULL;
    }
    return plain;
}

/* Some blocks of three pixels whose windows lie in the rows, the first from left on. */
AED_ALONE void aed_plain_blocks(
    const int8_t *const *rows, int32_t left, const aed_conv_t *conv, aed_block_t *block, int32_t count,
    aed_run_block_t *run) {
    const int16_t *const weight = (const int16_t *)conv->weight;
    const int32_t height = conv->window.k_h;
    const int32_t pitch = conv->pitch;
    const int32_t stride = conv->window.stride_w * conv->window.in_c;
    const int32_t step = 3 * conv->window.out_c;
    for (; count > 0; --count) {
        aed_unpack_3(rows, left, block->x, pitch, stride, height);
        run(weight, block);
        block->out += step;
        left += 3 * stride;
    }
}

/* Columns from one to the one before another, at least one block of some pixels. */
static void aed_pair_columns(
    const int8_t *const *rows, int8_t *out, const aed_conv_t *conv, void *scratch, int32_t from, int32_t to,
    int32_t pixels, aed_run_block_t *run, const float *slope) {
    const aed_window_t *const window = &conv->window;
    const int32_t k = conv->values;
    const int32_t outputs = window->out_c;
    const int32_t even = (outputs + 1) / 2 * 2;
    const uint32_t rest = (uint32_t)k / 4u - 1u; /* fours after the first */
    const uint32_t times = aed_blocks[pixels - 1].times;
    const uint32_t skip = rest == 0u ? times : (0u - rest) % times;
    uint32_t *const x = (uint32_t *)scratch;
    uint32_t *const x_end = x + pixels * k / 2;
    int8_t *const bytes = (int8_t *)x_end; /* the inputs of one pixel */
    int8_t *const made = bytes + k + 4;    /* outputs of some, where an odd number of channels is filled up */
    const int32_t pitch = conv->pitch;
    const int32_t stride = window->stride_w * window->in_c;
    const int32_t last = window->in_w * window->in_c - 2 * stride - pitch; /* where three windows can begin */
    const int plain = pixels == 3 && even == outputs && aed_is_plain(rows, conv);
    const int32_t zero = window->out_zero * (1 << AED_STEP_BITS) + (1 << (AED_STEP_BITS - 1));
    aed_block_t block = {
        conv->factor, conv->bias, made, zero, zero * 256, even, NULL, x_end, x,
        skip * aed_blocks[pixels - 1].bytes + 1u /* Thumb */, slope == NULL ? 0.0f : *slope,
        slope != NULL && *slope < 0x1p-5f ? (int32_t)(*slope * 0x1p36f) : 0};
    do {
        const int32_t left = from * stride - window->pad_left * window->in_c;
        int32_t count = 1;
        if (even == outputs) {
            block.out = out + from * outputs;
        }
        if (plain && left >= 0 && left <= last) {
            count = (last - left) / (3 * stride) + 1;
            count = count < (to - from) / 3 ? count : (to - from) / 3;
            aed_plain_blocks(rows, left, conv, &block, count, run);
        } else {
            if (!aed_unpack_rows(rows, conv, from, pixels, x)) {
                for (int32_t pixel = 0; pixel < pixels; ++pixel) {
                    aed_gather(rows, conv, from + pixel, bytes);
                    aed_unpack(bytes, x + pixel, k, pixels);
                }
            }
            run((const int16_t *)conv->weight, &block);
            for (int32_t pixel = 0; pixel < pixels && even != outputs; ++pixel) {
                memcpy(out + (from + pixel) * outputs, made + pixel * even, (size_t)outputs);
            }
        }
        from += count * pixels;
    } while (from < to);
}

AED_INLINE void aed_conv_pairs(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const int32_t width = conv->window.out_w;
    const int32_t by_3 = width % 3 == 1 && width > 1 ? width - 4 : width / 3 * 3; /* twice two after, not one alone */
    const int32_t by_2 = by_3 + (width - by_3) / 2 * 2;
    if (by_3 > 0) {
        aed_pair_columns(rows, out, conv, scratch, 0, by_3, 3, slope == NULL ? aed_block_3 : aed_swish_block_3, slope);
    }
    if (by_2 > by_3) {
        aed_pair_columns(rows, out, conv, scratch, by_3, by_2, 2, slope == NULL ? aed_block_2 : aed_swish_block_2, slope);
    }
    if (width > by_2) {
        aed_pair_columns(rows, out, conv, scratch, by_2, width, 1, slope == NULL ? aed_block_1 : aed_swish_block_1, slope);
    }
}
#elif AED_WASM
#include "aed_conv_wasm.h"
#else
AED_INLINE void aed_conv_pairs(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    static const int32_t place[4] = {0, 2, 1, 3};
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t k = conv->values;
    const int32_t outputs = window->out_c;
    int8_t *const x0 = (int8_t *)scratch;
    int8_t *const x1 = x0 + k + 4;
    for (int32_t column = 0; column < window->out_w; column += 2) {
        const int both = column + 1 < window->out_w;
        const int16_t *weight = (const int16_t *)conv->weight;
        int8_t *const y0 = out + column * outputs;
        int8_t *const y1 = both ? y0 + outputs : y0; /* a last pixel alone is computed twice */
        aed_gather(rows, conv, column, x0);
        aed_gather(rows, conv, both ? column + 1 : column, x1);
        for (int32_t o = 0; o < outputs; o += 2) {
            int32_t low0 = conv->bias[o];
            int32_t high0 = conv->bias[o + 1];
            int32_t low1 = low0;
            int32_t high1 = high0;
            for (int32_t i = 0; i < k; i += 4) {
                for (int32_t j = 0; j < 4; ++j) {
                    const int32_t both_rows = *weight++;
                    const int32_t low = (int8_t)both_rows;
                    const int32_t high = (both_rows - low) >> 8;
                    low0 += low * x0[i + place[j]];
                    high0 += high * x0[i + place[j]];
                    low1 += low * x1[i + place[j]];
                    high1 += high * x1[i + place[j]];
                }
            }
            y0[o] = aed_step_of(low0, aed_factor(conv->factor + o), slope, window->out_zero);
            y1[o] = aed_step_of(low1, aed_factor(conv->factor + o), slope, window->out_zero);
            if (o + 1 < outputs) {
                y0[o + 1] = aed_step_of(high0, aed_factor(conv->factor + o + 1), slope, window->out_zero);
                y1[o + 1] = aed_step_of(high1, aed_factor(conv->factor + o + 1), slope, window->out_zero);
            }
        }
    }
}
#endif

AED_BOTH_ROWS(aed_conv_pairs_row, aed_conv_pairs_swish_row, aed_conv_pairs)

/* The inputs of one pixel as the next function wants them. */
static const void *aed_inputs(const int8_t *const *rows, const aed_conv_t *conv, int32_t column, void *scratch) {
#if AED_SMLAD
    int8_t *const bytes = (int8_t *)scratch + 2 * conv->values;
    if (!aed_unpack_rows(rows, conv, column, 1, (uint32_t *)scratch)) {
        aed_gather(rows, conv, column, bytes);
        aed_unpack(bytes, (uint32_t *)scratch, conv->values, 1);
    }
#else
    aed_gather(rows, conv, column, (int8_t *)scratch);
#endif
    return scratch;
}

/* Adds the products of two rows of weights and one pixel, k values each, a multiple of 4, to two sums. */
static void aed_dot(const int8_t *row0, const int8_t *row1, const void *inputs, int32_t k, int32_t *sum) {
    const int8_t *const end = row0 + k;
    int32_t sum0 = sum[0];
    int32_t sum1 = sum[1];
#if AED_SMLAD
    const uint32_t *x = (const uint32_t *)inputs;
    for (; row0 < end; row0 += 4) {
        const uint32_t four0 = aed_load(row0);
        const uint32_t four1 = aed_load(row1);
        sum0 = aed_multiply_pairs(x[0], aed_even(four0), sum0);
        sum1 = aed_multiply_pairs(x[0], aed_even(four1), sum1);
        sum0 = aed_multiply_pairs(x[1], aed_odd(four0), sum0);
        sum1 = aed_multiply_pairs(x[1], aed_odd(four1), sum1);
        row1 += 4;
        x += 2;
    }
#else
    for (const int8_t *x = (const int8_t *)inputs; row0 < end; ++x) {
        sum0 += *row0++ * *x;
        sum1 += *row1++ * *x;
    }
#endif
    sum[0] = sum0;
    sum[1] = sum1;
}

/* With rows of weights that do not go in pairs: (out_c, k) int8. */
AED_INLINE void aed_conv_rows(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_conv_t *const conv = (const aed_conv_t *)layer;
    const aed_window_t *const window = &conv->window;
    const int32_t k = conv->values;
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int8_t *weight = (const int8_t *)conv->weight;
        const void *const x = aed_inputs(rows, conv, column, scratch);
        for (int32_t o = 0; o < window->out_c; o += 2) {
            int32_t sum[2] = {conv->bias[o], conv->bias[o + 1]};
            const int both = o + 1 < window->out_c;
            aed_dot(weight, both ? weight + k : weight, x, k, sum);
            *out++ = aed_step_of(sum[0], aed_factor(conv->factor + o), slope, window->out_zero);
            if (both) {
                *out++ = aed_step_of(sum[1], aed_factor(conv->factor + o + 1), slope, window->out_zero);
            }
            weight += 2 * k;
        }
    }
}

AED_BOTH_ROWS(aed_conv_row, aed_conv_swish_row, aed_conv_rows)
#endif
