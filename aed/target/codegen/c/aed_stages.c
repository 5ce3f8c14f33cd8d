/* Stages row by row: where the rows are that a stage reads, and where the one it makes goes. */
#include "aed_stages.h"

#include <stddef.h>

void aed_begin_stages(const aed_stages_t *net) {
    for (int32_t i = 0; i < net->num_stages; ++i) {
        net->slots[i] = 0;
    }
    for (int32_t i = 0; i < net->num_reads; ++i) {
        const aed_read_t *const read = &net->reads[i];
        int32_t slot = -read->pad;
        while (slot < 0) {
            slot += read->capacity;
        }
        while (slot >= read->capacity) {
            slot -= read->capacity;
        }
        net->places[i].row = (int16_t)-read->pad;
        net->places[i].slot = (int16_t)slot;
    }
}

/* Writes the addresses of a read's rows, moves on to the rows of the next run, and returns where the next read's go. */
static const int8_t **find_rows(const aed_read_t *read, aed_place_t *place, const int8_t *base, const int8_t **found) {
    const int32_t capacity = read->capacity;
    const int32_t height = read->height;
    int32_t row = place->row;
    int32_t slot = place->slot;
    for (int32_t i = read->count; i > 0; --i) {
        *found++ = height == 0 || (row >= 0 && row < height) ? base + slot * read->row_bytes : NULL;
        row += read->dilation;
        slot += read->dilation;
        while (slot >= capacity) {
            slot -= capacity;
        }
    }
    slot = place->slot + read->stride;
    while (slot >= capacity) {
        slot -= capacity;
    }
    place->slot = (int16_t)slot;
    if (height != 0) { /* else it would grow for ever */
        place->row = (int16_t)(place->row + read->stride);
    }
    return found;
}

void aed_run_stage(const aed_stages_t *net, int32_t number) {
    const aed_stage_t *const stage = &net->stages[number];
    const aed_read_t *read = &net->reads[stage->first];
    aed_place_t *place = &net->places[stage->first];
    const int8_t **rows = net->rows;
    int32_t slot = net->slots[number];
    for (int32_t i = stage->num_reads; i > 0; --i) {
        rows = find_rows(read, place, read->rows != NULL ? read->rows : *net->image, rows);
        ++read;
        ++place;
    }
#ifdef AED_COUNT
    aed_count(number, 1);
#endif
    stage->run(net->rows, stage->out + slot * stage->out_bytes);
#ifdef AED_COUNT
    aed_count(number, 0);
#endif
    ++slot;
    net->slots[number] = (int16_t)(slot < stage->capacity ? slot : 0);
}
