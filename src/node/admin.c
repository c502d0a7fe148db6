/* SPDX-License-Identifier: MIT
 * Membership commands. Each is an operation with a phase, looked at whenever
 * something happened; the leader carries it out, other nodes ask the leader
 * and relay its answer. An operation names the result it wants, so that after
 * a change of leader it simply starts again.
 *
 *      START --not leader--> ASKED (the leader) --> done
 *        |
 *        +--add, join--> HELLO (who lives there?) --> PROPOSED --> CATCH_UP --> done
 *        +--promote----------------------------------> PROPOSED --> CATCH_UP --> done
 *        +--change, remove, demote----------------------------> SETTLING --> done
 *        +--transfer; remove and demote the leader--> HANDOVER --> done, START
 */
#include "node/admin.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define RETRY_MS        50
#define TIMEOUT_MS_MAX  (10 * 60 * 1000) /* as of ?timeout= */
#define ANSWER_SPARE_MS 200              /* kept of the client's time for the leader's answer */

/* ---- the ends ---- */

static void answer_peer(struct driver *d, struct admin_op *op, int err)
{
    struct wire_message m = {.header = {.type = WIRE_ADMIN_REPLY}};
    m.admin_reply.err = err;
    m.admin_reply.pos.index = op->result.log_id.index;
    m.admin_reply.pos.term = op->result.log_id.term;
    m.admin_reply.pos_leader = op->result.log_id.leader;
    m.admin_reply.id = op->result.id;
    m.admin_reply.found = op->result.found;
    m.admin_reply.cluster = op->result.cluster;
    m.admin_reply.distance = op->result.distance;
    m.admin_reply.n_voters = op->result.n_voters;
    m.admin_reply.n_alive = op->result.n_alive;
    peer_answer(d, op->request, &op->question, &m);
}

void admin_finish(struct driver *d, struct admin_op *op, int err)
{
    list_remove(&op->link);
    if (op->of_peer) {
        answer_peer(d, op, err);
    } else {
        op->request->ret.admin = op->result;
        driver_done(op->request, err);
    }
    mem_free(op);
}

/* ---- the beginnings ---- */

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

static void add_of_address(struct driver *d, struct node_request *r, enum wire_admin_op what,
                           const char *addr)
{
    struct admin_op *op = op_new(d, r, what);
    snprintf(op->addr, sizeof op->addr, "%s", addr);
}

static void add_of_ids(struct driver *d, struct node_request *r, enum wire_admin_op what,
                       const struct uuid ids[], unsigned n_ids)
{
    struct admin_op *op = op_new(d, r, what);
    op->n_ids = n_ids;
    memcpy(op->ids, ids, n_ids * sizeof *ids);
}

static void add_learner(struct driver *d, struct node_request *r)
{
    struct admin_op *op = op_new(d, r, WIRE_ADMIN_ADD_LEARNER);
    op->ids[0] = r->in.add_learner.id;
    op->n_ids = 1;
    snprintf(op->addr, sizeof op->addr, "%s", r->in.add_learner.addr);
}

void admin_add(struct driver *d, struct node_request *r)
{
    const struct uuid *id = &r->in.member.id;
    if (!driver_is_member(d)) {
        driver_done(r, ERR_UNINITIALIZED);
        return;
    }
    switch (r->type) {
    case NODE_ADD_LEARNER:
        add_learner(d, r);
        break;
    case NODE_CHANGE_MEMBERSHIP:
        add_of_ids(d, r, WIRE_ADMIN_CHANGE, r->in.change_membership.ids,
                   r->in.change_membership.n_ids);
        break;
    case NODE_MEMBER_ADD:
        add_of_address(d, r,
                       r->in.member_add.voter ? WIRE_ADMIN_MEMBER_VOTER : WIRE_ADMIN_MEMBER_LEARNER,
                       r->in.member_add.addr);
        break;
    case NODE_MEMBER_REMOVE:
        add_of_ids(d, r, WIRE_ADMIN_REMOVE, id, 1);
        break;
    case NODE_MEMBER_PROMOTE:
        add_of_ids(d, r, WIRE_ADMIN_PROMOTE, id, 1);
        break;
    case NODE_MEMBER_DEMOTE:
        add_of_ids(d, r, WIRE_ADMIN_DEMOTE, id, 1);
        break;
    case NODE_TRANSFER:
        add_of_ids(d, r, WIRE_ADMIN_TRANSFER, id, 1);
        break;
    default:
        driver_done(r, ERR_INVALID);
    }
}

/* Those about one node name one, TRANSFER perhaps nobody: zero. */
static bool names_what_it_needs(const struct wire_message *m)
{
    switch (m->admin.op) {
    case WIRE_ADMIN_CHANGE:
        return true;
    case WIRE_ADMIN_MEMBER_LEARNER:
    case WIRE_ADMIN_MEMBER_VOTER:
        return m->admin.addr[0] != 0;
    default:
        return m->admin.n_ids == 1;
    }
}

void admin_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    if (!names_what_it_needs(m)) {
        peer_fail(r, 400, "a command that does not say about whom\n");
        return;
    }
    struct admin_op *op = op_new(d, r, m->admin.op);
    op->of_peer = true;
    op->question = m->header;
    op->n_ids = m->admin.n_ids;
    memcpy(op->ids, m->admin.ids, op->n_ids * sizeof *op->ids);
    snprintf(op->addr, sizeof op->addr, "%s", m->admin.addr);
    /* The client's time, which may be more than a peer's question has otherwise. */
    op->deadline_ms =
        d->now_ms + (m->admin.timeout_ms < TIMEOUT_MS_MAX ? m->admin.timeout_ms : TIMEOUT_MS_MAX);
    bool of_itself = op->n_ids == 1 && uuid_equal(op->ids[0], m->header.from);
    if (m->admin.op == WIRE_ADMIN_ADD_LEARNER && of_itself && driver_member(d, op->ids[0]))
        move_note(d, op->ids[0], op->addr);
}

/* ---- asking the leader ---- */

void admin_restart(const struct driver *d, struct admin_op *op)
{
    op->phase = ADMIN_START;
    op->retry_ms = d->now_ms + RETRY_MS;
    op->handed_over &= driver_is_leader(d);
}

/* What the leader may take of the time that is left: its answer shall come before this node gives
 * up waiting for it. */
static uint32_t leaders_share_ms(uint32_t left_ms)
{
    uint32_t spare_ms = left_ms / 4;
    return left_ms - (spare_ms < ANSWER_SPARE_MS ? spare_ms : ANSWER_SPARE_MS);
}

static void ask_leader(struct driver *d, struct admin_op *op)
{
    const struct raft_member *leader = driver_member(d, raft_status(d->raft).leader);
    if (!leader || op->deadline_ms <= d->now_ms)
        return;
    uint32_t left_ms = (uint32_t)(op->deadline_ms - d->now_ms);
    struct wire_message m = {.header = peer_header(d, WIRE_ADMIN, leader->id, leader->incarnation)};
    m.admin.op = op->op;
    m.admin.timeout_ms = leaders_share_ms(left_ms);
    m.admin.n_ids = op->n_ids;
    memcpy(m.admin.ids, op->ids, op->n_ids * sizeof *op->ids);
    snprintf(m.admin.addr, sizeof m.admin.addr, "%s", op->addr);
    op->phase = ADMIN_ASKED;
    if (uuid_is_zero(op->leader))
        op->leader = leader->id;
    exchange_ask(d, EXCHANGE_ADMIN, TRANSPORT_ADMIN, TRANSPORT_CONTROL, move_addr(d, leader),
                 left_ms, &m)
        ->owner = op->id;
}

static void take_result(struct admin_op *op, const struct wire_message *m)
{
    op->result.log_id = (struct node_log_id){m->admin_reply.pos.index, m->admin_reply.pos.term,
                                             m->admin_reply.pos_leader};
    op->result.id = m->admin_reply.id;
    op->result.found = m->admin_reply.found;
    op->result.cluster = m->admin_reply.cluster;
    op->result.distance = m->admin_reply.distance;
    op->result.n_voters = m->admin_reply.n_voters;
    op->result.n_alive = m->admin_reply.n_alive;
}

void admin_wait(const struct driver *d, struct admin_op *op)
{
    op->hindered = ERR_IN_PROGRESS;
    admin_restart(d, op);
}

static bool adds_by_address(const struct admin_op *op)
{
    return op->op == WIRE_ADMIN_MEMBER_LEARNER || op->op == WIRE_ADMIN_MEMBER_VOTER;
}

void admin_already_member(struct driver *d, struct admin_op *op, struct uuid id)
{
    op->result.id = id;
    if (!op->attempted || !adds_by_address(op)) {
        admin_finish(d, op, ERR_EXISTS);
    } else if (op->op == WIRE_ADMIN_MEMBER_LEARNER) {
        admin_finish(d, op, 0);
    } else {
        op->op = WIRE_ADMIN_PROMOTE;
        op->ids[0] = id;
        op->n_ids = 1;
        admin_restart(d, op);
    }
}

/* What cannot be told from the outcome of an earlier try of the same command. */
static bool must_ask_again(const struct admin_op *op, int err)
{
    return err == ERR_UNKNOWN || (op->attempted && err == ERR_IN_PROGRESS);
}

static void leader_answered(struct driver *d, struct admin_op *op, int err,
                            const struct wire_message *m)
{
    bool refused = m && m->header.type == WIRE_REFUSED; /* for certain not attempted */
    if (err == 0)
        take_result(op, m);
    if (err == 0 && m->admin_reply.err != ERR_NOT_LEADER &&
        !must_ask_again(op, m->admin_reply.err)) {
        err = m->admin_reply.err;
        if (err == ERR_EXISTS)
            admin_already_member(d, op, op->result.id);
        else if (err == ERR_NOT_FOUND && op->attempted && op->op == WIRE_ADMIN_REMOVE)
            admin_finish(d, op, 0);
        else
            admin_finish(d, op, err);
        return;
    }
    if (err == 0)
        op->attempted |= m->admin_reply.err == ERR_UNKNOWN;
    else
        op->attempted |= err != ERR_UNREACHABLE && !refused;
    admin_restart(d, op);
}

/* ---- phases ---- */

void admin_proposed(struct driver *d, struct admin_op *op, int err, enum admin_phase next)
{
    if (err == ERR_IN_PROGRESS || err == ERR_NOT_LEADER) {
        op->hindered = err == ERR_IN_PROGRESS ? err : 0;
        admin_restart(d, op);
    } else if (err != 0) {
        admin_finish(d, op, err);
    } else {
        op->attempted = true;
        op->phase = next;
    }
}

/* What was proposed, if anything was, is in the log: a later leader may have put something else in
 * its place. */
static bool is_in_log(const struct driver *d, struct raft_pos pos)
{
    struct raft_status s = raft_status(d->raft);
    bool leads_on = s.role == RAFT_LEADER && s.term == pos.term;
    uint64_t term;
    return leads_on || pos.index == 0 ||
           (raft_term_at(d->raft, pos.index, &term) == 0 && term == pos.term);
}

static bool is_settled(const struct driver *d, const struct admin_op *op)
{
    struct raft_pos pos;
    const struct raft_config *c = raft_config(d->raft, &pos);
    return pos.index >= op->pos.index && is_in_log(d, op->pos) &&
           raft_config_is_committed(d->raft) && !raft_config_is_joint(c);
}

static void start_at_leader(struct driver *d, struct admin_op *op)
{
    switch (op->op) {
    case WIRE_ADMIN_CHANGE:
        voters_start_change(d, op);
        break;
    case WIRE_ADMIN_ADD_LEARNER:
    case WIRE_ADMIN_JOIN:
    case WIRE_ADMIN_MEMBER_LEARNER:
    case WIRE_ADMIN_MEMBER_VOTER:
        joining_start(d, op);
        break;
    case WIRE_ADMIN_PROMOTE:
        joining_start_promotion(d, op);
        break;
    case WIRE_ADMIN_DEMOTE:
    case WIRE_ADMIN_REMOVE:
        voters_start_taking(d, op);
        break;
    case WIRE_ADMIN_TRANSFER:
        voters_start_transfer(d, op);
        break;
    }
}

/* An earlier try of handing over to anybody did it. */
static bool was_handed_over(const struct driver *d, const struct admin_op *op)
{
    struct uuid leader = raft_status(d->raft).leader;
    return op->op == WIRE_ADMIN_TRANSFER && op->attempted && !uuid_is_zero(leader) &&
           (uuid_is_zero(op->ids[0]) ? !uuid_equal(leader, op->leader)
                                     : uuid_equal(leader, op->ids[0]));
}

/* A configuration that is not committed may never come to be: no answer rests on it. */
static bool must_wait(const struct driver *d, const struct admin_op *op)
{
    bool is_of_members = op->op != WIRE_ADMIN_CHANGE && op->op != WIRE_ADMIN_TRANSFER;
    return is_of_members && !raft_config_is_committed(d->raft);
}

static void start(struct driver *d, struct admin_op *op)
{
    if (op->retry_ms > d->now_ms)
        return;
    if (was_handed_over(d, op)) {
        op->result.id = raft_status(d->raft).leader;
        admin_finish(d, op, 0);
    } else if (driver_is_leader(d) && must_wait(d, op)) {
        admin_wait(d, op);
    } else if (driver_is_leader(d)) {
        start_at_leader(d, op);
    } else if (op->of_peer) {
        admin_finish(d, op, op->attempted ? ERR_UNKNOWN : ERR_NOT_LEADER);
    } else {
        ask_leader(d, op);
    }
}

static void advance(struct driver *d, struct admin_op *op)
{
    if (op->phase == ADMIN_START)
        start(d, op);
    else if (op->phase == ADMIN_SETTLING && is_settled(d, op))
        admin_finish(d, op, 0); /* a leader that it removed still knows that it was committed */
    else if (op->phase == ADMIN_HANDOVER)
        voters_advance_handover(d, op);
    else if (op->phase >= ADMIN_PROPOSED && !driver_is_leader(d))
        admin_restart(d, op);
    else if (op->phase == ADMIN_PROPOSED && is_settled(d, op))
        op->phase = ADMIN_CATCH_UP;
    else if (op->phase == ADMIN_CATCH_UP)
        joining_advance(d, op);
}

void admin_pump(struct driver *d)
{
    joining_pump(d);
    LIST_FOREACH_SAFE (it, following, &d->admin_ops)
        advance(d, LIST_ENTRY(it, struct admin_op, link));
}

void admin_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    LIST_FOREACH (it, &d->admin_ops) {
        struct admin_op *op = LIST_ENTRY(it, struct admin_op, link);
        if (op->id != x->owner)
            continue;
        if (op->phase == ADMIN_ASKED && x->kind == EXCHANGE_ADMIN)
            leader_answered(d, op, err, m);
        else if (op->phase == ADMIN_HELLO && x->kind == EXCHANGE_HELLO)
            joining_hello_answered(d, op, err, m);
        return;
    }
}

static int expired_code(const struct admin_op *op)
{
    if (op->phase == ADMIN_CATCH_UP)
        return ERR_TIMEOUT;
    if (op->attempted || op->phase == ADMIN_ASKED)
        return ERR_UNKNOWN;
    return op->hindered ? op->hindered : ERR_NO_LEADER;
}

void admin_expire(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->admin_ops) {
        struct admin_op *op = LIST_ENTRY(it, struct admin_op, link);
        bool in_time = op->deadline_ms > d->now_ms;
        if (all && in_time && op->of_peer)
            admin_finish(d, op, ERR_UNKNOWN); /* the next leader goes on with it */
        else if (all || !in_time)
            admin_finish(d, op, expired_code(op));
    }
}
