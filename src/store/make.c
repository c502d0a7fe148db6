/* SPDX-License-Identifier: MIT
 * LMDB does not open what a power loss left of its first two pages, so a log is
 * made under another name and gets its own when it is durable.
 */
#include "store/make.h"

#include "base/mem.h"
#include "store/dir.h"
#include "store/env.h"
#include "store/identity.h"

#define FORMAT_CONTENT "crabcluster data directory, format 3\n"

bool store_log_exists(const char *dir)
{
    return store_file_exists(dir, STORE_LOG_DIR);
}

bool store_was_in_use(const char *dir)
{
    return store_file_exists(dir, STORE_FORMAT_FILE);
}

int store_remove_log(const char *dir, const char *name, struct buf *reason)
{
    char *path = store_path(dir, name);
    int err = store_file_remove(path, STORE_JOURNAL_FILE, reason);
    if (!err)
        err = store_env_remove(path, reason);
    mem_free(path);
    return err;
}

int store_make_log(const char *dir, const struct store_options *options,
                   const struct storage_identity *identity, const struct store_base *base,
                   struct buf *reason)
{
    struct store_log *log = NULL;
    bool is_new;
    char *unfinished = store_path(dir, STORE_NEW_LOG_DIR);
    int err = store_remove_log(dir, STORE_NEW_LOG_DIR, reason);
    if (!err)
        err = store_dir_make(unfinished, reason);
    if (!err)
        err = store_journal_make(unfinished, options->journal_bytes, reason);
    if (!err)
        err = store_log_open(dir, STORE_NEW_LOG_DIR, options->map_bytes, &log, &is_new, reason);
    if (!err)
        err = store_log_create(log, identity, base, reason);
    store_log_close(&log);
    if (!err)
        err = store_dir_sync(unfinished, reason);
    if (!err)
        err = store_dir_rename(dir, STORE_NEW_LOG_DIR, STORE_LOG_DIR, reason);
    mem_free(unfinished);
    return err;
}

/* An empty log in a directory that was in use is a loss, not a beginning: a
 * voter must not come back without its memory (PITFALLS 57). */
static int check_not_lost(const char *dir, struct buf *reason)
{
    if (!store_was_in_use(dir))
        return 0;
    buf_printf(reason,
               "%s/log is empty, though the directory was in use: restore it, or move %s away, "
               "start the node empty and add it to the cluster as a new member",
               dir, dir);
    return ERR_CORRUPT;
}

static const struct store_base first_base = {.generation = 1};

int store_make_first_log(const char *dir, const struct store_options *options, struct buf *reason)
{
    struct storage_identity identity;
    int err = check_not_lost(dir, reason);
    if (!err)
        err = store_identity_make(&identity, reason);
    if (!err)
        err = store_make_log(dir, options, &identity, &first_base, reason);
    return err;
}

int store_fill_first_log(const char *dir, const struct store_options *options,
                         struct store_log *log, struct buf *reason)
{
    struct storage_identity identity;
    int err = check_not_lost(dir, reason);
    if (!err)
        err = store_identity_make(&identity, reason);
    if (!err)
        err = store_journal_make(log->path, options->journal_bytes, reason);
    if (!err)
        err = store_log_create(log, &identity, &first_base, reason);
    return err;
}

int store_make_names_durable(const char *dir, struct buf *reason)
{
    char *log = store_path(dir, STORE_LOG_DIR);
    int err = store_dir_sync(log, reason);
    if (!err)
        err = store_dir_sync(dir, reason);
    if (!err && !store_was_in_use(dir))
        err = store_file_make(dir, STORE_FORMAT_FILE, FORMAT_CONTENT, reason);
    mem_free(log);
    return err;
}
