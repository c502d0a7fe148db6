/* SPDX-License-Identifier: MIT
 * Snapshots between core, storage and peers. The core says what is to be done;
 * the bytes go from file to message and from message to file here. The files
 * that are sent are made in backup.c.
 */
#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"
#include "node/meta.h"

/* ---- as a leader ---- */

void snapshot_send(struct driver *d, const struct raft_message *m)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, m->snapshot.snapshot->id);
    j->snapshot = raft_snapshot_ref(m->snapshot.snapshot);
    j->message = *m;
    j->offset = m->snapshot.offset;
    j->len = m->snapshot.len;
    d->storage->work(d->storage, j);
}

static void was_read(struct driver *d, struct storage_job *j)
{
    struct raft_status s = raft_status(d->raft);
    if (j->err != 0) {
        LOG_WARN("cannot read the snapshot that is being sent: %s", err_text(j->err));
    } else if (s.role == RAFT_LEADER && s.term == j->message.term) {
        j->message.snapshot.data = j->data.data;
        peer_ask(d, &j->message);
    }
    storage_job_free(&j);
}

/* ---- as a follower ---- */

void snapshot_write(struct driver *d, const struct raft_piece *piece)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_WRITE, piece->snapshot->id);
    if (piece->offset == 0) {
        d->receiving_since_us = d->now_us;
        LOG_INFO("receiving a snapshot of the state at %llu, %llu bytes",
                 (unsigned long long)piece->snapshot->base.pos.index,
                 (unsigned long long)piece->snapshot->size);
    }
    buf_append(&j->data, piece->data, piece->len);
    j->offset = piece->offset;
    j->size = piece->snapshot->size;
    j->digest = piece->snapshot->digest;
    j->snapshot = raft_snapshot_ref(piece->snapshot);
    d->storage->work(d->storage, j);
}

/* What the file says of itself is what the leader said of it. */
static bool fits(const struct storage_job *j, const struct raft_snapshot *s)
{
    struct node_meta *m = mem_alloc(sizeof *m);
    struct kv_meta_info info;
    bool same = node_meta_decode(j->meta.data, j->meta.len, m) == 0 &&
                raft_pos_equal(m->base.pos, s->base.pos) &&
                raft_pos_equal(m->base.config_pos, s->base.config_pos) &&
                kv_meta_info(m->kv, m->kv_len, &info) == 0 &&
                info.applied.index == s->base.pos.index;
    mem_free(m);
    return same;
}

static void was_written(struct driver *d, struct storage_job *j)
{
    const struct raft_snapshot *s = j->snapshot;
    bool is_last = j->offset + j->data.len == s->size;
    bool ok = j->err == 0 && (!is_last || fits(j, s));
    if (!ok)
        LOG_WARN("the snapshot that is being received is of no use: %s; it begins anew",
                 err_text(j->err ? j->err : ERR_CORRUPT));
    else if (is_last)
        figures_took(d, NODE_TOOK_SNAPSHOT_RECEIVE, d->receiving_since_us);
    raft_piece_written(d->raft, s->id, j->offset, ok);
    storage_job_free(&j);
}

void snapshot_installed(struct driver *d, struct storage_write *w)
{
    struct raft_base *base = mem_alloc(sizeof *base);
    int err = machine_install(d->machine, w->meta.data, w->meta.len, w->state, base);
    if (err != 0) /* it was looked at when it was complete, and is later than all that is applied */
        driver_die("cannot go on from the snapshot that was installed", err);
    LOG_INFO("installed the state at %llu", (unsigned long long)base->pos.index);
    figures_took(d, NODE_TOOK_SNAPSHOT_INSTALL, w->asked_us);
    apply_installed(d);
    d->checkpoint.pos = base->pos;
    d->checkpoint.changed_ms = 0;
    storage_job_free(&d->checkpoint.job); /* frozen before, and of no use any more */
    mem_free(base);
    writes_installed(d);
    reads_applied(d);
    waits_installed(d);
}

void snapshot_drop(struct driver *d, uint64_t id)
{
    if (!backup_core_dropped(d, id))
        d->storage->work(d->storage, storage_job_new(STORAGE_SNAPSHOT_DROP, id));
}

/* ---- both ---- */

void snapshot_worked(struct driver *d, struct storage_job *j)
{
    switch (j->type) {
    case STORAGE_SNAPSHOT_MAKE:
        backup_made(d, j);
        break;
    case STORAGE_SNAPSHOT_READ:
        if (j->reader != 0)
            backup_was_read(d, j);
        else
            was_read(d, j);
        break;
    case STORAGE_SNAPSHOT_WRITE:
        was_written(d, j);
        break;
    case STORAGE_SNAPSHOT_DROP:
    case STORAGE_CHECKPOINT:
        storage_job_free(&j);
        break;
    }
}
