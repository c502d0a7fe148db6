/* SPDX-License-Identifier: MIT
 * Messages between nodes <-> bytes: the bodies of POST /raft-*, both ways.
 * Pure. Documented for people in crabcluster-protocol(7).
 *
 *      0  magic "CRAB"              4 bytes
 *      4  version (1)               u8
 *      5  type (enum wire_type)     u8
 *      6  flags (0)                 u16
 *      8  cluster id                16 bytes   zero: the sender belongs to none
 *     24  sender                    16 bytes
 *     40  receiver                  16 bytes   zero: whoever lives at the address (HELLO, FORM)
 *     56  receiver's incarnation    u64        0: not known to the sender
 *     64  sender's incarnation      u64
 *     72  term                      u64
 *     80  seq                       u64        an answer repeats the question's
 *     88  payload, by type
 *    end  CRC-32C of all before     u32
 *
 * Integers are big-endian; inside payloads most are LEB128 varints.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "raft/config.h"
#include "raft/snapshot.h"
#include "raft/types.h"

#define WIRE_VERSION      1
#define WIRE_HEADER_BYTES 88

enum wire_type {
    WIRE_APPEND = RAFT_APPEND,
    WIRE_APPEND_REPLY = RAFT_APPEND_REPLY,
    WIRE_VOTE = RAFT_VOTE,
    WIRE_VOTE_REPLY = RAFT_VOTE_REPLY,
    WIRE_READ_INDEX = RAFT_READ_INDEX,
    WIRE_READ_INDEX_REPLY = RAFT_READ_INDEX_REPLY,
    WIRE_TIMEOUT_NOW = RAFT_TIMEOUT_NOW,
    WIRE_TIMEOUT_NOW_REPLY = RAFT_TIMEOUT_NOW_REPLY,
    WIRE_SNAPSHOT = RAFT_SNAPSHOT,
    WIRE_SNAPSHOT_REPLY = RAFT_SNAPSHOT_REPLY,
    WIRE_REFUSED = 16, /* instead of any answer: this is not who you think it is */
    WIRE_HELLO = 17,
    WIRE_HELLO_REPLY = 18,
    WIRE_FORWARD = 19, /* commands of clients, to the leader */
    WIRE_FORWARD_REPLY = 20,
    WIRE_ADMIN = 21, /* a membership command, to the leader */
    WIRE_ADMIN_REPLY = 22,
    WIRE_FORM = 23, /* asks for the promise to join only this cluster */
    WIRE_FORM_REPLY = 24,
    WIRE_DIGEST = 25, /* asks what the digest of the state is */
    WIRE_DIGEST_REPLY = 26,
    WIRE_STATUS = 27, /* what the leader knows of the members */
    WIRE_STATUS_REPLY = 28,
};

struct wire_header {
    enum wire_type type;
    struct uuid cluster, from, to;
    uint64_t to_incarnation, from_incarnation;
    uint64_t term, seq;
};

/* One command of a FORWARD: the bytes of a log entry (kv/command.h). */
struct wire_bytes {
    const uint8_t *data; /* borrowed */
    size_t len;
};

struct wire_forward_result {
    int err; /* 0 or ERR_*; NOT_LEADER, OVERLOADED: not attempted; UNKNOWN */
    struct raft_pos pos;
    struct uuid leader; /* of pos.term */
    struct wire_bytes answer;
};

enum wire_admin_op {
    WIRE_ADMIN_ADD_LEARNER = 1, /* ids[0] (zero: whoever lives there), addr */
    WIRE_ADMIN_CHANGE = 2,      /* ids */
    WIRE_ADMIN_JOIN = 3, /* ids[0], incarnation, addr: a configured peer asks to become a voter */
    WIRE_ADMIN_MEMBER_LEARNER = 4, /* addr: whoever lives there */
    WIRE_ADMIN_MEMBER_VOTER = 5,   /* the same, to become a voter when it has caught up */
    WIRE_ADMIN_PROMOTE = 6,        /* ids[0] */
    WIRE_ADMIN_DEMOTE = 7,         /* ids[0] */
    WIRE_ADMIN_REMOVE = 8,         /* ids[0] */
    WIRE_ADMIN_TRANSFER = 9,       /* ids[0], zero: to anybody else */
    WIRE_ADMIN_LAST = WIRE_ADMIN_TRANSFER
};

/* One member as the leader sees it. */
struct wire_member_status {
    struct uuid id;
    char addr[LIMIT_ADDR_BYTES + 1];
    uint8_t roles;       /* enum raft_member_roles */
    uint64_t match, lag; /* index; entries */
    uint64_t rtt_us;     /* 0: not known */
    uint64_t heard_us_ago;
    uint64_t digest_index, digest; /* of its state; index 0: not known */
    uint8_t digest_compared;       /* 0: not yet, 1: the leader's, 2: another */
    bool alive, heard, caught_up, lost_data, in_snapshot, full;
};

/* One decoded or to-be-encoded message. Pointers borrow from the bytes decoded,
 * but for raft entries and snapshots, which are new and owned (wire_message_free). */
struct wire_message {
    struct wire_header header;
    union {
        struct raft_message raft; /* from, to, term, seq repeat the header */
        struct {
            int code; /* CLUSTER_MISMATCH, ID_MISMATCH, INCARNATION_MISMATCH, UNINITIALIZED */
            /* the header's cluster, from and from_incarnation say who is really there */
        } refused;
        struct {
            bool has_data;                   /* its log is not empty */
            char addr[LIMIT_ADDR_BYTES + 1]; /* where it is reached, by its own word */
            struct uuid leader;              /* zero: it knows none */
            char leader_addr[LIMIT_ADDR_BYTES + 1];
        } hello_reply;
        struct {
            struct wire_bytes *commands; /* owned array */
            unsigned n_commands;
        } forward;
        struct {
            struct wire_forward_result *results; /* owned array */
            unsigned n_results;
        } forward_reply;
        struct {
            enum wire_admin_op op;
            uint32_t timeout_ms; /* what is left of the client's time */
            uint64_t incarnation;
            char addr[LIMIT_ADDR_BYTES + 1];
            struct uuid ids[LIMIT_MEMBERS];
            unsigned n_ids;
        } admin;
        struct {
            int err;
            struct raft_pos pos;
            struct uuid pos_leader;
            struct uuid id, found, cluster;
            uint64_t distance;
            unsigned n_voters, n_alive; /* NO_QUORUM only */
        } admin_reply;
        struct {
            struct uuid new_cluster;
            unsigned n_peers;
            char peers[LIMIT_PEERS][LIMIT_ADDR_BYTES + 1]; /* in the asker's order */
        } form;
        struct {
            int err; /* 0: promised; EXISTS: in a cluster already (header.cluster); NOT_ALLOWED:
                        list differs, IN_PROGRESS: promised to another */
        } form_reply;
        struct {
            uint64_t index;  /* the last one applied; 0: none */
            uint64_t digest; /* of the state there, kv_digest() */
        } digest_reply;
        struct {
            bool leads; /* what follows is worth something */
            bool full, joint;
            struct raft_pos config_pos;
            unsigned n_members;
            struct wire_member_status members[LIMIT_MEMBERS];
        } status_reply;
    };
};

/* Appends the bytes of m to out. The caller keeps to the limits, and a raft
 * message repeats type, from, to, term and seq of its header. */
void wire_encode(const struct wire_message *m, struct buf *out);
/* Untrusted bytes. INVALID (magic, structure, limits), VERSION, CORRUPT (checksum).
 * Allocates at most about twenty times len. *ret_message is untouched on failure. */
MUST_CHECK int wire_decode(const void *p, size_t len, struct wire_message *ret_message);
/* Frees what a decoded message owns. Safe on a zeroed one. */
void wire_message_free(struct wire_message *m);

#endif
