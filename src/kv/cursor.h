/* SPDX-License-Identifier: MIT
 * Records in key order, wherever they are kept: a memtable, a run file or the
 * checkpointed state. Each implements struct kv_cursor; merge.c makes one
 * cursor of several.
 */
#ifndef KV_CURSOR_H
#define KV_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A value and what is known about its key. Whose memory `data` and `attrs` are,
 * and how long they stay, is said by the function that gives it. */
struct kv_value {
    const uint8_t *data;
    size_t len;
    uint64_t revision;        /* log index of the last write of this key */
    uint64_t create_revision; /* log index that created it */
    uint64_t version;         /* writes since then, from 1 */
    const uint8_t *attrs;     /* see kv/attrs.h; at most LIMIT_ATTRS_BYTES */
    size_t attrs_len;
};

/* What one place knows of one key. Absolute: it replaces whatever an older
 * place says of the key, so that bringing it there twice does no harm. */
struct kv_record {
    const uint8_t *key; /* 1 to LIMIT_KEY_BYTES, borrowed until the cursor moves or closes */
    size_t key_len;
    bool deleted;          /* a tombstone: only value.revision has a meaning then, the rest is 0 */
    struct kv_value value; /* borrowed likewise */
};

/* Borrowed: of a key, say, or of a command. */
struct kv_bytes {
    const void *p;
    size_t len;
};
#define KV_PREFETCH_MAX 32 /* so many keys or commands are fetched ahead at a time, at most */

/* Used by one thread at a time, not necessarily the one that made it. Keys are
 * ordered by memcmp(), a prefix before what it begins; each comes once. */
struct kv_cursor {
    const struct kv_cursor_ops *ops;
};

/* All moves give 0 and a record; or, leaving *ret_record as it was, NOT_FOUND
 * at the end (again at every further next), CORRUPT when what is kept is
 * damaged, TIMEOUT when the view it reads has grown too old, or IO. After an
 * error other than NOT_FOUND only seek, below and close are allowed. */
struct kv_cursor_ops {
    /* The first record whose key is not below the given one; len 0: the first of all. The key may
     * be that of the cursor's own record. May be called at any time, in any direction. */
    int (*seek)(struct kv_cursor *c, const void *key, size_t len, struct kv_record *ret_record);
    /* The record after the last one given. Only after a seek. */
    int (*next)(struct kv_cursor *c, struct kv_record *ret_record);
    /* The last record whose key is below the given one; len 0: the last of all. The key may be that
     * of the cursor's own record: so one goes backwards, step by step. No next may follow it. NULL
     * in a source that is only read from its beginning to its end. */
    int (*below)(struct kv_cursor *c, const void *key, size_t len, struct kv_record *ret_record);
    /* Frees c and what it holds. */
    void (*close)(struct kv_cursor *c);
};

MUST_CHECK static inline int kv_cursor_seek(struct kv_cursor *c, const void *key, size_t len,
                                            struct kv_record *ret_record)
{
    return c->ops->seek(c, key, len, ret_record);
}

MUST_CHECK static inline int kv_cursor_next(struct kv_cursor *c, struct kv_record *ret_record)
{
    return c->ops->next(c, ret_record);
}

MUST_CHECK static inline int kv_cursor_below(struct kv_cursor *c, const void *key, size_t len,
                                             struct kv_record *ret_record)
{
    return c->ops->below(c, key, len, ret_record);
}

/* Closes *c and nulls the pointer; NULL is accepted. */
static inline void kv_cursor_close(struct kv_cursor **c)
{
    if (*c)
        (*c)->ops->close(*c);
    *c = NULL;
}

/* One cursor over several, newest first; of each key it gives the record of the
 * newest source that has one. Takes the sources (at least 1, at most
 * KV_MERGE_MAX): they close with it. Without keep_deleted, keys whose newest
 * record is a tombstone are left out. The first error of a source is its own. */
#define KV_MERGE_MAX 40
struct kv_cursor *kv_merge_new(struct kv_cursor *const sources[], unsigned n, bool keep_deleted);

#endif
