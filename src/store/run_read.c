/* SPDX-License-Identifier: MIT
 * Reading a run: one record, all in order, or everything to see whether it is
 * whole. A block is checked each time it is come to: the page cache may have
 * fetched it again since the last time. The filter keeps that cheap: nearly all
 * that a look-up reads is what it finds.
 */
#include "store/run.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/run_file.h"
#include "store/run_filter.h"

static struct run_filter_key filter_key(const void *key, size_t len)
{
    return run_filter_key(run_filter_hash(key, len));
}

static int get(struct run *r, const void *key, size_t key_len, struct run_filter_key in_filter,
               struct kv_record *ret_record, struct buf *reason)
{
    struct run_block block;
    struct kv_record record;
    unsigned pos = 0;
    if (r->footer.n_blocks == 0 || !run_may_have(r, in_filter))
        return ERR_NOT_FOUND;
    int err = run_block_read(r, run_block_of_key(r, key, key_len), &block, reason);
    if (!err)
        err = run_block_seek(r, &block, key, key_len, &pos, reason);
    if (!err && pos == block.n)
        err = ERR_NOT_FOUND;
    if (!err)
        err = run_block_record(r, &block, pos, &record, reason);
    if (!err && run_key_compare(record.key, record.key_len, key, key_len) != 0)
        err = ERR_NOT_FOUND;
    if (!err)
        *ret_record = record;
    return err;
}

int run_get(struct run *r, const void *key, size_t key_len, struct kv_record *ret_record,
            struct buf *reason)
{
    return get(r, key, key_len, filter_key(key, key_len), ret_record, reason);
}

static void prefetch(struct run *const runs[], unsigned n, struct run_filter_key key)
{
    for (unsigned i = 0; i < n; i++)
        run_prefetch(runs[i], key);
}

/* Each filter costs a cache miss: all of them at once cost little more than one. */
int run_get_first(struct run *const runs[], unsigned n, const void *key, size_t key_len,
                  struct kv_record *ret_record, unsigned *ret_i)
{
    struct run_filter_key in_filter = filter_key(key, key_len);
    int err = ERR_NOT_FOUND;
    prefetch(runs, n, in_filter);
    for (unsigned i = 0; i < n && err == ERR_NOT_FOUND; i++) {
        err = get(runs[i], key, key_len, in_filter, ret_record, NULL);
        *ret_i = i;
    }
    return err;
}

/* False: no run has the key. */
static bool prefetch_block(struct run *const runs[], unsigned n, const struct kv_bytes *key)
{
    struct run_filter_key in_filter = filter_key(key->p, key->len);
    for (unsigned i = 0; i < n; i++)
        if (runs[i]->footer.n_blocks > 0 && run_may_have(runs[i], in_filter)) {
            run_block_prefetch(runs[i], run_block_of_key(runs[i], key->p, key->len));
            return true;
        }
    return false;
}

unsigned run_prefetch_keys(struct run *const runs[], unsigned n, const struct kv_bytes keys[],
                           unsigned n_keys, struct kv_bytes ret_rest[])
{
    unsigned n_rest = 0;
    for (unsigned i = 0; i < n_keys; i++)
        prefetch(runs, n, filter_key(keys[i].p, keys[i].len));
    for (unsigned i = 0; i < n_keys; i++)
        if (!prefetch_block(runs, n, &keys[i]))
            ret_rest[n_rest++] = keys[i];
    return n_rest;
}

/* ---- cursor ---- */

struct cursor {
    struct kv_cursor base;
    struct run *run;
    uint64_t next_block; /* after `block` */
    struct run_block block;
    unsigned pos; /* of the next record; block.n: in the next block */
};

static int cursor_next(struct kv_cursor *c, struct kv_record *ret_record)
{
    struct cursor *cursor = (struct cursor *)c;
    int err = 0;
    if (cursor->pos == cursor->block.n) {
        if (cursor->next_block == cursor->run->footer.n_blocks)
            return ERR_NOT_FOUND;
        err = run_block_read(cursor->run, cursor->next_block, &cursor->block, NULL);
        if (err)
            return err;
        cursor->next_block++;
        cursor->pos = 0;
    }
    err = run_block_record(cursor->run, &cursor->block, cursor->pos, ret_record, NULL);
    if (!err)
        cursor->pos++;
    return err;
}

static int cursor_seek(struct kv_cursor *c, const void *key, size_t len,
                       struct kv_record *ret_record)
{
    struct cursor *cursor = (struct cursor *)c;
    uint64_t i = 0;
    struct run_block block;
    unsigned pos = 0;
    if (cursor->run->footer.n_blocks == 0)
        return ERR_NOT_FOUND;
    if (len > 0)
        i = run_block_of_key(cursor->run, key, len);
    int err = run_block_read(cursor->run, i, &block, NULL);
    if (!err && len > 0)
        err = run_block_seek(cursor->run, &block, key, len, &pos, NULL);
    if (err)
        return err;
    cursor->block = block;
    cursor->next_block = i + 1;
    cursor->pos = pos;
    return cursor_next(c, ret_record);
}

static int cursor_below(struct kv_cursor *c, const void *key, size_t len,
                        struct kv_record *ret_record)
{
    struct run *r = ((struct cursor *)c)->run;
    struct run_block block;
    unsigned pos = 0;
    if (r->footer.n_blocks == 0)
        return ERR_NOT_FOUND;
    uint64_t i = len > 0 ? run_block_of_key(r, key, len) : r->footer.n_blocks;
    int err = 0;
    if (len > 0)
        err = run_block_read(r, i, &block, NULL);
    if (!err && len > 0)
        err = run_block_seek(r, &block, key, len, &pos, NULL);
    if (err)
        return err;
    if (pos == 0 && i == 0)
        return ERR_NOT_FOUND;
    if (pos == 0) {
        err = run_block_read(r, i - 1, &block, NULL);
        pos = err ? 0 : block.n;
    }
    return err ? err : run_block_record(r, &block, pos - 1, ret_record, NULL);
}

static void cursor_close(struct kv_cursor *c)
{
    struct cursor *cursor = (struct cursor *)c;
    run_unref(&cursor->run);
    mem_free(cursor);
}

struct kv_cursor *run_cursor(struct run *r)
{
    static const struct kv_cursor_ops ops = {cursor_seek, cursor_next, cursor_below, cursor_close};
    struct cursor *cursor = mem_zalloc(sizeof *cursor);
    cursor->base.ops = &ops;
    cursor->run = run_ref(r);
    return &cursor->base;
}

/* ---- verifying ---- */

/* What was met, to be compared with the footer. */
struct tally {
    uint64_t n_records;
    uint64_t n_deleted;
    uint64_t content_bytes;
};

/* All records of block i: well formed, rising, and between the keys that the index has for this
 * block and the next. */
static int verify_block(struct run *r, uint64_t i, struct tally *tally, struct buf *reason)
{
    struct run_block block;
    struct kv_record record;
    size_t last_len, bound_len;
    const uint8_t *last = run_block_key(r, i, &last_len);
    int least = 0; /* the first may be equal to the index's key, the others rise */
    int err = run_block_read(r, i, &block, reason);
    for (unsigned pos = 0; !err && pos < block.n; pos++) {
        err = run_block_record(r, &block, pos, &record, reason);
        if (err)
            break;
        if (run_key_compare(record.key, record.key_len, last, last_len) < least)
            return run_damaged(r, reason, block.offset, "the keys of a block are out of order");
        if (!run_may_have(r, filter_key(record.key, record.key_len)))
            return run_damaged(r, reason, r->footer.filter_offset, "its filter lacks a key");
        least = 1;
        last = record.key;
        last_len = record.key_len;
        tally->n_records++;
        tally->n_deleted += record.deleted;
        tally->content_bytes += record.key_len + record.value.len;
    }
    if (err || i + 1 == r->footer.n_blocks)
        return err;
    const uint8_t *bound = run_block_key(r, i + 1, &bound_len);
    if (run_key_compare(last, last_len, bound, bound_len) >= 0)
        return run_damaged(r, reason, block.offset, "a block has keys of the next one");
    return 0;
}

/* The first block that does not begin before `at`. */
static uint64_t block_from(const struct run *r, uint64_t at)
{
    uint64_t low = 0, high = r->footer.n_blocks;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (run_block_offset(r, middle) < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int run_verify_some(struct run *r, uint64_t *at, uint64_t len, struct buf *reason)
{
    struct tally tally = {0};
    uint64_t i = block_from(r, *at), from = *at, to = *at;
    int err = 0;
    while (!err && i < r->footer.n_blocks && to - from < len) {
        err = verify_block(r, i, &tally, reason);
        to = run_block_offset(r, ++i);
    }
    if (!err && i == r->footer.n_blocks) {
        err = run_check_ends(r, reason);
        to = r->size;
    }
    if (!err)
        *at = to;
    return err;
}

int run_verify(struct run *r, struct buf *reason)
{
    struct tally tally = {0};
    uint32_t digest = 0;
    uint64_t done = 0;
    int err = run_check_ends(r, reason);
    for (uint64_t i = 0; !err && i < r->footer.n_blocks; i++) {
        /* The bytes between are those of the header, or none. */
        uint64_t end = run_block_offset(r, i + 1);
        err = verify_block(r, i, &tally, reason);
        if (!err)
            err = run_crc(r, done, (size_t)(end - done), digest, &digest, reason);
        done = end;
    }
    uint64_t footer_offset = r->size - RUN_FOOTER_BYTES;
    if (!err)
        err = run_crc(r, done, (size_t)(footer_offset - done), digest, &digest, reason);
    if (err)
        return err;
    if (digest != r->footer.digest)
        return run_damaged(r, reason, footer_offset, "the file does not match its digest");
    if (tally.n_records != r->footer.n_records || tally.n_deleted != r->footer.n_deleted ||
        tally.content_bytes != r->footer.content_bytes)
        return run_damaged(r, reason, footer_offset, "the counts in its footer are not right");
    return 0;
}
