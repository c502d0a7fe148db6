/* SPDX-License-Identifier: MIT
 * Strict reading of JSON from clients. json-c accepts more than it should
 * (PITFALLS part 2: duplicate names, names cut at \u0000, huge numbers, raw
 * control characters), so our own scan decides what is JSON; values are made of
 * it afterwards, by json-c's parser or, of most texts, without one.
 */
#ifndef API_JSON_IN_H
#define API_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json_object.h>

#include "base/buf.h"
#include "base/err.h"

/* Members that one object may have. */
#define JSON_IN_MEMBERS_MAX 32

struct json_in_error {
    const char *what; /* static text */
    size_t at;        /* bytes before the offending one */
};

/* RFC 8259 and: UTF-8 without lone surrogates, no name twice in one object, no \u0000 in a name,
 * at most LIMIT_JSON_DEPTH levels and LIMIT_JSON_VALUES values (json-c takes hundreds of bytes for
 * each of a few bytes' text), integers within 64 bits, other numbers within 32 characters
 * and two digits of exponent. Nothing but white space after the value. INVALID. */
MUST_CHECK int json_in_check(const void *p, size_t len, struct json_in_error *ret_error);

/* json_in_check, then the value; the caller owns it (json_object_put) and NULL is the
 * JSON null. text's content is unchanged (a NUL is put after it). INVALID. */
MUST_CHECK int json_in_parse(struct buf *text, struct json_in_error *ret_error,
                             struct json_object **ret_value);

#endif
