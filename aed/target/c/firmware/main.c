/* Names what a microphone hears: 16-bit mono samples in, a line for each patch out. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_frontend.h"
#include "aed_net.h"

#define BLOCK 160U

/* The next samples at AED_FE_SAMPLE_RATE Hz; 0 ends. Here from a file, on a board from the buffer of the microphone. */
static size_t microphone(int16_t *block, size_t size) {
    return fread(block, sizeof block[0], size, stdin);
}

static void hear(const int8_t *patch) {
    int8_t out[AED_NET_OUTPUT_SIZE];
    float probability[AED_CLASSES];
    int best = 0;
    aed_net_run(patch, out);
    aed_probabilities(out, probability);
    for (int i = 1; i < AED_CLASSES; ++i) {
        best = probability[i] > probability[best] ? i : best;
    }
    (void)printf("%s %.3f\n", aed_class_names[best], (double)probability[best]);
}

int main(void) {
    static aed_frontend frontend;
    static int8_t patch[AED_FRONTEND_PATCH_BYTES];
    int16_t block[BLOCK];
    size_t count;
    aed_frontend_init(&frontend);
    while ((count = microphone(block, BLOCK)) > 0U) {
        for (size_t used = 0U; used < count;) {
            int ready;
            used += aed_frontend_feed(&frontend, &block[used], count - used, &ready);
            if (ready != 0) {
                aed_frontend_patch(&frontend, patch);
                hear(patch);
            }
        }
    }
    return 0;
}
