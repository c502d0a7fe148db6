/* SPDX-License-Identifier: MIT
 * The files of snapshots that this node makes, and who needs them: the core,
 * for followers that are far behind, and operators, for backups. All who ask at
 * about the same time share one.
 *
 *      view at the applied index --> being written --> ready --> dropped
 *                                      ^ core and operators may join while it is being
 *                                        written, or while it is as new as the state
 *
 * An operator is a reader with a number of its own. One who vanishes is
 * forgotten, so that the file goes.
 */
#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

enum {
    FILES_MAX = 4,    /* at a time; one more for the core */
    READERS_MAX = 64, /* those included who wait for the file */
};

struct snapshot_file {
    struct list link;
    struct raft_snapshot *snapshot; /* a reference; its size is not known before it is ready */
    bool is_ready;
    bool core_waits;
    unsigned n_core; /* times that the core was given it and did not drop it */
    unsigned n_readers;
};

struct snapshot_reader {
    struct list link;
    uint64_t number;
    struct snapshot_file *file;
    struct node_request *request; /* OPEN or READ that is not answered; NULL: none */
    uint64_t seen_ms;             /* when it last asked or was answered */
};

void backup_init(struct driver *d)
{
    list_init(&d->backups.files);
    list_init(&d->backups.waiting);
    list_init(&d->backups.readers);
}

/* ---- files ---- */

static void file_free(struct driver *d, struct snapshot_file *f)
{
    list_remove(&f->link);
    d->backups.n_files--;
    raft_snapshot_unref(&f->snapshot);
    mem_free(f);
}

static void drop_unless_needed(struct driver *d, struct snapshot_file *f)
{
    if (!f->is_ready || f->n_core > 0 || f->n_readers > 0)
        return;
    d->storage->work(d->storage, storage_job_new(STORAGE_SNAPSHOT_DROP, f->snapshot->id));
    file_free(d, f);
}

static struct snapshot_file *find_file(const struct driver *d, uint64_t id)
{
    LIST_FOREACH (it, &d->backups.files) {
        struct snapshot_file *f = LIST_ENTRY(it, struct snapshot_file, link);
        if (f->snapshot->id == id)
            return f;
    }
    return NULL;
}

static const struct snapshot_file *being_made(const struct driver *d)
{
    LIST_FOREACH (it, &d->backups.files)
        if (!LIST_ENTRY(it, struct snapshot_file, link)->is_ready)
            return LIST_ENTRY(it, struct snapshot_file, link);
    return NULL;
}

uint64_t backup_needs_log_from(const struct driver *d)
{
    const struct snapshot_file *f = being_made(d);
    return f ? f->snapshot->base.pos.index : UINT64_MAX;
}

/* Being made, or ready and as new as the state: NULL: there is none. */
static struct snapshot_file *recent_file(const struct driver *d)
{
    struct raft_pos now = machine_applied(d->machine);
    LIST_FOREACH (it, &d->backups.files) {
        struct snapshot_file *f = LIST_ENTRY(it, struct snapshot_file, link);
        if (!f->is_ready || raft_pos_equal(f->snapshot->base.pos, now))
            return f;
    }
    return NULL;
}

/* The meta of the state holds the committed configuration, which must have been applied. */
static bool can_make(const struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    return !driver_is_applying(d) && s.applied == s.commit && s.applied > 0;
}

static struct snapshot_file *make_file(struct driver *d)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, rng_next(&d->rng) | 1);
    struct raft_snapshot *plan = mem_zalloc(sizeof *plan);
    struct snapshot_file *f = mem_zalloc(sizeof *f);
    plan->id = j->snapshot_id;
    plan->base.pos = machine_applied(d->machine);
    plan->base.config = *raft_config_committed(d->raft, &plan->base.config_pos);
    machine_meta(d->machine, d->identity.cluster, &plan->base.config, plan->base.config_pos,
                 &j->meta);
    j->view = machine_view(d->machine);
    f->snapshot = raft_snapshot_new(plan);
    mem_free(plan);
    list_push_back(&d->backups.files, &f->link);
    d->backups.n_files++;
    j->asked_us = figures_clock_us(d);
    d->storage->work(d->storage, j);
    return f;
}

/* ---- the core ---- */

static void give_to_core(struct driver *d, struct snapshot_file *f)
{
    f->core_waits = false;
    f->n_core++; /* before it is dropped again */
    raft_snapshot_made(d->raft, f->snapshot);
}

void backup_for_core(struct driver *d)
{
    struct snapshot_file *f = recent_file(d);
    if (!f && !can_make(d)) {
        raft_snapshot_made(d->raft, NULL); /* the core asks again */
        return;
    }
    if (!f) {
        f = make_file(d);
        LOG_INFO("writing a snapshot of the state at %llu for a node that is far behind",
                 (unsigned long long)f->snapshot->base.pos.index);
    }
    if (f->is_ready)
        give_to_core(d, f);
    else
        f->core_waits = true;
}

bool backup_core_dropped(struct driver *d, uint64_t id)
{
    struct snapshot_file *f = find_file(d, id);
    if (!f)
        return false;
    f->n_core--;
    drop_unless_needed(d, f);
    return true;
}

/* ---- operators ---- */

static struct snapshot_reader *find_reader(const struct driver *d, uint64_t number)
{
    LIST_FOREACH (it, &d->backups.readers)
        if (LIST_ENTRY(it, struct snapshot_reader, link)->number == number)
            return LIST_ENTRY(it, struct snapshot_reader, link);
    return NULL;
}

/* What it asked for last, if that is not answered, is done with err. */
static void answer(const struct driver *d, struct snapshot_reader *r, int err)
{
    struct node_request *request = r->request;
    r->request = NULL;
    r->seen_ms = d->now_ms;
    if (request)
        driver_done(request, err);
}

/* The file is looked at by the caller. */
static void forget(struct driver *d, struct snapshot_reader *r, int err)
{
    answer(d, r, err);
    list_remove(&r->link);
    d->backups.n_readers--;
    r->file->n_readers--;
    mem_free(r);
}

static void answer_open(const struct driver *d, struct snapshot_reader *r)
{
    const struct raft_snapshot *s = r->file->snapshot;
    r->request->ret.snapshot.id = r->number;
    r->request->ret.snapshot.size = s->size;
    r->request->ret.snapshot.at = driver_log_id(d, s->base.pos);
    answer(d, r, 0);
}

static void join_file(struct driver *d, struct snapshot_file *f, struct node_request *request)
{
    struct snapshot_reader *r = mem_zalloc(sizeof *r);
    r->number = ++d->backups.reader_last;
    r->file = f;
    r->request = request;
    r->seen_ms = d->now_ms;
    f->n_readers++;
    d->backups.n_readers++;
    list_push_back(&d->backups.readers, &r->link);
    if (f->is_ready)
        answer_open(d, r);
}

static void open_backup(struct driver *d, struct node_request *request)
{
    const struct backups *b = &d->backups;
    if (!driver_is_member(d))
        driver_done(request, ERR_UNINITIALIZED);
    else if (b->n_readers >= READERS_MAX || (b->n_files >= FILES_MAX && !recent_file(d)))
        driver_done(request, ERR_OVERLOADED);
    else
        list_push_back(&d->backups.waiting, &request->link);
}

void backup_pump(struct driver *d)
{
    struct list *it;
    if (list_is_empty(&d->backups.waiting))
        return;
    struct snapshot_file *f = recent_file(d);
    if (!f && !can_make(d))
        return;
    if (!f) {
        f = make_file(d);
        LOG_INFO("writing a snapshot of the state at %llu for a backup",
                 (unsigned long long)f->snapshot->base.pos.index);
    }
    while ((it = list_pop_front(&d->backups.waiting)) != NULL)
        join_file(d, f, LIST_ENTRY(it, struct node_request, link));
}

static void read_backup(struct driver *d, struct node_request *request)
{
    struct snapshot_reader *r = find_reader(d, request->in.snapshot.id);
    uint64_t offset = request->in.snapshot.offset, len = request->in.snapshot.len;
    if (!r) {
        driver_done(request, ERR_NOT_FOUND);
        return;
    }
    uint64_t size = r->file->snapshot->size;
    if (r->request || len == 0 || len > NODE_SNAPSHOT_PIECE_MAX || offset > size ||
        len > size - offset) {
        driver_done(request, ERR_INVALID);
        return;
    }
    r->request = request;
    r->seen_ms = d->now_ms;
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, r->file->snapshot->id);
    j->reader = r->number;
    j->offset = offset;
    j->len = (uint32_t)len;
    d->storage->work(d->storage, j);
}

static void close_backup(struct driver *d, struct node_request *request)
{
    struct snapshot_reader *r = find_reader(d, request->in.snapshot.id);
    if (r) {
        struct snapshot_file *f = r->file;
        forget(d, r, ERR_NOT_FOUND);
        drop_unless_needed(d, f);
    }
    driver_done(request, 0);
}

void backup_request(struct driver *d, struct node_request *r)
{
    if (r->type == NODE_SNAPSHOT_OPEN)
        open_backup(d, r);
    else if (r->type == NODE_SNAPSHOT_READ)
        read_backup(d, r);
    else
        close_backup(d, r);
}

/* ---- what the storage did ---- */

static void make_failed(struct driver *d, struct snapshot_file *f, int err)
{
    LOG_WARN("no snapshot: %s", err_text(err));
    LIST_FOREACH_SAFE (it, following, &d->backups.readers) {
        struct snapshot_reader *r = LIST_ENTRY(it, struct snapshot_reader, link);
        if (r->file == f)
            forget(d, r, err);
    }
    bool core_waits = f->core_waits;
    file_free(d, f);
    if (core_waits)
        raft_snapshot_made(d->raft, NULL);
}

void backup_made(struct driver *d, struct storage_job *j)
{
    struct snapshot_file *f = find_file(d, j->snapshot_id);
    if (j->err != 0) {
        make_failed(d, f, j->err);
        storage_job_free(&j);
        return;
    }
    figures_took(d, NODE_TOOK_SNAPSHOT_MAKE, j->asked_us);
    f->snapshot->size = j->size;
    f->snapshot->digest = j->digest;
    f->is_ready = true;
    storage_job_free(&j);
    LIST_FOREACH (it, &d->backups.readers) {
        struct snapshot_reader *r = LIST_ENTRY(it, struct snapshot_reader, link);
        if (r->file == f)
            answer_open(d, r);
    }
    if (f->core_waits)
        give_to_core(d, f);
    drop_unless_needed(d, f);
}

/* The reader may be gone by now. */
void backup_was_read(struct driver *d, struct storage_job *j)
{
    struct snapshot_reader *r = find_reader(d, j->reader);
    if (j->err != 0 && r)
        LOG_WARN("cannot read the snapshot for a backup: %s", err_text(j->err));
    if (r) {
        r->request->ret.snapshot.data = j->data; /* a reader that waits no more is gone */
        j->data = (struct buf)BUF_INIT;
        answer(d, r, j->err);
    }
    storage_job_free(&j);
}

/* ---- the end ---- */

static bool is_over(const struct driver *d, const struct snapshot_reader *r)
{
    if (r->request)
        return r->request->deadline_ms <= d->now_ms;
    return d->now_ms - r->seen_ms >= NODE_SNAPSHOT_IDLE_MS;
}

static void expire_waiting(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->backups.waiting) {
        struct node_request *r = LIST_ENTRY(it, struct node_request, link);
        if (!all && r->deadline_ms > d->now_ms)
            continue;
        list_remove(&r->link);
        driver_done(r, all ? ERR_SHUTDOWN : ERR_TIMEOUT);
    }
}

void backup_expire(struct driver *d, bool all)
{
    expire_waiting(d, all);
    LIST_FOREACH_SAFE (it, following, &d->backups.readers) {
        struct snapshot_reader *r = LIST_ENTRY(it, struct snapshot_reader, link);
        struct snapshot_file *f = r->file;
        if (!all && !is_over(d, r))
            continue;
        forget(d, r, all ? ERR_SHUTDOWN : ERR_TIMEOUT);
        if (!all)
            drop_unless_needed(d, f);
    }
}

void backup_free(struct driver *d)
{
    struct list *it;
    while ((it = list_pop_front(&d->backups.files)) != NULL) {
        struct snapshot_file *f = LIST_ENTRY(it, struct snapshot_file, link);
        raft_snapshot_unref(&f->snapshot);
        mem_free(f);
    }
}
