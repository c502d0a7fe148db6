/* SPDX-License-Identifier: MIT
 * A kv_base in memory, for tests: one sorted array of live records, replaced
 * whole when a run is added. What it lends is freed at the earliest moment that
 * kv/base.h allows, so that a sanitizer sees who keeps it for longer.
 */
#ifndef TESTS_MEM_BASE_H
#define TESTS_MEM_BASE_H

#include "kv/base.h"

struct mem_base; /* opaque; freed with the last reference to its kv_base */

/* The caller owns the first reference. */
struct kv_base *mem_base_new(void);
/* Any thread. Brings all records of a run in, tombstones too; closes *run. */
void mem_base_add_run(struct kv_base *base, struct kv_cursor **run);
/* Every get and cursor gives this error from now on; 0: no more. */
void mem_base_fail(struct kv_base *base, int err);
/* Views that are open now give TIMEOUT from now on, unless they are kept. */
void mem_base_expire_views(struct kv_base *base);

size_t mem_base_n_records(struct kv_base *base);
unsigned mem_base_n_views(struct kv_base *base); /* open ones */
unsigned mem_base_n_gets(struct kv_base *base);  /* so far */
unsigned mem_base_n_kept(struct kv_base *base);  /* so far */

#endif
