/* SPDX-License-Identifier: MIT
 * Handing over leadership (dissertation 3.10): the leader takes no proposals,
 * waits until the target's log is its own, tells it to campaign at once, and
 * goes on leading when nothing has come of it after one election timeout.
 *
 *      raft_transfer -> target has all -> TIMEOUT_NOW -> target campaigns -> a higher term
 *             '----------- refused, or one election timeout ----------> leads on
 */
#include "base/assert.h"
#include "raft/core.h"

bool raft_is_transferring(const struct raft *r)
{
    return !uuid_is_zero(r->transfer_to);
}

/* A learner is never told to lead (PITFALLS 11), nor who is about to lose its vote. */
static bool may_take_over(const struct raft *r, unsigned i)
{
    return !raft_is_self(r, i) && !r->peers[i].lost_data &&
           (raft_config_in_force(r)->members[i].roles & RAFT_VOTER);
}

/* The voter with the longest log of those heard lately; -1: there is none. */
static int best_voter(const struct raft *r)
{
    int best = -1;
    for (unsigned i = 0; i < r->n_peers; i++) {
        const struct raft_progress *p = &r->peers[i];
        bool heard = r->tick - p->heard_tick < r->opt.election_ticks_min;
        if (may_take_over(r, i) && heard && !r->peers[i].full &&
            (best < 0 || p->match > r->peers[best].match))
            best = (int)i;
    }
    return best;
}

int raft_transfer(struct raft *r, struct uuid to)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (raft_is_transferring(r))
        return uuid_is_zero(to) || uuid_equal(to, r->transfer_to) ? 0 : ERR_IN_PROGRESS;
    int i = uuid_is_zero(to) ? best_voter(r) : raft_member_index(r, to);
    if (i < 0)
        return ERR_NOT_FOUND;
    if (!may_take_over(r, (unsigned)i))
        return ERR_NOT_ALLOWED;
    r->transfer_to = r->peers[i].id;
    r->n_transfers++;
    r->transfer_tick = r->tick;
    r->transfer_seq = 0;
    return 0;
}

static void give_up(struct raft *r)
{
    r->transfer_to = UUID_ZERO;
    raft_membership_committed(r); /* a joint configuration waited for the end of the transfer */
    raft_advance_commit(r);
}

/* The target's log must be durable up to our end, which stands still meanwhile (PITFALLS 13). */
void raft_transfer_advance(struct raft *r)
{
    if (!raft_is_transferring(r) || r->transfer_seq != 0)
        return;
    int i = raft_member_index(r, r->transfer_to);
    if (i < 0 || raft_progress_counted(&r->peers[i]) < raft_log_last(r->log).index)
        return;
    raft_lease_drop(r); /* before, and for the whole term: it may arrive late (PITFALLS 46, 47) */
    struct raft_message *m = raft_send(r, RAFT_TIMEOUT_NOW, r->transfer_to);
    m->seq = r->transfer_seq = ++r->seq;
}

/* A TIMEOUT_NOW may be lost: it is sent again with the next heartbeats. Twice does no harm, the
 * term has moved on then. */
void raft_transfer_tick(struct raft *r)
{
    if (!raft_is_transferring(r))
        return;
    if (r->tick - r->transfer_tick >= r->opt.election_ticks_max)
        give_up(r);
    else if (r->heartbeat_elapsed == 0)
        r->transfer_seq = 0;
}

void raft_on_timeout_now_reply(struct raft *r, const struct raft_message *m)
{
    bool asked = raft_is_transferring(r) && uuid_equal(m->from, r->transfer_to) &&
                 r->transfer_seq != 0 && m->seq == r->transfer_seq;
    if (asked && !m->timeout_now_reply.ok)
        give_up(r);
}

/* Everything it has is on its disk: or it would campaign with a log that it may
 * not have after a crash, while the disk is behind already (PITFALLS 12). */
static bool is_settled(const struct raft *r)
{
    return raft_hard_state_is_durable(r) && !raft_log_is_dirty(r->log) &&
           raft_log_durable(r->log) == raft_log_last(r->log).index;
}

void raft_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {
        .type = RAFT_TIMEOUT_NOW_REPLY, .to = m->from, .seq = m->seq, .term = r->term};
    bool ok = m->term == r->term && r->role == RAFT_FOLLOWER && uuid_equal(r->leader, m->from) &&
              raft_is_voter(r) && is_settled(r) && !r->full;
    answer.timeout_now_reply.ok = ok;
    raft_answer(r, &answer, 0);
    if (ok)
        raft_campaign_at_once(r);
}
