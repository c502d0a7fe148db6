/* SPDX-License-Identifier: MIT
 * What every read under /v1 does before it looks: it sees to it that this node
 * has what the read must see (consistency=, min_revision=).
 */
#ifndef API_READING_H
#define API_READING_H

#include "api/http.h"

/* To be called in start(). True: what this node has will do, and the read may look now. False: it
 * was submitted, and may look in finish() unless reading_failed(). */
bool reading_start(struct http_exchange *x);
/* In finish(), of a NODE_READ: whether the node could not see to it; answered then. */
bool reading_failed(struct http_exchange *x);
/* When it looks: how old that may be, if the client takes what is old. */
void reading_tell_age(struct http_exchange *x);

#endif
