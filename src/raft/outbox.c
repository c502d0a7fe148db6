/* SPDX-License-Identifier: MIT
 * Collecting effects, and holding back the answers that depend on the disk.
 */
#include <string.h>

#include "base/assert.h"
#include "raft/array.h"
#include "raft/core.h"

struct raft_message *raft_send(struct raft *r, enum raft_message_type type, struct uuid to)
{
    const struct raft_member *member = raft_config_find(raft_config_in_force(r), to);
    struct raft_message m = {.type = type, .from = r->opt.id, .to = to, .term = r->term};
    m.to_incarnation = member ? member->incarnation : 0;
    RAFT_ARRAY_PUSH(&r->out.messages, m);
    return &r->out.messages.items[r->out.messages.n - 1];
}

static bool held_is_ready(const struct raft *r, const struct raft_held *h)
{
    return raft_hard_state_is_durable(r) && raft_log_durable(r->log) >= h->need_durable;
}

static void send_answer(struct raft *r, const struct raft_message *answer)
{
    struct raft_message *m = raft_send(r, answer->type, answer->to);
    uint64_t incarnation = m->to_incarnation;
    *m = *answer;
    m->from = r->opt.id;
    m->to_incarnation = incarnation;
    uint64_t durable = raft_log_durable(r->log);
    uint64_t match = durable < r->verified ? durable : r->verified;
    if (m->type == RAFT_APPEND_REPLY && m->append_reply.success)
        m->append_reply.match = match;
    else if (m->type == RAFT_SNAPSHOT_REPLY && m->snapshot_reply.installed)
        m->snapshot_reply.match = match;
}

/* Every answer tells a term, so every answer waits for term and vote to be
 * durable; only those to appends with entries wait for the log as well. */
void raft_answer(struct raft *r, const struct raft_message *answer, uint64_t need_durable)
{
    struct raft_held h = {*answer, need_durable};
    if (held_is_ready(r, &h))
        send_answer(r, answer);
    else
        RAFT_ARRAY_PUSH(&r->held, h);
}

void raft_release_held(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->held.n; i++) {
        if (held_is_ready(r, &r->held.items[i]))
            send_answer(r, &r->held.items[i].message);
        else
            r->held.items[kept++] = r->held.items[i];
    }
    r->held.n = kept;
}

/* What was to be promised in the old term is not promised any more, but whoever
 * asked still gets an answer. */
void raft_refuse_held(struct raft *r)
{
    for (size_t i = 0; i < r->held.n; i++) {
        struct raft_message *m = &r->held.items[i].message;
        r->held.items[i].need_durable = 0;
        m->term = r->term;
        if (m->type == RAFT_VOTE_REPLY) {
            m->vote_reply.granted = false;
        } else if (m->type == RAFT_TIMEOUT_NOW_REPLY) {
            m->timeout_now_reply.ok = false;
        } else if (m->type == RAFT_SNAPSHOT_REPLY) {
            m->snapshot_reply.installed = false;
        } else {
            m->append_reply.success = false;
            m->append_reply.hint = (struct raft_pos){0, 0};
            m->append_reply.promise_ticks = 0;
        }
    }
}

static void outbox_clear(struct raft_outbox *o)
{
    for (size_t i = 0; i < o->messages.n; i++) {
        struct raft_message *m = &o->messages.items[i];
        if (m->type == RAFT_SNAPSHOT)
            raft_snapshot_unref(&m->snapshot.snapshot);
        if (m->type != RAFT_APPEND)
            continue;
        for (unsigned k = 0; k < m->append.n_entries; k++)
            raft_entry_unref(&m->append.entries[k]);
        mem_free(m->append.entries);
    }
    for (size_t i = 0; i < o->apply.n; i++)
        raft_entry_unref(&o->apply.items[i]);
    for (size_t i = 0; i < o->persist.n; i++)
        raft_entry_unref(&o->persist.items[i]);
    raft_snapshot_unref(&o->piece.snapshot);
    mem_free((void *)o->piece.data);
    o->piece = (struct raft_piece){0};
    o->messages.n = o->apply.n = o->persist.n = o->reads.n = o->loads.n = o->dropped.n = 0;
}

void raft_outbox_free(struct raft_outbox *o)
{
    outbox_clear(o);
    mem_free(o->messages.items);
    mem_free(o->apply.items);
    mem_free(o->persist.items);
    mem_free(o->reads.items);
    mem_free(o->loads.items);
    mem_free(o->dropped.items);
    memset(o, 0, sizeof *o);
}

/* Everything since the last record becomes one record. */
static struct raft_persist take_persist(struct raft *r)
{
    struct raft_persist p = {.hard_state = {r->term, r->vote, r->commit}};
    bool installs = r->installing && r->install_seq == 0;
    if (!r->hard_state_dirty && !raft_log_is_dirty(r->log) && !r->base_dirty && !installs)
        return p;
    if (r->persisted_seq == r->persist_seq)
        r->disk_tick = r->tick; /* it was idle */
    p.seq = ++r->persist_seq;
    if (r->hard_state_dirty)
        r->hard_state_seq = p.seq;
    r->hard_state_dirty = false;
    if (installs) {
        p.install = r->installing;
        r->install_seq = p.seq;
    }
    if (r->base_dirty)
        p.base = &r->base;
    r->base_dirty = false;
    uint64_t first;
    raft_log_take(r->log, p.seq, &p.truncate_from, &first);
    for (uint64_t i = first; i <= raft_log_last(r->log).index; i++)
        RAFT_ARRAY_PUSH(&r->out.persist, raft_entry_ref(raft_log_entry(r->log, i)));
    return p;
}

static void take_apply(struct raft *r)
{
    while (r->applied < r->commit && !r->installing) {
        r->applied++;
        RAFT_ARRAY_PUSH(&r->out.apply, raft_entry_ref(raft_log_entry(r->log, r->applied)));
    }
}

/* Notes role and configuration as told; true in *ret_.. when they differ from the last time. */
static void note_changes(struct raft *r, bool *ret_role, bool *ret_config)
{
    struct raft_status now = raft_status(r);
    struct raft_pos pos;
    raft_history_latest(r->history, &pos);
    bool committed = raft_history_is_committed(r->history);
    *ret_role = now.role != r->told.role || now.term != r->told.term ||
                !uuid_equal(now.leader, r->told.leader);
    *ret_config = !raft_pos_equal(pos, r->told_config) || committed != r->told_config_committed;
    r->told = now;
    r->told_config = pos;
    r->told_config_committed = committed;
}

const struct raft_effects *raft_effects(struct raft *r)
{
    ASSERT(r->started);
    struct raft_effects *e = &r->effects;
    raft_reads_advance(r);
    raft_replicate(r);
    raft_transfer_advance(r);
    e->persist = take_persist(r);
    take_apply(r);
    note_changes(r, &e->role_changed, &e->config_changed);
    e->peer_lost_data = r->peer_lost_data;
    r->peer_lost_data = false;
    e->snapshot_wanted = r->snapshot_wanted;
    r->snapshot_asked |= r->snapshot_wanted;
    r->snapshot_wanted = false;
    raft_log_evict(r->log, r->opt.cache_bytes, r->applied);

    outbox_clear(&r->taken);
    struct raft_outbox filled = r->out;
    r->out = r->taken;
    r->taken = filled;
    e->persist.entries = filled.persist.items;
    e->persist.n_entries = (unsigned)filled.persist.n;
    e->messages = filled.messages.items;
    e->n_messages = (unsigned)filled.messages.n;
    e->apply = filled.apply.items;
    e->n_apply = (unsigned)filled.apply.n;
    e->reads = filled.reads.items;
    e->n_reads = (unsigned)filled.reads.n;
    e->loads = filled.loads.items;
    e->n_loads = (unsigned)filled.loads.n;
    e->piece = filled.piece.snapshot ? &r->taken.piece : NULL;
    e->dropped = filled.dropped.items;
    e->n_dropped = (unsigned)filled.dropped.n;
    return e;
}
