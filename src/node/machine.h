/* SPDX-License-Identifier: MIT
 * The state machine as the node holds it: one writer, the driver's thread, and
 * readers in the serving threads, which read through views. Also what those
 * threads want to know at every request: the leader.
 */
#ifndef NODE_MACHINE_H
#define NODE_MACHINE_H

#include "base/buf.h"
#include "base/uuid.h"
#include "kv/kv.h"
#include "kv/view.h"
#include "raft/snapshot.h"
#include "raft/types.h"

struct machine; /* opaque */

struct machine *machine_new(void);
void machine_free(struct machine **s);
/* See kv_set_sizes(). */
void machine_set_sizes(struct machine *s, unsigned slice_keys, unsigned ahead_keys);

/* Applies n committed entries in order; calls done for each after it is applied. CORRUPT when a
 * configuration does not decode; CORRUPT or IO when older state cannot be read, see kv_apply(). */
typedef void machine_applied_fn(void *ctx, const struct raft_entry *e,
                                const struct kv_result *result);
MUST_CHECK int machine_apply(struct machine *s, struct raft_entry *const entries[], unsigned n,
                             machine_applied_fn *done, void *ctx);
/* The same, but ends early in the middle of a command that takes long: *ret_n entries are applied
 * as a whole, and the next call is to begin with the one that is not. Until it is, the state to be
 * seen is that before it, and no meta may be asked for. */
MUST_CHECK int machine_apply_some(struct machine *s, struct raft_entry *const entries[], unsigned n,
                                  machine_applied_fn *done, void *ctx, unsigned *ret_n);
/* At the start: the same of a single entry, without an answer, maybe later; see kv_replay(). */
MUST_CHECK int machine_replay(struct machine *s, const struct raft_entry *e);
MUST_CHECK int machine_replay_end(struct machine *s);
/* The last position applied. Writer's thread. */
struct raft_pos machine_applied(const struct machine *s);
/* See kv_digest(), and the index where it is that. Writer's thread. */
uint64_t machine_digest(const struct machine *s, uint64_t *ret_index);
/* What it was when index had been applied. NOT_FOUND when that is not the case yet or too long ago.
 * Writer's thread. */
MUST_CHECK int machine_digest_at(const struct machine *s, uint64_t index, uint64_t *ret_digest);
/* The node that led in a term, zero when that is not known (any more). Writer's thread. */
struct uuid machine_leader_of(const struct machine *s, uint64_t term);
/* Notes who leads a term, from other evidence than the log. Writer's thread. */
void machine_note_leader(struct machine *s, uint64_t term, struct uuid leader);
/* How often the key was written since it was created; 0: it is not there. Writer's thread. */
uint64_t machine_version(const struct machine *s, const void *key, size_t key_len);
/* See kv_is_applying(). Writer's thread. */
bool machine_is_applying(const struct machine *s);
/* See kv_on_change(); stays in force when the state is replaced. Writer's thread. */
void machine_on_change(struct machine *s, kv_change_fn *fn, void *ctx);
/* See kv_member_since(). Writer's thread. */
uint64_t machine_member_since(const struct machine *s, struct uuid node);
struct kv_stats machine_stats(const struct machine *s);

/* Replaces the state, which was empty or older, by what base (a reference is taken) holds and the
 * meta that came with it. *ret_base: where the log goes on. CORRUPT, VERSION, STALE; the state is
 * as it was then. Writer's thread. */
MUST_CHECK int machine_install(struct machine *s, const void *meta, size_t len,
                               struct kv_base *base, struct raft_base *ret_base);
/* At the start: the same for a state that is empty. Without meta (len 0) nothing was ever kept in
 * base, and *ret_base is all zero. */
MUST_CHECK int machine_restore(struct machine *s, const void *meta, size_t len,
                               struct kv_base *base, struct raft_base *ret_base);
/* The bytes that go with the state as it is now (node/meta.h). config is the latest committed one,
 * which was applied. Writer's thread. */
void machine_meta(const struct machine *s, struct uuid cluster, const struct raft_config *config,
                  struct raft_pos config_pos, struct buf *out);
/* See kv_freeze(), kv_drop_frozen(). Writer's thread. */
MUST_CHECK int machine_freeze(struct machine *s, struct kv_frozen **ret_frozen);
void machine_drop_frozen(struct machine *s, struct kv_frozen **frozen);

/* Thread-safe: */
/* Owned by the caller, to be closed soon. */
struct kv_view *machine_view(struct machine *s);
/* Appends the value as of the last entry applied. NOT_FOUND, CORRUPT, TIMEOUT or IO. */
MUST_CHECK int machine_get(struct machine *s, const void *key, size_t key_len, struct buf *out);
/* The same with what is known about it, see node_get_value(). */
MUST_CHECK int machine_get_value(struct machine *s, const void *key, size_t key_len,
                                 struct kv_value *ret_info, struct buf *value, struct buf *attrs);
/* Of the key as views show it; 0: it is not there, or cannot be read. */
uint64_t machine_revision(struct machine *s, const void *key, size_t key_len);
/* The index that views show. */
uint64_t machine_visible(const struct machine *s);
/* Whether this node belongs to a cluster, and when (0: never) it last knew that nobody else had
 * taken the lead without it. */
struct machine_standing {
    bool member;
    uint64_t confirmed_ms;
};
struct machine_standing machine_standing(const struct machine *s);
void machine_set_standing(struct machine *s, struct machine_standing standing);
struct uuid machine_leader_hint(struct machine *s);
void machine_set_leader_hint(struct machine *s, struct uuid leader);

#endif
