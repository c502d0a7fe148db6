/* SPDX-License-Identifier: MIT
 * Reading and writing them.
 */
#include "store/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/dir.h"
#include "store/run.h"

#define REMEDY "the leader sends it again"
/* After so many it is asked whether there is a stop. */
#define STOP_BYTES (4 * MIB)

static int failed(struct buf *reason, const char *what, const char *path)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, path, strerror(errnum));
    return store_errno(errnum);
}

char *store_snapshot_path(const char *dir, uint64_t id)
{
    char name[32];
    snprintf(name, sizeof name, "%016" PRIx64, id);
    return store_path(dir, name);
}

int store_snapshot_clear(const char *dir, struct buf *reason)
{
    int err = store_dir_make(dir, reason);
    if (err)
        return err;
    DIR *names = opendir(dir);
    if (!names)
        return failed(reason, "read directory", dir);
    const struct dirent *d;
    while (!err && (d = readdir(names)) != NULL)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            err = store_file_remove(dir, d->d_name, reason);
    closedir(names);
    return err;
}

void store_snapshot_remove(const char *dir, uint64_t id)
{
    char *path = store_snapshot_path(dir, id);
    (void)unlink(path); /* else it goes at the next start */
    mem_free(path);
}

/* ---- sent ---- */

static int put_all(struct run_writer *w, struct kv_view *view, bool (*stops)(void *ctx), void *ctx)
{
    struct kv_record record;
    struct kv_cursor *c = kv_view_cursor(view);
    int err = kv_cursor_seek(c, NULL, 0, &record);
    for (uint64_t asked_at = 0; err == 0;) {
        (void)run_writer_put(w, &record); /* the end tells */
        bool is_due = run_writer_bytes(w) - asked_at >= STOP_BYTES;
        if (is_due)
            asked_at = run_writer_bytes(w);
        err = is_due && stops(ctx) ? ERR_SHUTDOWN : kv_cursor_next(c, &record);
    }
    kv_cursor_close(&c);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int store_snapshot_make(const char *dir, struct storage_job *j, bool (*stops)(void *ctx), void *ctx,
                        struct buf *reason)
{
    char *path = store_snapshot_path(dir, j->snapshot_id);
    struct run_writer *w;
    struct run_info info;
    int err = run_writer_new(path, &w, reason);
    if (!err) {
        err = put_all(w, j->view, stops, ctx);
        if (err) {
            buf_printf(reason, "cannot read the state for a snapshot: %s", err_text(err));
            run_writer_abort(&w);
        } else {
            err = run_writer_finish(&w, j->meta.data, j->meta.len, &info, reason);
        }
    }
    kv_view_close(&j->view);
    mem_free(path);
    if (err)
        return err;
    j->size = info.file_bytes;
    j->digest = info.digest;
    return 0;
}

static int read_at(int fd, struct storage_job *j, const char *path, struct buf *reason)
{
    buf_reserve(&j->data, j->len);
    while (j->data.len < j->len) {
        ssize_t n = pread(fd, j->data.data + j->data.len, j->len - j->data.len,
                          (off_t)(j->offset + j->data.len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(reason, "read", path);
        if (n == 0) {
            buf_printf(reason, "%s ends before byte %" PRIu64, path, j->offset + j->len);
            return ERR_CORRUPT;
        }
        j->data.len += (size_t)n;
    }
    return 0;
}

int store_snapshot_read(const char *dir, struct storage_job *j, struct buf *reason)
{
    char *path = store_snapshot_path(dir, j->snapshot_id);
    int err, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        err = read_at(fd, j, path, reason);
        close(fd);
    } else {
        bool was_dropped = errno == ENOENT;
        err = failed(reason, "read", path);
        if (was_dropped)
            err = ERR_NOT_FOUND;
    }
    mem_free(path);
    return err;
}

/* ---- received ---- */

static int write_at(int fd, const struct storage_job *j)
{
    size_t done = 0;
    while (done < j->data.len) {
        ssize_t n = pwrite(fd, j->data.data + done, j->data.len - done, (off_t)(j->offset + done));
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return j->offset + done == j->size ? fsync(fd) : 0;
}

int store_snapshot_write(const char *dir, struct storage_job *j, struct buf *reason)
{
    char *path = store_snapshot_path(dir, j->snapshot_id);
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (j->offset == 0 ? O_TRUNC : 0);
    int err = 0, fd = open(path, flags, 0600);
    if (fd < 0 || write_at(fd, j) != 0)
        err = failed(reason, "write", path);
    if (fd >= 0)
        close(fd);
    mem_free(path);
    return err;
}

int store_snapshot_verify(const char *path, uint64_t size, uint32_t digest, struct buf *reason)
{
    struct run *run;
    int err = run_open(path, REMEDY, &run, reason);
    if (err)
        return err == ERR_INVALID ? ERR_CORRUPT : err; /* no run at all: damaged from byte 0 on */
    struct run_info info = run_info(run);
    err = run_verify(run, reason);
    if (!err && (info.file_bytes != size || info.digest != digest)) {
        buf_printf(reason, "%s is another snapshot than the leader said; " REMEDY, path);
        err = ERR_CORRUPT;
    }
    run_unref(&run);
    return err;
}
