/* SPDX-License-Identifier: MIT
 * Fields in as few bytes as they need, big-endian.
 */
#include "store/state_record.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"

#define CRC_BYTES          4
#define FLAG_CHUNKED       0x40
#define FLAG_ATTRS         0x80
#define REVISION_WIDTH_MIN 4 /* enough for long: a width that grows splits pages */

static unsigned width_of(uint64_t v)
{
    unsigned n = 1;
    while (n < 8 && v >> (8 * n))
        n++;
    return n;
}

static unsigned revision_width(const struct kv_value *v)
{
    unsigned n = width_of(v->revision | v->create_revision);
    return n > REVISION_WIDTH_MIN ? n : REVISION_WIDTH_MIN;
}

static uint32_t record_crc(const void *key, size_t key_len, const uint8_t *p, size_t len)
{
    return crc32c(crc32c(0, key, key_len), p + CRC_BYTES, len - CRC_BYTES);
}

static uint8_t *put(uint8_t *p, uint64_t v, unsigned n_bytes)
{
    bytes_put_be(p, v, n_bytes);
    return p + n_bytes;
}

static size_t attrs_bytes(const struct kv_value *value)
{
    return value->attrs_len ? 1 + value->attrs_len : 0;
}

bool state_record_must_be_chunked(const struct kv_value *value)
{
    return value->len + attrs_bytes(value) > STATE_INLINE_BYTES_MAX;
}

size_t state_record_encode(struct state_record *r, const void *key, size_t key_len, uint8_t *out)
{
    unsigned wide = revision_width(&r->value), narrow = width_of(r->value.version);
    uint8_t *p = out + CRC_BYTES;
    *p++ = (uint8_t)((wide - 1) | (narrow - 1) << 3 | (r->chunked ? FLAG_CHUNKED : 0) |
                     (r->value.attrs_len ? FLAG_ATTRS : 0));
    p = put(p, r->value.revision, wide);
    p = put(p, r->value.create_revision, wide);
    p = put(p, r->value.version, narrow);
    if (r->value.attrs_len) {
        *p++ = (uint8_t)r->value.attrs_len;
        memcpy(p, r->value.attrs, r->value.attrs_len);
        p += r->value.attrs_len;
    }
    ASSERT(r->chunked || !state_record_must_be_chunked(&r->value));
    if (r->chunked) {
        p = put(p, r->id, 8);
        p = put(p, r->value.len, 8);
        p = put(p, r->value_crc, 4);
    } else if (r->value.len > 0) {
        memcpy(p, r->value.data, r->value.len);
        p += r->value.len;
    }
    size_t len = (size_t)(p - out);
    r->crc = record_crc(key, key_len, out, len);
    bytes_put_be(out, r->crc, CRC_BYTES);
    return len;
}

static void read_value(struct bytes_reader *in, uint8_t flags, struct state_record *r)
{
    unsigned wide = (flags & 7) + 1, narrow = (flags >> 3 & 7) + 1;
    r->value.revision = bytes_read_be(in, wide);
    r->value.create_revision = bytes_read_be(in, wide);
    r->value.version = bytes_read_be(in, narrow);
    if (flags & FLAG_ATTRS) {
        r->value.attrs_len = bytes_read_u8(in);
        r->value.attrs = bytes_read(in, r->value.attrs_len);
    }
    r->chunked = flags & FLAG_CHUNKED;
    if (r->chunked) {
        r->id = bytes_read_u64(in);
        r->value.len = (size_t)bytes_read_u64(in);
        r->value_crc = bytes_read_u32(in);
    } else {
        r->value.len = in->left;
        r->value.data = bytes_read(in, in->left);
    }
}

int state_record_decode(const void *key, size_t key_len, const void *p, size_t len,
                        struct state_record *ret_record)
{
    struct bytes_reader in = bytes_reader(p, len);
    struct state_record r = {.crc = bytes_read_u32(&in)};
    uint8_t flags = bytes_read_u8(&in);
    if (!bytes_reader_ok(&in) || r.crc != record_crc(key, key_len, p, len))
        return ERR_CORRUPT;
    read_value(&in, flags, &r);
    if (!bytes_reader_done(&in) || r.value.len > LIMIT_VALUE_BYTES)
        return ERR_CORRUPT;
    *ret_record = r;
    return 0;
}
