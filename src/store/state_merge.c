/* SPDX-License-Identifier: MIT
 * The merging thread: brings runs into LMDB, slice by slice, with rests between
 * (state_pace.c says when). In slices, because one large transaction holds all
 * it writes in memory, stalls the disk for the log and lets the file grow to
 * three times its data (measured, DESIGN.md).
 *
 * All runs that wait when it begins are merged in one pass, in key order, of each
 * key the newest record only. Which they are is in the mark, so that after a
 * restart it goes on with the same ones; they shadow what is half merged until
 * the mark says that all of it is in, and leave the list together.
 *
 * It also ends views that have grown too old.
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/state_impl.h"
#include "store/state_write.h"

#define RETRY_MS    1000
#define IDLE_US_MAX 1000000
/* To pack costs as much as to write what lies between two records of the runs. */
#define PACK_RATIO 8
/* A disk with less room is full: LMDB says EIO when a write was cut short. */
#define DISK_FULL_BYTES MIB

struct merge {
    struct state *state;
    struct state_run runs[STATE_RUNS_MAX]; /* at work, oldest first, with references */
    unsigned n_runs;
    struct kv_cursor *cursor; /* over all of them */
    struct kv_record record;
    int at;          /* 0: record is the next one; NOT_FOUND: all are in, the meta is next */
    struct buf meta; /* the newest one's */
    bool placed;     /* the cursor stands at record, and meta was read */
    bool map_full;
    bool told_no_space;
};

/* ---- the runs at work ---- */

static const struct state_run *newest(const struct merge *m)
{
    return &m->runs[m->n_runs - 1];
}

static void leave_runs(struct merge *m)
{
    kv_cursor_close(&m->cursor);
    while (m->n_runs > 0)
        run_unref(&m->runs[--m->n_runs].run);
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
static bool take_runs(struct merge *m)
{
    struct state *s = m->state;
    struct kv_cursor *sources[STATE_RUNS_MAX];
    pthread_mutex_lock(&s->lock);
    for (unsigned n = state_runs_due(s); m->n_runs < n; m->n_runs++) {
        m->runs[m->n_runs] = s->runs[m->n_runs];
        run_ref(m->runs[m->n_runs].run);
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < m->n_runs; i++)
        sources[m->n_runs - 1 - i] = run_cursor(m->runs[i].run);
    if (m->n_runs > 0)
        m->cursor = kv_merge_new(sources, m->n_runs, true);
    return m->cursor;
}

/* The run that CORRUPT is about, and *reason of it; NULL: none of them, so LMDB. */
static const struct run *find_damaged(const struct merge *m, struct buf *reason)
{
    for (unsigned i = 0; i < m->n_runs; i++)
        if (run_damage(m->runs[i].run, reason))
            return m->runs[i].run;
    return NULL;
}

/* Begins with the runs, or goes on with them from the mark. */
static int place(struct merge *m, struct buf *reason)
{
    int err = run_meta(newest(m)->run, &m->meta, reason);
    if (err)
        return err;
    err = find_place(m);
    if (err)
        find_damaged(m, reason);
    m->placed = !err;
    return err;
}

/* ---- one slice ---- */

static bool is_worth_packing(const struct merge *m)
{
    uint64_t n_records = 0;
    for (unsigned i = 0; i < m->n_runs; i++)
        n_records += run_info(m->runs[i].run).n_records;
    return m->state->mark.n_keys / PACK_RATIO <= n_records;
}

/* Writes what fits. *ret_whole: all, the meta too. */
static int fill(struct merge *m, struct state_write *w, bool *ret_whole)
{
    while (!m->at && state_write_record(w, &m->record))
        m->at = kv_cursor_next(m->cursor, &m->record);
    if (w->err || !m->at)
        return w->err;
    if (m->at != ERR_NOT_FOUND) {
        find_damaged(m, w->reason);
        return m->at;
    }
    *ret_whole = state_write_end_runs(w, newest(m)->pos, m->meta.data, m->meta.len);
    return w->err;
}

static int write_slice(struct merge *m, bool *ret_whole, struct buf *reason)
{
    struct state *s = m->state;
    struct state_write w;
    struct state_mark mark;
    bool whole = false;
    state_write_begin(&w, &s->db, &s->mark, newest(m)->seq, state_slice_bytes(s),
                      is_worth_packing(m), reason);
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

static int delete_file(struct state *s, uint64_t seq)
{
    char *path = state_run_name(s, seq);
    if (unlink(path) != 0) /* harmless: the next open tries again */
        LOG_WARN("cannot delete %s: %s", path, strerror(errno));
    mem_free(path);
    return state_step(s, STATE_STEP_DELETED);
}

/* The runs are in LMDB as a whole: views need them no more, and then nobody does. */
static int drop_runs(struct merge *m)
{
    struct state *s = m->state;
    struct state_run dropped[STATE_RUNS_MAX];
    unsigned n = m->n_runs;
    int err = state_step(s, STATE_STEP_MERGED);
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    memcpy(dropped, s->runs, n * sizeof dropped[0]);
    s->n_runs -= n;
    memmove(&s->runs[0], &s->runs[n], s->n_runs * sizeof s->runs[0]);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < n; i++)
        run_unref(&dropped[i].run);
    leave_runs(m);
    err = state_step(s, STATE_STEP_DROPPED);
    if (err)
        return err;
    if (s->options.merged)
        s->options.merged(s->options.ctx);
    for (unsigned i = 0; !err && i < n; i++)
        err = delete_file(s, dropped[i].seq);
    return err;
}

/* NOT_FOUND: there is nothing to do. */
static int merge_some(struct merge *m, struct buf *reason)
{
    bool whole = false;
    if (!m->cursor && !take_runs(m))
        return ERR_NOT_FOUND;
    int err = m->placed ? 0 : place(m, reason);
    if (!err)
        err = write_slice(m, &whole, reason);
    if (err)
        return err;
    return whole ? drop_runs(m) : state_step(m->state, STATE_STEP_SLICE);
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
        leave_runs(m);
        if (m->map_full && state_grow_map(s)) {
            *ret_rest_us = 0;
            return true;
        }
        tell_space(m, true);
        end_stale_views(s, STATE_ALSO_KEPT); /* there is room in the file then */
        *ret_rest_us = (s->options.retry_ms ? s->options.retry_ms : RETRY_MS) * 1000;
        return true;
    }
    struct buf again = BUF_INIT;
    if (err == ERR_CORRUPT)
        state_tell_damage(s, find_damaged(m, &again), text);
    else if (err != ERR_SHUTDOWN)
        state_die(s, text);
    buf_free(&again);
    return false;
}

/* ---- the thread ---- */

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
        *ret_rest_us = state_rest_us(m->state, clock_now_us() - start_us);
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
    thread_name("merge");
    while (state_pause(s, pause_us)) {
        end_stale_views(s, STATE_NOT_KEPT);
        pause_us = idle_us(s);
        state_await_views(s);
        if (goes_on)
            goes_on = work(&m, &pause_us);
    }
    leave_runs(&m);
    return NULL;
}
