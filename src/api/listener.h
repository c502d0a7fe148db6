/* SPDX-License-Identifier: MIT
 * The listening sockets and the thread that accepts. libmicrohttpd is not let
 * near them: it would share the port with a second daemon or stop listening
 * when clients flood (PITFALLS part 2).
 */
#ifndef API_LISTENER_H
#define API_LISTENER_H

#include "api/http.h"

struct listener; /* opaque */

/* Binds every address that HOST:PORT stands for, and listens. BUSY, PERMISSION,
 * INVALID or IO, with the line for the operator appended to ret_reason. */
MUST_CHECK int listener_open(const char *bind_addr, struct buf *ret_reason,
                             struct listener **ret_listener);
/* Starts to accept and to hand sockets to the server's loops in turn. IO. */
MUST_CHECK int listener_start(struct listener *l, struct http_server *server);
/* Ends the thread, closes the sockets, frees; NULL is accepted; *l becomes NULL. */
void listener_close(struct listener **l);

#endif
