/* SPDX-License-Identifier: MIT
 * The small records beside the log, each with a checksum: CRC-32C over its name
 * and content, so that a record in another's place is noticed too.
 */
#ifndef STORE_RECORDS_H
#define STORE_RECORDS_H

#include <lmdb.h>

#include "node/storage.h"
#include "raft/snapshot.h"
#include "store/entry.h"

#define STORE_FORMAT 3

struct store_ends {
    struct store_link base; /* the log begins after this place */
    struct store_link last; /* its last entry; base when it is empty */
    uint64_t journal_seq;   /* the last batch of the journal that is in it */
};

/* Codes of all are LMDB's, for use inside transactions. get: MDB_NOTFOUND,
 * MDB_CORRUPTED (checksum or length); the output is untouched then. */
int store_put_format(MDB_txn *txn, MDB_dbi dbi, uint32_t format);
int store_get_format(MDB_txn *txn, MDB_dbi dbi, uint32_t *ret_format);
int store_put_identity(MDB_txn *txn, MDB_dbi dbi, const struct storage_identity *identity);
int store_get_identity(MDB_txn *txn, MDB_dbi dbi, struct storage_identity *ret_identity);
int store_put_hard_state(MDB_txn *txn, MDB_dbi dbi, const struct raft_hard_state *hs);
int store_get_hard_state(MDB_txn *txn, MDB_dbi dbi, struct raft_hard_state *ret_hs);
/* The ends are written in every transaction, with its number: LMDB's pages that
 * name the newest state have no checksum, and one that is damaged or torn leads
 * to an older state, or to parts of two. get is for read transactions. */
int store_put_ends(MDB_txn *txn, MDB_dbi dbi, const struct store_ends *ends);
int store_get_ends(MDB_txn *txn, MDB_dbi dbi, struct store_ends *ret_ends);

/* What stands where the log no longer is: which generation of the state counts, and the
 * configuration that goes with the base. The base's place is that of the ends. */
struct store_base {
    uint64_t generation;
    struct raft_base raft; /* pos 0: the log begins at the beginning */
};
int store_put_base(MDB_txn *txn, MDB_dbi dbi, const struct store_base *base);
int store_get_base(MDB_txn *txn, MDB_dbi dbi, struct store_base *ret_base);

#endif
