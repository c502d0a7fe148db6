/* SPDX-License-Identifier: MIT
 * Either way a new generation of the state is made beside what there is, and
 * then one step makes it count:
 *
 *      restore   backup -> DIR/snapshot/new -> DIR/state-2 -> DIR/log.new -> DIR/log
 *      refound   view   -> DIR/snapshot/new -> DIR/state-(N+1) -> transaction in DIR/log
 *
 * A daemon that meets what a crash left of that before the step deletes it: a
 * first log counts generation 1, and a log that is there its own.
 */
#include "store/offline.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/dir.h"
#include "store/lock.h"
#include "store/make.h"
#include "store/snapshot.h"
#include "store/state.h"
#include "store/txn.h"

#define SNAPSHOT_DIR        "snapshot"
#define RUN_FILE            "snapshot/new"
#define LOCK_FILE           "lock"
#define RESTORED_GENERATION 2 /* never that of a first log */
#define RESTORED_STATE      "state-2"

/* ---- backups ---- */

static int check_complete(const struct run *run, const struct kv_meta_info *kv, struct buf *reason)
{
    struct run_info info = run_info(run);
    if (info.n_deleted == 0 && info.n_records == kv->n_keys && info.content_bytes == kv->bytes)
        return 0;
    buf_printf(reason,
               "%s holds a part of a state only: it is a file of a data directory, and no "
               "backup",
               run_path(run));
    return ERR_INVALID;
}

static int read_backup(struct run *run, store_kv_meta_fn *kv_meta_of, struct buf *meta,
                       struct buf *reason)
{
    struct kv_meta_info kv;
    int err = run_verify(run, reason);
    if (!err)
        err = run_meta(run, meta, reason);
    if (err)
        return err;
    err = kv_meta_of(meta->data, meta->len, &kv);
    if (err) {
        buf_printf(reason, "%s is no backup that this version knows: %s", run_path(run),
                   err_text(err));
        return err;
    }
    return check_complete(run, &kv, reason);
}

int store_backup_open(const char *path, store_kv_meta_fn *kv_meta_of, struct run **ret_backup,
                      struct buf *meta, struct buf *reason)
{
    struct run *run;
    int err = run_open(path, RUN_REMEDY_BACKUP, &run, reason);
    if (err)
        return err;
    err = read_backup(run, kv_meta_of, meta, reason);
    if (err)
        run_unref(&run);
    else
        *ret_backup = run;
    return err;
}

/* ---- a generation ---- */

/* Copies all records, and closes the cursor. */
static int copy(struct kv_cursor *from, const struct buf *meta, const char *path,
                struct buf *reason)
{
    struct run_writer *w;
    struct kv_record record;
    int err = run_writer_new(path, &w, reason);
    if (!err) {
        for (err = kv_cursor_seek(from, NULL, 0, &record); err == 0;
             err = kv_cursor_next(from, &record))
            (void)run_writer_put(w, &record); /* the end tells */
        if (err == ERR_NOT_FOUND) {
            err = run_writer_finish(&w, meta->data, meta->len, NULL, reason);
        } else {
            buf_printf(reason, "cannot read what is to be in %s: %s", path, err_text(err));
            run_writer_abort(&w);
        }
    }
    kv_cursor_close(&from);
    return err;
}

/* Closes the cursor. */
static int make_generation(const char *dir, uint64_t generation, struct kv_cursor *from,
                           const struct buf *meta, struct buf *reason)
{
    char *path = store_path(dir, RUN_FILE), *snapshots = store_path(dir, SNAPSHOT_DIR);
    int err = store_snapshot_clear(snapshots, reason);
    if (err)
        kv_cursor_close(&from);
    else
        err = copy(from, meta, path, reason);
    if (!err)
        err = state_new_generation(dir, generation, path, 0, reason);
    if (err)
        (void)remove(path);
    mem_free(snapshots);
    mem_free(path);
    return err;
}

/* ---- restore ---- */

static bool is_leftover(const char *name)
{
    static const char *const names[] = {".",
                                        "..",
                                        LOCK_FILE,
                                        SNAPSHOT_DIR,
                                        STORE_NEW_LOG_DIR,
                                        RESTORED_STATE,
                                        RESTORED_STATE ".new"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int store_check_unused(const char *dir, struct buf *reason)
{
    DIR *names = opendir(dir);
    const struct dirent *d;
    int err = 0;
    if (!names && errno == ENOENT)
        return 0;
    if (!names) {
        int errnum = errno;
        buf_printf(reason, "cannot read directory %s: %s", dir, strerror(errnum));
        return store_errno(errnum);
    }
    while (!err && (d = readdir(names)) != NULL) {
        if (is_leftover(d->d_name))
            continue;
        buf_printf(reason,
                   "%s is not empty (%s is in it): a backup is restored into a new directory; "
                   "move this one away, or name another with --data-dir",
                   dir, d->d_name);
        err = ERR_EXISTS;
    }
    closedir(names);
    return err;
}

/* Whatever a restore made, or one before it left. Errors do not matter: the next one meets them. */
static void clear(const char *dir)
{
    struct buf ignored = BUF_INIT;
    static const char *const logs[] = {STORE_LOG_DIR, STORE_NEW_LOG_DIR};
    for (unsigned i = 0; i < 2; i++)
        (void)!store_remove_log(dir, logs[i], &ignored);
    (void)!state_remove_others(dir, 0, &ignored);
    char *snapshots = store_path(dir, SNAPSHOT_DIR);
    (void)!store_file_remove(dir, RUN_FILE, &ignored);
    (void)!store_dir_remove(snapshots, &ignored);
    mem_free(snapshots);
    (void)!store_file_remove(dir, STORE_FORMAT_FILE, &ignored);
    (void)!store_file_remove(dir, STORE_FORMAT_FILE ".new", &ignored);
    buf_free(&ignored);
}

static int fill(const char *dir, struct run *backup, const struct store_founding *f,
                struct buf *reason)
{
    struct store_base base = {RESTORED_GENERATION, f->base};
    struct store_options defaults = {0};
    int err = make_generation(dir, RESTORED_GENERATION, run_cursor(backup), f->meta, reason);
    if (!err)
        err = store_make_log(dir, &defaults, &f->identity, &base, reason);
    if (!err)
        err = store_make_names_durable(dir, reason);
    return err;
}

static void leave_no_trace(const char *dir, bool was_there)
{
    struct buf ignored = BUF_INIT;
    clear(dir);
    (void)!store_file_remove(dir, LOCK_FILE, &ignored);
    if (!was_there)
        (void)!store_dir_remove(dir, &ignored);
    buf_free(&ignored);
}

int store_restore(const char *dir, struct run *backup, const struct store_founding *founding,
                  struct buf *reason)
{
    bool was_there = store_file_exists(dir, "."), is_ours = !was_there;
    int lock_fd = -1, err = store_dir_make(dir, reason);
    if (!err)
        err = store_lock_take(dir, &lock_fd, reason);
    if (!err)
        err = store_check_unused(dir, reason); /* now that nobody else can be at it */
    if (err == ERR_BUSY || err == ERR_EXISTS)
        is_ours = false;
    if (!err) {
        is_ours = true;
        clear(dir);
        err = fill(dir, backup, founding, reason);
    }
    if (err && is_ours)
        leave_no_trace(dir, was_there);
    store_lock_release(lock_fd);
    return err;
}

/* ---- a cluster of its own ---- */

static int commit(struct store_log *log, const struct store_founding *f, uint64_t generation,
                  struct buf *reason)
{
    struct store_txn txn;
    struct raft_base base = f->base;
    struct raft_snapshot as_if = {.size = 1, .base = f->base};
    struct raft_snapshot *installed = raft_snapshot_new(&as_if);
    struct storage_write w = {.seq = 1,
                              .hard_state = {.term = base.pos.term, .commit = base.pos.index},
                              .install = installed,
                              .base = &base,
                              .has_identity = true,
                              .identity = f->identity};
    int rc = 0;
    store_txn_begin(&txn, log);
    store_txn_apply(&txn, &w, generation);
    int err = store_txn_commit(&txn, &rc);
    if (err)
        buf_printf(reason, "cannot write %s/data.mdb: %s", log->path, mdb_strerror(rc));
    raft_snapshot_unref(&installed);
    return err;
}

int store_replace_state(const char *dir, struct store_log *log, struct kv_view *view,
                        const struct store_founding *founding, struct buf *reason)
{
    uint64_t generation = log->base.generation + 1;
    int err = make_generation(dir, generation, kv_view_cursor(view), founding->meta, reason);
    return err ? err : commit(log, founding, generation, reason);
}
