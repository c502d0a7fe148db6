/* SPDX-License-Identifier: MIT
 * A serving loop: one thread, one libmicrohttpd daemon, one epoll descriptor.
 * Other threads reach it through a mailbox; only its own thread touches its
 * connections (DESIGN.md, "HTTP with libmicrohttpd 0.9.75: measured").
 */
#ifndef API_LOOP_H
#define API_LOOP_H

#include <sys/socket.h>

#include "api/http.h"
#include "api/stats.h"

/* Starts the thread. IO. */
MUST_CHECK int loop_start(struct http_server *server, struct http_loop **ret_loop);
/* Asks it to end once the node has given back every request; loop_join waits for that. */
void loop_stop(struct http_loop *l);
/* Frees it; *l becomes NULL. */
void loop_join(struct http_loop **l);

/* Hands an accepted socket over, for which places_open() was called; thread-safe. */
void loop_add_socket(struct http_loop *l, int fd, const struct sockaddr *addr, socklen_t len);
/* What it counted; readable by any thread. */
const struct stats *loop_stats(const struct http_loop *l);

#endif
