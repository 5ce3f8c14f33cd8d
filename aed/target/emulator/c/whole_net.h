/* A net over a whole patch, whatever its plan; and of a stream, over the frames up to its next output. */
#ifndef AED_WHOLE_NET_H
#define AED_WHOLE_NET_H

#include "aed_net.h"

static aed_net aed_whole_net;

static inline void aed_run_patch(const int8_t in[AED_NET_INPUT_SIZE], int8_t out[AED_NET_OUTPUT_SIZE]) {
#if AED_NET_FEEDS
    aed_net_run_frames(&aed_whole_net, in, out);
#else
    aed_net_run(&aed_whole_net, in, out);
#endif
}

#if AED_NET_HOP > 0
static inline void aed_run_hop(const int8_t in[AED_NET_INPUT_SIZE], int8_t out[AED_NET_OUTPUT_SIZE]) {
    for (int frame = 0; frame < AED_NET_HOP; ++frame) {
        (void)aed_net_feed(&aed_whole_net, in + frame % AED_NET_INPUT_HEIGHT * AED_NET_INPUT_WIDTH, out);
    }
}
#endif

#endif
