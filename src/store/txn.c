/* SPDX-License-Identifier: MIT
 * A transaction takes any number of writes in order; LMDB makes it one atomic
 * step. So term, vote and log change together or not at all (PITFALLS 1, 16).
 * Nearly all writes come by the journal, which is atomic by batches.
 */
#include "store/txn.h"

#include <errno.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/env.h"

#define PURGED_AT_ONCE 64 /* entries, and twice as many as were appended */

static MDB_val index_key(const size_t *index)
{
    return (MDB_val){sizeof *index, (void *)index};
}

void store_txn_begin(struct store_txn *t, struct store_log *log)
{
    *t = (struct store_txn){.log = log, .ends = log->ends, .base = log->base};
    t->rc = mdb_txn_begin(log->env, NULL, 0, &t->txn);
    if (!t->rc)
        t->rc = mdb_cursor_open(t->txn, log->entries, &t->cursor);
}

/* Of what is asked for it is a fact; of what was read back it may be damage. */
static void expect(struct store_txn *t, bool holds)
{
    ASSERT(holds || t->replays);
    if (!holds)
        t->rc = MDB_CORRUPTED;
}

/* Finds the link of the entry that is last now. */
static void find_last(struct store_txn *t)
{
    MDB_val key, value;
    struct store_entry_view view;
    t->ends.last = t->ends.base;
    t->rc = mdb_cursor_get(t->cursor, &key, &value, MDB_LAST);
    if (t->rc == MDB_NOTFOUND) {
        t->rc = 0;
        return;
    }
    if (t->rc)
        return;
    if (store_entry_decode(store_key_index(&key), value.mv_data, value.mv_size, &view) != 0)
        t->rc = MDB_CORRUPTED;
    else
        t->ends.last = view.link;
}

/* From the end backward, so that the table is a log at every step. */
static void truncate_from(struct store_txn *t, uint64_t first)
{
    if (!t->rc)
        expect(t, first > t->ends.base.pos.index);
    if (t->rc || first > t->ends.last.pos.index)
        return;
    for (uint64_t left = t->ends.last.pos.index - first + 1; left > 0 && !t->rc; left--) {
        MDB_val key, value;
        t->rc = mdb_cursor_get(t->cursor, &key, &value, MDB_LAST);
        if (!t->rc)
            t->rc = mdb_cursor_del(t->cursor, 0);
    }
    if (!t->rc)
        find_last(t);
    if (!t->rc && t->ends.last.pos.index != first - 1)
        t->rc = MDB_CORRUPTED;
}

static void append(struct store_txn *t, const struct raft_entry *e)
{
    if (!t->rc)
        expect(t,
               e->pos.index == t->ends.last.pos.index + 1 && e->pos.term >= t->ends.last.pos.term);
    if (t->rc)
        return;
    size_t index = (size_t)e->pos.index;
    MDB_val key = index_key(&index), value = {STORE_ENTRY_HEADER_BYTES + (size_t)e->len, NULL};
    t->rc = mdb_cursor_put(t->cursor, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (t->rc)
        return;
    t->ends.last = store_entry_encode(e, t->ends.last, value.mv_data);
}

/* The log is empty and begins after the snapshot; the state is another one. */
static void install(struct store_txn *t, const struct storage_write *w, uint64_t generation)
{
    if (!t->rc)
        t->rc = mdb_drop(t->txn, t->log->entries, 0);
    t->base = (struct store_base){generation, *w->base};
    t->base_changed = true;
    t->ends.base = t->ends.last = (struct store_link){.pos = w->base->pos};
}

/* The link of an entry that is there. */
static void find_link(struct store_txn *t, uint64_t at, struct store_link *ret_link)
{
    size_t index = (size_t)at;
    MDB_val key = index_key(&index), value;
    struct store_entry_view view;
    if (!t->rc)
        t->rc = mdb_cursor_get(t->cursor, &key, &value, MDB_SET_KEY);
    if (!t->rc && store_entry_decode(at, value.mv_data, value.mv_size, &view) != 0)
        t->rc = MDB_CORRUPTED;
    if (!t->rc)
        *ret_link = view.link;
}

static void begin_after(struct store_txn *t, const struct raft_base *base)
{
    ASSERT(base->pos.index >= t->ends.base.pos.index);
    ASSERT(base->pos.index <= t->ends.last.pos.index);
    if (base->pos.index > t->ends.base.pos.index)
        find_link(t, base->pos.index, &t->ends.base);
    if (!t->rc && !raft_pos_equal(t->ends.base.pos, base->pos))
        t->rc = MDB_CORRUPTED;
    t->base.raft = *base;
    t->base_changed = true;
}

/* Deletes some of what lies before the base: more than was appended, so that it ends. */
static void purge(struct store_txn *t)
{
    MDB_val key, value;
    for (unsigned left = PURGED_AT_ONCE + 2 * t->n_appended; left > 0 && !t->rc; left--) {
        t->rc = mdb_cursor_get(t->cursor, &key, &value, MDB_FIRST);
        if (t->rc || store_key_index(&key) > t->ends.base.pos.index)
            break;
        t->rc = mdb_cursor_del(t->cursor, 0);
    }
    if (t->rc == MDB_NOTFOUND)
        t->rc = 0;
}

void store_txn_apply(struct store_txn *t, const struct storage_write *w, uint64_t generation)
{
    if (!t->rc && w->has_identity)
        t->rc = store_put_identity(t->txn, t->log->records, &w->identity);
    if (w->install)
        install(t, w, generation);
    else if (w->base)
        begin_after(t, w->base);
    if (w->truncate_from)
        truncate_from(t, w->truncate_from);
    for (unsigned i = 0; i < w->n_entries; i++)
        append(t, w->entries[i]);
    t->n_appended += w->n_entries;
    if (!t->rc && w->seq)
        t->rc = store_put_hard_state(t->txn, t->log->records, &w->hard_state);
}

/* ---- the journal ---- */

static int replay(void *ctx, const struct storage_write *w)
{
    struct store_txn *t = ctx;
    store_txn_apply(t, w, 0);
    return t->rc == MDB_CORRUPTED ? ERR_CORRUPT : 0; /* the commit tells of others */
}

void store_txn_settle(struct store_txn *t)
{
    struct store_journal *j = t->log->journal;
    t->replays = true;
    int err = store_journal_replay(j, replay, t);
    t->replays = false;
    if (err && !t->rc)
        t->rc = err == ERR_CORRUPT ? MDB_CORRUPTED : EIO;
    t->ends.journal_seq = store_journal_seq(j);
}

int store_txn_recover(struct store_txn *t, struct buf *reason)
{
    struct store_journal *j = t->log->journal;
    t->replays = true;
    int err = store_journal_scan(j, t->ends.journal_seq, replay, t, reason);
    t->replays = false;
    t->ends.journal_seq = STORE_JOURNAL_NEXT_START(store_journal_seq(j));
    return err;
}

/* What is in the transaction is durable in LMDB. */
static void begin_journal(struct store_txn *t)
{
    if (t->log->journal && t->ends.journal_seq != t->log->ends.journal_seq)
        store_journal_begin(t->log->journal, t->ends.journal_seq, t->log->mix);
}

/* ---- the end ---- */

int store_txn_commit(struct store_txn *t, int *ret_rc)
{
    if (t->ends.base.pos.index > 0)
        purge(t);
    if (!t->rc && t->base_changed)
        t->rc = store_put_base(t->txn, t->log->records, &t->base);
    if (!t->rc)
        t->rc = store_put_ends(t->txn, t->log->records, &t->ends);
    if (t->cursor)
        mdb_cursor_close(t->cursor);
    if (!t->rc)
        t->rc = mdb_txn_commit(t->txn);
    else if (t->txn)
        mdb_txn_abort(t->txn);
    if (!t->rc) {
        begin_journal(t);
        t->log->ends = t->ends;
        t->log->base = t->base;
    } else {
        *ret_rc = t->rc;
    }
    return store_lmdb_error(t->rc);
}

/* Reads on from the cursor's place until the load is full. */
static int collect(MDB_cursor *cursor, struct storage_load *l, unsigned n_max)
{
    size_t bytes = 0, index = (size_t)l->first;
    MDB_val key = index_key(&index), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
    for (; !rc; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct store_entry_view view;
        if (store_key_index(&key) != l->first + l->n_entries ||
            store_entry_decode(l->first + l->n_entries, value.mv_data, value.mv_size, &view) != 0)
            return MDB_CORRUPTED;
        bytes += view.len;
        if (l->n_entries > 0 && bytes > l->bytes_max)
            return 0;
        l->entries[l->n_entries++] = store_entry_copy(&view);
        if (l->n_entries == n_max)
            return 0;
    }
    return rc; /* also MDB_NOTFOUND: there must be n_max */
}

static int load_in(MDB_txn *txn, struct store_log *log, struct storage_load *l, unsigned n_max)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, log->entries, &cursor);
    if (rc)
        return rc;
    l->entries = mem_array(n_max, sizeof(struct raft_entry *));
    rc = collect(cursor, l, n_max);
    mdb_cursor_close(cursor);
    return rc;
}

int store_log_load(struct store_log *log, struct storage_load *l)
{
    ASSERT(!l->entries && l->n_entries == 0);
    uint64_t last = log->ends.last.pos.index;
    if (l->first <= log->ends.base.pos.index || l->first > last || l->n_max == 0)
        return 0; /* not there: the answer says so by having none */
    uint64_t there = last - l->first + 1;
    unsigned n_max = there < l->n_max ? (unsigned)there : l->n_max;
    MDB_txn *txn;
    int rc = mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn);
    if (!rc) {
        rc = load_in(txn, log, l, n_max);
        mdb_txn_abort(txn);
    }
    return rc == MDB_NOTFOUND ? ERR_CORRUPT : store_lmdb_error(rc);
}
