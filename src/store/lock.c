/* SPDX-License-Identifier: MIT
 * The pid in the file is for the message only: the lock is what counts.
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/dir.h"

#define PID_TEXT_MAX 24

/* 0 when the file says nothing useful. */
static long read_pid(int fd)
{
    char text[PID_TEXT_MAX + 1];
    ssize_t n = pread(fd, text, PID_TEXT_MAX, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    long pid = strtol(text, NULL, 10);
    return pid > 0 ? pid : 0;
}

static int busy(const char *dir, int fd, struct buf *reason)
{
    long pid = read_pid(fd);
    buf_printf(reason, "data directory %s is in use by another process", dir);
    if (pid)
        buf_printf(reason, " (pid %ld)", pid);
    return ERR_BUSY;
}

static int write_pid(int fd)
{
    char text[PID_TEXT_MAX + 1];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0)
        return -1;
    return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -1;
}

static int failed(const char *path, struct buf *reason)
{
    int errnum = errno;
    buf_printf(reason, "cannot lock %s: %s", path, strerror(errnum));
    return store_errno(errnum);
}

int store_lock_take(const char *dir, int *ret_fd, struct buf *reason)
{
    char *path = store_path(dir, "lock");
    int err = 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = failed(path, reason);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? busy(dir, fd, reason) : failed(path, reason);
    } else if (write_pid(fd) != 0) {
        err = failed(path, reason);
    }
    mem_free(path);
    if (err)
        store_lock_release(fd);
    else
        *ret_fd = fd;
    return err;
}

void store_lock_release(int fd)
{
    if (fd >= 0)
        close(fd);
}
