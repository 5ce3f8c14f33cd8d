/* Learned sounds; see aed_learn.h. The same operations in the same order as aed.scoring.learning. */
#include "aed_exact.h"

#include "aed_learn.h"

#include <math.h>
#include <string.h>

void aed_learn_init(aed_learner *learner) {
    memset(learner, 0, sizeof *learner);
}

void aed_learn_begin(aed_learner *learner) {
    memset(learner->total, 0, sizeof learner->total);
    learner->examples = 0U;
}

int aed_learn_add(aed_learner *learner, const int8_t *out) {
    const int8_t *const embedding = &out[AED_NET_OUTPUT_SIZE - AED_EMBEDDING_SIZE];
    const float length = aed_embedding_length(out);
    const float factor = length > 0.0F ? 32768.0F / length : 0.0F;
    if (learner->examples >= AED_LEARN_EXAMPLES) {
        return -1;
    }
    for (int32_t i = 0; i < AED_EMBEDDING_SIZE; ++i) {
        learner->total[i] += (int32_t)rintf((float)(embedding[i] - AED_EMBEDDING_ZERO) * factor);
    }
    ++learner->examples;
    return 0;
}

int aed_learn_end(aed_learner *learner, int sound) {
    uint32_t most = 0U, squares = 0U;
    for (int32_t i = 0; i < AED_EMBEDDING_SIZE; ++i) {
        const int32_t value = learner->total[i];
        const uint32_t size = value < 0 ? 0U - (uint32_t)value : (uint32_t)value;
        most = size > most ? size : most;
    }
    if (sound < 0 || sound >= AED_LEARN || most == 0U) {
        return -1;
    }
    const float factor = 127.0F / (float)most;
    for (int32_t i = 0; i < AED_EMBEDDING_SIZE; ++i) {
        const int32_t step = (int32_t)rintf((float)learner->total[i] * factor);
        learner->direction[sound][i] = (int8_t)step;
        squares += (uint32_t)(step * step);
    }
    learner->length[sound] = sqrtf((float)squares);
    aed_learn_begin(learner);
    return 0;
}

void aed_learn_forget(aed_learner *learner, int sound) {
    if (sound >= 0 && sound < AED_LEARN) {
        learner->length[sound] = 0.0F;
    }
}

void aed_learn_cosines(const aed_learner *learner, const int8_t *out, float *cosine) {
    const float own = aed_embedding_length(out);
    for (int sound = 0; sound < AED_LEARN; ++sound) {
        const float length = learner->length[sound];
        cosine[sound] = length > 0.0F ? aed_cosine(out, own, learner->direction[sound], length) : -1.0F;
    }
}

int aed_learned(const float *cosine, float nearness) {
    int best = 0;
    for (int sound = 1; sound < AED_LEARN; ++sound) {
        best = cosine[sound] > cosine[best] ? sound : best;
    }
    return cosine[best] >= AED_LEARN_LEAST && cosine[best] + AED_LEARN_MARGIN > nearness ? best : -1;
}
