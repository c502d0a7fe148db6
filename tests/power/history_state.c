/* SPDX-License-Identifier: MIT
 * Histories of the checkpointed state: runs are written and added, merged in
 * slices, the state is closed and opened, and followed by another generation.
 * The merging thread commits a slice only when it is told to, so that runs are
 * added between two slices, and the trace is the same every time.
 */
#include "history.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "record.h"
#include "store/dir.h"
#include "store/run.h"
#include "store/state.h"

#define KEYS_MAX     512
#define META_POS_LEN 16

/* What is typical of a kind. */
struct work {
    const char *name;
    unsigned runs_max, keys, keys_of_run; /* in all, and changed by one run at most */
    unsigned value_max;
    size_t slice_bytes;
    unsigned grants_max;               /* slices merged between two runs */
    unsigned reopen_pc, generation_pc; /* after a run */
};

static const struct work works[] = {
    {"runs", 9, 60, 30, 200, 2000, 6, 10, 0},
    {"merges", 3, 200, 90, 60, 4000, 8, 5, 0},
    {"state values", 5, 12, 6, 20000, 8000, 8, 10, 0},
    {"state reopen", 6, 80, 30, 300, 3000, 5, 70, 0},
    {"generations", 6, 60, 30, 300, 3000, 6, 10, 50},
};
const unsigned history_state_kinds = sizeof works / sizeof works[0];

const char *history_state_kind_name(unsigned kind)
{
    return works[kind].name;
}

struct key {
    bool live;
    uint64_t revision, create_revision, version;
};

struct run {
    struct history *h;
    const struct work *work;
    const char *dir;
    struct rng rng;
    uint64_t gen;
    struct state *state;
    struct expected now;
    struct key keys[KEYS_MAX];

    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned grants; /* slices that may be committed */
    unsigned runs;   /* that are not merged */
    bool is_waiting; /* the merging thread, for a grant */
    bool closing;
};

/* ---- records ---- */

uint64_t history_record_digest(const struct kv_record *r)
{
    const struct kv_value *v = &r->value;
    uint64_t content = (uint64_t)crc32c((uint32_t)v->len, v->data, v->len) << 32 |
                       crc32c((uint32_t)r->key_len, r->key, r->key_len);
    return history_mixed(history_mixed(content, v->revision),
                         history_mixed(v->create_revision, v->version));
}

int history_meta_pos(const void *meta, size_t len, struct kv_pos *ret_pos)
{
    const uint8_t *b = meta;
    if (len < META_POS_LEN)
        return ERR_CORRUPT;
    *ret_pos = (struct kv_pos){bytes_get_be(b, 8), bytes_get_be(b + 8, 8)};
    return 0;
}

/* Key k as it is now; its bytes go into *key and *value. */
static struct kv_record record_of(const struct run *r, unsigned k, struct buf *key,
                                  struct buf *value)
{
    const struct key *is = &r->keys[k];
    struct rng rng = {history_mixed(r->h->seed, history_mixed(k, is->revision))};
    size_t len = (size_t)rng_range(&rng, 0, r->work->value_max);
    buf_clear(key);
    buf_clear(value);
    buf_printf(key, "key-%05u-%.*s", k, (int)(k % 40),
               "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop");
    buf_reserve(value, len + 8);
    for (size_t i = 0; i < len; i += 8)
        bytes_put_be(value->data + i, rng_next(&rng), 8);
    value->len = len;
    struct kv_record record = {.key = key->data, .key_len = key->len, .deleted = !is->live};
    record.value.revision = is->revision;
    if (is->live)
        record.value = (struct kv_value){.data = value->data,
                                         .len = value->len,
                                         .revision = is->revision,
                                         .create_revision = is->create_revision,
                                         .version = is->version};
    return record;
}

static uint64_t digest_of_all(const struct run *r)
{
    struct buf key = BUF_INIT, value = BUF_INIT;
    uint64_t digest = 0;
    for (unsigned k = 0; k < r->work->keys; k++) {
        if (!r->keys[k].live)
            continue;
        struct kv_record record = record_of(r, k, &key, &value);
        digest += history_record_digest(&record);
    }
    buf_free(&key);
    buf_free(&value);
    return digest;
}

/* ---- one run ---- */

static void must(const char *what, int err, struct buf *reason)
{
    if (err)
        history_broken(what, buf_str(reason));
}

static bool percent(struct run *r, unsigned pc)
{
    return rng_range(&r->rng, 0, 99) < pc;
}

/* Every key that is `chosen`, at its newest revision, as a finished file. */
static void write_run(struct run *r, const char *path, const bool chosen[KEYS_MAX])
{
    struct run_writer *w;
    struct buf reason = BUF_INIT, key = BUF_INIT, value = BUF_INIT;
    uint8_t meta[META_POS_LEN + 100];
    memset(meta, (int)r->now.last, sizeof meta);
    bytes_put_be(meta, r->now.hard_state.term, 8);
    bytes_put_be(meta + 8, r->now.last, 8);
    must("run", run_writer_new(path, &w, &reason), &reason);
    for (unsigned k = 0; k < r->work->keys; k++) {
        if (!chosen[k])
            continue;
        struct kv_record record = record_of(r, k, &key, &value);
        int err = run_writer_put(w, &record);
        ASSERT(!err);
    }
    must("run", run_writer_finish(&w, meta, sizeof meta, NULL, &reason), &reason);
    buf_free(&key);
    buf_free(&value);
    buf_free(&reason);
}

static void change_keys(struct run *r, bool chosen[KEYS_MAX])
{
    unsigned n = (unsigned)rng_range(&r->rng, 1, r->work->keys_of_run);
    r->now.last += n;
    r->now.hard_state.term += rng_range(&r->rng, 0, 1);
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (unsigned)rng_range(&r->rng, 0, r->work->keys - 1);
        struct key *is = &r->keys[k];
        bool was_live = is->live;
        chosen[k] = true;
        is->revision = r->now.last - n + 1 + i;
        is->live = !percent(r, 25);
        is->create_revision = was_live ? is->create_revision : is->revision;
        is->version = was_live ? is->version + 1 : 1;
    }
    r->now.digest = digest_of_all(r);
}

static void add_run(struct run *r)
{
    bool chosen[KEYS_MAX] = {false};
    struct buf reason = BUF_INIT;
    change_keys(r, chosen);
    history_add_state(r->h, &r->now);
    record_mark(MARK_BEGUN, r->h->n_states - 1);
    write_run(r, state_run_path(r->state), chosen);
    pthread_mutex_lock(&r->lock);
    r->runs++;
    pthread_mutex_unlock(&r->lock);
    must("add", state_add_run(r->state, &reason), &reason);
    record_mark(MARK_PROMISED, r->h->n_states - 1);
    buf_free(&reason);
}

/* ---- the merging thread's steps ---- */

static int on_step(void *ctx, enum state_step step)
{
    struct run *r = ctx;
    if (step == STATE_STEP_RENAMED || step == STATE_STEP_ADDED)
        return 0; /* on our own thread */
    pthread_mutex_lock(&r->lock);
    if (step == STATE_STEP_COMMIT) {
        r->is_waiting = true;
        pthread_cond_broadcast(&r->more);
        while (r->grants == 0 && !r->closing)
            pthread_cond_wait(&r->more, &r->lock);
        r->grants -= r->grants > 0;
        r->is_waiting = false;
    }
    r->runs -= step == STATE_STEP_DELETED;
    pthread_cond_broadcast(&r->more);
    int err = r->closing ? ERR_SHUTDOWN : 0;
    pthread_mutex_unlock(&r->lock);
    return err;
}

/* Until so many slices were committed, or there is nothing more to merge. */
static void let_merge(struct run *r, unsigned grants)
{
    pthread_mutex_lock(&r->lock);
    r->grants = grants;
    pthread_cond_broadcast(&r->more);
    while (r->runs > 0 && !(r->is_waiting && r->grants == 0))
        pthread_cond_wait(&r->more, &r->lock);
    r->grants = 0;
    pthread_mutex_unlock(&r->lock);
}

static void on_trouble(void *ctx, const char *text)
{
    (void)ctx;
    history_broken("state", text);
}

/* ---- life ---- */

static void open_state(struct run *r)
{
    struct buf reason = BUF_INIT;
    struct state_options options = {.map_bytes = HISTORY_MAP_BYTES,
                                    .slice_bytes = r->work->slice_bytes,
                                    .merge_runs = 1, /* and those that came meanwhile */
                                    .fatal = on_trouble,
                                    .damaged = on_trouble,
                                    .step = on_step,
                                    .meta_pos = history_meta_pos,
                                    .ctx = r};
    must("open", state_open(r->dir, r->gen, &options, &r->state, &reason), &reason);
    r->runs = state_stats(r->state).n_runs;
    r->closing = false;
    state_start(r->state);
    let_merge(r, 0);
    buf_free(&reason);
}

/* As a kill between two slices. */
static void close_state(struct run *r)
{
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_broadcast(&r->more);
    pthread_mutex_unlock(&r->lock);
    state_close(&r->state);
}

/* What a follower does with a snapshot: here of its own content. */
static void next_generation(struct run *r)
{
    bool all[KEYS_MAX];
    struct buf reason = BUF_INIT;
    char path[300];
    for (unsigned k = 0; k < KEYS_MAX; k++)
        all[k] = k < r->work->keys && r->keys[k].live;
    snprintf(path, sizeof path, "%s/snapshot.new", r->dir);
    write_run(r, path, all);
    close_state(r);
    must("generation", state_new_generation(r->dir, r->gen + 1, path, HISTORY_MAP_BYTES, &reason),
         &reason);
    record_mark(MARK_BOOT, ++r->gen);
    must("generation", state_remove_others(r->dir, r->gen, &reason), &reason);
    buf_free(&reason);
    open_state(r);
}

static void begin(struct run *r)
{
    struct buf reason = BUF_INIT;
    history_add_state(r->h, &r->now);
    must("directory", store_dir_make(r->dir, &reason), &reason);
    must("generation", state_new_generation(r->dir, 1, NULL, HISTORY_MAP_BYTES, &reason), &reason);
    r->gen = 1;
    record_mark(MARK_BOOT, r->gen);
    buf_free(&reason);
    open_state(r);
}

void history_state_work(struct history *h, const char *dir)
{
    struct run *r = mem_zalloc(sizeof *r);
    r->h = h;
    r->dir = dir;
    r->work = &works[history_kind_in_group(h->kind)];
    r->rng = (struct rng){h->seed};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    begin(r);
    uint64_t n = rng_range(&r->rng, 2, r->work->runs_max);
    for (uint64_t i = 0; i < n; i++) {
        if (r->runs == STATE_RUNS_MAX)
            let_merge(r, UINT32_MAX);
        add_run(r);
        let_merge(r, percent(r, 15) ? UINT32_MAX
                                    : (unsigned)rng_range(&r->rng, 0, r->work->grants_max));
        if (percent(r, r->work->generation_pc)) {
            next_generation(r);
        } else if (percent(r, r->work->reopen_pc)) {
            close_state(r);
            open_state(r);
        }
    }
    close_state(r);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void history_state_recover(struct history *h, const char *dir, uint64_t gen)
{
    struct run *r = mem_zalloc(sizeof *r);
    struct buf reason = BUF_INIT;
    r->h = h;
    r->dir = dir;
    r->gen = gen ? gen : 1;
    r->work = &works[history_kind_in_group(h->kind)];
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    must("directory", store_dir_make(dir, &reason), &reason);
    if (gen == 0)
        must("generation", state_new_generation(dir, 1, NULL, HISTORY_MAP_BYTES, &reason), &reason);
    record_mark(MARK_BOOT, r->gen);
    must("generation", state_remove_others(dir, r->gen, &reason), &reason);
    open_state(r);
    let_merge(r, UINT32_MAX);
    close_state(r);
    buf_free(&reason);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
