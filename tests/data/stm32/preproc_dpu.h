/* Stand-in: the type of the N6's tables. */
#ifndef PREPROC_DPU_H
#define PREPROC_DPU_H
#include "arm_math.h"
typedef float32_t PREPROC_FLOAT_T;
#endif
