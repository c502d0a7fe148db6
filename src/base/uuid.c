/* SPDX-License-Identifier: MIT */
#include "base/uuid.h"

#include <string.h>

#include "base/number.h"

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

/* 8-4-4-4-12 digits */
char *uuid_format(struct uuid id, char out[UUID_TEXT_LEN + 1])
{
    char high[NUMBER_HEX_DIGITS + 1], low[NUMBER_HEX_DIGITS + 1];
    number_format_hex(id.hi, high);
    number_format_hex(id.lo, low);
    memcpy(out, high, 8);
    memcpy(out + 9, high + 8, 4);
    memcpy(out + 14, high + 12, 4);
    memcpy(out + 19, low, 4);
    memcpy(out + 24, low + 4, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[UUID_TEXT_LEN] = 0;
    return out;
}
