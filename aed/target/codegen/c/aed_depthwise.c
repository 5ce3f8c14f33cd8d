/* Convolutions of each channel alone. */
#include "aed_exact.h"

#include "aed_kernels.h"

#if !AED_MVE
#include <stddef.h>
#include <string.h>

#include "aed_steps.h"
#include "aed_words.h"

/* Where a window finds its inputs, tap by tap; outside: as many values as channels, all the input's zero point. */
static void aed_taps(
    const int8_t *const *rows, const aed_window_t *window, int32_t column, const int8_t *outside, const int8_t **tap) {
    const int32_t left = column * window->stride_w - window->pad_left;
    for (int32_t i = 0; i < window->k_h; ++i) {
        for (int32_t j = 0; j < window->k_w; ++j) {
            const int32_t x = left + j * window->dilation_w;
            *tap++ = rows[i] != NULL && x >= 0 && x < window->in_w ? rows[i] + x * window->in_c : outside;
        }
    }
}

#if AED_WASM
#include "aed_depthwise_wasm.h"
#endif

#if AED_SMLAD
#define AED_TAP                                                                                                        \
    "ldr %[x], [%[tap]], #4\n"                                                                                         \
    "ldr %[w], [%[weight]], #4\n"                                                                                      \
    "ldr %[x], [%[x], %[o]]\n"                                                                                         \
    "sxtb16 %[v], %[w]\n"                                                                                              \
    "sxtb16 %[w], %[w], ror #8\n"                                                                                      \
    "sxtb16 %[u], %[x]\n"                                                                                              \
    "sxtb16 %[x], %[x], ror #8\n"                                                                                      \
    "smlabb %[s0], %[u], %[v], %[s0]\n"                                                                                \
    "smlabb %[s1], %[x], %[w], %[s1]\n"                                                                                \
    "smlatt %[s2], %[u], %[v], %[s2]\n"                                                                                \
    "smlatt %[s3], %[x], %[w], %[s3]\n"
#define AED_TAP_OPERANDS                                                                                               \
    : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [tap] "+r"(tap), [weight] "+r"(weight),              \
      [x] "=&r"(x), [w] "=&r"(w), [u] "=&r"(u), [v] "=&r"(v)                                                           \
    : [o] "r"(o)                                                                                                       \
    : "memory"
#endif

/* Four channels of one pixel, from the o-th on. */
AED_INLINE void aed_quad_step(
    const int8_t **tap, int32_t o, const int8_t *weight, int32_t taps, const aed_depthwise_t *layer, const float *slope,
    int8_t *out) {
    const aed_factor_t *const factor = layer->factor + o;
    const int32_t zero = layer->window.out_zero;
#if AED_WASM
    const v128_t sums = aed_quad_sums(tap, o, weight, taps, wasm_v128_load(layer->bias + o));
    const v128_t steps = aed_four_values(sums, wasm_v128_load(factor), slope);
    wasm_v128_store32_lane(out, aed_eight_steps(steps, steps, zero), 0);
#else
    int32_t s0 = layer->bias[o];
    int32_t s1 = layer->bias[o + 1];
    int32_t s2 = layer->bias[o + 2];
    int32_t s3 = layer->bias[o + 3];
#if AED_SMLAD
    uint32_t x;
    uint32_t w;
    uint32_t u;
    uint32_t v;
    for (; taps >= 3; taps -= 3) {
        __asm volatile(AED_TAP AED_TAP AED_TAP AED_TAP_OPERANDS);
    }
    for (; taps > 0; --taps) {
        __asm volatile(AED_TAP AED_TAP_OPERANDS);
    }
#else
    for (int32_t t = 0; t < taps; ++t) {
        s0 += tap[t][o] * weight[4 * t];
        s1 += tap[t][o + 1] * weight[4 * t + 1];
        s2 += tap[t][o + 2] * weight[4 * t + 2];
        s3 += tap[t][o + 3] * weight[4 * t + 3];
    }
#endif
    out[0] = aed_step_of(s0, aed_factor(factor + 0), slope, zero);
    out[1] = aed_step_of(s1, aed_factor(factor + 1), slope, zero);
    out[2] = aed_step_of(s2, aed_factor(factor + 2), slope, zero);
    out[3] = aed_step_of(s3, aed_factor(factor + 3), slope, zero);
#endif
}

#if AED_SMLAD
AED_NEEDS_ALL_REGISTERS

/* All that code may change which is given its arguments in r0. */
#define AED_ALL_CHANGED                                                                                                \
    "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

/* Kernels of 3 x 3 slide over columns of four channels as int16. A column is six words: rows 0 and 1 of channel 0; row 2
 * of channels 0 and 2; rows 0 and 1 of channel 2; the same of channels 1 and 3. So the two words of a channel lie side
 * by side, and three columns fit the registers beside all weights. A sum replaces the first word of its channel. */
#define AED_COLUMN 6

/* Zero points in count words, an even number. Returns what comes after them. */
static inline uint32_t *aed_fill(uint32_t *column, int32_t count, uint32_t zeros) {
    const uint64_t both = zeros * 0x100000001ull;
    uint32_t *const end = column + count;
    for (; column < end; column += 2) {
        memcpy(column, &both, sizeof both);
    }
    return column;
}

/* Columns that a row of outputs needs: zero points before the image, inside it, zero points after it; and whether all
 * rows are there. */
typedef struct {
    int32_t before, inside, after;
    int whole;
} aed_span_t;

static aed_span_t aed_span(const int8_t *const *rows, const aed_window_t *window) {
    const int32_t needed = window->stride_w * (window->out_w - 1) + window->k_w;
    const int32_t before = window->pad_left < needed ? window->pad_left : needed;
    const int32_t inside = window->in_w < needed - before ? window->in_w : needed - before;
    aed_span_t span = {before, inside, needed - before - inside, inside > 0};
    for (int32_t i = 0; i < window->k_h; ++i) {
        span.whole = span.whole && rows[i] != NULL;
    }
    return span;
}

/* One column of four channels, and the next. */
static uint32_t *aed_column(uint32_t *column, uint32_t row0, uint32_t row1, uint32_t row2) {
    const uint32_t low = aed_bottoms(row0, row1);
    const uint32_t high = aed_tops(row0, row1);
    column[0] = aed_even(low);
    column[1] = aed_even(row2);
    column[2] = aed_even(high);
    column[3] = aed_odd(low);
    column[4] = aed_odd(row2);
    column[5] = aed_odd(high);
    return column + AED_COLUMN;
}

/* count columns; a pixel has depth bytes. Returns the next. */
AED_ALONE uint32_t *aed_columns(
    uint32_t *column, const int8_t *row0, const int8_t *row1, const int8_t *row2, int32_t count, int32_t depth) {
    int32_t at = -count * depth;
    __asm volatile("1:\n"
                   "ldr r9, [%[row0], %[at]]\n"
                   "ldr r10, [%[row1], %[at]]\n"
                   "ldr r11, [%[row2], %[at]]\n"
                   "pkhbt r12, r9, r10, lsl #16\n"
                   "pkhtb r10, r10, r9, asr #16\n"
                   "sxtb16 r4, r12\n"
                   "sxtb16 r6, r11\n"
                   "sxtb16 r8, r10\n"
                   "sxtb16 r9, r12, ror #8\n"
                   "sxtb16 r11, r11, ror #8\n"
                   "sxtb16 r12, r10, ror #8\n"
                   "stm %[column]!, {r4, r6, r8, r9, r11, r12}\n"
                   "adds %[at], %[at], %[depth]\n"
                   "bne 1b\n"
                   : [at] "+r"(at), [column] "+r"(column)
                   : [row0] "r"(row0 - at), [row1] "r"(row1 - at), [row2] "r"(row2 - at), [depth] "r"(depth)
                   : "r4", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
    return column;
}

/* What the assembly keeps on the stack, in this order. */
typedef struct {
    const int8_t *weight;    /* eight of each channel, in the order 0, 2, 1, 3 */
    uint32_t *column;        /* the first */
    const int8_t *last;      /* ninth weights of the channels, in the same order */
    const int32_t *bias;     /* in the order 0, 1, 2, 3 */
    uint32_t rounds;         /* of the loop, less one, times 65536 */
    uint32_t unused;
} aed_slide_t;

/* The sum of a channel for one output: r1 points to the first of its columns, whose words are in a and b; those of the
 * next in c and d, and of the third in e and f. r2 to r4 have weights of rows 0 and 1, r5 those of row 2, r6 the
 * last one, r7 the bias. Row 2 lies in the half of b, d, f. */
#define AED_NINE(half, a, b, c, d, e, f)                                                                               \
    "smlad r0, " a ", r2, r7\n"                                                                                        \
    "smla" half "b r0, " b ", r5, r0\n"                                                                                \
    "smlad r0, " c ", r3, r0\n"                                                                                        \
    "smla" half "t r0, " d ", r5, r0\n"                                                                                \
    "smlad r0, " e ", r4, r0\n"                                                                                        \
    "smla" half "b r0, " f ", r6, r0\n"
/* The words of a channel at some column: pair of rows and row 2, or the other way round. */
#define AED_PAIR_FIRST(pair, row2, from) "ldrd " pair ", " row2 ", [r1, #" from "]\n"
#define AED_PAIR_LAST(pair, row2, from) "ldrd " row2 ", " pair ", [r1, #" from "]\n"
#define AED_ONE_BY_1(half, words, a, b, c, d, e, f)                                                                    \
    words(e, f, "48") AED_NINE(half, a, b, c, d, e, f) "str r0, [r1], #24\n"
#define AED_BY_1(half, words)                                                                                          \
    AED_ONE_BY_1(half, words, "r8", "r9", "r10", "r11", "r12", "lr")                                                   \
    AED_ONE_BY_1(half, words, "r10", "r11", "r12", "lr", "r8", "r9")                                                   \
    AED_ONE_BY_1(half, words, "r12", "lr", "r8", "r9", "r10", "r11")
#define AED_ONE_BY_2(half, words, a, b, c, d, e, f)                                                                    \
    words(c, d, "24") words(e, f, "48") AED_NINE(half, a, b, c, d, e, f) "str r0, [r1], #48\n"
#define AED_BY_2(half, words)                                                                                          \
    AED_ONE_BY_2(half, words, "r8", "r9", "r10", "r11", "r12", "lr")                                                   \
    AED_ONE_BY_2(half, words, "r12", "lr", "r10", "r11", "r8", "r9")
#define AED_CHANNEL(half, words, weight, last, bias, column, some)                                                     \
    "ldm sp, {r0, r1, r6, r7, lr}\n"                                                                                   \
    "ldrd r2, r4, [r0, #" weight "]\n"                                                                                 \
    "ldrsb r6, [r6, #" last "]\n"                                                                                      \
    "ldr r7, [r7, #" bias "]\n"                                                                                        \
    "add r1, #" column "\n"                                                                                            \
    "sxtb16 r3, r2, ror #8\n"                                                                                          \
    "sxtb16 r2, r2\n"                                                                                                  \
    "sxtb16 r5, r4, ror #8\n"                                                                                          \
    "sxtb16 r4, r4\n"                                                                                                  \
    "pkhbt r6, r6, lr\n"                                                                                               \
    words("r8", "r9", "0") words("r10", "r11", "24")                                                                   \
    "2:\n" some(half, words)                                                                                           \
    "subs r6, #0x10000\n"                                                                                              \
    "bpl 2b\n"
/* Sums of four channels: 0 and 2, then 1 and 3. */
#define AED_SLIDE(name, some)                                                                                          \
    AED_ALONE void name(const aed_slide_t *slide) {                                                                    \
        register const aed_slide_t *r0 __asm("r0") = slide;                                                            \
        __asm volatile("ldm r0, {r2-r7}\n"                                                                             \
                       "push {r2-r7}\n"                                                                                \
                       "1:\n" AED_CHANNEL("b", AED_PAIR_FIRST, "0", "0", "0", "0", some)                               \
                       AED_CHANNEL("t", AED_PAIR_LAST, "8", "1", "8", "4", some)                                       \
                       "ldm sp, {r0, r1, r6, r7, lr}\n"                                                                \
                       "add r0, #16\n"                                                                                 \
                       "add r1, #12\n"                                                                                 \
                       "add r6, #2\n"                                                                                  \
                       "add r7, #4\n"                                                                                  \
                       "eor lr, #1\n"                                                                                  \
                       "stm sp, {r0, r1, r6, r7, lr}\n"                                                                \
                       "lsls lr, #31\n"                                                                                \
                       "bne 1b\n"                                                                                      \
                       "add sp, #24\n"                                                                                 \
                       : "+r"(r0)                                                                                      \
                       :                                                                                               \
                       : AED_ALL_CHANGED);                                                                             \
    }

AED_SLIDE(aed_slide_by_1, AED_BY_1)
AED_SLIDE(aed_slide_by_2, AED_BY_2)

/* Sums to steps of four channels: sums every words words, outputs every depth bytes. The generator has proved that
 * steps fit 16 bits. With a HardSwish s14 is the slope and s15 is 1. */
#define AED_SLIDE_SLOPE "vldr s14, [%[slope]]\n vmov.f32 s15, #1.0\n"
#define AED_SLIDE_SWISH                                                                                                \
    "vmul.f32 s12, s0, s14\n"                                                                                          \
    "vmul.f32 s13, s1, s14\n"                                                                                          \
    "vmul.f32 s6, s3, s14\n"                                                                                           \
    "vmul.f32 s7, s4, s14\n"                                                                                           \
    "vadd.f32 s12, s12, s15\n"                                                                                         \
    "vadd.f32 s13, s13, s15\n"                                                                                         \
    "vadd.f32 s6, s6, s15\n"                                                                                           \
    "vadd.f32 s7, s7, s15\n"                                                                                           \
    "vmov r4, r5, s12, s13\n"                                                                                          \
    "vmov r6, r8, s6, s7\n"                                                                                            \
    "usat r4, #30, r4\n"                                                                                               \
    "usat r5, #30, r5\n"                                                                                               \
    "usat r6, #30, r6\n"                                                                                               \
    "usat r8, #30, r8\n"                                                                                               \
    "vmov s12, s13, r4, r5\n"                                                                                          \
    "vmov s6, s7, r6, r8\n"                                                                                            \
    "vmul.f32 s0, s0, s12\n"                                                                                           \
    "vmul.f32 s1, s1, s13\n"                                                                                           \
    "vmul.f32 s3, s3, s6\n"                                                                                            \
    "vmul.f32 s4, s4, s7\n"
#define AED_SLIDE_STEPS(name, begin, swish)                                                                            \
    AED_ALONE void name(                                                                                               \
        const uint32_t *sum, int32_t words, int8_t *out, int32_t depth, const aed_factor_t *factor, int32_t count,           \
        int32_t zero, const float *slope) {                                                                                 \
        int32_t at = -count * depth;                                                                                   \
        const int32_t zeros = (zero + 128) * 0x10001; /* 128 more: saturated to unsigned bytes, without a sign above */\
        __asm volatile("vldm %[factor], {s8-s11}\n" begin                                                             \
                       "1:\n"                                                                                         \
                       "vldm %[sum], {s0-s4}\n"                                                                       \
                       "add %[sum], %[sum], %[words]\n"                                                               \
                       "vcvt.f32.s32 s0, s0\n"                                                                        \
                       "vcvt.f32.s32 s1, s1\n"                                                                        \
                       "vcvt.f32.s32 s3, s3\n"                                                                        \
                       "vcvt.f32.s32 s4, s4\n"                                                                        \
                       "vmul.f32 s0, s0, s8\n"                                                                        \
                       "vmul.f32 s1, s1, s10\n"                                                                       \
                       "vmul.f32 s3, s3, s9\n"                                                                        \
                       "vmul.f32 s4, s4, s11\n" swish                                                                 \
                       "vcvtr.s32.f32 s0, s0\n"                                                                       \
                       "vcvtr.s32.f32 s1, s1\n"                                                                       \
                       "vcvtr.s32.f32 s3, s3\n"                                                                       \
                       "vcvtr.s32.f32 s4, s4\n"                                                                       \
                       "vmov r4, r5, s0, s1\n"                                                                        \
                       "vmov r6, r8, s3, s4\n"                                                                        \
                       "pkhbt r4, r4, r5, lsl #16\n"                                                                  \
                       "pkhbt r6, r6, r8, lsl #16\n"                                                                  \
                       "sadd16 r4, r4, %[zeros]\n"                                                                    \
                       "sadd16 r6, r6, %[zeros]\n"                                                                    \
                       "usat16 r4, #8, r4\n"                                                                          \
                       "usat16 r6, #8, r6\n"                                                                          \
                       "orr r4, r4, r6, lsl #8\n"                                                                     \
                       "eor r4, r4, #0x80808080\n"                                                                    \
                       "str r4, [%[out], %[at]]\n"                                                                    \
                       "adds %[at], %[at], %[depth]\n"                                                                \
                       "bne 1b\n"                                                                                     \
                       : [sum] "+r"(sum), [at] "+r"(at)                                                                \
                       : [out] "r"(out - at), [words] "r"(4 * words), [depth] "r"(depth), [zeros] "r"(zeros), [factor] "r"(factor),         \
                         [slope] "r"(slope)                                                                            \
                       : "r4", "r5", "r6", "r8", "s0", "s1", "s2", "s3", "s4", "s6", "s7", "s8", "s9", "s10", "s11",   \
                         "s12", "s13", "s14", "s15", "cc", "memory");                                                  \
    }

AED_SLIDE_STEPS(aed_slide_steps, "", "")
AED_SLIDE_STEPS(aed_slide_swish_steps, AED_SLIDE_SLOPE, AED_SLIDE_SWISH)

/* The same in whole numbers. */
AED_ALONE void aed_slide_whole_steps(
    const uint32_t *sum, int32_t words, int8_t *out, int32_t depth, const aed_factor_t *factor, int32_t count,
    int32_t zero) {
    int32_t at = -count * depth;
    const int32_t fixed = zero * (1 << AED_STEP_BITS) + (1 << (AED_STEP_BITS - 1));
    __asm volatile("1:\n"
                   "ldrd r4, r5, [%[sum]]\n"
                   "ldrd r6, r8, [%[sum], #12]\n"
                   "add %[sum], %[sum], %[words]\n"
                   "smmls r4, r4, %[factor0], %[fixed]\n"
                   "smmls r5, r5, %[factor2], %[fixed]\n"
                   "smmls r6, r6, %[factor1], %[fixed]\n"
                   "smmls r8, r8, %[factor3], %[fixed]\n"
                   "ssat r4, #8, r4, asr #2\n"
                   "ssat r5, #8, r5, asr #2\n"
                   "ssat r6, #8, r6, asr #2\n"
                   "ssat r8, #8, r8, asr #2\n"
                   "bfi r4, r6, #8, #8\n"
                   "bfi r4, r5, #16, #8\n"
                   "bfi r4, r8, #24, #8\n"
                   "str r4, [%[out], %[at]]\n"
                   "adds %[at], %[at], %[depth]\n"
                   "bne 1b\n"
                   : [sum] "+r"(sum), [at] "+r"(at)
                   : [out] "r"(out - at), [words] "r"(4 * words), [depth] "r"(depth), [fixed] "r"(fixed), [factor0] "r"(factor[0]),
                     [factor1] "r"(factor[1]), [factor2] "r"(factor[2]), [factor3] "r"(factor[3])
                   : "r4", "r5", "r6", "r8", "cc", "memory");
}

/* Of four channels, from the o-th on. */
AED_INLINE void aed_four_steps(
    const uint32_t *sum, int32_t words, int8_t *out, int32_t o, const aed_depthwise_t *layer, const float *slope) {
    const aed_window_t *const window = &layer->window;
    const aed_factor_t *const factor = layer->factor + o;
    if (slope != NULL) {
        aed_slide_swish_steps(sum, words, out + o, window->in_c, factor, window->out_w, window->out_zero, slope);
    } else if (*factor < 0) {
        aed_slide_whole_steps(sum, words, out + o, window->in_c, factor, window->out_w, window->out_zero);
    } else {
        aed_slide_steps(sum, words, out + o, window->in_c, factor, window->out_w, window->out_zero, slope);
    }
}

AED_INLINE void aed_depthwise_sliding(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t depth = window->in_c;
    const int32_t at_once = window->stride_w == 1 ? 3 : 2;
    const aed_span_t span = aed_span(rows, window);
    const uint32_t zeros = (uint16_t)window->in_zero * 0x10001u;
    const uint32_t four_zeros = (uint8_t)window->in_zero * 0x01010101u;
    const int8_t *const weight = (const int8_t *)depthwise->weight;
    aed_slide_t slide = {
        weight, (uint32_t *)scratch, weight + 32, depthwise->bias, (uint32_t)((window->out_w - 1) / at_once) << 16, 0};
    for (int32_t o = 0; o < depth; o += 4) {
        uint32_t *column = aed_fill((uint32_t *)scratch, AED_COLUMN * span.before, zeros);
        if (span.whole) {
            column = aed_columns(column, rows[0] + o, rows[1] + o, rows[2] + o, span.inside, depth);
        } else {
            for (int32_t at = o; at < span.inside * depth; at += depth) {
                const uint32_t row0 = rows[0] == NULL ? four_zeros : aed_load(rows[0] + at);
                const uint32_t row1 = rows[1] == NULL ? four_zeros : aed_load(rows[1] + at);
                const uint32_t row2 = rows[2] == NULL ? four_zeros : aed_load(rows[2] + at);
                column = aed_column(column, row0, row1, row2);
            }
        }
        (void)aed_fill(column, AED_COLUMN * span.after, zeros);
        if (window->stride_w == 1) {
            aed_slide_by_1(&slide);
        } else {
            aed_slide_by_2(&slide);
        }
        slide.weight += 36;
        slide.last += 36;
        slide.bias += 4;
        aed_four_steps((const uint32_t *)scratch, window->stride_w * AED_COLUMN, out, o, depthwise, slope);
    }
}
/* Kernels of 5 x 5 in the same way, six outputs of a channel at once. A column is ten words: of channel 0 rows 0 and 1,
 * and 2 and 3; row 4 of channels 0 and 2; of channel 2 rows 0 and 1, and 2 and 3; the same of channels 1 and 3. So the
 * three words of a channel lie side by side. Sums come where those of 3 x 3 do: words 0, 1, 3, 4. */
#define AED_LONG_COLUMN 10
#define AED_LONG_AT_ONCE 6
#define AED_LONG_WEIGHTS 15 /* words of a channel */

/* Column by column where rows are missing: zeros are four zero points. */
static uint32_t *aed_long_column(uint32_t *column, const int8_t *const *rows, int32_t at, uint32_t zeros) {
    uint32_t row[5];
    for (int32_t i = 0; i < 5; ++i) {
        row[i] = rows[i] == NULL ? zeros : aed_load(rows[i] + at);
    }
    for (int32_t i = 0; i < 2; ++i) {
        const uint32_t low = aed_bottoms(row[2 * i], row[2 * i + 1]);
        const uint32_t high = aed_tops(row[2 * i], row[2 * i + 1]);
        column[i] = aed_even(low);
        column[i + 3] = aed_even(high);
        column[i + 5] = aed_odd(low);
        column[i + 8] = aed_odd(high);
    }
    column[2] = aed_even(row[4]);
    column[7] = aed_odd(row[4]);
    return column + AED_LONG_COLUMN;
}

/* count columns, not 0; a pixel has depth bytes. Returns the next. */
AED_ALONE uint32_t *aed_long_columns(uint32_t *column, const int8_t *const *rows, int32_t from, int32_t count, int32_t depth) {
    int32_t at = -count * depth;
    const int8_t *const row0 = rows[0] + from - at;
    const int8_t *const row1 = rows[1] + from - at;
    const int8_t *const row2 = rows[2] + from - at;
    const int8_t *const row3 = rows[3] + from - at;
    const int8_t *const row4 = rows[4] + from - at;
    __asm volatile("1:\n"
                   "ldr r8, [%[row0], %[at]]\n"
                   "ldr r9, [%[row1], %[at]]\n"
                   "ldr r10, [%[row2], %[at]]\n"
                   "ldr r11, [%[row3], %[at]]\n"
                   "pkhbt r12, r8, r9, lsl #16\n"
                   "pkhtb r9, r9, r8, asr #16\n"
                   "pkhbt r8, r10, r11, lsl #16\n"
                   "pkhtb r11, r11, r10, asr #16\n"
                   "sxtb16 r10, r9, ror #8\n"
                   "sxtb16 lr, r11, ror #8\n"
                   "strd r10, lr, [%[column], #32]\n"
                   "sxtb16 r9, r9\n"
                   "sxtb16 r11, r11\n"
                   "strd r9, r11, [%[column], #12]\n"
                   "sxtb16 r10, r12, ror #8\n"
                   "sxtb16 lr, r8, ror #8\n"
                   "strd r10, lr, [%[column], #20]\n"
                   "ldr r9, [%[row4], %[at]]\n"
                   "sxtb16 r11, r9, ror #8\n"
                   "sxtb16 r9, r9\n"
                   "str r11, [%[column], #28]\n"
                   "str r9, [%[column], #8]\n"
                   "sxtb16 r12, r12\n"
                   "sxtb16 r8, r8\n"
                   "strd r12, r8, [%[column]], #40\n"
                   "adds %[at], %[at], %[depth]\n"
                   "bne 1b\n"
                   : [at] "+r"(at), [column] "+r"(column)
                   : [row0] "r"(row0), [row1] "r"(row1), [row2] "r"(row2), [row3] "r"(row3), [row4] "r"(row4),
                     [depth] "r"(depth)
                   : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    return column;
}

/* What the assembly keeps on the stack, in this order. */
typedef struct {
    const uint32_t *column;      /* the first word of the channel */
    const uint32_t *weights;     /* five of each of its three words */
    uint32_t *sum;               /* where the first goes */
    const uint32_t *sum_end, *weights_end;
    int32_t bias;
} aed_long_t;

/* A word of some column, of the first at r0, which moves on by one word; its products with one of five weights. */
#define AED_FIRST_AT "ldr lr, [r0], #4\n"
#define AED_AT(from) "ldr lr, [r0, #" from "]\n"
#define AED_MUL(sum, weight) "smlad " sum ", lr, " weight ", " sum "\n"
#define AED_TAPS_BY_1                                                                                                  \
    AED_FIRST_AT AED_MUL("r2", "r8")                                                                                   \
    AED_AT("36") AED_MUL("r2", "r9") AED_MUL("r3", "r8")                                                               \
    AED_AT("76") AED_MUL("r2", "r10") AED_MUL("r3", "r9") AED_MUL("r4", "r8")                                          \
    AED_AT("116") AED_MUL("r2", "r11") AED_MUL("r3", "r10") AED_MUL("r4", "r9") AED_MUL("r5", "r8")                    \
    AED_AT("156") AED_MUL("r2", "r12") AED_MUL("r3", "r11") AED_MUL("r4", "r10") AED_MUL("r5", "r9") AED_MUL("r6", "r8")\
    AED_AT("196") AED_MUL("r3", "r12") AED_MUL("r4", "r11") AED_MUL("r5", "r10") AED_MUL("r6", "r9") AED_MUL("r7", "r8")\
    AED_AT("236") AED_MUL("r4", "r12") AED_MUL("r5", "r11") AED_MUL("r6", "r10") AED_MUL("r7", "r9")                   \
    AED_AT("276") AED_MUL("r5", "r12") AED_MUL("r6", "r11") AED_MUL("r7", "r10")                                       \
    AED_AT("316") AED_MUL("r6", "r12") AED_MUL("r7", "r11")                                                            \
    AED_AT("356") AED_MUL("r7", "r12")
#define AED_TAPS_BY_2                                                                                                  \
    AED_FIRST_AT AED_MUL("r2", "r8")                                                                                   \
    AED_AT("36") AED_MUL("r2", "r9")                                                                                   \
    AED_AT("76") AED_MUL("r2", "r10") AED_MUL("r3", "r8")                                                              \
    AED_AT("116") AED_MUL("r2", "r11") AED_MUL("r3", "r9")                                                             \
    AED_AT("156") AED_MUL("r2", "r12") AED_MUL("r3", "r10") AED_MUL("r4", "r8")                                        \
    AED_AT("196") AED_MUL("r3", "r11") AED_MUL("r4", "r9")                                                             \
    AED_AT("236") AED_MUL("r3", "r12") AED_MUL("r4", "r10") AED_MUL("r5", "r8")                                        \
    AED_AT("276") AED_MUL("r4", "r11") AED_MUL("r5", "r9")                                                             \
    AED_AT("316") AED_MUL("r4", "r12") AED_MUL("r5", "r10") AED_MUL("r6", "r8")                                        \
    AED_AT("356") AED_MUL("r5", "r11") AED_MUL("r6", "r9")                                                             \
    AED_AT("396") AED_MUL("r5", "r12") AED_MUL("r6", "r10") AED_MUL("r7", "r8")                                        \
    AED_AT("436") AED_MUL("r6", "r11") AED_MUL("r7", "r9")                                                             \
    AED_AT("476") AED_MUL("r6", "r12") AED_MUL("r7", "r10")                                                            \
    AED_AT("516") AED_MUL("r7", "r11")                                                                                 \
    AED_AT("556") AED_MUL("r7", "r12")
#define AED_LONG(name, taps, from1, from2, from3, from4, from5, next, ahead)                                             \
    AED_ALONE void name(const aed_long_t *of) {                                                                        \
        register const aed_long_t *r0 __asm("r0") = of;                                                                \
        __asm volatile("ldm r0, {r2-r7}\n"                                                                             \
                       "push {r2-r7}\n"                                                                                \
                       "ldrd r0, r1, [sp]\n"                                                                           \
                       "1:\n"                                                                                          \
                       "ldr r2, [sp, #20]\n"                                                                           \
                       "mov r3, r2\n"                                                                                  \
                       "mov r4, r2\n"                                                                                  \
                       "mov r5, r2\n"                                                                                  \
                       "mov r6, r2\n"                                                                                  \
                       "mov r7, r2\n"                                                                                  \
                       "2:\n"                                                                                          \
                       "ldm r1!, {r8-r12}\n" taps                                                                      \
                       "ldr lr, [sp, #16]\n"                                                                           \
                       "cmp r1, lr\n"                                                                                  \
                       "bne 2b\n"                                                                                      \
                       "ldrd lr, r8, [sp, #8]\n"                                                                       \
                       "str r3, [lr, #" from1 "]\n"                                                                    \
                       "str r4, [lr, #" from2 "]\n"                                                                    \
                       "str r5, [lr, #" from3 "]\n"                                                                    \
                       "str r6, [lr, #" from4 "]\n"                                                                    \
                       "str r7, [lr, #" from5 "]\n"                                                                    \
                       "str r2, [lr]\n"                                                                                \
                       "add lr, #" next "\n"                                                                           \
                       "str lr, [sp, #8]\n"                                                                            \
                       "add r0, #" ahead "\n"                                                                          \
                       "sub r1, #60\n"                                                                                 \
                       "cmp lr, r8\n"                                                                                  \
                       "bne 1b\n"                                                                                      \
                       "add sp, #24\n"                                                                                 \
                       : "+r"(r0)                                                                                      \
                       :                                                                                               \
                       : AED_ALL_CHANGED);                                                                             \
    }

AED_LONG(aed_long_by_1, AED_TAPS_BY_1, "40", "80", "120", "160", "200", "240", "228")
AED_LONG(aed_long_by_2, AED_TAPS_BY_2, "80", "160", "240", "320", "400", "480", "468")

/* The weights of four channels: of channels 0, 2, 1, 3 five of each word, in the order of a column's words; those of row
 * 4 in one half. */
static void aed_long_weights(const int8_t *weight, uint32_t *out) {
    for (const uint32_t *const end = out + 5; out < end; ++out) {
        const uint32_t row0 = aed_load(weight);
        const uint32_t row1 = aed_load(weight + 20);
        const uint32_t row2 = aed_load(weight + 40);
        const uint32_t row3 = aed_load(weight + 60);
        const uint32_t row4 = aed_load(weight + 80);
        const uint32_t low = aed_bottoms(row0, row1);
        const uint32_t high = aed_tops(row0, row1);
        const uint32_t low_below = aed_bottoms(row2, row3);
        const uint32_t high_below = aed_tops(row2, row3);
        out[0] = aed_even(low);
        out[5] = aed_even(low_below);
        out[10] = aed_even(row4) & 0xFFFFu;
        out[15] = aed_even(row4) & 0xFFFF0000u;
        out[20] = aed_even(high);
        out[25] = aed_even(high_below);
        out[30] = aed_odd(low);
        out[35] = aed_odd(low_below);
        out[40] = aed_odd(row4) & 0xFFFFu;
        out[45] = aed_odd(row4) & 0xFFFF0000u;
        out[50] = aed_odd(high);
        out[55] = aed_odd(high_below);
        weight += 4;
    }
}

AED_INLINE void aed_depthwise_long(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    static const struct {
        uint8_t channel, word, sum; /* and the first word of a column that it has */
    } each[4] = {{0, 0, 0}, {2, 2, 1}, {1, 5, 3}, {3, 7, 4}};
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t depth = window->in_c;
    const aed_span_t span = aed_span(rows, window);
    const int32_t blocks = (window->out_w + AED_LONG_AT_ONCE - 1) / AED_LONG_AT_ONCE;
    const int32_t step = window->stride_w * AED_LONG_COLUMN;
    const int32_t all = step * AED_LONG_AT_ONCE * blocks;
    const uint32_t zeros = (uint16_t)window->in_zero * 0x10001u;
    uint32_t *const weights = (uint32_t *)scratch;
    uint32_t *const columns = weights + 4 * AED_LONG_WEIGHTS;
    for (int32_t o = 0; o < depth; o += 4) {
        uint32_t *column = aed_fill(columns, AED_LONG_COLUMN * span.before, zeros);
        if (span.whole) {
            column = aed_long_columns(column, rows, o, span.inside, depth);
        } else {
            for (int32_t at = o; at < span.inside * depth; at += depth) {
                column = aed_long_column(column, rows, at, (uint8_t)window->in_zero * 0x01010101u);
            }
        }
        (void)aed_fill(column, AED_LONG_COLUMN * span.after, zeros);
        aed_long_weights((const int8_t *)depthwise->weight + 25 * o, weights);
        for (int32_t i = 0; i < 4; ++i) {
            uint32_t *const sum = columns + each[i].sum;
            const uint32_t *const some = weights + AED_LONG_WEIGHTS * i;
            const aed_long_t of = {
                columns + each[i].word, some, sum, sum + all, some + AED_LONG_WEIGHTS,
                depthwise->bias[o + each[i].channel]};
            if (window->stride_w == 1) {
                aed_long_by_1(&of);
            } else {
                aed_long_by_2(&of);
            }
        }
        aed_four_steps(columns, step, out, o, depthwise, slope);
    }
}
#elif !AED_WASM
/* Four channels of one pixel, whose weights lie as kernels of 3 x 3 want them: eight of each channel, in the order 0, 2,
 * 1, 3, then the last ones. */
AED_INLINE void aed_sliding_quad(
    const int8_t **tap, int32_t o, const int8_t *weight, const aed_depthwise_t *layer, const float *slope, int8_t *out) {
    static const int32_t channel[4] = {0, 2, 1, 3};
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t j = o + channel[i];
        const int32_t rows01 = weight[0] * tap[0][j] + weight[1] * tap[1][j] + weight[4] * tap[2][j] +
                               weight[2] * tap[3][j] + weight[3] * tap[4][j] + weight[6] * tap[5][j];
        const int32_t row2 = weight[5] * tap[6][j] + weight[7] * tap[7][j] + weight[32 - 7 * i] * tap[8][j];
        out[channel[i]] = aed_step_of(layer->bias[j] + rows01 + row2, aed_factor(layer->factor + j), slope, layer->window.out_zero);
        weight += 8;
    }
}

AED_INLINE void aed_depthwise_sliding(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const int32_t depth = depthwise->window.in_c;
    const int8_t **const tap = (const int8_t **)scratch;
    int8_t *const outside = (int8_t *)(tap + 9);
    memset(outside, depthwise->window.in_zero, (size_t)depth);
    for (int32_t column = 0; column < depthwise->window.out_w; ++column) {
        const int8_t *weight = (const int8_t *)depthwise->weight;
        aed_taps(rows, &depthwise->window, column, outside, tap);
        for (int32_t o = 0; o < depth; o += 4) {
            aed_sliding_quad(tap, o, weight, depthwise, slope, out + o);
            weight += 36;
        }
        out += depth;
    }
}
#endif

AED_BOTH_ROWS(aed_depthwise_sliding_row, aed_depthwise_sliding_swish_row, aed_depthwise_sliding)

AED_INLINE void aed_depthwise_rows(
    const int8_t *const *rows, int8_t *out, const void *layer, void *scratch, const float *slope) {
    const aed_depthwise_t *const depthwise = (const aed_depthwise_t *)layer;
    const aed_window_t *const window = &depthwise->window;
    const int32_t taps = window->k_h * window->k_w;
    const int32_t outputs = window->out_c;
    const int32_t multiplier = outputs / window->in_c;
    const int8_t **const tap = (const int8_t **)scratch;
    int8_t *const outside = (int8_t *)(tap + taps);
    memset(outside, window->in_zero, (size_t)window->in_c);
    for (int32_t column = 0; column < window->out_w; ++column) {
        const int8_t *weight = (const int8_t *)depthwise->weight;
        aed_taps(rows, window, column, outside, tap);
        for (int32_t o = 0; o < outputs; o += 4) {
            if (multiplier == 1 && o + 4 <= outputs) {
                aed_quad_step(tap, o, weight, taps, depthwise, slope, out + o);
            } else {
                const int32_t count = outputs - o < 4 ? outputs - o : 4;
                for (int32_t j = 0; j < count; ++j) {
                    int32_t sum = depthwise->bias[o + j];
                    for (int32_t t = 0; t < taps; ++t) {
                        sum += tap[t][(o + j) / multiplier] * weight[4 * t + j];
                    }
                    out[o + j] = aed_step_of(sum, aed_factor(depthwise->factor + o + j), slope, window->out_zero);
                }
            }
            weight += 4 * taps;
        }
        out += outputs;
    }
}

AED_BOTH_ROWS(aed_depthwise_row, aed_depthwise_swish_row, aed_depthwise_rows)
#if AED_SMLAD
AED_BOTH_ROWS(aed_depthwise_5x5_row, aed_depthwise_5x5_swish_row, aed_depthwise_long)
#else
AED_BOTH_ROWS(aed_depthwise_5x5_row, aed_depthwise_5x5_swish_row, aed_depthwise_rows)
#endif
#endif
