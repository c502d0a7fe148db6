/* SPDX-License-Identifier: MIT
 * Work on a data directory while no daemon uses it: one is made from a backup,
 * or its node goes on as a cluster of its own.
 */
#ifndef STORE_OFFLINE_H
#define STORE_OFFLINE_H

#include "kv/view.h"
#include "store/log.h"
#include "store/run.h"
#include "store/store.h"

/* Opens a backup and reads all of it: it is whole, unaltered and no part of a state only, as the
 * run of a checkpoint would be. Its node's meta is appended to meta, of which kv_meta_of gives the
 * part that is kv's. Errors as run_open(), with a reason. The caller owns *ret_backup. */
typedef int store_kv_meta_fn(const void *meta, size_t len, struct kv_meta_info *ret_info);
MUST_CHECK int store_backup_open(const char *path, store_kv_meta_fn *kv_meta_of,
                                 struct run **ret_backup, struct buf *meta, struct buf *reason);

/* Nothing is there, or nothing but what a restore left that was interrupted. EXISTS, BUSY and
 * others with a reason. Changes nothing. */
MUST_CHECK int store_check_unused(const char *dir, struct buf *reason);
/* Makes DIR the data directory of this node, with what the backup holds as its state. All of it or,
 * after an error, nothing: a directory that was not there is not there then. After a crash it is
 * all there, or is to be restored again. */
MUST_CHECK int store_restore(const char *dir, struct run *backup,
                             const struct store_founding *founding, struct buf *reason);

/* See store_refound(). */
MUST_CHECK int store_replace_state(const char *dir, struct store_log *log, struct kv_view *view,
                                   const struct store_founding *founding, struct buf *reason);

#endif
