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

/* A kernel. rows: of all reads, in order; NULL outside the image. */
typedef void (*aed_run_t)(const int8_t *const *rows, int8_t *out, const void *layer, void *scratch);

typedef struct {
    aed_run_t run;
    const void *layer; /* what the kernel is told of it */
    int8_t *out;       /* the ring it writes to */
    int32_t out_bytes; /* that it makes in a run: a row, or all rows */
    int16_t capacity;  /* runs that fit into the ring */
    int16_t reads;     /* up to and with its own, which come after those of the stage before */
} aed_stage_t;

typedef struct {
    const aed_stage_t *stages;
    const aed_read_t *reads;
    int16_t *places;      /* of every read: rows that it has gone on by; then of every stage: where its next row goes */
    const int8_t **rows;  /* room for the rows that a stage reads */
    const int8_t **image; /* the whole input, if the caller holds it */
    void *scratch;        /* for kernels */
    int32_t num_places;   /* of reads and stages */
    int32_t num_reads;
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
