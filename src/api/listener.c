/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* accept4 */
#include "api/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/loop.h"
#include "base/addr.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#define SOCKETS_MAX     8   /* addresses that one name stands for */
#define ACCEPT_BURST    64  /* connections taken before looking at the other sockets */
#define ACCEPT_PAUSE_MS 100 /* when descriptors or memory are gone */
#define LOG_INTERVAL_MS 5000

struct listener {
    struct pollfd fds[SOCKETS_MAX + 1]; /* the last in use is the stop event */
    unsigned n_sockets;
    int stop_fd;
    bool running;
    pthread_t thread;
    struct http_server *server;
    unsigned next_loop;
    struct log_limit full_limit, accept_limit;
};

static int error_of(int e)
{
    switch (e) {
    case EADDRINUSE:
        return ERR_BUSY;
    case EACCES:
    case EPERM:
        return ERR_PERMISSION;
    case EADDRNOTAVAIL:
        return ERR_INVALID;
    }
    return ERR_IO;
}

/* The new socket, or -errno. */
static int listen_on(const struct addrinfo *ai)
{
    int one = 1, zero = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* SO_REUSEADDR: start again at once after a stop. Never SO_REUSEPORT: a second
     * daemon would get half of the connections without any error. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

/* localhost may stand for ::1 on a machine without IPv6: one address that works is enough,
 * but one that somebody else has is an error. */
static int listen_on_all(struct listener *l, const struct addrinfo *list)
{
    int last = EADDRNOTAVAIL;
    for (const struct addrinfo *ai = list; ai && l->n_sockets < SOCKETS_MAX; ai = ai->ai_next) {
        int fd = listen_on(ai);
        if (fd >= 0) {
            l->fds[l->n_sockets++] = (struct pollfd){.fd = fd, .events = POLLIN};
            continue;
        }
        last = -fd;
        if (last != EADDRNOTAVAIL && last != EAFNOSUPPORT)
            return last;
    }
    return l->n_sockets > 0 ? 0 : last;
}

int listener_open(const char *bind_addr, struct buf *ret_reason, struct listener **ret_listener)
{
    struct addr addr;
    struct addrinfo *list,
        hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    char port[8];
    if (addr_parse(bind_addr, &addr) != 0) {
        buf_printf(ret_reason, "cannot listen on %s: not HOST:PORT", bind_addr);
        return ERR_INVALID;
    }
    snprintf(port, sizeof port, "%u", (unsigned)addr.port);
    int gai = getaddrinfo(addr.host, port, &hints, &list);
    if (gai != 0) {
        buf_printf(ret_reason, "cannot listen on %s: %s", bind_addr, gai_strerror(gai));
        return ERR_INVALID;
    }
    struct listener *l = mem_zalloc(sizeof *l);
    l->stop_fd = -1;
    int e = listen_on_all(l, list);
    freeaddrinfo(list);
    if (e == 0) {
        l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        e = l->stop_fd < 0 ? errno : 0;
        l->fds[l->n_sockets] = (struct pollfd){.fd = l->stop_fd, .events = POLLIN};
    }
    if (e != 0) {
        buf_printf(ret_reason, "cannot listen on %s: %s", bind_addr, strerror(e));
        listener_close(&l);
        return error_of(e);
    }
    *ret_listener = l;
    return 0;
}

/* Waits a little, unless told to stop: without descriptors, poll() would spin. */
static void pause_after(struct listener *l, int e)
{
    if (log_allow(&l->accept_limit, LOG_INTERVAL_MS))
        LOG_WARN("api: cannot accept connections: %s", strerror(e));
    poll(&l->fds[l->n_sockets], 1, ACCEPT_PAUSE_MS);
}

static void hand_over(struct listener *l, int fd, const struct sockaddr *addr, socklen_t len)
{
    int one = 1;
    struct http_server *s = l->server;
    if (!places_open(&s->places)) {
        close(fd);
        if (log_allow(&l->full_limit, LOG_INTERVAL_MS))
            LOG_WARN("api: all connections are taken, those kept for peers too");
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    loop_add_socket(s->loops[l->next_loop], fd, addr, len);
    l->next_loop = (l->next_loop + 1) % s->n_loops;
}

static void accept_some(struct listener *l, int listening)
{
    for (unsigned i = 0; i < ACCEPT_BURST; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(listening, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(l, fd, (const struct sockaddr *)&addr, len);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_after(l, errno);
        return; /* nobody there, or a connection that ended before it was accepted */
    }
}

static void *accept_thread(void *arg)
{
    struct listener *l = arg;
    thread_name("accept");
    for (;;) {
        int n = poll(l->fds, l->n_sockets + 1, -1);
        if (n < 0 && errno != EINTR)
            pause_after(l, errno);
        if (n <= 0)
            continue;
        if (l->fds[l->n_sockets].revents)
            return NULL;
        for (unsigned i = 0; i < l->n_sockets; i++)
            if (l->fds[i].revents)
                accept_some(l, l->fds[i].fd);
    }
}

int listener_start(struct listener *l, struct http_server *server)
{
    l->server = server;
    if (pthread_create(&l->thread, NULL, accept_thread, l) != 0)
        return ERR_IO;
    l->running = true;
    return 0;
}

void listener_close(struct listener **l)
{
    struct listener *it = *l;
    if (!it)
        return;
    if (it->running) {
        eventfd_write(it->stop_fd, 1);
        pthread_join(it->thread, NULL);
    }
    for (unsigned i = 0; i < it->n_sockets; i++)
        close(it->fds[i].fd);
    if (it->stop_fd >= 0)
        close(it->stop_fd);
    MEM_FREE(*l);
}
