/* SPDX-License-Identifier: MIT
 * A peer for test_net: an HTTP server on raw sockets that behaves as badly as
 * it is told. A thread accepts, and one more per connection serves.
 */
#ifndef TESTS_UNIT_HTTP_PEER_H
#define TESTS_UNIT_HTTP_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"

struct http_peer; /* opaque */

/* One request as it came. */
struct http_request {
    struct http_peer *peer;
    int fd;
    unsigned nth;     /* of all requests to this peer, from 1 */
    const char *head; /* request line and headers, with NUL */
    const uint8_t *body;
    size_t len;
};

/* Answers by http_answer() or not at all; false closes the connection. */
typedef bool http_handler(const struct http_request *r);

/* What the peer saw. */
struct http_seen {
    atomic_uint connections, requests;
    atomic_uint now, most; /* requests being handled at the same time */
    atomic_uint bad;       /* malformed, not POST, without the type, with Expect */
};

/* Listens on a free port of 127.0.0.1; ctx is the handler's. */
struct http_peer *http_peer_start(http_handler *handler, void *ctx);
const char *http_peer_addr(const struct http_peer *p);
void *http_peer_ctx(const struct http_peer *p);
const struct http_seen *http_peer_seen(const struct http_peer *p);
/* Refuses new connections from now on; those that there are go on. */
void http_peer_close_listener(struct http_peer *p);
/* Cuts all connections, joins all threads, frees. */
void http_peer_stop(struct http_peer **p);

void http_answer(const struct http_request *r, int status, const char *headers, const void *body,
                 size_t len);

/* Handlers. */
bool http_handle_echo(const struct http_request *r);  /* 200 with the body that came */
bool http_handle_stall(const struct http_request *r); /* no answer until the connection ends */

/* A port of 127.0.0.1 that nobody listens on. */
void http_refusing_addr(char out[ADDR_TEXT_MAX + 1]);
/* A listening socket that never accepts: connections are made, requests are
 * swallowed. With `full`, not even connections are made any more. */
struct http_hole {
    int fd;
    int fill[8];
    char addr[ADDR_TEXT_MAX + 1];
};
void http_hole_open(struct http_hole *h, bool full);
void http_hole_close(struct http_hole *h);

#endif
