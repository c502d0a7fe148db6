/* SPDX-License-Identifier: MIT */
#include "ctl/daemon.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ctl/commands.h"

#define NAME "crabcluster"

/* ---- where it is ---- */

static char *if_runs(struct buf *path)
{
    char *found = access(buf_str(path), X_OK) == 0 ? mem_strdup(buf_str(path)) : NULL;
    buf_free(path);
    return found;
}

static char *beside_us(const char *from_here)
{
    char self[4096];
    struct buf path = BUF_INIT;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return NULL;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    buf_printf(&path, "%s%s", self, from_here);
    return if_runs(&path);
}

static char *in_path(void)
{
    const char *list = getenv("PATH");
    char *found = NULL;
    while (list && *list && !found) {
        size_t len = strcspn(list, ":");
        struct buf path = BUF_INIT;
        buf_printf(&path, "%.*s/" NAME, (int)len, list);
        found = if_runs(&path);
        list += len + (list[len] == ':');
    }
    return found;
}

static char *where_installed(void)
{
    struct buf path = BUF_INIT;
    buf_append_str(&path, SBINDIR "/" NAME);
    return if_runs(&path);
}

int daemon_find(const struct ctl *c, struct daemon_call *ret_call)
{
    const char *given = c->args->value[FLAG_DAEMON];
    char *found = given ? mem_strdup(given) : beside_us("/" NAME);
    if (!found)
        found = beside_us("/../sbin/" NAME);
    if (!found)
        found = where_installed();
    if (!found)
        found = in_path();
    if (!found)
        return ctl_fail(CTL_FAILURE, "the program " NAME " is not found; name it by --daemon");
    *ret_call = (struct daemon_call){.program = found};
    daemon_arg(ret_call, found, NULL);
    return CTL_OK;
}

void daemon_arg(struct daemon_call *call, const char *name, const char *value)
{
    ASSERT(call->n_args + 3 <= DAEMON_ARGS_MAX);
    call->args[call->n_args++] = name;
    if (value)
        call->args[call->n_args++] = value;
}

void daemon_pass_flags(struct daemon_call *call, const struct args *args)
{
    if (args_has(args, FLAG_CONFIG))
        daemon_arg(call, "--config", args->value[FLAG_CONFIG]);
    if (args_has(args, FLAG_BIND_ADDR))
        daemon_arg(call, "--bind-addr", args->value[FLAG_BIND_ADDR]);
    if (args_has(args, FLAG_ADVERTISE_ADDR))
        daemon_arg(call, "--advertise-addr", args->value[FLAG_ADVERTISE_ADDR]);
}

/* ---- running it ---- */

static void be_the_daemon(const struct daemon_call *call, const int out[2], const int said[2])
{
    dup2(out[1], STDOUT_FILENO);
    dup2(said[1], STDERR_FILENO);
    execv(call->program, (char *const *)call->args);
    dprintf(STDERR_FILENO, NAME ": cannot run %s: %s\n", call->program, strerror(errno));
    _exit(127);
}

/* False: it has closed this pipe. */
static bool take(int fd, struct buf *into)
{
    buf_reserve(into, 4 * KIB);
    ssize_t n = read(fd, into->data + into->len, 4 * KIB);
    if (n > 0)
        into->len += (size_t)n;
    return n > 0 || (n < 0 && errno == EINTR);
}

static void take_both(struct daemon_call *call, int out, int said)
{
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = said, .events = POLLIN}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].fd >= 0 && fds[0].revents && !take(out, &call->out))
            fds[0].fd = -1;
        if (fds[1].fd >= 0 && fds[1].revents && !take(said, &call->said))
            fds[1].fd = -1;
    }
}

static void shorten(struct buf *said)
{
    static const char prefix[] = NAME ": ";
    size_t n = sizeof prefix - 1;
    while (said->len > 0 && said->data[said->len - 1] == '\n')
        said->len--;
    if (said->len >= n && memcmp(said->data, prefix, n) == 0) {
        memmove(said->data, said->data + n, said->len - n);
        said->len -= n;
    }
}

int daemon_run(struct daemon_call *call)
{
    int out[2], said[2], status = 0;
    if (pipe(out) != 0)
        return ctl_fail(CTL_FAILURE, "pipe: %s", strerror(errno));
    if (pipe(said) != 0) {
        close(out[0]), close(out[1]);
        return ctl_fail(CTL_FAILURE, "pipe: %s", strerror(errno));
    }
    call->args[call->n_args] = NULL;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        be_the_daemon(call, out, said);
    close(out[1]);
    close(said[1]);
    if (pid > 0) {
        take_both(call, out[0], said[0]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    close(out[0]);
    close(said[0]);
    if (pid < 0)
        return ctl_fail(CTL_FAILURE, "fork: %s", strerror(errno));
    shorten(&call->said);
    if (call->said.len == 0 && status != 0)
        buf_printf(&call->said, "%s ended with status %d", call->program, status);
    return status == 0 ? CTL_OK : CTL_FAILURE;
}

void daemon_free(struct daemon_call *call)
{
    MEM_FREE(call->program);
    buf_free(&call->out);
    buf_free(&call->said);
}

char *daemon_line(const struct daemon_call *call, const char *name, unsigned n)
{
    const char *p = (const char *)call->out.data, *end = p + call->out.len;
    size_t name_len = strlen(name);
    for (; p < end; p++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p);
        bool is_it = len > name_len && memcmp(p, name, name_len) == 0 && p[name_len] == ' ';
        if (is_it && n-- == 0) {
            char *value = mem_zalloc(len - name_len);
            memcpy(value, p + name_len + 1, len - name_len - 1);
            return value;
        }
        p += len;
    }
    return NULL;
}
