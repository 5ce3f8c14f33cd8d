/*
 * Sound in, outputs of the net out: front end and net, one patch after the other.
 *
 *     static aed_listener listener;
 *     aed_listener_init(&listener);
 *     for each block of samples:
 *         while (count > 0) {
 *             int ready;
 *             size_t used = aed_listen(&listener, samples, count, out, &ready);
 *             samples += used;
 *             count -= used;
 *             if (ready == AED_LISTENER_QUIET) {
 *                 nothing is on: no probability is over 0
 *             } else if (ready != 0) {
 *                 decide by out
 *             }
 *         }
 *
 * Under the gate of the event rule, if it has one, the net does not run. The front end always does: a patch that reaches
 * the gate begins with columns from before.
 */
#ifndef AED_LISTENER_H
#define AED_LISTENER_H

#include <stddef.h>
#include <stdint.h>

#include "aed_frontend.h"
#include "aed_gate.h"
#include "aed_net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *ready of a patch under the gate. */
#define AED_LISTENER_QUIET 2

/* Whether there is a gate. */
#define AED_LISTENER_GATED (AED_GATE_POWER > 0)

#if AED_NET_FEEDS

/* Columns from one patch to the next; without a gate a stream has but one. */
#define AED_LISTENER_HOP (AED_NET_HOP == 0 ? AED_FE_PATCH_HOP : (AED_LISTENER_GATED ? AED_NET_HOP : AED_FE_PATCH_FRAMES))

/* Columns that the next patch has in common with the one before. */
#define AED_LISTENER_KEPT (AED_FE_PATCH_FRAMES > AED_LISTENER_HOP ? AED_FE_PATCH_FRAMES - AED_LISTENER_HOP : 0)

/* Columns that are held: under a gate all of a patch, for it may open with the last one. */
#define AED_LISTENER_RING ((size_t)(AED_LISTENER_GATED ? AED_FE_PATCH_FRAMES : AED_LISTENER_KEPT + 1))

/* A stream: the memory of front end, net and patch. Yours to allocate, statically; one for each microphone. */
typedef struct {
#if AED_LISTENER_GATED
    aed_gate gate;
#endif
    aed_net net;
    aed_columns stream;
    int8_t kept[AED_LISTENER_RING][AED_FE_N_MELS]; /* ring of the latest columns */
    size_t next;                                   /* where the newest goes */
    size_t behind;                                 /* of the kept ones, those that the net has yet to take */
#if AED_LISTENER_GATED
    size_t wanted; /* columns until the next decision */
#else
    size_t skip; /* columns until the next patch */
#endif
} aed_listener;

#else

/* A stream: the memory of front end, net and patch. Yours to allocate, statically; one for each microphone. */
typedef struct {
#if AED_LISTENER_GATED
    aed_gate gate;
#endif
    aed_net net;
    aed_frontend frontend;
    int8_t patch[AED_FRONTEND_PATCH_BYTES];
} aed_listener;

#endif

/* Empties the stream: the next sample is the first of a patch. */
void aed_listener_init(aed_listener *listener);

/*
 * Takes samples in, any number of them, and returns how many it took. It takes all of them and sets *ready = 0, or
 * stops at the sample that completes a patch, writes the net's output to out[AED_NET_OUTPUT_SIZE] and sets *ready = 1:
 * give it the rest after. If the patch is under the gate, it sets *ready = AED_LISTENER_QUIET and fills out with -128.
 */
size_t aed_listen(aed_listener *listener, const int16_t *samples, size_t count, int8_t *out, int *ready);

#ifdef __cplusplus
}
#endif

#endif
