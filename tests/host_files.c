/* The files of semihost.h on this machine. */
#include <stdio.h>

#include "semihost.h"

static FILE *files[3];

int32_t aed_open(const char *name, int32_t mode) {
    const int32_t number = mode == 5 ? 2 : 1;
    files[number] = fopen(name, mode == 5 ? "wb" : "rb");
    return files[number] != NULL ? number : -1;
}

uint32_t aed_read(int32_t file, void *to, uint32_t size) {
    return (uint32_t)fread(to, 1, size, files[file]);
}

int32_t aed_write(int32_t file, const void *from, uint32_t size) {
    return (int32_t)(size - (uint32_t)fwrite(from, 1, size, files[file]));
}

void aed_close(int32_t file) {
    (void)fclose(files[file]);
}
