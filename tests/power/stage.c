/* SPDX-License-Identifier: MIT
 * The fast path writes stale pages into files that are kept open; when names
 * differ, the directory is built anew.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "record.h"

#define PATH_MAX_HERE 512

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void stage_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A harness that cannot write its images has nothing to say. */
static void must(bool ok, const char *what, const char *path)
{
    if (ok)
        return;
    fprintf(stderr, "power: cannot %s %s: %m\n", what, path);
    exit(3);
}

void stage_init(struct stage *s, const char *root)
{
    memset(s, 0, sizeof *s);
    snprintf(s->root, sizeof s->root, "%s", root);
    for (unsigned i = 0; i < TRACE_NODES_MAX; i++)
        s->fds[i] = -1;
    stage_remove_tree(s->root);
    must(mkdir(s->root, 0700) == 0, "make", s->root);
}

static void close_files(struct stage *s)
{
    for (unsigned i = 0; i < TRACE_NODES_MAX; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        s->fds[i] = -1;
    }
}

void stage_reset(struct stage *s)
{
    close_files(s);
    s->is_known = false;
}

void stage_free(struct stage *s)
{
    close_files(s);
    stage_remove_tree(s->root);
    MEM_FREE(s->names.names);
}

static void path_of(const char *root, const struct disk_names *set, const struct disk_name *n,
                    char out[PATH_MAX_HERE])
{
    char dir[PATH_MAX_HERE];
    if (n->dir == TRACE_ROOT) {
        snprintf(out, PATH_MAX_HERE, "%s/%s", root, n->name);
        return;
    }
    for (size_t i = 0; i < set->n; i++) {
        if (set->names[i].node == n->dir) {
            path_of(root, set, &set->names[i], dir);
            int len = snprintf(out, PATH_MAX_HERE, "%s/%s", dir, n->name);
            ASSERT(len > 0 && len < PATH_MAX_HERE);
            return;
        }
    }
    const bool has_directory = false;
    ASSERT(has_directory);
}

static bool same_names(const struct disk_names *a, const struct disk_names *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct disk_name *x = &a->names[i], *y = &b->names[i];
        if (x->dir != y->dir || x->node != y->node || strcmp(x->name, y->name) != 0)
            return false;
    }
    return true;
}

static void write_stale(int fd, struct disk_file *f)
{
    size_t pages = (f->work_size + DISK_PAGE - 1) / DISK_PAGE;
    for (size_t p = 0; p < pages; p++) {
        size_t end = p;
        while (end < pages && f->stale[end])
            end++;
        if (end > p) {
            size_t len = (end - p) * DISK_PAGE;
            bool ok =
                pwrite(fd, f->work + p * DISK_PAGE, len, (off_t)(p * DISK_PAGE)) == (ssize_t)len;
            must(ok, "write", "an image");
            memset(f->stale + p, 0, end - p);
            p = end;
        }
    }
    must(ftruncate(fd, (off_t)f->work_size) == 0, "cut", "an image");
}

static void build_file(struct stage *s, struct disk *d, const struct disk_name *n, const char *path)
{
    struct disk_file *f = &d->files[n->node];
    /* A second name of one node cannot be: a rename between directories that was cut in half. */
    if (s->fds[n->node] >= 0)
        close(s->fds[n->node]);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, "make", path);
    s->fds[n->node] = fd;
    if (f->cap)
        memset(f->stale, 1, f->cap / DISK_PAGE);
    write_stale(fd, f);
}

static unsigned depth_of(const struct disk_names *set, const struct disk_name *n)
{
    for (size_t i = 0; n->dir != TRACE_ROOT && i < set->n; i++)
        if (set->names[i].node == n->dir)
            return 1 + depth_of(set, &set->names[i]);
    return 0;
}

/* Directories before what is in them. */
static void build(struct stage *s, struct disk *d)
{
    char path[PATH_MAX_HERE];
    close_files(s);
    stage_remove_tree(s->root);
    must(mkdir(s->root, 0700) == 0, "make", s->root);
    for (unsigned depth = 0, left = 1; left; depth++) {
        left = 0;
        for (size_t i = 0; i < d->image.n; i++) {
            const struct disk_name *n = &d->image.names[i];
            if (!disk_is_reachable(&d->image, n))
                continue;
            unsigned its = depth_of(&d->image, n);
            left += its > depth;
            if (its != depth)
                continue;
            path_of(s->root, &d->image, n, path);
            if (d->files[n->node].is_dir)
                must(mkdir(path, 0700) == 0, "make", path);
            else
                build_file(s, d, n, path);
        }
    }
}

static void remember_names(struct stage *s, const struct disk *d)
{
    if (s->names.cap < d->image.n) {
        s->names.cap = d->image.cap;
        s->names.names = mem_realloc(s->names.names, s->names.cap * sizeof *s->names.names);
    }
    if (d->image.n)
        memcpy(s->names.names, d->image.names, d->image.n * sizeof *s->names.names);
    s->names.n = d->image.n;
    s->is_known = true;
}

static void put_lock(const char *path, enum stage_locks locks)
{
    uint8_t garbage[2 * DISK_PAGE];
    unlink(path);
    if (locks == STAGE_LOCKS_ABSENT)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0, "make", path);
    memset(garbage, 0xa5, sizeof garbage);
    if (locks == STAGE_LOCKS_GARBAGE)
        must(write(fd, garbage, sizeof garbage) == (ssize_t)sizeof garbage, "write", path);
    close(fd);
}

/* In every directory that has a lock file when it is in use: those of LMDB, and the data
 * directory. */
static void put_locks(const struct stage *s, const struct disk *d, enum stage_locks locks)
{
    char path[PATH_MAX_HERE], lock[PATH_MAX_HERE + 16];
    for (size_t i = 0; i < d->image.n; i++) {
        const struct disk_name *n = &d->image.names[i];
        bool is_data = strcmp(n->name, "data.mdb") == 0;
        bool is_root = n->dir == TRACE_ROOT && d->files[n->node].is_dir;
        if (!(is_data || is_root) || !disk_is_reachable(&d->image, n))
            continue;
        path_of(s->root, &d->image, n, path);
        if (is_data)
            *strrchr(path, '/') = 0;
        snprintf(lock, sizeof lock, "%s/%s", path, is_data ? "lock.mdb" : "lock");
        put_lock(lock, locks);
    }
}

void stage_put(struct stage *s, struct disk *d, enum stage_locks locks)
{
    if (!s->is_known || !same_names(&s->names, &d->image))
        build(s, d);
    else
        for (uint32_t i = 1; i < d->n_files; i++)
            if (s->fds[i] >= 0)
                write_stale(s->fds[i], &d->files[i]);
    remember_names(s, d);
    if (locks != STAGE_LOCKS_KEPT)
        put_locks(s, d, locks);
}

void stage_leave(const char *root, struct disk *d, enum stage_locks locks)
{
    struct stage s;
    stage_init(&s, root);
    stage_put(&s, d, locks);
    close_files(&s);
    mem_free(s.names.names);
}

/* ---- watching ---- */

static struct stage *watched;

static void on_op(void *ctx, const struct trace_op *op, const void *data)
{
    struct disk *d = ctx;
    (void)data;
    if (op->kind == TRACE_WRITE || op->kind == TRACE_SYNC_WRITE)
        disk_make_stale(d, op->node, op->offset, op->len);
    else if (op->kind == TRACE_TRUNCATE)
        disk_make_stale(d, op->node, op->offset, UINT64_MAX / 2);
    else if (op->kind != TRACE_SYNC)
        watched->is_known = false;
}

/* A rename between directories that was cut in half. */
static bool has_earlier_name(const struct disk_names *set, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (set->names[i].node == set->names[at].node)
            return true;
    return false;
}

void stage_watch(struct stage *s, struct disk *d)
{
    watched = s;
    uint32_t next_node = d->n_files;
    record_begin(s->root, on_op, d);
    for (size_t i = 0; i < s->names.n; i++) {
        const struct disk_name *n = &s->names.names[i];
        uint32_t node = has_earlier_name(&s->names, i) ? next_node++ : n->node;
        if (disk_is_reachable(&s->names, n))
            record_known(n->dir, n->name, node, d->files[n->node].is_dir);
    }
}

void stage_unwatch(void)
{
    record_end();
}

/* ---- comparing ---- */

static bool same_bytes(const char *path, const struct disk_file *f)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    uint8_t *bytes = mem_alloc(f->work_size + 1);
    bool same = fstat(fd, &st) == 0 && (size_t)st.st_size == f->work_size &&
                pread(fd, bytes, f->work_size, 0) == (ssize_t)f->work_size &&
                (f->work_size == 0 || memcmp(bytes, f->work, f->work_size) == 0);
    mem_free(bytes);
    close(fd);
    return same;
}

static size_t n_found;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    n_found += ftw->level > 0 && !record_is_lock_file(path);
    return 0;
}

bool stage_matches(const char *root, const struct disk *d)
{
    char path[PATH_MAX_HERE];
    size_t n_wanted = 0;
    bool right = true;
    for (size_t i = 0; i < d->image.n && right; i++) {
        const struct disk_name *n = &d->image.names[i];
        if (!disk_is_reachable(&d->image, n))
            continue;
        n_wanted++;
        path_of(root, &d->image, n, path);
        right = d->files[n->node].is_dir ? access(path, F_OK) == 0
                                         : same_bytes(path, &d->files[n->node]);
    }
    n_found = 0;
    nftw(root, count_one, 16, FTW_PHYS);
    return right && n_found == n_wanted;
}
