/* SPDX-License-Identifier: MIT
 * Images of the log: everything that the store serves is compared with what was written.
 */
#include "check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "raft/snapshot.h"
#include "store/store.h"

#define GO_ON_ENTRIES 3

struct check {
    const struct history *h;
    const uint64_t *marks;
    char dir[256];
    struct buf *why;
    struct store *store;
    struct storage_identity identity;
    uint64_t boot_min;
    /* what was read */
    struct expected found;
    uint64_t last_term;
    unsigned n_hard_states, n_disordered;
    /* going on */
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned answers;
    bool load_is_wrong, failed;
};

static enum check_result wrong(struct check *c, const char *what)
{
    buf_append_str(c->why, what);
    return CHECK_WRONG;
}

/* ---- reading ---- */

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    struct check *c = ctx;
    c->found.hard_state = hs;
    c->n_hard_states++;
}

static int on_base(void *ctx, const struct raft_base *base)
{
    struct check *c = ctx;
    c->found.base = c->found.last = base->pos.index;
    c->found.base_term = c->last_term = base->pos.term;
    return 0;
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    struct check *c = ctx;
    c->n_disordered += e->pos.index != c->found.last + 1 || e->pos.term < c->last_term;
    c->found.last = e->pos.index;
    c->last_term = e->pos.term;
    c->found.digest += history_entry_digest(e);
    return 0;
}

static void on_fatal(void *ctx, const char *text)
{
    struct check *c = ctx;
    pthread_mutex_lock(&c->lock);
    buf_printf(c->why, "%s ", text);
    c->failed = true;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

static enum check_result open_and_read(struct check *c)
{
    struct store_options options = {.map_bytes = HISTORY_MAP_BYTES,
                                    .journal_bytes = HISTORY_JOURNAL_BYTES,
                                    .fatal = on_fatal,
                                    .ctx = c};
    struct store_visitor visitor = {
        .base = on_base, .hard_state = on_hard_state, .entry = on_entry, .ctx = c};
    if (store_open(c->dir, &options, &c->identity, &c->store, c->why) != 0)
        return CHECK_REFUSED;
    c->found = (struct expected){.cluster = c->identity.cluster,
                                 .promised = c->identity.promised,
                                 .contacted = c->identity.contacted,
                                 .outsider = c->identity.outsider};
    c->n_hard_states = 0;
    c->last_term = 0;
    if (store_scan(c->store, &visitor, c->why) != 0)
        return CHECK_REFUSED;
    if (c->n_hard_states != 1 || c->n_disordered > 0)
        return wrong(c, "the log is out of order");
    return CHECK_RIGHT;
}

static bool same_state(const struct expected *a, const struct expected *b)
{
    return a->base == b->base && a->base_term == b->base_term && a->last == b->last &&
           a->digest == b->digest && a->hard_state.term == b->hard_state.term &&
           a->hard_state.commit == b->hard_state.commit &&
           uuid_equal(a->hard_state.vote, b->hard_state.vote) &&
           uuid_equal(a->cluster, b->cluster) && uuid_equal(a->promised, b->promised) &&
           a->contacted == b->contacted && a->outsider == b->outsider;
}

static enum check_result compare(struct check *c)
{
    const struct history *h = c->h;
    uint64_t promised = c->marks[MARK_PROMISED], begun = c->marks[MARK_BEGUN];
    if (c->identity.boot < c->boot_min)
        return wrong(c, "the boot number has been there before");
    if (c->marks[MARK_BOOT] && !(uuid_equal(c->identity.node, h->identity.node) &&
                                 c->identity.incarnation == h->identity.incarnation))
        return wrong(c, "the node has another identity");
    for (uint64_t i = promised; i <= begun; i++)
        if (same_state(&c->found, &h->states[i]))
            return CHECK_RIGHT;
    const struct expected *p = &h->states[promised], *f = &c->found;
    buf_printf(c->why,
               "found entries %" PRIu64 " to %" PRIu64 " and term %" PRIu64 ", commit %" PRIu64
               "; promised %" PRIu64 " to %" PRIu64 ", term %" PRIu64 ", commit %" PRIu64
               " (state %" PRIu64 ", begun %" PRIu64 ")",
               f->base + 1, f->last, f->hard_state.term, f->hard_state.commit, p->base + 1, p->last,
               p->hard_state.term, p->hard_state.commit, promised, begun);
    for (uint64_t i = 0; i < promised; i++)
        if (same_state(f, &h->states[i]))
            buf_printf(c->why, ": this was state %" PRIu64, i);
    return CHECK_WRONG;
}

/* ---- going on ---- */

static void answered(struct check *c, bool right)
{
    pthread_mutex_lock(&c->lock);
    c->answers++;
    c->load_is_wrong |= !right;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

static void on_written(void *ctx, struct storage_write *w)
{
    storage_write_free(&w);
    answered(ctx, true);
}

/* The last entry, and no other. */
static void on_loaded(void *ctx, struct storage_load *l)
{
    struct check *c = ctx;
    uint64_t n = c->found.last > c->found.base ? 1 : 0;
    bool right = l->n_entries == n && (n == 0 || l->entries[0]->pos.index == c->found.last);
    storage_load_free(&l);
    answered(c, right);
}

/* Truncates one entry and appends some: `found` is what must be there then. */
static struct storage_write *next_write(struct check *c)
{
    struct storage_write *w = storage_write_new(GO_ON_ENTRIES);
    if (c->found.last > c->found.base) {
        struct raft_pos last = {c->last_term, c->found.last};
        struct raft_entry *e = history_entry(c->h, last);
        c->found.digest -= history_entry_digest(e);
        raft_entry_unref(&e);
        w->truncate_from = c->found.last--;
    }
    c->found.hard_state.term++;
    w->seq = 1;
    w->hard_state = c->found.hard_state;
    for (unsigned i = 0; i < GO_ON_ENTRIES; i++) {
        struct raft_pos pos = {c->found.hard_state.term, ++c->found.last};
        w->entries[i] = history_entry(c->h, pos);
        c->found.digest += history_entry_digest(w->entries[i]);
    }
    return w;
}

static void ask(struct check *c)
{
    struct storage *storage = store_storage(c->store);
    struct storage_load *l = mem_zalloc(sizeof *l);
    *l = (struct storage_load){.first = c->found.last, .n_max = 5, .bytes_max = 100};
    storage->load(storage, l);
    pthread_mutex_lock(&c->lock);
    while (c->answers < 1 && !c->failed)
        pthread_cond_wait(&c->more, &c->lock);
    pthread_mutex_unlock(&c->lock);
    storage->write(storage, next_write(c));
    pthread_mutex_lock(&c->lock);
    while (c->answers < 2 && !c->failed)
        pthread_cond_wait(&c->more, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static enum check_result go_on_with(struct check *c)
{
    struct storage_events events = {.written = on_written, .loaded = on_loaded, .ctx = c};
    store_start(c->store, &events);
    ask(c);
    store_close(&c->store);
    if (c->failed || c->load_is_wrong)
        return wrong(c, c->failed ? "it cannot go on" : "the last entry was not read back");
    struct expected expected = c->found;
    uint64_t boot = c->identity.boot;
    enum check_result result = open_and_read(c);
    if (result != CHECK_RIGHT)
        return wrong(c, " when it went on");
    if (!same_state(&c->found, &expected) || c->identity.boot != boot + 1)
        return wrong(c, "what it wrote when it went on is not there");
    return CHECK_RIGHT;
}

enum check_result check_image(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                              bool go_on, struct buf *why)
{
    if (history_group(h->kind) == HISTORY_STATE)
        return check_state(h, marks, dir, go_on, why);
    if (history_group(h->kind) == HISTORY_NODE)
        return check_node(h, marks, dir, go_on, why);
    struct check c = {.h = h,
                      .marks = marks,
                      .why = why,
                      .boot_min = marks[MARK_BOOT] + 1,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .more = PTHREAD_COND_INITIALIZER};
    snprintf(c.dir, sizeof c.dir, "%s/data", dir);
    enum check_result result = open_and_read(&c);
    if (result == CHECK_RIGHT)
        result = compare(&c);
    if (result == CHECK_RIGHT && go_on)
        result = go_on_with(&c);
    store_close(&c.store);
    return result;
}
