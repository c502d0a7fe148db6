/* SPDX-License-Identifier: MIT
 * What reading (keys.c) and writing (keys_write.c) one key of /v1 share.
 */
#ifndef API_KEYS_H
#define API_KEYS_H

#include "api/etag.h"
#include "api/http.h"
#include "kv/cursor.h"

/* The tags of a header; text NULL: none. Answers 400 and false when they are none. */
bool keys_read_tags(struct http_exchange *x, const char *name, const char *text,
                    struct etag_list *ret);
/* Into the headers of the answer. */
void keys_tell_revision(struct http_exchange *x, const struct kv_value *info);
/* 412: the key is as info says, all 0 when it is not there. */
void keys_refuse_mismatch(struct http_exchange *x, const struct kv_value *now);
/* 404 */
void keys_refuse_missing(struct http_exchange *x);

#endif
