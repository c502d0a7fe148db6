/* SPDX-License-Identifier: MIT
 * Small runs for tests and fuzzing, made in memory, and records that follow
 * from their number.
 */
#ifndef RUN_SAMPLES_H
#define RUN_SAMPLES_H

#include "store/run.h"

/* Record i of a run: keys rise with i. Key, value and attributes stay until the next call. */
typedef struct kv_record run_sample_fn(uint64_t i);

struct kv_record run_sample_small(uint64_t i);  /* some 60 bytes; every seventh a tombstone, and
                                                   every third has attributes */
struct kv_record run_sample_long(uint64_t i);   /* several blocks of few records each */
struct kv_record run_sample_binary(uint64_t i); /* keys of 1 to 511 bytes of any value, attributes
                                                   of up to 255, i < 2000 */

#define RUN_SAMPLE_META "the meta part, \0 and \xff"

/* n records as a run with RUN_SAMPLE_META, appended to out. */
void run_sample_make(run_sample_fn *record, uint64_t n, struct buf *out);
/* The run in these bytes, which is whole. */
struct run *run_sample_opened(const struct buf *bytes);
/* Hands the records to a writer. */
void run_sample_put(struct run_writer *w, run_sample_fn *record, uint64_t n);

bool run_sample_equal(const struct kv_record *a, const struct kv_record *b);

/* Makes all checksums right again that can be found; for bytes of any kind. */
void run_sample_reseal(uint8_t *p, size_t len);

/* A sink that appends to the struct buf ctx. */
int run_sample_sink(void *ctx, const void *p, size_t len, struct buf *reason);

#endif
