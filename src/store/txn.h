/* SPDX-License-Identifier: MIT
 * Transactions over the log: one synced write for many storage_writes, and reads.
 */
#ifndef STORE_TXN_H
#define STORE_TXN_H

#include "store/log.h"

/* One write transaction. Errors stick: apply what there is, then look at the commit. */
struct store_txn {
    struct store_log *log;
    MDB_txn *txn;
    MDB_cursor *cursor; /* over entries */
    struct store_ends ends;
    struct store_base base;
    bool base_changed;
    bool replays; /* what comes is from the disk: not ours, but an error, if it does not fit */
    unsigned n_appended;
    int rc; /* LMDB's */
};
void store_txn_begin(struct store_txn *t, struct store_log *log);
/* First of all in a transaction: what is in the journal, since this start of the node began it.
 * With the commit it begins anew. */
void store_txn_settle(struct store_txn *t);
/* The same of one that an earlier start left. CORRUPT, IO ... with a reason. */
MUST_CHECK int store_txn_recover(struct store_txn *t, struct buf *reason);
/* generation: of the state that w installs; any, if it installs none. */
void store_txn_apply(struct store_txn *t, const struct storage_write *w, uint64_t generation);
/* 0: everything applied is durable. Otherwise nothing may be assumed, *ret_rc says why (LMDB's
 * code), and the process must end. */
MUST_CHECK int store_txn_commit(struct store_txn *t, int *ret_rc);

/* Answers a load from what is durable. CORRUPT, IO. */
MUST_CHECK int store_log_load(struct store_log *log, struct storage_load *l);

#endif
