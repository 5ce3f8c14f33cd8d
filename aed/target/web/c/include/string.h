/* What the kernels take of string.h: instructions of WebAssembly. */
#ifndef AED_WEB_STRING_H
#define AED_WEB_STRING_H

#include <stddef.h>

#define memcpy __builtin_memcpy
#define memmove __builtin_memmove
#define memset __builtin_memset

#endif
