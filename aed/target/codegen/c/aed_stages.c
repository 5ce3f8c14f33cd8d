/* Stages row by row: where the rows are that a stage reads, and where the one it makes goes. */
#include "aed_stages.h"

#include <stddef.h>

void aed_begin_stages(const aed_stages_t *net) {
    int32_t i = 0;
    for (int32_t number = 0; number < net->num_stages; ++number) {
        net->slots[number] = 0;
        for (; i < net->stages[number].reads; ++i) {
            net->places[i] = (int16_t)-net->reads[i].pad;
        }
    }
}

void aed_run_stage(const aed_stages_t *net, int32_t number) {
    const aed_stage_t *const stage = &net->stages[number];
    const int8_t **found = net->rows;
    int32_t slot = net->slots[number];
    for (int32_t i = number > 0 ? stage[-1].reads : 0; i < stage->reads; ++i) {
        const aed_read_t *const read = &net->reads[i];
        const int8_t *const base = read->rows != NULL ? read->rows : *net->image;
        const int32_t next = net->places[i] + read->stride;
        int32_t row = net->places[i];
        for (int32_t count = read->count; count > 0; --count) {
            const int inside = read->height == 0 || (row >= 0 && row < read->height);
            *found++ = inside ? base + row % read->capacity * read->row_bytes : NULL;
            row += read->dilation;
        }
        net->places[i] = (int16_t)(read->height != 0 ? next : next % read->capacity); /* or it would grow for ever */
    }
#ifdef AED_COUNT
    aed_count(number, 1);
#endif
    stage->run(net->rows, stage->out + slot * stage->out_bytes, stage->layer, net->scratch);
#ifdef AED_COUNT
    aed_count(number, 0);
#endif
    ++slot;
    net->slots[number] = (int16_t)(slot < stage->capacity ? slot : 0);
}
