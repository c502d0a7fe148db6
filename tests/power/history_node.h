/* SPDX-License-Identifier: MIT
 * What histories of whole nodes and their check share: what an entry is, and
 * what a data directory holds.
 */
#ifndef POWER_HISTORY_NODE_H
#define POWER_HISTORY_NODE_H

#include "history.h"
#include "store/store.h"

#define HISTORY_NODE_TERMS_MAX 1024

extern const struct uuid history_node_member;

/* Of this kind of work. */
unsigned history_node_value_max(const struct history *h);

/* The entry of this place in this history: a command. One reference, the caller's. */
struct raft_entry *history_node_entry(const struct history *h, struct raft_pos pos);
/* The first one makes the node a member, so that its commands count. */
int history_node_apply(struct kv *kv, const struct raft_entry *e);
/* Of all keys, and of where it is. */
int history_node_digest(struct kv *kv, uint64_t *ret_digest);
/* Where a log may begin: the node is the only member. */
struct raft_base history_node_base(struct raft_pos pos, struct raft_pos config_pos);

/* Log and state as a start reads them; the state is then as of the commit, or as of the last entry
 * (all). CORRUPT and others with a reason; INVALID: the log is out of order. The caller frees
 * *ret_kv before the store. */
int history_node_scan(struct store *store, bool all, struct expected *ret_found, struct kv **ret_kv,
                      struct buf *reason);

/* ---- history_offline.c: nodes that begin a cluster of their own ---- */

/* How far the log of such a node begins after what it knew; 2^32 in a real one, and here there is a
 * table by index. */
#define HISTORY_OFFLINE_SKIP 5

/* Writes what kv holds to the backup of the history, a file in the working directory, and gives the
 * history the identity of the node that is to be made of it. */
void history_offline_backup(struct history *h, struct kv *kv);
/* What --restore does. Also on what is left of an earlier try. */
int history_offline_restore(const struct history *h, const char *dir, struct buf *reason);
/* What --force-new-cluster does, with a node that has some entry: as a step of its own, to the
 * state *ret_state. False: it has none. */
bool history_offline_refound(struct history *h, const char *dir, struct expected *ret_state);
/* What the state of such a node is: its log begins there. */
struct expected history_offline_state(struct raft_pos pos, uint64_t records, struct uuid cluster);

#endif
