/* SPDX-License-Identifier: MIT
 * The scrub reads all that is kept and checks it, slowly, so that damage is found
 * while other nodes still have what is damaged here. It takes a view for each
 * step, so that it keeps no pages from being used again.
 */
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "store/state_impl.h"

#define DAY_MS         ((uint64_t)24 * 3600 * 1000)
#define BYTES_PER_S    (8 * MIB)
#define STEP_BYTES_MAX (256 * KIB)
#define STEP_ITEMS_MAX 4096

/* What was seen so far of LMDB's records. */
struct scrub {
    struct state *state;
    struct state_mark first; /* as of the first step */
    uint64_t n_keys, bytes, sum;
    struct buf last; /* key */
    bool ended;
    size_t step_bytes; /* read in this step */
    struct buf *reason;
};

static int check_item(struct scrub *c, MDB_txn *txn, const MDB_val *key, const MDB_val *item)
{
    struct state_record r;
    int err = state_db_check(&c->state->db, txn, key, item, &r, c->reason);
    if (err)
        return err;
    c->n_keys++;
    c->bytes += key->mv_size + r.value.len;
    c->sum += r.crc;
    c->step_bytes += key->mv_size + r.value.len;
    buf_clear(&c->last);
    buf_append(&c->last, key->mv_data, key->mv_size);
    return 0;
}

static bool is_last(const struct scrub *c, const MDB_val *key)
{
    return c->last.len > 0 && c->last.len == key->mv_size &&
           memcmp(c->last.data, key->mv_data, key->mv_size) == 0;
}

/* From after the last key on. */
static int check_items(struct scrub *c, MDB_txn *txn, MDB_cursor *cursor)
{
    MDB_val key = {c->last.len, c->last.data}, item;
    int rc = mdb_cursor_get(cursor, &key, &item, c->last.len ? MDB_SET_RANGE : MDB_FIRST);
    if (!rc && is_last(c, &key))
        rc = mdb_cursor_get(cursor, &key, &item, MDB_NEXT);
    for (unsigned n = 0; !rc && n < STEP_ITEMS_MAX && c->step_bytes < STEP_BYTES_MAX; n++) {
        int err = check_item(c, txn, &key, &item);
        if (err)
            return err;
        rc = mdb_cursor_get(cursor, &key, &item, MDB_NEXT);
    }
    c->ended = rc == MDB_NOTFOUND;
    return rc && !c->ended ? state_db_failed(&c->state->db, c->reason, "the table of keys", rc) : 0;
}

static bool is_same(const struct state_mark *a, const struct state_mark *b)
{
    return a->run_seq == b->run_seq && a->part_id == b->part_id && a->key_len == b->key_len &&
           memcmp(a->key, b->key, a->key_len) == 0;
}

/* When nothing was merged meanwhile, what was seen is what the mark says is
 * there: a record that is missing has no checksum that could tell. */
static int check_sums(struct scrub *c, const struct state_mark *mark)
{
    if (!is_same(mark, &c->first) ||
        (c->n_keys == mark->n_keys && c->bytes == mark->bytes && c->sum == mark->sum))
        return 0;
    return state_db_damaged(&c->state->db, c->reason,
                            "it does not hold as many records as were written, or others");
}

static int check_in(struct scrub *c, MDB_txn *txn)
{
    struct state *s = c->state;
    struct state_mark mark;
    struct buf meta = BUF_INIT;
    MDB_cursor *cursor;
    int err = state_db_mark(&s->db, txn, &mark, c->reason);
    if (!err && !c->last.len) {
        c->first = mark;
        err = mark.meta_id ? state_db_meta(&s->db, txn, &mark, &meta, c->reason) : 0;
        buf_free(&meta);
    }
    if (err)
        return err;
    int rc = mdb_cursor_open(txn, s->db.keys, &cursor);
    if (rc)
        return state_db_failed(&s->db, c->reason, "the table of keys", rc);
    err = check_items(c, txn, cursor);
    mdb_cursor_close(cursor);
    return !err && c->ended ? check_sums(c, &mark) : err;
}

/* TIMEOUT: try again; the view was ended before it was used. */
static int step(struct scrub *c)
{
    struct state_view *v = state_view_of(state_view_new(&c->state->base));
    c->step_bytes = 0;
    pthread_mutex_lock(&v->lock);
    int err = v->txn ? check_in(c, v->txn) : v->err;
    pthread_mutex_unlock(&v->lock);
    v->view.ops->close(&v->view);
    return err == ERR_TIMEOUT || err == ERR_OVERLOADED ? 0 : err;
}

/* ---- all of it ---- */

/* Rests so that no more than so many bytes are read in a second. False: stopping. */
static bool rest(struct state *s, bool slowly, uint64_t bytes)
{
    uint64_t per_s = s->options.scrub_bytes_max ? s->options.scrub_bytes_max : BYTES_PER_S;
    if (!slowly)
        return true;
    return state_sleep(s, bytes * 1000000 / per_s);
}

static int scrub_run(struct state *s, struct run *r, bool slowly, struct buf *reason)
{
    uint64_t at = 0, end = run_info(r).file_bytes;
    while (at < end) {
        uint64_t before = at;
        int err = run_verify_some(r, &at, STEP_BYTES_MAX, reason);
        if (err == ERR_CORRUPT)
            state_tell_run(s, r);
        if (err)
            return err;
        if (!rest(s, slowly, at - before))
            return ERR_SHUTDOWN;
    }
    return 0;
}

static int scrub_runs(struct state *s, bool slowly, struct buf *reason)
{
    struct run *runs[STATE_RUNS_MAX];
    unsigned n = 0;
    pthread_mutex_lock(&s->lock);
    for (; n < s->n_runs; n++)
        runs[n] = run_ref(s->runs[n].run);
    pthread_mutex_unlock(&s->lock);
    int err = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!err)
            err = scrub_run(s, runs[i], slowly, reason);
        run_unref(&runs[i]);
    }
    return err;
}

static int scrub_db(struct state *s, bool slowly, struct buf *reason)
{
    struct scrub c = {.state = s, .reason = reason};
    int err = 0;
    while (!err && !c.ended) {
        err = step(&c);
        if (err == ERR_CORRUPT)
            state_tell_damage(s, NULL, buf_str(reason));
        if (!err && !rest(s, slowly, c.step_bytes))
            err = ERR_SHUTDOWN;
    }
    buf_free(&c.last);
    return err;
}

static int scrub(struct state *s, bool slowly, struct buf *reason)
{
    int err = scrub_runs(s, slowly, reason);
    if (!err)
        err = scrub_db(s, slowly, reason);
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    s->stats.n_scrubs++;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int state_scrub(struct state *s, struct buf *reason)
{
    return scrub(s, false, reason);
}

void *state_scrub_main(void *state)
{
    struct state *s = state;
    uint64_t pause_ms = s->options.scrub_ms ? s->options.scrub_ms : DAY_MS;
    struct buf reason = BUF_INIT;
    thread_name("scrub");
    while (state_sleep(s, pause_ms * 1000)) {
        buf_clear(&reason);
        int err = scrub(s, true, &reason);
        if (err && err != ERR_CORRUPT && err != ERR_SHUTDOWN)
            state_die(s, buf_str(&reason));
    }
    buf_free(&reason);
    return NULL;
}
