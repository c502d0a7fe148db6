/* SPDX-License-Identifier: MIT */
#include "api/decode.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int decode_percent(const char *in, size_t len, bool plus_is_space, char *out, size_t max,
                   size_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++, n++) {
        char c = in[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit(in[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(in[i + 2]);
            if (low < 0)
                return ERR_INVALID;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (n == max)
            return ERR_TOO_LARGE;
        out[n] = c;
    }
    *ret_len = n;
    return 0;
}

/* ---- base64 ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-' || c == ' ')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* The length without padding; INVALID when there is more or less padding than there should be. */
static int strip_padding(const char *in, size_t *len)
{
    size_t n = *len;
    while (n > 0 && in[n - 1] == '=' && *len - n < 2)
        n--;
    if (n < *len && *len % 4 != 0)
        return ERR_INVALID;
    *len = n;
    return n % 4 == 1 ? ERR_INVALID : 0;
}

int decode_base64(const char *in, size_t len, struct buf *out)
{
    size_t before = out->len;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    if (strip_padding(in, &len) != 0)
        return ERR_INVALID;
    buf_reserve(out, len);
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(in[i]);
        if (digit < 0) {
            out->len = before;
            return ERR_INVALID;
        }
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        out->data[out->len++] = (uint8_t)(bits >> n_bits);
    }
    if ((bits & ((1u << n_bits) - 1)) == 0) /* one key, one spelling */
        return 0;
    out->len = before;
    return ERR_INVALID;
}

/* ---- numbers ---- */

int decode_u64(const char *in, size_t len, uint64_t *ret)
{
    uint64_t value = 0;
    if (len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++)
        if (in[i] < '0' || in[i] > '9')
            return ERR_INVALID;
    for (size_t i = 0; i < len; i++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(in[i] - '0'), &value))
            return ERR_TOO_LARGE;
    *ret = value;
    return 0;
}

int decode_i64(const char *in, size_t len, int64_t *ret)
{
    bool negative = len > 0 && in[0] == '-', sign = negative || (len > 0 && in[0] == '+');
    uint64_t value;
    int err = decode_u64(in + sign, len - sign, &value);
    if (err)
        return err;
    if (value > (uint64_t)INT64_MAX + negative)
        return ERR_TOO_LARGE;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}

int decode_duration(const char *in, size_t len, uint64_t *ret_ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = 0;
    uint64_t value;
    while (digits < len && in[digits] >= '0' && in[digits] <= '9')
        digits++;
    int err = decode_u64(in, digits, &value);
    if (err)
        return err;
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) != len - digits ||
            memcmp(units[i].name, in + digits, len - digits) != 0)
            continue;
        return __builtin_mul_overflow(value, units[i].ms, ret_ms) ? ERR_TOO_LARGE : 0;
    }
    return ERR_INVALID;
}
