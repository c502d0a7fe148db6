/* SPDX-License-Identifier: MIT
 * Disks. Writes are carried out in order and made durable in groups: whatever
 * waits when one group is done makes up the next. Durable is what was answered;
 * of what was not, a crash leaves a beginning, maybe empty, maybe all.
 */
#include "sim.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"

/* ---- what is durable ---- */

static void cut_log(struct disk *d, uint64_t from)
{
    while (from > 0 && d->n_log >= from)
        raft_entry_unref(&d->log[--d->n_log]); /* NULL before the base */
}

static void begin_after(struct disk *d, const struct raft_base *base)
{
    SIM_SAFE(d->sim, base->pos.index >= d->base.pos.index && base->pos.index <= d->files.applied,
             "node %u lets go of entries up to %llu, its state is at %llu", d->self,
             (unsigned long long)base->pos.index, (unsigned long long)d->files.applied);
    for (uint64_t i = d->base.pos.index; i < base->pos.index; i++)
        raft_entry_unref(&d->log[i]);
    d->base = *base;
}

static void reserve_log(struct disk *d, uint64_t n)
{
    if (n <= d->cap_log)
        return;
    d->cap_log = 2 * n + 256;
    d->log = mem_realloc(d->log, d->cap_log * sizeof(struct raft_entry *));
}

/* The log is empty and begins after the snapshot. */
static void install(struct disk *d, struct storage_write *w)
{
    files_install(d, w);
    cut_log(d, 1);
    d->base = *w->base;
    reserve_log(d, w->base->pos.index);
    while (d->n_log < w->base->pos.index)
        d->log[d->n_log++] = NULL;
}

bool disk_has(const struct disk *d, struct raft_pos pos)
{
    if (pos.index <= d->base.pos.index)
        return true; /* in the state, if it was committed */
    return pos.index == 0 || (pos.index <= d->n_log && d->log[pos.index - 1]->pos.term == pos.term);
}

struct raft_pos disk_last(const struct disk *d)
{
    return d->n_log > d->base.pos.index ? d->log[d->n_log - 1]->pos : d->base.pos;
}

static void append(struct disk *d, struct raft_entry *e)
{
    SIM_SAFE(d->sim, e->pos.index == d->n_log + 1, "node %u writes entry %llu after %llu", d->self,
             (unsigned long long)e->pos.index, (unsigned long long)d->n_log);
    reserve_log(d, d->n_log + 1);
    d->log[d->n_log++] = raft_entry_ref(e);
}

static void carry_out(struct disk *d, struct storage_write *w)
{
    if (w->has_identity)
        d->identity = w->identity;
    if (w->seq == 0)
        return;
    if (w->install)
        install(d, w);
    else if (w->base)
        begin_after(d, w->base);
    if (w->truncate_from > 0) {
        probe(d->sim, PROBE_TRUNCATED);
        cut_log(d, w->truncate_from);
    }
    d->hard_state = w->hard_state;
    for (unsigned i = 0; i < w->n_entries; i++)
        append(d, w->entries[i]);
}

/* ---- the storage ---- */

static uint64_t latency(struct disk *d)
{
    const struct plan *p = &d->sim->plan;
    uint64_t us = sim_random(d->sim, p->disk_min_us, p->disk_max_us);
    uint64_t now_us = d->sim->now_us;
    /* Where a write takes longer than an election, nobody can promise a leader. */
    uint64_t healed_us = p->options.election_min_ms * SIM_MS / 4;
    /* And who only reads does not wait for a sync: a follower may have to be given thousands of
     * entries one by one. */
    if (list_is_empty(&d->under_way))
        healed_us = 2 * SIM_MS;
    if (d->sim->healing && us > healed_us)
        us = healed_us;
    return d->stalled_until_us > now_us ? d->stalled_until_us - now_us + us : us;
}

static void begin(struct disk *d)
{
    struct sim *s = d->sim;
    list_splice(&d->under_way, &d->queue);
    d->busy = true;
    s->counts->disk_writes++;
    sim_at(s, s->now_us + latency(d), EVENT_DISK, d->self, s->nodes[d->self].life, 0, NULL);
}

static void disk_write(struct storage *storage, struct storage_write *w)
{
    struct disk *d = (struct disk *)storage;
    list_push_back(&d->queue, &w->link);
    if (!d->busy)
        begin(d);
}

static void disk_load(struct storage *storage, struct storage_load *l)
{
    struct disk *d = (struct disk *)storage;
    list_push_back(&d->loads, &l->link);
    if (!d->busy)
        begin(d);
}

static void serve_load(struct disk *d, struct storage_load *l)
{
    size_t bytes = 0;
    l->entries = mem_array(l->n_max, sizeof(struct raft_entry *));
    for (uint64_t i = l->first; i > d->base.pos.index && i <= d->n_log && l->n_entries < l->n_max;
         i++) {
        struct raft_entry *e = d->log[i - 1];
        bytes += sizeof *e + e->len;
        if (l->n_entries > 0 && bytes > l->bytes_max)
            break;
        l->entries[l->n_entries++] = raft_entry_ref(e);
    }
    if (l->n_entries > 0)
        probe(d->sim, PROBE_LOADED);
}

void disk_done(struct sim *s, unsigned i, uint64_t life)
{
    struct sim_node *n = &s->nodes[i];
    struct disk *d = &n->disk;
    if (n->life != life || !n->driver)
        return;
    if (d->stalled_until_us > s->now_us) {
        sim_at(s, d->stalled_until_us, EVENT_DISK, i, life, 0, NULL);
        return;
    }
    if (d->fails != SIM_FAULT_KINDS && !list_is_empty(&d->under_way)) {
        fault_disk_failed(s, i);
        return;
    }
    struct list *it;
    while ((it = list_pop_front(&d->under_way)) != NULL) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        carry_out(d, w);
        list_push_back(&n->written, &w->link);
    }
    while ((it = list_pop_front(&d->loads)) != NULL) {
        serve_load(d, LIST_ENTRY(it, struct storage_load, link));
        list_push_back(&n->loaded, it);
    }
    d->busy = false;
    process_wake(s, i);
    if (!list_is_empty(&d->queue))
        begin(d);
}

static void disk_space(struct storage *storage, struct storage_space *ret_space)
{
    const struct disk *d = (struct disk *)storage;
    if (d->sim->healing || d->sim->now_us >= d->full_until_us)
        return;
    *ret_space = (struct storage_space){.reserve = 8 * MIB, .log_room = 0};
    if (d->has_log_room)
        ret_space->log_room = 16 * MIB;
}

/* ---- life ---- */

void disk_init(struct sim *s, unsigned i)
{
    struct disk *d = &s->nodes[i].disk;
    *d = (struct disk){.storage = {.write = disk_write,
                                   .load = disk_load,
                                   .work = files_work,
                                   .space = disk_space},
                       .sim = s,
                       .self = i};
    list_init(&d->queue);
    list_init(&d->under_way);
    list_init(&d->loads);
    d->fails = SIM_FAULT_KINDS;
    files_init(d);
}

void disk_crash(struct sim *s, unsigned i)
{
    struct disk *d = &s->nodes[i].disk;
    struct list *it;
    bool keep = d->fails != FAULT_EIO_WRITE; /* after a failed sync nobody knows what is there */
    list_splice(&d->under_way, &d->queue);
    while ((it = list_pop_front(&d->under_way)) != NULL) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        keep = keep && sim_random(s, 0, 1) == 0;
        fault_count(s, keep ? FAULT_KEPT : FAULT_LOST);
        if (keep)
            carry_out(d, w);
        storage_write_free(&w);
    }
    while ((it = list_pop_front(&d->loads)) != NULL) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        storage_load_free(&l);
    }
    files_crash(d);
    d->busy = false;
    d->fails = SIM_FAULT_KINDS;
}

/* As store/ does it: everything there is to an entry. */
static uint32_t checksum(const struct raft_entry *e)
{
    uint64_t head[] = {e->pos.term, e->pos.index, (uint64_t)e->type};
    uint32_t crc = crc32c(0, head, sizeof head);
    return crc32c(crc, e->data, e->len);
}

bool disk_flip_bit(struct sim *s, unsigned i)
{
    const struct disk *d = &s->nodes[i].disk;
    if (d->n_log == d->base.pos.index)
        return false;
    const struct raft_entry *e = d->log[sim_random(s, d->base.pos.index, d->n_log - 1)];
    struct raft_entry *flipped = raft_entry_new(e->type, e->pos, e->len);
    uint64_t bit = sim_random(s, 0, 128 + 8 * (uint64_t)e->len - 1);
    memcpy(flipped->data, e->data, e->len);
    if (bit < 64)
        flipped->pos.term ^= (uint64_t)1 << bit;
    else if (bit < 128)
        flipped->pos.index ^= (uint64_t)1 << (bit - 64);
    else
        flipped->data[(bit - 128) / 8] ^= (uint8_t)(1u << (bit % 8));
    bool noticed = checksum(flipped) != checksum(e);
    raft_entry_unref(&flipped);
    return noticed;
}

void disk_wipe(struct disk *d, bool same_id)
{
    cut_log(d, 1);
    d->base = (struct raft_base){0};
    files_wipe(d);
    d->hard_state = (struct raft_hard_state){0};
    struct uuid id = {rng_next(&d->sim->rng), ++d->sim->n_disks};
    if (same_id)
        id = d->identity.node;
    uint64_t incarnation = rng_next(&d->sim->rng) | 1;
    d->identity = (struct storage_identity){.node = id, .incarnation = incarnation};
}

void disk_free(struct disk *d)
{
    cut_log(d, 1);
    files_free(d);
    mem_free(d->log);
}
