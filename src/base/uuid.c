/* SPDX-License-Identifier: MIT */
#include "base/uuid.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_dash_position(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

int uuid_parse_text(const char *text, size_t len, struct uuid *ret_id)
{
    if (len != UUID_TEXT_LEN)
        return ERR_INVALID;
    uint64_t half[2] = {0, 0};
    unsigned n_digits = 0;
    for (size_t i = 0; i < len; i++) {
        if (is_dash_position(i)) {
            if (text[i] != '-')
                return ERR_INVALID;
            continue;
        }
        int digit = hex_digit(text[i]);
        if (digit < 0)
            return ERR_INVALID;
        half[n_digits / 16] = half[n_digits / 16] << 4 | (uint64_t)digit;
        n_digits++;
    }
    *ret_id = (struct uuid){half[0], half[1]};
    return 0;
}

char *uuid_format(struct uuid id, char out[UUID_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t half[2] = {id.hi, id.lo};
    unsigned n_digits = 0;
    for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
        if (is_dash_position(i)) {
            out[i] = '-';
            continue;
        }
        out[i] = digits[half[n_digits / 16] >> (60 - 4 * (n_digits % 16)) & 0xf];
        n_digits++;
    }
    out[UUID_TEXT_LEN] = 0;
    return out;
}
