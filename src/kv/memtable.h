/* SPDX-License-Identifier: MIT
 * The keys in byte order: a skiplist (Pugh 1990) with one writer and no locks.
 * Tower heights come from a seeded generator, so that the same operations
 * build the same list everywhere. A value is replaced in place.
 */
#ifndef KV_MEMTABLE_H
#define KV_MEMTABLE_H

#include "kv/kv.h"

struct memtable; /* opaque */

struct memtable *memtable_new(void);
/* Frees *m and nulls the pointer; NULL is accepted. */
void memtable_free(struct memtable **m);

/* NOT_FOUND. What it points to is borrowed until the next put or delete. */
MUST_CHECK int memtable_get(const struct memtable *m, const void *key, size_t key_len,
                            struct kv_value *ret_value);
/* Makes or replaces a key. Copies key and value; value may not point into m. */
void memtable_put(struct memtable *m, const void *key, size_t key_len, const void *value,
                  size_t value_len, uint64_t revision);
/* False when there was no such key. */
bool memtable_delete(struct memtable *m, const void *key, size_t key_len);

/* See kv_visit(). fn must not change m. */
void memtable_visit(const struct memtable *m, const void *from, size_t from_len, kv_visit_fn *fn,
                    void *ctx);

uint64_t memtable_n_keys(const struct memtable *m);
/* Memory held by keys, values and their nodes. */
uint64_t memtable_bytes(const struct memtable *m);

#endif
