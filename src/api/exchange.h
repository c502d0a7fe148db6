/* SPDX-License-Identifier: MIT
 * What happens to an exchange before and after its handler and has nothing to
 * do with libmicrohttpd: headers that matter, the body within its limits, the end.
 */
#ifndef API_EXCHANGE_H
#define API_EXCHANGE_H

#include "api/http.h"
#include "base/rng.h"

/* Exchanges that are over, kept with their small buffers for the next requests of their loop: most
 * requests then need no memory that is not at hand. */
struct http_spares {
    struct http_exchange *first; /* chained by next_done; owned */
    unsigned n;
};

/* Zeroed but for its buffers, which are empty. */
struct http_exchange *http_exchange_new(struct http_spares *spares);
void http_exchange_free(struct http_exchange *x, struct http_spares *spares);
void http_spares_free(struct http_spares *spares);

enum http_method http_method_of(const char *text);
/* Keeps the first of each header that matters (borrowed), and any Host that is not ours. */
void http_note_header(struct http_exchange *x, const char *name, size_t name_len, const char *value,
                      size_t value_len);
/* The client's own id when it is harmless in logs and headers, else a new one. */
void http_choose_request_id(struct http_exchange *x, struct rng *rng);

/* The request is refused, and that is said before its body has come. */
bool http_answers_before_body(const struct http_exchange *x);
/* Makes room for the length that the client claims, within reason. */
void http_reserve_body(struct http_exchange *x);
/* Takes len bytes of the body, or refuses the request and drops them. False: so much of a
 * refused body came that the connection is to be closed. */
bool http_take_body(struct http_exchange *x, const void *p, size_t len);

/* The answer is complete, after took_us: writes it as the client likes to read it, and says in the
 * log what was slow or failed. */
void http_complete(struct http_exchange *x, uint64_t took_us);
/* Copies what the piece in x->out has of the stream from `at` on; 0: it has nothing of it. */
size_t http_copy_piece(const struct http_exchange *x, uint64_t at, char *to, size_t max);

#endif
