/* SPDX-License-Identifier: MIT
 * Preloaded into a daemon (LD_PRELOAD): makes calls on chosen files fail.
 *
 *      FAULT       CALL:PART:N:ERROR   the N-th CALL on a file whose path contains PART fails;
 *                                      N "all": every one. CALL: write (all ways to), sync,
 *                                      rename, truncate. ERROR: EIO, ENOSPC; FLIP: it succeeds,
 *                                      and one bit in the middle is another (write and pwrite)
 *      FAULT_ARM   a file; only calls made while it is there are counted. ".hit" is
 *                  appended to its name for one that is made when a call failed
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    char call[16], part[128], error[16];
    unsigned long n; /* 0: all */
    const char *arm;
} fault;
static atomic_ulong n_seen;

__attribute__((constructor)) static void read_fault(void)
{
    const char *text = getenv("FAULT");
    char n[16];
    fault.arm = getenv("FAULT_ARM");
    if (!text || !fault.arm ||
        sscanf(text, "%15[^:]:%127[^:]:%15[^:]:%15s", fault.call, fault.part, n, fault.error) != 4)
        fault.call[0] = 0;
    else
        fault.n = strtoul(n, NULL, 10);
}

static void leave_mark(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.hit", fault.arm);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

/* Sets errno when it answers yes. */
static bool fails(const char *call, const char *path)
{
    struct stat st;
    if (strcmp(call, fault.call) != 0 || !strstr(path, fault.part) || stat(fault.arm, &st) != 0)
        return false;
    unsigned long n = atomic_fetch_add(&n_seen, 1) + 1;
    if (fault.n != 0 && fault.n != n)
        return false;
    leave_mark();
    errno = strcmp(fault.error, "ENOSPC") == 0 ? ENOSPC : EIO;
    if (strcmp(fault.error, "FLIP") == 0)
        errno = 0;
    return true;
}

static bool fd_fails(const char *call, int fd)
{
    char link[64], path[PATH_MAX];
    if (strcmp(call, fault.call) != 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return false;
    path[len] = 0;
    return fails(call, path);
}

/* A copy of the bytes with one bit flipped. */
static void *flipped(const void *p, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    if (!copy)
        abort();
    memcpy(copy, p, len);
    copy[len / 2] ^= 1;
    return copy;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *p, size_t len)
{
    if (!fd_fails("write", fd))
        return REAL(write)(fd, p, len);
    if (errno != 0)
        return -1;
    void *copy = flipped(p, len);
    ssize_t n = REAL(write)(fd, copy, len);
    free(copy);
    return n;
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (!fd_fails("write", fd))
        return REAL(pwrite)(fd, p, len, at);
    if (errno != 0)
        return -1;
    void *copy = flipped(p, len);
    ssize_t n = REAL(pwrite)(fd, copy, len, at);
    free(copy);
    return n;
}

ssize_t pwrite64(int fd, const void *p, size_t len, off64_t at)
{
    return pwrite(fd, p, len, (off_t)at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    return fd_fails("write", fd) ? -1 : REAL(writev)(fd, v, n);
}

int fsync(int fd)
{
    return fd_fails("sync", fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fd_fails("sync", fd) ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t len)
{
    return fd_fails("truncate", fd) ? -1 : REAL(ftruncate)(fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return fd_fails("truncate", fd) ? -1 : REAL(ftruncate64)(fd, len);
}

int rename(const char *from, const char *to)
{
    return fails("rename", from) || fails("rename", to) ? -1 : REAL(rename)(from, to);
}
