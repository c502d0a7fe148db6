/* SPDX-License-Identifier: MIT
 * The life of a core, its inputs, and the questions that may be asked.
 */
#include "raft/raft.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/core.h"

/* ---- life ---- */

struct raft *raft_new(const struct raft_options *options)
{
    ASSERT(!uuid_is_zero(options->id));
    ASSERT(options->heartbeat_ticks > 0 && options->window > 0 && options->append_entries_max > 0);
    ASSERT(options->election_ticks_min > options->heartbeat_ticks);
    ASSERT(options->election_ticks_max >= options->election_ticks_min);
    struct raft *r = mem_zalloc(sizeof *r);
    r->opt = *options;
    if (r->opt.snapshot_bytes_max == 0)
        r->opt.snapshot_bytes_max = RAFT_SNAPSHOT_BYTES;
    r->rng = (struct rng){options->seed};
    r->seq = options->seq_first;
    r->log = raft_log_new();
    r->history = raft_history_new();
    raft_reset_election_timer(r);
    return r;
}

void raft_free(struct raft **r)
{
    struct raft *mine = *r;
    *r = NULL;
    if (!mine)
        return;
    raft_free_peers(mine);
    raft_snapshot_unref(&mine->outgoing);
    raft_snapshot_unref(&mine->incoming.snapshot);
    raft_snapshot_unref(&mine->installing);
    raft_outbox_free(&mine->out);
    raft_outbox_free(&mine->taken);
    raft_history_free(&mine->history);
    raft_log_free(&mine->log);
    mem_free(mine->held.items);
    mem_free(mine->waiting.items);
    mem_free(mine->round.items);
    mem_free(mine->asked.items);
    mem_free(mine);
}

void raft_restore_base(struct raft *r, const struct raft_base *base)
{
    ASSERT(!r->started);
    raft_log_set_base(r->log, base->pos);
    raft_history_set_base(r->history, base->config_pos, &base->config);
    r->commit = base->pos.index > base->config_pos.index ? base->pos.index : base->config_pos.index;
}

void raft_restore_hard_state(struct raft *r, struct raft_hard_state hs, uint64_t applied)
{
    ASSERT(!r->started);
    ASSERT(applied <= hs.commit);
    r->applied = applied;
    r->term = hs.term;
    r->vote = hs.vote;
    if (hs.commit > r->commit)
        r->commit = hs.commit;
}

static int put_config_in_force(struct raft *r, const struct raft_entry *e)
{
    struct raft_config config;
    int rc = raft_config_decode(e->data, e->len, &config);
    if (rc < 0)
        return rc;
    raft_history_push(r->history, e->pos, &config);
    return 0;
}

int raft_restore_entry(struct raft *r, struct raft_entry *e)
{
    ASSERT(!r->started);
    struct raft_pos last = raft_log_last(r->log);
    if (e->pos.index != last.index + 1 || e->pos.term < last.term || e->pos.term > r->term)
        return ERR_CORRUPT;
    struct raft_pos known; /* the base may know a configuration that comes after it */
    raft_history_latest(r->history, &known);
    bool is_new = e->type == RAFT_ENTRY_CONFIG && e->pos.index > known.index;
    if (is_new && put_config_in_force(r, e) < 0)
        return ERR_CORRUPT;
    raft_log_append(r->log, e);
    raft_log_set_restored(r->log);
    raft_log_evict(r->log, r->opt.cache_bytes, r->applied);
    raft_history_commit(r->history, last.index + 1 < r->commit ? last.index + 1 : r->commit);
    return 0;
}

/* The only voter need not wait for anybody. */
static void campaign_if_alone(struct raft *r)
{
    const struct raft_config *config = raft_config_in_force(r);
    if (raft_is_voter(r) && raft_config_n_voters(config) == 1 && !raft_config_is_joint(config))
        raft_campaign(r);
}

void raft_start(struct raft *r)
{
    ASSERT(!r->started);
    uint64_t last = raft_log_last(r->log).index;
    if (r->commit > last)
        r->commit = last;
    if (r->applied > last)
        r->applied = last;
    if (r->applied < raft_log_base(r->log).index)
        r->applied = raft_log_base(r->log).index;
    r->verified = r->commit;
    r->started = true;
    raft_lease_start(r);
    campaign_if_alone(r);
}

int raft_bootstrap(struct raft *r, const struct raft_config *config)
{
    ASSERT(r->started);
    if (r->term != 0 || raft_log_last(r->log).index != 0)
        return ERR_NOT_ALLOWED;
    if (raft_config_n_voters(config) == 0)
        return ERR_EMPTY;
    struct buf bytes = BUF_INIT;
    raft_config_encode(config, &bytes);
    struct raft_pos first = {1, 1};
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_CONFIG, first, (uint32_t)bytes.len);
    memcpy(e->data, bytes.data, bytes.len);
    buf_free(&bytes);
    raft_append_entry(r, e);
    raft_entry_unref(&e);
    /* Who is alone leads in term 1 and so wrote its first entry itself. Of several
     * voters nobody leads in term 1: the first election is for term 2. */
    campaign_if_alone(r);
    if (r->term == 0)
        raft_become_follower(r, 1, UUID_ZERO);
    return 0;
}

/* ---- shared by all files ---- */

const struct raft_config *raft_config_in_force(const struct raft *r)
{
    struct raft_pos pos;
    return raft_history_latest(r->history, &pos);
}

int raft_member_index(const struct raft *r, struct uuid id)
{
    const struct raft_config *config = raft_config_in_force(r);
    const struct raft_member *m = raft_config_find(config, id);
    return m ? (int)(m - config->members) : -1;
}

bool raft_is_self(const struct raft *r, unsigned i)
{
    return uuid_equal(r->peers[i].id, r->opt.id);
}

bool raft_is_voter(const struct raft *r)
{
    const struct raft_member *m = raft_config_find(raft_config_in_force(r), r->opt.id);
    return m && raft_member_votes(m);
}

bool raft_in_own_term(const struct raft *r)
{
    return r->role == RAFT_LEADER && raft_log_has(r->log, (struct raft_pos){r->term, r->commit});
}

bool raft_hard_state_is_durable(const struct raft *r)
{
    return !r->hard_state_dirty && r->hard_state_seq <= r->persisted_seq;
}

bool raft_disk_is_stalled(const struct raft *r)
{
    return r->opt.disk_stall_ticks > 0 && r->persisted_seq < r->persist_seq &&
           r->tick - r->disk_tick > r->opt.disk_stall_ticks;
}

void raft_set_commit(struct raft *r, uint64_t index)
{
    ASSERT(index > r->commit && index <= raft_log_last(r->log).index);
    if (r->role == RAFT_LEADER)
        for (uint64_t i = r->commit + 1; i <= index; i++)
            r->uncommitted_bytes -= raft_log_entry_bytes(raft_log_entry(r->log, i));
    r->commit = index;
    if (r->verified < index)
        r->verified = index;
    raft_history_commit(r->history, index);
    if (r->incoming.snapshot && r->incoming.snapshot->base.pos.index <= index)
        raft_abandon_incoming(r); /* entries were faster */
}

void raft_append_entry(struct raft *r, struct raft_entry *e)
{
    raft_log_append(r->log, e);
    if (r->role == RAFT_LEADER)
        r->uncommitted_bytes += raft_log_entry_bytes(e);
    if (e->type != RAFT_ENTRY_CONFIG)
        return;
    int rc = put_config_in_force(r, e);
    ASSERT(rc == 0); /* ours, or checked when it was received */
    if (r->role == RAFT_LEADER)
        raft_align_peers(r);
}

void raft_truncate_log(struct raft *r, uint64_t from)
{
    ASSERT(r->role == RAFT_FOLLOWER); /* a leader never deletes its own entries */
    ASSERT(from > r->verified && from > r->applied);
    raft_log_truncate(r->log, from);
    raft_history_truncate(r->history, from);
}

/* ---- inputs ---- */

void raft_tick(struct raft *r)
{
    ASSERT(r->started);
    r->tick++;
    raft_reads_tick(r);
    if (r->role == RAFT_LEADER) {
        raft_replication_tick(r);
        /* Its heartbeats would keep the others from electing one that can write (PITFALLS 14). */
        if (!raft_has_quorum_contact(r) || raft_disk_is_stalled(r))
            raft_become_follower(r, r->term, UUID_ZERO);
        else
            raft_membership_tick(r);
        if (r->role == RAFT_LEADER)
            raft_transfer_tick(r);
    } else if (++r->election_elapsed >= r->election_timeout) {
        raft_campaign(r);
    }
}

static int check_message(const struct raft *r, const struct raft_message *m)
{
    if (uuid_is_zero(m->from) || uuid_equal(m->from, r->opt.id) || m->term == 0)
        return ERR_INVALID;
    switch (m->type) {
    case RAFT_APPEND:
        return raft_check_append(r, m);
    case RAFT_SNAPSHOT:
        return raft_check_snapshot(r, m);
    case RAFT_VOTE: {
        const struct raft_pos *last = &m->vote.last;
        bool sane = last->term <= m->term && (last->index == 0) == (last->term == 0) &&
                    !(m->vote.pre && m->vote.handed_over);
        return sane ? 0 : ERR_INVALID;
    }
    case RAFT_APPEND_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_READ_INDEX:
    case RAFT_READ_INDEX_REPLY:
    case RAFT_TIMEOUT_NOW:
    case RAFT_TIMEOUT_NOW_REPLY:
    case RAFT_SNAPSHOT_REPLY:
        return 0;
    }
    return ERR_INVALID;
}

/* A message of an older term: questions are answered, so that the sender learns
 * of the new term (PITFALLS 7); answers are old news. */
static void on_stale(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_APPEND)
        raft_refuse_append(r, m);
    else if (m->type == RAFT_READ_INDEX)
        raft_on_read_index(r, m);
    else if (m->type == RAFT_TIMEOUT_NOW)
        raft_on_timeout_now(r, m);
    else if (m->type == RAFT_SNAPSHOT)
        raft_refuse_snapshot(r, m);
}

static void dispatch(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_APPEND:
        raft_on_append(r, m);
        break;
    case RAFT_APPEND_REPLY:
        raft_on_append_reply(r, m);
        break;
    case RAFT_READ_INDEX:
        raft_on_read_index(r, m);
        break;
    case RAFT_READ_INDEX_REPLY:
        raft_on_read_index_reply(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(r, m);
        break;
    case RAFT_TIMEOUT_NOW_REPLY:
        raft_on_timeout_now_reply(r, m);
        break;
    case RAFT_SNAPSHOT:
        raft_on_snapshot(r, m);
        break;
    case RAFT_SNAPSHOT_REPLY:
        raft_on_snapshot_reply(r, m);
        break;
    case RAFT_VOTE:
    case RAFT_VOTE_REPLY:
        break; /* not here */
    }
}

int raft_receive(struct raft *r, const struct raft_message *m)
{
    ASSERT(r->started);
    int rc = check_message(r, m);
    if (rc < 0)
        return rc;
    if (m->type == RAFT_VOTE || m->type == RAFT_VOTE_REPLY) { /* have their own rules for terms */
        if (m->type == RAFT_VOTE)
            raft_on_vote(r, m);
        else
            raft_on_vote_reply(r, m);
        return 0;
    }
    if (m->term < r->term) {
        on_stale(r, m);
        return 0;
    }
    if (m->term > r->term)
        raft_become_follower(r, m->term, UUID_ZERO);
    dispatch(r, m);
    return 0;
}

int raft_propose(struct raft *r, struct raft_entry *entries[], unsigned n,
                 struct raft_pos *ret_first)
{
    ASSERT(n > 0);
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (raft_is_transferring(r))
        return ERR_IN_PROGRESS; /* or another voter's log gets longer than the target's (PITFALLS
                                   13) */
    size_t bytes = r->uncommitted_bytes;
    for (unsigned i = 0; i < n; i++) {
        ASSERT(entries[i]->type == RAFT_ENTRY_COMMAND);
        bytes += raft_log_entry_bytes(entries[i]);
    }
    /* Whatever its size, one batch goes through when nothing else waits. */
    if (r->uncommitted_bytes > 0 && bytes > r->opt.uncommitted_bytes_max)
        return ERR_OVERLOADED;
    struct raft_pos pos = {r->term, raft_log_last(r->log).index};
    for (unsigned i = 0; i < n; i++) {
        pos.index++;
        if (i == 0)
            *ret_first = pos;
        entries[i]->pos = pos;
        raft_append_entry(r, entries[i]);
        raft_entry_unref(&entries[i]);
    }
    return 0;
}

void raft_persisted(struct raft *r, uint64_t persist_seq)
{
    ASSERT(persist_seq <= r->persist_seq);
    if (persist_seq <= r->persisted_seq)
        return;
    r->persisted_seq = persist_seq;
    r->disk_tick = r->tick;
    raft_log_persisted(r->log, persist_seq);
    raft_finish_install(r);
    raft_release_held(r);
    raft_on_vote_durable(r);
    raft_advance_commit(r);
}

void raft_step_down(struct raft *r)
{
    if (r->role == RAFT_LEADER)
        raft_become_follower(r, r->term, UUID_ZERO);
}

/* ---- questions ---- */

struct raft_status raft_status(const struct raft *r)
{
    return (struct raft_status){
        .role = r->role,
        .term = r->term,
        .leader = r->leader,
        .base = raft_log_base(r->log),
        .last = raft_log_last(r->log),
        .commit = r->commit,
        .applied = r->applied,
        .durable = raft_log_durable(r->log),
        .in_own_term = raft_in_own_term(r),
        .lease_ticks = raft_lease_ticks(r),
        .transfer_to = r->transfer_to,
        .n_transfers = r->n_transfers,
        .disk_stalled = raft_disk_is_stalled(r),
        .full = raft_is_full(r),
    };
}

const struct raft_config *raft_config(const struct raft *r, struct raft_pos *ret_pos)
{
    struct raft_pos pos;
    return raft_history_latest(r->history, ret_pos ? ret_pos : &pos);
}

bool raft_config_is_committed(const struct raft *r)
{
    return raft_history_is_committed(r->history);
}

const struct raft_config *raft_config_committed(const struct raft *r, struct raft_pos *ret_pos)
{
    struct raft_pos pos;
    return raft_history_committed(r->history, ret_pos ? ret_pos : &pos);
}

int raft_term_at(const struct raft *r, uint64_t index, uint64_t *ret_term)
{
    return raft_log_term(r->log, index, ret_term);
}

int raft_peer(const struct raft *r, struct uuid id, struct raft_peer_status *ret_peer)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    int i = raft_member_index(r, id);
    if (i < 0)
        return ERR_NOT_FOUND;
    const struct raft_progress *p = &r->peers[i];
    *ret_peer = (struct raft_peer_status){
        .id = id,
        .match = raft_progress_counted(p),
        .next = p->next,
        .in_flight = p->n_flights,
        .in_snapshot = p->state == RAFT_SEND_SNAPSHOT,
        .snapshot_offset = p->snapshot_offset,
        .ticks_since_heard = r->tick - p->heard_tick,
        .lost_data = p->lost_data,
        .full = p->full,
    };
    return 0;
}
