/* SPDX-License-Identifier: MIT
 * Membership commands. Each is an operation with a phase, looked at whenever
 * something happened; the leader carries it out, other nodes ask the leader
 * and relay its answer. An operation names the result it wants, so that after
 * a change of leader it simply starts again.
 *
 *      START --not leader--> ASKED (the leader) --> done
 *        |
 *        +--add, join--> HELLO (who lives there?) --> PROPOSED --> CATCH_UP --add--> done
 *        |                                                            '--join--> PROMOTED --> done
 *        +--change--> PROMOTED (joint if need be, then uniform) --> done
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "node/driver.h"

#define RETRY_MS         50
#define HELLO_TIMEOUT_MS 2000

enum phase { START, ASKED, HELLO, PROPOSED, CATCH_UP, PROMOTED };

struct admin_op {
    struct list link;
    uint64_t id;
    struct node_request *request;
    bool of_peer; /* request is a NODE_PEER with this question */
    struct wire_header question;

    enum wire_admin_op op;
    struct uuid ids[LIMIT_MEMBERS];
    unsigned n_ids;
    uint64_t incarnation; /* of ids[0], learned by HELLO */
    char addr[LIMIT_ADDR_BYTES + 1];

    enum phase phase;
    uint64_t deadline_ms, retry_ms;
    bool attempted;
    struct raft_pos pos; /* of the configuration proposed */
    struct {
        struct raft_pos pos;
        struct uuid pos_leader;
        struct uuid id, found, cluster;
        uint64_t distance;
    } result;
};

/* ---- the ends ---- */

static void answer_client(struct admin_op *op, int err)
{
    struct node_request *r = op->request;
    r->ret.admin.log_id =
        (struct node_log_id){op->result.pos.index, op->result.pos.term, op->result.pos_leader};
    r->ret.admin.id = op->result.id;
    r->ret.admin.found = op->result.found;
    r->ret.admin.cluster = op->result.cluster;
    r->ret.admin.distance = op->result.distance;
    driver_done(r, err);
}

static void answer_peer(struct driver *d, struct admin_op *op, int err)
{
    struct wire_message m = {.header = {.type = WIRE_ADMIN_REPLY}};
    m.admin_reply.err = err;
    m.admin_reply.pos = op->result.pos;
    m.admin_reply.pos_leader = op->result.pos_leader;
    m.admin_reply.id = op->result.id;
    m.admin_reply.found = op->result.found;
    m.admin_reply.cluster = op->result.cluster;
    m.admin_reply.distance = op->result.distance;
    peer_answer(d, op->request, &op->question, &m);
}

/* Ends the operation. Takes op. */
static void finish(struct driver *d, struct admin_op *op, int err)
{
    list_remove(&op->link);
    if (op->of_peer)
        answer_peer(d, op, err);
    else
        answer_client(op, err);
    mem_free(op);
}

static struct admin_op *op_new(struct driver *d, struct node_request *r, enum wire_admin_op what)
{
    struct admin_op *op = mem_zalloc(sizeof *op);
    op->id = ++d->exchanges.id_last;
    op->request = r;
    op->op = what;
    op->deadline_ms = r->deadline_ms;
    list_push_back(&d->admin_ops, &op->link);
    return op;
}

void admin_add(struct driver *d, struct node_request *r)
{
    if (!driver_is_member(d)) {
        driver_done(r, ERR_UNINITIALIZED);
        return;
    }
    if (r->type == NODE_ADD_LEARNER) {
        struct admin_op *op = op_new(d, r, WIRE_ADMIN_ADD_LEARNER);
        op->ids[0] = r->in.add_learner.id;
        op->n_ids = 1;
        snprintf(op->addr, sizeof op->addr, "%s", r->in.add_learner.addr);
        return;
    }
    struct admin_op *op = op_new(d, r, WIRE_ADMIN_CHANGE);
    op->n_ids = r->in.change_membership.n_ids;
    memcpy(op->ids, r->in.change_membership.ids, op->n_ids * sizeof *op->ids);
}

void admin_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    struct admin_op *op = op_new(d, r, m->admin.op);
    op->of_peer = true;
    op->question = m->header;
    op->n_ids = m->admin.n_ids;
    memcpy(op->ids, m->admin.ids, op->n_ids * sizeof *op->ids);
    snprintf(op->addr, sizeof op->addr, "%s", m->admin.addr);
    uint64_t deadline_ms = d->now_ms + m->admin.timeout_ms;
    if (deadline_ms < op->deadline_ms)
        op->deadline_ms = deadline_ms;
    bool of_itself = op->n_ids == 1 && uuid_equal(op->ids[0], m->header.from);
    if (m->admin.op == WIRE_ADMIN_ADD_LEARNER && of_itself && driver_member(d, op->ids[0]))
        move_note(d, op->ids[0], op->addr);
}

/* ---- asking the leader ---- */

static void restart(const struct driver *d, struct admin_op *op)
{
    op->phase = START;
    op->retry_ms = d->now_ms + RETRY_MS;
}

static void ask_leader(struct driver *d, struct admin_op *op)
{
    const struct raft_member *leader = driver_member(d, raft_status(d->raft).leader);
    if (!leader || op->deadline_ms <= d->now_ms)
        return;
    uint32_t left_ms = (uint32_t)(op->deadline_ms - d->now_ms);
    struct wire_message m = {.header = peer_header(d, WIRE_ADMIN, leader->id, leader->incarnation)};
    m.admin.op = op->op;
    m.admin.timeout_ms = left_ms;
    m.admin.n_ids = op->n_ids;
    memcpy(m.admin.ids, op->ids, op->n_ids * sizeof *op->ids);
    snprintf(m.admin.addr, sizeof m.admin.addr, "%s", op->addr);
    op->phase = ASKED;
    exchange_ask(d, EXCHANGE_ADMIN, TRANSPORT_ADMIN, TRANSPORT_CONTROL, move_addr(d, leader),
                 left_ms, &m)
        ->owner = op->id;
}

static void leader_answered(struct driver *d, struct admin_op *op, int err,
                            const struct wire_message *m)
{
    if (err != 0 || m->admin_reply.err == ERR_NOT_LEADER) {
        bool refused = m && m->header.type == WIRE_REFUSED; /* for certain not attempted */
        op->attempted |= err != ERR_UNREACHABLE && err != 0 && !refused;
        restart(d, op);
        return;
    }
    op->result.pos = m->admin_reply.pos;
    op->result.pos_leader = m->admin_reply.pos_leader;
    op->result.id = m->admin_reply.id;
    op->result.found = m->admin_reply.found;
    op->result.cluster = m->admin_reply.cluster;
    op->result.distance = m->admin_reply.distance;
    finish(d, op, m->admin_reply.err);
}

/* ---- the leader's part: adding ---- */

static void ask_hello(struct driver *d, struct admin_op *op)
{
    struct wire_message m = {.header = peer_header(d, WIRE_HELLO, UUID_ZERO, 0)};
    uint64_t left_ms = op->deadline_ms > d->now_ms ? op->deadline_ms - d->now_ms : 1;
    op->phase = HELLO;
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

static void start_adding(struct driver *d, struct admin_op *op)
{
    if (op->op == WIRE_ADMIN_JOIN && !is_configured_peer(d, op->addr)) {
        finish(d, op, ERR_NOT_ALLOWED);
        return;
    }
    const struct raft_member *m = driver_member(d, op->ids[0]);
    /* A member that moved speaks for itself (move.c). One that was removed meanwhile does not know.
     */
    if (!m && op->op == WIRE_ADMIN_ADD_LEARNER && op->of_peer &&
        uuid_equal(op->question.from, op->ids[0])) {
        finish(d, op, ERR_NOT_ALLOWED);
        return;
    }
    if (m && strcmp(m->addr, op->addr) == 0 && op->op == WIRE_ADMIN_ADD_LEARNER)
        finish(d, op, 0);
    else if (m && strcmp(m->addr, op->addr) == 0)
        op->phase = CATCH_UP;
    else
        ask_hello(d, op);
}

/* Proposes the learner; IN_PROGRESS only means to try again soon. */
static void propose_learner(struct driver *d, struct admin_op *op)
{
    struct raft_change c = {.type = RAFT_ADD_LEARNER};
    c.member.id = op->ids[0];
    c.member.incarnation = op->incarnation;
    snprintf(c.member.addr, sizeof c.member.addr, "%s", op->addr);
    if (driver_member(d, op->ids[0]))
        c.type = RAFT_UPDATE;
    int err = raft_change_config(d->raft, &c, 1, &op->pos);
    if (err == ERR_IN_PROGRESS || err == ERR_NOT_LEADER) {
        restart(d, op);
    } else if (err != 0) {
        finish(d, op, err);
    } else {
        op->attempted = true;
        op->phase = PROPOSED;
    }
}

static void hello_answered(struct driver *d, struct admin_op *op, int err,
                           const struct wire_message *m)
{
    if (err != 0) {
        finish(d, op, ERR_UNREACHABLE);
        return;
    }
    op->result.id = op->ids[0];
    op->result.found = m->header.from;
    if (!uuid_equal(m->header.from, op->ids[0])) {
        finish(d, op, ERR_ID_MISMATCH);
        return;
    }
    if (!uuid_is_zero(m->header.cluster) && !uuid_equal(m->header.cluster, d->identity.cluster)) {
        op->result.found = m->header.cluster;
        op->result.cluster = d->identity.cluster;
        finish(d, op, ERR_CLUSTER_MISMATCH);
        return;
    }
    op->incarnation = m->header.from_incarnation;
    propose_learner(d, op);
}

/* A newcomer that was configured as a peer becomes a voter, and takes the place of whoever had its
 * address before: that one lost its disk. */
static void promote(struct driver *d, struct admin_op *op)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    const struct raft_member *m = raft_config_find(c, op->ids[0]);
    struct raft_change changes[LIMIT_MEMBERS + 1];
    unsigned n = 0;
    if (!m) {
        restart(d, op);
        return;
    }
    changes[n++] = (struct raft_change){RAFT_ADD_VOTER, *m};
    for (unsigned i = 0; i < c->n_members; i++)
        if (&c->members[i] != m && strcmp(c->members[i].addr, m->addr) == 0)
            changes[n++] = (struct raft_change){RAFT_REMOVE, c->members[i]};
    int err = raft_change_config(d->raft, changes, n, &op->pos);
    if (err == 0)
        op->phase = PROMOTED;
    else if (err == ERR_IN_PROGRESS || err == ERR_NOT_LEADER)
        restart(d, op);
    else
        finish(d, op, err);
}

/* ---- the leader's part: changing ---- */

static bool is_wanted(const struct admin_op *op, struct uuid id)
{
    for (unsigned i = 0; i < op->n_ids; i++)
        if (uuid_equal(op->ids[i], id))
            return true;
    return false;
}

/* Every voter wanted is there and has caught up. */
static int judge_wanted(struct driver *d, struct admin_op *op)
{
    if (op->n_ids == 0)
        return ERR_EMPTY;
    for (unsigned i = 0; i < op->n_ids; i++) {
        const struct raft_member *m = driver_member(d, op->ids[i]);
        op->result.id = op->ids[i];
        if (!m)
            return ERR_NOT_FOUND;
        if (!(m->roles & RAFT_VOTER) && !driver_has_caught_up(d, op->ids[i], &op->result.distance))
            return ERR_LAGGING;
    }
    return 0;
}

static unsigned changes_wanted(const struct driver *d, const struct admin_op *op,
                               struct raft_change changes[])
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *m = &c->members[i];
        bool wanted = is_wanted(op, m->id);
        if (wanted && !(m->roles & RAFT_VOTER))
            changes[n++] = (struct raft_change){RAFT_ADD_VOTER, *m};
        else if (!wanted && raft_member_votes(m))
            changes[n++] = (struct raft_change){RAFT_REMOVE, *m};
    }
    return n;
}

/* Another change is under way, as opposed to: this leader is too new to make one. */
static bool other_change_pending(const struct driver *d)
{
    return raft_config_is_joint(raft_config(d->raft, NULL)) || !raft_config_is_committed(d->raft);
}

static void start_changing(struct driver *d, struct admin_op *op)
{
    struct raft_change changes[LIMIT_MEMBERS];
    struct raft_pos config_pos;
    raft_config(d->raft, &config_pos);
    if (other_change_pending(d)) {
        op->result.pos = config_pos;
        op->result.pos_leader = machine_leader_of(d->machine, config_pos.term);
        if (op->attempted)
            restart(d, op); /* it may be this very change, begun under another leader */
        else
            finish(d, op, ERR_IN_PROGRESS);
        return;
    }
    int err = judge_wanted(d, op);
    if (err == 0)
        err = raft_change_config(d->raft, changes, changes_wanted(d, op, changes), &op->pos);
    if (err == ERR_IN_PROGRESS || err == ERR_NOT_LEADER) {
        restart(d, op);
    } else if (err != 0) {
        finish(d, op, err);
    } else {
        op->attempted = true;
        op->phase = PROMOTED;
    }
}

/* ---- phases ---- */

static bool is_settled(const struct driver *d, const struct admin_op *op)
{
    struct raft_pos pos;
    const struct raft_config *c = raft_config(d->raft, &pos);
    return pos.index >= op->pos.index && raft_config_is_committed(d->raft) &&
           !raft_config_is_joint(c);
}

static void start(struct driver *d, struct admin_op *op)
{
    if (op->retry_ms > d->now_ms)
        return;
    if (driver_is_leader(d) && op->op == WIRE_ADMIN_CHANGE)
        start_changing(d, op);
    else if (driver_is_leader(d))
        start_adding(d, op);
    else if (op->of_peer)
        finish(d, op, ERR_NOT_LEADER);
    else
        ask_leader(d, op);
}

static void advance(struct driver *d, struct admin_op *op)
{
    bool leads = driver_is_leader(d);
    if (op->phase == START) {
        start(d, op);
        return;
    }
    /* A leader that its own change removed still knows that the change was committed. */
    if (op->phase == PROMOTED && is_settled(d, op)) {
        finish(d, op, 0);
        return;
    }
    if (op->phase >= PROPOSED && !leads) {
        restart(d, op);
        return;
    }
    if (op->phase == PROPOSED && is_settled(d, op))
        op->phase = CATCH_UP;
    if (op->phase == CATCH_UP && driver_has_caught_up(d, op->ids[0], &op->result.distance)) {
        if (op->op == WIRE_ADMIN_JOIN)
            promote(d, op);
        else
            finish(d, op, 0);
    }
}

void admin_pump(struct driver *d)
{
    LIST_FOREACH_SAFE (it, following, &d->admin_ops)
        advance(d, LIST_ENTRY(it, struct admin_op, link));
}

void admin_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    LIST_FOREACH (it, &d->admin_ops) {
        struct admin_op *op = LIST_ENTRY(it, struct admin_op, link);
        if (op->id != x->owner)
            continue;
        if (op->phase == ASKED && x->kind == EXCHANGE_ADMIN)
            leader_answered(d, op, err, m);
        else if (op->phase == HELLO && x->kind == EXCHANGE_HELLO)
            hello_answered(d, op, err, m);
        return;
    }
}

static int expired_code(const struct admin_op *op)
{
    if (op->phase == CATCH_UP)
        return ERR_TIMEOUT;
    return op->attempted || op->phase == ASKED ? ERR_UNKNOWN : ERR_NO_LEADER;
}

void admin_expire(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->admin_ops) {
        struct admin_op *op = LIST_ENTRY(it, struct admin_op, link);
        if (all || op->deadline_ms <= d->now_ms)
            finish(d, op, expired_code(op));
    }
}
