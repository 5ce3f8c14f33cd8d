/* The stages of a net, row by row: a tensor is a ring of the rows that are still needed. */
#ifndef AED_STAGES_H
#define AED_STAGES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows that a stage reads for row y of its output: `count` from y * stride - pad on, `dilation` apart. */
typedef struct {
    const int8_t *rows; /* of the ring; NULL: the whole input, which the caller holds */
    int32_t row_bytes;
    int16_t capacity; /* rows in the ring */
    int16_t height;   /* of the image, above and below which is padding; 0: it never ends and has none */
    int16_t count, stride, pad, dilation;
} aed_read_t;

typedef struct {
    void (*run)(const int8_t *const *rows, int8_t *out); /* rows: of all reads, in order; NULL outside the image */
    int8_t *out;       /* the ring it writes to */
    int32_t out_bytes; /* that it makes in a run: a row, or all rows */
    int16_t capacity;  /* runs that fit into the ring */
    int16_t first;     /* of its reads */
    int16_t num_reads;
} aed_stage_t;

/* Where a read is. */
typedef struct {
    int16_t row, slot;
} aed_place_t;

typedef struct {
    const aed_stage_t *stages;
    const aed_read_t *reads;
    aed_place_t *places;  /* of every read */
    int16_t *slots;       /* of every stage: where its next row goes */
    const int8_t **rows;  /* room for the rows that a stage reads */
    const int8_t **image; /* the whole input, if the caller holds it */
    int16_t num_stages, num_reads;
} aed_stages_t;

/* Begins anew: the next run of each stage is its first. */
void aed_begin_stages(const aed_stages_t *net);

/* Runs a stage once. The rows it reads must be there: the generator knows an order of stages that sees to it. */
void aed_run_stage(const aed_stages_t *net, int32_t number);

#ifdef AED_COUNT
/* Called before (begins = 1) and after each run of a stage. */
void aed_count(int stage, int begins);
#endif

#ifdef __cplusplus
}
#endif

#endif
