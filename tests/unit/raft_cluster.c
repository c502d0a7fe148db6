/* SPDX-License-Identifier: MIT
 * The cluster in one process: nodes, disks, network.
 */
#include "raft_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "raft/quorum.h"
#include "raft_oracle.h"

/* ---- life ---- */

struct uuid cluster_id(unsigned node)
{
    return (struct uuid){0, node + 1};
}

int cluster_node(struct uuid id)
{
    return id.hi == 0 && id.lo >= 1 && id.lo <= CLUSTER_NODES ? (int)id.lo - 1 : -1;
}

struct raft_member cluster_member(unsigned node)
{
    struct raft_member m = {.id = cluster_id(node), .incarnation = 1000 + node};
    (void)snprintf(m.addr, sizeof m.addr, "node%u:8080", node);
    return m;
}

struct raft_options cluster_default_options(void)
{
    return (struct raft_options){
        .heartbeat_ticks = HEARTBEAT_TICKS,
        .election_ticks_min = ELECTION_TICKS_MIN,
        .election_ticks_max = ELECTION_TICKS_MAX,
        .append_entries_max = 16,
        .append_bytes_max = 4096,
        .window = 4,
        .cache_bytes = 2048,
        .snapshot_bytes_max = 64,
        .uncommitted_bytes_max = 1 << 20,
        .disk_stall_ticks = DISK_STALL_TICKS,
    };
}

static void start_core(struct cluster *c, unsigned node, uint64_t applied)
{
    struct sim_node *n = &c->nodes[node];
    struct raft_options o = c->options;
    o.id = cluster_id(node);
    o.seq_first = ++n->boot << 40;
    o.seed = rng_next(&c->rng);
    n->core = raft_new(&o);
    struct raft_hard_state hs = n->hard_state;
    if (hs.commit < applied)
        hs.commit = applied;
    if (n->base.pos.index > 0)
        raft_restore_base(n->core, &n->base);
    raft_restore_hard_state(n->core, hs, applied);
    for (uint64_t i = n->base.pos.index + 1; i <= n->log_last; i++)
        assert_int_equal(raft_restore_entry(n->core, n->log[i]), 0);
    raft_start(n->core);
    n->applied = applied;
    n->n_loads = 0;
    raft_check(n->core);
}

struct cluster *cluster_new_with(uint64_t seed, unsigned n_nodes, unsigned n_voters,
                                 const struct raft_options *options)
{
    assert_true(n_nodes <= CLUSTER_NODES);
    struct cluster *c = mem_zalloc(sizeof *c);
    c->rng = (struct rng){seed};
    c->options = *options;
    c->n_nodes = n_nodes;
    for (unsigned i = 0; i < CLUSTER_TERMS; i++)
        c->leader_of_term[i] = -1;
    for (unsigned i = 0; i < n_nodes; i++)
        start_core(c, i, 0);
    if (n_voters == 0)
        return c;
    struct raft_config config = {.n_members = n_voters};
    for (unsigned i = 0; i < n_voters; i++) {
        config.members[i] = cluster_member(i);
        config.members[i].roles = RAFT_VOTER;
    }
    assert_int_equal(raft_bootstrap(c->nodes[0].core, &config), 0);
    cluster_pump(c, 0);
    return c;
}

struct cluster *cluster_new(uint64_t seed, unsigned n_nodes, unsigned n_voters)
{
    struct raft_options o = cluster_default_options();
    return cluster_new_with(seed, n_nodes, n_voters, &o);
}

static void free_message(struct sim_message *m)
{
    if (m->m.type == RAFT_APPEND) {
        for (unsigned i = 0; i < m->m.append.n_entries; i++)
            raft_entry_unref(&m->m.append.entries[i]);
        mem_free(m->m.append.entries);
    }
    if (m->m.type == RAFT_SNAPSHOT)
        raft_snapshot_unref(&m->m.snapshot.snapshot);
    mem_free(m);
}

static void free_record(struct disk_record *record)
{
    for (unsigned i = 0; i < record->n_entries; i++)
        raft_entry_unref(&record->entries[i]);
    mem_free(record->entries);
    raft_snapshot_unref(&record->install);
    mem_free(record);
}

static void lose_records(struct sim_node *n)
{
    while (n->writing) {
        struct disk_record *record = n->writing;
        n->writing = record->next;
        free_record(record);
    }
}

static void lose_snapshots(struct sim_node *n)
{
    raft_snapshot_unref(&n->piece_of);
    n->wants_snapshot = false;
    n->received_id = n->received = 0;
}

void cluster_free(struct cluster **c)
{
    struct cluster *mine = *c;
    *c = NULL;
    for (unsigned i = 0; i < mine->n_nodes; i++) {
        struct sim_node *n = &mine->nodes[i];
        raft_free(&n->core);
        lose_records(n);
        lose_snapshots(n);
        for (uint64_t k = 1; k <= n->log_last; k++)
            raft_entry_unref(&n->log[k]);
    }
    while (mine->in_flight)
        cluster_drop(mine, 0);
    mem_free(mine);
}

/* ---- the disk ---- */

static void disk_truncate(struct sim_node *n, uint64_t from)
{
    while (n->log_last >= from)
        raft_entry_unref(&n->log[n->log_last--]);
}

void cluster_roll_back(struct cluster *c, unsigned node, unsigned n_entries)
{
    struct sim_node *n = &c->nodes[node];
    assert_null(n->core);
    disk_truncate(n, n->log_last - n_entries + 1);
    n->rolled_back = true;
}

static void disk_begin_after(struct sim_node *n, const struct raft_base *base)
{
    for (uint64_t i = 1; i <= n->log_last && i <= base->pos.index; i++)
        raft_entry_unref(&n->log[i]);
    n->base = *base;
}

/* Log and state machine in one step. */
static void disk_install(struct sim_node *n, const struct raft_snapshot *s)
{
    assert_int_equal(n->received_id, s->id);
    assert_int_equal(n->received, s->size);
    disk_truncate(n, n->base.pos.index + 1);
    n->log_last = n->saved = n->applied = s->base.pos.index;
    n->n_installed++;
}

/* The oldest record reaches the disk. Returns its seq. */
static uint64_t write_record(struct sim_node *n)
{
    struct disk_record *record = n->writing;
    uint64_t seq = record->seq;
    n->writing = record->next;
    n->hard_state = record->hard_state;
    if (record->install)
        disk_install(n, record->install);
    if (record->has_base)
        disk_begin_after(n, &record->base);
    if (record->truncate_from)
        disk_truncate(n, record->truncate_from);
    for (unsigned i = 0; i < record->n_entries; i++) {
        assert_int_equal(record->entries[i]->pos.index, n->log_last + 1);
        assert_true(n->log_last < CLUSTER_LOG);
        n->log[++n->log_last] = raft_entry_ref(record->entries[i]);
    }
    free_record(record);
    return seq;
}

void cluster_write(struct cluster *c, unsigned node, unsigned n)
{
    struct sim_node *sim = &c->nodes[node];
    uint64_t seq = 0;
    while (n-- > 0 && sim->writing)
        seq = write_record(sim);
    if (seq && sim->core) {
        raft_persisted(sim->core, seq);
        cluster_pump(c, node);
    }
}

void cluster_plant(struct cluster *c, unsigned node, uint64_t term, unsigned n_entries)
{
    struct sim_node *n = &c->nodes[node];
    assert_null(n->core);
    for (unsigned i = 0; i < n_entries; i++) {
        struct raft_pos pos = {term, n->log_last + 1};
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, pos, 8);
        bytes_put_be(e->data, ++c->next_ctx, 8);
        n->log[++n->log_last] = e;
    }
    if (n->hard_state.term < term) {
        n->hard_state.term = term;
        n->hard_state.vote = UUID_ZERO;
    }
}

void cluster_kill(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    raft_free(&n->core);
    lose_records(n);
    lose_snapshots(n);
    n->n_reads = 0;
}

void cluster_crash(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    while (n->writing && rng_range(&c->rng, 0, 1) == 0)
        write_record(n);
    cluster_kill(c, node);
}

void cluster_restart(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    uint64_t known = n->hard_state.commit < n->log_last ? n->hard_state.commit : n->log_last;
    start_core(c, node, rng_range(&c->rng, n->saved, known < n->saved ? n->saved : known));
    cluster_pump(c, node);
}

/* ---- effects ---- */

static void send_one(struct cluster *c, const struct raft_message *m)
{
    if (c->filter && !c->filter(c, m))
        return;
    struct sim_message *copy = mem_zalloc(sizeof *copy);
    copy->m = *m;
    if (m->type == RAFT_APPEND) {
        copy->m.append.entries = mem_array(m->append.n_entries, sizeof(struct raft_entry *));
        for (unsigned i = 0; i < m->append.n_entries; i++)
            copy->m.append.entries[i] = raft_entry_ref(m->append.entries[i]);
    }
    if (m->type == RAFT_SNAPSHOT)
        raft_snapshot_ref(m->snapshot.snapshot);
    struct sim_message **end = &c->in_flight;
    while (*end)
        end = &(*end)->next;
    *end = copy;
    c->n_in_flight++;
}

static void start_writing(struct sim_node *n, const struct raft_persist *p)
{
    struct disk_record *record = mem_zalloc(sizeof *record);
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
    struct disk_record **end = &n->writing;
    while (*end)
        end = &(*end)->next;
    *end = record;
}

static void note_read(struct sim_node *n, const struct raft_read_result *result)
{
    for (unsigned i = 0; i < n->n_reads; i++) {
        struct sim_read *read = &n->reads[i];
        if (read->ctx != result->ctx)
            continue;
        assert_false(read->done);
        read->done = true;
        read->err = result->err;
        read->index = result->index;
        read->lease_ticks = result->lease_ticks;
        if (result->err == 0)
            assert_true(result->index >= read->at_least);
    }
}

/* ---- snapshots ---- */

static uint8_t byte_of(uint64_t snapshot_id, uint64_t offset)
{
    return (uint8_t)(snapshot_id * 31 + offset * 7);
}

void cluster_compact(struct cluster *c, unsigned node, uint64_t index)
{
    struct sim_node *n = &c->nodes[node];
    struct raft_status s = raft_status(n->core);
    uint64_t saved = n->applied < s.durable ? n->applied : s.durable;
    if (saved > n->saved)
        n->saved = saved;
    raft_compact(n->core, index < n->saved ? index : n->saved);
    cluster_pump(c, node);
}

static void make_snapshot(struct cluster *c, struct sim_node *n)
{
    struct raft_status status = raft_status(n->core);
    struct raft_snapshot s = {.id = rng_next(&c->rng) | 1, .size = c->snapshot_size};
    if (s.size == 0)
        s.size = rng_range(&c->rng, 1, 300);
    n->wants_snapshot = false;
    s.base.pos.index = n->applied;
    s.base.config = *raft_config_committed(n->core, &s.base.config_pos);
    bool can = status.commit == n->applied &&
               (c->snapshot_size > 0 || rng_range(&c->rng, 0, 7) > 0) &&
               raft_term_at(n->core, n->applied, &s.base.pos.term) == 0;
    struct raft_snapshot *made = can ? raft_snapshot_new(&s) : NULL;
    raft_snapshot_made(n->core, made);
    raft_snapshot_unref(&made);
}

static void note_piece(struct sim_node *n, const struct raft_piece *piece)
{
    raft_snapshot_unref(&n->piece_of);
    n->piece_of = raft_snapshot_ref(piece->snapshot);
    n->piece_offset = piece->offset;
    n->piece_len = piece->len;
    for (uint32_t i = 0; i < piece->len; i++)
        assert_int_equal(piece->data[i], byte_of(piece->snapshot->id, piece->offset + i));
}

static void write_piece(struct cluster *c, struct sim_node *n)
{
    struct raft_snapshot *s = n->piece_of;
    n->piece_of = NULL;
    if (n->piece_offset == 0)
        n->received = 0;
    else
        assert_int_equal(n->received_id, s->id);
    assert_int_equal(n->received, n->piece_offset);
    n->received_id = s->id;
    n->received += n->piece_len;
    n->n_pieces++;
    bool ok = n->received < s->size || c->snapshot_size > 0 || rng_range(&c->rng, 0, 7) > 0;
    raft_piece_written(n->core, s->id, n->piece_offset, ok);
    raft_snapshot_unref(&s);
}

void cluster_serve_loads(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    unsigned n_loads = n->n_loads;
    bool snapshots = n->wants_snapshot || n->piece_of;
    struct raft_load loads[CLUSTER_NODES * 2];
    memcpy(loads, n->loads, sizeof loads);
    n->n_loads = 0;
    for (unsigned i = 0; i < n_loads && n->core; i++) {
        unsigned n_entries = 0;
        while (n_entries < loads[i].n_max && loads[i].first > n->base.pos.index &&
               loads[i].first + n_entries <= n->log_last)
            n_entries++;
        raft_loaded(n->core, loads[i].peer, &n->log[loads[i].first], n_entries);
        n->n_loads_served++;
    }
    if (n->wants_snapshot && n->core)
        make_snapshot(c, n);
    if (n->piece_of && n->core)
        write_piece(c, n);
    if (n_loads > 0 || snapshots)
        cluster_pump(c, node);
}

static void collect(struct cluster *c, unsigned node, const struct raft_effects *e)
{
    struct sim_node *n = &c->nodes[node];
    if (e->persist.seq)
        start_writing(n, &e->persist);
    for (unsigned i = 0; i < e->n_apply; i++)
        oracle_applied(c, node, e->apply[i]);
    for (unsigned i = 0; i < e->n_messages; i++) {
        oracle_sent(c, node, &e->messages[i]);
        send_one(c, &e->messages[i]);
    }
    for (unsigned i = 0; i < e->n_reads; i++)
        note_read(n, &e->reads[i]);
    for (unsigned i = 0; i < e->n_loads; i++) {
        assert_true(n->n_loads < CLUSTER_NODES * 2);
        n->loads[n->n_loads++] = e->loads[i];
    }
    n->wants_snapshot |= e->snapshot_wanted;
    n->n_wanted += e->snapshot_wanted;
    n->n_dropped += e->n_dropped;
    for (unsigned i = 0; i < e->n_dropped; i++)
        n->last_dropped = e->dropped[i];
    for (unsigned i = 0; i < e->n_dropped; i++)
        if (n->piece_of && n->piece_of->id == e->dropped[i])
            raft_snapshot_unref(&n->piece_of);
    if (e->piece)
        note_piece(n, e->piece);
}

void cluster_pump(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    if (!n->core)
        return;
    collect(c, node, raft_effects(n->core));
    cluster_check(c, node);
    if (!c->late_loads)
        cluster_serve_loads(c, node);
    if (!c->late_disk[node])
        cluster_write(c, node, UINT32_MAX);
}

void cluster_tick(struct cluster *c, unsigned node)
{
    if (!c->nodes[node].core)
        return;
    raft_tick(c->nodes[node].core);
    cluster_pump(c, node);
}

/* ---- network ---- */

static struct sim_message *take_message(struct cluster *c, unsigned k)
{
    struct sim_message **at = &c->in_flight;
    while (k-- > 0)
        at = &(*at)->next;
    struct sim_message *m = *at;
    *at = m->next;
    c->n_in_flight--;
    return m;
}

void cluster_drop(struct cluster *c, unsigned k)
{
    free_message(take_message(c, k));
}

void cluster_duplicate(struct cluster *c, unsigned k)
{
    const struct sim_message *m = c->in_flight;
    while (k-- > 0)
        m = m->next;
    bool (*filter)(struct cluster *, const struct raft_message *) = c->filter;
    c->filter = NULL;
    send_one(c, &m->m);
    c->filter = filter;
}

void cluster_fill_piece(struct raft_message *m, uint8_t *bytes, uint32_t n_max)
{
    assert_true(m->snapshot.len <= n_max);
    for (uint32_t i = 0; i < m->snapshot.len; i++)
        bytes[i] = byte_of(m->snapshot.snapshot->id, m->snapshot.offset + i);
    m->snapshot.data = bytes;
}

void cluster_deliver(struct cluster *c, unsigned k)
{
    struct sim_message *m = take_message(c, k);
    int from = cluster_node(m->m.from), to = cluster_node(m->m.to);
    if (to >= 0 && !c->cut[from][to] && c->nodes[to].core) {
        uint8_t bytes[512];
        if (m->m.type == RAFT_SNAPSHOT)
            cluster_fill_piece(&m->m, bytes, sizeof bytes);
        assert_int_equal(raft_receive(c->nodes[to].core, &m->m), 0);
        cluster_pump(c, (unsigned)to);
    }
    free_message(m);
}

void cluster_settle(struct cluster *c)
{
    for (unsigned n = 0; c->in_flight; n++) {
        assert_true(n < 100000);
        cluster_deliver(c, 0);
    }
}

int cluster_receive(struct cluster *c, unsigned node, const struct raft_message *m)
{
    int rc = raft_receive(c->nodes[node].core, m);
    cluster_pump(c, node);
    return rc;
}

struct raft_message cluster_message(enum raft_message_type type, unsigned from, unsigned to,
                                    uint64_t term, uint64_t seq)
{
    return (struct raft_message){
        .type = type, .from = cluster_id(from), .to = cluster_id(to), .term = term, .seq = seq};
}

const struct raft_message *cluster_find(const struct cluster *c, enum raft_message_type type,
                                        unsigned from, unsigned to)
{
    const struct raft_message *found = NULL;
    for (const struct sim_message *m = c->in_flight; m; m = m->next)
        if (m->m.type == type && cluster_node(m->m.from) == (int)from &&
            cluster_node(m->m.to) == (int)to)
            found = &m->m;
    return found;
}

void cluster_drop_all(struct cluster *c)
{
    while (c->in_flight)
        cluster_drop(c, 0);
}

void cluster_cut_off(struct cluster *c, unsigned node)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        if (i != node)
            c->cut[i][node] = c->cut[node][i] = true;
}

void cluster_heal(struct cluster *c)
{
    memset(c->cut, 0, sizeof c->cut);
}
