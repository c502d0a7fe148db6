/* SPDX-License-Identifier: MIT
 * Work on files beside the log: checkpoints, and snapshots made, read and
 * received. Each kind has a thread, because a long job of one must not hold up
 * a short one of another.
 *
 *      checkpoint   frozen memtable -> run file -> part of the state
 *      make         view -> DIR/snapshot/ID
 *      transfer     pieces read from there, or written to DIR/snapshot/ID, and the
 *                   complete one made a new generation of the state, ready to be
 *                   installed by the log's transaction (PITFALLS 25)
 */
#ifndef STORE_LANES_H
#define STORE_LANES_H

#include "node/storage.h"
#include "store/state.h"
#include "store/store.h"

struct store_lanes; /* opaque */

/* Opens state-<generation> of the data directory, or makes an empty one when may_begin says that
 * the log has everything; deletes whatever else is there of states and snapshots. Copies options.
 * Errors with a reason: NOT_FOUND with one that says what to do, and those of state_open(). */
MUST_CHECK int store_lanes_open(const char *dir, uint64_t generation, bool may_begin,
                                const struct store_options *options, struct store_lanes **ret_lanes,
                                struct buf *reason);
/* Stops first. Nulls the pointer; NULL is accepted. */
void store_lanes_close(struct store_lanes **l);

/* The state in force. Borrowed; before store_lanes_start(). */
struct state *store_lanes_state(struct store_lanes *l);

void store_lanes_start(struct store_lanes *l, const struct storage_events *events);
/* Ends the jobs that are at work, drops those that wait, joins. */
void store_lanes_stop(struct store_lanes *l);
/* Any thread; takes j. */
void store_lanes_work(struct store_lanes *l, struct storage_job *j);

/* Any thread. The disk space of the state in force. */
uint64_t store_lanes_state_bytes(struct store_lanes *l);
/* Of the state in force. Any thread. */
struct state_stats store_lanes_stats(struct store_lanes *l);
/* The log's thread. The generation made of the snapshot that was received completely under this
 * id; 0: there is none. */
uint64_t store_lanes_ready(struct store_lanes *l, uint64_t snapshot_id);
/* The log says since a moment ago that this one counts: fills in the answer of w. CORRUPT. */
MUST_CHECK int store_lanes_installed(struct store_lanes *l, struct storage_write *w,
                                     struct buf *reason);

#endif
