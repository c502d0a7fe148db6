/* SPDX-License-Identifier: MIT
 * Blocks of an open run. Bytes under a right checksum are believed to be what
 * was written, but not that a writer of ours wrote them: a backup may come from
 * anywhere. So every length is compared with what there is.
 */
#include "store/run_file.h"

#include "base/crc32c.h"
#include "base/mem.h"

#define LINE_BYTES 64 /* of the processor's cache; only speed depends on it */

int run_key_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (order != 0)
        return order;
    return a_len < b_len ? -1 : a_len > b_len;
}

bool run_may_have(const struct run *r, struct run_filter_key key)
{
    return r->filter_len == 0 || run_filter_has(r->filter, r->filter_len, key);
}

void run_prefetch(const struct run *r, struct run_filter_key key)
{
    if (r->filter_len > 0)
        run_filter_prefetch(r->filter, r->filter_len, key);
}

/* ---- index ---- */

static uint64_t key_end(const struct run *r, uint64_t i)
{
    return bytes_get_be(r->index + i * RUN_INDEX_ENTRY_BYTES + 8, 8);
}

const uint8_t *run_block_key(const struct run *r, uint64_t i, size_t *ret_len)
{
    uint64_t from = i == 0 ? 0 : key_end(r, i - 1);
    *ret_len = (size_t)(key_end(r, i) - from);
    return r->index + r->footer.n_blocks * RUN_INDEX_ENTRY_BYTES + from;
}

/* Of a key that is shorter there are zeros. */
static uint64_t head_of(const uint8_t *key, size_t len, size_t from)
{
    uint8_t bytes[8] = {0};
    size_t n = len - from < sizeof bytes ? len - from : sizeof bytes;
    memcpy(bytes, key + from, n);
    return bytes_get_be(bytes, sizeof bytes);
}

void run_index_heads(struct run *r)
{
    uint64_t n = r->footer.n_blocks;
    size_t first_len = 0, last_len = 0, len;
    r->heads = mem_array(n, sizeof *r->heads);
    if (n < 2)
        return;
    const uint8_t *first = run_block_key(r, 1, &first_len);
    const uint8_t *last = run_block_key(r, n - 1, &last_len);
    while (r->n_in_common < first_len && r->n_in_common < last_len &&
           first[r->n_in_common] == last[r->n_in_common])
        r->n_in_common++;
    for (uint64_t i = 1; i < n; i++) {
        const uint8_t *key = run_block_key(r, i, &len);
        r->heads[i] = head_of(key, len, r->n_in_common);
    }
}

static bool begins_above(const struct run *r, uint64_t i, const void *key, size_t len)
{
    size_t block_len;
    const uint8_t *block_key = run_block_key(r, i, &block_len);
    return run_key_compare(block_key, block_len, key, len) > 0;
}

uint64_t run_block_of_key(const struct run *r, const void *key, size_t len)
{
    uint64_t low = 0, high = r->footer.n_blocks; /* it is in [low, high) */
    if (high < 2)
        return 0;
    size_t common = r->n_in_common, first_len;
    int order =
        run_key_compare(key, len < common ? len : common, run_block_key(r, 1, &first_len), common);
    if (order != 0)
        return order < 0 ? 0 : high - 1;
    uint64_t head = head_of(key, len, common);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        bool above = r->heads[middle] > head ||
                     (r->heads[middle] == head && begins_above(r, middle, key, len));
        low = above ? low : middle;
        high = above ? middle : high;
    }
    return low;
}

/* ---- blocks ---- */

void run_block_prefetch(const struct run *r, uint64_t i)
{
    const uint8_t *block = r->map + run_block_offset(r, i);
    uint64_t len = run_block_offset(r, i + 1) - run_block_offset(r, i);
    for (uint64_t at = 0; at < len && at <= RUN_BLOCK_BYTES; at += LINE_BYTES)
        __builtin_prefetch(block + at);
}

int run_block_read(struct run *r, uint64_t i, struct run_block *ret_block, struct buf *reason)
{
    uint64_t offset = run_block_offset(r, i);
    size_t len = (size_t)(run_block_offset(r, i + 1) - offset);
    uint32_t crc;
    if (len < RUN_BLOCK_HEADER_BYTES)
        return run_damaged(r, reason, offset, "a block is shorter than its header");
    int err = run_crc(r, offset + 4, len - 4, run_block_crc_start(offset), &crc, reason);
    if (err)
        return err;
    struct bytes_reader in = bytes_reader(r->map + offset, len);
    if (bytes_read_u32(&in) != crc)
        return run_damaged(r, reason, offset, "a block does not match its checksum");
    struct run_block block = {.offset = offset, .records_len = bytes_read_u32(&in)};
    block.n = bytes_read_u16(&in);
    block.records = bytes_read(&in, block.records_len);
    block.starts = bytes_read(&in, 2 * (size_t)block.n);
    if (!bytes_reader_done(&in) || block.n == 0 || bytes_get_be(block.starts, 2) != 0)
        return run_damaged(r, reason, offset, "a block's lengths contradict each other");
    *ret_block = block;
    return 0;
}

static int malformed(struct run *r, const struct run_block *block, struct buf *reason)
{
    return run_damaged(r, reason, block->offset, "a block has a malformed record");
}

static uint32_t record_start(const struct run_block *block, unsigned pos)
{
    return pos == block->n ? block->records_len
                           : (uint32_t)bytes_get_be(block->starts + 2 * (size_t)pos, 2);
}

/* Reads up to the key; what follows it is left in *ret_in. */
static bool read_key(const struct run_block *block, unsigned pos, struct bytes_reader *ret_in,
                     uint8_t *ret_kind, const uint8_t **ret_key, size_t *ret_len)
{
    uint32_t from = record_start(block, pos), to = record_start(block, pos + 1);
    if (from > to || to > block->records_len)
        return false;
    *ret_in = bytes_reader(block->records + from, to - from);
    *ret_kind = bytes_read_u8(ret_in);
    *ret_len = bytes_read_u16(ret_in);
    *ret_key = bytes_read(ret_in, *ret_len);
    return bytes_reader_ok(ret_in) && *ret_len >= 1 && *ret_len <= LIMIT_KEY_BYTES;
}

int run_block_record(struct run *r, const struct run_block *block, unsigned pos,
                     struct kv_record *ret_record, struct buf *reason)
{
    struct bytes_reader in;
    struct kv_record record = {.deleted = false};
    uint8_t kind;
    if (!read_key(block, pos, &in, &kind, &record.key, &record.key_len))
        return malformed(r, block, reason);
    record.deleted = kind == RUN_RECORD_TOMBSTONE;
    record.value.revision = bytes_read_varint(&in);
    if (!record.deleted) {
        record.value.create_revision = bytes_read_varint(&in);
        record.value.version = bytes_read_varint(&in);
        if (kind == RUN_RECORD_VALUE_ATTRS) {
            record.value.attrs_len = bytes_read_u8(&in);
            record.value.attrs = bytes_read(&in, record.value.attrs_len);
        }
        record.value.len = in.left;
        record.value.data = bytes_read(&in, in.left);
    }
    bool kind_known = kind == RUN_RECORD_VALUE || kind == RUN_RECORD_TOMBSTONE ||
                      (kind == RUN_RECORD_VALUE_ATTRS && record.value.attrs_len > 0);
    if (!kind_known || !bytes_reader_done(&in) || record.value.len > LIMIT_VALUE_BYTES)
        return malformed(r, block, reason);
    *ret_record = record;
    return 0;
}

int run_block_seek(struct run *r, const struct run_block *block, const void *key, size_t len,
                   unsigned *ret_pos, struct buf *reason)
{
    unsigned low = 0, high = block->n; /* it is in [low, high] */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        struct bytes_reader in;
        const uint8_t *middle_key;
        size_t middle_len;
        uint8_t kind;
        if (!read_key(block, middle, &in, &kind, &middle_key, &middle_len))
            return malformed(r, block, reason);
        if (run_key_compare(middle_key, middle_len, key, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_pos = low;
    return 0;
}
