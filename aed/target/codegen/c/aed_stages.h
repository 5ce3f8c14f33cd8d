/* The stages of a net, row by row: a tensor is a ring of the rows that are still needed. Only aed_net.c includes it. */
#ifndef AED_STAGES_H
#define AED_STAGES_H

#include <stddef.h>
#include <stdint.h>

/* The place of rows that lie in the input, which the caller holds. */
#define AED_IMAGE (-1)

/* The height of an image that never ends and has no padding. */
#define AED_ENDLESS INT16_MAX

/* Rows that a stage reads for row y of its output: `count` from y * stride - pad on, `dilation` apart. */
typedef struct {
    int32_t at; /* where in the arena the ring is; or AED_IMAGE */
    int32_t row_bytes;
    int16_t capacity; /* rows in the ring */
    int16_t height;   /* of the image, above and below which is padding; or AED_ENDLESS */
    int16_t count, stride, pad, dilation;
} aed_read_t;

/* A kernel. rows: of all reads, in order; NULL outside the image. */
typedef void (*aed_run_t)(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);

typedef struct {
    aed_run_t run;
    const void *layer; /* what the kernel is told of it */
    int32_t out;       /* where in the arena the ring is that it writes to */
    int32_t out_bytes; /* that it makes in a run: a row, or all rows */
    int16_t capacity;  /* runs that fit into the ring */
    int16_t reads;     /* up to and with its own, which come after those of the stage before */
} aed_stage_t;

typedef struct {
    const aed_stage_t *stages;
    const aed_read_t *reads;
    int8_t *arena;
    int16_t *places;     /* of every read: rows that it has gone on by; then of every stage: where its next row goes */
    const int8_t **rows; /* room for the rows that a stage reads */
    const int8_t *image; /* the whole input, if the caller holds it */
    int has_image;
    void *scratch; /* for kernels */
    int32_t num_reads;
} aed_stages_t;

/* Of the function of aed_net.c that runs a stage, where all that `all` holds is known: one, and small. */
#if defined(__GNUC__)
#define AED_STAGE __attribute__((noinline))
__attribute__((always_inline))
#else
#define AED_STAGE
#endif
static inline void aed_run_stage(const aed_stages_t *all, int32_t number) {
    const aed_stage_t *const stage = &all->stages[number];
    int16_t *const slot = &all->places[all->num_reads + number];
    const int8_t **found = all->rows;
    for (int32_t i = number > 0 ? stage[-1].reads : 0; i < stage->reads; ++i) {
        const aed_read_t *const read = &all->reads[i];
        int16_t *const place = &all->places[i];
        const int8_t *const base = all->has_image != 0 && read->at == AED_IMAGE ? all->image : all->arena + read->at;
        int32_t row = *place - read->pad;
        for (int32_t count = read->count; count > 0; --count) {
            *found++ = (uint32_t)row < (uint32_t)read->height ? base + row % read->capacity * read->row_bytes : NULL;
            row += read->dilation;
        }
        const int32_t next = *place + read->stride;
        *place = (int16_t)(read->height != AED_ENDLESS ? next : next % read->capacity); /* or it would grow for ever */
    }
#ifdef AED_COUNT
    aed_count((int)number, 1);
#endif
    stage->run(all->rows, all->arena + stage->out + *slot * stage->out_bytes, stage->layer, all->scratch);
#ifdef AED_COUNT
    aed_count((int)number, 0);
#endif
    *slot = (int16_t)(*slot + 1 < stage->capacity ? *slot + 1 : 0);
}

#endif
