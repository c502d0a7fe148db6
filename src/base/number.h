/* SPDX-License-Identifier: MIT
 * Numbers as text, for where every request would pay for printf().
 */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define NUMBER_DIGITS_MAX 20 /* of 64 bits in decimal */
#define NUMBER_HEX_DIGITS 16 /* likewise, leading zeros and all */

/* Writes the decimal digits and a NUL. Returns how many digits there are. */
size_t number_format(uint64_t number, char out[NUMBER_DIGITS_MAX + 1]);
/* Writes all sixteen digits, in lower case, and a NUL. */
void number_format_hex(uint64_t number, char out[NUMBER_HEX_DIGITS + 1]);

#endif
