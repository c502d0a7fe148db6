/* SPDX-License-Identifier: MIT */
#include "store/journal_write.h"

#include <string.h>

#define KIND_NONE         0
#define KIND_HARD_STATE   1
#define KIND_ENTRIES_ONLY 2

#define HARD_STATE_BYTES   32
#define ENTRY_HEADER_BYTES 21
#define HEAD_BYTES_MAX     (1 + HARD_STATE_BYTES + 8 + 4)

size_t journal_write_bytes(const struct storage_write *w)
{
    size_t bytes = HEAD_BYTES_MAX;
    for (unsigned i = 0; i < w->n_entries; i++)
        bytes += ENTRY_HEADER_BYTES + w->entries[i]->len;
    return bytes;
}

uint64_t journal_write_first_index(const struct storage_write *w)
{
    uint64_t first = w->n_entries > 0 ? w->entries[0]->pos.index : UINT64_MAX;
    return w->truncate_from && w->truncate_from < first ? w->truncate_from : first;
}

static size_t encode_head(const struct storage_write *w, uint8_t out[HEAD_BYTES_MAX])
{
    uint8_t *p = out;
    *p++ = w->seq ? KIND_HARD_STATE : KIND_ENTRIES_ONLY;
    if (w->seq) {
        bytes_put_be(p, w->hard_state.term, 8);
        bytes_put_be(p + 8, w->hard_state.vote.hi, 8);
        bytes_put_be(p + 16, w->hard_state.vote.lo, 8);
        bytes_put_be(p + 24, w->hard_state.commit, 8);
        p += HARD_STATE_BYTES;
    }
    bytes_put_be(p, w->truncate_from, 8);
    bytes_put_be(p + 8, w->n_entries, 4);
    return (size_t)(p + 12 - out);
}

void journal_write_encode(const struct storage_write *w,
                          void (*put)(void *ctx, const void *p, size_t len), void *ctx)
{
    uint8_t head[HEAD_BYTES_MAX];
    put(ctx, head, encode_head(w, head));
    for (unsigned i = 0; i < w->n_entries; i++) {
        const struct raft_entry *e = w->entries[i];
        uint8_t header[ENTRY_HEADER_BYTES];
        bytes_put_be(header, e->pos.term, 8);
        bytes_put_be(header + 8, e->pos.index, 8);
        header[16] = (uint8_t)e->type;
        bytes_put_be(header + 17, e->len, 4);
        put(ctx, header, sizeof header);
        put(ctx, e->data, e->len);
    }
}

/* NULL: malformed. */
static struct raft_entry *read_entry(struct bytes_reader *r)
{
    struct raft_pos pos;
    pos.term = bytes_read_u64(r);
    pos.index = bytes_read_u64(r);
    uint8_t type = bytes_read_u8(r);
    uint32_t len = bytes_read_u32(r);
    const uint8_t *data = bytes_read(r, len);
    if (!bytes_reader_ok(r) || type > RAFT_ENTRY_CONFIG)
        return NULL;
    struct raft_entry *e = raft_entry_new(type, pos, len);
    if (len)
        memcpy(e->data, data, len);
    return e;
}

static bool read_entries(struct bytes_reader *r, struct storage_write *w, unsigned n)
{
    for (w->n_entries = 0; w->n_entries < n; w->n_entries++)
        if (!(w->entries[w->n_entries] = read_entry(r)))
            return false;
    return true;
}

bool journal_write_next(struct bytes_reader *r, struct storage_write **ret_write)
{
    struct raft_hard_state hs = {0};
    if (r->left == 0)
        return false;
    uint8_t kind = bytes_read_u8(r);
    if (kind == KIND_NONE)
        return false;
    if (kind == KIND_HARD_STATE) {
        hs.term = bytes_read_u64(r);
        hs.vote = bytes_read_uuid(r);
        hs.commit = bytes_read_u64(r);
    }
    uint64_t truncate_from = bytes_read_u64(r);
    uint32_t n = bytes_read_u32(r);
    r->failed |= kind > KIND_ENTRIES_ONLY || n > r->left / ENTRY_HEADER_BYTES;
    if (r->failed)
        return false;
    struct storage_write *w = storage_write_new(n);
    w->seq = kind == KIND_HARD_STATE;
    w->hard_state = hs;
    w->truncate_from = truncate_from;
    if (!read_entries(r, w, n)) {
        r->failed = true;
        storage_write_free(&w);
        return false;
    }
    *ret_write = w;
    return true;
}
