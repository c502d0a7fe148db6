/* SPDX-License-Identifier: MIT
 * Nothing waits for a timer to fill a batch: while one syncs, the writes of the
 * next gather. They are durable in the journal, and answered then; what that has
 * goes to LMDB when it is due, or when something is asked for that only LMDB can
 * do.
 */
#include "store/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/env.h"
#include "store/space.h"
#include "store/txn.h"

/* Writes merged into one transaction, beyond which the next begins: LMDB keeps
 * its dirty pages in memory. */
#define TXN_BYTES_MAX (32 * MIB)
/* When more than this waits, one commit of LMDB for all of it costs less than to write it twice
 * (measured with batches of 100 Sets). */
#define JOURNAL_BYTES_MAX (128 * KIB)
#define DATA_FILE         "data.mdb"

struct store_thread {
    struct storage storage;    /* first: what the driver holds points here */
    struct store_log *log;     /* borrowed */
    struct store_lanes *lanes; /* borrowed */
    struct store_space *space; /* owned */
    struct store_options options;
    struct storage_events events;
    pthread_t thread;
    bool running; /* of the owner's thread only */
    bool failed;  /* of the storage thread only: answers nothing any more */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct list writes, loads;
    bool stopping;
};

static struct store_thread *of(struct storage *s)
{
    return (struct store_thread *)s;
}

static void push(struct store_thread *t, struct list *queue, struct list *link)
{
    pthread_mutex_lock(&t->lock);
    list_push_back(queue, link);
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&t->lock);
}

static void queue_write(struct storage *s, struct storage_write *w)
{
    push(of(s), &of(s)->writes, &w->link);
}

static void queue_load(struct storage *s, struct storage_load *l)
{
    push(of(s), &of(s)->loads, &l->link);
}

static void queue_job(struct storage *s, struct storage_job *j)
{
    store_lanes_work(of(s)->lanes, j);
}

static void tell_stats(struct storage *s, struct storage_stats *ret_stats)
{
    struct store_thread *t = of(s);
    store_env_space(t->log->env, &ret_stats->log_bytes, &ret_stats->disk_free_bytes);
    ret_stats->log_bytes += store_journal_size(t->log->journal);
    ret_stats->state_bytes = store_lanes_state_bytes(t->lanes);
}

static void ask_space(struct storage *s, struct storage_space *ret_space)
{
    *ret_space = store_space(of(s)->space);
}

static void die(struct store_thread *t, const char *what, const char *file, const char *why)
{
    char text[1024];
    snprintf(text, sizeof text, "cannot %s %s/%s: %s%s%s", what, t->log->path, file, why,
             store_space_is_gone(t->space) ? " (no space is left)" : "", STORE_DIE_REMEDY);
    t->failed = true;
    if (t->options.fatal) {
        t->options.fatal(t->options.ctx, text);
        return;
    }
    LOG_ERROR("%s", text);
    log_stop();
    _exit(1);
}

static void drop(struct list *writes, struct list *loads)
{
    LIST_FOREACH_SAFE (it, next, writes) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        list_remove(it);
        storage_write_free(&w);
    }
    LIST_FOREACH_SAFE (it, next, loads) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        list_remove(it);
        storage_load_free(&l);
    }
}

static size_t write_bytes(const struct storage_write *w)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < w->n_entries; i++)
        bytes += w->entries[i]->len;
    return bytes;
}

/* The generation that the write installs; 0: none. */
static uint64_t installs(struct store_thread *t, const struct storage_write *w)
{
    if (!w->install)
        return 0;
    uint64_t generation = store_lanes_ready(t->lanes, w->install->id);
    ASSERT(generation != 0); /* the core was told that it is complete */
    return generation;
}

static int commit(struct store_thread *t, struct store_txn *txn)
{
    int rc, err = store_txn_commit(txn, &rc);
    if (err)
        die(t, "write", DATA_FILE, mdb_strerror(rc));
    return err;
}

/* Moves what is in the journal into LMDB. */
static int settle(struct store_thread *t)
{
    struct store_txn txn;
    store_txn_begin(&txn, t->log);
    store_txn_settle(&txn);
    return commit(t, &txn);
}

/* Moves writes from the queue into one transaction and commits it, after what is in the journal. */
static int commit_some(struct store_thread *t, struct list *writes, struct list *done)
{
    struct store_txn txn;
    size_t bytes = 0;
    store_txn_begin(&txn, t->log);
    store_txn_settle(&txn);
    do {
        struct list *it = list_pop_front(writes);
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        list_push_back(done, it);
        store_txn_apply(&txn, w, installs(t, w));
        bytes += write_bytes(w);
    } while (!list_is_empty(writes) && bytes < TXN_BYTES_MAX);
    return commit(t, &txn);
}

/* Moves writes from the queue into one batch of the journal and makes it durable. *ret_some: it
 * could take the first one. */
static int journal_some(struct store_thread *t, struct list *writes, struct list *done,
                        bool *ret_some)
{
    struct store_journal *j = t->log->journal;
    LIST_FOREACH_SAFE (it, next, writes) {
        if (!store_journal_add(j, LIST_ENTRY(it, struct storage_write, link)))
            break;
        list_remove(it);
        list_push_back(done, it);
    }
    *ret_some = !list_is_empty(done);
    if (!*ret_some || store_journal_write(j) == 0)
        return 0;
    die(t, "write", STORE_JOURNAL_FILE, strerror(errno));
    return ERR_IO;
}

/* Of writes one after the other. */
static size_t total_bytes(const struct list *writes)
{
    size_t bytes = 0;
    LIST_FOREACH (it, writes)
        bytes += write_bytes(LIST_ENTRY(it, struct storage_write, link));
    return bytes;
}

/* Makes some writes from the queue durable. */
static int write_some(struct store_thread *t, struct list *writes, struct list *done)
{
    bool some = false;
    int err = total_bytes(writes) <= JOURNAL_BYTES_MAX ? journal_some(t, writes, done, &some) : 0;
    return err || some ? err : commit_some(t, writes, done);
}

/* What was committed names the new state. */
static bool switch_state(struct store_thread *t, struct storage_write *w)
{
    struct buf reason = BUF_INIT;
    int err = store_lanes_installed(t->lanes, w, &reason);
    if (err)
        die(t, "go on from the state beside", DATA_FILE, buf_str(&reason));
    buf_free(&reason);
    return err == 0;
}

static void update_space(struct store_thread *t)
{
    struct state_stats state = store_lanes_stats(t->lanes);
    store_space_update(t->space, &state);
}

static void answer(struct store_thread *t, struct list *done)
{
    LIST_FOREACH_SAFE (it, next, done) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        list_remove(it);
        if (w->install && !switch_state(t, w)) {
            storage_write_free(&w);
            continue;
        }
        t->events.written(t->events.ctx, w);
    }
}

static void carry_out_writes(struct store_thread *t, struct list *writes)
{
    while (!list_is_empty(writes) && !t->failed) {
        struct list done;
        list_init(&done);
        if (write_some(t, writes, &done) != 0) {
            list_splice(writes, &done); /* never answered */
            return;
        }
        update_space(t);
        answer(t, &done);
        if (store_journal_is_due(t->log->journal) && settle(t) != 0)
            return;
    }
}

/* LMDB may lack what is to be read. */
static int settle_for(struct store_thread *t, const struct storage_load *l)
{
    uint64_t end = l->first + l->n_max;
    return end > store_journal_first_index(t->log->journal) ? settle(t) : 0;
}

static void carry_out_loads(struct store_thread *t, struct list *loads)
{
    LIST_FOREACH_SAFE (it, next, loads) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        if (t->failed || settle_for(t, l) != 0)
            return;
        int err = store_log_load(t->log, l);
        if (err) { /* a damaged entry is never served (PITFALLS 53) */
            die(t, "read", DATA_FILE, err_text(err));
            return;
        }
        list_remove(it);
        t->events.loaded(t->events.ctx, l);
    }
}

static bool is_idle(const struct store_thread *t)
{
    return list_is_empty(&t->writes) && list_is_empty(&t->loads) && !t->stopping;
}

/* Nothing has come for a while. */
static void idle(struct store_thread *t)
{
    if (!t->failed && store_journal_used(t->log->journal) > 0)
        (void)!settle(t); /* it is told */
    update_space(t);
}

/* With the lock held: waits for work, and uses the time until it comes. */
static void wait_for_work(struct store_thread *t)
{
    struct timespec until;
    while (is_idle(t)) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        if (pthread_cond_timedwait(&t->more, &t->lock, &until) == 0)
            continue;
        pthread_mutex_unlock(&t->lock);
        idle(t);
        pthread_mutex_lock(&t->lock);
    }
}

/* Waits for work and takes all of it. False: stopping, and nothing waits. */
static bool take(struct store_thread *t, struct list *writes, struct list *loads)
{
    pthread_mutex_lock(&t->lock);
    wait_for_work(t);
    list_splice(writes, &t->writes);
    list_splice(loads, &t->loads);
    pthread_mutex_unlock(&t->lock);
    return !list_is_empty(writes) || !list_is_empty(loads);
}

static void *run(void *arg)
{
    struct store_thread *t = arg;
    struct list writes, loads;
    thread_name("log");
    list_init(&writes);
    list_init(&loads);
    while (take(t, &writes, &loads)) {
        carry_out_writes(t, &writes);
        carry_out_loads(t, &loads);
        drop(&writes, &loads); /* what is left after a failure */
    }
    idle(t);
    return NULL;
}

struct store_thread *store_thread_new(struct store_log *log, struct store_lanes *lanes,
                                      const struct store_options *options)
{
    struct store_thread *t = mem_zalloc(sizeof *t);
    t->storage = (struct storage){.write = queue_write,
                                  .load = queue_load,
                                  .work = queue_job,
                                  .stats = tell_stats,
                                  .space = ask_space};
    t->log = log;
    t->lanes = lanes;
    t->options = *options;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->more, &attr);
    pthread_condattr_destroy(&attr);
    t->space = store_space_new(log);
    list_init(&t->writes);
    list_init(&t->loads);
    return t;
}

void store_thread_free(struct store_thread **t)
{
    if (!*t)
        return;
    store_thread_stop(*t);
    drop(&(*t)->writes, &(*t)->loads);
    store_space_free(&(*t)->space);
    pthread_cond_destroy(&(*t)->more);
    pthread_mutex_destroy(&(*t)->lock);
    MEM_FREE(*t);
}

struct storage *store_thread_storage(struct store_thread *t)
{
    return &t->storage;
}

void store_thread_start(struct store_thread *t, const struct storage_events *events)
{
    ASSERT(!t->running);
    t->events = *events;
    t->stopping = false;
    update_space(t);
    int rc = pthread_create(&t->thread, NULL, run, t);
    ASSERT(rc == 0);
    t->running = true;
}

void store_thread_stop(struct store_thread *t)
{
    if (!t->running)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    t->running = false;
}
