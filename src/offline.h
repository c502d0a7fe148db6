/* SPDX-License-Identifier: MIT
 * What the program does to a data directory instead of serving: once, and then
 * it exits. Part of main, as it brings store/ and node/ together.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "conf/conf.h"

/* Both return the exit status, after one line on standard output (0) or standard error (1). */

/* Makes the data directory from a backup: a new node, alone in a new cluster. */
int offline_restore(const struct conf *conf, const char *file);
/* The node of the data directory goes on alone, in a new cluster. */
int offline_force_new_cluster(const struct conf *conf);

#endif
