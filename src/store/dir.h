/* SPDX-License-Identifier: MIT
 * Directories and small files whose existence must survive a power loss.
 * PITFALLS 52: a file is only there when its directory was synced.
 */
#ifndef STORE_DIR_H
#define STORE_DIR_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* Translates errno. */
int store_errno(int errnum);

/* Makes a directory with its parents, mode 0700, or checks that an existing one
 * can be used. Failures append to reason. PERMISSION, INVALID, NO_SPACE, IO. */
MUST_CHECK int store_dir_make(const char *path, struct buf *reason);
/* Makes the entries of the directory durable, and its own entry in its parent. */
MUST_CHECK int store_dir_sync(const char *path, struct buf *reason);

/* A file of this content, whole or not at all, durable with its name. */
MUST_CHECK int store_file_make(const char *dir, const char *name, const char *content,
                               struct buf *reason);
/* Renames DIR/FROM to DIR/TO, durably. */
MUST_CHECK int store_dir_rename(const char *dir, const char *from, const char *to,
                                struct buf *reason);
/* Removes a file, or an empty directory, or finds that there is none. Not durable. */
MUST_CHECK int store_file_remove(const char *dir, const char *name, struct buf *reason);
MUST_CHECK int store_dir_remove(const char *path, struct buf *reason);
/* What nobody may look at counts as there: whoever opens it is told why that does not work. */
bool store_file_exists(const char *dir, const char *name);

/* DIR/NAME, owned by the caller (mem_free). */
char *store_path(const char *dir, const char *name);

#endif
