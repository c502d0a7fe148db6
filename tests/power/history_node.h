/* SPDX-License-Identifier: MIT
 * What histories of whole nodes and their check share: what an entry is, and
 * what a data directory holds.
 */
#ifndef POWER_HISTORY_NODE_H
#define POWER_HISTORY_NODE_H

#include "history.h"
#include "store/store.h"

/* The entry of this place in this history: a command. One reference, the caller's. */
struct raft_entry *history_node_entry(const struct history *h, struct raft_pos pos);
/* Log and state as a start reads them; the state is then as of the commit. CORRUPT and others with
 * a reason; INVALID: the log is out of order. The caller frees *ret_kv before the store. */
int history_node_scan(struct store *store, struct expected *ret_found, struct kv **ret_kv,
                      struct buf *reason);

#endif
