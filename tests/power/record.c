/* SPDX-License-Identifier: MIT
 * Paths become nodes, descriptors point to nodes, and every operation becomes
 * a trace_op once the kernel has carried it out.
 */
#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/rng.h"

#define FDS_MAX 1024

struct known {
    bool used, is_dir;
    uint32_t dir;
    char name[TRACE_NAME_MAX];
};

static struct {
    pthread_mutex_t lock;
    bool active;
    char root[256];
    record_sink *sink;
    void *ctx;
    enum record_lie lie;
    unsigned holds; /* of enum record_holds */
    pthread_cond_t released;
    struct known nodes[TRACE_NODES_MAX];
    uint32_t n_nodes;
    struct {
        uint32_t node; /* TRACE_NO_NODE: not ours */
        bool synced;   /* O_DSYNC or O_SYNC */
    } fds[FDS_MAX];
    bool seeded;
    struct rng rng;
} rec = {.lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER};

/* ---- names ---- */

bool record_is_lock_file(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strcmp(name, "lock") == 0 || strcmp(name, "lock.mdb") == 0;
}

static uint32_t find_in(uint32_t dir, const char *name, size_t len)
{
    for (uint32_t i = 1; i < rec.n_nodes; i++) {
        const struct known *k = &rec.nodes[i];
        if (k->used && k->dir == dir && strlen(k->name) == len && memcmp(k->name, name, len) == 0)
            return i;
    }
    return TRACE_NO_NODE;
}

/* A path below the root: the directory that holds it, its last name, and the node, if it is
 * known. False: elsewhere, or a lock file. */
static bool resolve(const char *path, uint32_t *ret_dir, const char **ret_name, uint32_t *ret_node)
{
    size_t root_len = strlen(rec.root);
    if (!rec.active || strncmp(path, rec.root, root_len) != 0 || record_is_lock_file(path))
        return false;
    uint32_t dir = TRACE_ROOT, node = TRACE_ROOT;
    const char *p = path + root_len, *name = "";
    while (*p) {
        if (*p != '/')
            return false;
        while (*p == '/')
            p++;
        if (!*p)
            break;
        size_t len = strcspn(p, "/");
        if (node == TRACE_NO_NODE)
            return false;
        dir = node;
        name = p;
        node = find_in(dir, p, len);
        p += len;
    }
    *ret_dir = dir;
    *ret_name = name;
    *ret_node = node;
    return true;
}

static void emit(const struct trace_op *op, const void *data)
{
    rec.sink(rec.ctx, op, data);
}

static void copy_name(char out[TRACE_NAME_MAX], const char *name)
{
    size_t len = strcspn(name, "/");
    ASSERT(len > 0 && len < TRACE_NAME_MAX);
    memcpy(out, name, len);
    out[len] = 0;
}

static uint32_t make_node(uint32_t dir, const char *name, bool is_dir)
{
    ASSERT(rec.n_nodes < TRACE_NODES_MAX);
    uint32_t node = rec.n_nodes++;
    struct known *k = &rec.nodes[node];
    *k = (struct known){.used = true, .is_dir = is_dir, .dir = dir};
    copy_name(k->name, name);
    return node;
}

static uint32_t note_made(uint32_t dir, const char *name, bool is_dir)
{
    uint32_t node = make_node(dir, name, is_dir);
    struct trace_op op = {.kind = TRACE_MAKE, .node = node, .dir = dir, .is_dir = is_dir};
    copy_name(op.name, name);
    emit(&op, NULL);
    return node;
}

static void note_removed(const char *path)
{
    uint32_t dir, node;
    const char *name;
    if (!resolve(path, &dir, &name, &node) || node == TRACE_NO_NODE)
        return;
    struct trace_op op = {.kind = TRACE_REMOVE, .node = node, .dir = dir};
    copy_name(op.name, name);
    rec.nodes[node].used = false;
    emit(&op, NULL);
}

static void note_renamed(const char *from, const char *to)
{
    uint32_t from_dir, to_dir, node, replaced;
    const char *from_name, *to_name;
    if (!resolve(from, &from_dir, &from_name, &node) ||
        !resolve(to, &to_dir, &to_name, &replaced) || node == TRACE_NO_NODE)
        return;
    struct trace_op op = {.kind = TRACE_RENAME, .node = node, .dir = to_dir, .old_dir = from_dir};
    copy_name(op.name, to_name);
    copy_name(op.old_name, from_name);
    if (replaced != TRACE_NO_NODE)
        rec.nodes[replaced].used = false;
    rec.nodes[node].dir = to_dir;
    copy_name(rec.nodes[node].name, to_name);
    emit(&op, NULL);
}

/* ---- descriptors ---- */

static bool is_ours(int fd)
{
    return rec.active && fd >= 0 && fd < FDS_MAX && rec.fds[fd].node != TRACE_NO_NODE;
}

static void note_open(const char *path, int flags, int fd, bool existed)
{
    uint32_t dir, node;
    const char *name;
    if (!rec.active || fd >= FDS_MAX || !resolve(path, &dir, &name, &node))
        return;
    if (node == TRACE_NO_NODE && !existed)
        node = note_made(dir, name, false);
    if (node == TRACE_NO_NODE)
        return;
    rec.fds[fd].node = node;
    rec.fds[fd].synced = (flags & O_DSYNC) != 0;
    if ((flags & O_TRUNC) && existed) {
        struct trace_op op = {.kind = TRACE_TRUNCATE, .node = node};
        emit(&op, NULL);
    }
}

static void note_write(int fd, uint64_t offset, const void *data, ssize_t len)
{
    if (len <= 0 || !is_ours(fd))
        return;
    struct trace_op op = {.kind = rec.fds[fd].synced && rec.lie != RECORD_NO_META_SYNC
                                      ? TRACE_SYNC_WRITE
                                      : TRACE_WRITE,
                          .node = rec.fds[fd].node,
                          .offset = offset,
                          .len = (uint32_t)len};
    emit(&op, data);
}

static void note_sync(int fd)
{
    if (!is_ours(fd))
        return;
    bool is_dir = rec.nodes[rec.fds[fd].node].is_dir;
    if (rec.lie == (is_dir ? RECORD_NO_DIR_SYNC : RECORD_NO_DATA_SYNC))
        return;
    struct trace_op op = {.kind = TRACE_SYNC, .node = rec.fds[fd].node, .is_dir = is_dir};
    emit(&op, NULL);
}

static uint64_t place(int fd)
{
    struct stat st;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &st) == 0)
        return (uint64_t)st.st_size;
    return (uint64_t)lseek(fd, 0, SEEK_CUR);
}

/* ---- what the program and its libraries call ---- */

#define LOCK()   pthread_mutex_lock(&rec.lock)
#define UNLOCK() pthread_mutex_unlock(&rec.lock)

static int open_and_note(int at, const char *path, int flags, mode_t mode)
{
    struct stat st;
    LOCK();
    bool existed = !(flags & O_CREAT) || stat(path, &st) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0)
        note_open(path, flags, fd, existed);
    UNLOCK();
    return fd;
}

#define MODE_OF(flags, mode)                                                                       \
    do {                                                                                           \
        if ((flags) & (O_CREAT | O_TMPFILE)) {                                                     \
            va_list args;                                                                          \
            va_start(args, flags);                                                                 \
            (mode) = va_arg(args, mode_t);                                                         \
            va_end(args);                                                                          \
        }                                                                                          \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return open_and_note(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return open_and_note(AT_FDCWD, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return open_and_note(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX) {
        LOCK();
        rec.fds[fd].node = TRACE_NO_NODE;
        UNLOCK();
    }
    return (int)syscall(SYS_close, fd);
}

/* A generation of the state that is in use, or was: under its own name. */
static bool is_generation(uint32_t node)
{
    const char *name = rec.nodes[node].name;
    return rec.nodes[node].is_dir && strncmp(name, "state-", 6) == 0 && !strchr(name, '.');
}

/* With the lock held. */
static void wait_to_merge(int fd)
{
    while ((rec.holds & RECORD_HOLD_MERGES) && is_ours(fd) &&
           strcmp(rec.nodes[rec.fds[fd].node].name, "data.mdb") == 0 &&
           is_generation(rec.nodes[rec.fds[fd].node].dir))
        pthread_cond_wait(&rec.released, &rec.lock);
}

/* Of what is in it; the directory itself goes last. */
static void wait_to_remove(const char *path)
{
    uint32_t dir, node;
    const char *name;
    while ((rec.holds & RECORD_HOLD_REMOVALS) && resolve(path, &dir, &name, &node) &&
           is_generation(dir))
        pthread_cond_wait(&rec.released, &rec.lock);
}

void record_hold(unsigned what)
{
    LOCK();
    rec.holds = what;
    pthread_cond_broadcast(&rec.released);
    UNLOCK();
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    LOCK();
    wait_to_merge(fd);
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, offset);
    note_write(fd, (uint64_t)offset, data, n);
    UNLOCK();
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return pwrite(fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
    if (!is_ours(fd))
        return syscall(SYS_write, fd, data, len);
    LOCK();
    uint64_t offset = place(fd);
    ssize_t n = syscall(SYS_write, fd, data, len);
    note_write(fd, offset, data, n);
    UNLOCK();
    return n;
}

static void note_vector(int fd, const struct iovec *v, int n_v, uint64_t offset, ssize_t n)
{
    struct buf all = BUF_INIT;
    if (n <= 0 || !is_ours(fd))
        return;
    for (int i = 0; i < n_v; i++)
        buf_append(&all, v[i].iov_base, v[i].iov_len);
    note_write(fd, offset, all.data, n);
    buf_free(&all);
}

ssize_t writev(int fd, const struct iovec *v, int n_v)
{
    LOCK();
    wait_to_merge(fd);
    uint64_t offset = is_ours(fd) ? place(fd) : 0;
    ssize_t n = syscall(SYS_writev, fd, v, n_v);
    note_vector(fd, v, n_v, offset, n);
    UNLOCK();
    return n;
}

ssize_t pwritev(int fd, const struct iovec *v, int n_v, off_t offset)
{
    LOCK();
    wait_to_merge(fd);
    ssize_t n = syscall(SYS_pwritev, fd, v, n_v, offset, 0);
    note_vector(fd, v, n_v, (uint64_t)offset, n);
    UNLOCK();
    return n;
}

int ftruncate(int fd, off_t size)
{
    LOCK();
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0 && is_ours(fd)) {
        struct trace_op op = {
            .kind = TRACE_TRUNCATE, .node = rec.fds[fd].node, .offset = (uint64_t)size};
        emit(&op, NULL);
    }
    UNLOCK();
    return rc;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

/* Blocks kept beyond a file's end are no bytes of it: no image shows them. In a file system in
 * memory, to make and to free them took four fifths of the time of a check. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (is_ours(fd) && (mode & FALLOC_FL_KEEP_SIZE) && !(mode & ~FALLOC_FL_KEEP_SIZE))
        return 0;
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

/* Of lock files, while the store is watched. */
int posix_fallocate(int fd, off_t offset, off_t len)
{
    return rec.active || fallocate(fd, 0, offset, len) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return posix_fallocate(fd, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

/* What is durable the trace says; ours are in memory, mostly. */
int fsync(int fd)
{
    LOCK();
    int rc = is_ours(fd) ? 0 : (int)syscall(SYS_fsync, fd);
    if (rc == 0)
        note_sync(fd);
    UNLOCK();
    return rc;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

int mkdir(const char *path, mode_t mode)
{
    uint32_t dir, node;
    const char *name;
    LOCK();
    int rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (rc == 0 && resolve(path, &dir, &name, &node))
        note_made(dir, name, true);
    UNLOCK();
    return rc;
}

int rename(const char *from, const char *to)
{
    LOCK();
    int rc = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (rc == 0)
        note_renamed(from, to);
    UNLOCK();
    return rc;
}

static int remove_with(const char *path, int flags)
{
    LOCK();
    wait_to_remove(path);
    int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
    if (rc == 0)
        note_removed(path);
    UNLOCK();
    return rc;
}

int unlink(const char *path)
{
    return remove_with(path, 0);
}

int rmdir(const char *path)
{
    return remove_with(path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    int rc = unlink(path);
    return rc != 0 && (errno == EISDIR || errno == EPERM) ? rmdir(path) : rc;
}

/* Identities are random; a history that can be had again must have the same ones. */
ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    uint8_t *bytes = out;
    if (!rec.seeded)
        return syscall(SYS_getrandom, out, len, flags);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rng_next(&rec.rng);
    return (ssize_t)len;
}

/* ---- life ---- */

void record_begin(const char *root, record_sink *sink, void *ctx)
{
    LOCK();
    ASSERT(!rec.active && strlen(root) < sizeof rec.root);
    snprintf(rec.root, sizeof rec.root, "%s", root);
    rec.sink = sink;
    rec.ctx = ctx;
    rec.n_nodes = 1;
    rec.nodes[TRACE_ROOT] = (struct known){.used = true, .is_dir = true, .dir = TRACE_NO_NODE};
    for (int fd = 0; fd < FDS_MAX; fd++)
        rec.fds[fd].node = TRACE_NO_NODE;
    rec.active = true;
    UNLOCK();
}

void record_known(uint32_t dir, const char *name, uint32_t node, bool is_dir)
{
    ASSERT(node < TRACE_NODES_MAX);
    for (; rec.n_nodes <= node; rec.n_nodes++)
        rec.nodes[rec.n_nodes].used = false;
    struct known *k = &rec.nodes[node];
    *k = (struct known){.used = true, .is_dir = is_dir, .dir = dir};
    copy_name(k->name, name);
}

void record_mark(enum trace_mark mark, uint64_t number)
{
    LOCK();
    ASSERT(rec.active);
    struct trace_op op = {.kind = TRACE_MARK, .node = (uint32_t)mark, .offset = number};
    emit(&op, NULL);
    UNLOCK();
}

void record_end(void)
{
    LOCK();
    rec.active = false;
    UNLOCK();
}

void record_lie(enum record_lie lie)
{
    rec.lie = lie;
}

const char *record_lie_name(enum record_lie lie)
{
    static const char *const names[RECORD_LIES] = {"none", "data-sync", "meta-sync", "dir-sync"};
    return names[lie];
}

void record_seed_random(uint64_t seed)
{
    rec.seeded = true;
    rec.rng = (struct rng){seed};
}
