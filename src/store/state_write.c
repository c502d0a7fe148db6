/* SPDX-License-Identifier: MIT
 * Records are absolute, so that bringing one in again does no harm. The mark
 * counts what is in the tables: so every record that goes is looked at first.
 */
#include "store/state_write.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

/* What a small record costs at most: a page of its own is written for it; and what it costs beside
 * others in a page that is written anyway: no more than memory that it takes up. */
#define RECORD_COST 4096
#define BESIDE_COST 32
/* How many are taken out at once: many, for the last page of them may be split. */
#define TAKE_ITEMS 1000
#define TAKE_BYTES (256 * KIB)
#define TAKEN_HEAD 4 /* two lengths */
#define PAGE_BYTES 4096

static void fail(struct state_write *w, const char *what, int rc)
{
    if (w->err || !rc)
        return;
    w->err = state_db_failed(w->db, w->reason, what, rc);
    w->map_full = rc == MDB_MAP_FULL;
}

void state_write_begin(struct state_write *w, struct state_db *db, const struct state_mark *mark,
                       uint64_t last_seq, size_t bytes_max, bool packs, struct buf *reason)
{
    ASSERT(last_seq > mark->run_seq && (!mark->last_seq || mark->last_seq == last_seq));
    *w = (struct state_write){
        .db = db, .mark = *mark, .bytes_max = bytes_max, .packs = packs, .reason = reason};
    w->mark.last_seq = last_seq;
    fail(w, "a slice", mdb_txn_begin(db->env, NULL, 0, &w->txn));
    if (!w->err)
        fail(w, "the table of keys", mdb_cursor_open(w->txn, db->keys, &w->keys));
}

/* ---- chunks ---- */

static void put_chunk(struct state_write *w, const uint8_t *data, size_t len)
{
    uint8_t key_bytes[STATE_CHUNK_KEY_BYTES];
    state_chunk_key(w->mark.part_id, w->mark.part_bytes / STATE_ITEM_BYTES_MAX, key_bytes);
    MDB_val key = {sizeof key_bytes, key_bytes}, value = {len, (void *)data};
    fail(w, "the chunks", mdb_put(w->txn, w->db->chunks, &key, &value, 0));
    w->mark.part_bytes += len;
    w->bytes += RECORD_COST;
}

/* Goes on writing a large value. True: all of it is there, as *ret_id. */
static bool put_chunks(struct state_write *w, const uint8_t *data, size_t len, uint64_t *ret_id)
{
    struct state_mark *m = &w->mark;
    if (!m->part_id)
        m->part_id = m->next_id++;
    while (m->part_bytes < len) {
        size_t left = len - (size_t)m->part_bytes;
        if (w->bytes >= w->bytes_max)
            return false;
        put_chunk(w, data + m->part_bytes,
                  left < STATE_ITEM_BYTES_MAX ? left : STATE_ITEM_BYTES_MAX);
        if (w->err)
            return false;
    }
    *ret_id = m->part_id;
    m->part_id = m->part_bytes = 0;
    return true;
}

static void delete_chunks(struct state_write *w, uint64_t id, uint64_t bytes)
{
    uint8_t key_bytes[STATE_CHUNK_KEY_BYTES];
    for (uint64_t n = 0; n * STATE_ITEM_BYTES_MAX < bytes && !w->err; n++) {
        MDB_val key = {sizeof key_bytes, key_bytes};
        state_chunk_key(id, n, key_bytes);
        fail(w, "the chunks", mdb_del(w->txn, w->db->chunks, &key, NULL));
    }
}

/* ---- what goes ---- */

/* A record that is replaced or deleted; LMDB's item is of no use afterwards. */
static void forget(struct state_write *w, const MDB_val *key, const MDB_val *item,
                   struct state_record *ret_old)
{
    if (state_record_decode(key->mv_data, key->mv_size, item->mv_data, item->mv_size, ret_old)) {
        w->err = state_db_damaged_key(w->db, w->reason, key->mv_data, key->mv_size,
                                      "does not match its checksum");
        return;
    }
    w->mark.n_keys--;
    w->mark.bytes -= key->mv_size + ret_old->value.len;
    w->mark.sum -= ret_old->crc;
}

static void delete_old_chunks(struct state_write *w, const struct state_record *old)
{
    if (!w->err && old->chunked)
        delete_chunks(w, old->id, old->value.len);
}

/* ---- packing ---- */

static void take(struct state_write *w, const MDB_val *key, const MDB_val *item)
{
    buf_put_u16(&w->taken, (uint16_t)key->mv_size);
    buf_put_u16(&w->taken, (uint16_t)item->mv_size);
    buf_append(&w->taken, key->mv_data, key->mv_size);
    buf_append(&w->taken, item->mv_data, item->mv_size);
}

/* Copies the records from key on, up to the end of a page: were there others
 * after them in theirs, what is put back would split it again and again. Keys of
 * one page lie in one page of the map. Returns how many. */
static unsigned copy_from(struct state_write *w, MDB_val key)
{
    MDB_val item;
    unsigned n = 0;
    uintptr_t page = 0;
    int rc = mdb_cursor_get(w->keys, &key, &item, MDB_SET_RANGE);
    while (!rc) {
        uintptr_t here = (uintptr_t)key.mv_data / PAGE_BYTES;
        if ((n >= TAKE_ITEMS || w->taken.len >= TAKE_BYTES) && here != page)
            return n;
        page = here;
        take(w, &key, &item);
        n++;
        rc = mdb_cursor_get(w->keys, &key, &item, MDB_NEXT);
    }
    if (rc != MDB_NOTFOUND)
        fail(w, "the table of keys", rc);
    return n;
}

/* Takes out the records from key on. */
static void take_from(struct state_write *w, MDB_val key)
{
    MDB_val item;
    buf_clear(&w->taken);
    w->taken_at = 0;
    unsigned n = copy_from(w, key);
    int rc = n && !w->err ? mdb_cursor_get(w->keys, &key, &item, MDB_SET_RANGE) : MDB_NOTFOUND;
    while (!rc && n-- > 0) {
        rc = mdb_cursor_del(w->keys, 0);
        if (!rc && n > 0)
            rc = mdb_cursor_get(w->keys, &key, &item, MDB_NEXT); /* the one after it */
    }
    if (rc != MDB_NOTFOUND)
        fail(w, "the table of keys", rc);
}

static bool has_taken(const struct state_write *w)
{
    return w->taken_at < w->taken.len;
}

static void next_taken(const struct state_write *w, MDB_val *ret_key, MDB_val *ret_item)
{
    uint8_t *p = w->taken.data + w->taken_at;
    size_t key_len = (size_t)bytes_get_be(p, 2), item_len = (size_t)bytes_get_be(p + 2, 2);
    *ret_key = (MDB_val){key_len, p + TAKEN_HEAD};
    *ret_item = (MDB_val){item_len, p + TAKEN_HEAD + key_len};
}

static void pass_taken(struct state_write *w, const MDB_val *key, const MDB_val *item)
{
    w->taken_at += TAKEN_HEAD + key->mv_size + item->mv_size;
}

static int compare(const MDB_val *a, const MDB_val *b)
{
    size_t len = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    int order = memcmp(a->mv_data, b->mv_data, len);
    return order ? order : (a->mv_size > b->mv_size) - (a->mv_size < b->mv_size);
}

/* Puts back what was taken and is below key; NULL: all. What was taken of key itself goes for good:
 * *ret_old. */
static void put_back(struct state_write *w, const MDB_val *key, struct state_record *ret_old)
{
    MDB_val taken, item;
    int order = -1;
    while (has_taken(w) && !w->err) {
        next_taken(w, &taken, &item);
        order = key ? compare(&taken, key) : -1;
        if (order > 0)
            return;
        if (order == 0)
            forget(w, &taken, &item, ret_old);
        else
            fail(w, "the table of keys", mdb_cursor_put(w->keys, &taken, &item, MDB_NOOVERWRITE));
        w->bytes += taken.mv_size + item.mv_size;
        pass_taken(w, &taken, &item);
    }
}

/* ---- records ---- */

static void delete_record(struct state_write *w, MDB_val key)
{
    struct state_record old = {0};
    MDB_val found = key, item;
    put_back(w, &key, &old);
    int rc = mdb_cursor_get(w->keys, &found, &item, MDB_SET_KEY);
    if (!rc) {
        forget(w, &key, &item, &old);
        if (!w->err)
            rc = mdb_cursor_del(w->keys, 0);
    }
    if (rc != MDB_NOTFOUND)
        fail(w, "the table of keys", rc);
    w->bytes += RECORD_COST;
    delete_old_chunks(w, &old);
}

/* A record replaced another one's item: was the page copied for it, or before? */
static void count_page(struct state_write *w, const void *item_before)
{
    MDB_val key, item;
    int rc = mdb_cursor_get(w->keys, &key, &item, MDB_GET_CURRENT);
    fail(w, "the table of keys", rc);
    w->bytes += !rc && item.mv_data == item_before ? BESIDE_COST : RECORD_COST;
}

/* Most of what is written was there before and is as large: true, if it is done with that. */
static bool replace_item(struct state_write *w, MDB_val key, MDB_val new_item,
                         struct state_record *ret_old)
{
    /* LMDB's own key is in the page, and would move in it under what puts it there again. */
    MDB_val found = key, item;
    int rc = mdb_cursor_get(w->keys, &found, &item, MDB_SET_KEY);
    if (!rc && item.mv_size == new_item.mv_size) {
        forget(w, &key, &item, ret_old);
        if (!w->err)
            fail(w, "the table of keys", mdb_cursor_put(w->keys, &key, &new_item, MDB_CURRENT));
        if (!w->err)
            count_page(w, item.mv_data);
        return true;
    }
    if (rc != MDB_NOTFOUND)
        fail(w, "the table of keys", rc);
    return w->err != 0;
}

static void put_item(struct state_write *w, MDB_val key, MDB_val new_item, struct state_record *old)
{
    MDB_val item = new_item;
    int rc = mdb_cursor_put(w->keys, &key, &item, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST) { /* the item is the one that is there, and the cursor at it */
        forget(w, &key, &item, old);
        if (w->err)
            return;
        rc = mdb_cursor_put(w->keys, &key, &new_item, MDB_CURRENT);
    }
    fail(w, "the table of keys", rc);
}

static void put_record(struct state_write *w, MDB_val key, struct state_record *r)
{
    uint8_t bytes[STATE_ITEM_BYTES_MAX];
    struct state_record old = {0};
    size_t len = state_record_encode(r, key.mv_data, key.mv_size, bytes);
    MDB_val item = {len, bytes};
    if (has_taken(w) || !replace_item(w, key, item, &old)) {
        if (w->packs && !has_taken(w))
            take_from(w, key);
        put_back(w, &key, &old);
        if (!w->err)
            put_item(w, key, item, &old);
        w->bytes += has_taken(w) ? key.mv_size + item.mv_size + BESIDE_COST : RECORD_COST;
    }
    w->mark.n_keys++;
    w->mark.bytes += key.mv_size + r->value.len;
    w->mark.sum += r->crc;
    delete_old_chunks(w, &old);
}

bool state_write_record(struct state_write *w, const struct kv_record *record)
{
    struct state_mark *m = &w->mark;
    if (w->err || w->bytes >= w->bytes_max)
        return false;
    MDB_val key = {record->key_len, (void *)record->key};
    struct state_record r = {.value = record->value};
    r.chunked = !record->deleted && state_record_must_be_chunked(&record->value);
    if (r.chunked) {
        if (!put_chunks(w, record->value.data, record->value.len, &r.id))
            return false;
        r.value_crc = crc32c(0, record->value.data, record->value.len);
    }
    if (record->deleted)
        delete_record(w, key);
    else
        put_record(w, key, &r);
    ASSERT(record->key_len <= sizeof m->key);
    memcpy(m->key, record->key, record->key_len);
    m->key_len = record->key_len;
    return !w->err;
}

bool state_write_end_runs(struct state_write *w, struct kv_pos pos, const void *meta,
                          size_t meta_len)
{
    struct state_mark *m = &w->mark;
    uint64_t id, old_id = m->meta_id, old_bytes = m->meta_bytes;
    if (w->err || !put_chunks(w, meta, meta_len, &id))
        return false;
    ASSERT(m->last_seq > m->run_seq && pos.index >= m->pos.index);
    m->meta_id = id;
    m->meta_bytes = meta_len;
    m->meta_crc = crc32c(0, meta, meta_len);
    m->run_seq = m->last_seq;
    m->last_seq = 0;
    m->pos = pos;
    m->key_len = 0;
    if (old_id)
        delete_chunks(w, old_id, old_bytes);
    return !w->err;
}

int state_write_commit(struct state_write *w, struct state_mark *ret_mark)
{
    put_back(w, NULL, NULL);
    if (!w->err)
        fail(w, "the mark", state_db_put_mark(w->db, w->txn, &w->mark));
    if (w->err) {
        state_write_abort(w);
        return w->err;
    }
    mdb_cursor_close(w->keys);
    w->keys = NULL;
    buf_free(&w->taken);
    int rc = mdb_txn_commit(w->txn);
    w->txn = NULL;
    fail(w, "a slice", rc);
    if (!w->err)
        *ret_mark = w->mark;
    return w->err;
}

void state_write_abort(struct state_write *w)
{
    if (w->keys)
        mdb_cursor_close(w->keys);
    if (w->txn)
        mdb_txn_abort(w->txn);
    w->keys = NULL;
    w->txn = NULL;
    buf_free(&w->taken);
}
