/* SPDX-License-Identifier: MIT
 * The node: the driver with a thread and a clock. What api/ may ask of it is in
 * request.h.
 *
 *      node_new -> node_restore_* -> node_start -> (node_submit ...) -> node_hand_over
 *               -> node_drain -> node_stop
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "node/storage.h"
#include "node/transport.h"
#include "raft/raft.h"

struct node; /* opaque */

struct node_options {
    char addr[LIMIT_ADDR_BYTES + 1]; /* where others reach this node */
    bool auto_init;                  /* a first write may make a cluster of one */
    unsigned n_peers;                /* configured, in the operator's order */
    char peers[LIMIT_PEERS][LIMIT_ADDR_BYTES + 1];
    uint32_t heartbeat_ms, election_min_ms, election_max_ms;
    uint32_t lag_threshold_ms;
    /* A disk that completes nothing for so long ends leadership; 0: never. */
    uint32_t disk_stall_ms;
    /* By so much two clocks differ at most over election_min_ms: reads may be served by lease.
     * 0: nobody knows, and no lease is given or used. The same on all nodes. */
    uint32_t clock_drift_ms;
    unsigned append_entries_max;
    size_t append_bytes_max;
    unsigned window;    /* appends in flight to one follower */
    size_t cache_bytes; /* recent entries kept in memory; 0: a default */
    /* The state is made durable, and the log before it let go of, after so many entries, or bytes
     * in memory, or when the oldest change is so old. Entries 0: never. */
    uint64_t checkpoint_entries;
    size_t checkpoint_bytes;
    uint32_t checkpoint_age_ms;
    /* Kept of the log before a checkpoint, for followers that are behind: so many entries, and more
     * for one that is catching up, as long as it is not more bytes than this. */
    uint64_t log_tail_entries;
    size_t log_tail_bytes;
    uint32_t snapshot_bytes; /* in one message; 0: a default */
    unsigned slice_keys;     /* of a command that takes long, applied in one turn; 0: a default */
    unsigned ahead_keys;     /* see kv_set_sizes() */
    uint64_t seed;
};

/* Where the state is that this meta goes with; for store_options.meta_pos. CORRUPT, VERSION. */
int node_meta_pos(const void *meta, size_t len, struct kv_pos *ret_pos);

/* Copies the options and the identity. */
struct node *node_new(const struct node_options *o, const struct storage_identity *identity);
/* Where the storage and the transport report to. */
struct storage_events node_storage_events(struct node *n);
struct transport_events node_transport_events(struct node *n);

/* What is durable, in this order, before node_start(). The state (takes a reference to base):
 * CORRUPT, VERSION. Optional, as is where the log begins, which is not after the state: CORRUPT. */
MUST_CHECK int node_restore_state(struct node *n, const void *meta, size_t len,
                                  struct kv_base *base);
MUST_CHECK int node_restore_base(struct node *n, const struct raft_base *base);
/* The durable log, in order; see store_scan(). */
void node_restore_hard_state(struct node *n, struct raft_hard_state hs);
MUST_CHECK int node_restore_entry(struct node *n, struct raft_entry *e);
/* That was all. CORRUPT or IO: older state cannot be read. */
MUST_CHECK int node_restore_end(struct node *n);

/* Starts the thread. Borrows storage and transport until node_stop() has returned. */
void node_start(struct node *n, struct storage *storage, struct transport *transport);
/* Hands over leadership, if any, and waits at most timeout_ms until another leads. Requests go on
 * as ever, through the new leader; peers must still reach this node. */
void node_hand_over(struct node *n, uint32_t timeout_ms);
/* Gives up leadership, refuses new requests, waits at most timeout_ms for those in flight. */
void node_drain(struct node *n, uint32_t timeout_ms);
/* Makes a last checkpoint, if there is enough in memory to be worth it, so that the next start has
 * little to replay; waits at most timeout_ms for it. Nothing is lost without it. */
void node_settle(struct node *n, uint32_t timeout_ms);
/* Ends the thread: whatever still waits is completed (UNKNOWN or SHUTDOWN). The storage and the
 * transport may report until they are stopped themselves. */
void node_stop(struct node *n);
/* After storage and transport have been stopped. Nulls the pointer; NULL is accepted. */
void node_free(struct node **n);

#endif
