/* The stages of a net, each row by row as soon as its inputs are there: a net in rings of rows, not in whole images. */
#ifndef AED_WALK_H
#define AED_WALK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of a tensor: the last `capacity` ones, one after the other in a ring. */
typedef struct {
    int8_t *rows; /* NULL: the caller's, see aed_walk_image */
    int32_t row_bytes;
    int32_t capacity;
    uint32_t height; /* rows of a patch; 0: they never end */
} aed_ring_t;

/* Rows that a stage reads for row y of its output: `count` from y * stride - pad on, `dilation` apart. */
typedef struct {
    int16_t ring;
    int16_t count, stride, pad, dilation;
    int16_t whole; /* whether it waits for the last row of the patch */
} aed_read_t;

/* Makes ring i + 1, where i is its number; reads rings up to i, or its own. */
typedef struct {
    void (*run)(const int8_t *const *rows, int8_t *out); /* rows: of all reads, in order; NULL outside the image */
    const aed_read_t *reads;
    int16_t num_reads;
    int16_t rows; /* that it makes in one run */
    int16_t next; /* the last stage that reads what it makes; itself where none does */
} aed_stage_t;

/* How far a ring is filled. */
typedef struct {
    uint32_t made; /* rows so far; in a stream this wraps round, and only differences count */
    int32_t slot;  /* where the next one goes */
} aed_filled_t;

typedef struct {
    const aed_stage_t *stages;
    const aed_ring_t *rings; /* ring 0 is the input */
    aed_filled_t *filled;    /* of every ring */
    const int8_t **rows;     /* room for the rows that a stage reads */
    const int8_t **image;    /* where the caller's patch is */
    int16_t num_stages;
    int16_t first; /* the last stage that reads the input */
} aed_walk_t;

/* Empties all rings. */
void aed_walk_begin(const aed_walk_t *walk);

/* Takes the next row of the input and makes all rows that are then possible. Returns whether that made an output. */
int aed_walk_row(const aed_walk_t *walk, const int8_t *row);

/* The same with all rows of the input at once, which stay where they are. */
void aed_walk_image(const aed_walk_t *walk, const int8_t *image);

#ifdef AED_COUNT
/* Called before (begins = 1) and after each run of a stage. */
void aed_count(int stage, int begins);
#endif

#ifdef __cplusplus
}
#endif

#endif
