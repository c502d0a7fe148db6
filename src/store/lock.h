/* SPDX-License-Identifier: MIT
 * One process per data directory: a flock() on DIR/lock, which the kernel
 * releases when the process ends, however it ends.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/buf.h"
#include "base/err.h"

/* *ret_fd holds the lock until store_lock_release(). BUSY, PERMISSION, IO with a reason. */
MUST_CHECK int store_lock_take(const char *dir, int *ret_fd, struct buf *reason);
void store_lock_release(int fd);

#endif
