/* SPDX-License-Identifier: MIT
 * Histories of a data directory as a node uses it: entries appended and
 * applied, checkpoints, the log let go of, snapshots made, received in pieces
 * and installed, reopens. Threads that work in the background pass a gate, so
 * that the trace is the same every time.
 */
#include "history_node.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/view.h"
#include "raft/snapshot.h"
#include "record.h"

#define RUNS_MAX 3 /* that wait to be merged */

/* What is typical of a kind. Percentages of steps; what is left are writes. */
struct work {
    const char *name;
    unsigned steps_max, entries_max, value_max, piece_bytes;
    unsigned checkpoint_pc, purge_pc, install_pc, reopen_pc, refound_pc;
    bool restored; /* it begins with a backup */
};

static const struct work works[] = {
    {"checkpoints", 24, 8, 150, 0, 30, 20, 0, 5, 0, false},
    {"installs", 12, 8, 120, 1500, 15, 10, 30, 5, 0, false},
    {"node values", 12, 3, 12000, 20000, 20, 15, 15, 5, 0, false},
    {"restores", 3, 8, 400, 0, 30, 0, 0, 10, 0, true},
    {"new clusters", 10, 8, 150, 0, 20, 10, 0, 5, 30, false},
};
const unsigned history_node_kinds = sizeof works / sizeof works[0];

const char *history_node_kind_name(unsigned kind)
{
    return works[kind].name;
}

unsigned history_node_value_max(const struct history *h)
{
    return works[history_kind_in_group(h->kind)].value_max;
}

bool history_node_is_restored(const struct history *h)
{
    return history_group(h->kind) == HISTORY_NODE && works[history_kind_in_group(h->kind)].restored;
}

struct run {
    struct history *h;
    const struct work *work;
    const char *dir;
    struct rng rng;
    struct store *store;
    struct kv *kv;    /* over the store */
    struct kv *model; /* the same in memory, ever: what was committed */
    struct expected now;
    uint64_t terms[HISTORY_NODE_TERMS_MAX]; /* by index */
    uint64_t seq, snapshot_id;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct storage_write *written;
    struct storage_job *worked;
    unsigned runs; /* files in use */
    unsigned generations_removed, snapshots_removed;
};

static void must(const char *what, int err, struct buf *reason)
{
    if (err)
        history_broken(what, reason && reason->len ? buf_str(reason) : err_text(err));
}

static bool percent(struct run *r, unsigned pc)
{
    return rng_range(&r->rng, 0, 99) < pc;
}

/* ---- the store's threads ---- */

static void on_fatal(void *ctx, const char *text)
{
    (void)ctx;
    history_broken("fatal", text);
}

static void on_written(void *ctx, struct storage_write *w)
{
    struct run *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->written = w;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

static void on_loaded(void *ctx, struct storage_load *l)
{
    (void)ctx;
    storage_load_free(&l);
}

static void on_worked(void *ctx, struct storage_job *j)
{
    struct run *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->worked = j;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

/* The storage's own end of what it does in the background shows in the files only. */
static void on_op(void *ctx, const struct trace_op *op)
{
    struct run *r = ctx;
    bool removes = op->kind == TRACE_REMOVE;
    if (!removes && op->kind != TRACE_RENAME)
        return;
    pthread_mutex_lock(&r->lock);
    if (strncmp(op->name, "run-", 4) == 0)
        r->runs += removes ? -1u : 1;
    else if (removes && strncmp(op->name, "state-", 6) == 0)
        r->generations_removed++;
    else if (removes && strlen(op->name) == 16) /* a snapshot's id */
        r->snapshots_removed++;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

/* The step that was begun as the newest state is durable, says the store. */
static void begin_step(struct run *r)
{
    int err = history_node_digest(r->model, &r->now.records);
    must("model", err, NULL);
    history_add_state(r->h, &r->now);
    record_mark(MARK_BEGUN, r->h->n_states - 1);
}

static void end_step(struct run *r)
{
    record_mark(MARK_PROMISED, r->h->n_states - 1);
}

/* Hands it in and waits for it; the caller frees it. */
static struct storage_write *write_now(struct run *r, struct storage_write *w)
{
    struct storage *storage = store_storage(r->store);
    w->seq = ++r->seq;
    w->hard_state = r->now.hard_state;
    storage->write(storage, w);
    pthread_mutex_lock(&r->lock);
    while (!r->written)
        pthread_cond_wait(&r->more, &r->lock);
    w = r->written;
    r->written = NULL;
    pthread_mutex_unlock(&r->lock);
    return w;
}

static struct storage_job *work_now(struct run *r, struct storage_job *j)
{
    struct storage *storage = store_storage(r->store);
    storage->work(storage, j);
    pthread_mutex_lock(&r->lock);
    while (!r->worked)
        pthread_cond_wait(&r->more, &r->lock);
    j = r->worked;
    r->worked = NULL;
    pthread_mutex_unlock(&r->lock);
    must("job", j->err, NULL);
    return j;
}

static void wait_while(struct run *r, const unsigned *counter, unsigned value_to_leave)
{
    pthread_mutex_lock(&r->lock);
    while (*counter == value_to_leave)
        pthread_cond_wait(&r->more, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void let_merge(struct run *r)
{
    record_hold(0);
    pthread_mutex_lock(&r->lock);
    while (r->runs > 0)
        pthread_cond_wait(&r->more, &r->lock);
    pthread_mutex_unlock(&r->lock);
    record_hold(RECORD_HOLD_MERGES | RECORD_HOLD_REMOVALS);
}

/* ---- steps ---- */

static void apply_upto(struct run *r, struct kv *kv, uint64_t index)
{
    for (uint64_t i = kv_applied(kv).index + 1; i <= index; i++) {
        struct raft_entry *e = history_node_entry(r->h, (struct raft_pos){r->terms[i], i});
        must("apply", history_node_apply(kv, e), NULL);
        raft_entry_unref(&e);
    }
    kv_end_batch(kv);
}

static uint64_t entry_digest_at(const struct run *r, uint64_t index)
{
    struct raft_entry *e = history_node_entry(r->h, (struct raft_pos){r->terms[index], index});
    uint64_t digest = history_entry_digest(e);
    raft_entry_unref(&e);
    return digest;
}

static void append_step(struct run *r)
{
    struct raft_hard_state *hs = &r->now.hard_state;
    unsigned n = (unsigned)rng_range(&r->rng, 1, r->work->entries_max);
    struct storage_write *w = storage_write_new(n);
    if (r->now.last > hs->commit && percent(r, 30)) {
        hs->term++;
        w->truncate_from = rng_range(&r->rng, hs->commit + 1, r->now.last);
        for (; r->now.last >= w->truncate_from; r->now.last--)
            r->now.digest -= entry_digest_at(r, r->now.last);
    }
    for (unsigned i = 0; i < n; i++) {
        struct raft_pos pos = {hs->term, ++r->now.last};
        ASSERT(pos.index < HISTORY_NODE_TERMS_MAX);
        r->terms[pos.index] = pos.term;
        w->entries[i] = history_node_entry(r->h, pos);
        r->now.digest += history_entry_digest(w->entries[i]);
    }
    hs->commit = rng_range(&r->rng, hs->commit, r->now.last);
    apply_upto(r, r->model, hs->commit);
    begin_step(r);
    w = write_now(r, w);
    end_step(r);
    storage_write_free(&w);
    apply_upto(r, r->kv, hs->commit);
}

static void checkpoint_step(struct run *r)
{
    struct storage_job *j = storage_job_new(STORAGE_CHECKPOINT, 0);
    kv_meta(r->kv, &j->meta);
    must("freeze", kv_freeze(r->kv, &j->frozen), NULL);
    r->now.checkpoint = j->frozen->applied.index;
    begin_step(r);
    j = work_now(r, j);
    end_step(r);
    kv_drop_frozen(r->kv, &j->frozen);
    storage_job_free(&j);
    if (r->runs >= RUNS_MAX || percent(r, 50))
        let_merge(r);
}

static struct raft_base base_at(const struct run *r, uint64_t index)
{
    return history_node_base((struct raft_pos){r->terms[index], index},
                             (struct raft_pos){r->terms[1], 1});
}

static void begin_after(struct run *r, struct storage_write *w, uint64_t index)
{
    struct raft_base base = base_at(r, index);
    w->base = mem_dup(&base, sizeof base);
    r->now.base = index;
    r->now.base_term = base.pos.term;
}

static void purge_step(struct run *r)
{
    struct storage_write *w = storage_write_new(0);
    uint64_t to = rng_range(&r->rng, r->now.base + 1, r->now.checkpoint);
    for (uint64_t i = r->now.base + 1; i <= to; i++)
        r->now.digest -= entry_digest_at(r, i);
    begin_after(r, w, to);
    begin_step(r);
    w = write_now(r, w);
    end_step(r);
    storage_write_free(&w);
}

/* ---- snapshots ---- */

/* Of the model, as a leader has it, in this node's own directory. */
static struct raft_snapshot *make_snapshot(struct run *r, uint64_t index)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, ++r->snapshot_id);
    j->view = kv_view_new(r->model);
    kv_meta(r->model, &j->meta);
    j = work_now(r, j);
    struct raft_snapshot s = {
        .id = r->snapshot_id, .base = base_at(r, index), .size = j->size, .digest = j->digest};
    storage_job_free(&j);
    return raft_snapshot_new(&s);
}

/* Piece after piece from the made one to the received one, up to this offset. */
static void receive(struct run *r, const struct raft_snapshot *s, uint64_t id, uint64_t upto)
{
    for (uint64_t at = 0; at < upto;) {
        struct storage_job *from = storage_job_new(STORAGE_SNAPSHOT_READ, s->id);
        struct storage_job *to = storage_job_new(STORAGE_SNAPSHOT_WRITE, id);
        uint64_t left = upto - at;
        from->offset = to->offset = at;
        from->len = (uint32_t)(left < r->work->piece_bytes ? left : r->work->piece_bytes);
        from = work_now(r, from);
        buf_append(&to->data, from->data.data, from->data.len);
        to->size = s->size;
        to->digest = s->digest;
        at += from->data.len;
        to = work_now(r, to);
        storage_job_free(&from);
        storage_job_free(&to);
    }
}

static void drop(struct run *r, uint64_t id)
{
    struct storage *storage = store_storage(r->store);
    pthread_mutex_lock(&r->lock);
    unsigned before = r->snapshots_removed;
    pthread_mutex_unlock(&r->lock);
    storage->work(storage, storage_job_new(STORAGE_SNAPSHOT_DROP, id));
    wait_while(r, &r->snapshots_removed, before);
}

/* The log is emptied and the state replaced, in one transaction (PITFALLS 25). */
static void install(struct run *r, const struct raft_snapshot *made, uint64_t id)
{
    struct raft_snapshot received = *made;
    struct storage_write *w = storage_write_new(0);
    uint64_t index = made->base.pos.index;
    received.id = id;
    w->install = raft_snapshot_new(&received);
    begin_after(r, w, index);
    r->now.last = r->now.checkpoint = r->now.hard_state.commit = index;
    r->now.digest = 0;
    pthread_mutex_lock(&r->lock);
    unsigned before = r->generations_removed;
    pthread_mutex_unlock(&r->lock);
    begin_step(r);
    w = write_now(r, w);
    end_step(r);
    must("install", kv_install(r->kv, w->meta.data, w->meta.len, w->state), NULL);
    storage_write_free(&w);
    record_hold(RECORD_HOLD_MERGES);
    wait_while(r, &r->generations_removed, before);
    record_hold(RECORD_HOLD_MERGES | RECORD_HOLD_REMOVALS);
}

/* Another leader went on from what was committed; what else is in the log conflicts. */
static void install_step(struct run *r)
{
    struct raft_hard_state *hs = &r->now.hard_state;
    uint64_t index = hs->commit + rng_range(&r->rng, 1, 12);
    ASSERT(index < HISTORY_NODE_TERMS_MAX);
    let_merge(r);
    hs->term++;
    for (uint64_t i = hs->commit + 1; i <= index; i++)
        r->terms[i] = hs->term;
    /* The model is ahead of what is committed here until it is installed: no step comes between. */
    apply_upto(r, r->model, index);
    struct raft_snapshot *s = make_snapshot(r, index);
    if (percent(r, 30)) /* the leader is lost, another one begins anew */
        receive(r, s, ++r->snapshot_id, s->size / 2 + 1);
    uint64_t id = ++r->snapshot_id;
    receive(r, s, id, s->size);
    install(r, s, id);
    drop(r, s->id);
    raft_snapshot_unref(&s);
    if (percent(r, 50))
        let_merge(r);
}

/* ---- life ---- */

static void open_store(struct run *r)
{
    struct store_options options = {
        .map_bytes = HISTORY_MAP_BYTES, .journal_bytes = HISTORY_JOURNAL_BYTES, .fatal = on_fatal};
    struct storage_events events = {
        .written = on_written, .loaded = on_loaded, .worked = on_worked, .ctx = r};
    struct buf reason = BUF_INIT;
    struct expected found;
    must("open", store_open(r->dir, &options, &r->h->identity, &r->store, &reason), &reason);
    record_mark(MARK_BOOT, r->h->identity.boot);
    must("scan", history_node_scan(r->store, false, &found, &r->kv, &reason), &reason);
    record_hold(RECORD_HOLD_MERGES | RECORD_HOLD_REMOVALS);
    store_start(r->store, &events);
    buf_free(&reason);
}

static void close_store(struct run *r)
{
    let_merge(r);
    record_hold(0);
    kv_free(&r->kv);
    store_close(&r->store);
}

/* The model is where the node is that begins a cluster of its own. */
static void move_model(struct run *r, struct raft_pos to)
{
    ASSERT(to.index < HISTORY_NODE_TERMS_MAX);
    for (uint64_t i = kv_applied(r->model).index + 1; i <= to.index; i++)
        r->terms[i] = to.term;
    kv_apply_members(r->model, (struct kv_pos){to.term, to.index}, &history_node_member, 1);
    kv_end_batch(r->model);
}

/* Everything in the log counts as committed. */
static void refound_step(struct run *r)
{
    uint64_t records;
    close_store(r);
    apply_upto(r, r->model, r->now.last);
    if (!history_offline_refound(r->h, r->dir, &r->now))
        history_broken("refound", "there is no entry");
    move_model(r, (struct raft_pos){r->now.base_term, r->now.base});
    must("model", history_node_digest(r->model, &records), NULL);
    if (records != r->now.records)
        history_broken("refound", "other keys than the model's");
    open_store(r);
}

/* The data directory is made of a backup. */
static void restore_step(struct run *r)
{
    struct buf reason = BUF_INIT;
    struct raft_pos pos = {rng_range(&r->rng, 1, 3), rng_range(&r->rng, 1, 50)};
    for (uint64_t i = 1; i <= pos.index; i++)
        r->terms[i] = pos.term;
    apply_upto(r, r->model, pos.index);
    history_offline_backup(r->h, r->model);
    pos.index += HISTORY_OFFLINE_SKIP;
    move_model(r, pos);
    r->now = history_offline_state(pos, 0, r->h->identity.cluster);
    begin_step(r);
    must("restore", history_offline_restore(r->h, r->dir, &reason), &reason);
    end_step(r);
    buf_free(&reason);
}

static void step(struct run *r)
{
    uint64_t dice = rng_range(&r->rng, 0, 99);
    const struct work *k = r->work;
    if (dice < k->checkpoint_pc && kv_applied(r->kv).index > r->now.checkpoint) {
        checkpoint_step(r);
    } else if (dice < k->checkpoint_pc + k->purge_pc && r->now.checkpoint > r->now.base) {
        purge_step(r);
    } else if (dice >= 100 - k->install_pc) {
        install_step(r);
    } else if (dice >= 100 - k->install_pc - k->reopen_pc) {
        close_store(r);
        open_store(r);
    } else if (dice >= 100 - k->install_pc - k->reopen_pc - k->refound_pc) {
        refound_step(r);
    } else {
        append_step(r);
    }
}

void history_node_work(struct history *h, const char *dir)
{
    struct run *r = mem_zalloc(sizeof *r);
    r->h = h;
    r->dir = dir;
    r->work = &works[history_kind_in_group(h->kind)];
    r->rng = (struct rng){h->seed};
    r->model = kv_new();
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    h->watch = on_op;
    h->watch_ctx = r;
    history_add_state(h, &r->now);
    if (r->work->restored)
        restore_step(r);
    else
        r->now.hard_state.term = 1;
    open_store(r);
    uint64_t n = rng_range(&r->rng, (r->work->steps_max + 1) / 2, r->work->steps_max);
    append_step(r);
    for (uint64_t i = 1; i < n; i++)
        step(r);
    close_store(r);
    h->watch = NULL;
    kv_free(&r->model);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void history_node_recover(struct history *h, const char *dir, const uint64_t marks[MARKS])
{
    const struct work *work = &works[history_kind_in_group(h->kind)];
    struct buf reason = BUF_INIT;
    struct expected ignored;
    if (work->restored && !store_exists(dir)) {
        record_mark(MARK_BEGUN, 1);
        must("restore after a loss", history_offline_restore(h, dir, &reason), &reason);
        record_mark(MARK_PROMISED, 1);
    } else if (work->refound_pc > 0) {
        h->n_states = marks[MARK_BEGUN] + 1; /* those after it will never be */
        history_offline_refound(h, dir, &ignored);
    } else {
        history_log_recover(h, dir);
    }
    buf_free(&reason);
}
