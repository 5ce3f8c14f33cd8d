/* Names the sounds at a microphone: 16-bit mono samples in, a line for each patch out, one for all of them at the end. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_listener.h"

#define BLOCK 160U

/* The next samples at AED_FE_SAMPLE_RATE Hz; 0 ends. Here from a file, on a board from the buffer of the microphone. */
static size_t microphone(int16_t *block, size_t size) {
    return fread(block, sizeof block[0], size, stdin);
}

/* Prints the detected classes and their probabilities. */
static void report(const char *of, const float *probability) {
    bool detected[AED_CLASSES];
    const int best = aed_decide(probability, detected);
    (void)printf("%s:%s", of, best == AED_UNKNOWN ? " unknown" : "");
    for (int i = 0; i < AED_CLASSES; ++i) {
        if (detected[i]) {
            (void)printf(" %s %.3f", aed_class_names[i], (double)probability[i]);
        }
    }
    (void)printf("\n");
}

static void classify(const int8_t *out, aed_clip *clip) {
    float probability[AED_CLASSES];
    aed_probabilities(out, probability);
    aed_clip_add(clip, probability);
    report("patch", probability);
}

int main(void) {
    static aed_listener listener;
    static aed_clip clip;
    int8_t out[AED_NET_OUTPUT_SIZE];
    int16_t block[BLOCK];
    size_t count;
    aed_listener_init(&listener);
    aed_clip_reset(&clip);
    while ((count = microphone(block, BLOCK)) > 0U) {
        for (size_t used = 0U; used < count;) {
            int ready;
            used += aed_listen(&listener, &block[used], count - used, out, &ready);
            if (ready != 0) {
                classify(out, &clip);
            }
        }
    }
    if (clip.patches > 0U) {
        float probability[AED_CLASSES];
        aed_clip_probabilities(&clip, probability);
        report("all", probability);
    }
    return 0;
}
