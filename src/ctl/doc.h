/* SPDX-License-Identifier: MIT
 * JSON from outside, by json-c: checked types, nothing guessed. Absent members
 * and those of another type read as NULL, 0 or false.
 */
#ifndef CTL_DOC_H
#define CTL_DOC_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* One whole document. NULL: it is none. Owned: json_object_put(). */
struct json_object *doc_parse(const void *p, size_t len);

/* Borrowed from doc, which may be NULL. */
struct json_object *doc_member(struct json_object *doc, const char *name);
const char *doc_text(struct json_object *doc, const char *name);
/* The same with a text for what is not there. */
const char *doc_text_or(struct json_object *doc, const char *name, const char *absent);
bool doc_bool(struct json_object *doc, const char *name);
uint64_t doc_number(struct json_object *doc, const char *name);
/* Elements of an array member; 0 when it is none. */
size_t doc_count(struct json_object *doc, const char *name);
struct json_object *doc_element(struct json_object *doc, const char *name, size_t i);

/* The bytes of member NAME, or of NAME_b64; appended to out. NOT_FOUND; INVALID: not base64. */
MUST_CHECK int doc_bytes(struct json_object *doc, const char *name, struct buf *out);
/* The way back: NAME when the bytes are UTF-8, else NAME_b64. */
void doc_add_bytes(struct json_object *doc, const char *name, const void *p, size_t len);
void doc_add_number(struct json_object *doc, const char *name, uint64_t n);
void doc_add_text(struct json_object *doc, const char *name, const char *text);

/* On one line of standard output. */
void doc_print(struct json_object *doc);

#endif
