/* SPDX-License-Identifier: MIT
 * Durable bytes and names, and the image on top of them. Hashes are sums over
 * sectors, so that an image costs what it changes.
 */
#include "disk.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* ---- hashing ---- */

static uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Of a sector and its place; 0 of zeros, so that a file's hash does not depend on its capacity. */
static uint64_t hash_sector(const uint8_t *p, size_t sector)
{
    uint64_t h = 0, any = 0, word;
    for (size_t i = 0; i < DISK_SECTOR; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        any |= word;
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return any ? mixed(h + sector * 0xd1342543de82ef95u + 1) : 0;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = mixed(h * 31 + (uint8_t)*text);
    return h;
}

/* ---- names ---- */

static void names_add(struct disk_names *set, uint32_t dir, const char *name, uint32_t node)
{
    size_t i = 0;
    while (i < set->n && !(set->names[i].dir == dir && strcmp(set->names[i].name, name) == 0))
        i++;
    if (i == set->cap) {
        set->cap = set->cap ? 2 * set->cap : 16;
        set->names = mem_realloc(set->names, set->cap * sizeof *set->names);
    }
    set->n += i == set->n;
    set->names[i] = (struct disk_name){.dir = dir, .node = node};
    memcpy(set->names[i].name, name, strlen(name) + 1);
}

/* Unless another node has the name by now. */
static void names_drop(struct disk_names *set, uint32_t dir, const char *name, uint32_t node)
{
    for (size_t i = 0; i < set->n; i++) {
        struct disk_name *n = &set->names[i];
        if (n->dir == dir && n->node == node && strcmp(n->name, name) == 0) {
            *n = set->names[--set->n];
            return;
        }
    }
}

static void names_copy(struct disk_names *to, const struct disk_names *from)
{
    if (to->cap < from->n) {
        to->cap = from->cap;
        to->names = mem_realloc(to->names, to->cap * sizeof *to->names);
    }
    if (from->n)
        memcpy(to->names, from->names, from->n * sizeof *to->names);
    to->n = from->n;
}

bool disk_is_reachable(const struct disk_names *set, const struct disk_name *name)
{
    uint32_t dir = name->dir;
    for (unsigned depth = 0; dir != TRACE_ROOT; depth++) {
        size_t i = 0;
        while (i < set->n && set->names[i].node != dir)
            i++;
        if (i == set->n || depth > 16)
            return false;
        dir = set->names[i].dir;
    }
    return true;
}

static bool is_name_op(const struct trace_op *op)
{
    return op->kind == TRACE_MAKE || op->kind == TRACE_RENAME || op->kind == TRACE_REMOVE;
}

static void apply_added(struct disk_names *set, const struct trace_op *op)
{
    if (op->kind != TRACE_REMOVE)
        names_add(set, op->dir, op->name, op->node);
}

static void apply_dropped(struct disk_names *set, const struct trace_op *op)
{
    if (op->kind == TRACE_RENAME)
        names_drop(set, op->old_dir, op->old_name, op->node);
    else if (op->kind == TRACE_REMOVE)
        names_drop(set, op->dir, op->name, op->node);
}

/* ---- files ---- */

static void *grown(void *p, size_t old_bytes, size_t new_bytes)
{
    uint8_t *q = mem_realloc(p, new_bytes);
    memset(q + old_bytes, 0, new_bytes - old_bytes);
    return q;
}

static void reserve(struct disk_file *f, size_t size)
{
    if (size <= f->cap)
        return;
    size_t cap = f->cap ? f->cap : 16 * DISK_PAGE;
    while (cap < size)
        cap *= 2;
    size_t old_sectors = f->cap / DISK_SECTOR, sectors = cap / DISK_SECTOR;
    f->durable = grown(f->durable, f->cap, cap);
    f->work = grown(f->work, f->cap, cap);
    f->sector_hash = grown(f->sector_hash, old_sectors * 8, sectors * 8);
    f->is_touched = grown(f->is_touched, old_sectors, sectors);
    f->stale = grown(f->stale, f->cap / DISK_PAGE, cap / DISK_PAGE);
    memset(f->stale + f->cap / DISK_PAGE, 1, (cap - f->cap) / DISK_PAGE); /* nothing is known */
    f->cap = cap;
}

static void mark_stale(struct disk_file *f, size_t offset, size_t len)
{
    if (len)
        memset(f->stale + offset / DISK_PAGE, 1,
               (offset + len - 1) / DISK_PAGE - offset / DISK_PAGE + 1);
}

void disk_make_stale(struct disk *d, uint32_t node, uint64_t offset, uint64_t len)
{
    struct disk_file *f = &d->files[node];
    if (node >= d->n_files || offset >= f->cap)
        return; /* beyond what is compared: the copy is cut to its size anyhow */
    mark_stale(f, offset, len < f->cap - offset ? len : f->cap - offset);
}

static void mark_touched(struct disk_file *f, size_t offset, size_t len)
{
    for (size_t s = offset / DISK_SECTOR; len && s <= (offset + len - 1) / DISK_SECTOR; s++) {
        if (f->is_touched[s])
            continue;
        f->is_touched[s] = 1;
        if (f->n_touched == f->cap_touched) {
            f->cap_touched = f->cap_touched ? 2 * f->cap_touched : 64;
            f->touched = mem_realloc(f->touched, f->cap_touched * sizeof *f->touched);
        }
        f->touched[f->n_touched++] = (uint32_t)s;
    }
    mark_stale(f, offset, len);
}

static void rehash(struct disk_file *f, size_t offset, size_t len)
{
    for (size_t s = offset / DISK_SECTOR; len && s <= (offset + len - 1) / DISK_SECTOR; s++) {
        uint64_t h = hash_sector(f->durable + s * DISK_SECTOR, s);
        f->hash += h - f->sector_hash[s];
        f->sector_hash[s] = h;
    }
}

/* Onto the durable content, which is the image's too while there is none. */
static void make_durable(struct disk_file *f, const struct trace *t, const struct trace_op *op)
{
    size_t from = (size_t)op->offset, len = op->len;
    if (op->kind == TRACE_TRUNCATE) {
        reserve(f, from);
        len = f->durable_size > from ? f->durable_size - from : 0;
        memset(f->durable + from, 0, len);
        memset(f->work + from, 0, len);
        f->durable_size = from;
    } else {
        reserve(f, from + len);
        memcpy(f->durable + from, trace_data(t, op), len);
        memcpy(f->work + from, trace_data(t, op), len);
        if (from + len > f->durable_size)
            f->durable_size = from + len;
    }
    f->work_size = f->durable_size;
    rehash(f, from, len);
    mark_stale(f, from, len);
}

/* ---- the trace ---- */

void disk_init(struct disk *d, const struct trace *trace)
{
    memset(d, 0, sizeof *d);
    d->trace = trace;
    d->n_files = 1;
    d->files[TRACE_ROOT].is_dir = true;
}

void disk_free(struct disk *d)
{
    for (uint32_t i = 0; i < d->n_files; i++) {
        struct disk_file *f = &d->files[i];
        mem_free(f->durable);
        mem_free(f->work);
        mem_free(f->sector_hash);
        mem_free(f->touched);
        mem_free(f->is_touched);
        mem_free(f->stale);
    }
    mem_free(d->durable.names);
    mem_free(d->image.names);
    mem_free(d->pending);
    memset(d, 0, sizeof *d);
}

static void push_pending(struct disk *d, const struct trace_op *op)
{
    if (d->n_pending == d->cap_pending) {
        d->cap_pending = d->cap_pending ? 2 * d->cap_pending : 64;
        d->pending = mem_realloc(d->pending, d->cap_pending * sizeof *d->pending);
    }
    d->pending[d->n_pending++] = (struct disk_pending){.op = op, .at = d->at - 1};
}

/* A file's sync, or (forced_only) an O_DSYNC write, which is durable at once where nothing before
 * it is pending. */
static void fold_file(struct disk *d, uint32_t node, bool forced_only)
{
    size_t kept = 0;
    bool stop = false;
    for (size_t i = 0; i < d->n_pending; i++) {
        struct disk_pending p = d->pending[i];
        bool is_its = p.op->node == node && !is_name_op(p.op);
        stop |= is_its && forced_only && !p.forced;
        if (is_its && !stop)
            make_durable(&d->files[node], d->trace, p.op);
        else
            d->pending[kept++] = p;
    }
    d->n_pending = kept;
}

static void fold_dir(struct disk *d, uint32_t dir)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->n_pending; i++) {
        struct disk_pending p = d->pending[i];
        if (is_name_op(p.op)) {
            bool renamed = p.op->kind == TRACE_RENAME;
            if (p.op->dir == dir && !p.added) {
                apply_added(&d->durable, p.op);
                p.added = true;
            }
            if ((renamed ? p.op->old_dir : p.op->dir) == dir && !p.dropped) {
                apply_dropped(&d->durable, p.op);
                p.dropped = true;
            }
        }
        if (!(p.added && p.dropped))
            d->pending[kept++] = p;
    }
    d->n_pending = kept;
    names_copy(&d->image, &d->durable);
}

void disk_step(struct disk *d)
{
    const struct trace_op *op = &d->trace->ops[d->at++];
    switch (op->kind) {
    case TRACE_MARK:
        d->marks[op->node] = op->offset;
        break;
    case TRACE_SYNC:
        if (op->is_dir)
            fold_dir(d, op->node);
        else
            fold_file(d, op->node, false);
        break;
    case TRACE_MAKE:
        ASSERT(op->node < TRACE_NODES_MAX);
        if (op->node >= d->n_files)
            d->n_files = op->node + 1;
        d->files[op->node].is_dir = op->is_dir;
        push_pending(d, op);
        break;
    default:
        push_pending(d, op);
    }
}

bool disk_is_inside(const struct disk *d)
{
    return d->n_pending > 0 && d->pending[d->n_pending - 1].op->kind == TRACE_SYNC_WRITE &&
           !d->pending[d->n_pending - 1].forced;
}

void disk_settle(struct disk *d)
{
    if (!disk_is_inside(d))
        return;
    struct disk_pending *last = &d->pending[d->n_pending - 1];
    last->forced = true;
    fold_file(d, last->op->node, true);
}

/* ---- the image ---- */

static void cut_work(struct disk_file *f, size_t size)
{
    reserve(f, size);
    if (f->work_size > size) {
        memset(f->work + size, 0, f->work_size - size);
        mark_touched(f, size, f->work_size - size);
    }
    f->work_size = size;
}

void disk_put_bytes(struct disk *d, const struct disk_pending *p, size_t from, size_t len)
{
    struct disk_file *f = &d->files[p->op->node];
    size_t offset = (size_t)p->op->offset + from;
    ASSERT(from + len <= p->op->len);
    if (len == 0)
        return;
    reserve(f, offset + len);
    memcpy(f->work + offset, trace_data(d->trace, p->op) + from, len);
    if (offset + len > f->work_size)
        f->work_size = offset + len;
    mark_touched(f, offset, len);
}

void disk_put(struct disk *d, const struct disk_pending *p)
{
    if (p->op->kind == TRACE_TRUNCATE) {
        cut_work(&d->files[p->op->node], (size_t)p->op->offset);
    } else if (!is_name_op(p->op)) {
        disk_put_bytes(d, p, 0, p->op->len);
    } else {
        if (!p->added)
            apply_added(&d->image, p->op);
        if (!p->dropped)
            apply_dropped(&d->image, p->op);
    }
}

void disk_put_size(struct disk *d, uint32_t node, size_t size)
{
    struct disk_file *f = &d->files[node];
    reserve(f, size);
    if (f->work_size < size)
        f->work_size = size;
}

static uint32_t copy_file(struct disk *d, uint32_t node)
{
    ASSERT(d->n_files < TRACE_NODES_MAX);
    const struct disk_file *f = &d->files[node];
    struct disk_file *copy = &d->files[d->n_files];
    if (f->work_size > 0) {
        reserve(copy, f->work_size);
        memcpy(copy->work, f->work, f->work_size);
        copy->work_size = f->work_size;
    }
    return d->n_files++;
}

void disk_split(struct disk *d)
{
    for (size_t i = 0; i < d->image.n; i++)
        for (size_t k = i + 1; k < d->image.n; k++)
            if (d->image.names[k].node == d->image.names[i].node &&
                !d->files[d->image.names[k].node].is_dir)
                d->image.names[k].node = copy_file(d, d->image.names[k].node);
}

static uint64_t file_hash(const struct disk_file *f)
{
    uint64_t h = f->hash;
    for (size_t i = 0; i < f->n_touched; i++) {
        uint32_t s = f->touched[i];
        h += hash_sector(f->work + (size_t)s * DISK_SECTOR, s) - f->sector_hash[s];
    }
    return mixed(h + f->work_size);
}

uint64_t disk_hash(const struct disk *d)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < d->image.n; i++) {
        const struct disk_name *n = &d->image.names[i];
        if (!disk_is_reachable(&d->image, n))
            continue;
        const struct disk_file *f = &d->files[n->node];
        sum += mixed(hash_text(n->dir + 1, n->name) + (f->is_dir ? n->node : file_hash(f)));
    }
    return sum;
}

void disk_undo(struct disk *d)
{
    for (uint32_t i = 0; i < d->n_files; i++) {
        struct disk_file *f = &d->files[i];
        for (size_t k = 0; k < f->n_touched; k++) {
            size_t offset = (size_t)f->touched[k] * DISK_SECTOR;
            memcpy(f->work + offset, f->durable + offset, DISK_SECTOR);
            f->is_touched[f->touched[k]] = 0;
            mark_stale(f, offset, DISK_SECTOR);
        }
        f->n_touched = 0;
        f->work_size = f->durable_size;
    }
    names_copy(&d->image, &d->durable);
}
