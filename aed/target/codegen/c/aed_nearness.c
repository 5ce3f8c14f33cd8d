/* Nearness; see aed_nearness.h. The same operations in the same order as aed.scoring.nearness. */
#include "aed_exact.h"

#include "aed_nearness.h"

#include <math.h>

/* Where the embedding begins in an output. */
#define EMBEDDING (AED_NET_OUTPUT_SIZE - AED_EMBEDDING_SIZE)

float aed_embedding_length(const int8_t *out) {
    uint32_t squares = 0U;
    for (int32_t i = 0; i < AED_EMBEDDING_SIZE; ++i) {
        const int32_t step = out[EMBEDDING + i] - AED_EMBEDDING_ZERO;
        squares += (uint32_t)(step * step);
    }
    return sqrtf((float)squares);
}

float aed_cosine(const int8_t *out, float embedding_length, const int8_t *direction, float length) {
    const float lengths = embedding_length * length;
    int32_t product = 0;
    for (int32_t i = 0; i < AED_EMBEDDING_SIZE; ++i) {
        product += (out[EMBEDDING + i] - AED_EMBEDDING_ZERO) * direction[i];
    }
    return lengths > 0.0F ? (float)product / lengths : 0.0F;
}

float aed_nearness(const int8_t *out) {
    const float own = aed_embedding_length(out);
    float nearest = aed_cosine(out, own, aed_means[0], aed_mean_lengths[0]);
    for (int32_t i = 1; i < AED_MEANS; ++i) {
        const float cosine = aed_cosine(out, own, aed_means[i], aed_mean_lengths[i]);
        nearest = cosine > nearest ? cosine : nearest;
    }
    return nearest;
}
