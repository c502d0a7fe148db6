/* SPDX-License-Identifier: MIT
 * The inside of struct kv, for the files of kv/ that share it:
 *
 *      kv.c          commands: opened, admitted, carried out, answered
 *      records.c     what a key has, and writing over it
 *      operations.c  each operation on one key
 *      removal.c     all keys of a prefix, slice by slice
 *      replay.c      many commands at a time, at the start
 *      checkpoint.c  made, frozen, replaced
 */
#ifndef KV_CORE_H
#define KV_CORE_H

#include <stdatomic.h>

#include "kv/idempotency.h"
#include "kv/kv.h"
#include "kv/memtable.h"
#include "kv/session.h"

/* Of one slice: a few milliseconds at most. */
#define SLICE_KEYS  4096
#define SLICE_BYTES (4 * MIB)
/* Fewer keys are in the processor's cache anyway: fetching them first would be the greater part of
 * the work (measured: a gain from so many keys on, a factor of two with a million). */
#define AHEAD_KEYS 30000

/* A Remove-prefix on its way: first everything is counted, then removed. */
struct removal {
    bool under_way;
    bool counted;
    uint8_t prefix[LIMIT_KEY_BYTES];
    size_t prefix_len;
    uint64_t max;
    uint64_t n_found, n_removed;
    uint8_t last[LIMIT_KEY_BYTES]; /* the last key passed; length 0: none yet */
    size_t last_len;
    struct session_answer *answer; /* borrowed: its place in the session */
};

/* Searches that were made ahead, in the order in which their keys will be asked for. */
struct ahead {
    struct memtable_ahead found[KV_PREFETCH_MAX];
    const void *keys[KV_PREFETCH_MAX]; /* in a command that stays until the end of the batch */
    unsigned next, n;
};

struct kv {
    /* What a view takes references of; changed under the owner's lock. */
    struct memtable *active;
    struct memtable *frozen; /* NULL: none */
    struct kv_base *base;    /* a reference; NULL: nothing lies below */
    /* The index whose state is whole, for views: stored after a command's last operation. */
    _Atomic uint64_t published;

    /* The writer's alone: */
    struct kv_pos applied;      /* the last entry that is whole */
    struct kv_pos at;           /* of the entry that is being applied, or applied */
    struct kv_base_view *below; /* of base; NULL: not needed since the last kv_end_batch() */
    uint64_t n_keys;
    uint64_t bytes;
    uint64_t digest; /* kv/digest.h */
    struct session_table *sessions;
    struct once_table *once;
    struct kv_once once_pending; /* of the command that is being carried out; its name is here: */
    uint8_t once_name[LIMIT_ONCE_NAME_BYTES];
    struct removal removal;
    struct kv_replay *replay;    /* replay.c's; NULL: nothing was gathered */
    struct memtable_place *near; /* records_find() goes on from here; NULL: from the top */
    struct ahead ahead;          /* empty after the end of the batch */
    kv_change_fn *on_change;     /* NULL: nobody listens */
    void *on_change_ctx;
    unsigned slice_keys;
    unsigned ahead_keys;              /* prefetch pays from so many on */
    struct buf answer;                /* of the last command; reused */
    uint8_t all_set[LIMIT_BATCH_OPS]; /* the answer of as many Sets */
};

static inline void kv_publish(struct kv *kv)
{
    atomic_store_explicit(&kv->published, kv->applied.index, memory_order_release);
}

/* ---- kv.c ---- */

/* Around all that an entry does: its position is kv->at; then it is whole, and views may see it. */
void entry_begin(struct kv *kv, struct kv_pos pos);
void entry_finish(struct kv *kv);

/* ---- records.c ---- */

/* The live value that the newest source has, and where the key's place in the active memtable is,
 * valid until the next write. NOT_FOUND, or what went wrong in the base. The value is borrowed
 * until the next find or end of the batch. */
MUST_CHECK int records_find(struct kv *kv, const void *key, size_t key_len,
                            struct memtable_place *ret_place, struct kv_value *ret_value);
/* records_find() of these keys is about to come, in this order: fetches what it looks at, and
 * searches the active memtable. They must stay until the next call, the end of the batch or
 * records_end_ahead(). */
void records_find_ahead(struct kv *kv, const struct kv_bytes keys[], unsigned n);
/* They are not asked for any more. */
static inline void records_end_ahead(struct kv *kv)
{
    kv->ahead.next = kv->ahead.n = 0;
}
/* Writes a record, which may be a tombstone, at its place in the active memtable instead of the
 * live value that was found there or below; NULL: there was none. Every change goes through here:
 * it keeps the counts and the digest. */
void records_replace(struct kv *kv, struct memtable_place *place, const struct kv_value *old,
                     const struct kv_record *new);
/* Writes value->data and value->attrs over old, NULL when the key was not there; fills in the rest
 * of *value. */
void records_put(struct kv *kv, struct memtable_place *place, const struct kv_op *op,
                 const struct kv_value *old, struct kv_value *value);
/* Removes what is there. */
void records_delete(struct kv *kv, struct memtable_place *place, const void *key, size_t key_len,
                    const struct kv_value *old);
/* Everything as of now, tombstones too, as kv_merge_new(). To be closed before the end of the
 * batch; writing goes on meanwhile. */
struct kv_cursor *records_cursor(struct kv *kv);

/* ---- operations.c ---- */

/* Carries an operation on one key out and appends its answer to kv->answer. */
MUST_CHECK int operation_apply(struct kv *kv, const struct kv_op *op);

/* ---- replay.c ---- */

/* Forgets what was gathered. */
void replay_free(struct kv *kv);

/* ---- removal.c ---- */

/* The operation is taken on; removal_step() carries it out. */
void removal_begin(struct kv *kv, const struct kv_op *op, struct session_answer *answer);
/* A slice of it. When nothing is left to do it is no more under way, and its answer is appended to
 * kv->answer. */
MUST_CHECK int removal_step(struct kv *kv);

#endif
