/* SPDX-License-Identifier: MIT
 * The invariants of the core, for tests and the simulator.
 */
#include "base/assert.h"
#include "raft/core.h"

static void check_positions(const struct raft *r)
{
    struct raft_pos last = raft_log_last(r->log);
    /* Until the state machine is replaced it is behind the log's base. */
    ASSERT(raft_log_base(r->log).index <= r->applied || r->installing);
    ASSERT(r->applied <= r->commit); /* PITFALLS 23 */
    ASSERT(r->commit <= r->verified);
    ASSERT(r->verified <= last.index);
    ASSERT(last.term <= r->term);
    /* What is not applied can still be handed out, what is not durable persisted. */
    ASSERT(raft_log_cached_from(r->log) <= r->applied + 1 || r->installing);
    ASSERT(r->persisted_seq <= r->persist_seq);
    ASSERT(r->hard_state_seq <= r->persist_seq);
}

static void check_config(const struct raft *r)
{
    struct raft_pos pos;
    const struct raft_config *config = raft_history_latest(r->history, &pos);
    ASSERT(pos.index <= raft_log_last(r->log).index);
    ASSERT(raft_history_is_committed(r->history) == (pos.index <= r->commit));
    ASSERT(pos.index < raft_log_base(r->log).index || raft_log_has(r->log, pos));
    for (unsigned i = 1; i < config->n_members; i++)
        ASSERT(uuid_compare(config->members[i - 1].id, config->members[i].id) < 0);
}

static void check_peer(const struct raft *r, unsigned i)
{
    const struct raft_progress *p = &r->peers[i];
    uint64_t last = raft_log_last(r->log).index;
    ASSERT(uuid_equal(p->id, raft_config_in_force(r)->members[i].id));
    ASSERT(p->match <= last);
    ASSERT(p->match < p->next);
    ASSERT(p->next <= last + 1);
    ASSERT(p->answered <= r->seq);
    ASSERT(p->n_flights <= r->opt.window);
    ASSERT(p->state == RAFT_REPLICATE || p->n_flights <= 1);
    ASSERT(p->state != RAFT_SEND_SNAPSHOT || p->n_flights == 0);
    ASSERT(p->snapshot_seq <= r->seq);
    for (unsigned k = 0; k < p->n_flights; k++) {
        ASSERT(p->flights[k].last > p->match);
        ASSERT(p->flights[k].last < p->next);
        ASSERT(k == 0 || p->flights[k].seq > p->flights[k - 1].seq);
    }
}

static void check_leader(const struct raft *r)
{
    ASSERT(uuid_equal(r->leader, r->opt.id));
    ASSERT(uuid_equal(r->vote, r->opt.id));
    ASSERT(raft_hard_state_is_durable(r));
    ASSERT(raft_log_last(r->log).term == r->term); /* its first entry is there at once */
    ASSERT(r->n_peers == raft_config_in_force(r)->n_members);
    for (unsigned i = 0; i < r->n_peers; i++)
        check_peer(r, i);
    size_t bytes = 0;
    for (uint64_t i = r->commit + 1; i <= raft_log_last(r->log).index; i++)
        bytes += raft_log_entry_bytes(raft_log_entry(r->log, i));
    ASSERT(bytes == r->uncommitted_bytes);
    ASSERT(r->asked.n == 0);
    int to = raft_member_index(r, r->transfer_to);
    ASSERT(!raft_is_transferring(r) || (to >= 0 && !raft_is_self(r, (unsigned)to)));
}

static void check_others(const struct raft *r)
{
    ASSERT(!uuid_equal(r->leader, r->opt.id));
    ASSERT(r->n_peers == 0);
    ASSERT(!raft_is_transferring(r));
    ASSERT(r->waiting.n == 0 && r->round.n == 0 && r->round_seq == 0);
    ASSERT(r->role == RAFT_FOLLOWER || uuid_is_zero(r->leader));
    ASSERT(r->role == RAFT_FOLLOWER || raft_may_campaign(r)); /* PITFALLS 11 */
    ASSERT(r->role != RAFT_CANDIDATE || uuid_equal(r->vote, r->opt.id));
    ASSERT(r->asked.n == 0 || !uuid_is_zero(r->leader));
    ASSERT(!r->outgoing);
}

static void check_snapshots(const struct raft *r)
{
    const struct raft_incoming *in = &r->incoming;
    if (in->snapshot) {
        ASSERT(r->role != RAFT_LEADER);
        ASSERT(in->written + in->writing <= in->snapshot->size);
        ASSERT(in->snapshot->base.pos.index > 0 && in->term <= r->term);
    }
    if (r->installing) {
        ASSERT(r->role != RAFT_LEADER);
        ASSERT(r->applied < r->installing->base.pos.index);
        ASSERT(raft_pos_equal(raft_log_base(r->log), r->installing->base.pos));
        ASSERT(r->install_seq == 0 || r->install_seq > r->persisted_seq);
    }
}

static void check_held(const struct raft *r)
{
    for (size_t i = 0; i < r->held.n; i++) {
        const struct raft_held *h = &r->held.items[i];
        ASSERT(h->need_durable <= raft_log_last(r->log).index);
        ASSERT(!raft_hard_state_is_durable(r) || raft_log_durable(r->log) < h->need_durable);
    }
}

void raft_check(const struct raft *r)
{
    raft_log_check(r->log);
    check_positions(r);
    check_config(r);
    if (r->role == RAFT_LEADER)
        check_leader(r);
    else
        check_others(r);
    check_held(r);
    check_snapshots(r);
}
