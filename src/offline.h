/* SPDX-License-Identifier: MIT
 * What the program does to a data directory instead of serving: once, and then
 * it exits. Part of main, as it brings store/ and node/ together.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "conf/conf.h"
#include "store/store.h"

/* All return the exit status: 0 after something on standard output, 1 after one line on standard
 * error. */

/* Prints what the data directory holds, or the backup of conf->restore_file: how far it has come,
 * and whose it is. Lines of a name, a blank and a value, which crabclusterctl reads. */
int offline_survey(const struct conf *conf);
/* Makes the data directory from a backup: a new node, alone in a new cluster. */
int offline_restore(const struct conf *conf, const char *file);
/* The node of the data directory goes on alone, in a new cluster. */
int offline_force_new_cluster(const struct conf *conf);

/* What they share: the line on standard error, and 1; and the store of a node that ran before. */
int offline_fail(struct buf *reason);
MUST_CHECK int offline_open(const struct conf *conf, struct storage_identity *ret_identity,
                            struct store **ret_store, struct buf *reason);

#endif
