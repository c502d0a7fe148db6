/* SPDX-License-Identifier: MIT
 * Snapshots as they are received: one at a time, piece after piece, and
 * installed in one step with the log they replace (PITFALLS 25, 27, 31).
 *
 *      piece -> written -> piece -> ... -> last written and verified
 *            -> persist record with `install` -> durable: state machine and log begin there
 *
 * The last piece is answered when it is written, like every other; that the
 * snapshot is in force, only to who asks when that is durable (PITFALLS 30).
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/core.h"

static bool knows(const struct raft *r, struct raft_pos pos)
{
    return pos.index <= r->commit || raft_log_has(r->log, pos);
}

/* The place, the configuration that holds there, and the piece fit together. */
static bool is_wellformed(const struct raft_message *m)
{
    const struct raft_snapshot *s = m->snapshot.snapshot;
    struct raft_pos pos = s->base.pos, config_pos = s->base.config_pos;
    if (config_pos.index == 0 || config_pos.term == 0 || pos.term > m->term)
        return false;
    if (config_pos.index > pos.index || config_pos.term > pos.term ||
        (config_pos.index == pos.index && config_pos.term != pos.term))
        return false;
    return s->size > 0 && m->snapshot.offset <= s->size &&
           m->snapshot.len <= s->size - m->snapshot.offset;
}

/* Another one by the name of that which is being received. */
static bool is_impostor(const struct raft *r, const struct raft_snapshot *s)
{
    const struct raft_snapshot *known = r->incoming.snapshot;
    return known && known->id == s->id &&
           !(known->size == s->size && known->digest == s->digest &&
             raft_pos_equal(known->base.pos, s->base.pos));
}

int raft_check_snapshot(const struct raft *r, const struct raft_message *m)
{
    const struct raft_snapshot *s = m->snapshot.snapshot;
    if (!is_wellformed(m) || is_impostor(r, s))
        return ERR_INVALID;
    if (m->term < r->term)
        return 0; /* will be refused */
    bool invalid = raft_contradicts(r, m, s->base.pos) || raft_is_other_leader(r, m);
    return invalid ? ERR_INVALID : 0;
}

static struct raft_message answer_to(const struct raft *r, struct uuid to, uint64_t seq,
                                     uint64_t id)
{
    struct raft_message answer = {
        .type = RAFT_SNAPSHOT_REPLY, .to = to, .seq = seq, .term = r->term};
    answer.snapshot_reply.id = id;
    return answer;
}

void raft_refuse_snapshot(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = answer_to(r, m->from, m->seq, m->snapshot.snapshot->id);
    raft_answer(r, &answer, 0);
}

static void answer_offset(struct raft *r, struct uuid to, uint64_t seq, uint64_t id,
                          uint64_t offset)
{
    struct raft_message answer = answer_to(r, to, seq, id);
    answer.snapshot_reply.offset = offset;
    raft_answer(r, &answer, 0);
}

/* It is in our log. Until that is durable, all that can be said is that no bytes are missing: a
 * slow disk is asked many times, and those answers are not to wait for it and pile up. */
static void answer_known(struct raft *r, struct uuid to, uint64_t seq,
                         const struct raft_snapshot *s)
{
    if (raft_log_durable(r->log) < s->base.pos.index) {
        answer_offset(r, to, seq, s->id, s->size);
        return;
    }
    struct raft_message answer = answer_to(r, to, seq, s->id);
    answer.snapshot_reply.installed = true;
    raft_answer(r, &answer, s->base.pos.index);
}

void raft_abandon_incoming(struct raft *r)
{
    raft_drop_snapshot(r, &r->incoming.snapshot);
    raft_snapshot_unref(&r->out.piece.snapshot);
    mem_free((void *)r->out.piece.data);
    r->out.piece = (struct raft_piece){0};
    r->incoming = (struct raft_incoming){0};
}

/* It is in our log already: as good as an append up to there. */
static void take_as_known(struct raft *r, struct raft_pos pos)
{
    if (pos.index > r->verified)
        r->verified = pos.index;
    if (pos.index > r->commit)
        raft_set_commit(r, pos.index);
}

static void begin(struct raft *r, const struct raft_message *m)
{
    raft_abandon_incoming(r);
    r->incoming.snapshot = raft_snapshot_ref(m->snapshot.snapshot);
    r->incoming.term = m->term;
}

static void take_piece(struct raft *r, const struct raft_message *m)
{
    struct raft_incoming *in = &r->incoming;
    in->writing = m->snapshot.len;
    in->from = m->from;
    in->seq = m->seq;
    r->out.piece.snapshot = raft_snapshot_ref(in->snapshot);
    r->out.piece.offset = in->written;
    r->out.piece.data = mem_dup(m->snapshot.data, m->snapshot.len);
    r->out.piece.len = m->snapshot.len;
}

void raft_on_snapshot(struct raft *r, const struct raft_message *m)
{
    struct raft_snapshot *s = m->snapshot.snapshot;
    struct raft_incoming *in = &r->incoming;
    raft_hear_leader(r, m);
    if (knows(r, s->base.pos)) {
        take_as_known(r, s->base.pos);
        answer_known(r, m->from, m->seq, s);
        return;
    }
    if (in->snapshot && in->snapshot->id != s->id && in->term == m->term &&
        s->base.pos.index < in->snapshot->base.pos.index)
        return;          /* a late piece of one that its sender has replaced */
    if (r->installing) { /* one after the other (PITFALLS 31) */
        answer_offset(r, m->from, m->seq, s->id, 0);
        return;
    }
    if (!in->snapshot || in->snapshot->id != s->id)
        begin(r, m);
    if (in->writing == 0 && m->snapshot.len > 0 && m->snapshot.offset == in->written)
        take_piece(r, m);
    else
        answer_offset(r, m->from, m->seq, s->id, in->written);
}

static void install(struct raft *r)
{
    struct raft_snapshot *s = r->incoming.snapshot;
    r->incoming = (struct raft_incoming){0};
    if (r->role != RAFT_FOLLOWER) /* its ballots are about another configuration */
        raft_become_follower(r, r->term, UUID_ZERO);
    r->installing = s;
    r->install_seq = 0;
    r->base = s->base;
    r->base_dirty = true;
    raft_log_reset(r->log, s->base.pos);
    raft_history_set_base(r->history, s->base.config_pos, &s->base.config);
    r->commit = r->verified = s->base.pos.index;
}

void raft_piece_written(struct raft *r, uint64_t snapshot_id, uint64_t offset, bool ok)
{
    struct raft_incoming *in = &r->incoming;
    if (!in->snapshot || in->snapshot->id != snapshot_id || in->writing == 0 ||
        in->written != offset)
        return; /* superseded */
    struct uuid from = in->from;
    uint64_t seq = in->seq;
    struct raft_snapshot *s = in->snapshot;
    in->written = ok ? in->written + in->writing : 0;
    in->writing = 0;
    answer_offset(r, from, seq, s->id, in->written);
    if (in->written < s->size)
        return;
    if (knows(r, s->base.pos))
        take_as_known(r, s->base.pos);
    else
        install(r);
}

void raft_finish_install(struct raft *r)
{
    if (r->install_seq == 0 || r->persisted_seq < r->install_seq)
        return;
    ASSERT(r->applied < r->installing->base.pos.index);
    r->applied = r->installing->base.pos.index;
    r->install_seq = 0;
    raft_snapshot_unref(&r->installing);
}
