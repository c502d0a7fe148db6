/* SPDX-License-Identifier: MIT
 * Strict reading of JSON from clients. json-c accepts more than it should
 * (PITFALLS part 2: duplicate names, names cut at \u0000, huge numbers, raw
 * control characters), so our own scan decides what is JSON; json-c makes values
 * of it afterwards. What every write and read consists of is read without it, value
 * by value by those who know what they expect: objects would take most of a write's
 * time, and of a batch's memory.
 */
#ifndef API_JSON_IN_H
#define API_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* How far the scan came. */
struct json_scan {
    const uint8_t *start, *p, *end;
    unsigned depth, n_values;
    bool escapes;     /* in the last string */
    const char *what; /* NULL: no error so far */
};

/* Reads a text of a known shape, as strictly as json_in_check() but for two things that are left to
 * the caller: no name twice, and no more values than there may be. After the first thing that is no
 * JSON or not as expected, everything else is false too; json_in_check() tells which it was. An
 * object is read so, an array likewise:
 *
 *      json_read_open('{')  { json_read_name()  its value }  until there is no more name
 */
struct json_reader {
    struct json_scan scan;
    bool opened;          /* a bracket, just now: no comma comes next */
    struct buf unescaped; /* the strings that had escapes */
};

/* Borrowed from the text or the reader. */
struct json_string {
    const uint8_t *p;
    size_t len;
};

/* Borrows the text; its content is unchanged (a NUL is put after it). */
void json_reader_init(struct json_reader *r, struct buf *text);
void json_reader_free(struct json_reader *r);
/* A bracket of this kind comes next, and is now behind. */
bool json_read_open(struct json_reader *r, char opening);
/* There is another item, which comes next; false: none, and the closing bracket is behind. */
bool json_read_more(struct json_reader *r, char closing);
/* There is another member of the object, whose value comes next; else as json_read_more(). */
bool json_read_name(struct json_reader *r, struct json_string *ret_name);
/* Outputs are untouched when something else comes next. */
bool json_read_string(struct json_reader *r, struct json_string *ret_string);
/* Nothing is left, and all was as expected. */
bool json_read_end(struct json_reader *r);

static inline bool json_string_is(const struct json_string *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->p, text, s->len) == 0;
}

#endif
