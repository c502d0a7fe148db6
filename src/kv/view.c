/* SPDX-License-Identifier: MIT */
#include "kv/view.h"

#include "base/assert.h"
#include "base/mem.h"
#include "kv/core.h"

struct kv_view {
    uint64_t index;
    struct memtable *active; /* references; the last two may be NULL */
    struct memtable *frozen;
    struct kv_base *base;
    struct kv_base_view *below; /* of base; NULL: not made yet */
    bool lazy;
};

struct kv_view *kv_view_new_lazy(const struct kv *kv)
{
    struct kv_view *v = mem_zalloc(sizeof *v);
    v->index = atomic_load_explicit(&kv->published, memory_order_acquire);
    v->active = memtable_ref(kv->active);
    v->frozen = memtable_ref(kv->frozen);
    v->base = kv->base;
    if (v->base)
        v->base->ops->ref(v->base);
    v->lazy = true;
    return v;
}

/* The base's view is made together with the references: it must not hold what was frozen after the
 * index, nor may a run be missing that has been dropped from the memtables. */
struct kv_view *kv_view_new(const struct kv *kv)
{
    struct kv_view *v = kv_view_new_lazy(kv);
    if (v->base)
        v->below = v->base->ops->view(v->base);
    v->lazy = false;
    return v;
}

void kv_view_keep(struct kv_view *view)
{
    ASSERT(!view->lazy);
    if (view->below)
        view->below->ops->keep(view->below);
}

void kv_view_close(struct kv_view **view)
{
    struct kv_view *v = *view;
    if (!v)
        return;
    if (v->below)
        v->below->ops->close(v->below);
    if (v->base)
        v->base->ops->unref(v->base);
    memtable_unref(&v->active);
    memtable_unref(&v->frozen);
    MEM_FREE(*view);
}

uint64_t kv_view_index(const struct kv_view *view)
{
    return view->index;
}

static int get_below(struct kv_view *v, const void *key, size_t key_len, struct kv_value *ret_value)
{
    if (!v->base)
        return ERR_NOT_FOUND;
    if (!v->below)
        v->below = v->base->ops->view(v->base);
    return v->below->ops->get(v->below, key, key_len, ret_value);
}

int kv_view_get(struct kv_view *view, const void *key, size_t key_len, struct kv_value *ret_value)
{
    struct kv_record r;
    int err = memtable_get(view->active, key, key_len, view->index, &r);
    if (err == ERR_NOT_FOUND && view->frozen)
        err = memtable_get(view->frozen, key, key_len, view->index, &r);
    if (err == ERR_NOT_FOUND)
        return get_below(view, key, key_len, ret_value);
    if (r.deleted)
        return ERR_NOT_FOUND;
    *ret_value = r.value;
    return 0;
}

struct kv_cursor *kv_view_cursor(struct kv_view *view)
{
    ASSERT(!view->lazy);
    struct kv_cursor *sources[3];
    unsigned n = 0;
    sources[n++] = memtable_cursor(view->active, view->index);
    if (view->frozen)
        sources[n++] = memtable_cursor(view->frozen, view->index);
    if (view->below)
        sources[n++] = view->below->ops->cursor(view->below);
    return kv_merge_new(sources, n, false);
}
