/* SPDX-License-Identifier: MIT
 * The values that go in and out of the consensus core: positions, entries,
 * messages. Plain data; nothing here does anything but count references.
 */
#ifndef RAFT_TYPES_H
#define RAFT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/refs.h"
#include "base/uuid.h"

/* A place in the log. Index and term travel together. Index 0, term 0 is the
 * place before the first entry. */
struct raft_pos {
    uint64_t term;
    uint64_t index;
};

static inline bool raft_pos_equal(struct raft_pos a, struct raft_pos b)
{
    return a.term == b.term && a.index == b.index;
}

/* Log a is at least as up to date as log b (Raft 5.4.1): lexicographic. */
static inline bool raft_pos_at_least(struct raft_pos a, struct raft_pos b)
{
    return a.term != b.term ? a.term > b.term : a.index >= b.index;
}

#define RAFT_NOOP_BYTES 16

enum raft_entry_type {
    RAFT_ENTRY_NOOP = 0,    /* first entry of a leader's term; data: its id, 16 bytes */
    RAFT_ENTRY_COMMAND = 1, /* data is the state machine's; the core never looks */
    RAFT_ENTRY_CONFIG = 2,  /* data is an encoded struct raft_config */
};

/* Immutable once it is in a log; shared between threads by reference count. */
struct raft_entry {
    struct refs refs;
    enum raft_entry_type type;
    struct raft_pos pos;
    uint32_t len; /* bytes of data */
    uint8_t data[];
};

/* A new entry with one reference and len bytes of data for the caller to fill. */
struct raft_entry *raft_entry_new(enum raft_entry_type type, struct raft_pos pos, uint32_t len);
struct raft_entry *raft_entry_ref(struct raft_entry *e);
/* Drops one reference and nulls the caller's pointer; NULL is accepted. */
void raft_entry_unref(struct raft_entry **e);

/* What must survive a restart beside the log, written in one transaction with
 * it (PITFALLS 1). */
struct raft_hard_state {
    uint64_t term;
    struct uuid vote; /* zero: none in this term */
    uint64_t commit;  /* a hint: an index known to be committed; may be behind */
};

enum raft_role {
    RAFT_FOLLOWER, /* a learner is a follower that its configuration gives no vote */
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

enum raft_message_type {
    RAFT_APPEND = 1,
    RAFT_APPEND_REPLY = 2,
    RAFT_VOTE = 3,
    RAFT_VOTE_REPLY = 4,
    RAFT_READ_INDEX = 5,
    RAFT_READ_INDEX_REPLY = 6,
    RAFT_TIMEOUT_NOW = 7, /* the leader hands over: campaign at once */
    RAFT_TIMEOUT_NOW_REPLY = 8,
    RAFT_SNAPSHOT = 9, /* a piece of a snapshot, for a log that ends before ours begins */
    RAFT_SNAPSHOT_REPLY = 10,
};

struct raft_snapshot; /* raft/snapshot.h */

/* One message between two nodes. Requests (APPEND, VOTE, READ_INDEX, TIMEOUT_NOW, SNAPSHOT)
 * carry a `seq` that their sender never uses again, not even after a restart; the
 * answer carries it back. So an answer to an old question is told from one to
 * a new question (PITFALLS 2, 44), and a transport that pairs requests with
 * answers can use it as the key. */
struct raft_message {
    enum raft_message_type type;
    struct uuid from, to;
    uint64_t to_incarnation; /* of the disk the sender believes `to` has; 0: not known */
    uint64_t term;           /* the sender's; of a pre-vote: the term it would campaign in */
    uint64_t seq;
    union {
        struct {
            struct raft_pos prev;        /* the entry before the first one sent */
            uint64_t commit;             /* the leader's commit index */
            struct raft_entry **entries; /* consecutive after prev; none: a heartbeat */
            unsigned n_entries;
            bool full; /* there is no room for more data; see raft_set_full() */
        } append;
        struct {
            bool success;
            uint64_t match;    /* success: durable here and equal to the leader's log up to here */
            uint64_t rejected; /* failure: prev.index of the request refused */
            struct raft_pos hint;   /* failure: last position here that may still match: index is
                                       below `rejected` (PITFALLS 20), term that of our entry there */
            uint64_t promise_ticks; /* after receiving the append it votes for nobody else for so
                                       many ticks; 0: it promises nothing */
            bool full;              /* the sender's disk is */
        } append_reply;
        struct {
            bool pre;
            bool handed_over; /* the leader itself told the candidate to campaign; not with pre */
            struct raft_pos last; /* the candidate's last entry */
        } vote;
        struct {
            bool pre;
            bool granted;
        } vote_reply;
        struct {
            uint64_t index; /* read when this is applied; meaningful when ok */
            bool ok;        /* false: not the leader, or leadership lost */
        } read_index_reply;
        struct {
            bool ok; /* it campaigns */
        } timeout_now_reply;
        struct {
            struct raft_snapshot *snapshot;
            uint64_t offset; /* of the first byte; the size: asks how far it is */
            uint32_t len;
            const uint8_t *data; /* len bytes. The core leaves it NULL: whoever sends the message
                                    reads them */
        } snapshot;
        struct {
            uint64_t id;
            bool installed;  /* the snapshot is in force, or was not needed */
            uint64_t offset; /* not installed: the first byte that is missing there */
            uint64_t match;  /* installed: as in an answer to an append */
        } snapshot_reply;
        /* READ_INDEX and TIMEOUT_NOW carry nothing beyond seq */
    };
};

#endif
