/* SPDX-License-Identifier: MIT
 * Linearizable reads without the log (dissertation 6.4): the leader notes its
 * commit index, makes sure by one round of appends that it still leads, and
 * then the read may be served from there. Reads that come in the meantime share
 * the next round.
 *
 *      read -> waiting -> round: appends with seq >= round_seq answered by a quorum -> index
 */
#include <string.h>

#include "base/assert.h"
#include "raft/array.h"
#include "raft/core.h"

static void give_result(struct raft *r, uint64_t ctx, int err, uint64_t index)
{
    struct raft_read_result result = {ctx, err, index, 0};
    RAFT_ARRAY_PUSH(&r->out.reads, result);
}

static void give_reply(struct raft *r, const struct raft_reader *reader, bool ok, uint64_t index)
{
    struct raft_message *m = raft_send(r, RAFT_READ_INDEX_REPLY, reader->from);
    m->seq = reader->id;
    m->read_index_reply.ok = ok;
    m->read_index_reply.index = index;
}

static void ask_leader(struct raft *r, uint64_t ctx)
{
    struct raft_message *m = raft_send(r, RAFT_READ_INDEX, r->leader);
    m->seq = ++r->seq;
    struct raft_asked asked = {m->seq, ctx, r->tick};
    RAFT_ARRAY_PUSH(&r->asked, asked);
}

void raft_read(struct raft *r, uint64_t ctx)
{
    struct raft_reader reader = {UUID_ZERO, ctx};
    if (r->role == RAFT_LEADER)
        RAFT_ARRAY_PUSH(&r->waiting, reader);
    else if (uuid_is_zero(r->leader))
        give_result(r, ctx, ERR_NO_LEADER, 0);
    else
        ask_leader(r, ctx);
}

void raft_read_lease(struct raft *r, uint64_t ctx)
{
    struct raft_read_result result = {ctx, 0, r->commit, raft_lease_ticks(r)};
    if (result.lease_ticks > 0)
        RAFT_ARRAY_PUSH(&r->out.reads, result);
    else
        raft_read(r, ctx);
}

void raft_on_read_index(struct raft *r, const struct raft_message *m)
{
    struct raft_reader reader = {m->from, m->seq};
    if (r->role == RAFT_LEADER && m->term == r->term)
        RAFT_ARRAY_PUSH(&r->waiting, reader);
    else
        give_reply(r, &reader, false, 0);
}

void raft_on_read_index_reply(struct raft *r, const struct raft_message *m)
{
    for (size_t i = 0; i < r->asked.n; i++) {
        struct raft_asked asked = r->asked.items[i];
        if (asked.seq != m->seq || !uuid_equal(m->from, r->leader))
            continue;
        r->asked.items[i] = r->asked.items[--r->asked.n];
        if (m->read_index_reply.ok)
            give_result(r, asked.ctx, 0, m->read_index_reply.index);
        else
            give_result(r, asked.ctx, ERR_NOT_LEADER, 0);
        return;
    }
}

/* Only appends sent after the round began tell something about it (PITFALLS
 * 44); only voters count, of both sets if there are two (PITFALLS 42). */
static bool round_is_confirmed(const struct raft *r)
{
    uint64_t answered[LIMIT_MEMBERS];
    for (unsigned i = 0; i < r->n_peers; i++)
        answered[i] = raft_is_self(r, i) ? UINT64_MAX : r->peers[i].answered;
    return raft_quorum_index(raft_config_in_force(r), answered) >= r->round_seq;
}

bool raft_read_round_needs(const struct raft *r, unsigned i)
{
    return r->round_seq != 0 && r->peers[i].answered < r->round_seq &&
           raft_member_votes(&raft_config_in_force(r)->members[i]);
}

static void finish_round(struct raft *r)
{
    bool others = false;
    for (size_t i = 0; i < r->round.n; i++) {
        const struct raft_reader *reader = &r->round.items[i];
        if (uuid_is_zero(reader->from))
            give_result(r, reader->id, 0, r->round_index);
        else
            give_reply(r, reader, true, r->round_index);
        others = others || !uuid_is_zero(reader->from);
    }
    if (others)
        raft_tell_commit(r); /* a follower can serve its read only when it knows the index */
    r->round.n = 0;
    r->round_seq = 0;
}

static void start_round(struct raft *r)
{
    struct raft_readers empty = r->round;
    r->round = r->waiting;
    r->waiting = empty;
    r->round_index = r->commit;
    r->round_seq = r->seq + 1;
    for (unsigned i = 0; i < r->n_peers; i++)
        if (!raft_is_self(r, i) && raft_read_round_needs(r, i))
            raft_send_heartbeat(r, i);
}

void raft_reads_advance(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return;
    if (r->round_seq != 0 && round_is_confirmed(r))
        finish_round(r);
    /* Before an entry of its own term is committed, a leader does not know what
     * is (PITFALLS 43). */
    if (r->round_seq != 0 || r->waiting.n == 0 || !raft_in_own_term(r))
        return;
    start_round(r);
    if (round_is_confirmed(r)) /* nobody else is needed */
        finish_round(r);
}

static void fail_readers(struct raft *r, struct raft_readers *readers)
{
    for (size_t i = 0; i < readers->n; i++) {
        const struct raft_reader *reader = &readers->items[i];
        if (uuid_is_zero(reader->from))
            give_result(r, reader->id, ERR_NOT_LEADER, 0);
        else
            give_reply(r, reader, false, 0);
    }
    readers->n = 0;
}

/* An index captured in one term is never confirmed in another (PITFALLS 45). */
void raft_reads_fail(struct raft *r)
{
    fail_readers(r, &r->round);
    fail_readers(r, &r->waiting);
    r->round_seq = 0;
    for (size_t i = 0; i < r->asked.n; i++)
        give_result(r, r->asked.items[i].ctx, ERR_NOT_LEADER, 0);
    r->asked.n = 0;
}

/* Questions that were lost on the way are forgotten in the end. */
void raft_reads_tick(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->asked.n; i++) {
        if (r->tick - r->asked.items[i].tick >= r->opt.election_ticks_max)
            give_result(r, r->asked.items[i].ctx, ERR_NO_LEADER, 0);
        else
            r->asked.items[kept++] = r->asked.items[i];
    }
    r->asked.n = kept;
}
