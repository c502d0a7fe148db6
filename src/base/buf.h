/* SPDX-License-Identifier: MIT
 * A byte buffer that grows. Zero-initialised (BUF_INIT) it is empty and valid.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct buf {
    uint8_t *data; /* owned */
    size_t len;    /* bytes used */
    size_t cap;    /* bytes allocated */
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

/* Makes room for at least `more` bytes beyond len. */
void buf_grow(struct buf *b, size_t more);
static inline void buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->len < more) /* seldom */
        buf_grow(b, more);
}
void buf_append(struct buf *b, const void *p, size_t len);
/* In decimal. */
void buf_append_number(struct buf *b, uint64_t number);
static inline void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s)); /* here, where the compiler knows the length of a literal */
}
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds a NUL after len without counting it; the result is b->data as a string. */
const char *buf_str(struct buf *b);
/* Empties the buffer and keeps its memory. */
void buf_clear(struct buf *b);
/* Empties the buffer and keeps its memory unless that is more than `most` bytes. */
void buf_reuse(struct buf *b, size_t most);
/* Frees the memory; the buffer is empty and valid afterwards. */
void buf_free(struct buf *b);
/* Hands the bytes over: the caller owns the returned memory (mem_free), the buffer is empty. */
uint8_t *buf_take(struct buf *b, size_t *ret_len);

#endif
