/* SPDX-License-Identifier: MIT
 * Opening the environment, the mark, and reading records: every byte that is
 * handed out was checked first.
 */
#include "store/state_db.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/env.h"
#include "store/guard.h"
#include "store/records.h"
#include "store/run.h"

#define MARK "mark"

/* ---- what is wrong ---- */

int state_db_damaged(const struct state_db *db, struct buf *reason, const char *what)
{
    if (reason)
        buf_printf(reason, "%s/data.mdb is damaged: %s; " RUN_REMEDY_NODE, db->path, what);
    return ERR_CORRUPT;
}

static void append_escaped(struct buf *out, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] < ' ' || p[i] > '~' || p[i] == '"' || p[i] == '\\')
            buf_printf(out, "\\x%02x", p[i]);
        else
            buf_append(out, p + i, 1);
    }
}

int state_db_damaged_key(const struct state_db *db, struct buf *reason, const void *key,
                         size_t key_len, const char *what)
{
    struct buf text = BUF_INIT;
    buf_append_str(&text, "the record of key \"");
    append_escaped(&text, key, key_len);
    buf_printf(&text, "\" %s", what);
    state_db_damaged(db, reason, buf_str(&text));
    buf_free(&text);
    return ERR_CORRUPT;
}

int state_db_failed(const struct state_db *db, struct buf *reason, const char *what, int rc)
{
    int err = store_lmdb_error(rc);
    if (rc == MDB_READERS_FULL)
        err = ERR_OVERLOADED;
    /* A transaction began and LMDB found its pages wrong; or the meta page could not be written. */
    if (err == ERR_NOT_FOUND || (err == ERR_CORRUPT && rc != MDB_PANIC))
        return state_db_damaged(db, reason, what);
    if (reason)
        buf_printf(reason, "cannot read or write %s of %s/data.mdb: %s", what, db->path,
                   mdb_strerror(rc));
    return rc == MDB_PANIC ? ERR_IO : err;
}

/* ---- the mark ---- */

/* All numbers of the mark in their order in the record. */
#define MARK_NUMBERS(X, m)                                                                         \
    X((m)->pos.term)                                                                               \
    X((m)->pos.index)                                                                              \
    X((m)->run_seq)                                                                                \
    X((m)->n_keys)                                                                                 \
    X((m)->bytes)                                                                                  \
    X((m)->sum)                                                                                    \
    X((m)->next_id)                                                                                \
    X((m)->meta_id)                                                                                \
    X((m)->meta_bytes)                                                                             \
    X((m)->last_seq)                                                                               \
    X((m)->part_id)                                                                                \
    X((m)->part_bytes)

static uint32_t mark_crc(const void *p, size_t len)
{
    return crc32c(crc32c(0, MARK, strlen(MARK)), p, len);
}

int state_db_put_mark(struct state_db *db, MDB_txn *txn, const struct state_mark *mark)
{
    struct buf b = BUF_INIT;
    buf_put_u32(&b, 0);
    /* As in the log: a damaged meta page leads to an older state, which is noticed by this. */
    buf_put_u64(&b, mdb_txn_id(txn));
#define X(number) buf_put_u64(&b, number);
    MARK_NUMBERS(X, mark)
#undef X
    buf_put_u32(&b, mark->meta_crc);
    buf_append(&b, mark->key, mark->key_len);
    bytes_put_be(b.data, mark_crc(b.data + 4, b.len - 4), 4);
    MDB_val key = {strlen(MARK), (void *)MARK}, value = {b.len, b.data};
    int rc = mdb_put(txn, db->records, &key, &value, 0);
    buf_free(&b);
    return rc;
}

static int decode_mark(const MDB_val *value, uint64_t txn_id, struct state_mark *ret_mark)
{
    struct bytes_reader r = bytes_reader(value->mv_data, value->mv_size);
    struct state_mark m = {0};
    uint32_t crc = bytes_read_u32(&r);
    if (!bytes_reader_ok(&r) || crc != mark_crc(r.p, r.left) || bytes_read_u64(&r) != txn_id)
        return ERR_CORRUPT;
#define X(number) number = bytes_read_u64(&r);
    MARK_NUMBERS(X, &m)
#undef X
    m.meta_crc = bytes_read_u32(&r);
    m.key_len = r.left;
    if (!bytes_reader_ok(&r) || m.key_len > sizeof m.key)
        return ERR_CORRUPT;
    if (m.key_len > 0)
        memcpy(m.key, r.p, m.key_len);
    *ret_mark = m;
    return 0;
}

int state_db_mark(struct state_db *db, MDB_txn *txn, struct state_mark *ret_mark,
                  struct buf *reason)
{
    MDB_val key = {strlen(MARK), (void *)MARK}, value;
    int rc = mdb_get(txn, db->records, &key, &value);
    if (rc)
        return state_db_failed(db, reason, "the mark", rc);
    if (decode_mark(&value, mdb_txn_id(txn), ret_mark) != 0)
        return state_db_damaged(db, reason, "the mark is not the one that was written last");
    return 0;
}

/* ---- opening ---- */

/* Room for the file to double before the map must grow. */
static size_t map_for(const char *path, size_t map_bytes)
{
    char *file = store_path(path, "data.mdb");
    struct stat st;
    size_t bytes = map_bytes ? map_bytes : STORE_MAP_BYTES;
    if (stat(file, &st) == 0 && (uint64_t)st.st_size < SIZE_MAX / 4)
        while (bytes < 2 * (size_t)st.st_size)
            bytes *= 2;
    mem_free(file);
    return bytes;
}

static int create_tables(struct state_db *db, MDB_txn *txn)
{
    struct state_mark nothing = {.next_id = 1};
    int rc = mdb_dbi_open(txn, NULL, 0, &db->records);
    if (!rc)
        rc = mdb_dbi_open(txn, "keys", MDB_CREATE, &db->keys);
    if (!rc)
        rc = mdb_dbi_open(txn, "chunks", MDB_CREATE, &db->chunks);
    if (!rc)
        rc = store_put_format(txn, db->records, STATE_FORMAT);
    return rc ? rc : state_db_put_mark(db, txn, &nothing);
}

int state_db_create(const char *path, size_t map_bytes, struct buf *reason)
{
    struct state_db db = {.path = (char *)path};
    int err = store_env_open(path, map_for(path, map_bytes), &db.env, reason);
    if (err)
        return err;
    MDB_txn *txn;
    int rc = mdb_txn_begin(db.env, NULL, 0, &txn);
    if (!rc) {
        rc = create_tables(&db, txn);
        if (!rc)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    mdb_env_close(db.env);
    return rc ? state_db_failed(&db, reason, "a new state", rc) : 0;
}

static int open_tables(struct state_db *db, MDB_txn *txn, struct state_mark *ret_mark,
                       struct buf *reason)
{
    uint32_t format;
    int rc = mdb_dbi_open(txn, NULL, 0, &db->records);
    if (!rc)
        rc = store_get_format(txn, db->records, &format);
    if (rc)
        return state_db_failed(db, reason, "the format", rc);
    if (format != STATE_FORMAT) {
        buf_printf(reason, "%s has format %" PRIu32 ", and this version knows format %d only",
                   db->path, format, STATE_FORMAT);
        return ERR_VERSION;
    }
    rc = mdb_dbi_open(txn, "keys", 0, &db->keys);
    if (!rc)
        rc = mdb_dbi_open(txn, "chunks", 0, &db->chunks);
    if (!rc)
        rc = store_env_check(txn, (const MDB_dbi[]){db->keys, db->chunks}, 2);
    return rc ? state_db_failed(db, reason, "its tables", rc)
              : state_db_mark(db, txn, ret_mark, reason);
}

struct open_call {
    struct state_db *db;
    size_t map_bytes;
    struct state_mark *ret_mark;
    struct buf *reason;
};

static int open_env(void *ctx)
{
    struct open_call *call = ctx;
    struct state_db *db = call->db;
    MDB_txn *txn;
    int err = store_env_open(db->path, map_for(db->path, call->map_bytes), &db->env, call->reason);
    if (err)
        return err;
    int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return state_db_failed(db, call->reason, "the state", rc);
    err = open_tables(db, txn, call->ret_mark, call->reason);
    if (err)
        mdb_txn_abort(txn);
    else
        mdb_txn_commit(txn); /* keeps the handles; of a read transaction it cannot fail */
    return err;
}

int state_db_open(struct state_db *db, const char *path, size_t map_bytes,
                  struct state_mark *ret_mark, struct buf *reason)
{
    if (!store_file_exists(path, "data.mdb")) {
        buf_printf(reason, "%s/data.mdb is missing; " RUN_REMEDY_NODE, path);
        return ERR_NOT_FOUND;
    }
    *db = (struct state_db){.path = mem_strdup(path)};
    struct open_call call = {db, map_bytes, ret_mark, reason};
    int err;
    if (!store_guard(open_env, &call, &err)) {
        db->env = NULL; /* it fell over what it read, and cannot even be closed */
        err = state_db_damaged(db, reason, "its pages lead nowhere");
    }
    if (err)
        state_db_close(db);
    return err;
}

void state_db_close(struct state_db *db)
{
    if (db->env)
        mdb_env_close(db->env);
    db->env = NULL;
    MEM_FREE(db->path);
}

uint64_t state_db_used(const struct state_db *db)
{
    return store_env_used(db->env);
}

uint64_t state_db_map(const struct state_db *db)
{
    return store_env_map(db->env);
}

/* ---- reading ---- */

void state_chunk_key(uint64_t id, uint64_t number, uint8_t out[STATE_CHUNK_KEY_BYTES])
{
    bytes_put_be(out, id, 8);
    bytes_put_be(out + 8, number, 4);
}

/* Reads `bytes` bytes in chunks; appends them to out unless it is NULL. LMDB's code. */
static int read_chunks(struct state_db *db, MDB_txn *txn, uint64_t id, uint64_t bytes,
                       struct buf *out, uint32_t *ret_crc)
{
    uint8_t key_bytes[STATE_CHUNK_KEY_BYTES];
    uint32_t crc = 0;
    int rc = 0;
    uint64_t done = 0;
    for (uint64_t n = 0; !rc && done < bytes; n++) {
        MDB_val key = {sizeof key_bytes, key_bytes}, chunk;
        state_chunk_key(id, n, key_bytes);
        rc = mdb_get(txn, db->chunks, &key, &chunk);
        if (rc)
            break;
        uint64_t want = bytes - done;
        if (chunk.mv_size != (want < STATE_ITEM_BYTES_MAX ? want : STATE_ITEM_BYTES_MAX))
            return MDB_NOTFOUND;
        if (out)
            buf_append(out, chunk.mv_data, chunk.mv_size);
        /* Over the copy: what is handed out is what was checked. */
        crc =
            crc32c(crc, out ? out->data + out->len - chunk.mv_size : chunk.mv_data, chunk.mv_size);
        done += chunk.mv_size;
    }
    if (!rc)
        *ret_crc = crc;
    return rc;
}

/* One that held a large value does not keep so much memory. */
static void empty(struct buf *b)
{
    if (b->cap > MIB)
        buf_free(b);
    buf_clear(b);
}

static int load_chunks(struct state_db *db, MDB_txn *txn, const MDB_val *key,
                       const struct state_record *r, struct buf *data, struct buf *reason)
{
    uint32_t crc = 0;
    if (data)
        buf_reserve(data, r->value.len);
    int rc = read_chunks(db, txn, r->id, r->value.len, data, &crc);
    if (rc == MDB_NOTFOUND)
        return state_db_damaged_key(db, reason, key->mv_data, key->mv_size, "lacks a chunk");
    if (rc)
        return state_db_failed(db, reason, "the chunks", rc);
    if (crc != r->value_crc)
        return state_db_damaged_key(db, reason, key->mv_data, key->mv_size,
                                    "does not match the checksum of its value");
    return 0;
}

static int decode(struct state_db *db, const MDB_val *key, const void *p, size_t len,
                  struct state_record *ret_record, struct buf *reason)
{
    if (state_record_decode(key->mv_data, key->mv_size, p, len, ret_record) != 0)
        return state_db_damaged_key(db, reason, key->mv_data, key->mv_size,
                                    "does not match its checksum");
    return 0;
}

/* Puts the value in place of its record in data, and the attributes behind it. */
static int load_large(struct state_db *db, MDB_txn *txn, const MDB_val *key, struct state_record *r,
                      struct buf *data, struct buf *reason)
{
    uint8_t attrs[LIMIT_ATTRS_BYTES];
    struct kv_value *value = &r->value;
    if (value->attrs_len)
        memcpy(attrs, value->attrs, value->attrs_len);
    buf_clear(data);
    buf_reserve(data, value->len + value->attrs_len);
    int err = load_chunks(db, txn, key, r, data, reason);
    buf_append(data, attrs, value->attrs_len);
    value->data = data->data;
    value->attrs = data->data + value->len;
    return err;
}

int state_db_load(struct state_db *db, MDB_txn *txn, const MDB_val *key, const MDB_val *item,
                  struct buf *data, struct kv_value *ret_value, struct buf *reason)
{
    struct state_record r;
    empty(data);
    buf_append(data, item->mv_data, item->mv_size);
    int err = decode(db, key, data->data, data->len, &r, reason);
    if (!err && r.chunked)
        err = load_large(db, txn, key, &r, data, reason);
    if (!err)
        *ret_value = r.value;
    return err;
}

int state_db_check(struct state_db *db, MDB_txn *txn, const MDB_val *key, const MDB_val *item,
                   struct state_record *ret_record, struct buf *reason)
{
    struct state_record r;
    int err = decode(db, key, item->mv_data, item->mv_size, &r, reason);
    if (!err && r.chunked)
        err = load_chunks(db, txn, key, &r, NULL, reason);
    if (!err && ret_record)
        *ret_record = r;
    return err;
}

int state_db_meta(struct state_db *db, MDB_txn *txn, const struct state_mark *mark, struct buf *out,
                  struct buf *reason)
{
    uint32_t crc = 0;
    size_t before = out->len;
    int rc = read_chunks(db, txn, mark->meta_id, mark->meta_bytes, out, &crc);
    if (!rc && crc == mark->meta_crc)
        return 0;
    out->len = before;
    return state_db_failed(db, reason, "the meta record", rc ? rc : MDB_CORRUPTED);
}
