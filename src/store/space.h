/* SPDX-License-Identifier: MIT
 * How much room there is on the disk, and some of it kept for the log: beyond
 * its end the file of the log has blocks already, so that its commits find
 * space though others fill the file system (PITFALLS 56).
 */
#ifndef STORE_SPACE_H
#define STORE_SPACE_H

#include "node/storage.h"
#include "store/log.h"
#include "store/state.h"

struct store_space; /* opaque */

/* Borrows log. */
struct store_space *store_space_new(const struct store_log *log);
void store_space_free(struct store_space **s);

/* Looks again, and sees to the log's blocks; some microseconds. The log's thread, or before it
 * runs. */
void store_space_update(struct store_space *s, const struct state_stats *state);
/* As of then. Thread-safe. */
struct storage_space store_space(struct store_space *s);
/* The file system has nothing left, now. */
bool store_space_is_gone(const struct store_space *s);

#endif
