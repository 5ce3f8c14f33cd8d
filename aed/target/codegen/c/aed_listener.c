/* Front end and net; see aed_listener.h. */
#include "aed_listener.h"

#include <string.h>

/* *ready of an output of the net. */
#define OUTPUT 1

#if AED_LISTENER_GATED

/* The sound is under the gate: a decision without the net. */
static int quiet(int8_t *out) {
    memset(out, INT8_MIN, AED_NET_OUTPUT_SIZE);
    return AED_LISTENER_QUIET;
}

#endif

#if AED_NET_FEEDS

/* Columns that the net takes for each new one, at most: as many as let it keep pace with overlapping patches. */
#define AT_ONCE ((AED_FE_PATCH_FRAMES + AED_LISTENER_HOP - 1) / AED_LISTENER_HOP)

/* Gives the net its next columns, at most so many. */
static int feed(aed_listener *listener, size_t most, int8_t *out) {
    int ready = 0;
    for (size_t i = 0u; i < most && listener->behind > 0u; ++i) {
        const size_t at = listener->next + AED_LISTENER_RING - listener->behind;
        ready = aed_net_feed(&listener->net, listener->kept[at < AED_LISTENER_RING ? at : at - AED_LISTENER_RING], out);
        --listener->behind;
    }
    return ready;
}

#if AED_LISTENER_GATED

/* Of a stream: whether one decision goes on where the last one was. */
#define GOES_ON (AED_NET_HOP > 0 && AED_NET_HOP < AED_FE_PATCH_FRAMES)

static void begin(aed_listener *listener) {
    aed_gate_init(&listener->gate, AED_GATE_POWER);
    listener->wanted = AED_FE_PATCH_FRAMES;
}

/*
 * The newest column is there. The net takes none of a patch before one of its columns has reached the gate, and all of
 * them by its last: a patch under the gate costs it nothing. What a stream took for the last decision is of use for the
 * next one alone; it begins anew after a decision without it, and an output is that of its patch wherever it began.
 */
static int take_column(aed_listener *listener, int8_t *out) {
    --listener->wanted;
    if (listener->wanted < AED_FE_PATCH_FRAMES) {
        ++listener->behind;
    }
    const bool open = aed_gate_is_open(&listener->gate, listener->wanted);
    if (open) {
        (void)feed(listener, listener->wanted > 0u ? AT_ONCE : AED_LISTENER_RING, out);
    }
    if (listener->wanted > 0u) {
        return 0;
    }
    listener->wanted = AED_LISTENER_HOP;
    if (!open || !GOES_ON) {
        listener->behind = AED_LISTENER_KEPT;
        aed_net_begin(&listener->net);
    }
    return open ? OUTPUT : quiet(out);
}

#else

static void begin(aed_listener *listener) {
    (void)listener;
}

/* The newest column is there. A patch ends with the newest one, so that no output waits for others. */
static int take_column(aed_listener *listener, int8_t *out) {
    if (listener->skip > 0u) {
        --listener->skip;
        return 0;
    }
    ++listener->behind;
    const int ready = feed(listener, AT_ONCE, out);
    if (ready != 0) {
        listener->behind = AED_LISTENER_KEPT;
        listener->skip = AED_LISTENER_HOP > AED_FE_PATCH_FRAMES ? AED_LISTENER_HOP - AED_FE_PATCH_FRAMES : 0;
    }
    return ready;
}

#endif

void aed_listener_init(aed_listener *listener) {
    memset(listener, 0, sizeof *listener);
    aed_columns_init(&listener->stream);
    begin(listener);
    aed_net_begin(&listener->net);
}

size_t aed_listen(aed_listener *listener, const int16_t *samples, size_t count, int8_t *out, int *ready) {
    size_t used = 0u;
    *ready = 0;
    while (used < count && *ready == 0) {
        int complete;
        int8_t *const column = listener->kept[listener->next];
        const size_t taken = aed_columns_feed(&listener->stream, samples + used, count - used, column, &complete);
#if AED_LISTENER_GATED
        aed_gate_feed(&listener->gate, samples + used, taken);
#endif
        used += taken;
        if (complete != 0) {
            listener->next = listener->next + 1u < AED_LISTENER_RING ? listener->next + 1u : 0u;
            *ready = take_column(listener, out);
        }
    }
    return used;
}

#else

void aed_listener_init(aed_listener *listener) {
    aed_frontend_init(&listener->frontend);
#if AED_LISTENER_GATED
    aed_gate_init(&listener->gate, AED_GATE_POWER);
#endif
}

size_t aed_listen(aed_listener *listener, const int16_t *samples, size_t count, int8_t *out, int *ready) {
    const size_t used = aed_frontend_feed(&listener->frontend, samples, count, ready);
#if AED_LISTENER_GATED
    aed_gate_feed(&listener->gate, samples, used);
    if (*ready != 0 && !aed_gate_is_open(&listener->gate, 0u)) {
        *ready = quiet(out);
        return used;
    }
#endif
    if (*ready != 0) {
        aed_frontend_patch(&listener->frontend, listener->patch);
        aed_net_run(&listener->net, listener->patch, out);
        *ready = OUTPUT;
    }
    return used;
}

#endif
