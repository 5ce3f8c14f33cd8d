/* What a page calls: samples in; columns of features, decisions and events out. One stream.
 *
 *     begin()
 *     for each block of up to BLOCK samples, float32 at wave():
 *         take(count)
 *         for (at = 0; at < count;) {
 *             at += hear(at, count - at)
 *             of num_columns() columns(), if decided() of probability(), of num_found() events at found()
 *         }
 */
#include <math.h>
#include <string.h>

#include "aed_classes.h"
#include "aed_events.h"
#include "aed_listener.h"
#include "aed_selftest.h"
#if AED_BY_NEARNESS || __has_include("aed_learn.h")
#include "aed_nearness.h"
#endif

/* A function that a page can call, under its own name. */
#define EXPORT(type, name, arguments)                                                                                  \
    __attribute__((export_name(#name))) type aed_web_##name arguments;                                                 \
    type aed_web_##name arguments

/* Samples that a call takes at most, and the columns that they can complete. */
#define BLOCK 4096
#define MOST_COLUMNS (BLOCK / AED_FE_HOP_LENGTH + 1)

/* Times in s. */
typedef struct {
    double onset, offset, heard;
    float probability;
    int32_t label, kind, unused;
} aed_web_event;

static aed_listener listener;
static aed_events events;
static aed_event_rule rule;
static float on[AED_CLASSES], off[AED_CLASSES];
static float wave[BLOCK];
static int16_t samples[BLOCK];
static int8_t columns[MOST_COLUMNS][AED_FE_N_MELS];
static int32_t num_columns;
static size_t until; /* samples to the end of the next column */
static int8_t out[AED_NET_OUTPUT_SIZE];
static int32_t decided;
static float probability[AED_CLASSES];
static aed_web_event found[AED_CLASSES];
static int32_t num_found;
static int8_t patch[AED_NET_INPUT_SIZE];

/* Where the page reads and writes. */
EXPORT(float *, wave, (void)) { return wave; }
EXPORT(int16_t *, samples, (void)) { return samples; }
EXPORT(int8_t *, columns, (void)) { return columns[0]; }
EXPORT(int32_t, num_columns, (void)) { return num_columns; }
EXPORT(int8_t *, out, (void)) { return out; }
EXPORT(int32_t, decided, (void)) { return decided; }
EXPORT(float *, probability, (void)) { return probability; }
EXPORT(aed_web_event *, found, (void)) { return found; }
EXPORT(int32_t, num_found, (void)) { return num_found; }
EXPORT(int8_t *, patch, (void)) { return patch; }
EXPORT(float *, on, (void)) { return on; }
EXPORT(float *, off, (void)) { return off; }
EXPORT(int32_t, block, (void)) { return BLOCK; }

/* Outputs that differ from ONNX Runtime's: 0. Before begin(), for it uses the net's memory. */
EXPORT(int32_t, selftest, (void)) { return aed_selftest(&listener.net); }

/* The rule is that of the model again. */
EXPORT(void, reset_rule, (void)) {
    memcpy(on, aed_rule.on, sizeof on);
    memcpy(off, aed_rule.off, sizeof off);
    rule = aed_rule;
    rule.on = on;
    rule.off = off;
}

/* Empties the stream: the next sample is the first. */
EXPORT(void, begin, (void)) {
    aed_listener_init(&listener);
    aed_events_init(&events, &rule);
    until = AED_FE_N_FFT;
}

/* The net alone, of patch() to out(); the stream has to begin anew after. */
EXPORT(void, run_net, (void)) {
#if AED_NET_FEEDS
    aed_net_run_frames(&listener.net, patch, out);
#else
    aed_net_run(&listener.net, patch, out);
#endif
}

/* Samples of wave() to 16 bits: half to even, saturated. */
EXPORT(void, take, (int32_t count)) {
    for (int32_t i = 0; i < count; ++i) {
        const float value = rintf(wave[i] * 32768.0F);
        samples[i] = (int16_t)(value > 32767.0F ? 32767.0F : value < -32768.0F ? -32768.0F : value);
    }
}

static void keep_events(const aed_event *own, int count) {
    num_found = count;
    for (int i = 0; i < count; ++i) {
        found[i].onset = aed_event_onset_s(&events, &own[i]);
        found[i].offset = aed_event_offset_s(&events, &own[i]);
        found[i].heard = aed_event_heard_s(&own[i]);
        found[i].probability = own[i].probability;
        found[i].label = own[i].label;
        found[i].kind = (int32_t)own[i].kind;
    }
}

static void decide(void) {
    aed_event own[AED_CLASSES];
    memset(probability, 0, sizeof probability); /* of sound under the gate */
    if (decided != AED_LISTENER_QUIET) {
        aed_probabilities(out, probability);
    }
#if AED_BY_NEARNESS
    keep_events(own, aed_events_add(&events, probability, aed_nearness(out), own));
#else
    keep_events(own, aed_events_add(&events, probability, own));
#endif
}

/* The newest column, of the listener's ring. */
static void keep_column(void) {
#if AED_NET_FEEDS
    const int8_t *const newest = listener.kept[(listener.next + AED_LISTENER_RING - 1U) % AED_LISTENER_RING];
#else
    const aed_frontend *const frontend = &listener.frontend;
    const int8_t *const newest = frontend->columns[(frontend->next + AED_FE_PATCH_FRAMES - 1U) % AED_FE_PATCH_FRAMES];
#endif
    memcpy(columns[num_columns++], newest, AED_FE_N_MELS);
}

/* Takes samples() in, up to a decision; returns how many. decided(): 1, 2 without the net as all is under the gate. */
EXPORT(int32_t, hear, (int32_t from, int32_t count)) {
    size_t used = 0U;
    decided = num_columns = num_found = 0;
    while (used < (size_t)count && decided == 0) {
        const size_t left = (size_t)count - used;
        const size_t taken = aed_listen(&listener, &samples[from + (int32_t)used], left < until ? left : until, out, &decided);
        used += taken;
        until -= taken;
        if (until == 0U) {
            keep_column();
            until = AED_FE_HOP_LENGTH;
        }
    }
    if (decided != 0) {
        decide();
    }
    return (int32_t)used;
}

/* The end of the stream: events that are still open end, at found(). */
EXPORT(void, finish, (void)) {
    aed_event own[AED_CLASSES];
    keep_events(own, aed_events_finish(&events, own));
}

#if __has_include("aed_learn.h")
#include "aed_learn.h"

static aed_learner learner;
static float cosine[AED_LEARN];

EXPORT(float *, cosine, (void)) { return cosine; }
EXPORT(int32_t, learn, (void)) { return AED_LEARN; }
EXPORT(void, learn_begin, (void)) { aed_learn_begin(&learner); }
EXPORT(int32_t, learn_end, (int32_t sound)) { return aed_learn_end(&learner, sound); }
EXPORT(void, learn_forget, (int32_t sound)) { aed_learn_forget(&learner, sound); }

/* The last decision is an example of the sound that is learned. */
EXPORT(int32_t, learn_add, (void)) { return aed_learn_add(&learner, out); }

/* Which learned sound the last decision hears, -1: none; cosine() to all of them. */
EXPORT(int32_t, learned, (void)) {
    aed_learn_cosines(&learner, out, cosine);
    return aed_learned(cosine, aed_nearness(out));
}
#endif
