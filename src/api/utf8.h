/* SPDX-License-Identifier: MIT
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef API_UTF8_H
#define API_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* Bytes from p on that JSON has as they are: ASCII that is printable, no quote and no backslash. */
static inline size_t utf8_plain_len(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] >= 0x20 && p[n] < 0x7f && p[n] != '"' && p[n] != '\\')
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
