/* SPDX-License-Identifier: MIT
 * What the core remembers of the log: the term of every entry (as runs), the
 * entries of the tail, and how far all that is durable.
 *
 *      base      cached_from        durable     handed out     last
 *       |-- runs only --|---- runs and entries ----------------|
 *
 * A persist record that is under way is remembered as {seq, index it makes
 * durable}. Truncation lowers that index in all of them, so that a late
 * completion never vouches for an entry that replaced the one it wrote
 * (PITFALLS 21).
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "base/err.h"
#include "raft/types.h"

struct raft_log; /* opaque */

struct raft_log *raft_log_new(void);
/* Frees *l with its references; NULL is accepted. */
void raft_log_free(struct raft_log **l);

/* The log as it was when it began after this place, and that durable. */
void raft_log_set_base(struct raft_log *l, struct raft_pos base);
/* Forgets the durable entries up to index; base <= index. */
void raft_log_compact(struct raft_log *l, uint64_t index);
/* Forgets everything: from now on the log begins after this place, which was not in it. Nothing
 * is durable until the next persist record is. */
void raft_log_reset(struct raft_log *l, struct raft_pos base);
struct raft_pos raft_log_base(const struct raft_log *l);
struct raft_pos raft_log_last(const struct raft_log *l);
/* NOT_FOUND before the base and after the end. */
MUST_CHECK int raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *ret_term);
/* The log has this very entry (or its base is this place). */
bool raft_log_has(const struct raft_log *l, struct raft_pos pos);
/* The last place at or before `index` with a term of at most `term`; the base
 * when there is none. Skips a whole term of conflicts at once (dissertation 3.5). */
struct raft_pos raft_log_find_term(const struct raft_log *l, uint64_t index, uint64_t term);

/* e follows on; takes a reference of its own. */
void raft_log_append(struct raft_log *l, struct raft_entry *e);
/* Forgets the entries from this index on; from > base. */
void raft_log_truncate(struct raft_log *l, uint64_t from);

/* Bytes an entry counts for, in every limit of the core. */
size_t raft_log_entry_bytes(const struct raft_entry *e);
/* The first index whose entry is in memory; last + 1 when none is. */
uint64_t raft_log_cached_from(const struct raft_log *l);
/* Borrowed; cached_from <= index <= last. */
struct raft_entry *raft_log_entry(const struct raft_log *l, uint64_t index);
/* Drops the oldest entries beyond bytes_max, but none after keep_after, nor any
 * that is not durable. */
void raft_log_evict(struct raft_log *l, size_t bytes_max, uint64_t keep_after);

/* Something changed that no persist record has yet. */
bool raft_log_is_dirty(const struct raft_log *l);
/* Hands out the changes as persist record seq: delete from *ret_truncate_from on
 * (0: nothing), then append *ret_first to last. */
void raft_log_take(struct raft_log *l, uint64_t seq, uint64_t *ret_truncate_from,
                   uint64_t *ret_first);
/* Record seq and those before it are durable. */
void raft_log_persisted(struct raft_log *l, uint64_t seq);
/* Everything in the log came from the disk. */
void raft_log_set_restored(struct raft_log *l);
/* The log up to here, as it is now, is durable. */
uint64_t raft_log_durable(const struct raft_log *l);

void raft_log_check(const struct raft_log *l);

#endif
