/* SPDX-License-Identifier: MIT
 * What of a disk is not the log: the checkpointed state and the files of
 * snapshots. Jobs of a lane are done one after the other and take their time;
 * a crash loses those that are not done, and every file that is not installed.
 */
#include "sim.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "unit/mem_base.h"

#define DAMAGED_PPM 2000 /* of the pieces read from a snapshot */

/* ---- a snapshot as bytes ---- */

static void put_record(struct buf *out, const struct kv_record *r)
{
    buf_put_string(out, r->key, r->key_len);
    buf_put_varint(out, r->value.revision);
    buf_put_varint(out, r->value.create_revision);
    buf_put_varint(out, r->value.version);
    buf_put_string(out, r->value.attrs, r->value.attrs_len);
    buf_put_string(out, r->value.data, r->value.len);
}

static void write_snapshot(struct storage_job *j, struct buf *out)
{
    struct kv_cursor *c = kv_view_cursor(j->view);
    struct kv_record r;
    buf_put_string(out, j->meta.data, j->meta.len);
    for (int err = kv_cursor_seek(c, NULL, 0, &r); err == 0; err = kv_cursor_next(c, &r))
        put_record(out, &r);
    kv_cursor_close(&c);
    kv_view_close(&j->view);
}

/* Reads records one after the other, for the base to take over. */
struct parser {
    struct kv_cursor cursor; /* first */
    struct bytes_reader all, left;
};

bool files_next_record(struct bytes_reader *r, struct kv_record *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->key = bytes_read_string(r, LIMIT_KEY_BYTES, &ret->key_len);
    ret->value.revision = bytes_read_varint(r);
    ret->value.create_revision = bytes_read_varint(r);
    ret->value.version = bytes_read_varint(r);
    ret->value.attrs = bytes_read_string(r, LIMIT_ATTRS_BYTES, &ret->value.attrs_len);
    ret->value.data = bytes_read_string(r, LIMIT_VALUE_BYTES, &ret->value.len);
    return bytes_reader_ok(r);
}

static int parse_next(struct kv_cursor *cursor, struct kv_record *ret)
{
    struct parser *p = (struct parser *)cursor;
    if (bytes_reader_done(&p->left))
        return ERR_NOT_FOUND;
    ASSERT(files_next_record(&p->left, ret)); /* the checksum was right */
    return 0;
}

static int parse_first(struct kv_cursor *cursor, const void *key, size_t len, struct kv_record *ret)
{
    struct parser *p = (struct parser *)cursor;
    (void)key;
    ASSERT(len == 0);
    p->left = p->all;
    return parse_next(cursor, ret);
}

static void parse_end(struct kv_cursor *cursor)
{
    mem_free(cursor);
}

/* ---- files ---- */

static struct snapshot_file *find(struct files *f, uint64_t id)
{
    for (unsigned i = 0; i < SIM_SNAPSHOTS; i++)
        if (f->snapshots[i].id == id)
            return &f->snapshots[i];
    return NULL;
}

static struct snapshot_file *place_for(struct disk *d, uint64_t id)
{
    struct snapshot_file *file = find(&d->files, id);
    if (!file)
        file = find(&d->files, 0);
    SIM_SAFE(d->sim, file, "node %u keeps snapshots that nobody needs", d->self);
    file->id = id;
    return file;
}

static void drop_file(struct snapshot_file *file)
{
    buf_free(&file->bytes);
    if (file->state)
        file->state->ops->unref(file->state);
    *file = (struct snapshot_file){0};
}

/* ---- jobs ---- */

static void checkpoint(struct disk *d, struct storage_job *j)
{
    struct files *f = &d->files;
    if (j->frozen->applied.index <= f->applied)
        return; /* a snapshot was installed meanwhile */
    struct kv_cursor *run = kv_frozen_cursor(j->frozen);
    mem_base_add_run(f->state, &run);
    buf_clear(&f->meta);
    buf_append(&f->meta, j->meta.data, j->meta.len);
    f->applied = j->frozen->applied.index;
    probe(d->sim, PROBE_CHECKPOINT);
}

static void make(struct disk *d, struct storage_job *j)
{
    struct snapshot_file *file = place_for(d, j->snapshot_id);
    buf_clear(&file->bytes);
    write_snapshot(j, &file->bytes);
    j->size = file->bytes.len;
    j->digest = crc32c(0, file->bytes.data, file->bytes.len);
}

static void read_piece(struct disk *d, struct storage_job *j)
{
    struct sim *s = d->sim;
    const struct snapshot_file *file = find(&d->files, j->snapshot_id);
    if (!file) {
        j->err = ERR_NOT_FOUND;
        return;
    }
    SIM_SAFE(s, j->offset + j->len <= file->bytes.len, "node %u sends what no snapshot has",
             d->self);
    buf_append(&j->data, file->bytes.data + j->offset, j->len);
    if (j->reader == 0 && !s->healing && sim_chance(s, DAMAGED_PPM)) {
        uint64_t bit = sim_random(s, 0, 8 * (uint64_t)j->len - 1);
        j->data.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

/* All is there: is it right? */
static void complete(struct disk *d, struct storage_job *j, struct snapshot_file *file)
{
    size_t len = 0;
    if (crc32c(0, file->bytes.data, file->bytes.len) != j->digest) {
        probe(d->sim, PROBE_SNAPSHOT_DAMAGED);
        j->err = ERR_CORRUPT;
        return;
    }
    struct bytes_reader r = bytes_reader(file->bytes.data, file->bytes.len);
    const uint8_t *meta = bytes_read_string(&r, file->bytes.len, &len);
    ASSERT(meta);
    static const struct kv_cursor_ops ops = {
        .seek = parse_first, .next = parse_next, .close = parse_end};
    struct parser *p = mem_zalloc(sizeof *p);
    p->cursor.ops = &ops;
    p->all = r;
    struct kv_cursor *records = &p->cursor;
    file->state = mem_base_new();
    mem_base_add_run(file->state, &records);
    buf_append(&j->meta, meta, len);
}

static void write_piece(struct disk *d, struct storage_job *j)
{
    struct snapshot_file *file = place_for(d, j->snapshot_id);
    if (j->offset == 0) {
        drop_file(file);
        file->id = j->snapshot_id;
    }
    SIM_SAFE(d->sim, file->bytes.len == j->offset,
             "node %u writes a snapshot at %llu after %zu bytes", d->self,
             (unsigned long long)j->offset, file->bytes.len);
    buf_append(&file->bytes, j->data.data, j->data.len);
    if (file->bytes.len == j->size)
        complete(d, j, file);
}

static void do_job(struct disk *d, struct storage_job *j)
{
    switch (j->type) {
    case STORAGE_CHECKPOINT:
        checkpoint(d, j);
        break;
    case STORAGE_SNAPSHOT_MAKE:
        break; /* was done at once, only the answer takes time */
    case STORAGE_SNAPSHOT_READ:
        read_piece(d, j);
        break;
    case STORAGE_SNAPSHOT_WRITE:
        write_piece(d, j);
        break;
    case STORAGE_SNAPSHOT_DROP: {
        struct snapshot_file *file = find(&d->files, j->snapshot_id);
        if (file)
            drop_file(file);
        break;
    }
    }
}

/* ---- lanes ---- */

static unsigned lane_of(enum storage_job_type type)
{
    return type == STORAGE_CHECKPOINT      ? 0
           : type == STORAGE_SNAPSHOT_MAKE ? 1
           : type == STORAGE_SNAPSHOT_READ ? 2
                                           : 3;
}

static void next_job(struct disk *d, unsigned lane)
{
    struct sim *s = d->sim;
    const struct plan *p = &s->plan;
    static const unsigned times[SIM_LANES] = {5, 10, 1, 1};
    uint64_t us = sim_random(s, p->disk_min_us, p->disk_max_us) * times[lane];
    uint64_t healed_us = 20 * SIM_MS;
    if (s->healing && us > healed_us)
        us = healed_us;
    sim_at(s, s->now_us + us, EVENT_FILES, d->self, s->nodes[d->self].life, lane, NULL);
}

void files_work(struct storage *storage, struct storage_job *j)
{
    struct disk *d = (struct disk *)storage;
    unsigned lane = lane_of(j->type);
    struct list *jobs = &d->files.jobs[lane];
    if (j->type == STORAGE_SNAPSHOT_MAKE)
        make(d, j);
    bool busy = !list_is_empty(jobs);
    list_push_back(jobs, &j->link);
    if (!busy)
        next_job(d, lane);
}

void files_done(struct sim *s, unsigned i, uint64_t life, unsigned lane)
{
    struct sim_node *n = &s->nodes[i];
    struct disk *d = &n->disk;
    if (n->life != life || !n->driver)
        return;
    struct storage_job *j =
        LIST_ENTRY(list_pop_front(&d->files.jobs[lane]), struct storage_job, link);
    do_job(d, j);
    if (j->type == STORAGE_SNAPSHOT_DROP)
        storage_job_free(&j);
    else
        list_push_back(&n->worked, &j->link);
    process_wake(s, i);
    if (!list_is_empty(&d->files.jobs[lane]))
        next_job(d, lane);
}

/* ---- life ---- */

void files_init(struct disk *d)
{
    for (unsigned lane = 0; lane < SIM_LANES; lane++)
        list_init(&d->files.jobs[lane]);
    d->files.state = mem_base_new();
}

void files_install(struct disk *d, struct storage_write *w)
{
    struct files *f = &d->files;
    struct snapshot_file *file = find(f, w->install->id);
    size_t len = 0;
    SIM_SAFE(d->sim, file && file->state, "node %u installs what it did not receive", d->self);
    struct bytes_reader r = bytes_reader(file->bytes.data, file->bytes.len);
    const uint8_t *meta = bytes_read_string(&r, file->bytes.len, &len);
    f->state->ops->unref(f->state);
    f->state = file->state;
    file->state = NULL;
    buf_clear(&f->meta);
    buf_append(&f->meta, meta, len);
    f->applied = w->install->base.pos.index;
    drop_file(file);
    w->state = f->state;
    w->state->ops->ref(w->state);
    buf_append(&w->meta, f->meta.data, f->meta.len);
    probe(d->sim, PROBE_INSTALLED);
    if (raft_config_is_joint(&w->install->base.config))
        probe(d->sim, PROBE_INSTALLED_JOINT);
}

void files_crash(struct disk *d)
{
    struct list *it;
    for (unsigned lane = 0; lane < SIM_LANES; lane++) {
        while ((it = list_pop_front(&d->files.jobs[lane])) != NULL) {
            struct storage_job *j = LIST_ENTRY(it, struct storage_job, link);
            probe(d->sim, PROBE_JOB_LOST);
            storage_job_free(&j);
        }
    }
    for (unsigned i = 0; i < SIM_SNAPSHOTS; i++)
        drop_file(&d->files.snapshots[i]);
}

void files_free(struct disk *d)
{
    files_crash(d);
    d->files.state->ops->unref(d->files.state);
    buf_free(&d->files.meta);
    memset(&d->files, 0, sizeof d->files);
}

void files_wipe(struct disk *d)
{
    files_free(d);
    files_init(d);
}
