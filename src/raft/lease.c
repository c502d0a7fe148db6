/* SPDX-License-Identifier: MIT
 * Reads by lease (dissertation 6.4.1, PITFALLS 46, 47): a voter that hears its
 * leader promises to vote for nobody else for a while and says so in its answer;
 * as long as a quorum's promises hold, nobody else leads, and the leader may
 * serve a read without asking.
 *
 *      leader   sends ------------ counts from here: promise - 1 - drift ------>|
 *      voter            receives ------------ promise ------------------>|
 *
 * Both count ticks. A tick that has begun is not over, so each side gives one
 * away. What the clocks' rates differ by over an election timeout is the drift.
 */
#include "base/assert.h"
#include "raft/core.h"

static bool is_on(const struct raft *r)
{
    return r->opt.clock_drift_ticks > 0;
}

/* ---- the voter ---- */

/* What was promised before a restart is not known any more; before its first
 * term a node has promised nothing. */
void raft_lease_start(struct raft *r)
{
    if (is_on(r) && r->term > 0)
        r->no_vote_before = r->tick + r->opt.election_ticks_min;
}

/* Whatever happens to the leader meanwhile, also when it is forgotten for a higher term. */
uint64_t raft_lease_promise(struct raft *r)
{
    if (!is_on(r))
        return 0;
    r->no_vote_before = r->tick + r->opt.election_ticks_min;
    return r->opt.election_ticks_min - 1;
}

bool raft_lease_forbids_vote(const struct raft *r)
{
    return r->tick < r->no_vote_before;
}

/* ---- the leader ---- */

void raft_lease_lead(struct raft *r)
{
    r->n_sent = 0;
    r->no_lease = false;
    raft_lease_tick(r);
}

/* Notes what was sent up to now, often enough for a fine measure. */
void raft_lease_tick(struct raft *r)
{
    uint64_t step = 1 + r->opt.election_ticks_min / (RAFT_SENT_SAMPLES / 2);
    if (is_on(r) && (r->n_sent == 0 || r->tick % step == 0))
        r->sent[r->n_sent++ % RAFT_SENT_SAMPLES] = (struct raft_sent){r->tick, r->seq};
}

/* The last noted tick before the append with this seq was sent; false: too long ago. */
static bool sent_after(const struct raft *r, uint64_t seq, uint64_t *ret_tick)
{
    bool found = false;
    for (unsigned i = 0; i < RAFT_SENT_SAMPLES && i < r->n_sent; i++) {
        if (r->sent[i].seq >= seq || (found && r->sent[i].tick < *ret_tick))
            continue;
        *ret_tick = r->sent[i].tick;
        found = true;
    }
    return found;
}

/* No promise counts for longer than this node's own would: after a pause it
 * makes up for no more ticks than that. */
void raft_lease_note(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
    uint64_t promise = m->append_reply.promise_ticks, tick;
    if (promise == 0 || !is_on(r) || !sent_after(r, m->seq, &tick))
        return;
    if (promise > r->opt.election_ticks_min - 1)
        promise = r->opt.election_ticks_min - 1;
    if (p->lease_until < tick + promise)
        p->lease_until = tick + promise;
}

void raft_lease_drop(struct raft *r)
{
    r->no_lease = true;
}

uint64_t raft_lease_ticks(const struct raft *r)
{
    if (!is_on(r) || r->no_lease || !raft_in_own_term(r)) /* PITFALLS 43 holds here too */
        return 0;
    uint64_t until[LIMIT_MEMBERS];
    for (unsigned i = 0; i < r->n_peers; i++) {
        uint64_t own = r->tick + r->opt.election_ticks_min - 1;
        until[i] = raft_is_self(r, i) ? own : r->peers[i].lease_until;
    }
    uint64_t end = raft_quorum_index(raft_config_in_force(r), until); /* PITFALLS 42 */
    uint64_t now = r->tick + 1 + r->opt.clock_drift_ticks;
    return end > now ? end - now : 0;
}
