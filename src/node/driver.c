/* SPDX-License-Identifier: MIT
 * Life and time of the driver, and the carrying out of the core's effects.
 */
#include "node/driver.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define UNCOMMITTED_BYTES_MAX (128 * MIB)
#define CACHE_BYTES           (8 * MIB)

static unsigned ticks(uint32_t ms)
{
    return ms < DRIVER_TICK_MS ? 1 : ms / DRIVER_TICK_MS;
}

/* ---- life ---- */

static struct raft *core_new(const struct node_options *o, const struct storage_identity *identity)
{
    struct raft_options options = {
        .id = identity->node,
        .heartbeat_ticks = ticks(o->heartbeat_ms),
        .election_ticks_min = ticks(o->election_min_ms),
        .election_ticks_max = ticks(o->election_max_ms),
        .append_entries_max = o->append_entries_max,
        .append_bytes_max = o->append_bytes_max,
        .window = o->window,
        .cache_bytes = o->cache_bytes ? o->cache_bytes : CACHE_BYTES,
        .uncommitted_bytes_max = UNCOMMITTED_BYTES_MAX,
        .clock_drift_ticks = (o->clock_drift_ms + DRIVER_TICK_MS - 1) / DRIVER_TICK_MS,
        .disk_stall_ticks = o->disk_stall_ms ? ticks(o->disk_stall_ms) : 0,
        .snapshot_bytes_max = o->snapshot_bytes,
        .seq_first = identity->boot << 40,
        .seed = o->seed,
    };
    return raft_new(&options);
}

struct driver *driver_new(const struct node_options *o, const struct storage_identity *identity)
{
    struct driver *d = mem_zalloc(sizeof *d);
    d->o = *o;
    d->identity = *identity;
    d->rng.state = o->seed;
    d->room.log_room = UINT64_MAX / 2; /* until the storage says otherwise */
    d->machine = machine_new();
    machine_set_sizes(d->machine, o->slice_keys, o->ahead_keys);
    d->raft = core_new(o, identity);
    list_init(&d->inbound);
    list_init(&d->large);
    list_init(&d->admin_ops);
    list_init(&d->overviews);
    list_init(&d->inits);
    list_init(&d->promises);
    exchanges_init(&d->exchanges);
    writes_init(d);
    checkpoint_init(d);
    batches_init(d);
    reads_init(d);
    waits_init(d);
    backup_init(d);
    return d;
}

void driver_free(struct driver **d)
{
    if (!*d)
        return;
    raft_free(&(*d)->raft);
    machine_free(&(*d)->machine);
    exchanges_free(&(*d)->exchanges);
    writes_free(*d);
    batches_free(*d);
    form_free(*d);
    apply_free(*d);
    checkpoint_free(*d);
    backup_free(*d);
    peer_free(*d);
    MEM_FREE(*d);
}

int driver_restore_state(struct driver *d, const void *meta, size_t len, struct kv_base *base)
{
    struct raft_base *at = mem_alloc(sizeof *at);
    int err = machine_restore(d->machine, meta, len, base, at);
    if (err == 0) {
        d->restored_applied = at->pos.index;
        d->checkpoint.pos = at->pos;
    }
    mem_free(at);
    return err;
}

int driver_restore_base(struct driver *d, const struct raft_base *base)
{
    if (base->pos.index > d->restored_applied)
        return ERR_CORRUPT; /* nobody has what came before */
    raft_restore_base(d->raft, base);
    return 0;
}

void driver_restore_hard_state(struct driver *d, struct raft_hard_state hs)
{
    if (hs.commit < d->restored_applied)
        hs.commit = d->restored_applied; /* it is only a hint, written now and then */
    d->restored_commit = hs.commit;
    raft_restore_hard_state(d->raft, hs, hs.commit);
}

int driver_restore_entry(struct driver *d, struct raft_entry *e)
{
    int err = raft_restore_entry(d->raft, e);
    if (err == 0 && e->pos.index <= d->restored_commit && e->pos.index > d->restored_applied)
        err = machine_replay(d->machine, e);
    return err;
}

int driver_restore_end(struct driver *d)
{
    return machine_replay_end(d->machine);
}

void driver_start(struct driver *d, struct storage *storage, struct transport *transport,
                  uint64_t now_ms)
{
    d->storage = storage;
    d->transport = transport;
    d->now_ms = d->started_ms = now_ms;
    d->now_us = figures_clock_us(d);
    d->next_tick_ms = now_ms + DRIVER_TICK_MS;
    writes_membership_applied(d);
    raft_start(d->raft);
    driver_note_standing(d);
    room_advance(d);
}

void driver_die(const char *what, int err)
{
    LOG_ERROR(
        "%s: %s; this node stops: see the lines before, or start it again to see what is damaged",
        what, err_text(err));
    log_stop(); /* writes the line */
    _exit(1);
}

void driver_save_identity(struct driver *d)
{
    if (d->founding)
        return; /* the write that this turn ends with has it */
    struct storage_write *w = storage_write_new(0);
    w->has_identity = true;
    w->identity = d->identity;
    d->storage->write(d->storage, w);
}

/* ---- time ---- */

static void expire(struct driver *d)
{
    writes_expire(d, false);
    reads_expire(d, false);
    waits_expire(d, false);
    admin_expire(d, false);
    overview_expire(d, false);
    peer_expire(d, false);
    backup_expire(d, false);
}

static void sample_lag(struct driver *d)
{
    if (d->now_ms < d->lag_next_ms)
        return;
    d->lag[d->lag_next] =
        (struct lag_sample){.at_ms = d->now_ms, .last_index = raft_status(d->raft).last.index};
    d->lag_next = (d->lag_next + 1) % DRIVER_LAG_SAMPLES;
    d->lag_next_ms = d->now_ms + d->o.lag_threshold_ms / (DRIVER_LAG_SAMPLES / 2) + 1;
}

static void note_disk(struct driver *d)
{
    bool stalled = raft_status(d->raft).disk_stalled;
    if (stalled && !d->disk_stalled)
        LOG_WARN("the disk has not answered for %u ms: this node does not lead until it does",
                 d->o.disk_stall_ms);
    else if (!stalled && d->disk_stalled)
        LOG_INFO("the disk answers again");
    d->disk_stalled = stalled;
}

/* After a pause of the process (SIGSTOP, a suspended machine) the clock has moved on: ticks are
 * made up for before any message is looked at, as far as the core can tell them apart (PITFALLS
 * 58). */
void driver_advance(struct driver *d, uint64_t now_ms)
{
    unsigned n = 0, n_max = 2 * ticks(d->o.election_max_ms);
    d->now_ms = now_ms;
    d->now_us = figures_clock_us(d);
    if (now_ms < d->next_tick_ms)
        return;
    for (; d->next_tick_ms <= now_ms && n < n_max; n++) {
        if (!d->stopping || driver_is_leader(d)) /* once given up it shall not be won back */
            raft_tick(d->raft);
        d->next_tick_ms += DRIVER_TICK_MS;
    }
    if (d->next_tick_ms <= now_ms)
        d->next_tick_ms = now_ms + DRIVER_TICK_MS;
    note_disk(d);
    room_advance(d);
    stop_advance(d);
    sample_lag(d);
    driver_note_standing(d);
    expire(d);
}

/* ---- inputs ---- */

void driver_request(struct driver *d, struct node_request *r)
{
    r->taken_us = d->now_us;
    if (d->stopping && r->type != NODE_STATUS && r->type != NODE_PEER) {
        if (r->type == NODE_WRITE)
            figures_failed(d, ERR_SHUTDOWN);
        driver_done(r, ERR_SHUTDOWN);
        return;
    }
    switch (r->type) {
    case NODE_WRITE:
        writes_add(d, r);
        break;
    case NODE_READ:
        reads_add(d, r);
        break;
    case NODE_WAIT_KEY:
        waits_add(d, r);
        break;
    case NODE_INIT:
        form_init_request(d, r);
        break;
    case NODE_ADD_LEARNER:
    case NODE_CHANGE_MEMBERSHIP:
    case NODE_MEMBER_ADD:
    case NODE_MEMBER_REMOVE:
    case NODE_MEMBER_PROMOTE:
    case NODE_MEMBER_DEMOTE:
    case NODE_TRANSFER:
        admin_add(d, r);
        break;
    case NODE_STATUS:
        overview_request(d, r);
        break;
    case NODE_PEER:
        peer_request(d, r);
        break;
    case NODE_SNAPSHOT_OPEN:
    case NODE_SNAPSHOT_READ:
    case NODE_SNAPSHOT_CLOSE:
        backup_request(d, r);
        break;
    }
}

void driver_written(struct driver *d, struct storage_write *w)
{
    if (w->n_entries > 0)
        figures_took(d, NODE_TOOK_LOG_SYNC, w->asked_us);
    if (w->install)
        snapshot_installed(d, w);
    if (w->seq != 0)
        raft_persisted(d->raft, w->seq);
    if (w->has_identity) {
        form_written(d, &w->identity);
        if (uuid_equal(w->identity.cluster, d->identity.cluster))
            d->unfounded = false;
    }
    storage_write_free(&w);
}

void driver_worked(struct driver *d, struct storage_job *j)
{
    if (j->type == STORAGE_CHECKPOINT)
        checkpoint_done(d, j);
    else
        snapshot_worked(d, j);
}

void driver_loaded(struct driver *d, struct storage_load *l)
{
    raft_loaded(d->raft, l->peer, l->entries, l->n_entries);
    storage_load_free(&l);
}

/* ---- effects ---- */

static void persist(struct driver *d, const struct raft_persist *p)
{
    if (p->seq == 0)
        return;
    struct storage_write *w = storage_write_new(p->n_entries);
    w->seq = p->seq;
    w->hard_state = p->hard_state;
    w->install = p->install ? raft_snapshot_ref(p->install) : NULL;
    w->base = p->base ? mem_dup(p->base, sizeof *p->base) : NULL;
    w->truncate_from = p->truncate_from;
    w->has_identity = d->founding;
    w->identity = d->identity;
    d->founding = false;
    for (unsigned i = 0; i < p->n_entries; i++)
        w->entries[i] = raft_entry_ref(p->entries[i]);
    w->asked_us = figures_clock_us(d);
    d->storage->write(d->storage, w);
}

static void load(struct driver *d, const struct raft_load *wanted)
{
    struct storage_load *l = mem_zalloc(sizeof *l);
    l->peer = wanted->peer;
    l->first = wanted->first;
    l->n_max = wanted->n_max;
    l->bytes_max = wanted->bytes_max;
    d->storage->load(d->storage, l);
}

static const char *role_text(enum raft_role role)
{
    static const char *const texts[] = {"follower", "pre-candidate", "candidate", "leader"};
    return texts[role];
}

static void role_changed(struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    char leader[UUID_TEXT_LEN + 1];
    bool same = s.term == d->term_seen && uuid_equal(s.leader, d->leader_seen);
    if (s.role != d->role_seen || !same)
        LOG_DEBUG("term %llu: %s, leader %s", (unsigned long long)s.term, role_text(s.role),
                  uuid_is_zero(s.leader) ? "not known" : uuid_format(s.leader, leader));
    if (s.role != d->role_seen || !same)
        d->role_changed_ms = d->now_ms;
    d->role_seen = s.role;
    if (same)
        return;
    if (!uuid_is_zero(s.leader)) {
        d->figures.leader_changes++;
        LOG_INFO("term %llu: %s leads", (unsigned long long)s.term,
                 s.role == RAFT_LEADER ? "this node" : uuid_format(s.leader, leader));
    }
    d->term_seen = s.term;
    d->leader_seen = s.leader;
    machine_note_leader(d->machine, s.term, s.leader);
    machine_set_leader_hint(d->machine, s.leader);
    /* A leader knows what it had since it leads. */
    memset(d->lag, 0, sizeof d->lag);
    d->lag_next_ms = d->now_ms;
    sample_lag(d);
    figures_forget_digests(d);
    writes_role_changed(d);
}

static void tell_lost_data(const struct driver *d)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    struct raft_peer_status peer;
    char id[UUID_TEXT_LEN + 1];
    for (unsigned i = 0; i < c->n_members; i++)
        if (raft_peer(d->raft, c->members[i].id, &peer) == 0 && peer.lost_data)
            LOG_ERROR("node %s at %s lacks entries that it had on its disk: the disk was set back. "
                      "It counts no more; stop it, remove it, and add it again with an empty "
                      "data directory",
                      uuid_format(peer.id, id), c->members[i].addr);
}

static bool is_nothing(const struct raft_effects *fx)
{
    return fx->persist.seq == 0 && !fx->n_messages && !fx->n_apply && !fx->n_reads &&
           !fx->n_loads && !fx->piece && !fx->snapshot_wanted && !fx->n_dropped &&
           !fx->role_changed && !fx->config_changed && !fx->peer_lost_data;
}

/* Nothing here calls back into the core: what follows from an effect is done in the next turn. */
static bool carry_out(struct driver *d)
{
    const struct raft_effects *fx = raft_effects(d->raft);
    if (is_nothing(fx))
        return false;
    persist(d, &fx->persist);
    for (unsigned i = 0; i < fx->n_messages; i++)
        peer_send(d, &fx->messages[i]);
    apply_committed(d, fx->apply, fx->n_apply);
    for (unsigned i = 0; i < fx->n_reads; i++)
        reads_result(d, &fx->reads[i]);
    if (fx->n_reads)
        reads_applied(d);
    for (unsigned i = 0; i < fx->n_loads; i++)
        load(d, &fx->loads[i]);
    for (unsigned i = 0; i < fx->n_dropped; i++)
        snapshot_drop(d, fx->dropped[i]);
    if (fx->piece)
        snapshot_write(d, fx->piece);
    if (fx->snapshot_wanted)
        backup_for_core(d);
    if (fx->peer_lost_data)
        tell_lost_data(d);
    if (fx->role_changed)
        role_changed(d);
    return true;
}

void driver_pump(struct driver *d)
{
    apply_pump(d);
    do {
        form_pump(d);
        move_pump(d);
        writes_pump(d);
        reads_pump(d);
        admin_pump(d);
        checkpoint_pump(d);
        backup_pump(d);
        digest_pump(d);
        clock_pump(d);
        waits_pump(d);
    } while (carry_out(d));
    peer_pump(d);
}
