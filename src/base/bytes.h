/* SPDX-License-Identifier: MIT
 * Integers to bytes and back: big-endian for what is stored or sent, and
 * LEB128 varints where most values are small. A reader with one sticky error:
 * read everything, then ask bytes_reader_ok() once.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/uuid.h"

#define BYTES_VARINT_MAX 10

static inline void bytes_put_be(uint8_t *p, uint64_t v, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        p[i] = (uint8_t)(v >> (8 * (n_bytes - 1 - i)));
}

static inline uint64_t bytes_get_be(const uint8_t *p, unsigned n_bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n_bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_reserve(b, 1);
    b->data[b->len++] = v;
}

static inline void buf_put_be(struct buf *b, uint64_t v, unsigned n_bytes)
{
    uint8_t p[8];
    bytes_put_be(p, v, n_bytes);
    buf_append(b, p, n_bytes);
}

static inline void buf_put_u16(struct buf *b, uint16_t v)
{
    buf_put_be(b, v, 2);
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
    buf_put_be(b, v, 4);
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
    buf_put_be(b, v, 8);
}

static inline void buf_put_varint(struct buf *b, uint64_t v)
{
    buf_reserve(b, BYTES_VARINT_MAX);
    for (; v > 0x7f; v >>= 7)
        b->data[b->len++] = (uint8_t)(v | 0x80);
    b->data[b->len++] = (uint8_t)v;
}

static inline void buf_put_uuid(struct buf *b, struct uuid id)
{
    buf_put_u64(b, id.hi);
    buf_put_u64(b, id.lo);
}

/* Length first as varint, then the bytes. */
static inline void buf_put_string(struct buf *b, const void *p, size_t len)
{
    buf_put_varint(b, len);
    buf_append(b, p, len);
}

/* Reads untrusted bytes. After a failed read every further read gives zero. */
struct bytes_reader {
    const uint8_t *p; /* borrowed */
    size_t left;      /* bytes */
    bool failed;
};

static inline struct bytes_reader bytes_reader(const void *p, size_t len)
{
    return (struct bytes_reader){p, len, false};
}

/* Everything read so far was there. */
static inline bool bytes_reader_ok(const struct bytes_reader *r)
{
    return !r->failed;
}

/* Everything read so far was there, and nothing is left over. */
static inline bool bytes_reader_done(const struct bytes_reader *r)
{
    return !r->failed && r->left == 0;
}

/* Borrows the next len bytes; NULL when there are not as many. */
static inline const uint8_t *bytes_read(struct bytes_reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += len;
    r->left -= len;
    return p;
}

static inline uint64_t bytes_read_be(struct bytes_reader *r, unsigned n_bytes)
{
    const uint8_t *p = bytes_read(r, n_bytes);
    return p ? bytes_get_be(p, n_bytes) : 0;
}

static inline uint8_t bytes_read_u8(struct bytes_reader *r)
{
    return (uint8_t)bytes_read_be(r, 1);
}

static inline uint16_t bytes_read_u16(struct bytes_reader *r)
{
    return (uint16_t)bytes_read_be(r, 2);
}

static inline uint32_t bytes_read_u32(struct bytes_reader *r)
{
    return (uint32_t)bytes_read_be(r, 4);
}

static inline uint64_t bytes_read_u64(struct bytes_reader *r)
{
    return bytes_read_be(r, 8);
}

static inline uint64_t bytes_read_varint(struct bytes_reader *r)
{
    uint64_t v = 0;
    if (!r->failed && r->left > 0 && *r->p < 0x80) { /* most of them */
        r->left--;
        return *r->p++;
    }
    for (unsigned i = 0; i < BYTES_VARINT_MAX; i++) {
        const uint8_t *p = bytes_read(r, 1);
        if (!p)
            return 0;
        if (i == BYTES_VARINT_MAX - 1 && *p > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(*p & 0x7f) << (7 * i);
        if (!(*p & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}

static inline struct uuid bytes_read_uuid(struct bytes_reader *r)
{
    uint64_t hi = bytes_read_u64(r);
    uint64_t lo = bytes_read_u64(r);
    return (struct uuid){hi, lo};
}

/* Borrows a string written by buf_put_string; fails when longer than max bytes. */
static inline const uint8_t *bytes_read_string(struct bytes_reader *r, size_t max, size_t *ret_len)
{
    uint64_t len = bytes_read_varint(r);
    if (len > max) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = bytes_read(r, (size_t)len);
    if (p)
        *ret_len = (size_t)len;
    return p;
}

#endif
