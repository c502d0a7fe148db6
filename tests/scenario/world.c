/* SPDX-License-Identifier: MIT
 * The world of a story: nodes, their disks and the network.
 */
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "snapshots.h"
#include "trace.h"

/* ---- life ---- */

struct uuid world_id(unsigned node)
{
    return (struct uuid){0, node};
}

unsigned world_node(struct uuid id)
{
    return (unsigned)id.lo;
}

struct raft_member world_member(unsigned node)
{
    struct raft_member m = {.id = world_id(node), .incarnation = 1000 + node};
    (void)snprintf(m.addr, sizeof m.addr, "node%u:8080", node);
    return m;
}

static void plant(struct node *n, struct raft_entry *e)
{
    ASSERT(n->log_last < WORLD_LOG);
    n->log[++n->log_last] = raft_entry_ref(e);
    if (n->hard_state.term < e->pos.term)
        n->hard_state = (struct raft_hard_state){.term = e->pos.term, .commit = 1};
}

static struct raft_entry *first_config(unsigned n_voters, unsigned n_learners)
{
    struct raft_config config = {.n_members = n_voters + n_learners};
    for (unsigned i = 0; i < config.n_members; i++) {
        config.members[i] = world_member(i + 1);
        config.members[i].roles = i < n_voters ? RAFT_VOTER : RAFT_LEARNER;
    }
    struct buf bytes = BUF_INIT;
    raft_config_encode(&config, &bytes);
    struct raft_pos pos = {1, 1};
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_CONFIG, pos, (uint32_t)bytes.len);
    memcpy(e->data, bytes.data, bytes.len);
    buf_free(&bytes);
    return e;
}

struct world *world_new(struct buf *trace, const struct raft_options *options, unsigned n_voters,
                        unsigned n_learners, unsigned n_spares)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->trace = trace;
    w->options = *options;
    w->rng = (struct rng){options->seed};
    w->n_nodes = n_voters + n_learners + n_spares;
    ASSERT(w->n_nodes <= WORLD_NODES);
    struct raft_entry *e = first_config(n_voters, n_learners);
    w->committed[1] = raft_entry_ref(e);
    for (unsigned i = 1; i <= w->n_nodes; i++) {
        if (i <= n_voters + n_learners)
            plant(&w->nodes[i], e);
        world_start(w, i);
    }
    raft_entry_unref(&e);
    return w;
}

static void free_record(struct record *record)
{
    for (unsigned i = 0; i < record->n_entries; i++)
        raft_entry_unref(&record->entries[i]);
    mem_free(record->entries);
    raft_snapshot_unref(&record->install);
    mem_free(record);
}

/* What ends with the process. */
static void lose_memory(struct node *n)
{
    raft_free(&n->core);
    while (n->writing) {
        struct record *record = n->writing;
        n->writing = record->next;
        free_record(record);
    }
    while (n->n_waiters > 0)
        mem_free(n->waiters[--n->n_waiters].word);
    n->n_reads = 0;
    snapshots_forget(n);
}

void world_free(struct world **w)
{
    struct world *mine = *w;
    *w = NULL;
    if (!mine)
        return;
    for (unsigned i = 1; i <= mine->n_nodes; i++) {
        lose_memory(&mine->nodes[i]);
        for (uint64_t k = 1; k <= WORLD_LOG; k++)
            raft_entry_unref(&mine->nodes[i].log[k]);
    }
    for (uint64_t k = 1; k <= WORLD_LOG; k++)
        raft_entry_unref(&mine->committed[k]);
    for (uint64_t ctx = 1; ctx <= mine->last_ctx; ctx++)
        mem_free(mine->read_names[ctx]);
    while (mine->in_flight)
        world_drop(&mine->in_flight);
    while (mine->stash)
        world_drop(&mine->stash);
    mem_free(mine);
}

void world_start(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    struct raft_options o = w->options;
    o.id = world_id(node);
    o.seq_first = ++n->boot << 40;
    o.seed = rng_next(&w->rng);
    n->core = raft_new(&o);
    n->received = n->applied = n->boot == 1 ? n->log_last : n->saved;
    if (n->hard_state.commit < n->applied)
        n->hard_state.commit = n->applied;
    n->told_commit = n->hard_state.commit;
    n->handed = n->hard_state;
    if (n->base.pos.index > 0)
        raft_restore_base(n->core, &n->base);
    raft_restore_hard_state(n->core, n->hard_state, n->applied);
    for (uint64_t i = n->base.pos.index + 1; i <= n->log_last; i++)
        ASSERT(raft_restore_entry(n->core, n->log[i]) == 0);
    raft_start(n->core);
}

void world_crash(struct world *w, unsigned node)
{
    lose_memory(&w->nodes[node]);
}

void world_plant(struct world *w, unsigned node, uint64_t term, unsigned n)
{
    struct node *sim = &w->nodes[node];
    while (n-- > 0) {
        struct raft_pos pos = {term, sim->log_last + 1};
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, pos, 1);
        e->data[0] = (uint8_t)('a' + node - 1);
        plant(sim, e);
        raft_entry_unref(&e);
    }
}

void world_set_back(struct world *w, unsigned node, uint64_t index)
{
    struct node *n = &w->nodes[node];
    while (n->log_last > index)
        raft_entry_unref(&n->log[n->log_last--]);
    if (n->hard_state.commit > index)
        n->hard_state.commit = index;
}

/* ---- the disk ---- */

static void trace_record(struct world *w, unsigned node, const struct raft_persist *p)
{
    struct node *n = &w->nodes[node];
    buf_printf(w->trace, "  %u writes", node);
    const char *sep = " ";
    bool voted = !uuid_equal(p->hard_state.vote, n->handed.vote);
    if (p->hard_state.term != n->handed.term || voted) {
        buf_printf(w->trace, " term %" PRIu64, p->hard_state.term);
        if (!uuid_is_zero(p->hard_state.vote))
            buf_printf(w->trace, " vote %u", world_node(p->hard_state.vote));
        sep = ", ";
    }
    if (p->install) {
        buf_printf(w->trace, "%ssnapshot ", sep);
        trace_snapshot_name(w->trace, p->install->id);
        buf_append_str(w->trace, " for its state and log");
        sep = ", ";
    }
    if (p->base) {
        buf_printf(w->trace, "%sbase ", sep);
        trace_pos(w->trace, p->base->pos);
        buf_append_str(w->trace, " with ");
        trace_config(w->trace, &p->base->config);
        buf_printf(w->trace, " of %" PRIu64, p->base->config_pos.index);
        sep = ", ";
    }
    if (p->truncate_from) {
        buf_printf(w->trace, "%sdeletes from %" PRIu64 " on", sep, p->truncate_from);
        sep = ", ";
    }
    if (p->n_entries) {
        buf_append_str(w->trace, sep);
        trace_ranges(w->trace, p->entries, p->n_entries);
    }
    buf_append_str(w->trace, n->hold_disk ? " (held)\n" : "\n");
    n->handed = p->hard_state;
}

static void start_writing(struct node *n, const struct raft_persist *p)
{
    struct record *record = mem_zalloc(sizeof *record);
    record->seq = p->seq;
    record->hard_state = p->hard_state;
    record->install = p->install ? raft_snapshot_ref(p->install) : NULL;
    record->has_base = p->base != NULL;
    if (p->base)
        record->base = *p->base;
    record->truncate_from = p->truncate_from;
    record->n_entries = p->n_entries;
    record->entries = mem_array(p->n_entries, sizeof(struct raft_entry *));
    for (unsigned i = 0; i < p->n_entries; i++)
        record->entries[i] = raft_entry_ref(p->entries[i]);
    struct record **end = &n->writing;
    while (*end)
        end = &(*end)->next;
    *end = record;
}

/* The oldest record reaches the disk. Returns its seq. */
static uint64_t write_record(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    struct record *record = n->writing;
    uint64_t seq = record->seq;
    n->writing = record->next;
    n->hard_state = record->hard_state;
    if (record->install)
        snapshots_install(w, node, record->install);
    if (record->has_base)
        snapshots_set_base(w, node, &record->base);
    while (record->truncate_from && n->log_last >= record->truncate_from)
        raft_entry_unref(&n->log[n->log_last--]);
    for (unsigned i = 0; i < record->n_entries; i++) {
        ASSERT(record->entries[i]->pos.index == n->log_last + 1 && n->log_last < WORLD_LOG);
        n->log[++n->log_last] = raft_entry_ref(record->entries[i]);
    }
    free_record(record);
    return seq;
}

void world_persist(struct world *w, unsigned node, unsigned n, bool told)
{
    struct node *sim = &w->nodes[node];
    uint64_t seq = 0;
    while (n-- > 0 && sim->writing)
        seq = write_record(w, node);
    if (seq && told) {
        raft_persisted(sim->core, seq);
        world_pump(w, node);
    }
}

/* ---- the state machine and its clients ---- */

static void answer_waiters(struct world *w, unsigned node, const struct raft_entry *applied)
{
    struct node *n = &w->nodes[node];
    unsigned kept = 0;
    for (unsigned i = 0; i < n->n_waiters; i++) {
        struct waiter waiter = n->waiters[i];
        if (waiter.pos.index != applied->pos.index) {
            n->waiters[kept++] = waiter;
            continue;
        }
        bool done = raft_pos_equal(waiter.pos, applied->pos);
        buf_printf(w->trace, "  %u answers %s: %s\n", node, waiter.word, done ? "done" : "lost");
        mem_free(waiter.word);
    }
    n->n_waiters = kept;
}

/* Whoever waits for a proposal of an earlier term learns that the outcome is
 * unknown (PITFALLS 50, 51). */
static void give_up_waiters(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    struct raft_status s = raft_status(n->core);
    unsigned kept = 0;
    for (unsigned i = 0; i < n->n_waiters; i++) {
        struct waiter waiter = n->waiters[i];
        if (s.role == RAFT_LEADER && waiter.pos.term == s.term) {
            n->waiters[kept++] = waiter;
            continue;
        }
        buf_printf(w->trace, "  %u answers %s: unknown\n", node, waiter.word);
        mem_free(waiter.word);
    }
    n->n_waiters = kept;
}

static void serve_reads(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    unsigned kept = 0;
    for (unsigned i = 0; i < n->n_reads; i++) {
        struct raft_read_result read = n->reads[i];
        if (read.index > n->applied)
            n->reads[kept++] = read;
        else
            buf_printf(w->trace, "  %u serves read %s at %" PRIu64 "\n", node,
                       w->read_names[read.ctx], n->applied);
    }
    n->n_reads = kept;
}

static void take_read(struct world *w, unsigned node, const struct raft_read_result *read)
{
    struct node *n = &w->nodes[node];
    const char *name = w->read_names[read->ctx];
    if (read->err) {
        buf_printf(w->trace, "  %u fails read %s: %s\n", node, name, err_name(read->err));
        return;
    }
    buf_printf(w->trace, "  %u may serve read %s from %" PRIu64 " on", node, name, read->index);
    if (read->lease_ticks)
        buf_printf(w->trace, ", by lease, within %" PRIu64 " ticks", read->lease_ticks);
    buf_append_str(w->trace, "\n");
    ASSERT(n->n_reads < WORLD_READS);
    n->reads[n->n_reads++] = *read;
}

/* State machine safety: the same at the same index everywhere, for ever. */
static void check_applied(struct world *w, unsigned node, struct raft_entry *e)
{
    struct raft_entry **known = &w->committed[e->pos.index];
    if (!*known)
        *known = raft_entry_ref(e);
    if (raft_pos_equal((*known)->pos, e->pos) && (*known)->len == e->len &&
        memcmp((*known)->data, e->data, e->len) == 0)
        return;
    buf_printf(w->trace, "BROKEN: %u applies at %" PRIu64 " what others did not\n", node,
               e->pos.index);
    w->n_broken++;
}

static void take_apply(struct world *w, unsigned node, const struct raft_effects *e)
{
    struct node *n = &w->nodes[node];
    uint64_t commit = raft_status(n->core).commit;
    buf_printf(w->trace, "  %u %s ", node, commit > n->told_commit ? "commits" : "applies");
    trace_entries(w->trace, e->apply, e->n_apply);
    buf_append_str(w->trace, n->hold_apply ? " (not applied)\n" : "\n");
    n->told_commit = commit;
    for (unsigned i = 0; i < e->n_apply; i++) {
        n->received++;
        ASSERT(e->apply[i]->pos.index == n->received);
        check_applied(w, node, e->apply[i]);
        answer_waiters(w, node, e->apply[i]);
    }
    if (!n->hold_apply)
        n->applied = n->received;
}

void world_apply(struct world *w, unsigned node)
{
    w->nodes[node].applied = w->nodes[node].received;
    serve_reads(w, node);
}

/* ---- effects ---- */

void world_post(struct letter **list, const struct raft_message *m)
{
    struct letter *letter = mem_zalloc(sizeof *letter);
    letter->m = *m;
    if (m->type == RAFT_APPEND) {
        letter->m.append.entries = mem_array(m->append.n_entries, sizeof(struct raft_entry *));
        for (unsigned i = 0; i < m->append.n_entries; i++)
            letter->m.append.entries[i] = raft_entry_ref(m->append.entries[i]);
    }
    if (m->type == RAFT_SNAPSHOT)
        raft_snapshot_ref(m->snapshot.snapshot);
    while (*list)
        list = &(*list)->next;
    *list = letter;
}

static void trace_role(struct world *w, unsigned node)
{
    struct raft_status s = raft_status(w->nodes[node].core);
    buf_printf(w->trace, "  %u is %s", node, trace_role_name(s.role));
    if (s.role == RAFT_FOLLOWER && !uuid_is_zero(s.leader))
        buf_printf(w->trace, " of %u", world_node(s.leader));
    buf_printf(w->trace, ", term %" PRIu64 "\n", s.term);
}

static void trace_config_change(struct world *w, unsigned node)
{
    struct raft_pos pos;
    const struct raft *core = w->nodes[node].core;
    buf_printf(w->trace, "  %u has configuration ", node);
    trace_config(w->trace, raft_config(core, &pos));
    buf_printf(w->trace, " of %" PRIu64 ", %scommitted\n", pos.index,
               raft_config_is_committed(core) ? "" : "not ");
}

static void serve_loads(struct node *n, const struct raft_load loads[], unsigned n_loads)
{
    for (unsigned i = 0; i < n_loads; i++) {
        uint64_t left = n->log_last + 1 - loads[i].first;
        unsigned count = loads[i].n_max < left ? loads[i].n_max : (unsigned)left;
        if (loads[i].first <= n->base.pos.index)
            count = 0;
        raft_loaded(n->core, loads[i].peer, &n->log[loads[i].first], count);
    }
}

/* Nobody acknowledges what would be gone after a crash (PITFALLS 30). */
static void check_vouches(struct world *w, unsigned node, const struct raft_message *m)
{
    uint64_t match = 0;
    if (m->type == RAFT_APPEND_REPLY && m->append_reply.success)
        match = m->append_reply.match;
    else if (m->type == RAFT_SNAPSHOT_REPLY && m->snapshot_reply.installed)
        match = m->snapshot_reply.match;
    if (match <= w->nodes[node].log_last)
        return;
    buf_printf(w->trace, "BROKEN: %u vouches for what is not on its disk\n", node);
    w->n_broken++;
}

/* One round of effects. True: it leads to another. */
static bool carry_out(struct world *w, unsigned node)
{
    struct node *n = &w->nodes[node];
    const struct raft_effects *e = raft_effects(n->core);
    if (e->role_changed)
        trace_role(w, node);
    if (e->config_changed)
        trace_config_change(w, node);
    if (e->peer_lost_data)
        buf_printf(w->trace, "  %u finds that a peer has lost data\n", node);
    if (e->persist.seq) {
        trace_record(w, node, &e->persist);
        start_writing(n, &e->persist);
    }
    for (unsigned i = 0; i < e->n_messages; i++) {
        check_vouches(w, node, &e->messages[i]);
        world_post(&w->in_flight, &e->messages[i]);
    }
    if (e->n_apply)
        take_apply(w, node, e);
    for (unsigned i = 0; i < e->n_reads; i++)
        take_read(w, node, &e->reads[i]);
    if (e->role_changed)
        give_up_waiters(w, node);
    serve_reads(w, node);
    snapshots_take(w, node, e);
    struct raft_load loads[WORLD_NODES];
    unsigned n_loads = e->n_loads;
    ASSERT(n_loads <= WORLD_NODES);
    if (n_loads)
        memcpy(loads, e->loads, n_loads * sizeof loads[0]);
    serve_loads(n, loads, n_loads);
    bool told = snapshots_serve(w, node);
    uint64_t seq = 0;
    while (!n->hold_disk && n->writing)
        seq = write_record(w, node);
    if (seq)
        raft_persisted(n->core, seq);
    return seq || n_loads || told;
}

void world_pump(struct world *w, unsigned node)
{
    while (carry_out(w, node))
        ;
}

/* ---- network ---- */

static void free_letter(struct letter *letter)
{
    if (letter->m.type == RAFT_APPEND) {
        for (unsigned i = 0; i < letter->m.append.n_entries; i++)
            raft_entry_unref(&letter->m.append.entries[i]);
        mem_free(letter->m.append.entries);
    }
    if (letter->m.type == RAFT_SNAPSHOT)
        raft_snapshot_unref(&letter->m.snapshot.snapshot);
    mem_free(letter);
}

void world_drop(struct letter **at)
{
    struct letter *letter = *at;
    *at = letter->next;
    free_letter(letter);
}

void world_deliver(struct world *w, struct letter **at)
{
    struct letter *letter = *at;
    *at = letter->next;
    unsigned from = world_node(letter->m.from), to = world_node(letter->m.to);
    bool lost = w->cut[from][to] || !w->nodes[to].core;
    if (!w->hushed) {
        trace_message(w->trace, &letter->m);
        buf_append_str(w->trace, lost ? " (lost)\n" : "\n");
    }
    if (!lost) {
        uint8_t bytes[WORLD_PIECE];
        if (letter->m.type == RAFT_SNAPSHOT)
            snapshots_read_piece(&letter->m, bytes);
        int rc = raft_receive(w->nodes[to].core, &letter->m);
        if (rc < 0)
            buf_printf(w->trace, "  %u does not take it: %s\n", to, err_name(rc));
        world_pump(w, to);
    }
    free_letter(letter);
}

void world_settle(struct world *w)
{
    for (unsigned n = 0; w->in_flight; n++) {
        ASSERT(n < 10000); /* a story ends */
        world_deliver(w, &w->in_flight);
    }
}

/* ---- promises ---- */

static void check_leader(struct world *w, unsigned node)
{
    struct raft_status s = raft_status(w->nodes[node].core);
    if (s.role != RAFT_LEADER)
        return;
    ASSERT(s.term < WORLD_TERMS);
    unsigned *leader = &w->leader_of_term[s.term];
    if (*leader != 0 && *leader != node) {
        buf_printf(w->trace, "BROKEN: %u and %u both lead in term %" PRIu64 "\n", *leader, node,
                   s.term);
        w->n_broken++;
    }
    *leader = node;
}

void world_check(struct world *w)
{
    for (unsigned i = 1; i <= w->n_nodes; i++) {
        if (!w->nodes[i].core)
            continue;
        raft_check(w->nodes[i].core);
        check_leader(w, i);
    }
}
