/* SPDX-License-Identifier: MIT
 * Images of the checkpointed state: every key at its revision, before and after
 * what is left to merge was merged.
 */
#include "check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "store/dir.h"
#include "store/state.h"

#define GET_ONE_IN  8  /* keys that are also asked for */
#define MERGE_MAX_S 20 /* then it does not go on */

struct check {
    const struct history *h;
    const uint64_t *marks;
    char dir[256];
    uint64_t gen;
    struct buf *why;
    struct state *state;
    struct expected found;
    pthread_mutex_t lock; /* guards what follows, and why while the state's threads run */
    pthread_cond_t more;
    bool failed;
};

static enum check_result wrong(struct check *c, const char *what)
{
    buf_append_str(c->why, what);
    return CHECK_WRONG;
}

static void on_trouble(void *ctx, const char *text)
{
    struct check *c = ctx;
    pthread_mutex_lock(&c->lock);
    buf_printf(c->why, "%s ", text);
    c->failed = true;
    pthread_cond_broadcast(&c->more);
    pthread_mutex_unlock(&c->lock);
}

static void on_merged(void *ctx)
{
    struct check *c = ctx;
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->more);
    pthread_mutex_unlock(&c->lock);
}

/* ---- reading ---- */

/* As a start does it: the generation that counts, and no other. */
static int open_generation(struct check *c)
{
    struct state_options options = {.map_bytes = HISTORY_MAP_BYTES,
                                    .slice_bytes = 64 * KIB,
                                    .merge_runs = 1,
                                    .fatal = on_trouble,
                                    .damaged = on_trouble,
                                    .merged = on_merged,
                                    .meta_pos = history_meta_pos,
                                    .ctx = c};
    int err = 0;
    c->gen = c->marks[MARK_BOOT];
    if (c->gen == 0) { /* the first was being made */
        c->gen = 1;
        err = store_dir_make(c->dir, c->why);
        if (!err)
            err = state_new_generation(c->dir, 1, NULL, HISTORY_MAP_BYTES, c->why);
    }
    if (!err)
        err = state_remove_others(c->dir, c->gen, c->why);
    return err ? err : state_open(c->dir, c->gen, &options, &c->state, c->why);
}

static bool get_agrees(struct kv_base_view *view, const struct kv_record *r)
{
    struct kv_record again = {.key = r->key, .key_len = r->key_len};
    return view->ops->get(view, r->key, r->key_len, &again.value) == 0 &&
           history_record_digest(&again) == history_record_digest(r);
}

static enum check_result read_records(struct check *c, struct kv_base_view *view)
{
    struct kv_cursor *cursor = view->ops->cursor(view);
    struct kv_record record;
    unsigned n = 0;
    bool agrees = true;
    int err = kv_cursor_seek(cursor, NULL, 0, &record);
    for (; !err; err = kv_cursor_next(cursor, &record)) {
        if (record.deleted)
            continue;
        c->found.digest += history_record_digest(&record);
        if (n++ % GET_ONE_IN == 0)
            agrees &= get_agrees(view, &record);
    }
    kv_cursor_close(&cursor);
    if (err != ERR_NOT_FOUND) {
        buf_printf(c->why, "reading: %s", err_text(err));
        return CHECK_REFUSED;
    }
    return agrees ? CHECK_RIGHT : wrong(c, "a key has another value than the cursor says");
}

static enum check_result read_all(struct check *c)
{
    struct buf meta = BUF_INIT;
    struct kv_pos pos = state_pos(c->state), meta_pos = {0};
    c->found = (struct expected){.last = pos.index, .hard_state = {.term = pos.term}};
    int err = state_meta(c->state, &meta, c->why);
    bool agrees = !err && (meta.len ? history_meta_pos(meta.data, meta.len, &meta_pos) == 0 &&
                                          meta_pos.index == pos.index && meta_pos.term == pos.term
                                    : pos.index == 0);
    buf_free(&meta);
    if (err)
        return CHECK_REFUSED;
    if (!agrees)
        return wrong(c, "the meta is of another position");
    struct kv_base *base = state_base(c->state);
    struct kv_base_view *view = base->ops->view(base);
    enum check_result result = read_records(c, view);
    view->ops->close(view);
    return result;
}

static bool same(const struct expected *a, const struct expected *b)
{
    return a->last == b->last && a->hard_state.term == b->hard_state.term && a->digest == b->digest;
}

static enum check_result compare(struct check *c)
{
    uint64_t promised = c->marks[MARK_PROMISED], begun = c->marks[MARK_BEGUN];
    for (uint64_t i = promised; i <= begun; i++)
        if (same(&c->found, &c->h->states[i]))
            return CHECK_RIGHT;
    buf_printf(c->why, "found position %" PRIu64 ", promised %" PRIu64 ", begun %" PRIu64,
               c->found.last, c->h->states[promised].last, c->h->states[begun].last);
    for (uint64_t i = 0; i < c->h->n_states; i++)
        if (c->found.last == c->h->states[i].last)
            buf_append_str(c->why, same(&c->found, &c->h->states[i]) ? ", as it was"
                                                                     : ", with other records");
    return CHECK_WRONG;
}

/* ---- going on ---- */

/* False: it has not come to an end. */
static bool wait_until_merged(struct check *c)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MERGE_MAX_S;
    pthread_mutex_lock(&c->lock);
    while (!c->failed && state_stats(c->state).n_runs > 0 && !rc)
        rc = pthread_cond_timedwait(&c->more, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
    return !rc;
}

static enum check_result merge_and_read(struct check *c)
{
    struct expected before = c->found;
    state_start(c->state);
    bool merged = wait_until_merged(c);
    if (c->failed || !merged)
        return wrong(c, merged ? "when it was merged" : "merging does not end");
    if (state_scrub(c->state, c->why) != 0)
        return wrong(c, " (scrubbed after it was merged)");
    enum check_result result = read_all(c);
    if (result != CHECK_RIGHT || !same(&c->found, &before))
        return wrong(c, " after it was merged: other records");
    state_close(&c->state);
    if (open_generation(c) != 0)
        return wrong(c, " when it was opened once more");
    result = read_all(c);
    if (result != CHECK_RIGHT || !same(&c->found, &before))
        return wrong(c, " opened once more: other records");
    return CHECK_RIGHT;
}

enum check_result check_state(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                              bool go_on, struct buf *why)
{
    struct check c = {.h = h,
                      .marks = marks,
                      .why = why,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .more = PTHREAD_COND_INITIALIZER};
    snprintf(c.dir, sizeof c.dir, "%s/data", dir);
    enum check_result result = open_generation(&c) == 0 ? read_all(&c) : CHECK_REFUSED;
    if (result == CHECK_RIGHT)
        result = compare(&c);
    if (result == CHECK_RIGHT && go_on)
        result = merge_and_read(&c);
    state_close(&c.state);
    return result;
}
