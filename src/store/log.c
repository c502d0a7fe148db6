/* SPDX-License-Identifier: MIT
 * Opening, making and verifying DIR/log.
 */
#include "store/log.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "store/dir.h"
#include "store/env.h"
#include "store/guard.h"
#include "store/txn.h"

#define REMEDY                                                                                     \
    "; this node must not vote with it: move the data directory away, start the node empty and "   \
    "add it to the cluster as a new member, so that it copies the data from its peers"

/* One line that names what is damaged and the way out. */
static int damaged(const struct store_log *log, struct buf *reason, const char *what)
{
    buf_printf(reason, "%s/data.mdb is damaged: %s" REMEDY, log->path, what);
    return ERR_CORRUPT;
}

static int damaged_entry(const struct store_log *log, struct buf *reason, uint64_t index,
                         const char *what)
{
    buf_printf(reason, "%s/data.mdb is damaged: log entry %" PRIu64 " %s" REMEDY, log->path, index,
               what);
    return ERR_CORRUPT;
}

/* Says what a failed LMDB call means. */
static int failed(const struct store_log *log, struct buf *reason, const char *what, int rc)
{
    int err = store_lmdb_error(rc);
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND)
        return damaged(log, reason, what);
    buf_printf(reason, "cannot read or write %s of %s/data.mdb: %s", what, log->path,
               mdb_strerror(rc));
    return err;
}

/* After LMDB fell over what it read: the environment cannot even be closed. */
static int lost(struct store_log *log, struct buf *reason)
{
    log->env = NULL;
    return damaged(log, reason, "its pages lead nowhere");
}

/* ---- opening ---- */

/* In a read transaction, whose commit keeps the handles. MDB_NOTFOUND of the
 * format: nothing was ever written. */
static int open_tables(struct store_log *log, MDB_txn *txn, uint32_t *ret_format, bool *ret_is_new)
{
    int rc = mdb_dbi_open(txn, NULL, 0, &log->records);
    if (rc)
        return rc;
    rc = store_get_format(txn, log->records, ret_format);
    if (rc == MDB_NOTFOUND && mdb_txn_id(txn) != 0)
        return rc; /* something was written, and the root of the newest state is lost */
    *ret_is_new = rc == MDB_NOTFOUND;
    if (rc || *ret_format != STORE_FORMAT)
        return *ret_is_new ? 0 : rc;
    rc = store_get_ends(txn, log->records, &log->ends);
    if (!rc)
        rc = store_get_base(txn, log->records, &log->base);
    if (rc == MDB_NOTFOUND || (!rc && !raft_pos_equal(log->base.raft.pos, log->ends.base.pos)))
        rc = MDB_CORRUPTED;
    if (!rc)
        rc = mdb_dbi_open(txn, "entries", MDB_INTEGERKEY, &log->entries);
    return rc ? rc : store_env_check(txn, &log->entries, 1);
}

static int prepare(struct store_log *log, bool *ret_is_new, struct buf *reason)
{
    uint32_t format = 0;
    MDB_txn *txn;
    int rc = mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn);
    if (!rc) {
        rc = open_tables(log, txn, &format, ret_is_new);
        if (!rc)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (rc)
        return failed(log, reason, "the records of the newest state", rc);
    if (*ret_is_new || format == STORE_FORMAT)
        return 0;
    buf_printf(reason, "%s has format %" PRIu32 ", and this version knows format %d only",
               log->path, format, STORE_FORMAT);
    return ERR_VERSION;
}

struct open_call {
    struct store_log *log;
    size_t map_bytes;
    bool is_new;
    struct buf *reason;
};

static int open_env(void *ctx)
{
    struct open_call *call = ctx;
    struct store_log *log = call->log;
    int err = store_env_open(log->path, call->map_bytes, &log->env, call->reason);
    return err ? err : prepare(log, &call->is_new, call->reason);
}

int store_log_open(const char *dir, const char *name, size_t map_bytes, struct store_log **ret_log,
                   bool *ret_is_new, struct buf *reason)
{
    struct store_log *log = mem_zalloc(sizeof *log);
    log->path = store_path(dir, name);
    struct open_call call = {log, map_bytes, false, reason};
    int err;
    store_guard_prepare();
    if (!store_guard(open_env, &call, &err))
        err = lost(log, reason);
    if (err) {
        store_log_close(&log);
        return err;
    }
    *ret_is_new = call.is_new;
    *ret_log = log;
    return 0;
}

void store_log_close(struct store_log **log)
{
    if (!*log)
        return;
    store_journal_close(&(*log)->journal);
    if ((*log)->env)
        mdb_env_close((*log)->env);
    mem_free((*log)->path);
    MEM_FREE(*log);
}

/* ---- identity ---- */

int store_log_create(struct store_log *log, const struct storage_identity *identity,
                     const struct store_base *base, struct buf *reason)
{
    struct raft_pos pos = base->raft.pos;
    struct raft_hard_state hs = {.term = pos.term, .commit = pos.index};
    MDB_txn *txn;
    int rc = mdb_txn_begin(log->env, NULL, 0, &txn);
    if (rc)
        return failed(log, reason, "a new log", rc);
    log->ends.base = log->ends.last = (struct store_link){.pos = pos};
    rc = mdb_dbi_open(txn, "entries", MDB_INTEGERKEY | MDB_CREATE, &log->entries);
    if (!rc)
        rc = store_put_format(txn, log->records, STORE_FORMAT);
    if (!rc)
        rc = store_put_identity(txn, log->records, identity);
    if (!rc)
        rc = store_put_hard_state(txn, log->records, &hs);
    if (!rc)
        rc = store_put_ends(txn, log->records, &log->ends);
    if (!rc)
        rc = store_put_base(txn, log->records, base);
    if (!rc)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    if (!rc)
        log->base = *base;
    return rc ? failed(log, reason, "a new log", rc) : 0;
}

/* One line that names what is wrong with the journal. */
static int damaged_journal(const struct store_log *log, struct buf *reason, int err,
                           const char *what)
{
    buf_printf(reason, err == ERR_CORRUPT ? "%s/%s is damaged: %s" REMEDY : "cannot read %s/%s: %s",
               log->path, STORE_JOURNAL_FILE, what);
    return err;
}

static int open_journal(struct store_log *log, struct buf *reason)
{
    int err = store_journal_open(log->path, &log->journal, reason);
    if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) {
        buf_append_str(reason, REMEDY);
        err = ERR_CORRUPT;
    }
    return err;
}

struct boot_call {
    struct store_log *log;
    struct storage_identity identity;
    struct buf *reason;
};

/* In a transaction that will be committed if this succeeds. */
static int count_boot(struct boot_call *call, struct store_txn *t)
{
    struct buf why = BUF_INIT;
    if (!t->rc)
        t->rc = store_get_identity(t->txn, t->log->records, &call->identity);
    if (t->rc)
        return 0; /* the commit tells */
    struct storage_write w = {.has_identity = true, .identity = call->identity};
    w.identity.boot = ++call->identity.boot;
    call->log->mix = w.identity.incarnation + w.identity.boot;
    int err = store_txn_recover(t, &why);
    if (err)
        damaged_journal(call->log, call->reason, err, buf_str(&why));
    else
        store_txn_apply(t, &w, 0);
    buf_free(&why);
    return err;
}

static int boot(void *ctx)
{
    struct boot_call *call = ctx;
    struct store_txn t;
    int rc = 0;
    store_txn_begin(&t, call->log);
    int err = count_boot(call, &t);
    if (err)
        t.rc = MDB_CORRUPTED; /* nothing of it counts */
    int commit_err = store_txn_commit(&t, &rc);
    return err          ? err
           : commit_err ? failed(call->log, call->reason, "the identity or the log's end", rc)
                        : 0;
}

int store_log_boot(struct store_log *log, struct storage_identity *ret_identity, struct buf *reason)
{
    struct boot_call call = {.log = log, .reason = reason};
    int err = open_journal(log, reason);
    if (err)
        return err;
    if (!store_guard(boot, &call, &err))
        return lost(log, reason);
    if (!err)
        *ret_identity = call.identity;
    return err;
}

/* ---- verifying ---- */

uint64_t store_key_index(const MDB_val *key)
{
    size_t index = 0;
    if (key->mv_size == sizeof index)
        memcpy(&index, key->mv_data, sizeof index);
    return index;
}

/* Checks one entry against the link before it and hands it to the visitor. */
static int visit(struct store_log *log, const MDB_val *key, const MDB_val *value,
                 const struct store_visitor *visitor, struct store_link *link, struct buf *reason)
{
    uint64_t index = link->pos.index + 1;
    struct store_entry_view view;
    if (store_key_index(key) != index)
        return damaged_entry(log, reason, index, "is missing");
    if (store_entry_decode(index, value->mv_data, value->mv_size, &view) != 0)
        return damaged_entry(log, reason, index, "does not match its checksum");
    if (!store_entry_follows(&view, *link))
        return damaged_entry(log, reason, index, "does not follow on the one before it");
    *link = view.link;
    struct raft_entry *e = store_entry_copy(&view);
    store_guard_pause(true); /* the visitor's bugs are not the file's */
    int err = visitor->entry(visitor->ctx, e);
    store_guard_pause(false);
    raft_entry_unref(&e);
    if (err)
        buf_printf(reason, "%s/data.mdb: log entry %" PRIu64 ": %s", log->path, index,
                   err_text(err));
    return err;
}

static int scan_entries(struct store_log *log, MDB_cursor *cursor,
                        const struct store_visitor *visitor, struct buf *reason)
{
    MDB_val key, value;
    struct store_link link = log->ends.base;
    size_t first = (size_t)link.pos.index + 1; /* what lies before is not deleted yet */
    key = (MDB_val){sizeof first, &first};
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        int err = visit(log, &key, &value, visitor, &link, reason);
        if (err)
            return err;
    }
    if (rc != MDB_NOTFOUND)
        return failed(log, reason, "the table of entries", rc);
    if (link.pos.index < log->ends.last.pos.index)
        return damaged_entry(log, reason, link.pos.index + 1, "and those after it are missing");
    if (!store_link_equal(link, log->ends.last))
        return damaged_entry(log, reason, link.pos.index, "is not the one written last");
    return 0;
}

static int tell_base(struct store_log *log, const struct store_visitor *visitor, struct buf *reason)
{
    if (log->ends.base.pos.index == 0 || !visitor->base)
        return 0;
    store_guard_pause(true); /* the visitor's bugs are not the file's */
    int err = visitor->base(visitor->ctx, &log->base.raft);
    store_guard_pause(false);
    if (err)
        buf_printf(reason,
                   "%s begins after entry %" PRIu64 ", and the state beside it ends before" REMEDY,
                   log->path, log->ends.base.pos.index);
    return err;
}

static int scan_in(struct store_log *log, MDB_txn *txn, const struct store_visitor *visitor,
                   struct buf *reason)
{
    struct raft_hard_state hs;
    int rc = store_get_hard_state(txn, log->records, &hs);
    if (rc)
        return failed(log, reason, "the hard state", rc);
    if (hs.term < log->ends.last.pos.term)
        return damaged(log, reason, "the hard state is older than the log");
    int err = tell_base(log, visitor, reason);
    if (err)
        return err;
    visitor->hard_state(visitor->ctx, hs);
    MDB_cursor *cursor;
    rc = mdb_cursor_open(txn, log->entries, &cursor);
    if (rc)
        return failed(log, reason, "the table of entries", rc);
    err = scan_entries(log, cursor, visitor, reason);
    mdb_cursor_close(cursor);
    return err;
}

struct scan_call {
    struct store_log *log;
    const struct store_visitor *visitor;
    struct buf *reason;
};

static int scan(void *ctx)
{
    struct scan_call *call = ctx;
    MDB_txn *txn;
    int rc = mdb_txn_begin(call->log->env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return failed(call->log, call->reason, "the log", rc);
    int err = scan_in(call->log, txn, call->visitor, call->reason);
    mdb_txn_abort(txn);
    return err;
}

int store_log_scan(struct store_log *log, const struct store_visitor *visitor, struct buf *reason)
{
    struct scan_call call = {log, visitor, reason};
    int err;
    if (store_guard(scan, &call, &err))
        return err;
    return lost(log, reason);
}
