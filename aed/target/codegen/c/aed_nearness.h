/* How near a sound is to those the model was trained on: cosines of the net's embedding to means of the classes. */
#ifndef AED_NEARNESS_H
#define AED_NEARNESS_H

#include "aed_means.h"
#include "aed_net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The greatest cosine of the embedding in an output of the net to a mean; 0 where the embedding is 0. */
float aed_nearness(const int8_t *out);

/* Length of the embedding in an output of the net, in steps. */
float aed_embedding_length(const int8_t *out);

/*
 * Cosine of the embedding in an output of the net to a direction of AED_EMBEDDING_SIZE values; 0 where a length is 0.
 * embedding_length is that of aed_embedding_length, length that of the direction.
 */
float aed_cosine(const int8_t *out, float embedding_length, const int8_t *direction, float length);

#ifdef __cplusplus
}
#endif

#endif
