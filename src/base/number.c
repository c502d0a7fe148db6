/* SPDX-License-Identifier: MIT */
#include "base/number.h"

#include <string.h>

size_t number_format(uint64_t number, char out[NUMBER_DIGITS_MAX + 1])
{
    char digits[NUMBER_DIGITS_MAX], *first = digits + sizeof digits;
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    size_t n = (size_t)(digits + sizeof digits - first);
    memcpy(out, first, n);
    out[n] = 0;
    return n;
}

void number_format_hex(uint64_t number, char out[NUMBER_HEX_DIGITS + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < NUMBER_HEX_DIGITS; i++)
        out[i] = digits[number >> (60 - 4 * i) & 0xf];
    out[NUMBER_HEX_DIGITS] = 0;
}
