/* SPDX-License-Identifier: MIT
 * A run: records in key order in one file that is written once and searched in
 * place. A checkpoint of the memtable, a snapshot for a follower and a backup
 * are all such a file. crabcluster-format(5) has every byte of it:
 *
 *      header | block | block | ... | meta | filter | index | footer
 *
 * It is made front to back, so that what is written to a file may as well be
 * streamed. Every byte is under a checksum. What a checksum finds is an error
 * with one line for people, never wrong data; so is a disk that cannot read.
 */
#ifndef STORE_RUN_H
#define STORE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kv/cursor.h"

#define RUN_FORMAT_VERSION 2

/* What to do about a damaged file, after "; ": for files of a node, and for those of people. */
#define RUN_REMEDY_NODE                                                                            \
    "remove this node from the cluster, move its data directory away, and add it to the cluster "  \
    "as a new member, so that it copies the data from its peers"
#define RUN_REMEDY_BACKUP "copy the file again from where it was made, or use another one"

/* What a run says of itself in its footer. */
struct run_info {
    uint64_t n_records;     /* tombstones included */
    uint64_t n_deleted;     /* tombstones */
    uint64_t content_bytes; /* keys and values, summed up */
    uint64_t file_bytes;
    uint64_t n_blocks;
    uint64_t meta_bytes;
    uint32_t digest; /* CRC-32C of the whole file before the footer */
};

/* ---- writing: one thread ---- */

struct run_writer; /* opaque */

/* Makes the file `path` anew, mode 0600. *ret_writer is owned by the caller,
 * who ends it by run_writer_finish() or run_writer_abort(). PERMISSION,
 * NO_SPACE, INVALID or IO, with one line in *reason. */
MUST_CHECK int run_writer_new(const char *path, struct run_writer **ret_writer, struct buf *reason);

/* Takes the bytes of a run in order. 0, or an error with a line in *reason. */
typedef int run_sink_fn(void *ctx, const void *p, size_t len, struct buf *reason);
/* The same bytes, handed to sink(ctx, ...) piece by piece instead of a file. */
struct run_writer *run_writer_new_stream(run_sink_fn *sink, void *ctx);

/* Adds a record; its key is above those before, and key and value are within
 * the limits. Copies what it needs. Of a tombstone only value.revision is kept.
 * The first error stays: every further call returns it and does nothing, and
 * run_writer_finish() has its reason, so that it may be ignored until then. */
int run_writer_put(struct run_writer *w, const struct kv_record *record);
/* Bytes given to the file or sink so far, or waiting for it; for whoever paces the writing. */
uint64_t run_writer_bytes(const struct run_writer *w);

/* Writes what is left, with len bytes of meta of the caller's making, and syncs
 * the file (not its directory: that and a rename are the caller's). Frees *w and
 * nulls the pointer in any case. On an error (NO_SPACE, IO, or the sink's) the
 * file is removed and *reason has one line; after IO nothing may be tried again
 * (PITFALLS 54). ret_info may be NULL. */
MUST_CHECK int run_writer_finish(struct run_writer **w, const void *meta, size_t len,
                                 struct run_info *ret_info, struct buf *reason);
/* Gives up: removes the file. Frees *w and nulls the pointer; NULL is accepted. */
void run_writer_abort(struct run_writer **w);

/* ---- reading: any number of threads at once ---- */

struct run; /* opaque; counts its references, atomically */

/* Opens a finished run with one reference, owned by the caller. Checks all but
 * the blocks: header, footer, filter, index, meta. The file may be unlinked or renamed
 * while it is open, but never changed. `remedy` (static, one of RUN_REMEDY_...)
 * ends the lines about damage.
 *   NOT_FOUND, PERMISSION, IO   the file cannot be opened
 *   INVALID                     it is a file of another kind
 *   VERSION                     it is a run of a format that this version does not know
 *   CORRUPT                     it is cut short or altered
 * each with one line in *reason. Filter and index are held in memory, the rest is mapped. */
MUST_CHECK int run_open(const char *path, const char *remedy, struct run **ret_run,
                        struct buf *reason);
/* The same over bytes in memory, which outlive the run; for tests. */
MUST_CHECK int run_open_bytes(const void *p, size_t len, const char *remedy, struct run **ret_run,
                              struct buf *reason);

struct run *run_ref(struct run *r);
/* Drops a reference and nulls the pointer; NULL is accepted. The last one closes the file. */
void run_unref(struct run **r);

/* The record with this key, tombstones too. What it points to is in the mapped
 * file: borrowed until the caller's reference to the run is dropped. NOT_FOUND;
 * CORRUPT with one line in *reason (which may be NULL). */
MUST_CHECK int run_get(struct run *r, const void *key, size_t key_len, struct kv_record *ret_record,
                       struct buf *reason);
/* The record of the first run that has the key, and which one that is; else NOT_FOUND.
 * CORRUPT: of run *ret_i. */
MUST_CHECK int run_get_first(struct run *const runs[], unsigned n, const void *key, size_t key_len,
                             struct kv_record *ret_record, unsigned *ret_i);
/* Brings what run_get_first() of these keys looks at into the processor's cache. Answers how many
 * of them no run has, and these. */
unsigned run_prefetch_keys(struct run *const runs[], unsigned n, const struct kv_bytes keys[],
                           unsigned n_keys, struct kv_bytes ret_rest[]);

/* All records, tombstones too; holds a reference of its own until it is closed.
 * Key and value stay for as long as the cursor is open, not only until it moves.
 * CORRUPT: see run_damage(). */
struct kv_cursor *run_cursor(struct run *r);

/* What was first found wrong with this run, by whomever: appends the line, or
 * returns false when nothing was. */
bool run_damage(struct run *r, struct buf *reason);

/* Appends the meta bytes to out. CORRUPT with one line in *reason. */
MUST_CHECK int run_meta(struct run *r, struct buf *out, struct buf *reason);
struct run_info run_info(const struct run *r);
/* The path it was opened by, for log lines; borrowed. */
const char *run_path(const struct run *r);

/* Reads the whole file in order: every checksum, the order of all keys, the
 * counts, the digest. CORRUPT with one line in *reason. */
MUST_CHECK int run_verify(struct run *r, struct buf *reason);
/* The same of len bytes or more from *at on (0 at first); moves *at on, to the size of the file at
 * the end. For a scrub that goes slowly; leaves out the digest, which the checksums imply. */
MUST_CHECK int run_verify_some(struct run *r, uint64_t *at, uint64_t len, struct buf *reason);

#endif
