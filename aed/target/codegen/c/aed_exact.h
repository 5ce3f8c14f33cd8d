/* The same bits from every compiler with every option: each C file with floats includes this before all else.
 *
 * A product is rounded before it is added: GCC is told by a pragma, which an option cannot undo; clang by another one, over
 * which -ffp-contract=fast goes, so that it also gets AED_ROUNDED. Of cores with Helium, vectors of floats flush denormals
 * where the FPU does not: what can get as small is kept out of vectors. Options that reorder floats are refused. */
#ifndef AED_EXACT_H
#define AED_EXACT_H

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    (defined(__FINITE_MATH_ONLY__) && (__FINITE_MATH_ONLY__ != 0))
#error "the outputs would not be those of the model: compile without -ffast-math, -Ofast and what they switch on"
#endif
#if defined(__FLT_EVAL_METHOD__) && ((__FLT_EVAL_METHOD__ == 1) || (__FLT_EVAL_METHOD__ == 2))
#error "the outputs would not be those of the model: float has to be computed as float (x86: -msse2 -mfpmath=sse)"
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* The value of a variable, float or a vector of them, is rounded here and, if a float, stays one. No instruction. */
#if !defined(__GNUC__)
#define AED_ROUNDED(value) ((void)0)
#elif defined(__ARM_FEATURE_MVE) && ((__ARM_FEATURE_MVE & 2) != 0)
#define AED_ROUNDED(value) __asm("" : "+w"(value))
#elif !defined(__clang__)
#define AED_ROUNDED(value) ((void)0)
#elif defined(__aarch64__) || (defined(__arm__) && defined(__ARM_FP))
#define AED_ROUNDED(value) __asm("" : "+w"(value))
#elif defined(__x86_64__)
#define AED_ROUNDED(value) __asm("" : "+x"(value))
#elif defined(__riscv_flen)
#define AED_ROUNDED(value) __asm("" : "+f"(value))
#else /* no instruction that multiplies and adds */
#define AED_ROUNDED(value) ((void)0)
#endif

#endif
