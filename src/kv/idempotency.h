/* SPDX-License-Identifier: MIT
 * Commands that a client may repeat under a name of its own (Idempotency-Key,
 * crabcluster-api(7)): what was answered to each, so that it is applied once
 * however often it comes, by whatever node (PITFALLS 49). Part of the
 * replicated state: it depends on the log alone.
 *
 *      command  ->  record, without a time  --clock-->  with one  --keep-->  forgotten
 *
 * Time is what the commands KV_CLOCK add up to. A record gets its time with the
 * first one after it and goes KV_ONCE_KEEP_MS of that time later: however long
 * nobody led, it is never too soon.
 */
#ifndef KV_IDEMPOTENCY_H
#define KV_IDEMPOTENCY_H

#include "kv/session.h"

#define KV_ONCE_KEEP_MS (10 * 60 * 1000)

/* What one clock and one command forget at most: an apply is to be short. */
#define KV_ONCE_PER_CLOCK   4096
#define KV_ONCE_PER_COMMAND 16

struct once_table; /* opaque */

struct once_table *once_table_new(void);
/* Frees *t and nulls the pointer; NULL is accepted. */
void once_table_free(struct once_table **t);

/* What was answered, borrowed until the table changes. NOT_FOUND; CONFLICT when the name stands for
 * another request. */
MUST_CHECK int once_find(const struct once_table *t, const struct kv_once *once,
                         const struct session_answer **ret_answer);
/* No other record is taken. */
bool once_is_full(const struct once_table *t);
/* Keeps a copy of the answer. The name is not there yet and the table not full. */
void once_add(struct once_table *t, const struct kv_once *once,
              const struct session_answer *answer);
/* Forgets the oldest records whose time has come, n_max at most. */
void once_forget(struct once_table *t, unsigned n_max);
/* So much time has passed. Forgets nothing by itself. */
void once_clock(struct once_table *t, uint64_t elapsed_ms);

unsigned once_count(const struct once_table *t);
/* The sum of all that has passed. */
uint64_t once_now_ms(const struct once_table *t);

/* Appends the table; the same records give the same bytes:
 *
 *      clock, number of records: varints | records, oldest first
 *
 * and for each: name as string | fingerprint 16 bytes | 0, or 1 + its time as varint | answer as in
 * kv/session.h. */
void once_table_encode(const struct once_table *t, struct buf *out);
/* Reads what was encoded at this position, from untrusted bytes. CORRUPT. The caller owns the
 * table. */
MUST_CHECK int once_table_decode(struct bytes_reader *r, struct kv_pos applied,
                                 struct once_table **ret_table);

#endif
