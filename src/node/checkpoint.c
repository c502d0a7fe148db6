/* SPDX-License-Identifier: MIT
 * Checkpoints: now and then the memtable is frozen and handed to the storage;
 * when that has made it durable, the log before it is let go of, but for a
 * tail for followers that are behind.
 *
 *      applied enough -> frozen -> the log up to there is durable here -> job
 *                     -> durable -> part of the base -> raft_compact()
 *
 * A state that is ahead of its own log would be a log with a gap after a
 * restart: hence the second step.
 */
#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

#define RETRY_MS 5000 /* after a disk that was full */
/* Checkpoints are due from here to PARTS of the limits on, each time elsewhere: nodes that apply
 * the same would else all write them at the same moment, and nobody would be quick then. */
#define PARTS         1024
#define PARTS_MIN     768
#define BEHIND_FACTOR 4    /* times checkpoint_bytes in memory, when merging does not keep up */
#define LAST_BYTES    MIB  /* less is replayed faster than it is written */
#define FULL_BYTES    MIB  /* on a full disk what waits in memory is brought down sooner: */
#define FULL_AGE_MS   2000 /* that purges the log, and deletions make room */

static void choose_part(struct driver *d)
{
    d->checkpoint.part = (unsigned)rng_range(&d->rng, PARTS_MIN, PARTS);
}

void checkpoint_init(struct driver *d)
{
    choose_part(d);
}

static uint64_t part_of(const struct driver *d, uint64_t limit)
{
    return limit < PARTS ? limit : limit / PARTS * d->checkpoint.part;
}

static void sample_tail(struct checkpoint *c, uint64_t index, size_t step)
{
    const struct tail_sample *last =
        &c->tail[(c->n_tail + DRIVER_TAIL_SAMPLES - 1) % DRIVER_TAIL_SAMPLES];
    if (c->n_tail > 0 && c->log_bytes - last->log_bytes < step)
        return;
    c->tail[c->n_tail++ % DRIVER_TAIL_SAMPLES] = (struct tail_sample){index, c->log_bytes};
}

void checkpoint_applied(struct driver *d, struct raft_entry *const entries[], unsigned n)
{
    struct checkpoint *c = &d->checkpoint;
    for (unsigned i = 0; i < n; i++)
        c->log_bytes += sizeof *entries[i] + entries[i]->len;
    sample_tail(c, entries[n - 1]->pos.index, d->o.log_tail_bytes / (DRIVER_TAIL_SAMPLES / 2));
    if (c->changed_ms == 0)
        c->changed_ms = d->now_ms;
}

static bool is_due(const struct driver *d)
{
    const struct checkpoint *c = &d->checkpoint;
    uint64_t n = machine_applied(d->machine).index - c->pos.index;
    if (d->o.checkpoint_entries == 0 || d->now_ms < c->retry_ms)
        return false;
    if (c->last == CHECKPOINT_LAST_WANTED) /* what was replayed counts too */
        return n > 0 && machine_stats(d->machine).memtable_bytes >= LAST_BYTES;
    if (c->changed_ms == 0)
        return false;
    if (d->room.full && (machine_stats(d->machine).memtable_bytes >= FULL_BYTES ||
                         d->now_ms - c->changed_ms >= FULL_AGE_MS))
        return true;
    return n >= part_of(d, d->o.checkpoint_entries) ||
           machine_stats(d->machine).memtable_bytes >= part_of(d, d->o.checkpoint_bytes) ||
           (d->o.checkpoint_age_ms > 0 && d->now_ms - c->changed_ms >= d->o.checkpoint_age_ms);
}

static void freeze(struct driver *d)
{
    struct checkpoint *c = &d->checkpoint;
    struct storage_job *j = storage_job_new(STORAGE_CHECKPOINT, 0);
    struct raft_pos config_pos;
    const struct raft_config *config = raft_config_committed(d->raft, &config_pos);
    machine_meta(d->machine, d->identity.cluster, config, config_pos, &j->meta);
    if (machine_freeze(d->machine, &j->frozen) != 0) {
        storage_job_free(&j);
        return;
    }
    c->job = j;
    c->changed_ms = 0;
    choose_part(d);
    if (c->last == CHECKPOINT_LAST_WANTED)
        c->last = CHECKPOINT_LAST_FROZEN;
}

/* The tail that stays before the state at index; see node.h. */
static uint64_t let_go_of(const struct driver *d, uint64_t index)
{
    const struct checkpoint *c = &d->checkpoint;
    uint64_t upto = index > d->o.log_tail_entries ? index - d->o.log_tail_entries : 0;
    const struct raft_config *config = raft_config(d->raft, NULL);
    for (unsigned i = 0; i < config->n_members; i++) {
        struct raft_peer_status peer;
        if (raft_peer(d->raft, config->members[i].id, &peer) != 0 || peer.lost_data ||
            uuid_equal(peer.id, d->identity.node) || peer.in_snapshot)
            continue;
        if (peer.ticks_since_heard * DRIVER_TICK_MS < d->o.election_max_ms && peer.match < upto)
            upto = peer.match;
    }
    /* Never more than so many bytes, for whomever. */
    unsigned n = c->n_tail < DRIVER_TAIL_SAMPLES ? c->n_tail : DRIVER_TAIL_SAMPLES;
    for (unsigned i = 0; i < n; i++) {
        const struct tail_sample *t = &c->tail[i];
        if (c->log_bytes - t->log_bytes > d->o.log_tail_bytes && t->index > upto)
            upto = t->index;
    }
    /* But whoever gets the snapshot that is being made needs what comes after it: else it would
     * never be soon enough. */
    uint64_t needed = backup_needs_log_from(d);
    if (upto > needed)
        upto = needed;
    return upto < index ? upto : index;
}

void checkpoint_pump(struct driver *d)
{
    struct checkpoint *c = &d->checkpoint;
    if (c->under_way)
        return;
    struct raft_status s = raft_status(d->raft);
    if (!c->job && !driver_is_applying(d) && is_due(d) && s.applied == s.commit)
        freeze(d);
    if (!c->job || s.durable < c->job->frozen->applied.index || d->now_ms < c->retry_ms)
        return;
    c->under_way = true;
    c->job->asked_us = figures_clock_us(d);
    d->storage->work(d->storage, c->job);
    c->job = NULL;
}

void checkpoint_last(struct driver *d)
{
    if (d->checkpoint.last == CHECKPOINT_LAST_NO)
        d->checkpoint.last = CHECKPOINT_LAST_WANTED;
}

bool checkpoint_is_settled(const struct driver *d)
{
    const struct checkpoint *c = &d->checkpoint;
    if (d->now_ms < c->retry_ms) /* it failed: not tried again in the time there is */
        return true;
    return !c->job && !c->under_way && (c->last == CHECKPOINT_LAST_FROZEN || !is_due(d));
}

bool checkpoint_is_behind(const struct driver *d)
{
    return (d->checkpoint.job || d->checkpoint.under_way) &&
           machine_stats(d->machine).memtable_bytes > BEHIND_FACTOR * d->o.checkpoint_bytes;
}

/* There may be room again later: nothing is lost, the frozen memtable is still read. */
static void try_again(struct driver *d, struct storage_job *j)
{
    static struct log_limit limit;
    if (log_allow(&limit, RETRY_MS * 12))
        LOG_WARN("no checkpoint: %s; the log stays until there is one", err_text(j->err));
    d->checkpoint.retry_ms = d->now_ms + RETRY_MS;
    d->checkpoint.job = j;
}

void checkpoint_done(struct driver *d, struct storage_job *j)
{
    struct checkpoint *c = &d->checkpoint;
    c->under_way = false;
    if (j->err != 0) {
        try_again(d, j);
        return;
    }
    struct raft_pos pos = {.term = j->frozen->applied.term, .index = j->frozen->applied.index};
    figures_took(d, NODE_TOOK_CHECKPOINT, j->asked_us);
    machine_drop_frozen(d->machine, &j->frozen);
    storage_job_free(&j);
    if (pos.index <= c->pos.index)
        return; /* a snapshot came in between */
    c->pos = pos;
    LOG_DEBUG("checkpoint at %llu", (unsigned long long)pos.index);
    raft_compact(d->raft, let_go_of(d, pos.index));
}

void checkpoint_free(struct driver *d)
{
    storage_job_free(&d->checkpoint.job);
}
