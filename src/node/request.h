/* SPDX-License-Identifier: MIT
 * What api/ may ask of the node, and how it hears back. A request belongs to
 * the node from node_submit() until it calls `done`, which happens exactly
 * once, at the latest shortly after the deadline.
 */
#ifndef NODE_REQUEST_H
#define NODE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/uuid.h"
#include "kv/command.h"
#include "kv/cursor.h"
#include "node/transport.h"

struct node; /* opaque, see node/node.h */
struct kv_view;

/* LOGID of API.md: index, term and the node that led in that term. */
struct node_log_id {
    uint64_t index; /* 0: none */
    uint64_t term;
    struct uuid leader;
};

enum node_request_type {
    NODE_WRITE,    /* in.write; makes a cluster of one node at first contact */
    NODE_READ,     /* in.read; linearizable unless that says otherwise: when done with 0, node_get()
                      sees every write acknowledged before the request was submitted */
    NODE_WAIT_KEY, /* in.wait; done with 0 when the key has another revision as this node has it */
    NODE_INIT,     /* become a cluster of one voter */
    NODE_ADD_LEARNER,
    NODE_CHANGE_MEMBERSHIP,
    NODE_MEMBER_ADD,     /* in.member_add; ret.admin.id is the newcomer */
    NODE_MEMBER_REMOVE,  /* in.member; the leader hands over first */
    NODE_MEMBER_PROMOTE, /* in.member; as soon as it has caught up */
    NODE_MEMBER_DEMOTE,  /* in.member; to a learner */
    NODE_TRANSFER,       /* in.member: who shall lead, zero: anybody else; ret.admin.id leads now */
    NODE_STATUS,         /* in.status; ret.status */
    NODE_PEER,           /* the body of a /raft-* request; ret.reply */
    /* A backup: the whole state at one index as a file (crabcluster-format(5)), shared by all who
     * ask for it meanwhile. Whoever opened it reads it piece by piece and closes it, or is
     * forgotten when nothing was read for NODE_SNAPSHOT_IDLE_MS. */
    NODE_SNAPSHOT_OPEN,  /* ret.snapshot but for data; made first, which may take minutes */
    NODE_SNAPSHOT_READ,  /* in.snapshot; ret.snapshot.data, all that was asked for */
    NODE_SNAPSHOT_CLOSE, /* in.snapshot.id */
};

#define NODE_SNAPSHOT_IDLE_MS   60000
#define NODE_SNAPSHOT_PIECE_MAX MIB /* bytes in one READ */

enum { NODE_STATE_LEARNER, NODE_STATE_FOLLOWER, NODE_STATE_CANDIDATE, NODE_STATE_LEADER };

/* What the node measures. */
enum node_duration {
    NODE_TOOK_COMMIT, /* of a write through this node, from the last time it was sent on its way */
    NODE_TOOK_APPLY,  /* of a batch of entries */
    NODE_TOOK_READ_INDEX, /* from the question after the leader's commit index to its answer */
    NODE_TOOK_LOG_SYNC,   /* from handing a batch of entries to the disk until they are durable */
    NODE_TOOK_CHECKPOINT,
    NODE_TOOK_SNAPSHOT_MAKE,
    NODE_TOOK_SNAPSHOT_RECEIVE,
    NODE_TOOK_SNAPSHOT_INSTALL,
    NODE_TOOK_KINDS /* how many */
};

/* Where a request spent most of its time when that was NODE_SLOW_MS or more. */
enum node_phase {
    NODE_PHASE_QUEUE,      /* a write, before it was (last) sent on its way */
    NODE_PHASE_COMMIT,     /* and after that */
    NODE_PHASE_READ_INDEX, /* a read, until it was known what it has to see */
    NODE_PHASE_APPLY,      /* and until that was applied */
    NODE_PHASES            /* how many */
};
#define NODE_SLOW_MS 500

/* Since the start. */
struct node_figures {
    uint64_t leader_changes;
    uint64_t committed;         /* commands applied */
    uint64_t failed[ERR_CODES]; /* writes through this node, by -err */
    uint64_t slow[NODE_PHASES];
    struct histogram duration[NODE_TOOK_KINDS];
};

/* The state of one member at one index, and whether it is the leader's there. */
struct node_digest {
    uint64_t index; /* 0: not known */
    uint64_t digest;
    enum {
        NODE_DIGEST_NOT_COMPARED, /* not a leader, not heard of, or too far behind */
        NODE_DIGEST_SAME,
        NODE_DIGEST_DIFFERS
    } compared;
};

/* What came of a command about members. */
struct node_admin_result {
    struct node_log_id log_id;
    struct uuid id;      /* the node that it, or the error, is about */
    struct uuid found;   /* ID_MISMATCH: who lives there; CLUSTER_MISMATCH: its cluster */
    struct uuid cluster; /* CLUSTER_MISMATCH: this cluster */
    uint64_t distance;   /* LAGGING, TIMEOUT: entries */
    unsigned n_voters;   /* NO_QUORUM: so many there would be, */
    unsigned n_alive;    /* of which so many answer */
    uint64_t term;       /* NODE_INIT refused: the vote */
    struct uuid vote;
    bool vote_committed;
};

struct node_member_status {
    struct uuid id;
    char addr[LIMIT_ADDR_BYTES + 1];
    bool voter, voter_old, learner; /* of the incoming and outgoing configuration */
    bool voter_soon;                /* a learner that becomes a voter when it has caught up */
    struct node_log_id matched;     /* leader only; index 0: nothing */
    uint64_t lag;                   /* leader only: entries that it has not acknowledged */
    bool alive;                     /* leader only: it answers */
    bool caught_up;                 /* leader only: within replication-lag-threshold */
    bool lost_data;                 /* leader only: it lacks what its disk had */
    bool in_snapshot, full;         /* leader only: it gets a snapshot; its disk is full */
    /* of other members */
    uint64_t send_failures;
    uint64_t rtt_us; /* leader only, smoothed; 0: not known */
    bool heard;
    uint64_t heard_us_ago;
    struct node_digest digest; /* leader only, of others; this node's own: whoever it is, where it
                                  is now, not compared */
};

/* A peer of the configuration that this node has not formed a cluster with yet. */
struct node_forming_peer {
    char addr[LIMIT_ADDR_BYTES + 1];
    bool is_self;
    int err; /* 0: it answered; else what it, or the lack of an answer, means (node/form.c) */
};

struct node_status {
    struct uuid id;
    struct uuid cluster; /* zero: none */
    int state;           /* NODE_STATE_* */
    uint64_t term;
    uint64_t last_log_index;
    uint64_t commit_index;
    uint64_t base_index; /* the log begins after this */
    struct node_log_id applied;
    struct node_log_id snapshot;  /* up to there the state is durable without the log */
    struct uuid leader;           /* zero: not known */
    struct node_log_id config_id; /* of the configuration's entry */
    bool joint;
    bool leader_view;  /* what is "leader only" is known, by the leader's own word */
    bool full;         /* the cluster takes no more data */
    bool disk_full;    /* this node's disk */
    bool disk_stalled; /* it has not answered for disk-stall-timeout */
    bool outsider;     /* belongs to no cluster, and knows that there is one */
    uint32_t lag_threshold_ms;
    unsigned n_forming; /* 0: nothing is to be formed */
    struct node_forming_peer forming[LIMIT_PEERS];
    unsigned n_members; /* 0: belongs to no cluster */
    struct node_member_status members[LIMIT_MEMBERS];
    uint64_t proposals_pending;
    uint64_t n_keys, memtable_bytes;
    uint64_t n_once; /* idempotency keys that are remembered */
    bool has_disk;   /* what follows is known */
    uint64_t log_bytes, state_bytes, disk_free_bytes;
    struct node_figures figures;
};

struct node_request {
    struct list link; /* the node's while it has it */
    enum node_request_type type;
    uint64_t deadline_ms;                 /* clock_now_ms() */
    void (*done)(struct node_request *r); /* on any thread; must not block */
    void *owner;                          /* the caller's */
    uint64_t taken_us;                    /* the node's */

    union {
        struct {
            struct buf body; /* from kv_body_encode(); owned by the request */
        } write;
        struct {
            bool by_lease; /* as a linearizable read, but without asking the other nodes where the
                              leader's lease says that nobody else leads; where there is none, or
                              at a follower, as any other */
            bool stale;    /* what this node has applied will do */
            uint64_t min_revision; /* but this index must be applied here; 0: any will do */
        } read;
        struct {
            uint64_t revision; /* 0: it is not there */
            size_t key_len;
            uint8_t key[LIMIT_KEY_BYTES];
        } wait;
        struct {
            struct uuid id;
            char addr[LIMIT_ADDR_BYTES + 1];
        } add_learner;
        struct {
            struct uuid ids[LIMIT_MEMBERS];
            unsigned n_ids;
        } change_membership;
        struct {
            char addr[LIMIT_ADDR_BYTES + 1];
            bool voter; /* as soon as it has caught up; false: a learner for good */
        } member_add;
        struct {
            struct uuid id;
        } member;
        struct {
            bool of_leader; /* what only the leader knows is asked of it */
        } status;
        struct {
            enum transport_path path;
            struct buf body; /* owned by the request */
        } peer;
        struct {
            uint64_t id; /* as OPEN gave it */
            uint64_t offset;
            uint32_t len; /* at least 1; offset + len is within the size */
        } snapshot;
    } in;

    /* 0, or one of these. All: SHUTDOWN. All but STATUS, PEER, INIT: UNINITIALIZED (this node
     * belongs to no cluster; how to make one is in the text of the answer).
     *
     * WRITE: NO_LEADER (not attempted), UNKNOWN (may have been written), OVERLOADED, TOO_LARGE,
     * CONFLICT, NO_SPACE.
     *
     * READ: NO_LEADER, TIMEOUT (not applied here in time).
     *
     * WAIT_KEY: TIMEOUT (it is as it was).
     *
     * INIT: NOT_ALLOWED (member already, or peers are configured); ret.admin.log_id is the last.
     *
     * ADD_LEARNER: UNREACHABLE, ID_MISMATCH (ret.admin.found), CLUSTER_MISMATCH,
     * INCARNATION_MISMATCH, TIMEOUT (added, but not caught up in time), TOO_LARGE (members).
     *
     * CHANGE_MEMBERSHIP: EMPTY, NOT_FOUND (ret.admin.id), LAGGING (ret.admin.id, distance),
     * IN_PROGRESS (ret.admin.log_id).
     *
     * MEMBER_ADD: UNREACHABLE (nobody answers there), INVALID (something else does),
     * CLUSTER_MISMATCH, INCARNATION_MISMATCH, EXISTS (a member already), TOO_LARGE, TIMEOUT (added,
     * but not caught up in time: it goes on), NOT_FOUND (removed meanwhile).
     *
     * MEMBER_REMOVE, MEMBER_DEMOTE: NOT_FOUND, EMPTY (the last voter), NO_QUORUM (n_voters,
     * n_alive).
     *
     * MEMBER_PROMOTE: NOT_FOUND, TIMEOUT (not caught up in time: it goes on).
     *
     * TRANSFER: NOT_FOUND (no such member), NOT_ALLOWED (a learner), UNREACHABLE (it does not
     * answer, or nobody does), TIMEOUT (nothing came of it: ret.admin.id leads, if not zero).
     *
     * All about members: IN_PROGRESS (another change, all the time), NO_LEADER, UNKNOWN.
     *
     * SNAPSHOT_*: NOT_FOUND (READ of one that was forgotten), INVALID (READ of what is not there,
     * or beside another READ), OVERLOADED (OPEN: too many are open), NO_SPACE, TIMEOUT, CORRUPT,
     * IO. */
    int err;
    union {
        struct {
            struct node_log_id log_id;
            struct buf answer; /* see kv_answer_next(); owned by the request */
        } write;
        struct node_admin_result admin;
        struct node_status *status; /* owned by the request */
        struct {
            int http_status;
            struct buf body; /* owned by the request */
        } reply;
        struct {
            uint64_t id; /* of this reader, never 0 */
            uint64_t size;
            struct node_log_id at; /* the last entry that is in it */
            struct buf data;       /* owned by the request */
        } snapshot;
    } ret;
};

/* A zeroed request with its done function; node_request_free drops what it owns. */
struct node_request *node_request_new(enum node_request_type type);
void node_request_free(struct node_request **r);

/* Thread-safe; takes r until done. The caller's thread may act for the node meanwhile, which calls
 * `done` of any request. */
void node_submit(struct node *n, struct node_request *r);
/* Those in the list, which is empty afterwards. */
void node_submit_all(struct node *n, struct list *requests);

/* A copy of the value as this node has it now; NOT_FOUND. Thread-safe. Appends to out. */
MUST_CHECK int node_get(struct node *n, const void *key, size_t key_len, struct buf *out);

/* The same with what is known about it: ret_info, whose bytes are not there; its value and its
 * attributes are appended to these, unless they are NULL. */
MUST_CHECK int node_get_value(struct node *n, const void *key, size_t key_len,
                              struct kv_value *ret_info, struct buf *value, struct buf *attrs);

/* The state as this node has it now, for reading many keys of one index. Owned by the caller, who
 * closes it soon: it holds memory and pages (kv/view.h). Thread-safe. */
struct kv_view *node_view(struct node *n);

/* How much a read without any question to others is worth. Thread-safe. */
struct node_freshness {
    bool member;      /* of a cluster */
    uint64_t applied; /* index that a read sees at least */
    bool known;       /* it was ever */
    uint64_t age_ms;  /* since it last heard from the leader, or as the leader from a quorum */
};
struct node_freshness node_freshness(struct node *n);

/* Facts that do not change while the node runs; thread-safe. */
struct uuid node_id(const struct node *n);
/* The leader as known now, zero if not; for headers. Thread-safe. */
struct uuid node_leader_hint(const struct node *n);
/* CLOCK_MONOTONIC of the last turn of the loop; for probes and a watchdog. Thread-safe. */
uint64_t node_last_turn_ms(const struct node *n);

#endif
