/* What the kernels take of math.h: instructions of WebAssembly, and a fused multiply-add, which it has not. */
#ifndef AED_WEB_MATH_H
#define AED_WEB_MATH_H

#include <stdint.h>

#define rintf __builtin_rintf
#define sqrtf __builtin_sqrtf

/* a * b + c, rounded once. The product is exact in double; the sum is rounded to odd there, after which rounding to
 * float is that of the exact sum (S. Boldo, G. Melquiond: Emulation of a FMA and correctly rounded sums, 2008). */
static inline float fmaf(float a, float b, float c) {
    const double product = (double)a * (double)b;
    const double sum = product + (double)c;
    const double part = sum - product;
    const double lost = (product - (sum - part)) + ((double)c - part);
    int64_t bits;
    double odd;
    __builtin_memcpy(&bits, &sum, sizeof bits);
    bits += lost == 0.0 || (bits & 1) != 0 ? 0 : ((lost > 0.0) == (sum > 0.0) ? 1 : -1);
    __builtin_memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}

#endif
