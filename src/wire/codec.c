/* SPDX-License-Identifier: MIT
 * Pieces that several payloads share.
 */
#include "wire/codec.h"

#include <string.h>

#include "base/assert.h"

void wire_put_bool(struct buf *out, bool value)
{
    buf_put_u8(out, value ? 1 : 0);
}

bool wire_read_bool(struct bytes_reader *r)
{
    uint8_t v = bytes_read_u8(r);
    if (v > 1)
        r->failed = true;
    return v == 1;
}

void wire_put_pos(struct buf *out, struct raft_pos pos)
{
    ASSERT((pos.term == 0) == (pos.index == 0));
    buf_put_varint(out, pos.term);
    buf_put_varint(out, pos.index);
}

struct raft_pos wire_read_pos(struct bytes_reader *r)
{
    struct raft_pos pos;
    pos.term = bytes_read_varint(r);
    pos.index = bytes_read_varint(r);
    if ((pos.term == 0) != (pos.index == 0))
        r->failed = true;
    return pos;
}

void wire_put_addr(struct buf *out, const char addr[LIMIT_ADDR_BYTES + 1])
{
    const char *end = memchr(addr, 0, LIMIT_ADDR_BYTES + 1);
    ASSERT(end);
    buf_put_string(out, addr, (size_t)(end - addr));
}

void wire_read_addr(struct bytes_reader *r, char ret_addr[LIMIT_ADDR_BYTES + 1])
{
    size_t len = 0;
    const uint8_t *p = bytes_read_string(r, LIMIT_ADDR_BYTES, &len);
    ret_addr[0] = 0;
    if (!p || len == 0)
        return;
    memcpy(ret_addr, p, len);
    ret_addr[len] = 0;
    struct addr parsed;
    if (strlen(ret_addr) != len || addr_parse(ret_addr, &parsed) < 0)
        r->failed = true;
}

unsigned wire_read_count(struct bytes_reader *r, size_t max, size_t element_bytes_min)
{
    uint64_t n = bytes_read_varint(r);
    if (n > max || n > r->left / element_bytes_min) {
        r->failed = true;
        return 0;
    }
    return (unsigned)n;
}
