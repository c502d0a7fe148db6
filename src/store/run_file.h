/* SPDX-License-Identifier: MIT
 * An open run, for the files that implement run.h: its parts, its blocks, and
 * how damage is told.
 */
#ifndef STORE_RUN_FILE_H
#define STORE_RUN_FILE_H

#include <pthread.h>

#include "base/refs.h"
#include "store/run.h"
#include "store/run_filter.h"
#include "store/run_format.h"

struct run {
    struct refs refs;
    char *path;         /* owned */
    const char *remedy; /* static */
    const uint8_t *map; /* the whole file, read-only; touched inside of guards only until checked */
    size_t size;
    bool mapped; /* by us; else borrowed bytes */

    struct run_footer footer;
    uint8_t *filter;   /* owned copy, checked */
    size_t filter_len; /* 0: none */
    uint8_t *index;    /* owned copy, checked: entries, then keys */
    size_t index_len;
    uint64_t *heads;    /* of the blocks' keys, see run_index_heads(); owned */
    size_t n_in_common; /* so many bytes begin all blocks' keys but the first, which is empty */

    pthread_mutex_t lock; /* guards what follows */
    struct buf damage;    /* what was first found wrong */
};

/* Notes and tells "PATH is damaged: WHAT, at offset; REMEDY"; reason may be NULL. CORRUPT. */
int run_damaged(struct run *r, struct buf *reason, uint64_t offset, const char *what);

/* The checksum of len bytes at offset, which lie inside of the file, touching
 * them all. CORRUPT when they cannot be read. */
MUST_CHECK int run_crc(struct run *r, uint64_t offset, size_t len, uint32_t start,
                       uint32_t *ret_crc, struct buf *reason);
/* Checks all but the blocks once more, as it is in the file now. */
MUST_CHECK int run_check_ends(struct run *r, struct buf *reason);

/* Whether this key may be in the run; false: it is not, and no block
 * need be read to know. */
bool run_may_have(const struct run *r, struct run_filter_key key);
/* Begins to fetch what that needs. */
void run_prefetch(const struct run *r, struct run_filter_key key);

/* Begins to fetch block i, or the beginning of a large one. */
void run_block_prefetch(const struct run *r, uint64_t i);

/* ---- index ---- */

static inline uint64_t run_block_offset(const struct run *r, uint64_t i)
{
    if (i == r->footer.n_blocks)
        return r->footer.meta_offset;
    return bytes_get_be(r->index + i * RUN_INDEX_ENTRY_BYTES, 8);
}

/* A key that is above all of block i - 1, and not above any of block i. Borrowed. */
const uint8_t *run_block_key(const struct run *r, uint64_t i, size_t *ret_len);
/* Once, of an index that was checked: makes r->heads, the 8 bytes of each block's key that follow
 * on what they have in common, as numbers of the same order. Most searches need no more of it. */
void run_index_heads(struct run *r);
/* The block that has the key, if any has; n_blocks > 0. */
uint64_t run_block_of_key(const struct run *r, const void *key, size_t len);
/* Negative, 0 or positive, as memcmp(); a prefix comes before what it begins. */
int run_key_compare(const void *a, size_t a_len, const void *b, size_t b_len);

/* ---- blocks ---- */

struct run_block {
    uint64_t offset;
    const uint8_t *records; /* in the map, like starts */
    const uint8_t *starts;
    uint32_t records_len;
    unsigned n; /* at least 1 */
};

/* Checks block i and gives its parts. CORRUPT. */
MUST_CHECK int run_block_read(struct run *r, uint64_t i, struct run_block *ret_block,
                              struct buf *reason);
/* Record `pos` of a block that was read. CORRUPT. */
MUST_CHECK int run_block_record(struct run *r, const struct run_block *block, unsigned pos,
                                struct kv_record *ret_record, struct buf *reason);
/* The first place in the block whose key is not below this one; n when there is none. CORRUPT. */
MUST_CHECK int run_block_seek(struct run *r, const struct run_block *block, const void *key,
                              size_t len, unsigned *ret_pos, struct buf *reason);

#endif
