/* SPDX-License-Identifier: MIT
 * See http_peer.h. Only as much HTTP as libcurl's POST with Content-Length.
 */
#include "config.h"

#include "http_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

enum { CONNECTIONS_MAX = 2000, HEAD_MAX = 4096 };

struct connection {
    struct http_peer *peer;
    int fd;
    pthread_t thread;
};

struct http_peer {
    http_handler *handler;
    void *ctx;
    char addr[ADDR_TEXT_MAX + 1];
    int listen_fd;
    atomic_bool stopping, refusing;
    pthread_t thread;
    struct http_seen seen;
    struct connection connections[CONNECTIONS_MAX];
    unsigned n_connections; /* the accepting thread's */
};

static int listen_somewhere(int backlog, char addr[ADDR_TEXT_MAX + 1])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0);
    ASSERT(getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
    ASSERT(backlog < 0 || listen(fd, backlog) == 0);
    snprintf(addr, ADDR_TEXT_MAX + 1, "127.0.0.1:%u", (unsigned)ntohs(sin.sin_port));
    return fd;
}

/* ---- one connection ---- */

static bool write_all(int fd, const void *p, size_t len)
{
    const char *bytes = p;
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void http_answer(const struct http_request *r, int status, const char *headers, const void *body,
                 size_t len)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status, len, headers);
    buf_append(&out, body, len);
    write_all(r->fd, out.data, out.len);
    buf_free(&out);
}

/* Up to the empty line, one byte at a time: nothing of the body is taken. */
static bool read_head(int fd, char head[HEAD_MAX])
{
    size_t len = 0;
    while (len < HEAD_MAX - 1 && recv(fd, head + len, 1, 0) == 1) {
        head[++len] = 0;
        if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool is_head_good(const char *head)
{
    return strncmp(head, "POST /raft-", 11) == 0 && strstr(head, " HTTP/1.1\r\n") &&
           strstr(head, "\r\nContent-Type: application/octet-stream\r\n") &&
           !strcasestr(head, "\r\nExpect:");
}

/* Malformed only when something came. */
static bool serve_one(struct http_peer *p, int fd)
{
    char head[HEAD_MAX] = "";
    if (!read_head(fd, head))
        return false;
    const char *field = strstr(head, "\r\nContent-Length: ");
    if (!field || !is_head_good(head))
        atomic_fetch_add(&p->seen.bad, 1);
    size_t len = field ? strtoul(field + 18, NULL, 10) : 0;
    uint8_t *body = mem_alloc(len + 1);
    if (len > 0 && recv(fd, body, len, MSG_WAITALL) != (ssize_t)len) {
        mem_free(body);
        return false;
    }
    struct http_request r = {.peer = p, .fd = fd, .head = head, .body = body, .len = len};
    r.nth = atomic_fetch_add(&p->seen.requests, 1) + 1;
    unsigned now = atomic_fetch_add(&p->seen.now, 1) + 1;
    for (unsigned most = p->seen.most; now > most;)
        if (atomic_compare_exchange_weak(&p->seen.most, &most, now))
            break;
    bool go_on = p->handler(&r);
    atomic_fetch_sub(&p->seen.now, 1);
    mem_free(body);
    return go_on;
}

static void *connection_main(void *arg)
{
    struct connection *c = arg;
    while (serve_one(c->peer, c->fd))
        ;
    shutdown(c->fd, SHUT_RDWR); /* closed when joined, so that no number is used twice */
    return NULL;
}

bool http_handle_echo(const struct http_request *r)
{
    http_answer(r, 200, "", r->body, r->len);
    return true;
}

bool http_handle_stall(const struct http_request *r)
{
    char c;
    while (recv(r->fd, &c, 1, 0) > 0)
        ;
    return false;
}

/* ---- accepting ---- */

static void accept_one(struct http_peer *p)
{
    int fd = accept(p->listen_fd, NULL, NULL);
    if (fd < 0)
        return;
    ASSERT(p->n_connections < CONNECTIONS_MAX);
    struct connection *c = &p->connections[p->n_connections++];
    c->peer = p;
    c->fd = fd;
    atomic_fetch_add(&p->seen.connections, 1);
    ASSERT(pthread_create(&c->thread, NULL, connection_main, c) == 0);
}

/* Looks often enough whether it is to stop; closing is its own work, so that
 * nobody else uses the number. */
static void *accept_main(void *arg)
{
    struct http_peer *p = arg;
    while (!p->stopping && !p->refusing) {
        struct pollfd pfd = {.fd = p->listen_fd, .events = POLLIN};
        if (poll(&pfd, 1, 5) == 1 && !p->refusing)
            accept_one(p);
    }
    close(p->listen_fd);
    return NULL;
}

struct http_peer *http_peer_start(http_handler *handler, void *ctx)
{
    struct http_peer *p = mem_zalloc(sizeof *p);
    p->handler = handler;
    p->ctx = ctx;
    p->listen_fd = listen_somewhere(1024, p->addr);
    ASSERT(pthread_create(&p->thread, NULL, accept_main, p) == 0);
    return p;
}

const char *http_peer_addr(const struct http_peer *p)
{
    return p->addr;
}

void *http_peer_ctx(const struct http_peer *p)
{
    return p->ctx;
}

const struct http_seen *http_peer_seen(const struct http_peer *p)
{
    return &p->seen;
}

void http_peer_close_listener(struct http_peer *p)
{
    if (!atomic_exchange(&p->refusing, true))
        pthread_join(p->thread, NULL);
}

void http_peer_stop(struct http_peer **p)
{
    struct http_peer *peer = *p;
    peer->stopping = true;
    http_peer_close_listener(peer);
    for (unsigned i = 0; i < peer->n_connections; i++) {
        shutdown(peer->connections[i].fd, SHUT_RDWR);
        pthread_join(peer->connections[i].thread, NULL);
        close(peer->connections[i].fd);
    }
    MEM_FREE(*p);
}

/* ---- nobody there ---- */

void http_refusing_addr(char out[ADDR_TEXT_MAX + 1])
{
    close(listen_somewhere(-1, out)); /* bound, never listened on */
}

/* Connections beyond the backlog: the kernel drops their SYNs. */
static void fill_backlog(struct http_hole *h)
{
    struct sockaddr_in sin;
    socklen_t len = sizeof sin;
    ASSERT(getsockname(h->fd, (struct sockaddr *)&sin, &len) == 0);
    for (unsigned i = 0; i < sizeof h->fill / sizeof h->fill[0]; i++) {
        h->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int err = connect(h->fill[i], (struct sockaddr *)&sin, sizeof sin);
        ASSERT(h->fill[i] >= 0 && (err == 0 || errno == EINPROGRESS));
    }
}

void http_hole_open(struct http_hole *h, bool full)
{
    memset(h->fill, -1, sizeof h->fill);
    h->fd = listen_somewhere(full ? 0 : 64, h->addr);
    if (full)
        fill_backlog(h);
}

void http_hole_close(struct http_hole *h)
{
    for (unsigned i = 0; i < sizeof h->fill / sizeof h->fill[0]; i++)
        if (h->fill[i] >= 0)
            close(h->fill[i]);
    close(h->fd);
}
