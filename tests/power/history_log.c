/* SPDX-License-Identifier: MIT
 * Histories of the log. The store's own thread drives the work: the next step is handed in when the
 * last write of the one before it has been answered, so that group commits, and
 * with them the trace, are the same every time.
 */
#include "history.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "raft/snapshot.h"
#include "record.h"
#include "stage.h"
#include "store/store.h"

/* What is typical of a kind. Percentages of writes. */
struct work {
    const char *name;
    unsigned steps_max, writes_max; /* writes of one step */
    unsigned entries_max;           /* of one write */
    unsigned bytes_max;             /* of one entry */
    unsigned truncate_pc, vote_pc, identity_pc, purge_pc;
    unsigned preload;      /* entries of the first write */
    unsigned reopen_every; /* steps; 0: never */
};

static const struct work works[] = {
    {"log", 30, 1, 5, 300, 20, 15, 2, 0, 0, 0},
    {"group commit", 16, 8, 4, 200, 15, 10, 2, 0, 0, 0},
    {"votes", 40, 1, 0, 0, 0, 80, 20, 0, 0, 0},
    {"large values", 12, 2, 3, 40000, 15, 10, 0, 0, 0, 0},
    {"truncation", 24, 2, 12, 120, 50, 5, 0, 0, 60, 0},
    {"reopen", 16, 2, 4, 200, 15, 10, 5, 0, 0, 3},
    {"long log", 16, 3, 20, 100, 10, 10, 0, 0, 1200, 0},
    {"first start", 4, 1, 2, 100, 0, 20, 20, 0, 0, 2},
    {"purge", 24, 2, 12, 120, 10, 5, 0, 30, 150, 6},
};

#define INDICES_MAX 4096

struct run {
    struct history *h;
    const struct work *work;
    struct rng rng;
    struct store *store;
    struct expected now;
    uint64_t terms[INDICES_MAX]; /* by index */
    uint64_t seq;
    unsigned step, steps, waiting; /* waiting: writes not answered */

    pthread_mutex_t lock;
    pthread_cond_t more;
    bool done;
};

const unsigned history_log_kinds = sizeof works / sizeof works[0];

const char *history_log_kind_name(unsigned kind)
{
    return works[kind].name;
}

/* ---- entries ---- */

struct raft_entry *history_entry(const struct history *h, struct raft_pos pos)
{
    struct rng r = {history_mixed(h->seed, history_mixed(pos.index, pos.term))};
    uint32_t len = (uint32_t)rng_range(&r, 0, works[h->kind].bytes_max);
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, pos, len);
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = rng_next(&r);
        memcpy(e->data + i, &word, len - i < 8 ? len - i : 8);
    }
    return e;
}

uint64_t history_entry_digest(const struct raft_entry *e)
{
    uint64_t content = (uint64_t)crc32c(e->len, e->data, e->len) << 8 | (uint64_t)e->type;
    return history_mixed(history_mixed(e->pos.index, e->pos.term), content);
}

/* ---- one write ---- */

static uint64_t digest_at(const struct run *r, uint64_t index)
{
    struct raft_entry *e = history_entry(r->h, (struct raft_pos){r->terms[index], index});
    uint64_t digest = history_entry_digest(e);
    raft_entry_unref(&e);
    return digest;
}

static void truncate(struct run *r, struct storage_write *w, uint64_t from)
{
    w->truncate_from = from;
    for (; r->now.last >= from; r->now.last--)
        r->now.digest -= digest_at(r, r->now.last);
}

/* The log begins later: entries up to a place of it are no longer wanted. */
static void purge(struct run *r, struct storage_write *w)
{
    uint64_t to = rng_range(&r->rng, r->now.base + 1, r->now.last);
    for (uint64_t i = r->now.base + 1; i <= to; i++)
        r->now.digest -= digest_at(r, i);
    r->now.base = to;
    r->now.base_term = r->terms[to];
    w->base = mem_zalloc(sizeof *w->base);
    w->base->pos = (struct raft_pos){r->terms[to], to};
}

static void append(struct run *r, struct storage_write *w)
{
    for (unsigned i = 0; i < w->n_entries; i++) {
        struct raft_pos pos = {r->now.hard_state.term, ++r->now.last};
        ASSERT(pos.index < INDICES_MAX);
        r->terms[pos.index] = pos.term;
        w->entries[i] = history_entry(r->h, pos);
        r->now.digest += history_entry_digest(w->entries[i]);
    }
}

static struct uuid random_id(struct rng *rng)
{
    return (struct uuid){rng_next(rng), rng_next(rng)};
}

static bool percent(struct run *r, unsigned pc)
{
    return rng_range(&r->rng, 0, 99) < pc;
}

static struct storage_write *next_write(struct run *r)
{
    const struct work *k = r->work;
    bool votes = percent(r, k->vote_pc), preload = r->seq == 0 && k->preload;
    unsigned n = preload ? k->preload : (unsigned)rng_range(&r->rng, 1, k->entries_max + 1u) - 1;
    struct storage_write *w = storage_write_new(votes && !preload ? 0 : n);
    struct raft_hard_state *hs = &r->now.hard_state;
    if (votes || hs->term == 0) {
        hs->term += rng_range(&r->rng, 1, 3);
        hs->vote = percent(r, 70) ? random_id(&r->rng) : UUID_ZERO;
    }
    if (r->now.last > r->now.base && percent(r, k->purge_pc))
        purge(r, w);
    if (r->now.last > r->now.base && percent(r, k->truncate_pc)) {
        uint64_t back = rng_range(&r->rng, 1, r->now.last - r->now.base);
        if (!percent(r, 10) && back > 20)
            back = rng_range(&r->rng, 1, 20);
        hs->term++;
        truncate(r, w, r->now.last + 1 - back);
    }
    append(r, w);
    hs->commit = r->now.last ? rng_range(&r->rng, 0, r->now.last) : 0;
    w->seq = ++r->seq;
    w->hard_state = *hs;
    if (percent(r, k->identity_pc)) {
        w->has_identity = true;
        w->identity = r->h->identity;
        w->identity.cluster = r->now.cluster = random_id(&r->rng);
        w->identity.promised = r->now.promised = random_id(&r->rng);
        w->identity.contacted = r->now.contacted = percent(r, 50);
        w->identity.outsider = r->now.outsider = percent(r, 50);
    }
    history_add_state(r->h, &r->now);
    return w;
}

/* ---- the store at work ---- */

static void on_fatal(void *ctx, const char *text)
{
    (void)ctx;
    history_broken("fatal", text);
}

static void next_step(struct run *r)
{
    unsigned reopen = r->work->reopen_every;
    if (r->step == r->steps || (reopen && r->step % reopen == reopen - 1)) {
        r->step += r->step < r->steps;
        pthread_mutex_lock(&r->lock);
        r->done = true;
        pthread_cond_signal(&r->more);
        pthread_mutex_unlock(&r->lock);
        return;
    }
    r->step++;
    struct storage_write *writes[16];
    unsigned n = (unsigned)rng_range(&r->rng, 1, r->work->writes_max);
    ASSERT(n <= 16);
    for (unsigned i = 0; i < n; i++)
        writes[i] = next_write(r);
    record_mark(MARK_BEGUN, r->h->n_states - 1);
    r->waiting = n;
    struct storage *storage = store_storage(r->store);
    for (unsigned i = 0; i < n; i++)
        storage->write(storage, writes[i]);
}

static void on_written(void *ctx, struct storage_write *w)
{
    struct run *r = ctx;
    storage_write_free(&w);
    if (--r->waiting > 0)
        return;
    record_mark(MARK_PROMISED, r->h->n_states - 1);
    next_step(r);
}

static void on_loaded(void *ctx, struct storage_load *l)
{
    (void)ctx;
    storage_load_free(&l);
}

/* From an open to a close. */
static void work_once(struct run *r, const char *dir)
{
    struct store_options options = {
        .map_bytes = HISTORY_MAP_BYTES, .journal_bytes = HISTORY_JOURNAL_BYTES, .fatal = on_fatal};
    struct storage_events events = {.written = on_written, .loaded = on_loaded, .ctx = r};
    struct buf reason = BUF_INIT;
    if (store_open(dir, &options, &r->h->identity, &r->store, &reason) != 0)
        history_broken("open", buf_str(&reason));
    buf_free(&reason);
    record_mark(MARK_BOOT, r->h->identity.boot);
    r->done = false;
    next_step(r);
    store_start(r->store, &events);
    pthread_mutex_lock(&r->lock);
    while (!r->done)
        pthread_cond_wait(&r->more, &r->lock);
    pthread_mutex_unlock(&r->lock);
    store_close(&r->store);
}

void history_log_work(struct history *h, const char *dir)
{
    struct run *r = mem_zalloc(sizeof *r);
    r->h = h;
    r->work = &works[h->kind];
    r->rng = (struct rng){h->seed};
    r->steps = (unsigned)rng_range(&r->rng, (r->work->steps_max + 1) / 2, r->work->steps_max);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    history_add_state(h, &r->now);
    while (r->step < r->steps)
        work_once(r, dir);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void history_log_recover(struct history *h, const char *dir)
{
    struct store_options options = {
        .map_bytes = HISTORY_MAP_BYTES, .journal_bytes = HISTORY_JOURNAL_BYTES, .fatal = on_fatal};
    struct buf reason = BUF_INIT;
    struct store *store;
    struct storage_identity identity;
    if (store_open(dir, &options, &identity, &store, &reason) != 0)
        history_broken("open after a loss", buf_str(&reason));
    if (!uuid_equal(identity.node, h->identity.node))
        h->identity = identity; /* the first start was interrupted, and begun anew */
    record_mark(MARK_BOOT, identity.boot);
    store_close(&store);
    buf_free(&reason);
}
