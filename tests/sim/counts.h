/* SPDX-License-Identifier: MIT
 * What a run of the simulator counts: faults injected, rare paths taken
 * (probes), work done. Shared by the worker processes, who add to it.
 */
#ifndef TESTS_SIM_COUNTS_H
#define TESTS_SIM_COUNTS_H

#include <stdint.h>

#define SIM_FAULTS(X)                                                                              \
    X(DROP, "network: message dropped")                                                            \
    X(DELAY, "network: message delayed")                                                           \
    X(REORDER, "network: message overtaken")                                                       \
    X(DUPLICATE, "network: message duplicated")                                                    \
    X(PARTITION, "network: partition")                                                             \
    X(ONE_WAY, "network: one-way cut")                                                             \
    X(BRIDGE, "network: bridge")                                                                   \
    X(CLOG, "network: link clogged")                                                               \
    X(UNCLOG, "network: link unclogged, in random order")                                          \
    X(RESET, "network: reset, answer lost after delivery")                                         \
    X(REPLAY, "network: old message replayed")                                                     \
    X(FOREIGN, "network: message of another cluster")                                              \
    X(SQUATTER, "network: node of another cluster at a node's address")                            \
    X(KILL, "process: killed")                                                                     \
    X(POWER, "process: all killed at once")                                                        \
    X(RESTART, "process: restarted")                                                               \
    X(STOP, "process: stopped in order")                                                           \
    X(TWICE, "process: started twice, refused by the lock")                                        \
    X(PAUSE, "process: paused")                                                                    \
    X(SLOW, "process: slow")                                                                       \
    X(LOST, "storage: unsynced write lost")                                                        \
    X(KEPT, "storage: unsynced write kept")                                                        \
    X(STALL, "storage: stall")                                                                     \
    X(EIO_WRITE, "storage: EIO on write, process ends")                                            \
    X(EIO_SYNC, "storage: EIO on sync, process ends")                                              \
    X(FULL, "storage: little or no room on the disk")                                              \
    X(BIT_FLIP, "storage: bit flip, the node refuses to start")                                    \
    X(SKEW, "clock: skew")                                                                         \
    X(DRIFT, "clock: drift")                                                                       \
    X(JUMP, "clock: jump")                                                                         \
    X(SUSPEND, "clock: suspended machine")                                                         \
    X(ADD, "membership: add")                                                                      \
    X(PROMOTE, "membership: promote")                                                              \
    X(REMOVE, "membership: remove")                                                                \
    X(REPLACE, "membership: joint change")                                                         \
    X(WIPE, "membership: disk wiped, the node has a new id")                                       \
    X(WIPE_SAME, "membership: disk wiped under the same id")                                       \
    X(TRANSFER, "membership: leadership transferred")                                              \
    X(MOVE, "membership: moved to another address")                                                \
    X(RETRY, "client: retry elsewhere")                                                            \
    X(TWIN, "client: duplicate")                                                                   \
    X(ONCE_AGAIN, "client: the same write again, under its name")                                  \
    X(ONCE_TWIN, "client: the same at two nodes at once, under its name")                          \
    X(ONCE_OTHER, "client: another write under a name in use")                                     \
    X(VANISH, "client: vanished")                                                                  \
    X(OVERSIZED, "client: oversized")

#define SIM_PROBES(X)                                                                              \
    X(TRUNCATED, "a conflicting suffix was truncated")                                             \
    X(JOINT, "a joint configuration was committed")                                                \
    X(JOINT_OTHER_LEADER, "a joint configuration was left by another leader")                      \
    X(LEADER_REMOVED, "a leader committed its own removal")                                        \
    X(DEDUPLICATED, "a write was in the log twice and applied once")                               \
    X(DEDUPLICATED_TERM, "the same, proposed in two terms")                                        \
    X(STALE, "a late copy of a settled write was refused by the state machine")                    \
    X(OLD_TERM_COMMIT, "entries of an earlier term were committed with a later one")               \
    X(LOADED, "entries were loaded from disk for a follower")                                      \
    X(READ_REFUSED, "a read index was refused")                                                    \
    X(READ_FOLLOWER, "a follower served a linearizable read")                                      \
    X(READ_LEASE, "a leader served a read by its lease")                                           \
    X(CHECK_QUORUM, "a leader stepped down within its term")                                       \
    X(DEPOSED, "a leader was deposed by a higher term")                                            \
    X(TRANSFERRED, "a leader handed over to the node it chose")                                    \
    X(TIMEOUT_NOW, "a node campaigned because the leader handed over to it")                       \
    X(DISK_STALLED, "a node found its own disk stalled")                                           \
    X(VOTE_STICKY, "a vote was refused because a leader is known")                                 \
    X(VOTE_REFUSED, "a vote was refused for another reason")                                       \
    X(APPEND_REFUSED, "an append was refused")                                                     \
    X(REFUSED_ID, "a message was refused: another id")                                             \
    X(REFUSED_CLUSTER, "a message was refused: another cluster")                                   \
    X(OUTSIDER, "a node without a cluster heard of one that it was not asked into")                \
    X(REFUSED_INCARNATION, "a message was refused: another incarnation")                           \
    X(WRITE_UNKNOWN, "a write ended with an unknown outcome")                                      \
    X(UNKNOWN_COMMITTED, "such a write was committed after all")                                   \
    X(WRITE_NO_LEADER, "a write was refused for lack of a leader")                                 \
    X(WRITE_NO_SPACE, "a write was refused for lack of room on a disk")                            \
    X(DELETED_FULL, "a delete was acknowledged where a write would have been refused")             \
    X(READ_FAILED, "a read ended without an answer")                                               \
    X(RESTART_UNCOMMITTED, "a node came up with entries not known as committed")                   \
    X(RESTART_LEADER, "a leader was killed")                                                       \
    X(FORMED, "configured peers formed a cluster")                                                 \
    X(MOVED, "a member's new address was committed")                                               \
    X(REPLACED, "a wiped node's new id came into the configuration")                               \
    X(LONG_CATCH_UP, "a follower more than 500 entries behind caught up")                          \
    X(CHECKPOINT, "a checkpoint became durable")                                                   \
    X(RESTART_STATE, "a node came up with a checkpoint")                                           \
    X(INSTALLED, "a snapshot was installed")                                                       \
    X(INSTALLED_JOINT, "one with a joint configuration")                                           \
    X(SNAPSHOT_DAMAGED, "a damaged snapshot was noticed")                                          \
    X(JOB_LOST, "a crash in the middle of a checkpoint or a transfer")                             \
    X(BACKUP, "a backup was taken, piece by piece")                                                \
    X(BACKUP_SHARED, "another began while it was there")                                           \
    X(BACKUP_LATE, "one was read while the state had moved on")                                    \
    X(ONCE_REPEATED, "a named write was in the log twice and applied once")                        \
    X(ONCE_REPEATED_TERM, "the same, proposed in two terms")                                       \
    X(ONCE_ANSWERED, "a client heard of its write by asking again")                                \
    X(ONCE_CONFLICT, "another write under a name in use was refused")                              \
    X(ONCE_EXPIRED, "names were forgotten when their time had come")                               \
    X(ONCE_INSTALLED, "a snapshot with names was installed")                                       \
    X(CLOCK, "a leader told how much time had passed")                                             \
    X(PREFIX_REMOVED, "several keys were removed by their prefix")                                 \
    X(SLICED, "a node was in the middle of a command that takes long")                             \
    X(SLICED_KILLED, "it died there")                                                              \
    X(SLICED_INSTALLED, "a snapshot took the place of the rest")                                   \
    X(MISMATCH, "a condition did not hold")                                                        \
    X(NOT_FOUND, "a key to be removed was not there")                                              \
    X(NOT_A_NUMBER, "a value to be counted was no number")                                         \
    X(OVERFLOW, "a counter would have overflowed")                                                 \
    X(TOO_LARGE, "a value to be appended to, or a prefix, would have been too large")              \
    X(DIGEST, "a leader found the digest of another member to be its own")                         \
    X(AT_ODDS, "a storm ended with logs of which neither is plainly the newer one")                \
    X(LIVENESS_MINORITY, "a liveness phase without all nodes")

enum sim_fault {
#define X(name, text) FAULT_##name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_KINDS
};

enum sim_probe {
#define X(name, text) PROBE_##name,
    SIM_PROBES(X)
#undef X
        SIM_PROBE_KINDS
};

struct counts {
    uint64_t seeds, failed;
    uint64_t simulated_us, events, turns, messages, disk_writes;
    uint64_t elections, entries, configs, writes, reads, histories, histories_gave_up;
    uint64_t faults[SIM_FAULT_KINDS], probes[SIM_PROBE_KINDS];
};

const char *fault_text(enum sim_fault f);
const char *probe_text(enum sim_probe p);
void counts_add(struct counts *sum, const struct counts *more);
/* The figures, for people. */
void counts_print(const struct counts *c, uint64_t wall_us);

#endif
