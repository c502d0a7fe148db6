/* SPDX-License-Identifier: MIT
 * The state's threads call on_step() and its kin; the test waits for them.
 */
#define _GNU_SOURCE /* nftw() */
#include "state_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <ftw.h>

#include "base/bytes.h"
#include "base/mem.h"

#define META_POS_BYTES  16
#define VALUE_BYTES_MAX (20 * MIB)

/* ---- what the state calls ---- */

static int on_step(void *ctx, enum state_step step)
{
    struct state_fixture *f = ctx;
    int err = 0;
    pthread_mutex_lock(&f->lock);
    f->n_steps[step]++;
    if (f->killed || (f->kill_step == (int)step && f->kill_after-- == 0)) {
        f->killed = true;
        err = ERR_SHUTDOWN;
    } else if (step == STATE_STEP_COMMIT && f->commit_err) {
        f->n_commits_failed++;
        err = f->commit_err;
    }
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    return err;
}

static void note(struct state_fixture *f, atomic_uint *count, const char *text)
{
    pthread_mutex_lock(&f->lock);
    ++*count;
    snprintf(f->text, sizeof f->text, "%s", text);
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
}

static void on_damaged(void *ctx, const char *text)
{
    struct state_fixture *f = ctx;
    note(f, &f->n_damaged, text);
}

static void on_fatal(void *ctx, const char *text)
{
    struct state_fixture *f = ctx;
    note(f, &f->n_fatal, text);
}

static void on_merged(void *ctx)
{
    struct state_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->n_merged++;
    pthread_mutex_unlock(&f->lock);
}

static int meta_pos(const void *meta, size_t len, struct kv_pos *ret_pos)
{
    if (len < META_POS_BYTES)
        return ERR_CORRUPT;
    *ret_pos = (struct kv_pos){bytes_get_be(meta, 8), bytes_get_be((const uint8_t *)meta + 8, 8)};
    return 0;
}

/* ---- setting up ---- */

int state_fixture_setup(void **state)
{
    struct state_fixture *f = mem_zalloc(sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->root, sizeof f->root, "%s/crab-state-XXXXXX",
             tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(f->root))
        return -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    f->options = (struct state_options){.map_bytes = 256 * MIB,
                                        .slice_bytes = 64 * KIB,
                                        .merge_runs = 1,
                                        .retry_ms = 5,
                                        .fatal = on_fatal,
                                        .damaged = on_damaged,
                                        .merged = on_merged,
                                        .step = on_step,
                                        .meta_pos = meta_pos,
                                        .ctx = f};
    f->kill_step = -1;
    f->gen = 1;
    f->value_bytes_max = 12000;
    f->rng.state = 1;
    *state = f;
    if (state_new_generation(f->root, 1, NULL, f->options.map_bytes, &f->reason) != 0)
        return -1;
    fixture_state_open(f);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int state_fixture_teardown(void **state)
{
    struct state_fixture *f = *state;
    state_close(&f->state);
    nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    buf_free(&f->reason);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
    return 0;
}

int fixture_state_try_open(struct state_fixture *f)
{
    buf_clear(&f->reason);
    return state_open(f->root, f->gen, &f->options, &f->state, &f->reason);
}

void fixture_state_open(struct state_fixture *f)
{
    if (fixture_state_try_open(f) != 0)
        fail_msg("open: %s", buf_str(&f->reason));
}

void fixture_state_reopen(struct state_fixture *f)
{
    state_close(&f->state);
    f->killed = false;
    f->kill_step = -1;
    fixture_state_open(f);
}

const char *fixture_state_path(const struct state_fixture *f, const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/state-%u/%s", f->root, (unsigned)f->gen, name);
    return path;
}

/* ---- keys and values ---- */

/* In the order of i; every 50th as long as can be, and none ends in a readable byte. */
const uint8_t *fixture_key(unsigned i, size_t *ret_len)
{
    static _Thread_local uint8_t key[LIMIT_KEY_BYTES];
    memset(key, (int)(i * 7), sizeof key);
    snprintf((char *)key, 9, "key-%04u", i);
    *ret_len = i % 50 == 0 ? sizeof key : 9 + i % 13;
    return key;
}

const uint8_t *fixture_value(uint64_t seed, size_t len)
{
    static uint8_t value[VALUE_BYTES_MAX + 8];
    struct rng rng = {seed};
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = rng_next(&rng);
        memcpy(value + i, &v, 8);
    }
    return value;
}

/* One in three has some, of every length. */
static size_t attrs_of(uint64_t seed, uint8_t out[LIMIT_ATTRS_BYTES])
{
    memset(out, (int)(seed >> 8), LIMIT_ATTRS_BYTES);
    return seed % 3 == 0 ? (size_t)(seed >> 16) % (LIMIT_ATTRS_BYTES + 1) : 0;
}

/* Mostly small; about the sizes where pages and chunks end; and large ones. */
static size_t random_len(struct state_fixture *f)
{
    switch (rng_range(&f->rng, 0, 9)) {
    case 0:
        return 0;
    case 1:
        return (size_t)rng_range(&f->rng, 1900, 4100);
    case 2:
        return (size_t)rng_range(&f->rng, 4040, f->value_bytes_max);
    default:
        return (size_t)rng_range(&f->rng, 1, 200);
    }
}

static void put(struct state_fixture *f, struct run_writer *w, unsigned i, bool deleted, size_t len)
{
    struct model_key *m = &f->model[i];
    struct kv_record r = {.deleted = deleted, .value.revision = f->pos.index};
    uint8_t attrs[LIMIT_ATTRS_BYTES];
    r.key = fixture_key(i, &r.key_len);
    if (deleted) {
        *m = (struct model_key){0};
    } else {
        uint64_t create = m->present ? m->create_revision : f->pos.index;
        *m = (struct model_key){true, rng_next(&f->rng), len, f->pos.index, create, m->version + 1};
        r.value = (struct kv_value){.data = fixture_value(m->seed, len),
                                    .len = len,
                                    .revision = m->revision,
                                    .create_revision = m->create_revision,
                                    .version = m->version,
                                    .attrs = attrs,
                                    .attrs_len = attrs_of(m->seed, attrs)};
    }
    run_writer_put(w, &r);
}

/* ---- runs ---- */

static struct run_writer *begin_run(struct state_fixture *f, const char *path)
{
    struct run_writer *w;
    f->pos.index += 100;
    f->pos.term = f->pos.index / 1000 + 1;
    if (run_writer_new(path, &w, &f->reason) != 0)
        fail_msg("run: %s", buf_str(&f->reason));
    return w;
}

static void end_run(struct state_fixture *f, struct run_writer *w)
{
    f->meta_bytes = META_POS_BYTES + (size_t)rng_range(&f->rng, 0, 9000);
    uint8_t *meta = mem_dup(fixture_value(f->pos.index, f->meta_bytes), f->meta_bytes);
    bytes_put_be(meta, f->pos.term, 8);
    bytes_put_be(meta + 8, f->pos.index, 8);
    if (run_writer_finish(&w, meta, f->meta_bytes, NULL, &f->reason) != 0)
        fail_msg("run: %s", buf_str(&f->reason));
    mem_free(meta);
}

void fixture_write_run(struct state_fixture *f, const char *path, unsigned first, unsigned last,
                       unsigned percent)
{
    struct run_writer *w = begin_run(f, path);
    for (unsigned i = first; i <= last; i++)
        if (rng_range(&f->rng, 0, 99) < percent)
            put(f, w, i, rng_range(&f->rng, 0, 4) == 0, random_len(f));
    end_run(f, w);
}

int fixture_try_add(struct state_fixture *f, unsigned first, unsigned last, unsigned percent)
{
    fixture_write_run(f, state_run_path(f->state), first, last, percent);
    buf_clear(&f->reason);
    return state_add_run(f->state, &f->reason);
}

void fixture_add(struct state_fixture *f, unsigned first, unsigned last, unsigned percent)
{
    if (fixture_try_add(f, first, last, percent) != 0)
        fail_msg("add: %s", buf_str(&f->reason));
}

static void add_one(struct state_fixture *f, unsigned i, bool deleted, size_t len)
{
    struct run_writer *w = begin_run(f, state_run_path(f->state));
    put(f, w, i, deleted, len);
    end_run(f, w);
    if (state_add_run(f->state, &f->reason) != 0)
        fail_msg("add: %s", buf_str(&f->reason));
}

void fixture_add_value(struct state_fixture *f, unsigned i, size_t len)
{
    add_one(f, i, false, len);
}

void fixture_add_tombstone(struct state_fixture *f, unsigned i)
{
    add_one(f, i, true, 0);
}

/* ---- waiting ---- */

/* Fails the test when nothing happens for long: slow machines and sanitizers have their time. */
static void wait_more(struct state_fixture *f)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 120;
    if (pthread_cond_timedwait(&f->more, &f->lock, &deadline) != 0) {
        pthread_mutex_unlock(&f->lock);
        fail_msg("nothing happens: %s", f->text);
    }
}

void fixture_wait_merged(struct state_fixture *f)
{
    pthread_mutex_lock(&f->lock);
    for (;;) {
        bool ends = f->killed || f->n_fatal > 0;
        pthread_mutex_unlock(&f->lock);
        if (ends || state_stats(f->state).n_runs == 0)
            return;
        pthread_mutex_lock(&f->lock);
        if (!f->killed && f->n_fatal == 0) {
            struct timespec soon; /* the last step may have been before the question */
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 10000000;
            soon.tv_sec += soon.tv_nsec / 1000000000;
            soon.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&f->more, &f->lock, &soon);
        }
    }
}

void fixture_wait_steps(struct state_fixture *f, enum state_step step, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (f->n_steps[step] < n)
        wait_more(f);
    pthread_mutex_unlock(&f->lock);
}

/* ---- checking ---- */

static void check_value(unsigned i, const struct model_key *m, const struct kv_value *v)
{
    if (v->len != m->len || v->revision != m->revision || v->version != m->version ||
        v->create_revision != m->create_revision)
        fail_msg("key %u has %zu bytes of revision %lu, not %zu of %lu", i, v->len,
                 (unsigned long)v->revision, m->len, (unsigned long)m->revision);
    if (m->len > 0)
        assert_memory_equal(v->data, fixture_value(m->seed, m->len), m->len);
    uint8_t attrs[LIMIT_ATTRS_BYTES];
    assert_int_equal(v->attrs_len, attrs_of(m->seed, attrs));
    if (v->attrs_len > 0)
        assert_memory_equal(v->attrs, attrs, v->attrs_len);
}

/* Of these keys and those that follow on them, which changes nothing. */
static void prefetch(struct kv_base_view *view, unsigned first)
{
    uint8_t names[KV_PREFETCH_MAX][LIMIT_KEY_BYTES];
    struct kv_bytes keys[KV_PREFETCH_MAX];
    unsigned n = 0;
    for (unsigned i = first; i < MODEL_KEYS && n < KV_PREFETCH_MAX; i++, n++) {
        const uint8_t *key = fixture_key(i, &keys[n].len);
        keys[n].p = memcpy(names[n], key, keys[n].len);
    }
    view->ops->prefetch(view, keys, n);
}

static void check_gets(struct kv_base_view *view, const struct model_key *model)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (i % KV_PREFETCH_MAX == 0)
            prefetch(view, i);
        size_t len;
        struct kv_value v;
        const uint8_t *key = fixture_key(i, &len);
        int err = view->ops->get(view, key, len, &v);
        if (err != (model[i].present ? 0 : ERR_NOT_FOUND))
            fail_msg("get of key %u: %s", i, err_text(err));
        if (model[i].present)
            check_value(i, &model[i], &v);
    }
}

static void check_record(unsigned i, const struct model_key *m, const struct kv_record *r)
{
    size_t len;
    const uint8_t *key = fixture_key(i, &len);
    assert_int_equal(r->key_len, len);
    assert_memory_equal(r->key, key, len);
    check_value(i, m, &r->value);
}

static void check_scan_back(struct kv_base_view *view, const struct model_key *model)
{
    struct kv_cursor *c = view->ops->cursor(view);
    struct kv_record r;
    int err = kv_cursor_below(c, NULL, 0, &r);
    for (unsigned i = MODEL_KEYS; i-- > 0;) {
        if (!model[i].present)
            continue;
        while (!err && r.deleted)
            err = kv_cursor_below(c, r.key, r.key_len, &r);
        if (err)
            fail_msg("scan backwards before key %u: %s", i, err_text(err));
        check_record(i, &model[i], &r);
        err = kv_cursor_below(c, r.key, r.key_len, &r);
    }
    while (!err && r.deleted)
        err = kv_cursor_below(c, r.key, r.key_len, &r);
    assert_int_equal(err, ERR_NOT_FOUND);
    kv_cursor_close(&c);
}

static void check_scan(struct kv_base_view *view, const struct model_key *model)
{
    struct kv_cursor *c = view->ops->cursor(view);
    struct kv_record r;
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (!model[i].present)
            continue;
        while (!err && r.deleted)
            err = kv_cursor_next(c, &r);
        if (err)
            fail_msg("scan before key %u: %s", i, err_text(err));
        check_record(i, &model[i], &r);
        err = kv_cursor_next(c, &r);
    }
    while (!err && r.deleted)
        err = kv_cursor_next(c, &r);
    assert_int_equal(err, ERR_NOT_FOUND);
    kv_cursor_close(&c);
}

void fixture_check_view(struct kv_base_view *view, const struct model_key *model)
{
    check_gets(view, model);
    check_scan(view, model);
    check_scan_back(view, model);
}

void fixture_check(struct state_fixture *f)
{
    struct kv_base *base = state_base(f->state);
    struct kv_base_view *view = base->ops->view(base);
    struct buf meta = BUF_INIT;
    fixture_check_view(view, f->model);
    view->ops->close(view);
    struct kv_pos pos = state_pos(f->state);
    assert_int_equal(pos.index, f->pos.index);
    assert_int_equal(pos.term, f->pos.term);
    assert_int_equal(state_meta(f->state, &meta, &f->reason), 0);
    assert_int_equal(meta.len, f->meta_bytes);
    if (meta.len > META_POS_BYTES)
        assert_memory_equal(meta.data + META_POS_BYTES,
                            fixture_value(f->pos.index, meta.len) + META_POS_BYTES,
                            meta.len - META_POS_BYTES);
    buf_free(&meta);
}
