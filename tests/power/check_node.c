/* SPDX-License-Identifier: MIT
 * Images of a whole data directory: log, base and checkpointed state must agree,
 * and give every key that was committed.
 */
#include "check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "history_node.h"

struct check {
    const struct history *h;
    const uint64_t *marks;
    char dir[256];
    struct buf *why;
    struct store *store;
    struct kv *kv;
    struct storage_identity identity;
    struct expected found;
    uint64_t first, last; /* states that may be found */
    pthread_mutex_t lock; /* guards what follows, and why while threads run */
    pthread_cond_t more;
    bool written, failed;
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
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

static void close_all(struct check *c)
{
    kv_free(&c->kv);
    store_close(&c->store);
}

static enum check_result open_and_read(struct check *c)
{
    struct store_options options = {.map_bytes = HISTORY_MAP_BYTES,
                                    .journal_bytes = HISTORY_JOURNAL_BYTES,
                                    .fatal = on_trouble,
                                    .damaged = on_trouble,
                                    .ctx = c};
    int err = store_open(c->dir, &options, &c->identity, &c->store, c->why);
    if (!err)
        err = history_node_scan(c->store, false, &c->found, &c->kv, c->why);
    c->found.cluster = c->identity.cluster;
    return err == 0 ? CHECK_RIGHT : CHECK_REFUSED;
}

static bool same(const struct expected *a, const struct expected *b)
{
    return a->base == b->base && a->base_term == b->base_term && a->last == b->last &&
           a->digest == b->digest && a->checkpoint == b->checkpoint && a->records == b->records &&
           a->hard_state.term == b->hard_state.term &&
           a->hard_state.commit == b->hard_state.commit && uuid_equal(a->cluster, b->cluster);
}

static enum check_result compare(struct check *c)
{
    const struct expected *states = c->h->states, *f = &c->found;
    bool is_known = c->marks[MARK_BOOT] > 0 || (history_node_is_restored(c->h) && c->first > 0);
    if (c->identity.boot <= c->marks[MARK_BOOT])
        return wrong(c, "the boot number has been there before");
    if (is_known && (!uuid_equal(c->identity.node, c->h->identity.node) ||
                     c->identity.incarnation != c->h->identity.incarnation))
        return wrong(c, "the node has another identity");
    for (uint64_t i = c->first; i <= c->last; i++)
        if (same(f, &states[i]))
            return CHECK_RIGHT;
    const struct expected *p = &states[c->first];
    buf_printf(c->why,
               "found entries %" PRIu64 " to %" PRIu64 ", state at %" PRIu64 ", commit %" PRIu64
               "; promised %" PRIu64 " to %" PRIu64 ", %" PRIu64 ", %" PRIu64 " (state %" PRIu64
               ", begun %" PRIu64 ")%s%s",
               f->base + 1, f->last, f->checkpoint, f->hard_state.commit, p->base + 1, p->last,
               p->checkpoint, p->hard_state.commit, c->first, c->last,
               f->digest == p->digest ? "" : ", other entries",
               f->records == p->records ? "" : ", other keys");
    return CHECK_WRONG;
}

/* A restore that ended in the middle: what counts is there as a whole, or nothing is. Then it is
 * restored again, or a daemon begins with an empty state in the same place. */
static enum check_result begin_restored(struct check *c, bool begins_anew)
{
    bool is_there = store_exists(c->dir);
    c->first = c->last = !is_there && begins_anew ? 0 : 1;
    if (is_there || begins_anew || history_offline_restore(c->h, c->dir, c->why) == 0)
        return CHECK_RIGHT;
    return wrong(c, " when it was restored again");
}

/* ---- going on ---- */

static void on_written(void *ctx, struct storage_write *w)
{
    struct check *c = ctx;
    storage_write_free(&w);
    pthread_mutex_lock(&c->lock);
    c->written = true;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

/* Appends one entry, in a term of its own. */
static void append(struct check *c)
{
    struct storage_write *w = storage_write_new(1);
    struct storage *storage = store_storage(c->store);
    struct raft_pos pos = {++c->found.hard_state.term, ++c->found.last};
    w->seq = 1;
    w->hard_state = c->found.hard_state;
    w->entries[0] = history_node_entry(c->h, pos);
    c->found.digest += history_entry_digest(w->entries[0]);
    storage->write(storage, w);
    pthread_mutex_lock(&c->lock);
    while (!c->written && !c->failed)
        pthread_cond_wait(&c->more, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

/* Runs that are left begin to be merged meanwhile; the close interrupts that. */
static enum check_result go_on_with(struct check *c)
{
    struct storage_events events = {.written = on_written, .ctx = c};
    store_start(c->store, &events);
    append(c);
    close_all(c);
    if (c->failed)
        return wrong(c, "it cannot go on");
    struct expected expected = c->found;
    if (open_and_read(c) != CHECK_RIGHT)
        return wrong(c, " when it went on");
    if (!same(&c->found, &expected))
        return wrong(c, "what it held when it went on is not there");
    return CHECK_RIGHT;
}

enum check_result check_node(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                             bool go_on, struct buf *why)
{
    struct check c = {.h = h,
                      .marks = marks,
                      .why = why,
                      .first = marks[MARK_PROMISED],
                      .last = marks[MARK_BEGUN],
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .more = PTHREAD_COND_INITIALIZER};
    snprintf(c.dir, sizeof c.dir, "%s/data", dir);
    enum check_result result = CHECK_RIGHT;
    if (history_node_is_restored(h) && marks[MARK_PROMISED] == 0)
        result = begin_restored(&c, go_on);
    if (result == CHECK_RIGHT)
        result = open_and_read(&c);
    if (result == CHECK_RIGHT)
        result = compare(&c);
    if (result == CHECK_RIGHT && go_on)
        result = go_on_with(&c);
    close_all(&c);
    return result;
}
