/* SPDX-License-Identifier: MIT
 * One cursor over several: each source stands at its next record, the smallest
 * key is given, and all sources that stand at this key move on together. There
 * are few sources, so the smallest is looked for one by one.
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
    unsigned n;              /* newest first */
    struct source *current;  /* whose record was given last; NULL: none */
    struct buf key;          /* the one sought: the caller's may go when a source moves */
    bool backwards;          /* each source stands at its last record below `key` */
    struct source sources[]; /* n */
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

/* Of equal keys the newest: the first. */
static struct source *smallest(struct merge *m)
{
    struct source *found = NULL;
    for (struct source *s = m->sources; s < m->sources + m->n; s++)
        if (!s->at_end && (!found || compare(&s->record, &found->record) < 0))
            found = s;
    return found;
}

/* Moves every source that stands at the current key; the one that lends the key last. */
static int pass_current(struct merge *m)
{
    struct source *current = m->current;
    for (struct source *s = current + 1; s < m->sources + m->n; s++) {
        if (s->at_end || compare(&s->record, &current->record) != 0)
            continue;
        int err = moved(s, kv_cursor_next(s->cursor, &s->record));
        if (err)
            return err;
    }
    return moved(current, kv_cursor_next(current->cursor, &current->record));
}

/* Gives the smallest record, past tombstones unless they are wanted. */
static int settle(struct merge *m, struct kv_record *ret_record)
{
    while ((m->current = smallest(m)) && m->current->record.deleted && !m->keep_deleted) {
        int err = pass_current(m);
        if (err)
            return err;
    }
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
