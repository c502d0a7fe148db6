/* SPDX-License-Identifier: MIT
 * Receiving entries (dissertation 3.5).
 */
#include "base/assert.h"
#include "raft/core.h"

static struct raft_pos end_of(const struct raft_message *m)
{
    unsigned n = m->append.n_entries;
    return n ? m->append.entries[n - 1]->pos : m->append.prev;
}

/* The entries follow on prev and on each other, and configurations decode. */
static bool entries_are_wellformed(const struct raft_message *m)
{
    struct raft_pos before = m->append.prev;
    if ((before.index == 0) != (before.term == 0) || before.term > m->term)
        return false;
    for (unsigned i = 0; i < m->append.n_entries; i++) {
        const struct raft_entry *e = m->append.entries[i];
        if (e->pos.index != before.index + 1 || e->pos.term < before.term ||
            e->pos.term > m->term || e->pos.term == 0 || e->type > RAFT_ENTRY_CONFIG)
            return false;
        struct raft_config config;
        if (e->type == RAFT_ENTRY_CONFIG && raft_config_decode(e->data, e->len, &config) < 0)
            return false;
        before = e->pos;
    }
    return true;
}

bool raft_contradicts(const struct raft *r, const struct raft_message *m, struct raft_pos pos)
{
    uint64_t known = m->term == r->term ? r->verified : r->commit;
    return pos.index <= known && pos.index >= raft_log_base(r->log).index && pos.index > 0 &&
           !raft_log_has(r->log, pos);
}

bool raft_is_other_leader(const struct raft *r, const struct raft_message *m)
{
    return m->term == r->term && !uuid_is_zero(r->leader) && !uuid_equal(r->leader, m->from);
}

int raft_check_append(const struct raft *r, const struct raft_message *m)
{
    if (!entries_are_wellformed(m))
        return ERR_INVALID;
    if (m->term < r->term)
        return 0; /* will be refused */
    if (raft_contradicts(r, m, m->append.prev))
        return ERR_INVALID;
    for (unsigned i = 0; i < m->append.n_entries; i++)
        if (raft_contradicts(r, m, m->append.entries[i]->pos))
            return ERR_INVALID;
    return raft_is_other_leader(r, m) ? ERR_INVALID : 0;
}

static struct raft_message answer_to(const struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {
        .type = RAFT_APPEND_REPLY, .to = m->from, .seq = m->seq, .term = r->term};
    answer.append_reply.rejected = m->append.prev.index;
    answer.append_reply.full = r->full;
    return answer;
}

void raft_refuse_append(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = answer_to(r, m);
    raft_answer(r, &answer, 0);
}

/* The hint lies below the refused place, so the leader gets further back with
 * every round, by a whole term of conflicts at once (PITFALLS 20). */
static void reject(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = answer_to(r, m);
    struct raft_pos prev = m->append.prev;
    answer.append_reply.hint = raft_log_find_term(r->log, prev.index - 1, prev.term);
    answer.append_reply.promise_ticks = raft_lease_promise(r);
    raft_answer(r, &answer, 0);
}

/* Takes over what is new. Deletes only from the first real conflict on, and
 * never what is known to be right (PITFALLS 16, 18). */
static void merge(struct raft *r, const struct raft_message *m)
{
    for (unsigned i = 0; i < m->append.n_entries; i++) {
        struct raft_entry *e = m->append.entries[i];
        if (e->pos.index <= r->verified || raft_log_has(r->log, e->pos))
            continue;
        if (e->pos.index <= raft_log_last(r->log).index)
            raft_truncate_log(r, e->pos.index);
        raft_append_entry(r, e);
    }
}

void raft_hear_leader(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_FOLLOWER || !uuid_equal(r->leader, m->from))
        raft_become_follower(r, m->term, m->from);
    raft_reset_election_timer(r);
    r->contact_tick = r->tick;
}

void raft_on_append(struct raft *r, const struct raft_message *m)
{
    raft_hear_leader(r, m);
    r->leader_full = m->append.full;
    struct raft_pos prev = m->append.prev;
    if (prev.index > r->verified && !raft_log_has(r->log, prev)) {
        reject(r, m);
        return;
    }
    merge(r, m);
    uint64_t end = end_of(m).index;
    if (end > r->verified)
        r->verified = end;
    /* Not beyond what is known to be the leader's: a longer stale tail may follow (PITFALLS 17). */
    uint64_t commit = m->append.commit < r->verified ? m->append.commit : r->verified;
    if (commit > r->commit)
        raft_set_commit(r, commit);
    struct raft_message answer = answer_to(r, m);
    answer.append_reply.success = true;
    answer.append_reply.promise_ticks = raft_lease_promise(r);
    raft_answer(r, &answer, m->append.n_entries ? end : 0);
}
