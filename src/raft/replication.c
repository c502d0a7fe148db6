/* SPDX-License-Identifier: MIT
 * The leader's side of the log: sending, answers, the commit rule.
 */
#include "base/assert.h"
#include "raft/array.h"
#include "raft/core.h"

void raft_align_peers(struct raft *r)
{
    const struct raft_config *config = raft_config_in_force(r);
    struct raft_progress aligned[LIMIT_MEMBERS];
    uint64_t next = raft_log_last(r->log).index; /* something to send, so that we learn their end */
    for (unsigned i = 0; i < config->n_members; i++) {
        struct uuid id = config->members[i].id;
        unsigned k = 0;
        while (k < r->n_peers && !uuid_equal(r->peers[k].id, id))
            k++;
        if (k == r->n_peers) {
            raft_progress_init(&aligned[i], id, next, r->tick, r->opt.window);
            continue;
        }
        aligned[i] = r->peers[k];
        r->peers[k] = r->peers[--r->n_peers];
    }
    raft_free_peers(r); /* who is no member any more */
    r->n_peers = config->n_members;
    for (unsigned i = 0; i < r->n_peers; i++)
        r->peers[i] = aligned[i];
}

void raft_free_peers(struct raft *r)
{
    while (r->n_peers > 0)
        raft_progress_deinit(&r->peers[--r->n_peers]);
}

static void note_sent(struct raft *r, struct raft_progress *p, struct raft_message *m,
                      uint64_t commit)
{
    m->seq = ++r->seq;
    m->append.commit = commit;
    m->append.full = raft_is_full(r);
    p->told_commit = commit;
}

/* Says who leads, up to where the peer's log is right, and the commit index as
 * far as the peer is known to have it. Has nothing to do with the window. */
void raft_send_heartbeat(struct raft *r, unsigned i)
{
    struct raft_progress *p = &r->peers[i];
    struct raft_pos prev = {0, p->match};
    if (raft_log_term(r->log, prev.index, &prev.term) < 0)
        prev = (struct raft_pos){0, 0}; /* before the log's base */
    struct raft_message *m = raft_send(r, RAFT_APPEND, p->id);
    m->append.prev = prev;
    note_sent(r, p, m, r->commit < prev.index ? r->commit : prev.index);
}

/* Sends entries[0..n), of which this takes over the array and the references. */
static void send_entries(struct raft *r, struct raft_progress *p, struct raft_entry **entries,
                         unsigned n)
{
    struct raft_pos prev = {0, p->next - 1};
    int rc = raft_log_term(r->log, prev.index, &prev.term);
    ASSERT(rc == 0);
    struct raft_message *m = raft_send(r, RAFT_APPEND, p->id);
    m->append.prev = prev;
    m->append.entries = entries;
    m->append.n_entries = n;
    note_sent(r, p, m, r->commit);
    raft_progress_sent(p, m->seq, prev.index + n, r->tick);
}

static void send_cached(struct raft *r, struct raft_progress *p)
{
    uint64_t left = raft_log_last(r->log).index - p->next + 1;
    unsigned n_max = left < r->opt.append_entries_max ? (unsigned)left : r->opt.append_entries_max;
    struct raft_entry **entries = mem_array(n_max, sizeof(struct raft_entry *));
    size_t bytes = 0;
    unsigned n = 0;
    for (; n < n_max; n++) {
        struct raft_entry *e = raft_log_entry(r->log, p->next + n);
        bytes += raft_log_entry_bytes(e);
        if (n > 0 && bytes > r->opt.append_bytes_max)
            break;
        entries[n] = raft_entry_ref(e);
    }
    send_entries(r, p, entries, n);
}

/* What is not in memory is durable here: eviction sees to that. */
static void ask_load(struct raft *r, struct raft_progress *p)
{
    uint64_t left = raft_log_cached_from(r->log) - p->next;
    struct raft_load load = {.peer = p->id, .first = p->next};
    load.n_max = left < r->opt.append_entries_max ? (unsigned)left : r->opt.append_entries_max;
    load.bytes_max = r->opt.append_bytes_max;
    RAFT_ARRAY_PUSH(&r->out.loads, load);
    p->loading = true;
}

/* From where the logs are known to be the same, as far as ours goes back: that it lacks what comes
 * before, it has to say itself. A message lost is no reason to make a snapshot. */
void raft_probe_again(struct raft *r, struct raft_progress *p)
{
    uint64_t base = raft_log_base(r->log).index;
    raft_progress_probe(p, (p->match > base ? p->match : base) + 1);
}

static bool was_heard(const struct raft *r, const struct raft_progress *p)
{
    return r->tick - p->heard_tick < r->opt.election_ticks_max;
}

static void replicate_to(struct raft *r, unsigned i)
{
    struct raft_progress *p = &r->peers[i];
    uint64_t last = raft_log_last(r->log).index;
    /* All sent, nothing in flight, and yet it does not have all: a new peer, or
     * an answer that claimed too little. The last entry finds out (PITFALLS 24). */
    if (p->next > last && p->match < last && p->n_flights == 0 && !p->loading)
        raft_progress_probe(p, last);
    while (p->next <= last && raft_progress_may_send(p, r->opt.window, r->tick)) {
        if (p->next <= raft_log_base(r->log).index) {
            if (!was_heard(r, p))
                return; /* nobody makes a snapshot for the dead */
            raft_progress_snapshot(p);
        } else if (p->next < raft_log_cached_from(r->log))
            ask_load(r, p);
        else
            send_cached(r, p);
    }
    if (p->state == RAFT_SEND_SNAPSHOT)
        raft_send_snapshot(r, i);
}

void raft_replicate(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < r->n_peers; i++)
        if (!raft_is_self(r, i))
            replicate_to(r, i);
    raft_release_outgoing(r);
}

/* The answer may be old: the log or the place to send from may have changed since. */
static bool loaded_fits(const struct raft *r, const struct raft_progress *p,
                        struct raft_entry *entries[], unsigned n)
{
    if (!raft_progress_may_send(p, r->opt.window, r->tick))
        return false;
    for (unsigned i = 0; i < n; i++)
        if (entries[i]->pos.index != p->next + i || !raft_log_has(r->log, entries[i]->pos))
            return false;
    return p->next > raft_log_base(r->log).index;
}

void raft_loaded(struct raft *r, struct uuid peer, struct raft_entry *entries[], unsigned n)
{
    int i = r->role == RAFT_LEADER ? raft_member_index(r, peer) : -1;
    if (i < 0 || !r->peers[i].loading)
        return;
    struct raft_progress *p = &r->peers[i];
    p->loading = false;
    if (n > r->opt.append_entries_max)
        n = r->opt.append_entries_max;
    if (n == 0) {
        p->paused_upto_tick = r->tick + r->opt.heartbeat_ticks;
        return;
    }
    if (!loaded_fits(r, p, entries, n))
        return;
    struct raft_entry **sent = mem_array(n, sizeof(struct raft_entry *));
    for (unsigned k = 0; k < n; k++)
        sent[k] = raft_entry_ref(entries[k]);
    send_entries(r, p, sent, n);
}

void raft_unreachable(struct raft *r, struct uuid peer)
{
    int i = r->role == RAFT_LEADER ? raft_member_index(r, peer) : -1;
    if (i < 0 || raft_is_self(r, (unsigned)i))
        return;
    struct raft_progress *p = &r->peers[i];
    if (p->state == RAFT_SEND_SNAPSHOT)
        p->snapshot_seq = 0; /* goes on where it was */
    else
        raft_probe_again(r, p);
    p->paused_upto_tick = r->tick + r->opt.heartbeat_ticks;
}

/* Where to try next: the last place that can still be common, by its term. */
static void on_refusal(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
    uint64_t rejected = m->append_reply.rejected;
    struct raft_pos hint = m->append_reply.hint;
    uint64_t common = raft_log_find_term(r->log, hint.index, hint.term).index;
    if (common >= rejected) /* must get smaller, whatever the peer says (PITFALLS 20) */
        common = rejected - 1;
    raft_progress_probe(p, common + 1);
}

/* A question sent after it acknowledged so much began no further than there,
 * and yet it says that it lacks the entry before: in one term no honest disk
 * forgets that (PITFALLS 41). */
static bool refuses_what_it_had(const struct raft_progress *p, const struct raft_message *m)
{
    uint64_t rejected = m->append_reply.rejected;
    return rejected > 0 && rejected <= p->match && m->seq > p->match_seq;
}

/* Filling the gap would only hide that it also forgot whom it voted for. */
static void lose_peer(struct raft *r, struct raft_progress *p)
{
    p->lost_data = true;
    raft_progress_probe(p, p->next);
    p->lease_until = 0;
    r->peer_lost_data = true;
}

void raft_peer_matched(struct raft *r, struct raft_progress *p, uint64_t match)
{
    raft_progress_matched(p, match, r->seq);
    /* Whatever made its log reach ours: entries can follow (PITFALLS 33). */
    if (p->state == RAFT_SEND_SNAPSHOT && p->match >= raft_log_base(r->log).index)
        raft_progress_probe(p, p->match + 1);
    raft_advance_commit(r);
}

void raft_on_append_reply(struct raft *r, const struct raft_message *m)
{
    int i = r->role == RAFT_LEADER ? raft_member_index(r, m->from) : -1;
    if (i < 0 || m->seq < r->leader_first_seq || m->seq > r->seq)
        return;
    struct raft_progress *p = &r->peers[i];
    if (p->lost_data)
        return; /* so it is not in contact either, and confirms no read */
    if (r->tick - p->heard_tick >= r->opt.election_ticks_min)
        p->losses = 0; /* it is back: lose no time */
    p->heard_tick = r->tick;
    p->full = m->append_reply.full;
    p->paused_upto_tick = 0;
    if (p->answered < m->seq)
        p->answered = m->seq;
    raft_lease_note(r, p, m);
    bool landed = raft_progress_landed(p, m->seq);
    if (!m->append_reply.success) {
        /* A refusal of something no longer in flight is old news. */
        if (refuses_what_it_had(p, m))
            lose_peer(r, p);
        else if (landed && m->append_reply.rejected > p->match)
            on_refusal(r, p, m);
        return;
    }
    if (m->append_reply.match > raft_log_last(r->log).index)
        return; /* nobody has what we do not have */
    if (landed)
        p->state = RAFT_REPLICATE;
    raft_peer_matched(r, p, m->append_reply.match);
}

/* The highest index durable at a quorum. Only entries of the own term are
 * committed by counting (dissertation 3.6.2, PITFALLS 15). The own log counts
 * as far as it is durable, no more than anybody else's (PITFALLS 22). */
static bool commit_by_quorum(struct raft *r)
{
    uint64_t indexes[LIMIT_MEMBERS];
    for (unsigned i = 0; i < r->n_peers; i++)
        indexes[i] =
            raft_is_self(r, i) ? raft_log_durable(r->log) : raft_progress_counted(&r->peers[i]);
    uint64_t index = raft_quorum_index(raft_config_in_force(r), indexes);
    uint64_t term;
    if (index <= r->commit || raft_log_term(r->log, index, &term) < 0 || term != r->term)
        return false;
    raft_set_commit(r, index);
    return true;
}

void raft_advance_commit(struct raft *r)
{
    while (r->role == RAFT_LEADER && commit_by_quorum(r))
        raft_membership_committed(r);
}

static void detect_loss(struct raft *r, struct raft_progress *p)
{
    uint64_t patience = (uint64_t)r->opt.heartbeat_ticks * RAFT_LOST_AFTER_HEARTBEATS;
    if (!raft_progress_is_lost(p, r->tick, patience))
        return;
    p->losses++;
    raft_probe_again(r, p);
}

/* Followers hear of a new commit index with the next append; when there is none, a tick later. */
static bool lags_in_commit(const struct raft *r, const struct raft_progress *p)
{
    return p->told_commit < r->commit && p->told_commit < p->match;
}

void raft_tell_commit(struct raft *r)
{
    for (unsigned i = 0; i < r->n_peers; i++)
        if (!raft_is_self(r, i) && lags_in_commit(r, &r->peers[i]))
            raft_send_heartbeat(r, i);
}

void raft_replication_tick(struct raft *r)
{
    raft_lease_tick(r);
    bool due = ++r->heartbeat_elapsed >= r->opt.heartbeat_ticks;
    if (due)
        r->heartbeat_elapsed = 0;
    for (unsigned i = 0; i < r->n_peers; i++) {
        if (raft_is_self(r, i))
            continue;
        struct raft_progress *p = &r->peers[i];
        detect_loss(r, p);
        raft_snapshot_tick(r, p);
        if (due || lags_in_commit(r, p) || raft_read_round_needs(r, i))
            raft_send_heartbeat(r, i);
    }
}
