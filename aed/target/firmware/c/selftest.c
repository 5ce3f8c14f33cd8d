/* Runs the self-test; ends with 0 where the net computes the right bits. */
#include <stdio.h>

#include "aed_selftest.h"

int main(void) {
    static aed_net net;
    const int differing = aed_selftest(&net);
    (void)printf("%d outputs differ\n", differing);
    return differing != 0;
}
