/* SPDX-License-Identifier: MIT
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef API_UTF8_H
#define API_UTF8_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the character at p, 1 to 4; 0 when there is none. len > 0. */
static inline size_t utf8_char_len(const uint8_t *p, size_t len)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool narrow = (c == 0xe0 && p[1] < 0xa0) || (c == 0xf0 && p[1] < 0x90); /* overlong */
    bool outside = (c == 0xed && p[1] > 0x9f) || (c == 0xf4 && p[1] > 0x8f);
    return narrow || outside ? 0 : n;
}

/* Writes the character c, which is a scalar value of Unicode; returns its bytes, 1 to 4. */
static inline size_t utf8_put(uint8_t *p, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        p[i] = (uint8_t)(0x80 | (c & 0x3f));
    p[0] = (uint8_t)(n == 1 ? c : (0xf0u << (4 - n)) | c);
    return n;
}

/* ASCII that is printable, no quote and no backslash: JSON has it as it is. */
static inline bool utf8_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Bytes from p on that are plain. Eight at a time: a byte that is not sets its highest bit, below
 * which nothing is carried or borrowed. */
static inline size_t utf8_plain_len(const uint8_t *p, size_t len)
{
    const uint64_t ones = 0x0101010101010101, highs = 0x80 * ones;
    size_t n = 0;
    for (; len - n >= 8; n += 8) {
        uint64_t eight, quote, backslash;
        memcpy(&eight, p + n, 8);
        eight = le64toh(eight);
        quote = eight ^ '"' * ones;
        backslash = eight ^ '\\' * ones;
        uint64_t odd =
            (eight | (eight + ones) | (eight - 0x20 * ones) | (quote - ones) | (backslash - ones)) &
            highs;
        if (odd)
            return n + (size_t)__builtin_ctzll(odd) / 8;
    }
    while (n < len && utf8_is_plain(p[n]))
        n++;
    return n;
}

static inline bool utf8_is_valid(const void *p, size_t len)
{
    const uint8_t *s = p, *end = s + len;
    while (s < end) {
        size_t n = utf8_char_len(s, (size_t)(end - s));
        if (n == 0)
            return false;
        s += n;
    }
    return true;
}

#endif
