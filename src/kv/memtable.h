/* SPDX-License-Identifier: MIT
 * What was written since the last checkpoint, in key order: a skiplist (Pugh
 * 1990, in the manner of LevelDB) with one writer and readers without locks. A
 * key has all its versions since then, by log index, so that a reader sees the
 * state of one index while the writer goes on. Nothing is taken out: a deleted
 * key has a tombstone, and all memory is freed at once with the last reference.
 * Tower heights come from a seeded generator, so that the same operations build
 * the same list everywhere.
 */
#ifndef KV_MEMTABLE_H
#define KV_MEMTABLE_H

#include <stdatomic.h>

#include "kv/cursor.h"

/* One node in four has a level more: good for 4^12 = 16 million keys. */
#define MEMTABLE_HEIGHT_MAX 12

struct memtable;      /* opaque */
struct memtable_node; /* opaque */

/* With one reference, the caller's. */
struct memtable *memtable_new(void);
/* Any thread that has a reference or keeps another from going. Returns m; NULL is accepted. */
struct memtable *memtable_ref(struct memtable *m);
/* Any thread. Nulls the pointer; NULL is accepted. */
void memtable_unref(struct memtable **m);

/* ---- the writer ---- */

/* Where a key is or would be. Valid until the next put. */
struct memtable_place {
    struct memtable_node *node; /* NULL: the key was never written here */
    _Atomic(struct memtable_node *) *links[MEMTABLE_HEIGHT_MAX];
    /* A number that goes with the newest record, the writer's own: what the last put brought. To be
     * set before the next one. */
    uint64_t digest;
};
/* True when the key has a record: the newest one, which may be a tombstone. */
bool memtable_find(struct memtable *m, const void *key, size_t key_len,
                   struct memtable_place *ret_place, struct kv_record *ret_record);
/* For keys that do not fall: the same, by a search that begins at the place of the key before, also
 * after a put there, and is the shorter the nearer that is. The first time at memtable_begin()'s
 * place. No puts elsewhere may come in between. */
void memtable_begin(struct memtable *m, struct memtable_place *ret_place);
bool memtable_find_on(struct memtable *m, const void *key, size_t key_len,
                      struct memtable_place *place, struct kv_record *ret_record);
/* Where a key was or would have been, seen from a later time. Only puts may come in between. */
struct memtable_ahead {
    _Atomic(struct memtable_node *) *links[MEMTABLE_HEIGHT_MAX];
    struct memtable_node
        *not_below[MEMTABLE_HEIGHT_MAX + 1]; /* where the links led; a NULL on top */
};
/* Searches for several keys at once, at most KV_PREFETCH_MAX. A search alone waits for one piece of
 * memory after the other; these wait for one of each key at a time. */
void memtable_find_ahead(struct memtable *m, const struct kv_bytes keys[], unsigned n,
                         struct memtable_ahead ret_ahead[]);
/* memtable_find() of a key that was searched for ahead. */
bool memtable_find_from(struct memtable *m, const void *key, size_t key_len,
                        const struct memtable_ahead *ahead, struct memtable_place *ret_place,
                        struct kv_record *ret_record);
/* Adds a version of record->key at the place that was found for it; its
 * value.revision is not below any there. Copies key, value and attributes. */
void memtable_put(struct memtable *m, struct memtable_place *place, const struct kv_record *record);
/* All memory held: the blocks of the arena and the memtable itself. */
uint64_t memtable_bytes(const struct memtable *m);
/* Keys that were ever written here. */
uint64_t memtable_keys(const struct memtable *m);

/* ---- readers, of any thread; every record is borrowed until the memtable goes ---- */

#define MEMTABLE_NEWEST UINT64_MAX

/* The key's record as of log index `index`, maybe a tombstone. NOT_FOUND. */
MUST_CHECK int memtable_get(struct memtable *m, const void *key, size_t key_len, uint64_t index,
                            struct kv_record *ret_record);
/* The records as of log index `index`, tombstones too. Owned by the caller; does not hold m. */
struct kv_cursor *memtable_cursor(struct memtable *m, uint64_t index);

#endif
