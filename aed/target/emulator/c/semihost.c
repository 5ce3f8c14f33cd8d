#include "semihost.h"

#include <string.h>

/* Arm semihosting, version 2: operation in r0, address of its arguments in r1, answer in r0. */
static int32_t call(uint32_t operation, const void *arguments) {
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

int32_t aed_open(const char *name, int32_t mode) {
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, (uint32_t)mode, (uint32_t)strlen(name)};
    return call(0x01u, arguments);
}

uint32_t aed_read(int32_t file, void *to, uint32_t size) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, size};
    return size - (uint32_t)call(0x06u, arguments);
}

int32_t aed_write(int32_t file, const void *from, uint32_t size) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)from, size};
    return call(0x05u, arguments);
}

void aed_close(int32_t file) {
    const uint32_t arguments[1] = {(uint32_t)file};
    (void)call(0x02u, arguments);
}

void aed_stop(int code) {
    const uint32_t arguments[2] = {0x20026u, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
    (void)call(0x20u, arguments);
    for (;;) {
    }
}
