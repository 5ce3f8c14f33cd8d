/* New sounds, learned on the device from a few examples: the mean of their embeddings, to which others are compared. */
#ifndef AED_LEARN_H
#define AED_LEARN_H

#include "aed_nearness.h"

/* Examples of a sound, at most. */
#define AED_LEARN_EXAMPLES 65535U

#ifdef __cplusplus
extern "C" {
#endif

/* What has been learned. Yours to allocate, statically; a copy of it in flash remembers. */
typedef struct {
    int32_t total[AED_EMBEDDING_SIZE]; /* of the sound being learned */
    uint32_t examples;
    float length[AED_LEARN]; /* of the directions; 0: nothing is learned there */
    int8_t direction[AED_LEARN][AED_EMBEDDING_SIZE];
} aed_learner;

/* Forgets all sounds. */
void aed_learn_init(aed_learner *learner);

/* The next examples are of a new sound; those since the last aed_learn_end are dropped. */
void aed_learn_begin(aed_learner *learner);

/* Takes an example, the output of the net for a patch in which the sound is heard. Returns 0; -1: there are too many. */
int aed_learn_add(aed_learner *learner, const int8_t *out);

/*
 * Ends the examples: the sound has the number sound, under AED_LEARN, from now on, which forgets another of that number.
 * Returns 0; -1, and nothing is changed: no such number, or the examples have no mean.
 */
int aed_learn_end(aed_learner *learner, int sound);

/* Forgets a sound. */
void aed_learn_forget(aed_learner *learner, int sound);

/* Cosines of an output of the net to each sound, AED_LEARN values; -1 where nothing is learned. */
void aed_learn_cosines(const aed_learner *learner, const int8_t *out, float *cosine);

/*
 * The number of the learned sound that is heard, of cosines and the nearness of a patch or, of a recording, their means
 * over its patches; -1: none is, and the decision is that of aed_decide.
 */
int aed_learned(const float *cosine, float nearness);

#ifdef __cplusplus
}
#endif

#endif
