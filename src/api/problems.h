/* SPDX-License-Identifier: MIT
 * What is wrong with the cluster, by a node's status, each with what to do
 * about it: the part of /v1/status that people read first.
 */
#ifndef API_PROBLEMS_H
#define API_PROBLEMS_H

#include "base/buf.h"
#include "node/request.h"

/* Who votes and answers. */
struct problems_quorum {
    unsigned n_voters, quorum, n_alive;
    unsigned tolerance; /* so many more voters may fail */
};

/* By the leader's view; without one nobody is known to answer. */
struct problems_quorum problems_quorum(const struct node_status *s);

/* Appends a JSON array of {"code","message","fix","member"}; `here` is this node's address. asked:
 * the leader was asked for what it knows, so that not to know it is a problem. Returns how many
 * there are. */
unsigned problems_write(struct buf *b, const struct node_status *s, const char *here, bool asked);

#endif
