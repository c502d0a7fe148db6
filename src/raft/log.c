/* SPDX-License-Identifier: MIT
 * Term runs, the cached tail, pending persist records.
 */
#include "raft/log.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/array.h"

/* Entries from `first` on, up to the next run, are of this term. */
struct run {
    uint64_t first;
    uint64_t term;
};

struct pending {
    uint64_t seq;
    uint64_t last; /* index durable with this record; lowered by truncation */
};

struct raft_log {
    struct raft_pos base;
    uint64_t last; /* index */
    struct {
        struct run *items;
        size_t n, cap;
    } runs;
    struct {
        struct pending *items;
        size_t n, cap;
    } pending;

    struct raft_entry **cache; /* the entries [last + 1 - n_cached, last], from cache_head on */
    size_t cache_head, n_cached, cache_cap;
    size_t cache_bytes;

    uint64_t durable;       /* index */
    uint64_t handed;        /* index: [.., handed] is on disk or in a persist record */
    uint64_t truncate_from; /* for the next record; 0: nothing */
};

struct raft_log *raft_log_new(void)
{
    return mem_zalloc(sizeof(struct raft_log));
}

void raft_log_free(struct raft_log **l)
{
    struct raft_log *mine = *l;
    *l = NULL;
    if (!mine)
        return;
    for (size_t i = 0; i < mine->n_cached; i++)
        raft_entry_unref(&mine->cache[mine->cache_head + i]);
    mem_free(mine->cache);
    mem_free(mine->runs.items);
    mem_free(mine->pending.items);
    mem_free(mine);
}

void raft_log_set_base(struct raft_log *l, struct raft_pos base)
{
    ASSERT(l->last == l->base.index);
    l->base = base;
    l->last = l->durable = l->handed = base.index;
}

/* The number of runs that begin at or before index: the one it is in is the last of them. */
static size_t runs_upto(const struct raft_log *l, uint64_t index)
{
    size_t lo = 0, hi = l->runs.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->runs.items[mid].first <= index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void drop_first_cached(struct raft_log *l)
{
    struct raft_entry **e = &l->cache[l->cache_head++];
    l->n_cached--;
    l->cache_bytes -= raft_log_entry_bytes(*e);
    raft_entry_unref(e);
}

void raft_log_compact(struct raft_log *l, uint64_t index)
{
    ASSERT(index >= l->base.index && index <= l->durable);
    uint64_t term;
    int rc = raft_log_term(l, index, &term);
    ASSERT(rc == 0);
    while (l->n_cached > 0 && raft_log_cached_from(l) <= index)
        drop_first_cached(l);
    size_t n = runs_upto(l, index + 1); /* the last of them is the one that goes on after index */
    size_t gone = index < l->last ? n - 1 : n;
    l->runs.n -= gone;
    if (gone > 0)
        memmove(l->runs.items, l->runs.items + gone, l->runs.n * sizeof *l->runs.items);
    if (l->runs.n > 0 && l->runs.items[0].first <= index)
        l->runs.items[0].first = index + 1;
    l->base = (struct raft_pos){term, index};
}

void raft_log_reset(struct raft_log *l, struct raft_pos base)
{
    while (l->n_cached > 0)
        drop_first_cached(l);
    l->runs.n = 0;
    for (size_t i = 0; i < l->pending.n; i++)
        l->pending.items[i].last = 0;
    l->durable = 0;
    l->truncate_from = 0;
    l->base = base;
    l->last = l->handed = base.index;
}

struct raft_pos raft_log_base(const struct raft_log *l)
{
    return l->base;
}

struct raft_pos raft_log_last(const struct raft_log *l)
{
    if (l->runs.n == 0)
        return l->base;
    return (struct raft_pos){l->runs.items[l->runs.n - 1].term, l->last};
}

int raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *ret_term)
{
    if (index < l->base.index || index > l->last)
        return ERR_NOT_FOUND;
    size_t n = runs_upto(l, index);
    *ret_term = n == 0 ? l->base.term : l->runs.items[n - 1].term;
    return 0;
}

bool raft_log_has(const struct raft_log *l, struct raft_pos pos)
{
    uint64_t term;
    return raft_log_term(l, pos.index, &term) == 0 && term == pos.term;
}

struct raft_pos raft_log_find_term(const struct raft_log *l, uint64_t index, uint64_t term)
{
    if (index > l->last)
        index = l->last;
    for (size_t n = runs_upto(l, index); n > 0; n--) {
        const struct run *run = &l->runs.items[n - 1];
        if (run->term <= term)
            return (struct raft_pos){run->term, index};
        index = run->first - 1;
    }
    return l->base;
}

size_t raft_log_entry_bytes(const struct raft_entry *e)
{
    return sizeof *e + e->len;
}

/* Room for one more at the end: moves to the front when half is unused there. */
static void cache_reserve(struct raft_log *l)
{
    if (l->cache_head + l->n_cached < l->cache_cap)
        return;
    if (l->cache_head >= l->cache_cap / 2 && l->cache_head > 0) {
        memmove(l->cache, l->cache + l->cache_head, l->n_cached * sizeof *l->cache);
        l->cache_head = 0;
        return;
    }
    l->cache = raft_array_grow(l->cache, l->cache_cap, &l->cache_cap, sizeof *l->cache);
}

void raft_log_append(struct raft_log *l, struct raft_entry *e)
{
    struct raft_pos last = raft_log_last(l);
    ASSERT(e->pos.index == l->last + 1);
    ASSERT(e->pos.term >= last.term);
    if (l->runs.n == 0 || e->pos.term != last.term)
        RAFT_ARRAY_PUSH(&l->runs, ((struct run){e->pos.index, e->pos.term}));
    cache_reserve(l);
    l->cache[l->cache_head + l->n_cached++] = raft_entry_ref(e);
    l->cache_bytes += raft_log_entry_bytes(e);
    l->last = e->pos.index;
}

static void truncate_persistence(struct raft_log *l, uint64_t end)
{
    for (size_t i = 0; i < l->pending.n; i++)
        if (l->pending.items[i].last > end)
            l->pending.items[i].last = end;
    if (l->durable > end)
        l->durable = end;
    if (l->handed > end) {
        l->handed = end; /* only goes down until the next record, so this one is the lowest */
        l->truncate_from = end + 1;
    }
}

void raft_log_truncate(struct raft_log *l, uint64_t from)
{
    ASSERT(from > l->base.index);
    ASSERT(from >= raft_log_cached_from(l)); /* what is not in memory is committed */
    while (l->last >= from) {
        struct raft_entry **e = &l->cache[l->cache_head + --l->n_cached];
        l->cache_bytes -= raft_log_entry_bytes(*e);
        raft_entry_unref(e);
        l->last--;
    }
    while (l->runs.n > 0 && l->runs.items[l->runs.n - 1].first > l->last)
        l->runs.n--;
    truncate_persistence(l, l->last);
}

uint64_t raft_log_cached_from(const struct raft_log *l)
{
    return l->last + 1 - l->n_cached;
}

struct raft_entry *raft_log_entry(const struct raft_log *l, uint64_t index)
{
    uint64_t first = raft_log_cached_from(l);
    ASSERT(index >= first && index <= l->last);
    return l->cache[l->cache_head + (size_t)(index - first)];
}

void raft_log_evict(struct raft_log *l, size_t bytes_max, uint64_t keep_after)
{
    uint64_t upto = keep_after < l->durable ? keep_after : l->durable;
    while (l->cache_bytes > bytes_max && l->n_cached > 0 && raft_log_cached_from(l) <= upto)
        drop_first_cached(l);
}

bool raft_log_is_dirty(const struct raft_log *l)
{
    return l->handed < l->last || l->truncate_from != 0;
}

void raft_log_take(struct raft_log *l, uint64_t seq, uint64_t *ret_truncate_from,
                   uint64_t *ret_first)
{
    *ret_truncate_from = l->truncate_from;
    *ret_first = l->handed + 1;
    l->truncate_from = 0;
    l->handed = l->last;
    RAFT_ARRAY_PUSH(&l->pending, ((struct pending){seq, l->last}));
}

void raft_log_persisted(struct raft_log *l, uint64_t seq)
{
    size_t n = 0;
    for (; n < l->pending.n && l->pending.items[n].seq <= seq; n++)
        if (l->durable < l->pending.items[n].last)
            l->durable = l->pending.items[n].last;
    l->pending.n -= n;
    if (n > 0)
        memmove(l->pending.items, l->pending.items + n, l->pending.n * sizeof *l->pending.items);
}

void raft_log_set_restored(struct raft_log *l)
{
    l->durable = l->handed = l->last;
}

uint64_t raft_log_durable(const struct raft_log *l)
{
    return l->durable;
}

static void check_cache(const struct raft_log *l)
{
    ASSERT(l->cache_head + l->n_cached <= l->cache_cap || l->n_cached == 0);
    size_t bytes = 0;
    for (uint64_t i = raft_log_cached_from(l); i <= l->last; i++) {
        const struct raft_entry *e = raft_log_entry(l, i);
        ASSERT(e->pos.index == i);
        ASSERT(raft_log_has(l, e->pos));
        bytes += raft_log_entry_bytes(e);
    }
    ASSERT(bytes == l->cache_bytes);
}

void raft_log_check(const struct raft_log *l)
{
    ASSERT(l->last >= l->base.index);
    ASSERT((l->runs.n == 0) == (l->last == l->base.index));
    for (size_t i = 0; i < l->runs.n; i++) {
        const struct run *run = &l->runs.items[i];
        ASSERT(run->first <= l->last);
        ASSERT(i > 0 || run->first == l->base.index + 1);
        ASSERT(i > 0 || run->term >= l->base.term);
        ASSERT(i == 0 || (run->first > run[-1].first && run->term > run[-1].term));
    }
    ASSERT(l->durable <= l->handed);
    ASSERT(l->handed <= l->last);
    /* After a reset the log is empty and yet not durable. */
    uint64_t settled = l->durable > l->base.index ? l->durable : l->base.index;
    ASSERT(raft_log_cached_from(l) <= settled + 1);
    for (size_t i = 0; i < l->pending.n; i++) {
        const struct pending *p = &l->pending.items[i];
        ASSERT(p->last >= l->durable);
        ASSERT(p->last <= l->handed);
        ASSERT(i == 0 || (p->seq > p[-1].seq && p->last >= p[-1].last));
    }
    check_cache(l);
}
