/* SPDX-License-Identifier: MIT
 * Writing JSON: strings escaped as RFC 8259 wants, ids and log ids as API.md
 * shows them.
 */
#ifndef API_JSON_OUT_H
#define API_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "node/request.h"

/* The string in quotes; everything beyond ASCII stays UTF-8. The bytes must be
 * valid UTF-8: ERR_INVALID otherwise, and b is unchanged. */
MUST_CHECK int json_out_string(struct buf *b, const void *p, size_t len);
/* For our own texts and what was checked before; bytes that are not UTF-8 become U+FFFD. */
void json_out_text(struct buf *b, const void *p, size_t len);
/* A value of the store: a string, or {"value_b64":"..."} when it is not UTF-8. */
void json_out_value(struct buf *b, const void *p, size_t len);
/* "name":"..." , or "name_b64":"..." when the bytes are not UTF-8. */
void json_out_member(struct buf *b, const char *name, const void *p, size_t len);
/* base64 without quotes and padding, of the alphabet that stands in URLs as it is. */
void json_out_base64_url(struct buf *b, const void *p, size_t len);
/* "550e...", or null for zero. */
void json_out_uuid(struct buf *b, struct uuid id);
/* LOGID, or null for index 0. */
void json_out_log_id(struct buf *b, const struct node_log_id *id);
/* JSON as we write it, with line ends and indents, for people. */
void json_out_pretty(struct buf *b, const void *json, size_t len);

#endif
