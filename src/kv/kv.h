/* SPDX-License-Identifier: MIT
 * The replicated state machine: the same entries in the same order give the
 * same state and the same answers on every node. One writer; readers in other
 * threads use a view (kv/view.h).
 *
 *      active memtable  --kv_freeze()-->  frozen  --kv_drop_frozen()-->  base
 *
 * What was applied lies in the active memtable. Frozen, it is written to a run
 * file by another thread; once that is part of the base it is dropped.
 *
 * Beside the keys, the state holds a session for each member of the cluster:
 * its boot, its floor and the answers of its commands from floor on. A command
 * seen before is not applied again and gets its first answer. A command of an
 * earlier boot or membership, below the floor, too far above it
 * (LIMIT_FORWARDED_OPS), or of a node that is no member is STALE and changes
 * nothing: it is a late copy of one that was settled. A client may name its
 * command too (KV_ONCE): whatever comes under that name gets the first answer
 * (kv/idempotency.h).
 */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/err.h"
#include "base/uuid.h"
#include "kv/base.h"
#include "kv/command.h"
#include "kv/cursor.h"

/* One old value of the largest size always fits. */
#define KV_ANSWER_BYTES_MAX (LIMIT_VALUE_BYTES + LIMIT_COMMAND_OVERHEAD)

struct kv; /* opaque */

struct kv_pos {
    uint64_t term;
    uint64_t index;
};

/* Empty, and without a base. */
struct kv *kv_new(void);
/* The state that a base holds, with the meta that came with it, from untrusted bytes: CORRUPT or
 * VERSION. No meta (len 0): nothing was ever kept there. Takes a reference of its own to the base,
 * which may be NULL. */
MUST_CHECK int kv_restore(const void *meta, size_t len, struct kv_base *base, struct kv **ret_kv);
/* Views may outlive it. */
void kv_free(struct kv **kv);

struct kv_result {
    bool more; /* kv_apply_begin(), kv_apply_more(): not finished, the rest has no meaning yet */
    /* 0, or what left the state as it was, the same everywhere: STALE; INVALID (not decodable);
     * TOO_LARGE (old values of a batch's Deletes would make an answer beyond KV_ANSWER_BYTES_MAX);
     * of commands with a name, CONFLICT (it stands for another request), OVERLOADED (too many are
     * remembered). Or UNKNOWN: applied before, but its answer is forgotten (kv/session.h) */
    int err;
    struct kv_pos pos;     /* where the command was first applied; zero when STALE or INVALID */
    const uint8_t *answer; /* see kv_answer_next(); borrowed until the next apply */
    size_t answer_len;
};

/* Applies the command at pos. pos.index is above every index applied before. CORRUPT or IO when the
 * base could not be read: a part of the command may have been carried out, and nothing may be
 * applied or frozen any more. */
MUST_CHECK int kv_apply(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
                        struct kv_result *ret_result);
/* The same in slices of some milliseconds, for whoever has something else to do meanwhile: begin,
 * and then more as long as the result says so. Until then what was applied, and what views show, is
 * the state before; nothing else may be applied, kv_meta(), kv_digest() and kv_get() must not be
 * used and kv_freeze() is NOT_ALLOWED. kv_drop_frozen() and kv_end_batch() are allowed;
 * kv_install() puts an end to it. */
MUST_CHECK int kv_apply_begin(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
                              struct kv_result *ret_result);
MUST_CHECK int kv_apply_more(struct kv *kv, struct kv_result *ret_result);
/* A command was begun and has not been finished. */
bool kv_is_applying(const struct kv *kv);
/* Told of every record that is written, tombstones too, before views show it. NULL: nobody. */
typedef void kv_change_fn(void *ctx, const struct kv_record *record);
void kv_on_change(struct kv *kv, kv_change_fn *fn, void *ctx);
/* Commands that are about to be applied, in this order, with others or none between: makes that
 * faster, and does nothing else. At most KV_PREFETCH_MAX of them, which must stay where they are
 * until the next call or kv_end_batch(). */
void kv_prefetch(struct kv *kv, const struct kv_bytes commands[], unsigned n);
/* For tests: so many keys in a slice, and nothing is fetched before its time while there are fewer
 * keys than this. 0: the default. */
void kv_set_sizes(struct kv *kv, unsigned slice_keys, unsigned ahead_keys);
/* The writer reads the base through one view from an apply or get on until this is called, after
 * each batch, or memtables change. */
void kv_end_batch(struct kv *kv);
/* At the start, before there are views: kv_apply() of a command whose answer nobody waits for. It
 * may be carried out later, together with others, which is several times as fast. Only
 * configurations and entries without meaning may be applied in between, before kv_replay_end() has
 * carried out all. Errors as of kv_apply(), of any command so far. */
MUST_CHECK int kv_replay(struct kv *kv, struct kv_pos pos, const void *command, size_t len);
MUST_CHECK int kv_replay_end(struct kv *kv);
/* The index of the configuration entry that made this node a member, the last time if it was one
 * before; 0: it is none. */
uint64_t kv_member_since(const struct kv *kv, struct uuid node);

/* Applies a configuration entry: sessions of nodes not in ids[] end, those new begin. */
void kv_apply_members(struct kv *kv, struct kv_pos pos, const struct uuid ids[], unsigned n);
/* Notes that an entry without meaning for the state was passed. */
void kv_apply_nothing(struct kv *kv, struct kv_pos pos);

/* The last position applied as a whole. */
struct kv_pos kv_applied(const struct kv *kv);
/* The index that a view made now shows at least. Any thread. */
uint64_t kv_visible(const struct kv *kv);
/* The digest of all records there (kv/digest.h). */
uint64_t kv_digest(const struct kv *kv);

/* The writer's own read: NOT_FOUND, CORRUPT or IO. The value is borrowed until the next apply, get
 * or kv_end_batch(). */
MUST_CHECK int kv_get(struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value);

/* ---- checkpoints and snapshots; the writer's, and no view may be made meanwhile ---- */

/* The head of the meta bytes, which hold what of the state is not keys: this and the sessions. */
struct kv_meta_info {
    struct kv_pos applied;
    uint64_t n_keys;
    uint64_t bytes;  /* of all keys and values */
    uint64_t digest; /* kv/digest.h */
};
/* Untrusted bytes. CORRUPT or VERSION. Any thread. */
MUST_CHECK int kv_meta_info(const void *p, size_t len, struct kv_meta_info *ret_info);
/* Appends the meta of this moment: that of a view made before the next apply. Deterministic. */
void kv_meta(const struct kv *kv, struct buf *out);

/* The meta of the same state at a later place, with sessions of these members only. Untrusted
 * bytes: CORRUPT, VERSION; INVALID when the place is not later. Appends to out. */
MUST_CHECK int kv_meta_move(const void *p, size_t len, struct kv_pos to, const struct uuid ids[],
                            unsigned n, struct buf *out);

/* What was frozen, for a run file. Any thread may use it, one at a time. */
struct kv_frozen {
    struct kv_pos applied;
    struct memtable *records; /* a reference */
};
/* The active memtable becomes the frozen one and a new one begins; the meta that goes with it is
 * that of the moment before, see kv_meta(). NOT_ALLOWED while there is one,
 * and in the middle of a command. The caller owns *ret_frozen. */
MUST_CHECK int kv_freeze(struct kv *kv, struct kv_frozen **ret_frozen);
/* All frozen records in key order, tombstones too. Owned by the caller, any number at a time, to be
 * closed before the frozen. */
struct kv_cursor *kv_frozen_cursor(const struct kv_frozen *frozen);
/* Frees *frozen and nulls the pointer, NULL is accepted; the kv is not changed. */
void kv_frozen_free(struct kv_frozen **frozen);
/* The frozen records are part of the base now: lets go of them and frees *frozen. Does nothing more
 * when a snapshot was installed since they were frozen. */
void kv_drop_frozen(struct kv *kv, struct kv_frozen **frozen);

/* Replaces the whole state by what base holds, as kv_restore(). STALE when that is not later than
 * what was applied. The state is as it was after an error. */
MUST_CHECK int kv_install(struct kv *kv, const void *meta, size_t len, struct kv_base *base);

struct kv_stats {
    uint64_t n_keys;
    uint64_t bytes;          /* of all keys and values */
    uint64_t memtable_bytes; /* memory held by the memtables */
    unsigned n_sessions;
    unsigned n_once;   /* idempotency keys that are remembered */
    uint64_t clock_ms; /* all that KV_CLOCK told */
};
struct kv_stats kv_stats(const struct kv *kv);

#endif
