/* Names the sounds in patches: int8 patches in, a line for each of them out. */
#include <stdio.h>

#include "aed_classes.h"
#include "aed_net.h"
#if AED_BY_NEARNESS
#include "aed_nearness.h"
#endif

/* The next patch; 0 ends. Here from a file, on a board from your own front end. */
static int next_patch(int8_t *patch) {
    return fread(patch, 1, AED_NET_INPUT_SIZE, stdin) == AED_NET_INPUT_SIZE ? 1 : 0;
}

#if AED_NET_FEEDS /* patches are frame after frame */
#define aed_net_run aed_net_run_frames
#endif

int main(void) {
    static int8_t patch[AED_NET_INPUT_SIZE];
    while (next_patch(patch) != 0) {
        int8_t out[AED_NET_OUTPUT_SIZE];
        float probability[AED_CLASSES];
        bool detected[AED_CLASSES];
        aed_net_run(patch, out);
        aed_probabilities(out, probability);
#if AED_BY_NEARNESS
        const int best = aed_decide(probability, aed_nearness(out), detected);
#else
        const int best = aed_decide(probability, detected);
#endif
        (void)printf("patch:%s", best == AED_UNKNOWN ? " unknown" : "");
        for (int i = 0; i < AED_CLASSES; ++i) {
            if (detected[i]) {
                (void)printf(" %s %.3f", aed_class_names[i], (double)probability[i]);
            }
        }
        (void)printf("\n");
    }
    return 0;
}
