/* SPDX-License-Identifier: MIT
 * How LMDB is opened. Never MDB_NOSYNC, MDB_NOMETASYNC or MDB_WRITEMAP: an
 * acknowledged commit must be on the disk (PITFALLS part 2, measured there).
 * MDB_NOTLS: read transactions belong to whoever holds them, not to a thread.
 * No MDB_NORDAHEAD: the log is read in order, at boot and for followers.
 */
#include "store/env.h"

#include "store/dir.h"
#include "store/guard.h"

#define N_NAMED_DBS 4

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

static int open_at(MDB_env *env, const char *path, size_t map_bytes)
{
    int rc = mdb_env_set_assert(env, on_assert);
    if (!rc)
        rc = mdb_env_set_mapsize(env, map_bytes);
    if (!rc)
        rc = mdb_env_set_maxdbs(env, N_NAMED_DBS);
    if (!rc)
        rc = mdb_env_open(env, path, MDB_NOTLS, 0600);
    return rc;
}

int store_env_open(const char *path, size_t map_bytes, MDB_env **ret_env, struct buf *reason)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (!rc) {
        rc = open_at(env, path, map_bytes ? map_bytes : STORE_MAP_BYTES);
        if (rc)
            mdb_env_close(env);
    }
    if (rc) {
        buf_printf(reason, "cannot open %s/data.mdb: %s", path, mdb_strerror(rc));
        return store_lmdb_error(rc);
    }
    *ret_env = env;
    return 0;
}
