/* Four int8 in a word, two int16 in a word: instructions of the DSP extension as functions. */
#ifndef AED_WORDS_H
#define AED_WORDS_H

#include <string.h>

#include "aed_kernels.h"

#if AED_SMLAD
/* Of functions whose assembly takes all registers: no variable of a caller may want one. */
#define AED_ALONE static __attribute__((noinline))

/* A function that is never called and compiles only where no register is reserved: a compiler does not save one that is,
 * though assembly says that it changes it. */
#define AED_NEEDS_ALL_REGISTERS                                                                                        \
    __attribute__((used)) static void aed_take_all_registers(void) {                                                   \
        uint32_t r[14];                                                                                                \
        __asm volatile(""                                                                                              \
                       : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3]), "=&r"(r[4]), "=&r"(r[5]), "=&r"(r[6]),    \
                         "=&r"(r[7]), "=&r"(r[8]), "=&r"(r[9]), "=&r"(r[10]), "=&r"(r[11]), "=&r"(r[12]),              \
                         "=&r"(r[13]));                                                                                \
    }

static inline uint32_t aed_load(const int8_t *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void aed_store(int8_t *to, uint32_t word) {
    memcpy(to, &word, sizeof word);
}

/* Values 0 and 2 as two int16. */
static inline uint32_t aed_even(uint32_t word) {
    uint32_t pair;
    __asm("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

/* Values 1 and 3 as two int16. */
static inline uint32_t aed_odd(uint32_t word) {
    uint32_t pair;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* Of each of four values the larger. */
static inline uint32_t aed_larger(uint32_t one, uint32_t other) {
    uint32_t larger;
    __asm("ssub8 %0, %1, %2\n"
          "sel %0, %1, %2"
          : "=&r"(larger)
          : "r"(one), "r"(other)
          : "cc");
    return larger;
}

/* The lower halves of two words. */
static inline uint32_t aed_bottoms(uint32_t low, uint32_t high) {
    uint32_t pair;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

/* The upper halves of two words. */
static inline uint32_t aed_tops(uint32_t low, uint32_t high) {
    uint32_t pair;
    __asm("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

/* sum plus the products of two pairs. */
static inline int32_t aed_multiply_pairs(uint32_t one, uint32_t other, int32_t sum) {
    int32_t result;
    __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(one), "r"(other), "r"(sum));
    return result;
}
#endif

#endif
