/* SPDX-License-Identifier: MIT
 * Threads and what they share: which state is in force, and which is ready.
 */
#include "store/lanes.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/dir.h"
#include "store/run.h"
#include "store/snapshot.h"

/* After so many it is looked whether there is a stop. */
#define STOP_RECORDS 4096

enum lane_kind { LANE_CHECKPOINT, LANE_MAKE, LANE_TRANSFER, LANES };

struct lane {
    struct store_lanes *owner;
    enum lane_kind kind;
    pthread_t thread;
    bool running;
    pthread_cond_t more;
    struct list jobs; /* struct storage_job */
};

/* A generation that waits to be installed, or to be closed and deleted. */
struct generation {
    struct list link;
    uint64_t number, snapshot_id;
    struct state *state;
};

struct store_lanes {
    char *dir, *snapshots; /* owned */
    struct store_options options;
    struct state_options state_options;
    struct storage_events events;
    uint64_t incoming_id; /* the transfer lane's: what it writes; 0: nothing */

    pthread_mutex_t lock; /* guards what follows, and the jobs */
    bool stopping;
    pthread_cond_t merged;
    struct state *state;     /* in force */
    uint64_t generation;     /* of it */
    uint64_t last_number;    /* of all that were made */
    struct generation ready; /* state NULL: none */
    struct list old;         /* struct generation: were in force; the checkpoint lane ends them */
    struct lane lanes[LANES];
};

static void die(struct store_lanes *l, const char *why)
{
    char text[1024];
    snprintf(text, sizeof text, "%s" STORE_DIE_REMEDY, why);
    if (l->options.fatal) {
        l->options.fatal(l->options.ctx, text);
        return;
    }
    LOG_ERROR("%s", text);
    log_stop();
    _exit(1);
}

/* What a job may fail with and be asked for again; anything else is the disk's failure, after
 * which nothing can be known (PITFALLS 54). */
static bool is_survived(int err)
{
    return err == ERR_NO_SPACE || err == ERR_CORRUPT || err == ERR_TIMEOUT ||
           err == ERR_NOT_FOUND || err == ERR_INVALID || err == ERR_VERSION;
}

/* ---- checkpoints ---- */

static bool is_stopping(void *ctx)
{
    struct store_lanes *l = ctx;
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

/* False: stopping, and so nobody waits for it any more. */
static bool write_records(struct store_lanes *l, const struct kv_frozen *frozen,
                          struct run_writer *w)
{
    struct kv_record record;
    struct kv_cursor *c = kv_frozen_cursor(frozen);
    int err = kv_cursor_seek(c, NULL, 0, &record);
    for (unsigned n = 1; err == 0 && (n % STOP_RECORDS != 0 || !is_stopping(l)); n++) {
        (void)run_writer_put(w, &record); /* the end tells */
        err = kv_cursor_next(c, &record);
    }
    kv_cursor_close(&c);
    return !is_stopping(l);
}

static int write_run(struct store_lanes *l, struct state *state, struct storage_job *j,
                     struct buf *reason)
{
    struct run_writer *w;
    int err = run_writer_new(state_run_path(state), &w, reason);
    if (err)
        return err;
    if (write_records(l, j->frozen, w))
        return run_writer_finish(&w, j->meta.data, j->meta.len, NULL, reason);
    run_writer_abort(&w);
    return ERR_SHUTDOWN;
}

/* As many runs as there may be wait to be merged. False: this state takes no more: it is stopping
 * (SHUTDOWN), or another one was installed in its place (0). */
static bool wait_merged(struct store_lanes *l, const struct state *state, int *ret_err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++; /* merged tells sooner */
    pthread_mutex_lock(&l->lock);
    if (!l->stopping && l->state == state)
        pthread_cond_timedwait(&l->merged, &l->lock, &until);
    bool go_on = !l->stopping && l->state == state;
    if (!go_on)
        *ret_err = l->state == state ? ERR_SHUTDOWN : 0;
    pthread_mutex_unlock(&l->lock);
    return go_on;
}

static int checkpoint(struct store_lanes *l, struct storage_job *j, struct buf *reason)
{
    pthread_mutex_lock(&l->lock);
    struct state *state = l->state; /* stays open: only this thread closes states */
    pthread_mutex_unlock(&l->lock);
    if (j->frozen->applied.index <= state_pos(state).index)
        return 0; /* a snapshot was installed since it was frozen */
    int err = write_run(l, state, j, reason);
    if (!err)
        err = state_add_run(state, reason);
    while (err == ERR_OVERLOADED && wait_merged(l, state, &err)) {
        buf_clear(reason);
        err = state_add_run(state, reason);
    }
    return err;
}

/* Closes a state that counts no more, or never did, and deletes it. */
static void end_generation(struct store_lanes *l, struct generation *g)
{
    struct buf reason = BUF_INIT;
    state_close(&g->state);
    if (state_remove_generation(l->dir, g->number, &reason) != 0)
        LOG_WARN("%s", buf_str(&reason)); /* tried again at the next start */
    buf_free(&reason);
}

static void end_old(struct store_lanes *l)
{
    struct list gone, *it;
    list_init(&gone);
    pthread_mutex_lock(&l->lock);
    list_splice(&gone, &l->old);
    pthread_mutex_unlock(&l->lock);
    while ((it = list_pop_front(&gone)) != NULL) {
        struct generation *g = LIST_ENTRY(it, struct generation, link);
        end_generation(l, g);
        mem_free(g);
    }
}

/* ---- snapshots that are received ---- */

static void forget_ready(struct store_lanes *l, uint64_t snapshot_id)
{
    struct generation gone = {0};
    pthread_mutex_lock(&l->lock);
    if (l->ready.state && l->ready.snapshot_id == snapshot_id) {
        gone = l->ready;
        l->ready.state = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    if (gone.state)
        end_generation(l, &gone);
}

/* All pieces are there: makes them a generation. */
static int complete(struct store_lanes *l, struct storage_job *j, struct buf *reason)
{
    struct generation g = {.snapshot_id = j->snapshot_id};
    char *path = store_snapshot_path(l->snapshots, j->snapshot_id);
    pthread_mutex_lock(&l->lock);
    g.number = ++l->last_number;
    pthread_mutex_unlock(&l->lock);
    int err = store_snapshot_verify(path, j->size, j->digest, reason);
    if (!err)
        err = state_new_generation(l->dir, g.number, path, l->options.map_bytes, reason);
    if (!err)
        err = state_open(l->dir, g.number, &l->state_options, &g.state, reason);
    if (!err)
        err = state_meta(g.state, &j->meta, reason);
    mem_free(path);
    if (err) {
        end_generation(l, &g);
        return err;
    }
    pthread_mutex_lock(&l->lock);
    struct generation before = l->ready;
    l->ready = g;
    pthread_mutex_unlock(&l->lock);
    if (before.state)
        end_generation(l, &before);
    return 0;
}

static void forget_incoming(struct store_lanes *l)
{
    if (l->incoming_id != 0)
        store_snapshot_remove(l->snapshots, l->incoming_id);
    l->incoming_id = 0;
}

/* Pieces come in order, and the core asks for them so: another one is not of this snapshot. */
static int check_place(const struct store_lanes *l, const struct storage_job *j, struct buf *reason)
{
    bool fits = j->offset <= j->size && j->data.len <= j->size - j->offset;
    if (fits && j->snapshot_id == l->incoming_id)
        return 0;
    buf_printf(reason, "a piece of a snapshot has no place in what is being received");
    return ERR_CORRUPT;
}

static int write_piece(struct store_lanes *l, struct storage_job *j, struct buf *reason)
{
    if (j->offset == 0) {
        forget_ready(l, l->incoming_id);
        if (l->incoming_id != j->snapshot_id)
            forget_incoming(l);
        l->incoming_id = j->snapshot_id;
    }
    int err = check_place(l, j, reason);
    if (err)
        return err;
    err = store_snapshot_write(l->snapshots, j, reason);
    if (!err && j->offset + j->data.len == j->size)
        err = complete(l, j, reason);
    if (err)
        forget_incoming(l); /* it begins anew, and until then its space is free */
    return err;
}

/* Under the lock, so that it is not closed meanwhile. */
struct state_stats store_lanes_stats(struct store_lanes *l)
{
    pthread_mutex_lock(&l->lock);
    struct state_stats stats = state_stats(l->state);
    pthread_mutex_unlock(&l->lock);
    return stats;
}

uint64_t store_lanes_ready(struct store_lanes *l, uint64_t snapshot_id)
{
    pthread_mutex_lock(&l->lock);
    uint64_t number = l->ready.state && l->ready.snapshot_id == snapshot_id ? l->ready.number : 0;
    pthread_mutex_unlock(&l->lock);
    return number;
}

int store_lanes_installed(struct store_lanes *l, struct storage_write *w, struct buf *reason)
{
    pthread_mutex_lock(&l->lock);
    ASSERT(l->ready.state && l->ready.snapshot_id == w->install->id);
    struct generation *old = mem_zalloc(sizeof *old);
    old->number = l->generation;
    old->state = l->state;
    list_push_back(&l->old, &old->link);
    l->state = l->ready.state;
    l->generation = l->ready.number;
    l->ready.state = NULL;
    struct state *state = l->state;
    w->state = state_base(state);
    w->state->ops->ref(w->state);
    pthread_cond_signal(&l->lanes[LANE_CHECKPOINT].more); /* which ends the old one */
    pthread_cond_signal(&l->merged);                      /* nobody waits for that any more */
    pthread_mutex_unlock(&l->lock);
    state_start(state);
    return state_meta(state, &w->meta, reason);
}

/* ---- jobs ---- */

static int do_job(struct store_lanes *l, struct storage_job *j, struct buf *reason)
{
    switch (j->type) {
    case STORAGE_CHECKPOINT:
        return checkpoint(l, j, reason);
    case STORAGE_SNAPSHOT_MAKE:
        return store_snapshot_make(l->snapshots, j, is_stopping, l, reason);
    case STORAGE_SNAPSHOT_READ:
        return store_snapshot_read(l->snapshots, j, reason);
    case STORAGE_SNAPSHOT_WRITE:
        return write_piece(l, j, reason);
    case STORAGE_SNAPSHOT_DROP:
        forget_ready(l, j->snapshot_id);
        store_snapshot_remove(l->snapshots, j->snapshot_id);
        if (l->incoming_id == j->snapshot_id)
            l->incoming_id = 0;
        return 0;
    }
    return ERR_INVALID;
}

static void work(struct store_lanes *l, struct storage_job *j)
{
    struct buf reason = BUF_INIT;
    j->err = do_job(l, j, &reason);
    bool is_lost = j->err == ERR_SHUTDOWN; /* nobody waits for it any more */
    if (j->err && !is_lost && !is_survived(j->err)) {
        die(l, buf_str(&reason));
        is_lost = true;
    } else if (j->err && !is_lost) {
        LOG_WARN("%s", buf_str(&reason));
    }
    buf_free(&reason);
    if (j->type == STORAGE_SNAPSHOT_DROP || is_lost)
        storage_job_free(&j);
    else
        l->events.worked(l->events.ctx, j);
}

static void *run(void *arg)
{
    struct lane *lane = arg;
    struct store_lanes *l = lane->owner;
    static const char *const names[] = {"checkpoint", "snapshot", "transfer"};
    thread_name(names[lane->kind]);
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        bool has_old = lane->kind == LANE_CHECKPOINT && !list_is_empty(&l->old);
        struct list *it = list_pop_front(&lane->jobs);
        if (!it && !has_old) {
            pthread_cond_wait(&lane->more, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        if (has_old)
            end_old(l);
        if (it)
            work(l, LIST_ENTRY(it, struct storage_job, link));
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void store_lanes_work(struct store_lanes *l, struct storage_job *j)
{
    enum lane_kind kind = j->type == STORAGE_CHECKPOINT      ? LANE_CHECKPOINT
                          : j->type == STORAGE_SNAPSHOT_MAKE ? LANE_MAKE
                                                             : LANE_TRANSFER;
    if (j->view)
        kv_view_keep(j->view); /* while it waits, too */
    struct lane *lane = &l->lanes[kind];
    pthread_mutex_lock(&l->lock);
    list_push_back(&lane->jobs, &j->link);
    pthread_cond_signal(&lane->more);
    pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

static void on_merged(void *ctx)
{
    struct store_lanes *l = ctx;
    pthread_mutex_lock(&l->lock);
    pthread_cond_signal(&l->merged);
    pthread_mutex_unlock(&l->lock);
}

static void on_fatal(void *ctx, const char *text)
{
    die(ctx, text);
}

static void on_damaged(void *ctx, const char *text)
{
    struct store_lanes *l = ctx;
    if (l->options.damaged)
        l->options.damaged(l->options.ctx, text);
    else
        LOG_ERROR("%s", text);
}

static int open_state(struct store_lanes *l, bool may_begin, struct buf *reason)
{
    char name[32];
    snprintf(name, sizeof name, "state-%llu", (unsigned long long)l->generation);
    int err = 0;
    if (!store_file_exists(l->dir, name) && !may_begin) {
        buf_printf(
            reason,
            "%s/%s is not there, and the log does not go back to the beginning; " RUN_REMEDY_NODE,
            l->dir, name);
        return ERR_CORRUPT;
    }
    if (!store_file_exists(l->dir, name))
        err = state_new_generation(l->dir, l->generation, NULL, l->options.map_bytes, reason);
    if (!err)
        err = state_remove_others(l->dir, l->generation, reason);
    if (!err)
        err = state_open(l->dir, l->generation, &l->state_options, &l->state, reason);
    return err;
}

int store_lanes_open(const char *dir, uint64_t generation, bool may_begin,
                     const struct store_options *options, struct store_lanes **ret_lanes,
                     struct buf *reason)
{
    struct store_lanes *l = mem_zalloc(sizeof *l);
    l->dir = mem_strdup(dir);
    l->snapshots = store_path(dir, "snapshot");
    l->options = *options;
    l->generation = l->last_number = generation;
    l->state_options = (struct state_options){.map_bytes = options->map_bytes,
                                              .fatal = on_fatal,
                                              .damaged = on_damaged,
                                              .merged = on_merged,
                                              .meta_pos = options->meta_pos,
                                              .view_ms_max = options->view_ms_max,
                                              .ctx = l};
    list_init(&l->old);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->merged, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < LANES; i++) {
        l->lanes[i] = (struct lane){.owner = l, .kind = (enum lane_kind)i};
        pthread_cond_init(&l->lanes[i].more, NULL);
        list_init(&l->lanes[i].jobs);
    }
    int err = store_snapshot_clear(l->snapshots, reason);
    if (!err)
        err = open_state(l, may_begin, reason);
    if (err)
        store_lanes_close(&l);
    else
        *ret_lanes = l;
    return err;
}

struct state *store_lanes_state(struct store_lanes *l)
{
    return l->state;
}

uint64_t store_lanes_state_bytes(struct store_lanes *l)
{
    pthread_mutex_lock(&l->lock); /* what is in force now may be closed a moment later */
    struct state_stats stats = state_stats(l->state);
    pthread_mutex_unlock(&l->lock);
    return stats.used_bytes + stats.run_bytes;
}

void store_lanes_start(struct store_lanes *l, const struct storage_events *events)
{
    l->events = *events;
    l->stopping = false;
    state_start(l->state);
    for (unsigned i = 0; i < LANES; i++) {
        int rc = pthread_create(&l->lanes[i].thread, NULL, run, &l->lanes[i]);
        ASSERT(rc == 0);
        l->lanes[i].running = true;
    }
}

void store_lanes_stop(struct store_lanes *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    for (unsigned i = 0; i < LANES; i++)
        pthread_cond_signal(&l->lanes[i].more);
    pthread_cond_signal(&l->merged);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < LANES; i++) {
        if (l->lanes[i].running)
            pthread_join(l->lanes[i].thread, NULL);
        l->lanes[i].running = false;
    }
}

void store_lanes_close(struct store_lanes **lanes)
{
    struct store_lanes *l = *lanes;
    if (!l)
        return;
    store_lanes_stop(l);
    for (unsigned i = 0; i < LANES; i++) {
        struct list *it;
        while ((it = list_pop_front(&l->lanes[i].jobs)) != NULL) {
            struct storage_job *j = LIST_ENTRY(it, struct storage_job, link);
            storage_job_free(&j);
        }
        pthread_cond_destroy(&l->lanes[i].more);
    }
    end_old(l);
    state_close(&l->ready.state);
    state_close(&l->state);
    pthread_cond_destroy(&l->merged);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->snapshots);
    mem_free(l->dir);
    MEM_FREE(*lanes);
}
