/* Front end and net; see aed_listener.h. */
#include "aed_listener.h"

#include <string.h>

#if AED_NET_FEEDS

/* Columns that the net takes for each new one, at most: as many as let it keep pace with overlapping patches. */
#define AT_ONCE ((AED_FE_PATCH_FRAMES + AED_LISTENER_HOP - 1) / AED_LISTENER_HOP)

#define RING ((size_t)AED_LISTENER_KEPT + 1u)

void aed_listener_init(aed_listener *listener) {
    memset(listener, 0, sizeof *listener);
    aed_columns_init(&listener->stream);
    aed_net_begin();
}

/* The newest column is there: gives the net its next ones. A patch ends with the newest one, so that no output waits for others. */
static int take_column(aed_listener *listener, int8_t *out) {
    int ready = 0;
    listener->next = listener->next + 1u < RING ? listener->next + 1u : 0u;
    if (listener->skip > 0u) {
        --listener->skip;
        return 0;
    }
    ++listener->behind;
    for (int i = 0; i < AT_ONCE && listener->behind > 0u; ++i) {
        const size_t at = listener->next + RING - listener->behind;
        ready = aed_net_feed(listener->kept[at < RING ? at : at - RING], out);
        --listener->behind;
    }
    if (ready != 0) {
        listener->behind = AED_LISTENER_KEPT;
        listener->skip = AED_LISTENER_HOP > AED_FE_PATCH_FRAMES ? AED_LISTENER_HOP - AED_FE_PATCH_FRAMES : 0;
    }
    return ready;
}

size_t aed_listen(aed_listener *listener, const int16_t *samples, size_t count, int8_t *out, int *ready) {
    size_t used = 0u;
    *ready = 0;
    while (used < count && *ready == 0) {
        int complete;
        int8_t *const column = listener->kept[listener->next];
        used += aed_columns_feed(&listener->stream, samples + used, count - used, column, &complete);
        *ready = complete != 0 && take_column(listener, out) != 0;
    }
    return used;
}

#else

void aed_listener_init(aed_listener *listener) {
    aed_frontend_init(&listener->frontend);
}

size_t aed_listen(aed_listener *listener, const int16_t *samples, size_t count, int8_t *out, int *ready) {
    const size_t used = aed_frontend_feed(&listener->frontend, samples, count, ready);
    if (*ready != 0) {
        aed_frontend_patch(&listener->frontend, listener->patch);
        aed_net_run(listener->patch, out);
    }
    return used;
}

#endif
