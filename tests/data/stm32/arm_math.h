/* Stand-in: the one type of CMSIS-DSP that the generated tables use. */
#ifndef ARM_MATH_H
#define ARM_MATH_H
typedef float float32_t;
#endif
