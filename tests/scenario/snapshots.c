/* SPDX-License-Identifier: MIT
 * Saving, making and taking in the state.
 */
#include "snapshots.h"

#include <inttypes.h>

#include "base/assert.h"
#include "trace.h"

static uint8_t byte_of(uint64_t id, uint64_t offset)
{
    return (uint8_t)(id * 31 + offset * 7);
}

void snapshots_read_piece(struct raft_message *m, uint8_t bytes[])
{
    ASSERT(m->snapshot.len <= WORLD_PIECE);
    for (uint32_t i = 0; i < m->snapshot.len; i++)
        bytes[i] = byte_of(m->snapshot.snapshot->id, m->snapshot.offset + i);
    m->snapshot.data = bytes;
}

static void say_broken(struct world *w, unsigned node, const char *what)
{
    buf_printf(w->trace, "BROKEN: %u %s\n", node, what);
    w->n_broken++;
}

/* ---- making ---- */

static void make(struct world *w, unsigned node, bool fails)
{
    struct node *n = &w->nodes[node];
    struct raft_status status = raft_status(n->core);
    struct raft_snapshot s = {.id = w->last_snapshot + 1, .size = w->snapshot_bytes};
    n->asked_for_snapshot = false;
    s.base.pos.index = n->applied;
    s.base.config = *raft_config_committed(n->core, &s.base.config_pos);
    if (fails || status.commit != n->applied ||
        raft_term_at(n->core, n->applied, &s.base.pos.term) < 0) {
        buf_printf(w->trace, "  %u can make no snapshot\n", node);
        raft_snapshot_made(n->core, NULL);
        return;
    }
    w->last_snapshot = s.id;
    buf_printf(w->trace, "  %u makes snapshot ", node);
    trace_snapshot_name(w->trace, s.id);
    buf_append_str(w->trace, " at ");
    trace_pos(w->trace, s.base.pos);
    buf_append_str(w->trace, "\n");
    struct raft_snapshot *made = raft_snapshot_new(&s);
    raft_snapshot_made(n->core, made);
    raft_snapshot_unref(&made);
}

/* ---- taking in ---- */

static void trace_piece(struct world *w, unsigned node, const char *does)
{
    const struct node *n = &w->nodes[node];
    buf_printf(w->trace, "  %u %s bytes %" PRIu64 " to %" PRIu64 " of ", node, does,
               n->piece_offset, n->piece_offset + n->piece_len);
    trace_snapshot_name(w->trace, n->piece_of->id);
    buf_append_str(w->trace, "\n");
}

static void note_piece(struct world *w, unsigned node, const struct raft_piece *piece)
{
    struct node *n = &w->nodes[node];
    ASSERT(!n->piece_of);
    n->piece_of = raft_snapshot_ref(piece->snapshot);
    n->piece_offset = piece->offset;
    n->piece_len = piece->len;
    for (uint32_t i = 0; i < piece->len; i++)
        if (piece->data[i] != byte_of(piece->snapshot->id, piece->offset + i))
            say_broken(w, node, "is to write bytes of another place");
    if (n->hold_snapshots)
        trace_piece(w, node, "is to write");
}

static void write_piece(struct world *w, unsigned node, bool ok)
{
    struct node *n = &w->nodes[node];
    struct raft_snapshot *s = n->piece_of;
    uint64_t offset = n->piece_offset;
    trace_piece(w, node, ok ? "writes" : "finds damage with");
    if (offset == 0) {
        n->written_id = s->id;
        n->written = 0;
    }
    if (n->written_id != s->id || n->written != offset)
        say_broken(w, node, "writes bytes that do not follow on");
    n->written += n->piece_len;
    n->piece_of = NULL;
    raft_piece_written(n->core, s->id, offset, ok);
    raft_snapshot_unref(&s);
}

static void drop(struct world *w, unsigned node, uint64_t id)
{
    struct node *n = &w->nodes[node];
    buf_printf(w->trace, "  %u drops snapshot ", node);
    trace_snapshot_name(w->trace, id);
    buf_append_str(w->trace, "\n");
    if (n->piece_of && n->piece_of->id == id)
        raft_snapshot_unref(&n->piece_of);
    if (n->written_id == id)
        n->written_id = n->written = 0;
}

void snapshots_take(struct world *w, unsigned node, const struct raft_effects *e)
{
    for (unsigned i = 0; i < e->n_dropped; i++)
        drop(w, node, e->dropped[i]);
    if (e->piece)
        note_piece(w, node, e->piece);
    if (!e->snapshot_wanted)
        return;
    w->nodes[node].asked_for_snapshot = true;
    buf_printf(w->trace, "  %u is to make a snapshot\n", node);
}

bool snapshots_serve(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    bool makes = n->asked_for_snapshot, writes = n->piece_of;
    if (n->hold_snapshots)
        return false;
    if (makes)
        make(w, node, false);
    if (writes)
        write_piece(w, node, true);
    return makes || writes;
}

void snapshots_forget(struct node *n)
{
    raft_snapshot_unref(&n->piece_of);
    n->asked_for_snapshot = false;
    n->written_id = n->written = 0;
}

/* ---- the disk ---- */

void snapshots_install(struct world *w, unsigned node, const struct raft_snapshot *s)
{
    struct node *n = &w->nodes[node];
    uint64_t index = s->base.pos.index;
    if (n->written_id != s->id || n->written != s->size)
        say_broken(w, node, "installs what it does not have");
    if (n->received > index)
        say_broken(w, node, "goes back in what it has applied");
    if (!w->committed[index] || !raft_pos_equal(w->committed[index]->pos, s->base.pos))
        say_broken(w, node, "installs what was not committed");
    while (n->log_last > 0)
        raft_entry_unref(&n->log[n->log_last--]);
    n->log_last = n->saved = n->received = n->applied = index;
}

void snapshots_set_base(struct world *w, unsigned node, const struct raft_base *base)
{
    struct node *n = &w->nodes[node];
    if (base->pos.index > n->saved || base->pos.index > n->log_last)
        say_broken(w, node, "lets go of what it has not saved");
    for (uint64_t i = 1; i <= base->pos.index && i <= n->log_last; i++)
        raft_entry_unref(&n->log[i]);
    n->base = *base;
}

/* ---- commands ---- */

const char *snapshots_compact(struct world *w, const struct words *a)
{
    unsigned node, index = UINT32_MAX;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || (a->n > 2 && !words_number(a->w[2], &index)))
        return wrong ? wrong : WORDS_NOT_SO;
    struct node *n = &w->nodes[node];
    uint64_t durable = raft_status(n->core).durable;
    n->saved = n->applied < durable ? n->applied : durable;
    raft_compact(n->core, index < n->saved ? index : n->saved);
    world_pump(w, node);
    return NULL;
}

static const char *set_hold(struct world *w, const struct words *a, bool hold)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    w->nodes[node].hold_snapshots = hold;
    if (snapshots_serve(w, node))
        world_pump(w, node);
    return NULL;
}

const char *snapshots_hold(struct world *w, const struct words *a)
{
    return set_hold(w, a, true);
}

const char *snapshots_release(struct world *w, const struct words *a)
{
    return set_hold(w, a, false);
}

static const char *make_now(struct world *w, const struct words *a, bool fails)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || !w->nodes[node].asked_for_snapshot)
        return wrong ? wrong : "no snapshot is wanted";
    make(w, node, fails);
    world_pump(w, node);
    return NULL;
}

const char *snapshots_make(struct world *w, const struct words *a)
{
    return make_now(w, a, false);
}

const char *snapshots_fail(struct world *w, const struct words *a)
{
    return make_now(w, a, true);
}

static const char *write_now(struct world *w, const struct words *a, bool ok)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || !w->nodes[node].piece_of)
        return wrong ? wrong : "there is no piece to write";
    write_piece(w, node, ok);
    world_pump(w, node);
    return NULL;
}

const char *snapshots_write(struct world *w, const struct words *a)
{
    return write_now(w, a, true);
}

const char *snapshots_damage(struct world *w, const struct words *a)
{
    return write_now(w, a, false);
}
