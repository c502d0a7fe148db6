/* SPDX-License-Identifier: MIT
 * The merging thread: brings the oldest run into LMDB, slice by slice, and rests
 * after each as long as it took, unless many runs wait. In slices, because one
 * large transaction holds all it writes in memory, stalls the disk for the log
 * and lets the file grow to three times its data (measured, DESIGN.md).
 *
 *  It also ends views that have grown too old.
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/state_impl.h"
#include "store/state_write.h"

#define SLICE_BYTES (16 * MIB)
#define RETRY_MS    1000
#define IDLE_US_MAX 1000000
/* To pack costs as much as to write what lies between two records of the run. */
#define PACK_RATIO   16
#define N_RUNS_PACED 2 /* with more than these nothing rests */
/* A disk with less room is full: LMDB says EIO when a write was cut short. */
#define DISK_FULL_BYTES MIB

struct merge {
    struct state *state;
    struct state_run run; /* a reference; run.run NULL: none is at work */
    struct kv_cursor *cursor;
    struct kv_record record;
    int at; /* 0: record is the next one; NOT_FOUND: all are in, the meta is next */
    struct buf meta;
    bool placed; /* the cursor stands at record, and meta was read */
    bool map_full;
    bool told_no_space;
};

/* ---- the run at work ---- */

static void leave_run(struct merge *m)
{
    kv_cursor_close(&m->cursor);
    run_unref(&m->run.run);
    buf_free(&m->meta);
    m->placed = false;
}

/* Stands before the first record that is not in yet. */
static int find_place(struct merge *m)
{
    const struct state_mark *mark = &m->state->mark;
    int err = kv_cursor_seek(m->cursor, mark->key, mark->key_len, &m->record);
    if (!err && mark->key_len > 0 && m->record.key_len == mark->key_len &&
        memcmp(m->record.key, mark->key, mark->key_len) == 0)
        err = kv_cursor_next(m->cursor, &m->record);
    m->at = err;
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* False: nothing to merge. */
static bool take_run(struct merge *m)
{
    struct state *s = m->state;
    pthread_mutex_lock(&s->lock);
    if (s->n_runs > 0) {
        m->run = s->runs[0];
        run_ref(m->run.run);
    }
    pthread_mutex_unlock(&s->lock);
    if (m->run.run)
        m->cursor = run_cursor(m->run.run);
    return m->cursor;
}

/* Begins with the run, or goes on with it from the mark. */
static int place(struct merge *m, struct buf *reason)
{
    int err = run_meta(m->run.run, &m->meta, reason);
    if (err)
        return err;
    err = find_place(m);
    if (err)
        run_damage(m->run.run, reason);
    m->placed = !err;
    return err;
}

/* ---- one slice ---- */

static size_t slice_bytes(const struct state *s)
{
    return s->options.slice_bytes ? s->options.slice_bytes : SLICE_BYTES;
}

static bool is_worth_packing(const struct merge *m)
{
    return m->state->mark.n_keys / PACK_RATIO <= run_info(m->run.run).n_records;
}

/* Writes what fits. *ret_whole: the run's meta too. */
static int fill(struct merge *m, struct state_write *w, bool *ret_whole)
{
    while (!m->at && state_write_record(w, &m->record))
        m->at = kv_cursor_next(m->cursor, &m->record);
    if (w->err || !m->at)
        return w->err;
    if (m->at != ERR_NOT_FOUND) {
        run_damage(m->run.run, w->reason);
        return m->at;
    }
    *ret_whole = state_write_end_run(w, m->run.seq, m->run.pos, m->meta.data, m->meta.len);
    return w->err;
}

static int write_slice(struct merge *m, bool *ret_whole, struct buf *reason)
{
    struct state *s = m->state;
    struct state_write w;
    struct state_mark mark;
    bool whole = false;
    state_write_begin(&w, &s->db, &s->mark, slice_bytes(s), is_worth_packing(m), reason);
    int err = w.err ? w.err : fill(m, &w, &whole);
    if (!err)
        err = state_step(s, STATE_STEP_COMMIT);
    if (err) {
        m->map_full = w.map_full;
        state_write_abort(&w);
        return err;
    }
    err = state_write_commit(&w, &mark);
    m->map_full = w.map_full;
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    s->mark = mark;
    s->stats.n_slices++;
    pthread_mutex_unlock(&s->lock);
    *ret_whole = whole;
    return 0;
}

/* The run is in LMDB as a whole: views need it no more, and then nobody does. */
static int drop_run(struct merge *m)
{
    struct state *s = m->state;
    int err = state_step(s, STATE_STEP_MERGED);
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    struct state_run dropped = s->runs[0];
    s->n_runs--;
    memmove(&s->runs[0], &s->runs[1], s->n_runs * sizeof s->runs[0]);
    pthread_mutex_unlock(&s->lock);
    run_unref(&dropped.run);
    leave_run(m);
    err = state_step(s, STATE_STEP_DROPPED);
    if (err)
        return err;
    char *path = state_run_name(s, dropped.seq);
    if (unlink(path) != 0) /* harmless: the next open tries again */
        LOG_WARN("cannot delete %s: %s", path, strerror(errno));
    mem_free(path);
    if (s->options.merged)
        s->options.merged(s->options.ctx);
    return state_step(s, STATE_STEP_DELETED);
}

/* NOT_FOUND: there is no run. */
static int merge_some(struct merge *m, struct buf *reason)
{
    bool whole = false;
    if (!m->cursor && !take_run(m))
        return ERR_NOT_FOUND;
    int err = m->placed ? 0 : place(m, reason);
    if (!err)
        err = write_slice(m, &whole, reason);
    if (err)
        return err;
    return whole ? drop_run(m) : state_step(m->state, STATE_STEP_SLICE);
}

/* ---- failures ---- */

static bool disk_is_full(const struct state *s)
{
    struct statvfs fs;
    return statvfs(s->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_FULL_BYTES;
}

static void tell_space(struct merge *m, bool waits)
{
    struct state *s = m->state;
    if (waits == m->told_no_space)
        return;
    m->told_no_space = waits;
    pthread_mutex_lock(&s->lock);
    s->stats.waits_for_space = waits;
    pthread_mutex_unlock(&s->lock);
    if (waits)
        LOG_WARN("%s: no space is left; merging of checkpoints goes on when there is room", s->dir);
    else
        LOG_INFO("%s: there is room again; merging of checkpoints goes on", s->dir);
}

static void end_stale_views(struct state *s, enum state_which which)
{
    pthread_mutex_lock(&s->lock);
    state_end_views(s, s->options.view_ms_max, which);
    pthread_mutex_unlock(&s->lock);
}

/* Whether merging may be tried again, and after how long. The transaction is
 * undone: what it wrote is in no page that counts, and is written again as a whole. */
static bool survives(struct merge *m, int err, const char *text, uint64_t *ret_rest_us)
{
    struct state *s = m->state;
    if (err == ERR_NO_SPACE || (err == ERR_IO && disk_is_full(s))) {
        leave_run(m);
        if (m->map_full && state_grow_map(s)) {
            *ret_rest_us = 0;
            return true;
        }
        tell_space(m, true);
        end_stale_views(s, STATE_ALSO_KEPT); /* there is room in the file then */
        *ret_rest_us = (s->options.retry_ms ? s->options.retry_ms : RETRY_MS) * 1000;
        return true;
    }
    if (err == ERR_CORRUPT)
        state_tell_damage(s, m->run.run, text);
    else if (err != ERR_SHUTDOWN)
        state_die(s, text);
    return false;
}

/* ---- the thread ---- */

/* How long to rest after a slice that took so long. */
static uint64_t rest_us(struct state *s, uint64_t took_us)
{
    pthread_mutex_lock(&s->lock);
    if (took_us > s->stats.slice_us_max)
        s->stats.slice_us_max = took_us;
    bool many = s->n_runs > N_RUNS_PACED;
    pthread_mutex_unlock(&s->lock);
    return many ? 0 : took_us;
}

/* So that a view is not much older than it may be when it is looked at. */
static uint64_t idle_us(const struct state *s)
{
    uint64_t us = s->options.view_ms_max * 1000 / 4;
    return us < IDLE_US_MAX ? us : IDLE_US_MAX;
}

/* One round: some merging, if there is any. False: it has ended for good. */
static bool work(struct merge *m, uint64_t *ret_rest_us)
{
    struct buf reason = BUF_INIT;
    uint64_t start_us = clock_now_us();
    int err = merge_some(m, &reason);
    *ret_rest_us = idle_us(m->state);
    bool goes_on = true;
    if (!err) {
        tell_space(m, false);
        *ret_rest_us = rest_us(m->state, clock_now_us() - start_us);
    } else if (err != ERR_NOT_FOUND) {
        goes_on = survives(m, err, buf_str(&reason), ret_rest_us);
    }
    buf_free(&reason);
    return goes_on;
}

void *state_merge_main(void *state)
{
    struct state *s = state;
    struct merge m = {.state = s};
    uint64_t pause_us = 0;
    bool goes_on = true;
    while (state_pause(s, pause_us)) {
        end_stale_views(s, STATE_NOT_KEPT);
        pause_us = idle_us(s);
        state_await_views(s);
        if (goes_on)
            goes_on = work(&m, &pause_us);
    }
    leave_run(&m);
    return NULL;
}
