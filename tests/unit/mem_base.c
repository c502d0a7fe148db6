/* SPDX-License-Identifier: MIT */
#include "mem_base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* Records in key order, never changed; shared by the base and its views. */
struct generation {
    atomic_uint n_refs;
    size_t n, cap;
    struct kv_record *records; /* keys and values owned */
};

struct mem_base {
    struct kv_base base; /* first */
    atomic_uint n_refs;
    atomic_uint n_views, n_gets, n_kept, epoch;
    atomic_int fail;
    pthread_mutex_t lock; /* of current */
    struct generation *current;
};

struct view {
    struct kv_base_view view; /* first */
    struct mem_base *base;    /* a reference */
    struct generation *generation;
    unsigned epoch;
    bool is_kept;
    void *lent; /* the value of the last get */
};

struct cursor {
    struct kv_cursor cursor; /* first */
    struct view *view;
    size_t at;
    struct kv_record lent; /* key and value owned */
};

/* ---- generations ---- */

static struct generation *generation_new(void)
{
    struct generation *g = mem_zalloc(sizeof *g);
    atomic_init(&g->n_refs, 1);
    return g;
}

/* Attributes behind the value, in the same memory. */
static void value_dup(struct kv_value *value)
{
    uint8_t *copy = mem_alloc(value->len + value->attrs_len + 1);
    if (value->len)
        memcpy(copy, value->data, value->len);
    if (value->attrs_len)
        memcpy(copy + value->len, value->attrs, value->attrs_len);
    value->data = copy;
    value->attrs = copy + value->len;
}

static struct kv_record record_dup(const struct kv_record *r)
{
    struct kv_record copy = *r;
    copy.key = mem_dup(r->key, r->key_len);
    value_dup(&copy.value);
    return copy;
}

static void record_free(struct kv_record *r)
{
    mem_free((void *)(uintptr_t)r->key);
    mem_free((void *)(uintptr_t)r->value.data);
    *r = (struct kv_record){0};
}

static void generation_unref(struct generation *g)
{
    if (atomic_fetch_sub(&g->n_refs, 1) > 1)
        return;
    for (size_t i = 0; i < g->n; i++)
        record_free(&g->records[i]);
    mem_free(g->records);
    mem_free(g);
}

static int compare(const struct kv_record *r, const void *key, size_t len)
{
    size_t n_common = r->key_len < len ? r->key_len : len;
    int order = n_common ? memcmp(r->key, key, n_common) : 0;
    return order ? order : (r->key_len > len) - (r->key_len < len);
}

static size_t first_not_below(const struct generation *g, const void *key, size_t len)
{
    size_t lo = 0, hi = g->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare(&g->records[mid], key, len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void generation_append(struct generation *g, const struct kv_record *r)
{
    ASSERT(g->n == 0 || compare(&g->records[g->n - 1], r->key, r->key_len) < 0);
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 64;
        g->records = mem_realloc(g->records, g->cap * sizeof *g->records);
    }
    g->records[g->n++] = record_dup(r);
}

/* ---- views ---- */

static int view_error(const struct view *v)
{
    if (!v->is_kept && atomic_load(&v->base->epoch) != v->epoch)
        return ERR_TIMEOUT;
    return atomic_load(&v->base->fail);
}

static int view_get(struct kv_base_view *view, const void *key, size_t len,
                    struct kv_value *ret_value)
{
    struct view *v = (struct view *)view;
    const struct generation *g = v->generation;
    atomic_fetch_add(&v->base->n_gets, 1);
    MEM_FREE(v->lent);
    if (view_error(v))
        return view_error(v);
    size_t i = first_not_below(g, key, len);
    if (i == g->n || compare(&g->records[i], key, len) != 0)
        return ERR_NOT_FOUND;
    *ret_value = g->records[i].value;
    value_dup(ret_value);
    v->lent = (void *)(uintptr_t)ret_value->data;
    return 0;
}

static void view_prefetch(struct kv_base_view *view, const struct kv_bytes keys[], unsigned n)
{
    struct view *v = (struct view *)view;
    ASSERT(n <= KV_PREFETCH_MAX);
    for (unsigned i = 0; i < n; i++)
        (void)first_not_below(v->generation, keys[i].p, keys[i].len);
}

static void view_close(struct kv_base_view *view)
{
    struct view *v = (struct view *)view;
    atomic_fetch_sub(&v->base->n_views, 1);
    generation_unref(v->generation);
    v->base->base.ops->unref(&v->base->base);
    mem_free(v->lent);
    mem_free(v);
}

/* ---- cursors ---- */

static int cursor_give(struct cursor *c, struct kv_record *ret_record)
{
    const struct generation *g = c->view->generation;
    record_free(&c->lent);
    if (view_error(c->view))
        return view_error(c->view);
    if (c->at == g->n)
        return ERR_NOT_FOUND;
    c->lent = record_dup(&g->records[c->at]);
    *ret_record = c->lent;
    return 0;
}

static int cursor_seek(struct kv_cursor *cursor, const void *key, size_t len,
                       struct kv_record *ret_record)
{
    struct cursor *c = (struct cursor *)cursor;
    c->at = first_not_below(c->view->generation, key, len);
    return cursor_give(c, ret_record);
}

static int cursor_next(struct kv_cursor *cursor, struct kv_record *ret_record)
{
    struct cursor *c = (struct cursor *)cursor;
    c->at += c->at < c->view->generation->n;
    return cursor_give(c, ret_record);
}

static int cursor_below(struct kv_cursor *cursor, const void *key, size_t len,
                        struct kv_record *ret_record)
{
    struct cursor *c = (struct cursor *)cursor;
    const struct generation *g = c->view->generation;
    size_t i = len ? first_not_below(g, key, len) : g->n;
    c->at = i > 0 ? i - 1 : g->n;
    return cursor_give(c, ret_record);
}

static void cursor_close(struct kv_cursor *cursor)
{
    record_free(&((struct cursor *)cursor)->lent);
    mem_free(cursor);
}

static struct kv_cursor *view_cursor(struct kv_base_view *view)
{
    static const struct kv_cursor_ops ops = {cursor_seek, cursor_next, cursor_below, cursor_close};
    struct cursor *c = mem_zalloc(sizeof *c);
    c->cursor.ops = &ops;
    c->view = (struct view *)view;
    return &c->cursor;
}

static void view_keep(struct kv_base_view *view)
{
    struct view *v = (struct view *)view;
    v->is_kept = true;
    atomic_fetch_add(&v->base->n_kept, 1);
}

/* ---- the base ---- */

static void base_ref(struct kv_base *base)
{
    atomic_fetch_add(&((struct mem_base *)base)->n_refs, 1);
}

static void base_unref(struct kv_base *base)
{
    struct mem_base *b = (struct mem_base *)base;
    if (atomic_fetch_sub(&b->n_refs, 1) > 1)
        return;
    ASSERT(atomic_load(&b->n_views) == 0);
    generation_unref(b->current);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

static struct kv_base_view *base_view(struct kv_base *base)
{
    static const struct kv_base_view_ops ops = {view_get, view_prefetch, view_cursor, view_keep,
                                                view_close};
    struct mem_base *b = (struct mem_base *)base;
    struct view *v = mem_zalloc(sizeof *v);
    v->view.ops = &ops;
    v->base = b;
    v->epoch = atomic_load(&b->epoch);
    base_ref(base);
    atomic_fetch_add(&b->n_views, 1);
    pthread_mutex_lock(&b->lock);
    v->generation = b->current;
    atomic_fetch_add(&v->generation->n_refs, 1);
    pthread_mutex_unlock(&b->lock);
    return &v->view;
}

struct kv_base *mem_base_new(void)
{
    static const struct kv_base_ops ops = {base_ref, base_unref, base_view};
    struct mem_base *b = mem_zalloc(sizeof *b);
    b->base.ops = &ops;
    atomic_init(&b->n_refs, 1);
    ASSERT(pthread_mutex_init(&b->lock, NULL) == 0);
    b->current = generation_new();
    return &b->base;
}

void mem_base_add_run(struct kv_base *base, struct kv_cursor **run)
{
    struct mem_base *b = (struct mem_base *)base;
    struct kv_base_view *view = base_view(base);
    struct kv_cursor *sources[] = {*run, view_cursor(view)};
    struct kv_cursor *merged = kv_merge_new(sources, 2, false);
    struct generation *next = generation_new(), *old;
    struct kv_record r;
    int err = kv_cursor_seek(merged, NULL, 0, &r);
    for (; err == 0; err = kv_cursor_next(merged, &r))
        generation_append(next, &r);
    ASSERT(err == ERR_NOT_FOUND);
    kv_cursor_close(&merged);
    view->ops->close(view);
    *run = NULL;
    pthread_mutex_lock(&b->lock);
    old = b->current;
    b->current = next;
    pthread_mutex_unlock(&b->lock);
    generation_unref(old);
}

void mem_base_fail(struct kv_base *base, int err)
{
    atomic_store(&((struct mem_base *)base)->fail, err);
}

void mem_base_expire_views(struct kv_base *base)
{
    atomic_fetch_add(&((struct mem_base *)base)->epoch, 1);
}

size_t mem_base_n_records(struct kv_base *base)
{
    struct mem_base *b = (struct mem_base *)base;
    pthread_mutex_lock(&b->lock);
    size_t n = b->current->n;
    pthread_mutex_unlock(&b->lock);
    return n;
}

unsigned mem_base_n_views(struct kv_base *base)
{
    return atomic_load(&((struct mem_base *)base)->n_views);
}

unsigned mem_base_n_gets(struct kv_base *base)
{
    return atomic_load(&((struct mem_base *)base)->n_gets);
}

unsigned mem_base_n_kept(struct kv_base *base)
{
    return atomic_load(&((struct mem_base *)base)->n_kept);
}
