/* SPDX-License-Identifier: MIT
 * Who votes, at the leader: changes, removal, demotion, and the handing over of
 * leadership, which a leader does before it takes its own vote away. No vote is
 * taken when the voters that answer would then be no majority: the cluster could
 * not even undo that.
 */
#include "node/admin.h"

/* ---- the voters as a set ---- */

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

void voters_start_change(struct driver *d, struct admin_op *op)
{
    struct raft_change changes[LIMIT_MEMBERS];
    struct raft_pos config_pos;
    raft_config(d->raft, &config_pos);
    if (other_change_pending(d)) {
        op->result.log_id = driver_log_id(d, config_pos);
        if (op->attempted)
            admin_restart(d, op); /* it may be this very change, begun under another leader */
        else
            admin_finish(d, op, ERR_IN_PROGRESS);
        return;
    }
    int err = judge_wanted(d, op);
    if (err == 0)
        err = raft_change_config(d->raft, changes, changes_wanted(d, op, changes), &op->pos);
    admin_proposed(d, op, err, ADMIN_SETTLING);
}

/* ---- taking a vote away ---- */

/* Without this voter. */
static int judge_quorum(const struct driver *d, struct admin_op *op)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    unsigned n_voters = 0, n_alive = 0;
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *m = &c->members[i];
        if (!(m->roles & RAFT_VOTER) || uuid_equal(m->id, op->ids[0]))
            continue;
        n_voters++;
        n_alive += driver_is_alive(d, m->id);
    }
    op->result.n_voters = n_voters;
    op->result.n_alive = n_alive;
    if (n_voters == 0)
        return ERR_EMPTY;
    return n_alive < n_voters / 2 + 1 ? ERR_NO_QUORUM : 0;
}

/* Who answers is known only after a while. */
static bool leads_long_enough(const struct driver *d)
{
    return d->now_ms - d->role_changed_ms > DRIVER_ALIVE_ELECTIONS * d->o.election_max_ms;
}

/* False: op goes on as that, or waits. A leader that nobody can follow takes its vote away itself:
 * the core hands over then as it can. */
static bool may_take_vote(struct driver *d, struct admin_op *op)
{
    bool is_self = uuid_equal(op->ids[0], d->identity.node);
    if (!leads_long_enough(d)) {
        admin_restart(d, op);
        return false;
    }
    int err = judge_quorum(d, op);
    if (err != 0) {
        admin_finish(d, op, err);
        return false;
    }
    if (is_self && !op->handed_over) {
        op->handed_over = true;
        op->phase = ADMIN_HANDOVER;
        return raft_transfer(d->raft, UUID_ZERO) != 0;
    }
    return true;
}

void voters_start_taking(struct driver *d, struct admin_op *op)
{
    const struct raft_member *m = driver_member(d, op->ids[0]);
    bool removes = op->op == WIRE_ADMIN_REMOVE;
    op->result.id = op->ids[0];
    if (!m && removes && op->attempted) {
        admin_finish(d, op, 0);
        return;
    }
    if (!m) {
        admin_finish(d, op, ERR_NOT_FOUND);
        return;
    }
    if (other_change_pending(d)) {
        admin_wait(d, op);
        return;
    }
    if ((m->roles & RAFT_VOTER) && !may_take_vote(d, op))
        return;
    struct raft_change c = {removes ? RAFT_REMOVE : RAFT_ADD_LEARNER, *m};
    admin_proposed(d, op, raft_change_config(d->raft, &c, 1, &op->pos), ADMIN_SETTLING);
}

/* ---- leadership ---- */

/* Whoever does not answer cannot lead, and to wait for it would hold up every write. */
static int judge_successor(const struct driver *d, struct uuid to)
{
    const struct raft_member *m = driver_member(d, to);
    if (uuid_is_zero(to))
        return 0;
    if (!m)
        return ERR_NOT_FOUND;
    if (!(m->roles & RAFT_VOTER))
        return ERR_NOT_ALLOWED;
    return driver_is_alive(d, to) ? 0 : ERR_UNREACHABLE;
}

void voters_start_transfer(struct driver *d, struct admin_op *op)
{
    struct uuid to = op->ids[0];
    op->result.id = to;
    if (uuid_equal(to, d->identity.node)) {
        admin_finish(d, op, 0);
        return;
    }
    int err = judge_successor(d, to);
    if (err == 0)
        err = raft_transfer(d->raft, to);
    if (err == ERR_NOT_FOUND && uuid_is_zero(to))
        err = ERR_UNREACHABLE; /* nobody else has a vote and answers */
    admin_proposed(d, op, err, ADMIN_HANDOVER);
}

void voters_advance_handover(struct driver *d, struct admin_op *op)
{
    struct raft_status s = raft_status(d->raft);
    bool transfers = op->op == WIRE_ADMIN_TRANSFER;
    if (s.role == RAFT_LEADER && !uuid_is_zero(s.transfer_to))
        return;
    if (!transfers) {
        admin_restart(d, op);
    } else if (s.role == RAFT_LEADER) {
        admin_finish(d, op, ERR_TIMEOUT); /* nothing came of it, and this one leads on */
    } else if (!uuid_is_zero(s.leader) && uuid_equal(s.leader, d->leader_seen)) {
        op->result.id = s.leader;
        bool is_wanted_one = uuid_is_zero(op->ids[0]) || uuid_equal(op->ids[0], s.leader);
        admin_finish(d, op, is_wanted_one ? 0 : ERR_TIMEOUT);
    }
}
