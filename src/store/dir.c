/* SPDX-License-Identifier: MIT
 * Every step that makes a name is followed by a sync of the directory that
 * holds the name.
 */
#include "store/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int store_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return 0;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOTDIR:
    case ENAMETOOLONG:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

/* "cannot WHAT PATH: text of errno", and its code. */
static int failed(struct buf *reason, const char *what, const char *path)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, path, strerror(errnum));
    return store_errno(errnum);
}

static char *joined(const char *a, const char *b, const char *c)
{
    struct buf text = BUF_INIT;
    size_t len;
    buf_printf(&text, "%s%s%s", a, b, c);
    buf_str(&text);
    return (char *)buf_take(&text, &len);
}

char *store_path(const char *dir, const char *name)
{
    return joined(dir, "/", name);
}

/* The directory that holds the name `path`; owned by the caller. */
static char *parent_of(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len == 0)
        return mem_strdup(".");
    while (len > 1 && path[len - 1] == '/')
        len--;
    char *parent = mem_dup(path, len + 1);
    parent[len] = 0;
    return parent;
}

static int sync_one(const char *path, struct buf *reason)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(reason, "open", path);
    int err = 0;
    /* Some file systems cannot sync a directory and need not: they say EINVAL. */
    if (fsync(fd) != 0 && errno != EINVAL)
        err = failed(reason, "sync", path);
    close(fd);
    return err;
}

static int sync_parent(const char *path, struct buf *reason)
{
    char *parent = parent_of(path);
    int err = sync_one(parent, reason);
    mem_free(parent);
    return err;
}

int store_dir_sync(const char *path, struct buf *reason)
{
    int err = sync_one(path, reason);
    return err ? err : sync_parent(path, reason);
}

static int make_one(const char *path, struct buf *reason)
{
    if (mkdir(path, 0700) == 0)
        return sync_parent(path, reason);
    struct stat st;
    int mkdir_errno = errno;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0; /* it was there; an unwritable parent does not matter then */
    errno = mkdir_errno == EEXIST ? ENOTDIR : mkdir_errno;
    return failed(reason, "make directory", path);
}

int store_dir_make(const char *path, struct buf *reason)
{
    char *partial = mem_strdup(path);
    int err = 0;
    for (char *p = partial + 1; *p && !err; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        err = make_one(partial, reason);
        *p = '/';
    }
    mem_free(partial);
    if (!err)
        err = make_one(path, reason);
    if (!err && access(path, R_OK | W_OK | X_OK) != 0)
        err = failed(reason, "use data directory", path);
    return err;
}

static int write_and_sync(const char *path, const char *content, struct buf *reason)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(reason, "make", path);
    int err = 0;
    size_t len = strlen(content);
    errno = EIO; /* for a short write */
    if (write(fd, content, len) != (ssize_t)len || fsync(fd) != 0)
        err = failed(reason, "write", path);
    close(fd);
    return err;
}

int store_file_make(const char *dir, const char *name, const char *content, struct buf *reason)
{
    char *path = store_path(dir, name);
    char *new_path = joined(path, ".", "new");
    int err = write_and_sync(new_path, content, reason);
    if (!err && rename(new_path, path) != 0)
        err = failed(reason, "rename", new_path);
    if (!err)
        err = sync_one(dir, reason);
    mem_free(new_path);
    mem_free(path);
    return err;
}

int store_dir_rename(const char *dir, const char *from, const char *to, struct buf *reason)
{
    char *from_path = store_path(dir, from), *to_path = store_path(dir, to);
    int err = rename(from_path, to_path) == 0 ? 0 : failed(reason, "rename", from_path);
    if (!err)
        err = sync_one(dir, reason);
    mem_free(from_path);
    mem_free(to_path);
    return err;
}

int store_file_remove(const char *dir, const char *name, struct buf *reason)
{
    char *path = store_path(dir, name);
    int err = unlink(path) == 0 || errno == ENOENT ? 0 : failed(reason, "remove", path);
    mem_free(path);
    return err;
}

int store_dir_remove(const char *path, struct buf *reason)
{
    return rmdir(path) == 0 || errno == ENOENT ? 0 : failed(reason, "remove", path);
}

bool store_file_exists(const char *dir, const char *name)
{
    char *path = store_path(dir, name);
    struct stat st;
    bool exists = stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
    mem_free(path);
    return exists;
}
