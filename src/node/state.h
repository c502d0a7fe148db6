/* SPDX-License-Identifier: MIT
 * The state machine as the node holds it: one writer, the driver's thread, and
 * readers in the serving threads, which read through views. Also what those
 * threads want to know at every request: the leader.
 */
#ifndef NODE_STATE_H
#define NODE_STATE_H

#include "base/buf.h"
#include "base/uuid.h"
#include "kv/kv.h"
#include "raft/types.h"

struct state; /* opaque */

struct state *state_new(void);
void state_free(struct state **s);

/* Applies n committed entries in order; calls done for each after it is applied. CORRUPT when a
 * configuration does not decode; CORRUPT or IO when older state cannot be read, see kv_apply(). */
typedef void state_applied_fn(void *ctx, const struct raft_entry *e,
                              const struct kv_result *result);
MUST_CHECK int state_apply(struct state *s, struct raft_entry *const entries[], unsigned n,
                           state_applied_fn *done, void *ctx);
/* The last position applied. Writer's thread. */
struct raft_pos state_applied(const struct state *s);
/* The node that led in a term, zero when that is not known (any more). Writer's thread. */
struct uuid state_leader_of(const struct state *s, uint64_t term);
/* Notes who leads a term, from other evidence than the log. Writer's thread. */
void state_note_leader(struct state *s, uint64_t term, struct uuid leader);
/* How often the key was written since it was created; 0: it is not there. Writer's thread. */
uint64_t state_version(const struct state *s, const void *key, size_t key_len);
/* See kv_member_since(). Writer's thread. */
uint64_t state_member_since(const struct state *s, struct uuid node);
struct kv_stats state_stats(const struct state *s);

/* Thread-safe: */
/* Appends the value as of the last entry applied. NOT_FOUND, CORRUPT, TIMEOUT or IO. */
MUST_CHECK int state_get(struct state *s, const void *key, size_t key_len, struct buf *out);
struct uuid state_leader_hint(struct state *s);
void state_set_leader_hint(struct state *s, struct uuid leader);

#endif
