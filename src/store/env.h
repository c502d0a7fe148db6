/* SPDX-License-Identifier: MIT
 * LMDB: opening an environment, and its error codes.
 */
#ifndef STORE_ENV_H
#define STORE_ENV_H

#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Only address space, for the file grows as it is used: so large that a log
 * never meets it (a full map blocks deletes too, PITFALLS part 2), and small
 * enough for the sanitizers, which shadow memory. */
#if SIZE_MAX > UINT32_MAX
#define STORE_MAP_BYTES ((size_t)32 << 30)
#else
#define STORE_MAP_BYTES ((size_t)1 << 30)
#endif
/* Where there is less room, the map is halved, but not below this. */
#define STORE_MAP_BYTES_MIN ((size_t)256 << 20)

/* Translates LMDB's codes, which include errno's. */
int store_lmdb_error(int rc);

/* Opens or makes the environment in the directory `path`. CORRUPT, VERSION, PERMISSION, IO ...
 * with a reason. */
MUST_CHECK int store_env_open(const char *path, size_t map_bytes, MDB_env **ret_env,
                              struct buf *reason);
/* Whether the page that names the newest state is whole: LMDB has no checksum over it, and one that
 * is torn may name the right tables beside an old free list or end, so that the next write would
 * go over pages in use. In a read transaction, with every table of the environment (n of them)
 * beside the main one. Reads the free list. Codes are LMDB's: MDB_CORRUPTED. */
int store_env_check(MDB_txn *txn, const MDB_dbi tables[], unsigned n);
/* The disk space that its file takes, and that is left beside it for this process; 0: not known.
 * Any thread. */
void store_env_space(MDB_env *env, uint64_t *ret_used, uint64_t *ret_free);
/* Bytes up to the last page that was ever used, and the most there may be. */
uint64_t store_env_used(MDB_env *env);
uint64_t store_env_map(MDB_env *env);
/* Bytes before that last page which can be used again. Reads the free list. */
uint64_t store_env_free(MDB_env *env);
/* Removes the directory `path` with an environment in it that nobody has open; it need not be
 * there. Errors with a reason. */
MUST_CHECK int store_env_remove(const char *path, struct buf *reason);

#endif
