/* SPDX-License-Identifier: MIT
 * The LMDB part of a generation of the state, DIR/state-<gen>/data.mdb:
 *
 *      main database    records by name: "format" "mark"
 *      "keys"           records by key, see state_record.h
 *      "chunks"         large values by (id u64, number u32), big-endian
 *
 * "mark" is written in every transaction: how far runs are merged into it, and
 * what is in it. So data and position never part (PITFALLS 55), and a merge goes
 * on after a restart where it was.
 */
#ifndef STORE_STATE_DB_H
#define STORE_STATE_DB_H

#include <lmdb.h>

#include "base/buf.h"
#include "base/limits.h"
#include "kv/kv.h"
#include "store/state_record.h"

#define STATE_FORMAT 2

struct state_mark {
    struct kv_pos pos; /* as of the last run merged whole */
    uint64_t run_seq;  /* of that run */
    uint64_t n_keys;
    uint64_t bytes; /* of keys and values */
    uint64_t sum;   /* of all records' crc */
    uint64_t next_id;
    uint64_t meta_id, meta_bytes; /* that run's meta, in chunks; id 0: none yet */
    uint32_t meta_crc;
    /* The runs after it that are at work, as far as they are merged. */
    uint64_t last_seq;            /* of the newest of them; 0: none are */
    uint64_t part_id, part_bytes; /* chunks of the record that is being written; id 0: none */
    size_t key_len;               /* 0: nothing is merged yet */
    uint8_t key[LIMIT_KEY_BYTES]; /* the last record merged whole */
};

struct state_db {
    MDB_env *env;
    MDB_dbi records, keys, chunks;
    char *path; /* of the directory, owned */
};

/* Makes DIR/data.mdb in an existing directory: no keys, position 0. Durable but for its name. */
MUST_CHECK int state_db_create(const char *path, size_t map_bytes, struct buf *reason);
/* Fills *db; on failure there is nothing to close. CORRUPT, VERSION, NOT_FOUND (nothing was ever
 * made there) ... with a reason. The map has room for as much again as there is, and `map_bytes`
 * at least (0: STORE_MAP_BYTES). */
MUST_CHECK int state_db_open(struct state_db *db, const char *path, size_t map_bytes,
                             struct state_mark *ret_mark, struct buf *reason);
void state_db_close(struct state_db *db);
/* Bytes of the file that were ever used, and how many there may be. */
uint64_t state_db_used(const struct state_db *db);
uint64_t state_db_map(const struct state_db *db);

/* ---- reading, in a transaction ----
 * What is found damaged is CORRUPT with one line in *reason, which may be NULL. */

MUST_CHECK int state_db_mark(struct state_db *db, MDB_txn *txn, struct state_mark *ret_mark,
                             struct buf *reason);
/* Appends the meta bytes to out. */
MUST_CHECK int state_db_meta(struct state_db *db, MDB_txn *txn, const struct state_mark *mark,
                             struct buf *out, struct buf *reason);
/* The value of an item of the table of keys. It is copied to *data, whose former content goes, and
 * borrowed from there: for pages of a transaction that ends are written again. */
MUST_CHECK int state_db_load(struct state_db *db, MDB_txn *txn, const MDB_val *key,
                             const MDB_val *item, struct buf *data, struct kv_value *ret_value,
                             struct buf *reason);
/* Checks the same without a copy; *ret_record may be NULL. */
MUST_CHECK int state_db_check(struct state_db *db, MDB_txn *txn, const MDB_val *key,
                              const MDB_val *item, struct state_record *ret_record,
                              struct buf *reason);

/* ---- for writing ---- */

#define STATE_CHUNK_KEY_BYTES 12
void state_chunk_key(uint64_t id, uint64_t number, uint8_t out[STATE_CHUNK_KEY_BYTES]);
int state_db_put_mark(struct state_db *db, MDB_txn *txn,
                      const struct state_mark *mark); /* LMDB's code */
/* Says what an LMDB call's failure means: its code, and one line. */
int state_db_failed(const struct state_db *db, struct buf *reason, const char *what, int rc);
/* "PATH is damaged: the record of key "..." WHAT; remedy". Returns CORRUPT. */
int state_db_damaged_key(const struct state_db *db, struct buf *reason, const void *key,
                         size_t key_len, const char *what);
int state_db_damaged(const struct state_db *db, struct buf *reason, const char *what);

#endif
