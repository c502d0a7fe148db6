/* SPDX-License-Identifier: MIT */
#include "ctl/text.h"

#include <string.h>

/* The length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates), 0: none. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    unsigned c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    return c < least[n] || c > 0x10ffff || surrogate ? 0 : n;
}

bool text_is_utf8(const void *bytes, size_t len)
{
    const unsigned char *p = bytes, *end = p + len;
    while (p < end) {
        size_t n = utf8_sequence(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_base64(const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *p = bytes;
    buf_reserve(out, (len / 3 + 1) * 4);
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned v = (unsigned)p[i] << 16;
        v |= left > 1 ? (unsigned)p[i + 1] << 8 : 0;
        v |= left > 2 ? p[i + 2] : 0;
        char four[4] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                        left > 1 ? base64_digits[v >> 6 & 63] : '=',
                        left > 2 ? base64_digits[v & 63] : '='};
        buf_append(out, four, sizeof four);
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int text_from_base64(const char *text, size_t len, struct buf *out)
{
    unsigned v = 0, bits = 0;
    if (len % 4 == 0 && len > 0 && text[len - 1] == '=')
        len -= text[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1)
        return ERR_INVALID;
    buf_reserve(out, len / 4 * 3 + 3);
    for (size_t i = 0; i < len; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0)
            return ERR_INVALID;
        v = (v << 6 | (unsigned)digit) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            unsigned char byte = (unsigned char)(v >> (bits - 8));
            bits -= 8;
            buf_append(out, &byte, 1);
        }
    }
    return v & ((1u << bits) - 1) ? ERR_INVALID : 0;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void text_percent(const void *bytes, size_t len, bool keep_slash, struct buf *out)
{
    const char *p = bytes;
    for (size_t i = 0; i < len; i++) {
        bool plain = is_alphanumeric(p[i]) || (p[i] != '\0' && strchr("-._~", p[i])) ||
                     (keep_slash && p[i] == '/');
        if (plain)
            buf_append(out, p + i, 1);
        else
            buf_printf(out, "%%%02X", (unsigned char)p[i]);
    }
}

void text_shell(const char *word, struct buf *out)
{
    bool plain = word[0] != '\0';
    for (const char *p = word; *p; p++)
        plain = plain && (is_alphanumeric(*p) || strchr("-._~/:@%+=,", *p));
    if (plain) {
        buf_append_str(out, word);
        return;
    }
    buf_append_str(out, "'");
    for (const char *p = word; *p; p++)
        buf_printf(out, *p == '\'' ? "'\\''" : "%c", *p);
    buf_append_str(out, "'");
}

void text_visible(const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *p = bytes, *end = p + len;
    while (p < end) {
        size_t n = utf8_sequence(p, (size_t)(end - p));
        bool control = p[0] < 0x20 || p[0] == 0x7f || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        if (n == 0 || control) {
            buf_printf(out, "\\x%02x", p[0]);
            p++;
            continue;
        }
        if (p[0] == '\\')
            buf_append_str(out, "\\");
        buf_append(out, p, n);
        p += n;
    }
}

void text_bytes(double n, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    for (; n >= 1024 && unit < 4; unit++)
        n /= 1024;
    buf_printf(out, unit == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[unit]);
}

void text_grouped(unsigned long long n, struct buf *out)
{
    if (n >= 1000) {
        text_grouped(n / 1000, out);
        buf_printf(out, ",%03llu", n % 1000);
    } else {
        buf_printf(out, "%llu", n);
    }
}

void text_keys(unsigned long long n, struct buf *out)
{
    text_grouped(n, out);
    buf_append_str(out, n == 1 ? " key" : " keys");
}
