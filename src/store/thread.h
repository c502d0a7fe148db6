/* SPDX-License-Identifier: MIT
 * The storage thread: takes everything that waits at once, commits the writes
 * together (group commit), then reads what is asked. Jobs go to the lanes.
 */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include "node/storage.h"
#include "store/lanes.h"
#include "store/log.h"
#include "store/store.h"

struct store_thread; /* opaque */

/* Borrows log and lanes. Copies options. Does not run yet. */
struct store_thread *store_thread_new(struct store_log *log, struct store_lanes *lanes,
                                      const struct store_options *options);
/* Stops it first. Nulls the pointer; NULL is accepted. */
void store_thread_free(struct store_thread **t);

struct storage *store_thread_storage(struct store_thread *t);
void store_thread_start(struct store_thread *t, const struct storage_events *events);
/* Carries out and answers what waits, then joins. */
void store_thread_stop(struct store_thread *t);

#endif
