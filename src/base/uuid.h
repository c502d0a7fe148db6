/* SPDX-License-Identifier: MIT
 * 128-bit ids of nodes and clusters. Making one is libuuid's work and happens
 * in store/; this is the value, its order and its text.
 */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define UUID_TEXT_LEN 36 /* without NUL */

struct uuid {
    uint64_t hi, lo;
};

#define UUID_ZERO ((struct uuid){0, 0})

static inline bool uuid_equal(struct uuid a, struct uuid b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

static inline bool uuid_is_zero(struct uuid a)
{
    return (a.hi | a.lo) == 0;
}

/* <0, 0, >0; the order is that of the text form. */
static inline int uuid_compare(struct uuid a, struct uuid b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    if (a.lo != b.lo)
        return a.lo < b.lo ? -1 : 1;
    return 0;
}

/* Reads exactly the 36-character form, either case. ERR_INVALID otherwise. */
MUST_CHECK int uuid_parse_text(const char *text, size_t len, struct uuid *ret_id);
/* Writes the lower-case form and a NUL. Returns out. */
char *uuid_format(struct uuid id, char out[UUID_TEXT_LEN + 1]);

#endif
