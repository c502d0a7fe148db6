/* SPDX-License-Identifier: MIT
 * What --restore and --force-new-cluster do to a data directory, in their order
 * (src/offline.c), with the state of a history.
 */
#include <string.h>

#include "base/mem.h"
#include "history_node.h"
#include "kv/view.h"
#include "record.h"
#include "store/identity.h"
#include "store/offline.h"
#include "store/run.h"

#define BACKUP "backup"

static void must(const char *what, int err, struct buf *reason)
{
    if (err)
        history_broken(what, reason->len ? buf_str(reason) : err_text(err));
}

/* ---- backups ---- */

static void put_all(struct run_writer *w, struct kv *kv)
{
    struct kv_record record;
    struct kv_view *view = kv_view_new(kv);
    struct kv_cursor *c = kv_view_cursor(view);
    int err = kv_cursor_seek(c, NULL, 0, &record);
    for (; !err; err = kv_cursor_next(c, &record))
        (void)run_writer_put(w, &record); /* the end tells */
    kv_cursor_close(&c);
    kv_view_close(&view);
}

void history_offline_backup(struct history *h, struct kv *kv)
{
    struct buf meta = BUF_INIT, reason = BUF_INIT;
    struct run_writer *w;
    kv_meta(kv, &meta);
    must("backup", run_writer_new(BACKUP, &w, &reason), &reason);
    put_all(w, kv);
    must("backup", run_writer_finish(&w, meta.data, meta.len, NULL, &reason), &reason);
    must("identity", store_identity_make(&h->identity, &reason), &reason);
    h->identity.cluster = (struct uuid){history_mixed(h->seed, 2), 1};
    buf_free(&meta);
    buf_free(&reason);
}

/* ---- a cluster of its own ---- */

struct founding {
    struct store_founding store;
    struct buf meta; /* owned */
};

static int found(const struct storage_identity *identity, const struct buf *meta,
                 struct founding *f)
{
    struct kv_meta_info info;
    int err = kv_meta_info(meta->data, meta->len, &info);
    if (err)
        return err;
    struct kv_pos to = {info.applied.term, info.applied.index + HISTORY_OFFLINE_SKIP};
    struct raft_pos pos = {to.term, to.index};
    f->store.identity = *identity;
    f->store.base = history_node_base(pos, pos);
    f->store.meta = &f->meta;
    return kv_meta_move(meta->data, meta->len, to, &history_node_member, 1, &f->meta);
}

struct expected history_offline_state(struct raft_pos pos, uint64_t records, struct uuid cluster)
{
    return (struct expected){.base = pos.index,
                             .last = pos.index,
                             .checkpoint = pos.index,
                             .records = records,
                             .base_term = pos.term,
                             .hard_state = {.term = pos.term, .commit = pos.index},
                             .cluster = cluster};
}

int history_offline_restore(const struct history *h, const char *dir, struct buf *reason)
{
    struct founding f = {.meta = BUF_INIT};
    struct buf meta = BUF_INIT;
    struct run *backup = NULL;
    struct storage_identity identity = h->identity;
    identity.boot = 0; /* it may have been started since, elsewhere */
    int err = store_check_unused(dir, reason);
    if (!err)
        err = store_backup_open(BACKUP, kv_meta_info, &backup, &meta, reason);
    if (!err)
        err = found(&identity, &meta, &f);
    if (!err)
        err = store_restore(dir, backup, &f.store, reason);
    run_unref(&backup);
    buf_free(&f.meta);
    buf_free(&meta);
    return err;
}

static void on_fatal(void *ctx, const char *text)
{
    (void)ctx;
    history_broken("fatal", text);
}

/* With everything in the log applied. */
static void begin_cluster(struct history *h, struct store *store, struct kv *kv, uint64_t records,
                          struct expected *ret_state)
{
    struct founding f = {.meta = BUF_INIT};
    struct buf meta = BUF_INIT, reason = BUF_INIT;
    h->identity.cluster = (struct uuid){history_mixed(h->seed, 2), h->n_states};
    kv_meta(kv, &meta);
    must("meta", found(&h->identity, &meta, &f), &reason);
    /* The digest counts where it is, too. */
    *ret_state = history_offline_state(f.store.base.pos, records + HISTORY_OFFLINE_SKIP,
                                       h->identity.cluster);
    history_add_state(h, ret_state);
    record_mark(MARK_BEGUN, h->n_states - 1);
    struct kv_view *view = kv_view_new(kv);
    must("refound", store_refound(store, view, &f.store, &reason), &reason);
    record_mark(MARK_PROMISED, h->n_states - 1);
    kv_view_close(&view);
    buf_free(&f.meta);
    buf_free(&meta);
    buf_free(&reason);
}

bool history_offline_refound(struct history *h, const char *dir, struct expected *ret_state)
{
    struct store_options options = {
        .map_bytes = HISTORY_MAP_BYTES, .journal_bytes = HISTORY_JOURNAL_BYTES, .fatal = on_fatal};
    struct buf reason = BUF_INIT;
    struct store *store;
    struct kv *kv;
    struct expected found;
    must("open", store_open(dir, &options, &h->identity, &store, &reason), &reason);
    record_mark(MARK_BOOT, h->identity.boot);
    must("scan", history_node_scan(store, true, &found, &kv, &reason), &reason);
    if (found.last > 0)
        begin_cluster(h, store, kv, found.records, ret_state);
    kv_free(&kv);
    store_close(&store);
    buf_free(&reason);
    return found.last > 0;
}
