/* SPDX-License-Identifier: MIT
 * The Idempotency-Key header: a write that carries one is applied once, however
 * often and to whichever node it is sent (kv/idempotency.h). The key stands for
 * one request: its method, path, query, conditions, content type and body.
 */
#ifndef API_ONCE_H
#define API_ONCE_H

#include "api/http.h"

/* Whether the key, if there is one, can be one; 400 otherwise. Needs the headers only. */
bool once_check(struct http_exchange *x);
/* To be called with the whole body in x->body, before kv_body_encode() appends to the same body of
 * a NODE_WRITE: appends what names the command when the client gave it a name. */
void once_put(const struct http_exchange *x, struct buf *body);

/* The errors that only such a write has: answered, true. */
bool once_reply_error(struct http_exchange *x);

#endif
