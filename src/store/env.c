/* SPDX-License-Identifier: MIT
 * How LMDB is opened. Never MDB_NOSYNC, MDB_NOMETASYNC or MDB_WRITEMAP: an
 * acknowledged commit must be on the disk (PITFALLS part 2, measured there).
 * MDB_NOTLS: read transactions belong to whoever holds them, not to a thread.
 * No MDB_NORDAHEAD: the log is read in order, at boot and for followers.
 */
#include "store/env.h"

#include <errno.h>
#include <stdbool.h>

#include "base/limits.h"
#include "base/log.h"
#include "store/dir.h"
#include "store/guard.h"

#define N_NAMED_DBS 4
/* Each open view of the state is one; LMDB's default is 126. A place is 64 bytes. */
#define N_READERS   1024

int store_lmdb_error(int rc)
{
    switch (rc) {
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
    case MDB_PANIC:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    case MDB_MAP_FULL:
        return ERR_NO_SPACE;
    default:
        return store_errno(rc);
    }
}

/* LMDB says this of a damaged file. Unguarded it prints the line and aborts. */
static void on_assert(MDB_env *env, const char *text)
{
    (void)env;
    (void)text;
    store_guard_trip();
}

static int try_open(const char *path, size_t map_bytes, MDB_env **ret_env)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (rc)
        return rc;
    rc = mdb_env_set_assert(env, on_assert);
    if (!rc)
        rc = mdb_env_set_mapsize(env, map_bytes);
    if (!rc)
        rc = mdb_env_set_maxdbs(env, N_NAMED_DBS);
    if (!rc)
        rc = mdb_env_set_maxreaders(env, N_READERS);
    if (!rc)
        rc = mdb_env_open(env, path, MDB_NOTLS, 0600);
    if (rc)
        mdb_env_close(env);
    else
        *ret_env = env;
    return rc;
}

/* mmap found no room of that size: a limit of the process (ENOMEM) or valgrind (EINVAL). */
static bool lacks_address_space(int rc)
{
    return rc == ENOMEM || rc == EINVAL;
}

int store_env_open(const char *path, size_t map_bytes, MDB_env **ret_env, struct buf *reason)
{
    size_t wanted = map_bytes ? map_bytes : STORE_MAP_BYTES, bytes = wanted;
    int rc = try_open(path, bytes, ret_env);
    while (lacks_address_space(rc) && bytes / 2 >= STORE_MAP_BYTES_MIN) {
        bytes /= 2;
        rc = try_open(path, bytes, ret_env);
    }
    if (rc) {
        buf_printf(reason, "cannot open %s/data.mdb: %s", path, mdb_strerror(rc));
        return store_lmdb_error(rc);
    }
    if (bytes < wanted)
        LOG_WARN("%s can grow to %zu MiB only: the process may not map more (ulimit -v)", path,
                 bytes / MIB);
    return 0;
}
