/* SPDX-License-Identifier: MIT */
#include "ctl/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ctl/ctl.h"

static int fail(const char *path)
{
    return ctl_fail(CTL_FAILURE, "%s: %s", path, strerror(errno));
}

int output_open(struct output *o, const char *path, bool replace)
{
    struct stat st;
    *o = (struct output){.file = stdout};
    bool there = stat(path, &st) == 0;
    if (strcmp(path, "-") == 0)
        return CTL_OK;
    if (there && !replace)
        return ctl_fail(CTL_FAILURE, "%s is there already; --force replaces it", path);
    struct buf part = BUF_INIT;
    bool special = there && !S_ISREG(st.st_mode); /* a pipe or a device is written itself */
    buf_printf(&part, special ? "%s" : "%s.part", path);
    int fd = open(buf_str(&part), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    o->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!o->file) {
        int status = fail(buf_str(&part));
        buf_free(&part);
        return status;
    }
    if (!special) {
        o->path = mem_strdup(path);
        o->part = mem_strdup(buf_str(&part));
    }
    buf_free(&part);
    return CTL_OK;
}

int output_write(struct output *o, const void *p, size_t len)
{
    if (fwrite(p, 1, len, o->file) == len)
        return 0;
    fail(o->path ? o->path : "output");
    return ERR_IO;
}

static int sync_and_close(struct output *o)
{
    if (o->file == stdout)
        return ctl_flush(CTL_OK);
    bool whole = fflush(o->file) == 0 && (!o->path || fsync(fileno(o->file)) == 0);
    int status = whole ? CTL_OK : fail(o->path ? o->path : "output");
    fclose(o->file);
    return status;
}

/* The name is on the disk as well as the file (PITFALLS 52). Where directories cannot be synced,
 * nothing more can be done. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct buf dir = BUF_INIT;
    buf_append(&dir, path, slash ? (size_t)(slash - path) + 1 : 0);
    int fd = open(slash ? buf_str(&dir) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    buf_free(&dir);
    if (fd < 0)
        return;
    (void)!fsync(fd);
    close(fd);
}

int output_close(struct output *o, int status)
{
    int closed = sync_and_close(o);
    if (status == CTL_OK)
        status = closed;
    if (o->path && status == CTL_OK) {
        if (rename(o->part, o->path) == 0)
            sync_directory(o->path);
        else
            status = fail(o->path);
    }
    if (o->path && status != CTL_OK)
        unlink(o->part);
    MEM_FREE(o->path);
    MEM_FREE(o->part);
    return status;
}
