/* Stages row by row: where the rows are that a stage reads, and where the one it makes goes. */
#include "aed_stages.h"

#include <stddef.h>
#include <string.h>

void aed_begin_stages(const aed_stages_t *net) {
    memset(net->places, 0, sizeof *net->places * (size_t)net->num_places);
}

void aed_run_stage(const aed_stages_t *net, int32_t number) {
    const aed_stage_t *const stage = &net->stages[number];
    int16_t *const slot = &net->places[net->num_reads + number];
    const int8_t **found = net->rows;
    for (int32_t i = number > 0 ? stage[-1].reads : 0; i < stage->reads; ++i) {
        const aed_read_t *const read = &net->reads[i];
        int16_t *const place = &net->places[i];
        const int8_t *const base = read->rows != NULL ? read->rows : *net->image;
        int32_t row = *place - read->pad;
        for (int32_t count = read->count; count > 0; --count) {
            const int inside = read->height == 0 || (row >= 0 && row < read->height);
            *found++ = inside ? base + row % read->capacity * read->row_bytes : NULL;
            row += read->dilation;
        }
        const int32_t next = *place + read->stride;
        *place = (int16_t)(read->height != 0 ? next : next % read->capacity); /* or it would grow for ever */
    }
#ifdef AED_COUNT
    aed_count(number, 1);
#endif
    stage->run(net->rows, stage->out + *slot * stage->out_bytes, stage->layer, net->scratch);
#ifdef AED_COUNT
    aed_count(number, 0);
#endif
    *slot = (int16_t)(*slot + 1 < stage->capacity ? *slot + 1 : 0);
}
