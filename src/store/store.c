/* SPDX-License-Identifier: MIT
 * The data directory as a whole: lock, directories, log, thread, in this order.
 */
#include "store/store.h"

#include "base/mem.h"
#include "store/dir.h"
#include "store/lanes.h"
#include "store/lock.h"
#include "store/log.h"
#include "store/make.h"
#include "store/offline.h"
#include "store/thread.h"

struct store {
    char *dir;                   /* owned */
    int lock_fd;                 /* -1: none */
    struct store_log *log;       /* owned */
    struct store_lanes *lanes;   /* owned */
    struct store_thread *thread; /* owned */
};

static int open_log(struct store *s, const struct store_options *options,
                    struct storage_identity *ret_identity, struct buf *reason)
{
    bool is_new = false;
    int err = store_log_exists(s->dir) ? 0 : store_make_first_log(s->dir, options, reason);
    if (!err)
        err = store_log_open(s->dir, STORE_LOG_DIR, options->map_bytes, &s->log, &is_new, reason);
    if (!err && is_new)
        err = store_fill_first_log(s->dir, options, s->log, reason);
    if (!err)
        err = store_log_boot(s->log, ret_identity, reason);
    if (!err)
        err = store_make_names_durable(s->dir, reason);
    return err;
}

bool store_exists(const char *dir)
{
    return store_log_exists(dir) || store_was_in_use(dir);
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
        err = open_log(s, options, &identity, reason);
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

int store_refound(struct store *store, struct kv_view *view, const struct store_founding *founding,
                  struct buf *reason)
{
    return store_replace_state(store->dir, store->log, view, founding, reason);
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
