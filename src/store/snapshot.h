/* SPDX-License-Identifier: MIT
 * Files of snapshots on their way, DIR/snapshot/ID: run files made here to be
 * sent, and pieces received from a leader. None outlives the process.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "node/storage.h"

/* Makes the directory, or empties it. */
MUST_CHECK int store_snapshot_clear(const char *dir, struct buf *reason);
/* DIR/snapshot/ID, owned by the caller. */
char *store_snapshot_path(const char *dir, uint64_t id);
void store_snapshot_remove(const char *dir, uint64_t id);

/* The jobs of node/storage.h, by the same rules; dir is DIR/snapshot. Errors with one line in
 * *reason. make closes the view, and ends with SHUTDOWN when stops(ctx), asked now and then, says
 * so. read: NOT_FOUND when it was dropped, CORRUPT when the file ends
 * before. */
MUST_CHECK int store_snapshot_make(const char *dir, struct storage_job *j, bool (*stops)(void *ctx),
                                   void *ctx, struct buf *reason);
MUST_CHECK int store_snapshot_read(const char *dir, struct storage_job *j, struct buf *reason);
/* Writes the piece; with the last one the file is durable. */
MUST_CHECK int store_snapshot_write(const char *dir, struct storage_job *j, struct buf *reason);
/* The file is the run it should be, every byte of it. CORRUPT otherwise, or VERSION. */
MUST_CHECK int store_snapshot_verify(const char *path, uint64_t size, uint32_t digest,
                                     struct buf *reason);

#endif
