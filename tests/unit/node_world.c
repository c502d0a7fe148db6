/* SPDX-License-Identifier: MIT */
#include "node_world.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct flight {
    struct list link;
    struct transport_request *request;
    unsigned from;
};

/* The other side of a flight, while the receiver works on it. */
struct visit {
    struct world *world;
    struct transport_request *request;
    unsigned from;
};

/* ---- disks ---- */

static void disk_truncate(struct world_disk *d, uint64_t from)
{
    while (from > 0 && d->n_log >= from)
        raft_entry_unref(&d->log[--d->n_log]);
}

static void disk_write(struct storage *s, struct storage_write *w)
{
    struct world_disk *d = (struct world_disk *)s;
    if (d->writes_left == 0) {
        storage_write_free(&w);
        return;
    }
    d->writes_left--;
    if (w->has_identity)
        d->identity = w->identity;
    if (w->seq != 0) {
        disk_truncate(d, w->truncate_from);
        d->hard_state = w->hard_state;
    }
    d->log = mem_realloc(d->log, (d->n_log + w->n_entries + 1) * sizeof *d->log);
    for (unsigned i = 0; i < w->n_entries; i++) {
        ASSERT(w->entries[i]->pos.index == d->n_log + 1);
        d->log[d->n_log++] = raft_entry_ref(w->entries[i]);
    }
    list_push_back(&d->done, &w->link);
}

static void disk_load(struct storage *s, struct storage_load *l)
{
    struct world_disk *d = (struct world_disk *)s;
    l->entries = mem_array(l->n_max, sizeof *l->entries);
    for (uint64_t i = l->first; i <= d->n_log && l->n_entries < l->n_max; i++)
        l->entries[l->n_entries++] = raft_entry_ref(d->log[i - 1]);
    list_push_back(&d->loads, &l->link);
}

static void disk_space(struct storage *s, struct storage_space *ret_space)
{
    const struct world_disk *d = (struct world_disk *)s;
    if (d->space.reserve > 0)
        *ret_space = d->space;
}

/* ---- files of snapshots ---- */

static struct world_file *find_file(struct world_disk *d, uint64_t id)
{
    for (unsigned i = 0; i < WORLD_FILES; i++)
        if (d->files[i].id == id)
            return &d->files[i];
    return NULL;
}

static void make_file(struct world_disk *d, struct storage_job *j)
{
    struct world_file *file = find_file(d, 0);
    struct kv_cursor *c = kv_view_cursor(j->view);
    struct kv_record r;
    ASSERT(file);
    file->id = j->snapshot_id;
    for (int err = kv_cursor_seek(c, NULL, 0, &r); err == 0; err = kv_cursor_next(c, &r)) {
        buf_append(&file->bytes, r.key, r.key_len);
        buf_append(&file->bytes, " ", 1);
        buf_append(&file->bytes, r.value.data, r.value.len);
        buf_append(&file->bytes, "\n", 1);
    }
    kv_cursor_close(&c);
    kv_view_close(&j->view);
    j->size = file->bytes.len;
    d->n_made++;
}

static void drop_file(struct world_file *file)
{
    buf_free(&file->bytes);
    file->id = 0;
}

static void disk_work(struct storage *s, struct storage_job *j)
{
    struct world_disk *d = (struct world_disk *)s;
    struct world_file *file = find_file(d, j->snapshot_id);
    if (j->type == STORAGE_SNAPSHOT_MAKE && (j->err = d->make_fails) == 0)
        make_file(d, j);
    if (j->type == STORAGE_SNAPSHOT_READ && file)
        buf_append(&j->data, file->bytes.data + j->offset, j->len);
    else if (j->type == STORAGE_SNAPSHOT_READ)
        j->err = ERR_NOT_FOUND;
    if (j->type == STORAGE_SNAPSHOT_DROP) {
        ASSERT(file); /* once, and only what there is */
        drop_file(file);
    }
    list_push_back(&d->jobs, &j->link);
}

unsigned world_files(const struct world *w, unsigned i)
{
    unsigned n = 0;
    for (unsigned k = 0; k < WORLD_FILES; k++)
        n += w->nodes[i].disk.files[k].id != 0;
    return n;
}

static void disk_report(struct world_node *n)
{
    struct list *it;
    if (n->disk.stalled || n->paused)
        return;
    while (n->driver && (it = list_pop_front(&n->disk.done)) != NULL)
        driver_written(n->driver, LIST_ENTRY(it, struct storage_write, link));
    while (n->driver && (it = list_pop_front(&n->disk.loads)) != NULL)
        driver_loaded(n->driver, LIST_ENTRY(it, struct storage_load, link));
    while (n->driver && !n->disk.jobs_last && (it = list_pop_front(&n->disk.jobs)) != NULL)
        driver_worked(n->driver, LIST_ENTRY(it, struct storage_job, link));
}

static void disk_drop_reports(struct world_disk *d)
{
    struct list *it;
    while ((it = list_pop_front(&d->done)) != NULL) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        storage_write_free(&w);
    }
    while ((it = list_pop_front(&d->loads)) != NULL) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        storage_load_free(&l);
    }
    while ((it = list_pop_front(&d->jobs)) != NULL) {
        struct storage_job *j = LIST_ENTRY(it, struct storage_job, link);
        storage_job_free(&j);
    }
    for (unsigned i = 0; i < WORLD_FILES; i++)
        drop_file(&d->files[i]);
}

/* ---- network ---- */

static void link_send(struct transport *t, struct transport_request *r)
{
    struct world_link *l = (struct world_link *)t;
    struct flight *f = mem_zalloc(sizeof *f);
    f->request = r;
    f->from = l->self;
    list_push_back(&l->world->asked, &f->link);
}

static void come_home(struct world *w, unsigned from, struct transport_request *r)
{
    struct world_node *n = &w->nodes[from];
    if (n->driver && !n->isolated) {
        driver_answered(n->driver, r);
    } else if (n->driver) {
        r->err = ERR_IO;
        driver_answered(n->driver, r);
    } else {
        transport_request_free(&r);
    }
}

static void visited(struct node_request *r)
{
    struct visit *v = r->owner;
    struct transport_request *t = v->request;
    t->http_status = r->err == 0 ? r->ret.reply.http_status : 503;
    buf_append(&t->reply, r->ret.reply.body.data, r->ret.reply.body.len);
    if (t->path == TRANSPORT_FORWARD && v->world->drop_replies > 0) {
        v->world->drop_replies--;
        t->err = ERR_IO;
    }
    /* Not at once: the receiver is in the middle of its turn. */
    struct flight *f = mem_zalloc(sizeof *f);
    f->request = t;
    f->from = v->from;
    t->timeout_ms = 0; /* marks the way home */
    list_push_back(&v->world->asked, &f->link);
    mem_free(v);
    node_request_free(&r);
}

static struct world_node *resident(struct world *w, const char *addr)
{
    for (unsigned i = 0; i < w->n; i++) {
        struct world_node *n = &w->nodes[i];
        if (strcmp(n->options.addr, addr) == 0 || (n->alias && strcmp(n->alias, addr) == 0))
            return n;
    }
    return NULL;
}

/* Somebody is stopped: it waits for him. */
static bool must_wait(struct world *w, const struct flight *f)
{
    const struct transport_request *t = f->request;
    const struct world_node *to = t->timeout_ms ? resident(w, t->addr) : &w->nodes[f->from];
    return to && to->paused;
}

static void deliver(struct world *w, struct flight *f)
{
    struct transport_request *t = f->request;
    struct world_node *to = resident(w, t->addr);
    if (t->timeout_ms == 0) {
        come_home(w, f->from, t);
        return;
    }
    if (!to || !to->driver || to->isolated || w->nodes[f->from].isolated) {
        t->err = ERR_UNREACHABLE;
        come_home(w, f->from, t);
        return;
    }
    struct visit *v = mem_alloc(sizeof *v);
    *v = (struct visit){w, t, f->from};
    struct node_request *r = node_request_new(NODE_PEER);
    r->owner = v;
    r->done = visited;
    r->deadline_ms = w->now_ms + 1000;
    r->in.peer.path = t->path;
    buf_append(&r->in.peer.body, t->body.data, t->body.len);
    driver_request(to->driver, r);
}

static void step(struct world *w)
{
    for (unsigned i = 0; i < w->n; i++)
        disk_report(&w->nodes[i]);
    struct list now;
    list_init(&now);
    list_splice(&now, &w->asked);
    struct list *it;
    while ((it = list_pop_front(&now)) != NULL) {
        struct flight *f = LIST_ENTRY(it, struct flight, link);
        if (must_wait(w, f)) {
            list_push_back(&w->asked, it);
            continue;
        }
        deliver(w, f);
        mem_free(f);
    }
    for (unsigned i = 0; i < w->n; i++)
        if (w->nodes[i].driver && !w->nodes[i].paused) {
            driver_pump(w->nodes[i].driver);
            raft_check(w->nodes[i].driver->raft);
        }
}

void world_run(struct world *w, uint32_t ms)
{
    for (uint64_t end_ms = w->now_ms + ms; w->now_ms < end_ms;) {
        w->now_ms += DRIVER_TICK_MS;
        for (unsigned i = 0; i < w->n; i++)
            if (w->nodes[i].driver && !w->nodes[i].paused)
                driver_advance(w->nodes[i].driver, w->now_ms);
        for (unsigned i = 0; i < 20; i++)
            step(w);
    }
}

/* ---- life ---- */

void world_wipe(struct world *w, unsigned i)
{
    struct world_disk *d = &w->nodes[i].disk;
    static uint64_t n_made;
    disk_truncate(d, 1);
    d->hard_state = (struct raft_hard_state){0};
    n_made++;
    d->identity = (struct storage_identity){.node = {0x1111, n_made}, .incarnation = 7 + n_made};
}

void world_init(struct world *w, unsigned n)
{
    *w = (struct world){.n = n, .now_ms = 1000};
    list_init(&w->asked);
    for (unsigned i = 0; i < n; i++) {
        struct world_node *node = &w->nodes[i];
        node->disk = (struct world_disk){.storage = {.write = disk_write,
                                                     .load = disk_load,
                                                     .work = disk_work,
                                                     .space = disk_space},
                                         .world = w,
                                         .self = i,
                                         .writes_left = UINT_MAX};
        node->link = (struct world_link){.transport = {.send = link_send}, .world = w, .self = i};
        list_init(&node->disk.done);
        list_init(&node->disk.loads);
        list_init(&node->disk.jobs);
        node->options = (struct node_options){.auto_init = true,
                                              .heartbeat_ms = 100,
                                              .election_min_ms = 200,
                                              .election_max_ms = 400,
                                              .lag_threshold_ms = 2000,
                                              .disk_stall_ms = 1000,
                                              .append_entries_max = 500,
                                              .append_bytes_max = MIB,
                                              .window = 1,
                                              .seed = 42 + i};
        snprintf(node->options.addr, sizeof node->options.addr, "127.0.0.1:%u", i + 1);
        world_wipe(w, i);
    }
}

void world_start(struct world *w, unsigned i)
{
    struct world_node *n = &w->nodes[i];
    n->disk.identity.boot++;
    n->options.seed += WORLD_NODES; /* no life repeats the random choices of the last */
    n->driver = driver_new(&n->options, &n->disk.identity);
    driver_restore_hard_state(n->driver, n->disk.hard_state);
    for (unsigned k = 0; k < n->disk.n_log; k++)
        ASSERT(driver_restore_entry(n->driver, n->disk.log[k]) == 0);
    ASSERT(driver_restore_end(n->driver) == 0);
    driver_start(n->driver, &n->disk.storage, &n->link.transport, w->now_ms);
}

void world_kill(struct world *w, unsigned i)
{
    driver_abandon(w->nodes[i].driver);
    driver_free(&w->nodes[i].driver);
    disk_drop_reports(&w->nodes[i].disk);
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (w->nodes[i].driver)
            world_kill(w, i);
        disk_truncate(&w->nodes[i].disk, 1);
        mem_free(w->nodes[i].disk.log);
    }
    struct list *it;
    while ((it = list_pop_front(&w->asked)) != NULL) {
        struct flight *f = LIST_ENTRY(it, struct flight, link);
        transport_request_free(&f->request);
        mem_free(f);
    }
}

/* ---- requests ---- */

static void mark_done(struct node_request *r)
{
    r->owner = r;
}

bool world_is_done(const struct node_request *r)
{
    return r->owner == r;
}

struct node_request *world_request(struct world *w, enum node_request_type type,
                                   uint32_t timeout_ms)
{
    struct node_request *r = node_request_new(type);
    r->deadline_ms = w->now_ms + timeout_ms;
    r->done = mark_done;
    return r;
}

struct node_request *world_set(struct world *w, const char *key, const char *value,
                               uint32_t timeout_ms)
{
    struct node_request *r = world_request(w, NODE_WRITE, timeout_ms);
    struct kv_op op = {.type = KV_OP_SET,
                       .key = (const uint8_t *)key,
                       .key_len = strlen(key),
                       .value = (const uint8_t *)value,
                       .value_len = strlen(value)};
    kv_body_encode(KV_SINGLE, &op, 1, &r->in.write.body);
    return r;
}

void world_submit(struct world *w, unsigned i, struct node_request *r)
{
    driver_request(w->nodes[i].driver, r);
    driver_pump(w->nodes[i].driver);
}

struct node_request *world_call(struct world *w, unsigned i, struct node_request *r)
{
    world_submit(w, i, r);
    while (!world_is_done(r) && w->now_ms < r->deadline_ms + 1000)
        world_run(w, DRIVER_TICK_MS);
    ASSERT(world_is_done(r));
    return r;
}

static int err_of(struct node_request *r)
{
    int err = r->err;
    node_request_free(&r);
    return err;
}

int world_write(struct world *w, unsigned i, const char *key, const char *value)
{
    return err_of(world_call(w, i, world_set(w, key, value, 5000)));
}

int world_init_cluster(struct world *w, unsigned i)
{
    return err_of(world_call(w, i, world_request(w, NODE_INIT, 5000)));
}

int world_add_learner(struct world *w, unsigned at, unsigned who)
{
    struct node_request *r = world_request(w, NODE_ADD_LEARNER, 5000);
    r->in.add_learner.id = world_id(w, who);
    memcpy(r->in.add_learner.addr, w->nodes[who].options.addr, sizeof r->in.add_learner.addr);
    return err_of(world_call(w, at, r));
}

int world_change(struct world *w, unsigned at, unsigned voters_mask)
{
    struct node_request *r = world_request(w, NODE_CHANGE_MEMBERSHIP, 5000);
    for (unsigned i = 0; i < w->n; i++)
        if (voters_mask & 1u << i)
            r->in.change_membership.ids[r->in.change_membership.n_ids++] = world_id(w, i);
    return err_of(world_call(w, at, r));
}

int world_read(struct world *w, unsigned i, const char *key, const char *expected)
{
    struct buf value = BUF_INIT;
    int err = err_of(world_call(w, i, world_request(w, NODE_READ, 5000)));
    if (err == 0 && machine_get(w->nodes[i].driver->machine, key, strlen(key), &value) < 0)
        err = expected ? ERR_NOT_FOUND : 0;
    else if (err == 0 && (!expected || strcmp(buf_str(&value), expected) != 0))
        err = ERR_CORRUPT;
    buf_free(&value);
    return err;
}

int world_leader(const struct world *w)
{
    for (unsigned i = 0; i < w->n; i++)
        if (w->nodes[i].driver && !w->nodes[i].isolated && !w->nodes[i].paused &&
            driver_is_leader(w->nodes[i].driver))
            return (int)i;
    return -1;
}

struct uuid world_id(const struct world *w, unsigned i)
{
    return w->nodes[i].disk.identity.node;
}

void world_cluster(struct world *w, unsigned n)
{
    world_init(w, n);
    for (unsigned i = 0; i < n; i++)
        world_start(w, i);
    ASSERT(world_init_cluster(w, 0) == 0);
    for (unsigned i = 1; i < n; i++)
        ASSERT(world_add_learner(w, 0, i) == 0);
    ASSERT(n == 1 || world_change(w, 0, (1u << n) - 1) == 0);
}

uint64_t world_version(const struct world *w, unsigned i, const char *key)
{
    return machine_version(w->nodes[i].driver->machine, key, strlen(key));
}

void world_wait_for_leader(struct world *w)
{
    for (int i = 0; i < 300 && world_leader(w) < 0; i++)
        world_run(w, 10);
    ASSERT(world_leader(w) >= 0);
}
