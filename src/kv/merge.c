/* SPDX-License-Identifier: MIT
 * One cursor over several: each source stands at its next record, the smallest
 * key is given, and all sources that stand at this key move on together.
 *
 * Forwards, those that are not at their end are in a binary heap (Williams 1964),
 * so that a record costs few comparisons however many sources there are.
 * Backwards they are looked through one by one: each moves anyway.
 */
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "kv/cursor.h"

struct source {
    struct kv_cursor *cursor; /* owned */
    struct kv_record record;  /* where it stands, unless at_end */
    bool at_end;
};

struct merge {
    struct kv_cursor cursor; /* first: it is what others see */
    bool keep_deleted;
    unsigned n;                        /* newest first */
    unsigned n_heap;                   /* in heap: */
    struct source *heap[KV_MERGE_MAX]; /* none before the one at half its place */
    struct source *current;            /* whose record was given last, forwards; NULL: none */
    struct buf key;                    /* the one sought: the caller's may go when a source moves */
    bool backwards;                    /* each source stands at its last record below `key` */
    struct source sources[];           /* n */
};

static int compare(const struct kv_record *a, const struct kv_record *b)
{
    size_t n_common = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, n_common);
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Takes note of how a source's move ended. */
static int moved(struct source *s, int err)
{
    s->at_end = err != 0;
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* Of equal keys the newest comes first. */
static bool is_before(const struct source *a, const struct source *b)
{
    int order = compare(&a->record, &b->record);
    return order ? order < 0 : a < b;
}

/* ---- the heap ---- */

/* Of the two below i, the place of the one to come first; n_heap or more: there is none. */
static unsigned first_below(const struct merge *m, unsigned i)
{
    unsigned left = 2 * i + 1, right = left + 1;
    return right < m->n_heap && is_before(m->heap[right], m->heap[left]) ? right : left;
}

/* The source at i may come too early: down with it. */
static void sift_down(struct merge *m, unsigned i)
{
    for (unsigned below; (below = first_below(m, i)) < m->n_heap; i = below) {
        struct source *s = m->heap[i];
        if (!is_before(m->heap[below], s))
            return;
        m->heap[i] = m->heap[below];
        m->heap[below] = s;
    }
}

static void make_heap(struct merge *m)
{
    m->n_heap = 0;
    for (struct source *s = m->sources; s < m->sources + m->n; s++)
        if (!s->at_end)
            m->heap[m->n_heap++] = s;
    for (unsigned i = m->n_heap / 2; i-- > 0;)
        sift_down(m, i);
}

/* Moves the source at i on, whose record is before those below it. */
static int pass(struct merge *m, unsigned i)
{
    struct source *s = m->heap[i];
    int err = moved(s, kv_cursor_next(s->cursor, &s->record));
    if (s->at_end)
        m->heap[i] = m->heap[--m->n_heap];
    sift_down(m, i);
    return err;
}

/* Moves every source that stands at the key of the first; the first, which lends the key, last. */
static int pass_current(struct merge *m)
{
    unsigned i;
    while ((i = first_below(m, 0)) < m->n_heap &&
           compare(&m->heap[i]->record, &m->heap[0]->record) == 0) {
        int err = pass(m, i);
        if (err)
            return err;
    }
    return pass(m, 0);
}

/* Gives the smallest record, past tombstones unless they are wanted. */
static int settle(struct merge *m, struct kv_record *ret_record)
{
    while (m->n_heap > 0 && m->heap[0]->record.deleted && !m->keep_deleted) {
        int err = pass_current(m);
        if (err)
            return err;
    }
    m->current = m->n_heap > 0 ? m->heap[0] : NULL;
    if (!m->current)
        return ERR_NOT_FOUND;
    *ret_record = m->current->record;
    return 0;
}

static int merge_seek(struct kv_cursor *cursor, const void *key, size_t len,
                      struct kv_record *ret_record)
{
    struct merge *m = (struct merge *)cursor;
    m->current = NULL;
    m->backwards = false;
    buf_clear(&m->key);
    buf_append(&m->key, key, len);
    for (struct source *s = m->sources; s < m->sources + m->n; s++) {
        int err = moved(s, kv_cursor_seek(s->cursor, m->key.data, len, &s->record));
        if (err)
            return err;
    }
    make_heap(m);
    return settle(m, ret_record);
}

static int merge_next(struct kv_cursor *cursor, struct kv_record *ret_record)
{
    struct merge *m = (struct merge *)cursor;
    if (!m->current)
        return ERR_NOT_FOUND;
    int err = pass_current(m);
    return err ? err : settle(m, ret_record);
}

/* ---- backwards ---- */

static bool is_below(const struct source *s, const struct buf *bound)
{
    struct kv_record key = {.key = bound->data, .key_len = bound->len};
    return s->at_end || compare(&s->record, &key) < 0;
}

/* Every source goes to its last record below the bound. One that stands there already when the
 * bound came down stays. */
static int all_below(struct merge *m, const void *key, size_t len)
{
    struct kv_record bound = {.key = key, .key_len = len},
                     last = {.key = m->key.data, .key_len = m->key.len};
    bool lower = m->backwards && len > 0 && (last.key_len == 0 || compare(&bound, &last) <= 0);
    buf_clear(&m->key);
    buf_append(&m->key, key, len);
    m->backwards = false;
    for (struct source *s = m->sources; s < m->sources + m->n; s++) {
        if (lower && is_below(s, &m->key))
            continue;
        int err = moved(s, kv_cursor_below(s->cursor, m->key.data, m->key.len, &s->record));
        if (err)
            return err;
    }
    m->backwards = true;
    return 0;
}

/* Of equal keys the newest: the first. */
static struct source *largest(struct merge *m)
{
    struct source *found = NULL;
    for (struct source *s = m->sources; s < m->sources + m->n; s++)
        if (!s->at_end && (!found || compare(&s->record, &found->record) > 0))
            found = s;
    return found;
}

static int merge_below(struct kv_cursor *cursor, const void *key, size_t len,
                       struct kv_record *ret_record)
{
    struct merge *m = (struct merge *)cursor;
    const struct source *s = NULL;
    m->current = NULL;
    int err = all_below(m, key, len);
    while (!err && (s = largest(m)) && s->record.deleted && !m->keep_deleted)
        err = all_below(m, s->record.key, s->record.key_len);
    if (err || !s)
        return err ? err : ERR_NOT_FOUND;
    *ret_record = s->record;
    return 0;
}

static void merge_close(struct kv_cursor *cursor)
{
    struct merge *m = (struct merge *)cursor;
    for (unsigned i = 0; i < m->n; i++)
        kv_cursor_close(&m->sources[i].cursor);
    buf_free(&m->key);
    mem_free(m);
}

struct kv_cursor *kv_merge_new(struct kv_cursor *const sources[], unsigned n, bool keep_deleted)
{
    static const struct kv_cursor_ops ops = {merge_seek, merge_next, merge_below, merge_close};
    ASSERT(n >= 1 && n <= KV_MERGE_MAX);
    struct merge *m = mem_zalloc(sizeof *m + n * sizeof m->sources[0]);
    m->cursor.ops = &ops;
    m->keep_deleted = keep_deleted;
    m->n = n;
    for (unsigned i = 0; i < n; i++)
        m->sources[i].cursor = sources[i];
    return &m->cursor;
}
