/* SPDX-License-Identifier: MIT
 * Views: a list of runs and an LMDB read transaction that agree, because both
 * are taken under the lock under which a merged run leaves the list. The run
 * shadows what is half merged below it.
 *
 * An open read transaction keeps pages from being used again, so it is ended
 * when the view is too old, wherever its owner is. What LMDB gave is therefore
 * copied; what runs gave is theirs and stays.
 *
 * The view of a snapshot that is being made is kept instead: it must read all,
 * and a large state takes longer than any limit. It pins the pages of all slices
 * committed meanwhile, which is about what the runs merged meanwhile hold, the
 * files of the runs that it reads, and (kv/view.h) one or two memtables. So it is
 * bounded by room: it ends, and the snapshot is begun anew, when merging finds
 * the disk full, or when the map must grow, to which at the start the file could
 * double.
 */
#include "store/state_impl.h"

#include "base/clock.h"
#include "base/mem.h"

_Static_assert(STATE_RUNS_MAX + 1 <= KV_MERGE_MAX, "a cursor is over all runs and LMDB");

struct state_view *state_view_of(struct kv_base_view *view)
{
    return (struct state_view *)view;
}

/* CORRUPT is told once to whoever runs the node, beside being returned. */
static int told(struct state *s, int err, struct buf *reason)
{
    if (err == ERR_CORRUPT)
        state_tell_damage(s, NULL, buf_str(reason));
    buf_free(reason);
    return err;
}

/* ---- transactions ---- */

static int begin(struct state *s, MDB_txn **ret_txn)
{
    int rc;
    if (s->n_idle > 0) {
        MDB_txn *txn = s->idle[--s->n_idle];
        rc = mdb_txn_renew(txn);
        if (!rc)
            *ret_txn = txn;
        else
            mdb_txn_abort(txn);
    } else {
        rc = mdb_txn_begin(s->db.env, NULL, MDB_RDONLY, ret_txn);
    }
    return rc ? state_db_failed(&s->db, NULL, "", rc) : 0;
}

/* With state.lock and the view's lock held. */
static void end(struct state_view *v, int err)
{
    struct state *s = v->state;
    if (!v->txn)
        return;
    if (v->getter)
        mdb_cursor_close(v->getter);
    v->getter = NULL;
    if (s->n_idle < STATE_TXNS_IDLE) {
        mdb_txn_reset(v->txn);
        s->idle[s->n_idle++] = v->txn;
    } else {
        mdb_txn_abort(v->txn);
    }
    v->txn = NULL;
    v->err = err;
}

void state_end_views(struct state *s, uint64_t ms, enum state_which which)
{
    uint64_t now_ms = clock_now_ms();
    LIST_FOREACH (it, &s->views) {
        struct state_view *v = LIST_ENTRY(it, struct state_view, link);
        if (now_ms < v->since_ms + ms)
            return; /* the rest is younger */
        if (v->is_kept && which == STATE_NOT_KEPT)
            continue;
        if (which == STATE_ALL)
            pthread_mutex_lock(&v->lock);
        else if (pthread_mutex_trylock(&v->lock) != 0)
            continue;
        end(v, ERR_TIMEOUT);
        pthread_mutex_unlock(&v->lock);
    }
}

/* ---- waiting for their end ---- */

bool state_await_close(struct state *s, const struct timespec *deadline)
{
    s->is_awaited = true;
    int rc = pthread_cond_timedwait(&s->closed, &s->lock, deadline);
    s->is_awaited = false;
    return rc == 0;
}

/* One from before the newest slice, but not from before the one before it: for that one was waited
 * already, and it is a long one. */
static bool has_view_to_await(const struct state *s)
{
    LIST_FOREACH (it, &s->views) {
        const struct state_view *v = LIST_ENTRY(it, struct state_view, link);
        if (v->txn && v->n_slices + 1 == s->stats.n_slices)
            return true;
    }
    return false;
}

/* A view keeps the pages of every slice that is committed while it is open. Those of single reads
 * and of batches end soon; but each that happens to be open over one slice more than any before it
 * makes the file larger by a slice, for ever, as LMDB gives nothing back (9 MiB, measured). */
void state_await_views(struct state *s)
{
    struct timespec deadline;
    state_deadline(&deadline, s->options.await_ms_max * 1000);
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && has_view_to_await(s) && state_await_close(s, &deadline))
        ;
    pthread_mutex_unlock(&s->lock);
}

/* ---- get ---- */

/* NOT_FOUND: no run knows the key. */
static int get_from_runs(struct state_view *v, const void *key, size_t len,
                         struct kv_record *ret_record)
{
    unsigned i;
    int err = run_get_first(v->runs, v->n_runs, key, len, ret_record, &i);
    if (err == ERR_CORRUPT)
        state_tell_run(v->state, v->runs[i]);
    return err;
}

/* From the second key on by a cursor: keys that follow on each other are often in one page, and
 * those of a replay do. */
static int find(struct state_view *v, MDB_val *key, MDB_val *ret_item)
{
    struct state_db *db = &v->state->db;
    int rc = 0;
    if (!v->was_asked) {
        v->was_asked = true;
        return mdb_get(v->txn, db->keys, key, ret_item);
    }
    if (!v->getter)
        rc = mdb_cursor_open(v->txn, db->keys, &v->getter);
    return rc ? rc : mdb_cursor_get(v->getter, key, ret_item, MDB_SET);
}

static int get_from_db(struct state_view *v, const void *key, size_t len,
                       struct kv_value *ret_value)
{
    struct state *s = v->state;
    struct buf reason = BUF_INIT;
    MDB_val k = {len, (void *)key}, item;
    int rc = find(v, &k, &item);
    if (rc == MDB_NOTFOUND)
        return ERR_NOT_FOUND;
    int err = rc ? state_db_failed(&s->db, &reason, "the table of keys", rc)
                 : state_db_load(&s->db, v->txn, &k, &item, &v->data, ret_value, &reason);
    return told(s, err, &reason);
}

static int get_locked(struct state_view *v, const void *key, size_t len, struct kv_value *ret_value)
{
    struct kv_record record;
    if (!v->txn)
        return v->err;
    int err = get_from_runs(v, key, len, &record);
    if (!err && record.deleted)
        return ERR_NOT_FOUND;
    if (!err)
        *ret_value = record.value;
    return err == ERR_NOT_FOUND ? get_from_db(v, key, len, ret_value) : err;
}

static int view_get(struct kv_base_view *view, const void *key, size_t len,
                    struct kv_value *ret_value)
{
    struct state_view *v = state_view_of(view);
    pthread_mutex_lock(&v->lock);
    int err = get_locked(v, key, len, ret_value);
    pthread_mutex_unlock(&v->lock);
    return err;
}

static void view_prefetch(struct kv_base_view *view, const struct kv_bytes keys[], unsigned n)
{
    struct state_view *v = state_view_of(view);
    struct kv_bytes rest[KV_PREFETCH_MAX];
    unsigned n_rest = run_prefetch_keys(v->runs, v->n_runs, keys, n, rest);
    pthread_mutex_lock(&v->lock);
    if (v->txn && n_rest > 1)
        (void)state_fetch_ahead(v, rest, n_rest);
    pthread_mutex_unlock(&v->lock);
}

/* ---- the cursor over LMDB ---- */

struct db_cursor {
    struct kv_cursor cursor; /* first */
    struct state_view *view; /* borrowed */
    MDB_cursor *keys;        /* opened by the first seek */
    struct buf key, data;
};

/* Copies what LMDB's cursor stands at. */
static int give(struct db_cursor *c, const MDB_val *key, const MDB_val *item,
                struct kv_record *ret_record)
{
    struct state *s = c->view->state;
    struct kv_record record = {.key_len = key->mv_size};
    struct buf reason = BUF_INIT;
    int err = state_db_load(&s->db, c->view->txn, key, item, &c->data, &record.value, &reason);
    if (!err) {
        buf_clear(&c->key);
        buf_append(&c->key, key->mv_data, key->mv_size);
        record.key = c->key.data;
        *ret_record = record;
    }
    return told(s, err, &reason);
}

/* Gives what LMDB's cursor stands at after its last move ended with rc. */
static int moved(struct db_cursor *c, int rc, const MDB_val *key, const MDB_val *item,
                 struct kv_record *ret_record)
{
    struct state *s = c->view->state;
    if (rc == MDB_NOTFOUND)
        return ERR_NOT_FOUND;
    if (!rc)
        return give(c, key, item, ret_record);
    struct buf reason = BUF_INIT;
    return told(s, state_db_failed(&s->db, &reason, "the table of keys", rc), &reason);
}

/* 0, or how LMDB's cursor cannot be had. With the view's lock held. */
static int open_cursor(struct db_cursor *c)
{
    struct state_view *v = c->view;
    if (!v->txn)
        return v->err;
    int rc = c->keys ? 0 : mdb_cursor_open(v->txn, v->state->db.keys, &c->keys);
    return rc ? moved(c, rc, NULL, NULL, NULL) : 0;
}

static int db_seek(struct kv_cursor *cursor, const void *key, size_t len,
                   struct kv_record *ret_record)
{
    struct db_cursor *c = (struct db_cursor *)cursor;
    MDB_val k = {len, (void *)key}, item;
    pthread_mutex_lock(&c->view->lock);
    int err = open_cursor(c);
    if (!err) {
        int rc = mdb_cursor_get(c->keys, &k, &item, len ? MDB_SET_RANGE : MDB_FIRST);
        err = moved(c, rc, &k, &item, ret_record);
    }
    pthread_mutex_unlock(&c->view->lock);
    return err;
}

static int db_next(struct kv_cursor *cursor, struct kv_record *ret_record)
{
    struct db_cursor *c = (struct db_cursor *)cursor;
    MDB_val k, item;
    pthread_mutex_lock(&c->view->lock);
    int err = open_cursor(c);
    if (!err)
        err = moved(c, mdb_cursor_get(c->keys, &k, &item, MDB_NEXT), &k, &item, ret_record);
    pthread_mutex_unlock(&c->view->lock);
    return err;
}

static int db_below(struct kv_cursor *cursor, const void *key, size_t len,
                    struct kv_record *ret_record)
{
    struct db_cursor *c = (struct db_cursor *)cursor;
    MDB_val k = {len, (void *)key}, item;
    pthread_mutex_lock(&c->view->lock);
    int err = open_cursor(c);
    if (!err) {
        int rc = len ? mdb_cursor_get(c->keys, &k, &item, MDB_SET_RANGE) : MDB_NOTFOUND;
        if (rc == 0 || rc == MDB_NOTFOUND)
            rc = mdb_cursor_get(c->keys, &k, &item, rc ? MDB_LAST : MDB_PREV);
        err = moved(c, rc, &k, &item, ret_record);
    }
    pthread_mutex_unlock(&c->view->lock);
    return err;
}

static void db_close(struct kv_cursor *cursor)
{
    struct db_cursor *c = (struct db_cursor *)cursor;
    if (c->keys)
        mdb_cursor_close(c->keys); /* of a read transaction: before or after its end */
    buf_free(&c->key);
    buf_free(&c->data);
    mem_free(c);
}

static struct kv_cursor *db_cursor_new(struct state_view *v)
{
    static const struct kv_cursor_ops ops = {db_seek, db_next, db_below, db_close};
    struct db_cursor *c = mem_zalloc(sizeof *c);
    c->cursor.ops = &ops;
    c->view = v;
    return &c->cursor;
}

static struct kv_cursor *view_cursor(struct kv_base_view *view)
{
    struct state_view *v = state_view_of(view);
    struct kv_cursor *sources[STATE_RUNS_MAX + 1];
    for (unsigned i = 0; i < v->n_runs; i++)
        sources[i] = run_cursor(v->runs[i]);
    sources[v->n_runs] = db_cursor_new(v);
    return kv_merge_new(sources, v->n_runs + 1, false);
}

/* ---- the life of a view ---- */

static void view_keep(struct kv_base_view *view)
{
    struct state_view *v = state_view_of(view);
    pthread_mutex_lock(&v->state->lock);
    v->is_kept = true;
    pthread_mutex_unlock(&v->state->lock);
}

static void view_close(struct kv_base_view *view)
{
    struct state_view *v = state_view_of(view);
    struct state *s = v->state;
    pthread_mutex_lock(&s->lock);
    list_remove(&v->link);
    s->n_views--;
    if (s->is_awaited)
        pthread_cond_signal(&s->closed);
    end(v, ERR_TIMEOUT);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < v->n_runs; i++) {
        state_tell_run(s, v->runs[i]); /* a cursor may have met it */
        run_unref(&v->runs[i]);
    }
    pthread_mutex_destroy(&v->lock);
    buf_free(&v->data);
    mem_free(v);
    state_unref(s);
}

struct kv_base_view *state_view_new(struct kv_base *base)
{
    static const struct kv_base_view_ops ops = {view_get, view_prefetch, view_cursor, view_keep,
                                                view_close};
    struct state *s = (struct state *)base;
    struct state_view *v = mem_zalloc(sizeof *v);
    v->view.ops = &ops;
    v->state = s;
    pthread_mutex_init(&v->lock, NULL);
    state_ref(s);
    pthread_mutex_lock(&s->lock);
    v->since_ms = clock_now_ms();
    v->n_slices = s->stats.n_slices;
    v->err = begin(s, &v->txn);
    while (v->n_runs < s->n_runs) {
        v->runs[v->n_runs] = run_ref(s->runs[s->n_runs - 1 - v->n_runs].run);
        v->n_runs++;
    }
    list_push_back(&s->views, &v->link);
    s->n_views++;
    pthread_mutex_unlock(&s->lock);
    return &v->view;
}
