/* SPDX-License-Identifier: MIT
 * Newcomers, at the leader: who lives at an address is asked, comes in as a
 * learner, and becomes a voter when it has caught up (PITFALLS 39). That it
 * shall is a mark in the configuration, so that whoever leads then does it,
 * also when nobody waits for it any more.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "node/admin.h"

#define HELLO_TIMEOUT_MS 2000

/* ---- who lives there? ---- */

static void ask_hello(struct driver *d, struct admin_op *op)
{
    struct wire_message m = {.header = peer_header(d, WIRE_HELLO, UUID_ZERO, 0)};
    uint64_t left_ms = op->deadline_ms > d->now_ms ? op->deadline_ms - d->now_ms : 1;
    op->phase = ADMIN_HELLO;
    exchange_ask(d, EXCHANGE_HELLO, TRANSPORT_HELLO, TRANSPORT_CONTROL, op->addr,
                 left_ms < HELLO_TIMEOUT_MS ? (uint32_t)left_ms : HELLO_TIMEOUT_MS, &m)
        ->owner = op->id;
}

static bool is_configured_peer(const struct driver *d, const char *addr)
{
    for (unsigned i = 0; i < d->o.n_peers; i++)
        if (strcmp(d->o.peers[i], addr) == 0)
            return true;
    return false;
}

static bool names_only_an_address(const struct admin_op *op)
{
    return op->op == WIRE_ADMIN_MEMBER_LEARNER || op->op == WIRE_ADMIN_MEMBER_VOTER;
}

void joining_start(struct driver *d, struct admin_op *op)
{
    if (names_only_an_address(op)) {
        ask_hello(d, op);
        return;
    }
    if (op->op == WIRE_ADMIN_JOIN && !is_configured_peer(d, op->addr)) {
        admin_finish(d, op, ERR_NOT_ALLOWED);
        return;
    }
    const struct raft_member *m = driver_member(d, op->ids[0]);
    /* A member that moved speaks for itself (move.c). One that was removed meanwhile does not know.
     */
    if (!m && op->op == WIRE_ADMIN_ADD_LEARNER && op->of_peer &&
        uuid_equal(op->question.from, op->ids[0])) {
        admin_finish(d, op, ERR_NOT_ALLOWED);
        return;
    }
    if (m && strcmp(m->addr, op->addr) == 0)
        admin_finish(d, op, 0);
    else
        ask_hello(d, op);
}

/* IN_PROGRESS only means to try again soon. */
static void propose(struct driver *d, struct admin_op *op)
{
    struct raft_change c = {.type = RAFT_ADD_LEARNER};
    c.member.id = op->ids[0];
    c.member.incarnation = op->incarnation;
    snprintf(c.member.addr, sizeof c.member.addr, "%s", op->addr);
    if (driver_member(d, op->ids[0]))
        c.type = RAFT_UPDATE;
    else if (op->op == WIRE_ADMIN_MEMBER_VOTER || op->op == WIRE_ADMIN_JOIN)
        c.type = RAFT_ADD_VOTER_SOON;
    admin_proposed(d, op, raft_change_config(d->raft, &c, 1, &op->pos), ADMIN_PROPOSED);
}

static bool is_of_another_cluster(const struct driver *d, const struct wire_header *h)
{
    return !uuid_is_zero(h->cluster) && !uuid_equal(h->cluster, d->identity.cluster);
}

/* Nobody answers, or something that is none of us. */
static int hello_failure(const struct admin_op *op, int err)
{
    bool is_silent = err == ERR_UNREACHABLE || err == ERR_TIMEOUT;
    return names_only_an_address(op) && !is_silent ? ERR_INVALID : ERR_UNREACHABLE;
}

void joining_hello_answered(struct driver *d, struct admin_op *op, int err,
                            const struct wire_message *m)
{
    if (err != 0) {
        admin_finish(d, op, hello_failure(op, err));
        return;
    }
    struct uuid found = m->header.from;
    op->result.id = names_only_an_address(op) ? found : op->ids[0];
    op->result.found = found;
    if (!uuid_equal(found, op->result.id)) {
        admin_finish(d, op, ERR_ID_MISMATCH);
        return;
    }
    if (is_of_another_cluster(d, &m->header)) {
        op->result.found = m->header.cluster;
        op->result.cluster = d->identity.cluster;
        admin_finish(d, op, ERR_CLUSTER_MISMATCH);
        return;
    }
    if (!raft_config_is_committed(d->raft)) {
        admin_wait(d, op);
        return;
    }
    const struct raft_member *known = driver_member(d, found);
    if (names_only_an_address(op) && known) {
        if (known->incarnation == m->header.from_incarnation)
            admin_already_member(d, op, found);
        else
            admin_finish(d, op, ERR_INCARNATION_MISMATCH);
        return;
    }
    op->ids[0] = found;
    op->n_ids = 1;
    op->incarnation = m->header.from_incarnation;
    propose(d, op);
}

/* ---- promotion ---- */

/* A newcomer takes the place of whoever had its address before: that one lost its disk. */
static int promote(struct driver *d, const struct raft_member *m, struct raft_pos *ret_pos)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    struct raft_change changes[LIMIT_MEMBERS + 1];
    unsigned n = 0;
    changes[n++] = (struct raft_change){RAFT_ADD_VOTER, *m};
    for (unsigned i = 0; i < c->n_members; i++)
        if (&c->members[i] != m && strcmp(c->members[i].addr, m->addr) == 0)
            changes[n++] = (struct raft_change){RAFT_REMOVE, c->members[i]};
    return raft_change_config(d->raft, changes, n, ret_pos);
}

void joining_start_promotion(struct driver *d, struct admin_op *op)
{
    const struct raft_member *m = driver_member(d, op->ids[0]);
    op->result.id = op->ids[0];
    if (!m) {
        admin_finish(d, op, ERR_NOT_FOUND);
        return;
    }
    if (m->roles & (RAFT_VOTER | RAFT_VOTER_SOON)) {
        op->phase = ADMIN_CATCH_UP;
        return;
    }
    struct raft_change c = {RAFT_ADD_VOTER_SOON, *m};
    admin_proposed(d, op, raft_change_config(d->raft, &c, 1, &op->pos), ADMIN_PROPOSED);
}

/* The configuration says what the operation wants, for good; *ret_gone: it never will. */
static bool is_voter_now(const struct driver *d, const struct admin_op *op, bool *ret_gone)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    const struct raft_member *m = raft_config_find(c, op->ids[0]);
    bool is_final = raft_config_is_committed(d->raft) && !raft_config_is_joint(c);
    *ret_gone = is_final && (!m || !(m->roles & (RAFT_VOTER | RAFT_VOTER_SOON)));
    return is_final && m && (m->roles & RAFT_VOTER);
}

void joining_advance(struct driver *d, struct admin_op *op)
{
    bool becomes_voter = op->op == WIRE_ADMIN_MEMBER_VOTER || op->op == WIRE_ADMIN_PROMOTE;
    bool gone, has_caught_up = driver_has_caught_up(d, op->ids[0], &op->result.distance);
    if (becomes_voter) {
        if (is_voter_now(d, op, &gone))
            admin_finish(d, op, 0);
        else if (gone) /* another command wants something else */
            admin_finish(d, op, ERR_NOT_FOUND);
    } else if (has_caught_up || op->op == WIRE_ADMIN_JOIN) {
        admin_finish(d, op, 0);
    }
}

static const struct raft_member *next_to_promote(const struct driver *d)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    uint64_t distance;
    for (unsigned i = 0; i < c->n_members; i++)
        if ((c->members[i].roles & RAFT_VOTER_SOON) &&
            driver_has_caught_up(d, c->members[i].id, &distance))
            return &c->members[i];
    return NULL;
}

void joining_pump(struct driver *d)
{
    char id[UUID_TEXT_LEN + 1];
    struct raft_pos pos;
    if (!driver_is_leader(d) || !raft_config_is_committed(d->raft))
        return;
    const struct raft_member *m = next_to_promote(d);
    if (!m)
        return;
    uuid_format(m->id, id);
    if (promote(d, m, &pos) == 0) /* else: soon */
        LOG_INFO("node %s has caught up and becomes a voter", id);
}
