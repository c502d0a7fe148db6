/* SPDX-License-Identifier: MIT
 * How LMDB is opened. Never MDB_NOSYNC, MDB_NOMETASYNC or MDB_WRITEMAP: an
 * acknowledged commit must be on the disk (PITFALLS part 2, measured there).
 * MDB_NOTLS: read transactions belong to whoever holds them, not to a thread.
 * No MDB_NORDAHEAD: the log is read in order, at boot and for followers.
 */
#include "store/env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/guard.h"

#define N_NAMED_DBS 4
/* Each open view of the state is one; LMDB's default is 126. A place is 64 bytes. */
#define N_READERS 1024

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

/* The table of readers is a map over a file with a hole: on a full disk the first touch of a page
 * would be a fault. */
static int fill_lock_file(const char *path)
{
    char *name = store_path(path, "lock.mdb");
    struct stat st;
    int fd = open(name, O_RDWR | O_CLOEXEC), rc = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && (off_t)st.st_blocks * 512 < st.st_size)
        rc = posix_fallocate(fd, 0, st.st_size);
    if (fd >= 0)
        close(fd);
    mem_free(name);
    return rc == ENOSPC || rc == EDQUOT ? rc : 0; /* some file systems cannot and need not */
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
    if (!rc)
        rc = fill_lock_file(path);
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
    if (!rc && bytes < wanted && bytes / 2 >= STORE_MAP_BYTES_MIN) {
        mdb_env_close(*ret_env); /* what comes after needs some of the room, too */
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

#define FREE_DBI 0 /* as in mdb_stat(1) */
#define MAIN_DBI 1

/* Adds up the pages on the free list and finds the transaction that was last to put some there. */
static int read_free_list(MDB_txn *txn, size_t *ret_pages, size_t *ret_last_txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    size_t pages = 0, last = 0, n;
    int rc = mdb_cursor_open(txn, FREE_DBI, &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size != sizeof last || value.mv_size < sizeof n) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(&last, key.mv_data, sizeof last);
        memcpy(&n, value.mv_data, sizeof n);
        pages += n;
    }
    mdb_cursor_close(cursor);
    if (rc != MDB_NOTFOUND)
        return rc;
    *ret_pages = pages;
    *ret_last_txn = last;
    return 0;
}

uint64_t store_env_used(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    return (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

uint64_t store_env_map(MDB_env *env)
{
    MDB_envinfo info;
    mdb_env_info(env, &info);
    return info.me_mapsize;
}

uint64_t store_env_free(MDB_env *env)
{
    MDB_txn *txn;
    MDB_stat stat;
    size_t pages = 0, last_txn;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (read_free_list(txn, &pages, &last_txn) != 0)
        pages = 0;
    mdb_txn_abort(txn);
    mdb_env_stat(env, &stat);
    return (uint64_t)pages * stat.ms_psize;
}

static int add_pages(MDB_txn *txn, MDB_dbi dbi, size_t *pages)
{
    MDB_stat stat;
    int rc = mdb_stat(txn, dbi, &stat);
    if (!rc)
        *pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    return rc;
}

int store_env_check(MDB_txn *txn, const MDB_dbi tables[], unsigned n)
{
    MDB_envinfo info;
    size_t pages = 2, free_pages = 0, last_txn = 0;
    int rc = mdb_env_info(mdb_txn_env(txn), &info);
    if (!rc)
        rc = read_free_list(txn, &free_pages, &last_txn);
    if (!rc)
        rc = add_pages(txn, FREE_DBI, &pages);
    if (!rc)
        rc = add_pages(txn, MAIN_DBI, &pages);
    for (unsigned i = 0; i < n && !rc; i++)
        rc = add_pages(txn, tables[i], &pages);
    if (rc)
        return rc;
    /* Copy-on-write: every transaction but the first frees a page at least, and
     * every page up to the last is in a table, on the free list or a meta page. */
    size_t txn_id = mdb_txn_id(txn);
    if ((txn_id > 1 && last_txn != txn_id) || pages + free_pages != info.me_last_pgno + 1)
        return MDB_CORRUPTED;
    return 0;
}

/* File systems have these figures in memory. */
void store_env_space(MDB_env *env, uint64_t *ret_used, uint64_t *ret_free)
{
    mdb_filehandle_t fd;
    struct stat file;
    struct statvfs system;
    *ret_used = *ret_free = 0;
    if (mdb_env_get_fd(env, &fd) != 0)
        return;
    if (fstat(fd, &file) == 0) {
        *ret_used = (uint64_t)file.st_blocks * 512; /* of this size everywhere, stat(2) */
        if (*ret_used > (uint64_t)file.st_size)     /* kept beyond the end, see space.c */
            *ret_used = (uint64_t)file.st_size;
    }
    if (fstatvfs(fd, &system) == 0)
        *ret_free = (uint64_t)system.f_bavail * system.f_frsize;
}

int store_env_remove(const char *path, struct buf *reason)
{
    int err = store_file_remove(path, "data.mdb", reason);
    if (!err)
        err = store_file_remove(path, "lock.mdb", reason);
    return err ? err : store_dir_remove(path, reason);
}
