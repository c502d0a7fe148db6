/* SPDX-License-Identifier: MIT
 * Sees the file operations of this process, liblmdb's among them: the program
 * defines open(), pwrite(), fdatasync() and their kin itself, and the dynamic
 * linker prefers its definitions to the C library's.
 *
 * Lock files are not seen: what is in them after a power loss does not matter,
 * and LMDB writes its own through a map.
 */
#ifndef POWER_RECORD_H
#define POWER_RECORD_H

#include <stdbool.h>

#include "trace.h"

/* Called for every operation that succeeded below the root, one at a time,
 * whichever thread made it. data is borrowed. */
typedef void record_sink(void *ctx, const struct trace_op *op, const void *data);

/* Begins to see what happens below root, an existing directory. One at a time. */
void record_begin(const char *root, record_sink *sink, void *ctx);
/* A name that is there at the beginning; parents first. */
void record_known(uint32_t dir, const char *name, uint32_t node, bool is_dir);
/* Calls it between two operations. */
void record_mark(enum trace_mark mark, uint64_t number);
void record_end(void);

/* Threads that are about to do this below a directory state-N wait there, until it is not in
 * `what` any more: what happens in the background is then in the same order every time. */
enum record_holds { RECORD_HOLD_MERGES = 1, RECORD_HOLD_REMOVALS = 2 };
void record_hold(unsigned what);

/* A mutant of the disk: syncs are carried out as nothing, and not recorded. Tells whether
 * the check notices. */
enum record_lie {
    RECORD_HONEST,
    RECORD_NO_DATA_SYNC,
    RECORD_NO_META_SYNC,
    RECORD_NO_DIR_SYNC,
    RECORD_LIES
};
void record_lie(enum record_lie lie);
const char *record_lie_name(enum record_lie lie);

/* getrandom() gives numbers of this seed from now on, in this process: the same history every
 * time. */
void record_seed_random(uint64_t seed);

/* What lies below a file's name without being data. */
bool record_is_lock_file(const char *path);

#endif
