/* SPDX-License-Identifier: MIT
 * Where a log begins, and snapshots: the whole state at one place of the log,
 * which stands for everything before. What a snapshot holds is the state
 * machine's affair; the core knows its name and its size and what the log
 * needs in the place of the entries that are gone.
 */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "raft/config.h"
#include "raft/types.h"

/* The place that a log begins after, in one record (PITFALLS 26). The
 * configuration is the latest that was committed when the record was made,
 * whole, be it joint (PITFALLS 28); it may be of a later entry than pos. */
struct raft_base {
    struct raft_pos pos;
    struct raft_pos config_pos;
    struct raft_config config;
};

/* Immutable; shared by reference count. */
struct raft_snapshot {
    struct refs refs;
    uint64_t id;           /* random: no two are alike, also of the same place (PITFALLS 31) */
    struct raft_base base; /* config_pos.index <= pos.index */
    uint64_t size;         /* bytes, at least 1 */
    uint32_t digest;       /* over all of them; the embedder's */
};

/* A copy with one reference; that of *s does not count. */
struct raft_snapshot *raft_snapshot_new(const struct raft_snapshot *s);
struct raft_snapshot *raft_snapshot_ref(struct raft_snapshot *s);
/* Drops one reference and nulls the caller's pointer; NULL is accepted. */
void raft_snapshot_unref(struct raft_snapshot **s);

#endif
