/* What a program under an emulator may ask of the machine around it: files, and to end. */
#ifndef AED_SEMIHOST_H
#define AED_SEMIHOST_H

#include <stdint.h>

int32_t aed_open(const char *name, int32_t mode); /* 1: read binary, 5: write binary; -1: failed */
uint32_t aed_read(int32_t file, void *to, uint32_t size); /* bytes read */
int32_t aed_write(int32_t file, const void *from, uint32_t size); /* 0: all written */
void aed_close(int32_t file);
void aed_stop(int code) __attribute__((noreturn));

#endif
