/* SPDX-License-Identifier: MIT
 * The data directory as a whole: lock, directories, log, thread, in this order.
 */
#include "store/store.h"

#include "base/mem.h"
#include "store/dir.h"
#include "store/env.h"
#include "store/identity.h"
#include "store/lanes.h"
#include "store/lock.h"
#include "store/log.h"
#include "store/thread.h"

#define FORMAT_FILE    "format"
#define FORMAT_CONTENT "crabcluster data directory, format 2\n"
#define LOG_DIR        "log"
#define NEW_LOG_DIR    "log.new" /* a log that is being made: nothing in it was ever promised */

struct store {
    char *dir;                   /* owned */
    int lock_fd;                 /* -1: none */
    struct store_log *log;       /* owned */
    struct store_lanes *lanes;   /* owned */
    struct store_thread *thread; /* owned */
};

/* An empty log in a directory that was in use is a loss, not a beginning: a
 * voter must not come back without its memory (PITFALLS 57). */
static int check_not_lost(const char *dir, struct buf *reason)
{
    if (!store_file_exists(dir, FORMAT_FILE))
        return 0;
    buf_printf(reason,
               "%s/log is empty, though the directory was in use: restore it, or move %s away, "
               "start the node empty and add it to the cluster as a new member",
               dir, dir);
    return ERR_CORRUPT;
}

static int create_log(struct store *s, struct store_log *log, struct buf *reason)
{
    struct storage_identity identity;
    const struct store_base first = {.generation = 1};
    int err = check_not_lost(s->dir, reason);
    if (!err)
        err = store_identity_make(&identity, reason);
    if (!err)
        err = store_log_create(log, &identity, &first, reason);
    return err;
}

/* LMDB does not open what a power loss left of its first two pages, so the log
 * is made under another name and gets its own when it is durable. */
static int make_log(struct store *s, size_t map_bytes, struct buf *reason)
{
    struct store_log *log = NULL;
    bool is_new;
    char *unfinished = store_path(s->dir, NEW_LOG_DIR);
    int err = check_not_lost(s->dir, reason);
    if (!err)
        err = store_env_remove(unfinished, reason);
    if (!err)
        err = store_dir_make(unfinished, reason);
    if (!err)
        err = store_log_open(s->dir, NEW_LOG_DIR, map_bytes, &log, &is_new, reason);
    if (!err)
        err = create_log(s, log, reason);
    store_log_close(&log);
    if (!err)
        err = store_dir_sync(unfinished, reason);
    if (!err)
        err = store_dir_rename(s->dir, NEW_LOG_DIR, LOG_DIR, reason);
    mem_free(unfinished);
    return err;
}

/* LMDB syncs its file and never the directories that name it (PITFALLS 52). */
static int make_names_durable(struct store *s, struct buf *reason)
{
    int err = store_dir_sync(s->log->path, reason);
    if (!err)
        err = store_dir_sync(s->dir, reason);
    if (!err && !store_file_exists(s->dir, FORMAT_FILE))
        err = store_file_make(s->dir, FORMAT_FILE, FORMAT_CONTENT, reason);
    return err;
}

static int open_log(struct store *s, size_t map_bytes, struct storage_identity *ret_identity,
                    struct buf *reason)
{
    bool is_new = false;
    int err = store_file_exists(s->dir, LOG_DIR) ? 0 : make_log(s, map_bytes, reason);
    if (!err)
        err = store_log_open(s->dir, LOG_DIR, map_bytes, &s->log, &is_new, reason);
    if (!err && is_new)
        err = create_log(s, s->log, reason);
    if (!err)
        err = store_log_boot(s->log, ret_identity, reason);
    if (!err)
        err = make_names_durable(s, reason);
    return err;
}

int store_open(const char *dir, const struct store_options *options,
               struct storage_identity *ret_identity, struct store **ret_store, struct buf *reason)
{
    struct storage_identity identity;
    struct store *s = mem_zalloc(sizeof *s);
    s->dir = mem_strdup(dir);
    s->lock_fd = -1;
    int err = store_dir_make(dir, reason);
    if (!err)
        err = store_lock_take(dir, &s->lock_fd, reason);
    if (!err)
        err = open_log(s, options->map_bytes, &identity, reason);
    if (!err)
        err = store_lanes_open(dir, s->log->base.generation, s->log->ends.base.pos.index == 0,
                               options, &s->lanes, reason);
    if (err) {
        store_close(&s);
        return err;
    }
    s->thread = store_thread_new(s->log, s->lanes, options);
    *ret_identity = identity;
    *ret_store = s;
    return 0;
}

int store_scan(struct store *store, const struct store_visitor *visitor, struct buf *reason)
{
    struct state *state = store_lanes_state(store->lanes);
    struct buf meta = BUF_INIT;
    int err = state_meta(state, &meta, reason);
    if (!err && visitor->state)
        err = visitor->state(visitor->ctx, meta.data, meta.len, state_base(state));
    if (err && reason->len == 0)
        buf_printf(reason, "the state in %s cannot be used: %s", store->dir, err_text(err));
    buf_free(&meta);
    return err ? err : store_log_scan(store->log, visitor, reason);
}

struct storage *store_storage(struct store *store)
{
    return store_thread_storage(store->thread);
}

void store_start(struct store *store, const struct storage_events *events)
{
    store_lanes_start(store->lanes, events);
    store_thread_start(store->thread, events);
}

void store_stop(struct store *store)
{
    store_thread_stop(store->thread);
    store_lanes_stop(store->lanes);
}

void store_close(struct store **store)
{
    struct store *s = *store;
    if (!s)
        return;
    store_thread_free(&s->thread);
    store_lanes_close(&s->lanes);
    store_log_close(&s->log);
    store_lock_release(s->lock_fd);
    mem_free(s->dir);
    MEM_FREE(*store);
}
