/* SPDX-License-Identifier: MIT
 * The inside of struct kv, for the files of kv/ that share it.
 */
#ifndef KV_CORE_H
#define KV_CORE_H

#include <stdatomic.h>

#include "kv/kv.h"
#include "kv/memtable.h"
#include "kv/session.h"

struct kv {
    /* What a view takes references of; changed under the owner's lock. */
    struct memtable *active;
    struct memtable *frozen; /* NULL: none */
    struct kv_base *base;    /* a reference; NULL: nothing lies below */
    /* The index whose state is whole, for views: stored after a command's last operation. */
    _Atomic uint64_t published;

    /* The writer's alone: */
    struct kv_pos applied;
    struct kv_base_view *below; /* of base; NULL: not needed since the last kv_end_batch() */
    uint64_t n_keys;
    uint64_t bytes;
    uint64_t digest; /* kv/digest.h */
    struct session_table *sessions;
    struct buf answer;                /* of the last command; reused */
    uint8_t all_set[LIMIT_BATCH_OPS]; /* the answer of as many Sets */
};

static inline void kv_publish(struct kv *kv)
{
    atomic_store_explicit(&kv->published, kv->applied.index, memory_order_release);
}

/* Writes a record, which may be a tombstone, at its place in the active memtable instead of the
 * live value that was found there or below; NULL: there was none. Every change goes through here:
 * it keeps the counts and the digest. */
void kv_replace(struct kv *kv, struct memtable_place *place, const struct kv_value *old,
                const struct kv_record *new);

#endif
