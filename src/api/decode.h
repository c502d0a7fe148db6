/* SPDX-License-Identifier: MIT
 * What paths, queries and headers carry in disguise: percent-encoding, base64,
 * numbers and durations. Pure functions over bytes from clients.
 */
#ifndef API_DECODE_H
#define API_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Percent-decodes once: %2F is a slash then, %2541 stays %41. With plus_is_space also + as a
 * space, as the queries of forms have it. The result, of at most max bytes, may hold NULs. INVALID,
 * TOO_LARGE; what is in out then has no meaning. */
MUST_CHECK int decode_percent(const char *in, size_t len, bool plus_is_space, char *out, size_t max,
                              size_t *ret_len);
/* base64 of either alphabet, with or without padding, and nothing else (a blank is +, which queries
 * turn into one). Appends to out; INVALID leaves it as it was. */
MUST_CHECK int decode_base64(const char *in, size_t len, struct buf *out);

/* Decimal digits and nothing else. INVALID; TOO_LARGE beyond 64 bits. */
MUST_CHECK int decode_u64(const char *in, size_t len, uint64_t *ret);
/* The same, with an optional minus or plus. */
MUST_CHECK int decode_i64(const char *in, size_t len, int64_t *ret);
/* A decimal number and its unit ms, s, m or h, as in the configuration. INVALID, TOO_LARGE. */
MUST_CHECK int decode_duration(const char *in, size_t len, uint64_t *ret_ms);

#endif
