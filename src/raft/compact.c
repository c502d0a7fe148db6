/* SPDX-License-Identifier: MIT
 * Where the log begins (dissertation 5.1), and snapshots by reference.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "raft/array.h"
#include "raft/core.h"

struct raft_snapshot *raft_snapshot_new(const struct raft_snapshot *s)
{
    struct raft_snapshot *copy = mem_alloc(sizeof *copy);
    refs_init(&copy->refs);
    copy->id = s->id;
    copy->base = s->base;
    copy->size = s->size;
    copy->digest = s->digest;
    return copy;
}

struct raft_snapshot *raft_snapshot_ref(struct raft_snapshot *s)
{
    refs_take(&s->refs);
    return s;
}

void raft_snapshot_unref(struct raft_snapshot **s)
{
    struct raft_snapshot *mine = *s;
    *s = NULL;
    if (mine && refs_drop(&mine->refs))
        mem_free(mine);
}

void raft_drop_snapshot(struct raft *r, struct raft_snapshot **s)
{
    if (*s)
        RAFT_ARRAY_PUSH(&r->out.dropped, (*s)->id);
    raft_snapshot_unref(s);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void raft_compact(struct raft *r, uint64_t index)
{
    ASSERT(r->started);
    if (r->installing)
        return; /* the log is empty, its base not durable */
    index = least(index, least(r->applied, raft_log_durable(r->log)));
    if (r->outgoing) /* whoever gets it needs what comes after */
        index = least(index, r->outgoing->base.pos.index);
    if (index <= raft_log_base(r->log).index)
        return;
    raft_log_compact(r->log, index);
    r->base.pos = raft_log_base(r->log);
    r->base.config = *raft_history_committed(r->history, &r->base.config_pos);
    r->base_dirty = true;
}
