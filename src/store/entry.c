/* SPDX-License-Identifier: MIT
 * Entries as stored, and the chain that joins them.
 */
#include "store/entry.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

static uint32_t entry_crc(uint64_t index, const void *after_crc, size_t len)
{
    uint8_t index_bytes[8];
    bytes_put_be(index_bytes, index, 8);
    return crc32c(crc32c(0, index_bytes, sizeof index_bytes), after_crc, len);
}

struct store_link store_entry_encode(const struct raft_entry *e, struct store_link before,
                                     uint8_t *out)
{
    bytes_put_be(out + 4, before.crc, 4);
    bytes_put_be(out + 8, e->pos.term, 8);
    out[16] = (uint8_t)e->type;
    memcpy(out + STORE_ENTRY_HEADER_BYTES, e->data, e->len);
    uint32_t crc = entry_crc(e->pos.index, out + 4, STORE_ENTRY_HEADER_BYTES - 4 + e->len);
    bytes_put_be(out, crc, 4);
    return (struct store_link){e->pos, crc};
}

int store_entry_decode(uint64_t index, const void *p, size_t len, struct store_entry_view *ret_view)
{
    const uint8_t *b = p;
    if (len < STORE_ENTRY_HEADER_BYTES || len - STORE_ENTRY_HEADER_BYTES > UINT32_MAX)
        return ERR_CORRUPT;
    uint32_t crc = (uint32_t)bytes_get_be(b, 4);
    if (crc != entry_crc(index, b + 4, len - 4) || b[16] > RAFT_ENTRY_CONFIG)
        return ERR_CORRUPT;
    *ret_view = (struct store_entry_view){
        .link = {{bytes_get_be(b + 8, 8), index}, crc},
        .before_crc = (uint32_t)bytes_get_be(b + 4, 4),
        .type = b[16],
        .data = b + STORE_ENTRY_HEADER_BYTES,
        .len = (uint32_t)(len - STORE_ENTRY_HEADER_BYTES),
    };
    return 0;
}

bool store_entry_follows(const struct store_entry_view *view, struct store_link before)
{
    return view->link.pos.index == before.pos.index + 1 && view->link.pos.term >= before.pos.term &&
           view->before_crc == before.crc;
}

struct raft_entry *store_entry_copy(const struct store_entry_view *view)
{
    struct raft_entry *e = raft_entry_new(view->type, view->link.pos, view->len);
    memcpy(e->data, view->data, view->len);
    return e;
}
