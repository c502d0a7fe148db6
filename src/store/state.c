/* SPDX-License-Identifier: MIT
 * The life of a generation: opening, adding runs, what is told, closing.
 */
#include "store/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/state_impl.h"

/* ---- waiting ---- */

void state_deadline(struct timespec *ret_t, uint64_t us)
{
    clock_gettime(CLOCK_MONOTONIC, ret_t);
    us += (uint64_t)ret_t->tv_nsec / 1000;
    ret_t->tv_sec += (time_t)(us / 1000000);
    ret_t->tv_nsec = (long)(us % 1000000) * 1000;
}

static bool wait_for(struct state *s, uint64_t us, bool until_work)
{
    struct timespec deadline;
    state_deadline(&deadline, us);
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (us > 0 && !s->stopping && !rc) {
        rc = pthread_cond_timedwait(&s->work, &s->lock, &deadline);
        if (until_work)
            break;
    }
    bool goes_on = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

bool state_pause(struct state *s, uint64_t us)
{
    return wait_for(s, us, true);
}

bool state_sleep(struct state *s, uint64_t us)
{
    return wait_for(s, us, false);
}

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* ---- telling ---- */

/* Notes it and answers whether it was told before. A run that left the list is of no matter. */
static bool was_told(struct state *s, const struct run *r)
{
    bool *told = r ? NULL : &s->told, was = true;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; r && i < s->n_runs; i++)
        if (s->runs[i].run == r)
            told = &s->runs[i].told;
    if (told) {
        was = *told;
        *told = true;
        s->stats.is_damaged = true;
    }
    pthread_mutex_unlock(&s->lock);
    return was;
}

void state_tell_damage(struct state *s, const struct run *r, const char *text)
{
    if (was_told(s, r))
        return;
    if (s->options.damaged)
        s->options.damaged(s->options.ctx, text);
    else
        LOG_ERROR("%s", text);
}

void state_tell_run(struct state *s, struct run *r)
{
    struct buf text = BUF_INIT;
    if (run_damage(r, &text))
        state_tell_damage(s, r, buf_str(&text));
    buf_free(&text);
}

void state_die(struct state *s, const char *text)
{
    if (s->options.fatal) {
        s->options.fatal(s->options.ctx, text);
        return;
    }
    LOG_ERROR("%s", text);
    log_stop(); /* writes the line */
    _exit(1);
}

int state_step(struct state *s, enum state_step step)
{
    return s->options.step ? s->options.step(s->options.ctx, step) : 0;
}

int state_meta_pos(const struct state *s, const void *meta, size_t len, struct kv_pos *ret_pos)
{
    if (s->options.meta_pos)
        return s->options.meta_pos(meta, len, ret_pos);
    struct kv_meta_info info;
    int err = kv_meta_info(meta, len, &info);
    if (!err)
        *ret_pos = info.applied;
    return err;
}

/* ---- references ---- */

void state_ref(struct state *s)
{
    refs_take(&s->refs);
}

static void destroy(struct state *s)
{
    ASSERT(s->n_views == 0);
    for (unsigned i = 0; i < s->n_idle; i++)
        mdb_txn_abort(s->idle[i]);
    for (unsigned i = 0; i < s->n_runs; i++)
        run_unref(&s->runs[i].run);
    state_db_close(&s->db);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->closed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->run_path);
    mem_free(s->dir);
    mem_free(s);
}

void state_unref(struct state *s)
{
    if (refs_drop(&s->refs))
        destroy(s);
}

static void base_ref(struct kv_base *base)
{
    state_ref((struct state *)base);
}

static void base_unref(struct kv_base *base)
{
    state_unref((struct state *)base);
}

struct kv_base *state_base(struct state *s)
{
    return &s->base;
}

/* ---- opening and closing ---- */

static void set_defaults(struct state_options *o)
{
    if (!o->slice_bytes)
        o->slice_bytes = STATE_SLICE_BYTES;
    if (!o->merge_runs)
        o->merge_runs = STATE_MERGE_RUNS;
    if (!o->merge_wait_ms)
        o->merge_wait_ms = STATE_MERGE_WAIT_MS;
    if (!o->view_ms_max)
        o->view_ms_max = STATE_VIEW_MS_MAX;
    if (!o->await_ms_max)
        o->await_ms_max = STATE_AWAIT_MS;
}

static struct state *new_state(const char *dir, uint64_t gen, const struct state_options *options)
{
    static const struct kv_base_ops ops = {base_ref, base_unref, state_view_new};
    struct state *s = mem_zalloc(sizeof *s);
    s->base.ops = &ops;
    s->options = *options;
    set_defaults(&s->options);
    s->dir = state_generation_path(dir, gen);
    s->run_path = store_path(s->dir, "run.new");
    refs_init(&s->refs);
    pthread_mutex_init(&s->lock, NULL);
    init_cond(&s->work);
    init_cond(&s->closed);
    list_init(&s->views);
    return s;
}

int state_open(const char *dir, uint64_t gen, const struct state_options *options,
               struct state **ret_state, struct buf *reason)
{
    struct state *s = new_state(dir, gen, options);
    int err = state_db_open(&s->db, s->dir, options->map_bytes, &s->mark, reason);
    if (!err)
        err = state_find_runs(s, reason);
    if (err)
        state_unref(s);
    else
        *ret_state = s;
    return err;
}

void state_start(struct state *s)
{
    ASSERT(!s->is_running);
    int rc = pthread_create(&s->merger, NULL, state_merge_main, s);
    if (!rc)
        rc = pthread_create(&s->scrubber, NULL, state_scrub_main, s);
    ASSERT(rc == 0);
    s->is_running = true;
}

void state_close(struct state **s)
{
    if (!*s)
        return;
    if ((*s)->is_running) {
        pthread_mutex_lock(&(*s)->lock);
        (*s)->stopping = true;
        pthread_cond_broadcast(&(*s)->work);
        pthread_cond_broadcast(&(*s)->closed);
        pthread_mutex_unlock(&(*s)->lock);
        pthread_join((*s)->merger, NULL);
        pthread_join((*s)->scrubber, NULL);
    }
    state_unref(*s);
    *s = NULL;
}

/* ---- what is durable ---- */

struct kv_pos state_pos(struct state *s)
{
    pthread_mutex_lock(&s->lock);
    struct kv_pos pos = s->n_runs ? s->runs[s->n_runs - 1].pos : s->mark.pos;
    pthread_mutex_unlock(&s->lock);
    return pos;
}

static int db_meta(struct state_view *v, struct buf *out, struct buf *reason)
{
    struct state_mark mark;
    if (!v->txn)
        return v->err;
    int err = state_db_mark(&v->state->db, v->txn, &mark, reason);
    if (err || !mark.meta_id)
        return err;
    return state_db_meta(&v->state->db, v->txn, &mark, out, reason);
}

int state_meta(struct state *s, struct buf *out, struct buf *reason)
{
    struct state_view *v = state_view_of(state_view_new(&s->base));
    pthread_mutex_lock(&v->lock);
    int err = v->n_runs ? run_meta(v->runs[0], out, reason) : db_meta(v, out, reason);
    pthread_mutex_unlock(&v->lock);
    v->view.ops->close(&v->view);
    return err;
}

/* ---- runs ---- */

const char *state_run_path(const struct state *s)
{
    return s->run_path;
}

static int rename_run(struct state *s, const char *path, struct buf *reason)
{
    if (rename(s->run_path, path) != 0) {
        buf_printf(reason, "cannot rename %s: %s", s->run_path, strerror(errno));
        return store_errno(errno);
    }
    int err = state_step(s, STATE_STEP_RENAMED);
    return err ? err : store_dir_sync(s->dir, reason);
}

/* The sequence number is free: only this adds, and merging takes from the other end. */
static int check_room(struct state *s, const struct state_run *r, struct buf *reason)
{
    pthread_mutex_lock(&s->lock);
    bool is_full = s->n_runs == STATE_RUNS_MAX;
    pthread_mutex_unlock(&s->lock);
    if (is_full) {
        buf_printf(reason, "%d runs wait to be merged", STATE_RUNS_MAX);
        return ERR_OVERLOADED;
    }
    if (r->pos.index < state_pos(s).index) {
        buf_printf(reason, "%s is of an earlier position than the state", s->run_path);
        return ERR_INVALID;
    }
    return 0;
}

static uint64_t next_seq(struct state *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t seq = (s->n_runs ? s->runs[s->n_runs - 1].seq : s->mark.run_seq) + 1;
    pthread_mutex_unlock(&s->lock);
    return seq;
}

static void append_run(struct state *s, struct state_run *r)
{
    pthread_mutex_lock(&s->lock);
    s->runs[s->n_runs++] = *r;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    r->run = NULL; /* the list has the reference */
}

int state_add_run(struct state *s, struct buf *reason)
{
    struct state_run r;
    int err = state_open_run(s, s->run_path, 0, &r, reason);
    if (err)
        return err;
    err = check_room(s, &r, reason);
    run_unref(&r.run);
    if (err)
        return err;
    uint64_t seq = next_seq(s);
    char *path = state_run_name(s, seq);
    err = rename_run(s, path, reason);
    if (!err)
        err = state_open_run(s, path, seq, &r, reason); /* again: its lines are to name this path */
    mem_free(path);
    if (err)
        return err;
    append_run(s, &r);
    return state_step(s, STATE_STEP_ADDED);
}

struct state_stats state_stats(struct state *s)
{
    pthread_mutex_lock(&s->lock);
    struct state_stats stats = s->stats;
    stats.n_keys = s->mark.n_keys;
    stats.bytes = s->mark.bytes;
    stats.n_runs = s->n_runs;
    stats.n_views = s->n_views;
    for (unsigned i = 0; i < s->n_runs; i++)
        stats.run_bytes += run_info(s->runs[i].run).file_bytes;
    stats.used_bytes = state_db_used(&s->db);
    stats.map_bytes = state_db_map(&s->db);
    pthread_mutex_unlock(&s->lock);
    return stats;
}
