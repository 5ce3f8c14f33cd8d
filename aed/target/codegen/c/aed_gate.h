/*
 * The gate: whether sound is loud enough for the net; see aed.dsp.gate.
 *
 * The power of a column is n * sum(x^2) - sum(x)^2 of its n new samples x, the last AED_FE_HOP_LENGTH of its frame: what
 * is left without their mean, so that a microphone's offset counts as nothing. A patch is as loud as its loudest column.
 * Sums are of whole numbers and none can overflow: every core has the same. Memory does not grow with the patch.
 *
 *     aed_gate gate;
 *     aed_gate_init(&gate, AED_GATE_POWER);
 *     for each block of samples:
 *         aed_gate_feed(&gate, samples, count);
 *     at the last sample of a patch:
 *         if (aed_gate_is_open(&gate, 0)) {
 *             run the net
 *         }
 */
#ifndef AED_GATE_H
#define AED_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aed_frontend_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Power that the loudest column of a patch has to reach; 0: no gate. */
#define AED_GATE_POWER 0

/* Samples that are new with a column. */
#define AED_GATE_SAMPLES (AED_FE_HOP_LENGTH < AED_FE_N_FFT ? AED_FE_HOP_LENGTH : AED_FE_N_FFT)

typedef struct {
    uint64_t least;   /* power that reaches the gate; can be changed while the device runs */
    uint64_t squares; /* sum of the squares of the samples of the column so far */
    int32_t sum;      /* of these samples */
    uint32_t left;    /* samples until it is complete */
    uint32_t skip;    /* samples before it that are in no column, or not new in one */
    uint32_t quiet;   /* complete columns since one reached the gate, at most AED_FE_PATCH_FRAMES */
} aed_gate;

/* Empties the stream: the next sample is the first of column 0. */
void aed_gate_init(aed_gate *gate, uint64_t least);

/* Takes samples in, any number of them. */
void aed_gate_feed(aed_gate *gate, const int16_t *samples, size_t count);

/* Whether a column has reached the gate that lies in the patch which ends so many columns after the newest. */
bool aed_gate_is_open(const aed_gate *gate, size_t columns);

#ifdef __cplusplus
}
#endif

#endif
