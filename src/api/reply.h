/* SPDX-License-Identifier: MIT
 * Answers in the classic dialect, and errors in the shape of /v1 where the path
 * is of that. HTTP statuses are chosen here and in the handlers and nowhere else.
 */
#ifndef API_REPLY_H
#define API_REPLY_H

#include "api/http.h"

/* The body in x->out is complete. */
void reply_ok(struct http_exchange *x);
/* {"Ok":"word"} */
void reply_ok_word(struct http_exchange *x, const char *word);
/* {"Err":json} */
void reply_err_json(struct http_exchange *x, unsigned status, const char *json);
/* {"Err":{"name":"text"}}, or the same in the shape of /v1; the text is escaped. Replaces what
 * x->out held. */
void reply_err(struct http_exchange *x, unsigned status, const char *name, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* {"Err":{"APIError":{"name":"text"}}} */
void reply_api_err(struct http_exchange *x, unsigned status, const char *name, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* An error of /v1 with details, a JSON object (NULL: an empty one): {"error":{"code":"name as in
 * snake_case","message":...,"retryable":...,"request_id":...,"details":...}}. */
void reply_v1_err(struct http_exchange *x, unsigned status, const char *name, const char *details,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
#define reply_bad_request(x, ...) reply_err((x), 400, "BadRequest", __VA_ARGS__)
#define reply_too_large(x, ...)   reply_err((x), 413, "TooLarge", __VA_ARGS__)

/* The body as JSON in x->json, NULL being null; false: it is none, and 400 is answered. */
bool reply_read_json(struct http_exchange *x);
/* After a body was refused that was not as expected: when it is no JSON at all, that is answered
 * instead. */
void reply_malformed(struct http_exchange *x);

/* What x->request->err means to any client, whatever was asked. */
void reply_node_error(struct http_exchange *x);

#endif
