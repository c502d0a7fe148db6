/* SPDX-License-Identifier: MIT
 * Campaigns and votes (dissertation 3.4, 3.6), pre-vote (9.6), leader
 * stickiness (4.2.3) and check-quorum (6.2).
 */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "raft/core.h"

void raft_reset_election_timer(struct raft *r)
{
    r->election_elapsed = 0;
    r->election_timeout = rng_range(&r->rng, r->opt.election_ticks_min, r->opt.election_ticks_max);
}

static void stop_leading(struct raft *r)
{
    raft_free_peers(r);
    r->uncommitted_bytes = 0;
    r->transfer_to = UUID_ZERO;
    raft_release_outgoing(r);
}

static void enter_term(struct raft *r, uint64_t term)
{
    ASSERT(term > r->term);
    r->term = term;
    r->vote = UUID_ZERO;
    r->hard_state_dirty = true;
    r->verified = r->commit; /* leader completeness: a new leader has all that is committed */
    raft_refuse_held(r);
}

void raft_become_follower(struct raft *r, uint64_t term, struct uuid leader)
{
    ASSERT(term >= r->term);
    if (r->role == RAFT_LEADER || !uuid_equal(r->leader, leader))
        raft_reads_fail(r);
    if (r->role == RAFT_LEADER)
        stop_leading(r);
    /* A higher term alone does not put off our own campaign: only a leader or a
     * granted vote does, or a candidate with an old log could hold everybody up. */
    if (r->role != RAFT_FOLLOWER)
        raft_reset_election_timer(r);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    if (term > r->term)
        enter_term(r, term);
}

static void become_leader(struct raft *r)
{
    ASSERT(raft_may_campaign(r) && raft_hard_state_is_durable(r));
    ASSERT(!r->installing); /* its record comes before that of the vote */
    raft_reads_fail(r);
    raft_abandon_incoming(r);
    r->snapshot_retry_tick = r->tick;
    r->role = RAFT_LEADER;
    r->leader = r->opt.id;
    r->leader_first_seq = r->seq + 1;
    r->heartbeat_elapsed = 0;
    r->leave_elapsed = 0;
    r->uncommitted_bytes = 0;
    for (uint64_t i = r->commit + 1; i <= raft_log_last(r->log).index; i++)
        r->uncommitted_bytes += raft_log_entry_bytes(raft_log_entry(r->log, i));
    struct raft_pos pos = {r->term, raft_log_last(r->log).index + 1};
    struct raft_entry *noop = raft_entry_new(RAFT_ENTRY_NOOP, pos, RAFT_NOOP_BYTES);
    bytes_put_be(noop->data, r->opt.id.hi, 8);
    bytes_put_be(noop->data + 8, r->opt.id.lo, 8);
    raft_lease_lead(r);
    raft_append_entry(r, noop);
    raft_entry_unref(&noop);
    raft_align_peers(r);
    raft_advance_commit(r);
}

/* Asks all voters, each by a seq of its own; the range of them names the round (PITFALLS 2). */
static void ask_for_votes(struct raft *r, bool pre, bool handed_over)
{
    const struct raft_config *config = raft_config_in_force(r);
    memset(r->ballots, 0, sizeof r->ballots);
    r->round_first_seq = r->seq + 1;
    for (unsigned i = 0; i < config->n_members; i++) {
        const struct raft_member *member = &config->members[i];
        if (!raft_member_votes(member) || uuid_equal(member->id, r->opt.id))
            continue;
        struct raft_message *m = raft_send(r, RAFT_VOTE, member->id);
        m->seq = ++r->seq;
        m->term = r->term + (pre ? 1 : 0);
        m->vote.pre = pre;
        m->vote.handed_over = handed_over;
        m->vote.last = raft_log_last(r->log);
    }
    r->round_last_seq = r->seq;
}

static void become_candidate(struct raft *r, bool handed_over)
{
    enter_term(r, r->term + 1);
    r->role = RAFT_CANDIDATE;
    r->vote = r->opt.id;
    raft_reset_election_timer(r);
    ask_for_votes(r, false, handed_over);
    /* The own vote counts when it is durable: raft_on_vote_durable(). */
}

/* Without its own durable vote nobody leads, whatever the others say: after a
 * crash it could win the same term a second time with another log. */
static void count_votes(struct raft *r)
{
    enum raft_vote_result result = raft_quorum_vote(raft_config_in_force(r), r->ballots);
    bool hopeless = r->role == RAFT_PRE_CANDIDATE && raft_disk_is_stalled(r);
    if (result == RAFT_VOTE_LOST || hopeless)
        raft_become_follower(r, r->term, UUID_ZERO);
    else if (result == RAFT_VOTE_WON && r->role == RAFT_PRE_CANDIDATE)
        become_candidate(r, false);
    else if (result == RAFT_VOTE_WON && raft_hard_state_is_durable(r))
        become_leader(r);
}

static void cast(struct raft *r, struct uuid id, bool granted)
{
    int i = raft_member_index(r, id);
    if (i >= 0 && r->ballots[i] == RAFT_BALLOT_NONE)
        r->ballots[i] = granted ? RAFT_BALLOT_YES : RAFT_BALLOT_NO;
    count_votes(r);
}

/* A learner never leads (PITFALLS 11), nor who was removed. But while the
 * configuration that takes its vote away is not committed, the others may need
 * it: its log may be the only one that is long enough (dissertation 4.2.2). It
 * does not count its own vote then. */
bool raft_may_campaign(const struct raft *r)
{
    return raft_history_has_voter(r->history, r->opt.id);
}

void raft_campaign(struct raft *r)
{
    if (!raft_may_campaign(r) || r->role == RAFT_LEADER)
        return;
    if (raft_lease_forbids_vote(r))
        return; /* a leader may rely on this node: only after a start (PITFALLS 46) */
    if (raft_disk_is_stalled(r))
        return; /* it could not lead; the next tick asks again (PITFALLS 14) */
    if (!uuid_is_zero(r->leader))
        raft_reads_fail(r);
    r->role = RAFT_PRE_CANDIDATE;
    r->leader = UUID_ZERO;
    raft_reset_election_timer(r);
    ask_for_votes(r, true, false);
    cast(r, r->opt.id, true); /* a pre-vote promises nothing, so nothing need be durable */
}

void raft_campaign_at_once(struct raft *r)
{
    ASSERT(r->role == RAFT_FOLLOWER && raft_may_campaign(r));
    raft_reads_fail(r);
    r->leader = UUID_ZERO;
    become_candidate(r, true);
}

void raft_on_vote_durable(struct raft *r)
{
    if (r->role == RAFT_CANDIDATE && raft_hard_state_is_durable(r))
        cast(r, r->opt.id, true);
}

/* A leader is at work: whoever campaigns now was cut off or removed (PITFALLS 9). */
static bool is_sticky(const struct raft *r)
{
    if (raft_lease_forbids_vote(r))
        return true;
    if (r->role == RAFT_LEADER)
        return true; /* check-quorum ends that when it is not true */
    return !uuid_is_zero(r->leader) && r->tick - r->contact_tick < r->opt.election_ticks_min;
}

/* The voter judges by log and term, never by its own configuration, which may
 * be older than the candidate's (PITFALLS 10). */
static bool log_is_electable(const struct raft *r, const struct raft_message *m)
{
    return raft_pos_at_least(m->vote.last, raft_log_last(r->log));
}

static void answer_vote(struct raft *r, const struct raft_message *m, bool granted)
{
    struct raft_message answer = {
        .type = RAFT_VOTE_REPLY, .to = m->from, .seq = m->seq, .term = r->term};
    answer.vote_reply.pre = m->vote.pre;
    answer.vote_reply.granted = granted;
    if (m->vote.pre && granted)
        answer.term = m->term; /* a refusal carries our own term (PITFALLS 4) */
    raft_answer(r, &answer, 0);
}

void raft_on_vote(struct raft *r, const struct raft_message *m)
{
    /* Who takes over at the leader's wish need not wait until the leader is forgotten. That is
     * all it is spared: log and vote are judged as ever (PITFALLS 12). */
    if (m->term < r->term || (is_sticky(r) && !m->vote.handed_over)) {
        answer_vote(r, m, false);
        return;
    }
    if (m->vote.pre) { /* changes nothing here (PITFALLS 5) */
        answer_vote(r, m, m->term > r->term && log_is_electable(r, m));
        return;
    }
    if (m->term > r->term)
        raft_become_follower(r, m->term, UUID_ZERO);
    bool is_free = uuid_is_zero(r->vote) && uuid_is_zero(r->leader);
    bool granted = (is_free || uuid_equal(r->vote, m->from)) && log_is_electable(r, m);
    if (granted && is_free) {
        r->vote = m->from;
        r->hard_state_dirty = true;
    }
    if (granted)
        raft_reset_election_timer(r);
    answer_vote(r, m, granted);
}

void raft_on_vote_reply(struct raft *r, const struct raft_message *m)
{
    bool granted = m->vote_reply.granted, pre = m->vote_reply.pre;
    /* Only a granted pre-vote names a term that is nobody's yet (PITFALLS 4, 6). */
    if (m->term > r->term && !(pre && granted)) {
        raft_become_follower(r, m->term, UUID_ZERO);
        return;
    }
    if (r->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return;
    if (m->seq < r->round_first_seq || m->seq > r->round_last_seq)
        return;
    if (granted && m->term != r->term + (pre ? 1 : 0))
        return;
    cast(r, m->from, granted);
}

bool raft_has_quorum_contact(const struct raft *r)
{
    enum raft_ballot contact[LIMIT_MEMBERS];
    for (unsigned i = 0; i < r->n_peers; i++) {
        bool heard =
            raft_is_self(r, i) || r->tick - r->peers[i].heard_tick < r->opt.election_ticks_max;
        contact[i] = heard ? RAFT_BALLOT_YES : RAFT_BALLOT_NO;
    }
    return raft_quorum_vote(raft_config_in_force(r), contact) == RAFT_VOTE_WON;
}
