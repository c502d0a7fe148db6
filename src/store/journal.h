/* SPDX-License-Identifier: MIT
 * The journal beside LMDB in DIR/log: where writes of the log are durable first.
 *
 * A commit of LMDB writes pages of several tables and syncs twice, one after the
 * other. An append to a file whose blocks are all there is one write and one
 * sync. So what the driver waits for is appended here, and when some MiB have
 * come together one transaction takes all of it over (it "settles"); then the
 * journal begins anew at its start. LMDB's "ends" say up to which batch that was.
 *
 *      |  batch 18, two sectors  |  batch 19  | older batches, or zeros ... |
 *
 * A batch is what is made durable at once, any number of writes. Each of its
 * sectors (512 bytes, which a disk writes whole or not at all) says which batch
 * it belongs to, which part of it this is, and has a checksum of its own:
 *
 *      crc u32 | parts u16 | part u16 | batch u64 | 496 bytes of the writes
 *
 * So a batch that the power failed in, parts of which are older ones, is told
 * from one that was damaged, a part of which is no sector at all. The first was
 * never acknowledged and is the end; the second may have been (PITFALLS 53).
 * Batches are numbered on without a gap, and with each start of the node from
 * far above on, so that what a failed one left is older than all that follow.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "node/storage.h"

#define STORE_JOURNAL_FILE  "journal"
#define STORE_JOURNAL_BYTES (4 * MIB)
/* What the first batch of the next start of the node comes after: more than one start can make. */
#define STORE_JOURNAL_NEXT_START(seq) ((((uint64_t)(seq) >> 40) + 1) << 40)

struct store_journal; /* opaque */

/* Makes DIR/journal of so many bytes (0: STORE_JOURNAL_BYTES), all zeros; durable but for its name.
 * Errors with a reason. */
MUST_CHECK int store_journal_make(const char *dir, size_t bytes, struct buf *reason);
/* Opens DIR/journal. NOT_FOUND, CORRUPT (of no size that was ever made), IO ... with a reason. */
MUST_CHECK int store_journal_open(const char *dir, struct store_journal **ret_journal,
                                  struct buf *reason);
/* Nulls the pointer; NULL is accepted. */
void store_journal_close(struct store_journal **j);

/* Reads the whole file and visits the writes of each batch after `after`, in order; the visitor's
 * error ends it. CORRUPT when a batch that may have been acknowledged is not there, with a reason
 * that says what is wrong. */
typedef int store_journal_fn(void *ctx, const struct storage_write *w);
MUST_CHECK int store_journal_scan(struct store_journal *j, uint64_t after, store_journal_fn *visit,
                                  void *ctx, struct buf *reason);
/* All that was written since the journal began, read back. Errors as above, without a reason. */
MUST_CHECK int store_journal_replay(struct store_journal *j, store_journal_fn *visit, void *ctx);
/* Everything up to batch `seq` is of no meaning any more: the next one has the number after it and
 * is at the start. `mix` (any number, best another at each node) decides when it is due: nodes that
 * write the same must not settle at the same time. */
void store_journal_begin(struct store_journal *j, uint64_t seq, uint64_t mix);

/* Adds a write to the batch that is being filled. False, and nothing is changed: it is of a kind
 * that goes to LMDB at once (it changes where the log begins, or who the node is), or too large. */
MUST_CHECK bool store_journal_add(struct store_journal *j, const struct storage_write *w);
/* Makes what was added durable. An error, with errno as it was: what the disk holds is unknown. */
MUST_CHECK int store_journal_write(struct store_journal *j);

/* So much is in it that it is to be settled now: before the next batch. */
bool store_journal_is_due(const struct store_journal *j);
/* The number of the last batch. */
uint64_t store_journal_seq(const struct store_journal *j);
/* Bytes in use; 0: it is empty. */
size_t store_journal_used(const struct store_journal *j);
/* The file's. */
size_t store_journal_size(const struct store_journal *j);
/* From which entry on the log in LMDB is not the newest any more; UINT64_MAX: it is. */
uint64_t store_journal_first_index(const struct store_journal *j);

#endif
