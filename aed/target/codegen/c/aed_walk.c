/* Stages row by row.
 *
 * A stage that can run is taken before all that come before it: rows are used up as soon as they can be, so rings are
 * short. After a run only readers of what was made can have become ready; hence the walk goes on at the last of them,
 * and from a stage that is not ready to the one before it. The generator simulates this very walk to size the rings.
 */
#include "aed_walk.h"

#include <stddef.h>
#include <string.h>

static void add_rows(const aed_walk_t *walk, int32_t ring, int32_t rows) {
    aed_filled_t *const filled = &walk->filled[ring];
    filled->made += (uint32_t)rows;
    filled->slot += rows;
    if (filled->slot >= walk->rings[ring].capacity) {
        filled->slot -= walk->rings[ring].capacity;
    }
}

static int is_complete(const aed_walk_t *walk, int32_t ring) {
    const uint32_t height = walk->rings[ring].height;
    return height != 0u && walk->filled[ring].made == height;
}

static int is_ready(const aed_walk_t *walk, int32_t number) {
    const aed_stage_t *const stage = &walk->stages[number];
    const uint32_t y = walk->filled[number + 1].made;
    if (is_complete(walk, number + 1)) {
        return 0;
    }
    for (int32_t i = 0; i < stage->num_reads; ++i) {
        const aed_read_t *const read = &stage->reads[i];
        if (!is_complete(walk, read->ring)) {
            const uint32_t last = y * (uint32_t)read->stride + (uint32_t)((read->count - 1) * read->dilation - read->pad);
            if (read->whole != 0 || (int32_t)(walk->filled[read->ring].made - last) <= 0) {
                return 0;
            }
        }
    }
    return 1;
}

/* A row of a ring; NULL outside the image. */
static const int8_t *row_of(const aed_walk_t *walk, int32_t number, uint32_t y) {
    const aed_ring_t *const ring = &walk->rings[number];
    const aed_filled_t *const filled = &walk->filled[number];
    const int8_t *const rows = ring->rows != NULL ? ring->rows : *walk->image;
    if (ring->height != 0u && y >= ring->height) {
        return NULL;
    }
    const int32_t slot = filled->slot - (int32_t)(filled->made - y);
    return rows + (slot < 0 ? slot + ring->capacity : slot) * ring->row_bytes;
}

static void run(const aed_walk_t *walk, int32_t number) {
    const aed_stage_t *const stage = &walk->stages[number];
    const aed_ring_t *const ring = &walk->rings[number + 1];
    const aed_filled_t *const filled = &walk->filled[number + 1];
    const int8_t **rows = walk->rows;
    for (int32_t i = 0; i < stage->num_reads; ++i) {
        const aed_read_t *const read = &stage->reads[i];
        uint32_t y = filled->made * (uint32_t)read->stride - (uint32_t)read->pad;
        for (int32_t j = 0; j < read->count; ++j) {
            *rows++ = row_of(walk, read->ring, y);
            y += (uint32_t)read->dilation;
        }
    }
#ifdef AED_COUNT
    aed_count(number, 1);
#endif
    stage->run(walk->rows, ring->rows + filled->slot * ring->row_bytes);
#ifdef AED_COUNT
    aed_count(number, 0);
#endif
    add_rows(walk, number + 1, stage->rows);
}

static void run_all(const aed_walk_t *walk) {
    int32_t number = walk->first;
    while (number >= 0) {
        if (is_ready(walk, number)) {
            run(walk, number);
            number = walk->stages[number].next;
        } else {
            --number;
        }
    }
}

void aed_walk_begin(const aed_walk_t *walk) {
    memset(walk->filled, 0, ((size_t)walk->num_stages + 1u) * sizeof walk->filled[0]);
}

int aed_walk_row(const aed_walk_t *walk, const int8_t *row) {
    const aed_ring_t *const input = &walk->rings[0];
    const uint32_t outputs = walk->filled[walk->num_stages].made;
    memcpy(input->rows + walk->filled[0].slot * input->row_bytes, row, (size_t)input->row_bytes);
    add_rows(walk, 0, 1);
    run_all(walk);
    return walk->filled[walk->num_stages].made != outputs;
}

void aed_walk_image(const aed_walk_t *walk, const int8_t *image) {
    *walk->image = image;
    add_rows(walk, 0, walk->rings[0].capacity);
    run_all(walk);
}
