/* SPDX-License-Identifier: MIT
 * The clients of a bench. A connection that breaks is made anew, to the next
 * node, so that a load goes on while nodes come and go.
 */
#include "ctl/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#define HEAD_BYTES   (8 * KIB)
#define VALUES_BYTES 4096 /* of different beginnings within b->value */
#define PAUSE_US     20000
#define TICK_MS      10
#define LINGER_US    6000000 /* for the last answers; above the daemon's request-timeout */
#define EVENTS       256
#define SCRATCH      (256 * KIB)

enum state { DOWN, CONNECTING, BUSY, PAUSED, OVER };

struct connection {
    int fd; /* -1: none */
    enum state state;
    unsigned target;
    uint64_t begin_us, again_us; /* of the request; when DOWN or PAUSED ends */
    enum bench_op op;
    uint64_t key;
    bool again; /* the same key once more: it was not written */
    bool watches_out;
    char request[KIB];
    size_t head_len, body_len, sent;
    const char *body;
    char answer[HEAD_BYTES]; /* its head, and what came with it */
    size_t len;
    bool has_head, closes;
    unsigned status;
    uint64_t body_left;
};

static void start_next(struct bench *b, struct connection *k);

/* ---- the way to a node ---- */

static void watch(struct bench *b, struct connection *k, int how, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? (unsigned)EPOLLOUT : 0), .data.ptr = k};
    k->watches_out = out;
    epoll_ctl(b->epoll, how, k->fd, &e);
}

static int open_socket(struct bench *b, struct connection *k)
{
    const struct bench_target *t = &b->targets[k->target];
    int yes = 1;
    k->fd = socket(t->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (k->fd < 0)
        return errno;
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(k->fd, (const struct sockaddr *)&t->addr, t->addr_len) != 0 && errno != EINPROGRESS)
        return errno;
    k->state = CONNECTING;
    watch(b, k, EPOLL_CTL_ADD, true);
    return 0;
}

static void close_socket(struct connection *k)
{
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
}

/* It broke: what was asked may or may not have been done. */
static void cut(struct bench *b, struct connection *k)
{
    b->n_cut++;
    close_socket(k);
    k->target = (k->target + 1) % b->n_targets;
    k->state = DOWN;
    k->again_us = clock_now_us() + PAUSE_US;
    k->again = b->filling && k->begin_us > 0;
}

static void retire(struct bench *b, struct connection *k)
{
    close_socket(k);
    k->state = OVER;
    b->n_open--;
}

/* ---- requests ---- */

static enum bench_op pick_op(struct bench *b)
{
    uint64_t at = rng_range(&b->rng, 0, b->share_sum - 1);
    unsigned op = 0;
    while (at >= b->share[op])
        at -= b->share[op++];
    return (enum bench_op)op;
}

static void make_head(struct bench *b, struct connection *k)
{
    static const char *const forms[BENCH_OPS] = {
        [BENCH_PUT] = "PUT /v1/kv/%s%" PRIu64 " HTTP/1.1\r\nHost: %s\r\n",
        [BENCH_GET] = "GET /v1/kv/%s%" PRIu64 " HTTP/1.1\r\nHost: %s\r\n",
        [BENCH_STALE] = "GET /v1/kv/%s%" PRIu64 "?consistency=stale HTTP/1.1\r\nHost: %s\r\n",
        [BENCH_INCR] = "POST /v1/kv/%scounter-%" PRIu64 "?op=incr HTTP/1.1\r\nHost: %s\r\n",
        [BENCH_DEL] = "DELETE /v1/kv/%s%" PRIu64 " HTTP/1.1\r\nHost: %s\r\n",
    };
    const char *host = b->targets[k->target].host;
    int n = snprintf(k->request, sizeof k->request, forms[k->op], b->prefix, k->key, host);
    k->body_len = k->op == BENCH_PUT ? b->value_bytes : 0;
    k->body = b->value + rng_range(&b->rng, 0, VALUES_BYTES - 1);
    if (k->op == BENCH_PUT || k->op == BENCH_INCR)
        n += snprintf(k->request + n, sizeof k->request - (size_t)n,
                      "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n",
                      k->body_len);
    n += snprintf(k->request + n, sizeof k->request - (size_t)n, "\r\n");
    k->head_len = (size_t)n;
}

static void send_more(struct bench *b, struct connection *k)
{
    while (k->sent < k->head_len + k->body_len) {
        struct iovec parts[2];
        struct msghdr m = {.msg_iov = parts};
        if (k->sent < k->head_len)
            parts[m.msg_iovlen++] = (struct iovec){k->request + k->sent, k->head_len - k->sent};
        size_t of_body = k->sent > k->head_len ? k->sent - k->head_len : 0;
        if (k->body_len > of_body)
            parts[m.msg_iovlen++] =
                (struct iovec){(char *)(uintptr_t)k->body + of_body, k->body_len - of_body};
        ssize_t n = sendmsg(k->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            cut(b, k);
            return;
        }
        if (n < 0)
            break;
        k->sent += (size_t)n;
    }
    bool more = k->sent < k->head_len + k->body_len;
    if (more != k->watches_out)
        watch(b, k, EPOLL_CTL_MOD, more);
}

static bool is_over(const struct bench *b, uint64_t now)
{
    return b->filling ? b->n_filled >= b->n_keys : now >= b->end_us;
}

static void start_next(struct bench *b, struct connection *k)
{
    uint64_t now = clock_now_us();
    if (is_over(b, now) && !k->again) {
        retire(b, k);
        return;
    }
    k->op = b->filling ? BENCH_PUT : pick_op(b);
    if (!k->again)
        k->key = b->filling ? b->n_filled++ : rng_range(&b->rng, 0, b->n_keys - 1);
    k->again = false;
    make_head(b, k);
    k->sent = k->len = 0;
    k->has_head = false;
    k->state = BUSY;
    k->begin_us = now;
    send_more(b, k);
}

/* ---- answers ---- */

/* The value of a header within the head, which ends with an empty line; NULL: it is not there. */
static const char *header(const struct connection *k, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strchr(k->answer, '\n'); p; p = strchr(p + 1, '\n'))
        if (strncasecmp(p + 1, name, n) == 0 && p[n + 1] == ':')
            return p + n + 2 + strspn(p + n + 2, " ");
    return NULL;
}

/* False: it is no answer that this program understands. */
static bool read_head(struct connection *k, const char *end)
{
    size_t head_len = (size_t)(end - k->answer) + 4;
    k->answer[head_len - 2] = '\0'; /* the rest is not looked at */
    const char *length = header(k, "Content-Length"), *connection = header(k, "Connection");
    if (strncmp(k->answer, "HTTP/1.1 ", 9) != 0 || header(k, "Transfer-Encoding"))
        return false;
    k->status = (unsigned)strtoul(k->answer + 9, NULL, 10);
    if (k->status < 200 || k->status > 599)
        return false;
    uint64_t body = length && k->status != 304 && k->status != 204 ? strtoull(length, NULL, 10) : 0;
    k->closes = connection && strncasecmp(connection, "close", 5) == 0;
    if (k->len - head_len > body)
        return false;
    k->body_left = body - (k->len - head_len);
    k->has_head = true;
    return true;
}

static void answered(struct bench *b, struct connection *k)
{
    uint64_t now = clock_now_us(), took = now - k->begin_us;
    bool missed = k->status == 404 && k->op != BENCH_PUT && k->op != BENCH_INCR;
    if (k->status / 100 == 2 || missed) {
        if (!b->filling) {
            latency_add(&b->recent[k->op], took);
            b->n_missed += missed;
        }
    } else {
        b->n_refused[k->status]++;
        k->again = b->filling;
        k->state = PAUSED; /* it would only be refused again at once */
        k->again_us = now + PAUSE_US;
    }
    if (k->closes) {
        close_socket(k);
        k->state = DOWN;
        k->again_us = now;
    } else if (k->state == BUSY) {
        start_next(b, k);
    }
}

static void receive(struct bench *b, struct connection *k)
{
    static char scratch[SCRATCH];
    bool head = !k->has_head;
    char *into = head ? k->answer + k->len : scratch;
    size_t room = head ? HEAD_BYTES - 1 - k->len : SCRATCH;
    ssize_t n = recv(k->fd, into, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || k->state != BUSY || (!head && (uint64_t)n > k->body_left)) {
        cut(b, k);
        return;
    }
    if (head) {
        k->len += (size_t)n;
        k->answer[k->len] = '\0';
        const char *end = strstr(k->answer, "\r\n\r\n");
        if ((!end && k->len == HEAD_BYTES - 1) || (end && !read_head(k, end))) {
            cut(b, k);
            return;
        }
    } else {
        k->body_left -= (uint64_t)n;
    }
    if (k->has_head && k->body_left == 0)
        answered(b, k);
}

static void on_events(struct bench *b, struct connection *k, uint32_t events)
{
    if (k->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err)
            cut(b, k);
        else
            start_next(b, k);
        return;
    }
    if (k->fd >= 0 && events & EPOLLOUT && k->state == BUSY)
        send_more(b, k);
    if (k->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(b, k);
}

/* ---- all of them ---- */

static void wake(struct bench *b, uint64_t now)
{
    for (uint64_t i = 0; i < b->n_clients; i++) {
        struct connection *k = &b->connections[i];
        bool waits = k->state == DOWN || k->state == PAUSED;
        bool over = is_over(b, now) && !k->again;
        if (k->state != OVER && !b->filling && now >= b->end_us + LINGER_US) {
            b->n_cut += !waits;
            retire(b, k);
            continue;
        }
        if (!waits || (now < k->again_us && !over))
            continue;
        if (over)
            retire(b, k);
        else if (k->state == PAUSED)
            start_next(b, k);
        else if (open_socket(b, k) != 0)
            cut(b, k);
    }
}

static void fill_value(struct bench *b)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
    size_t len = (size_t)b->value_bytes + VALUES_BYTES;
    b->value = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        b->value[i] = letters[rng_next(&b->rng) & 63];
}

int bench_connect(struct bench *b)
{
    int err = ECONNREFUSED;
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->connections = mem_array(b->n_clients, sizeof *b->connections);
    fill_value(b);
    for (uint64_t i = 0; i < b->n_clients; i++) {
        b->connections[i].fd = -1;
        b->connections[i].target = (unsigned)(i % b->n_targets);
    }
    for (unsigned i = 0; i < b->n_targets; i++) { /* one must be there, before anything is said */
        const struct bench_target *t = &b->targets[i];
        int fd = socket(t->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)&t->addr, t->addr_len) == 0)
            err = 0;
        else if (err)
            err = errno;
        if (fd >= 0)
            close(fd);
    }
    return err ? ctl_fail(CTL_UNREACHABLE, "%s: %s", b->targets[0].host, strerror(err)) : CTL_OK;
}

void bench_work(struct bench *b, bool (*tick)(struct bench *b))
{
    struct epoll_event events[EVENTS];
    b->n_open = (unsigned)b->n_clients;
    uint64_t next_us = 0;
    for (uint64_t i = 0; i < b->n_clients; i++) {
        b->connections[i].state = DOWN;
        b->connections[i].begin_us = b->connections[i].again_us = 0;
        b->connections[i].again = false;
    }
    while (b->n_open > 0) {
        uint64_t now = clock_now_us();
        if (now >= next_us) {
            if (!tick(b))
                b->end_us = now, b->filling = false;
            wake(b, now);
            next_us = now + TICK_MS * 1000;
        }
        int n = epoll_wait(b->epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++)
            on_events(b, events[i].data.ptr, events[i].events);
    }
}

void bench_disconnect(struct bench *b)
{
    for (uint64_t i = 0; b->connections && i < b->n_clients; i++)
        close_socket(&b->connections[i]);
    mem_free(b->connections);
    mem_free(b->value);
    if (b->epoll >= 0)
        close(b->epoll);
}
