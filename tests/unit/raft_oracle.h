/* SPDX-License-Identifier: MIT
 * What Raft promises (dissertation figure 3.2), checked on a cluster in one
 * process as it happens.
 */
#ifndef TESTS_UNIT_RAFT_ORACLE_H
#define TESTS_UNIT_RAFT_ORACLE_H

#include "raft_cluster.h"

/* A node applies an entry: the same at the same index everywhere, for ever, in order. */
void oracle_applied(struct cluster *c, unsigned node, const struct raft_entry *e);
/* A node says something: what it promises is on its disk. */
void oracle_sent(struct cluster *c, unsigned node, const struct raft_message *m);

#endif
