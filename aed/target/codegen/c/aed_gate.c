/* The level of sound; see aed_gate.h. */
#include "aed_gate.h"

void aed_gate_init(aed_gate *gate, uint64_t least) {
    gate->least = least;
    gate->squares = 0U;
    gate->sum = 0;
    gate->left = AED_GATE_SAMPLES;
    gate->skip = AED_FE_N_FFT - AED_GATE_SAMPLES;
    gate->quiet = AED_FE_PATCH_FRAMES;
}

/* A column is complete. Of 65536 samples, the most, sum is from -2^31 on and both products are at most 2^62. */
static void judge(aed_gate *gate) {
    const int64_t sum = gate->sum;
    const uint64_t power = (uint64_t)AED_GATE_SAMPLES * gate->squares - (uint64_t)(sum * sum);
    if (power >= gate->least) {
        gate->quiet = 0U;
    } else if (gate->quiet < (uint32_t)AED_FE_PATCH_FRAMES) {
        ++gate->quiet;
    }
    gate->squares = 0U;
    gate->sum = 0;
    gate->left = AED_GATE_SAMPLES;
    gate->skip = AED_FE_HOP_LENGTH - AED_GATE_SAMPLES;
}

void aed_gate_feed(aed_gate *gate, const int16_t *samples, size_t count) {
    while (count > 0U) {
        uint32_t *const wanted = gate->skip > 0U ? &gate->skip : &gate->left;
        const size_t taken = count < *wanted ? count : *wanted;
        if (gate->skip == 0U) {
            int64_t squares = 0;
            int32_t sum = 0;
            for (size_t i = 0U; i < taken; ++i) {
                const int32_t x = samples[i];
                sum += x;
                squares += (int64_t)x * x;
            }
            gate->sum += sum;
            gate->squares += (uint64_t)squares;
        }
        *wanted -= (uint32_t)taken;
        samples += taken;
        count -= taken;
        if (gate->left == 0U) {
            judge(gate);
        }
    }
}

bool aed_gate_is_open(const aed_gate *gate, size_t columns) {
    return gate->quiet + columns < (size_t)AED_FE_PATCH_FRAMES;
}
