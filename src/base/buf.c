/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/number.h"

void buf_grow(struct buf *b, size_t more)
{
    ASSERT(more <= SIZE_MAX / 2 - b->len);
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < more)
        cap *= 2;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_append(struct buf *b, const void *p, size_t len)
{
    if (len == 0)
        return;
    buf_reserve(b, len);
    memcpy(b->data + b->len, p, len);
    b->len += len;
}

void buf_append_number(struct buf *b, uint64_t number)
{
    char text[NUMBER_DIGITS_MAX + 1];
    buf_append(b, text, number_format(number, text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

const char *buf_str(struct buf *b)
{
    buf_reserve(b, 1);
    b->data[b->len] = 0;
    return (const char *)b->data;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
}

void buf_reuse(struct buf *b, size_t most)
{
    if (b->cap > most)
        buf_free(b);
    buf_clear(b);
}

void buf_free(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf)BUF_INIT;
}

uint8_t *buf_take(struct buf *b, size_t *ret_len)
{
    uint8_t *data = b->data;
    *ret_len = b->len;
    *b = (struct buf)BUF_INIT;
    return data;
}
