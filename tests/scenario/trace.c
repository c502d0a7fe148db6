/* SPDX-License-Identifier: MIT
 * Words for messages, entries and configurations.
 */
#include "trace.h"

#include <inttypes.h>

enum { ENTRIES_IN_WORDS = 4 };

void trace_pos(struct buf *b, struct raft_pos pos)
{
    if (pos.index == 0)
        buf_append_str(b, "0");
    else
        buf_printf(b, "%" PRIu64 "(t%" PRIu64 ")", pos.index, pos.term);
}

static void trace_members(struct buf *b, const struct raft_config *config, unsigned role,
                          const char *before)
{
    for (unsigned i = 0; i < config->n_members; i++) {
        if (!(config->members[i].roles & role))
            continue;
        buf_printf(b, "%s%" PRIu64, before, config->members[i].id.lo);
        before = " ";
    }
}

void trace_config(struct buf *b, const struct raft_config *config)
{
    buf_append_str(b, "{");
    trace_members(b, config, RAFT_VOTER, "");
    trace_members(b, config, RAFT_VOTER_OLD, " | ");
    trace_members(b, config, RAFT_LEARNER, ", learner ");
    trace_members(b, config, RAFT_VOTER_SOON, ", soon voter ");
    trace_members(b, config, RAFT_LEARNER_NEXT, ", soon learner ");
    buf_append_str(b, "}");
}

static void trace_entry(struct buf *b, const struct raft_entry *e)
{
    trace_pos(b, e->pos);
    struct raft_config config;
    if (e->type == RAFT_ENTRY_NOOP)
        buf_append_str(b, " noop");
    else if (e->type == RAFT_ENTRY_COMMAND)
        buf_printf(b, " %.*s", (int)e->len, (const char *)e->data);
    else if (raft_config_decode(e->data, e->len, &config) == 0) {
        buf_append_str(b, " ");
        trace_config(b, &config);
    }
}

static void trace_range(struct buf *b, uint64_t first, struct raft_pos last)
{
    if (first < last.index)
        buf_printf(b, "%" PRIu64 "..", first);
    trace_pos(b, last);
}

void trace_ranges(struct buf *b, struct raft_entry *const entries[], unsigned n)
{
    unsigned first = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i + 1 < n && entries[i + 1]->pos.term == entries[i]->pos.term)
            continue;
        buf_append_str(b, first ? " " : "");
        trace_range(b, entries[first]->pos.index, entries[i]->pos);
        first = i + 1;
    }
}

void trace_entries(struct buf *b, struct raft_entry *const entries[], unsigned n)
{
    if (n > ENTRIES_IN_WORDS) {
        trace_ranges(b, entries, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        buf_append_str(b, i ? ", " : "");
        trace_entry(b, entries[i]);
    }
}

const char *trace_message_name(const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_APPEND:
        return m->append.n_entries ? "append" : "heartbeat";
    case RAFT_APPEND_REPLY:
        return "append-reply";
    case RAFT_VOTE:
        return m->vote.pre ? "pre-vote" : "vote";
    case RAFT_VOTE_REPLY:
        return m->vote_reply.pre ? "pre-vote-reply" : "vote-reply";
    case RAFT_READ_INDEX:
        return "read-index";
    case RAFT_READ_INDEX_REPLY:
        return "read-index-reply";
    case RAFT_TIMEOUT_NOW:
        return "timeout-now";
    case RAFT_TIMEOUT_NOW_REPLY:
        return "timeout-now-reply";
    case RAFT_SNAPSHOT:
        return "snapshot";
    case RAFT_SNAPSHOT_REPLY:
        return "snapshot-reply";
    }
    return "unknown";
}

static void trace_append(struct buf *b, const struct raft_message *m)
{
    buf_append_str(b, m->append.n_entries ? ", after " : ", has ");
    trace_pos(b, m->append.prev);
    if (m->append.n_entries) {
        buf_append_str(b, ": ");
        trace_entries(b, m->append.entries, m->append.n_entries);
    }
    buf_printf(b, ", commit %" PRIu64, m->append.commit);
}

static void trace_append_reply(struct buf *b, const struct raft_message *m)
{
    if (m->append_reply.success) {
        buf_printf(b, ", ok, match %" PRIu64, m->append_reply.match);
        if (m->append_reply.promise_ticks)
            buf_printf(b, ", no vote for %" PRIu64 " ticks", m->append_reply.promise_ticks);
        return;
    }
    buf_printf(b, ", refused %" PRIu64 ", hint ", m->append_reply.rejected);
    trace_pos(b, m->append_reply.hint);
}

void trace_snapshot_name(struct buf *b, uint64_t id)
{
    buf_printf(b, "%c", (int)('A' + (id - 1) % 26));
}

static void trace_snapshot(struct buf *b, const struct raft_message *m)
{
    const struct raft_snapshot *s = m->snapshot.snapshot;
    buf_append_str(b, ", ");
    trace_snapshot_name(b, s->id);
    buf_append_str(b, " at ");
    trace_pos(b, s->base.pos);
    if (m->snapshot.len == 0)
        buf_append_str(b, ", how far are you");
    else
        buf_printf(b, ", bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64, m->snapshot.offset,
                   m->snapshot.offset + m->snapshot.len, s->size);
}

void trace_message(struct buf *b, const struct raft_message *m)
{
    buf_printf(b, "%" PRIu64 ">%" PRIu64 " %s term %" PRIu64, m->from.lo, m->to.lo,
               trace_message_name(m), m->term);
    switch (m->type) {
    case RAFT_APPEND:
        trace_append(b, m);
        break;
    case RAFT_APPEND_REPLY:
        trace_append_reply(b, m);
        break;
    case RAFT_VOTE:
        buf_append_str(b, ", log ends at ");
        trace_pos(b, m->vote.last);
        buf_append_str(b, m->vote.handed_over ? ", handed over" : "");
        break;
    case RAFT_VOTE_REPLY:
        buf_append_str(b, m->vote_reply.granted ? ", granted" : ", refused");
        break;
    case RAFT_READ_INDEX_REPLY:
        if (m->read_index_reply.ok)
            buf_printf(b, ", index %" PRIu64, m->read_index_reply.index);
        else
            buf_append_str(b, ", refused");
        break;
    case RAFT_TIMEOUT_NOW_REPLY:
        buf_append_str(b, m->timeout_now_reply.ok ? ", ok" : ", refused");
        break;
    case RAFT_SNAPSHOT:
        trace_snapshot(b, m);
        break;
    case RAFT_SNAPSHOT_REPLY:
        buf_append_str(b, ", ");
        trace_snapshot_name(b, m->snapshot_reply.id);
        if (m->snapshot_reply.installed)
            buf_printf(b, " installed, match %" PRIu64, m->snapshot_reply.match);
        else
            buf_printf(b, " has %" PRIu64 " bytes", m->snapshot_reply.offset);
        break;
    case RAFT_READ_INDEX:
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

const char *trace_role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return names[role];
}

void trace_log(struct buf *b, const struct raft *core)
{
    struct raft_status s = raft_status(core);
    uint64_t last = s.last.index, first = s.base.index + 1;
    if (s.base.index > 0) {
        buf_append_str(b, " after ");
        trace_pos(b, s.base);
        buf_append_str(b, last == s.base.index ? "" : ":");
    }
    if (last == s.base.index)
        buf_append_str(b, " empty");
    for (uint64_t i = first; i <= last; i++) {
        uint64_t term = 0, next = 0;
        if (raft_term_at(core, i, &term) < 0)
            continue;
        if (i < last && raft_term_at(core, i + 1, &next) == 0 && next == term)
            continue;
        buf_append_str(b, " ");
        trace_range(b, first, (struct raft_pos){term, i});
        first = i + 1;
    }
}
