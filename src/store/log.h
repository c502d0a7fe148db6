/* SPDX-License-Identifier: MIT
 * The environment DIR/log: transactions over the log, the hard state and the
 * identity.
 *
 *      main database     records by name: "format" "identity" "hard-state" "ends" "base"
 *      "entries"         entries by index (MDB_INTEGERKEY), always appended
 *
 * Entries up to the base are of no meaning any more. They are deleted a few at
 * a time by the transactions that follow, so that none takes long.
 *
 * Most writes are in the journal (journal.h) before they are here: what the
 * environment holds is the log only together with it.
 *
 * "ends" holds the number of the transaction, so that a state that is not the
 * one it says is noticed, and the first and last link of the chain, so that a
 * log that lost entries at its end is noticed. And it holds the number of the
 * journal's batch up to which everything is here.
 */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include <lmdb.h>

#include "base/buf.h"
#include "node/storage.h"
#include "store/journal.h"
#include "store/records.h"
#include "store/store.h"

struct store_log {
    MDB_env *env;
    MDB_dbi records, entries;
    struct store_ends ends;        /* as last committed */
    struct store_base base;        /* likewise; its pos is that of the ends */
    struct store_journal *journal; /* owned; NULL: not open yet */
    uint64_t mix;                  /* of this node and start: see store_journal_begin() */
    char *path;                    /* owned */
};

/* Opens DIR/NAME ("log", but for one that is being made), which must be a directory. *ret_is_new:
 * it was empty, and nothing but what store_log_create() writes may be asked. Errors with a reason.
 */
MUST_CHECK int store_log_open(const char *dir, const char *name, size_t map_bytes,
                              struct store_log **ret_log, bool *ret_is_new, struct buf *reason);
void store_log_close(struct store_log **log);

/* Writes the format, this identity and an empty log that begins there: durable afterwards. */
MUST_CHECK int store_log_create(struct store_log *log, const struct storage_identity *identity,
                                const struct store_base *base, struct buf *reason);
/* Opens the journal, takes over what it has, reads the identity, counts the boot, and makes all of
 * that durable. */
MUST_CHECK int store_log_boot(struct store_log *log, struct storage_identity *ret_identity,
                              struct buf *reason);
/* The index that a key of the table of entries holds; 0: it is no key of ours.
 * LMDB aligns keys to 2 bytes only. */
uint64_t store_key_index(const MDB_val *key);
/* See store_scan(). */
MUST_CHECK int store_log_scan(struct store_log *log, const struct store_visitor *visitor,
                              struct buf *reason);

#endif
