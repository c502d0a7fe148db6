/* SPDX-License-Identifier: MIT
 * Cluster configurations: who votes, who only learns, and the joint state
 * between two voter sets (Raft dissertation 4.3). Plain values and pure
 * functions; which configuration is in force is raft.c's business.
 *
 *      uniform C  --raft_config_enter_joint-->  joint C,C'
 *                                               joint C,C'  --raft_config_leave_joint-->  uniform
 * C'
 */
#ifndef RAFT_CONFIG_H
#define RAFT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/uuid.h"

enum raft_member_roles {
    RAFT_VOTER = 1,        /* votes in the (incoming) configuration */
    RAFT_VOTER_OLD = 2,    /* joint only: votes in the outgoing configuration */
    RAFT_LEARNER = 4,      /* receives entries, has no vote */
    RAFT_LEARNER_NEXT = 8, /* joint only: outgoing voter that becomes a learner on leaving */
    RAFT_VOTER_SOON = 16,  /* of a learner: whoever leads shall make it a voter when it has caught
                              up; the core itself does nothing about it */
};

struct raft_member {
    struct uuid id;
    uint64_t incarnation;            /* of its disk: random, made with the data directory */
    uint8_t roles;                   /* of enum raft_member_roles; never 0 */
    char addr[LIMIT_ADDR_BYTES + 1]; /* host:port others reach it by; not the core's business */
};

/* Members are sorted by id, each id once. */
struct raft_config {
    unsigned n_members;
    bool auto_leave; /* joint: the leader leaves it by itself once it is committed */
    struct raft_member members[LIMIT_MEMBERS];
};

/* One wish of a change. Whoever is removed leaves the configuration whole. */
enum raft_change_type {
    RAFT_ADD_VOTER,
    RAFT_ADD_LEARNER,
    RAFT_REMOVE,
    RAFT_UPDATE,
    RAFT_ADD_VOTER_SOON, /* a learner with that mark; of a voter: nothing */
};

struct raft_change {
    enum raft_change_type type;
    struct raft_member member; /* roles ignored; addr and incarnation used when it is new; by
                                  RAFT_UPDATE the addr, and the incarnation must be the same */
};

/* A voter in either set. */
static inline bool raft_member_votes(const struct raft_member *m)
{
    return (m->roles & (RAFT_VOTER | RAFT_VOTER_OLD)) != 0;
}

bool raft_config_is_joint(const struct raft_config *c);
/* The member with this id, or NULL. Borrowed from c. */
const struct raft_member *raft_config_find(const struct raft_config *c, struct uuid id);
/* Voters of the incoming (or only) configuration. */
unsigned raft_config_n_voters(const struct raft_config *c);

/* The rules are etcd-io/raft's confchange package: a simple change touches at
 * most one voter; entering needs a uniform configuration, leaving a joint one;
 * no result is without voters. Adding a voter that is one, or removing who is
 * not there, changes nothing. Demoting a voter in a joint change makes it
 * LEARNER_NEXT until the joint configuration is left.
 * Errors: EMPTY (no voter would be left), NOT_ALLOWED (more than one voter
 * changed by a simple change), IN_PROGRESS (already joint), INVALID (leave when
 * not joint), TOO_LARGE (too many members), INCARNATION_MISMATCH (an update that
 * would change the disk). *ret_config may be c itself. */
MUST_CHECK int raft_config_simple(const struct raft_config *c, const struct raft_change changes[],
                                  unsigned n, struct raft_config *ret_config);
MUST_CHECK int raft_config_enter_joint(const struct raft_config *c,
                                       const struct raft_change changes[], unsigned n,
                                       bool auto_leave, struct raft_config *ret_config);
MUST_CHECK int raft_config_leave_joint(const struct raft_config *c, struct raft_config *ret_config);

/* The bytes of a configuration entry: version, flags, count, members. */
void raft_config_encode(const struct raft_config *c, struct buf *out);
/* Untrusted bytes; checks order, roles and every bound. INVALID, VERSION or TOO_LARGE. */
MUST_CHECK int raft_config_decode(const void *p, size_t len, struct raft_config *ret_config);

#endif
