/* SPDX-License-Identifier: MIT
 * An even flow of requests, each sent when it is due whatever became of those
 * before (an open loop). Times count from when a request was due: one that
 * waits because all connections are busy has waited. Those of one millisecond
 * are due together, so that the load sleeps meanwhile and takes little of the
 * processors that it shares with what it measures. For compare.sh.
 */
#define _GNU_SOURCE /* epoll_pwait2 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

#define ANSWER_BYTES 65536
#define TURN_US      1000
#define WARM_UP_US   1000000  /* not counted */
#define PATIENCE_US  10000000 /* for the last answers */

struct client {
    int fd;
    uint64_t due_us;
    size_t len; /* of the answer so far */
    char answer[ANSWER_BYTES];
};

struct paced {
    const char *method, *path, *body, *content_type;
    unsigned n_clients, rate, seconds;
    uint64_t n_keys;
    struct sockaddr_in addr;
    struct rng rng;
    int epoll;
    struct client *clients, **idle;
    unsigned n_idle;
    uint64_t begin_us, n_due, n_sent, n_errors; /* n_due: all that will be sent */
    uint64_t *took_us, n_took;
};

static void usage(void)
{
    fputs("usage: paced [options] HOST:PORT METHOD PATH [BODY [CONTENT-TYPE]]\n"
          "  -c N     connections (256)\n"
          "  -r N     requests a second (1000)\n"
          "  -s N     seconds, after one that does not count (10)\n"
          "  -k N     keys, uniformly random (1000000)\n"
          "{key} in PATH or BODY stands for keyNNNNNN.\n"
          "prints: rate, p50, p99, longest (us), errors\n",
          stderr);
    exit(2);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- requests ---- */

static void append_with_key(struct buf *b, const char *text, uint64_t key)
{
    const char *mark = strstr(text, "{key}");
    if (!mark) {
        buf_append(b, text, strlen(text));
        return;
    }
    buf_append(b, text, (size_t)(mark - text));
    buf_printf(b, "key%06" PRIu64 "%s", key, mark + strlen("{key}"));
}

static void send_request(struct paced *p, struct client *c)
{
    struct buf request = BUF_INIT, body = BUF_INIT;
    uint64_t key = rng_range(&p->rng, 0, p->n_keys - 1);
    append_with_key(&body, p->body, key);
    buf_printf(&request, "%s ", p->method);
    append_with_key(&request, p->path, key);
    buf_printf(&request, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    if (p->content_type)
        buf_printf(&request, "Content-Type: %s\r\n", p->content_type);
    if (body.len > 0)
        buf_printf(&request, "Content-Length: %zu\r\n", body.len);
    buf_printf(&request, "\r\n");
    buf_append(&request, body.data, body.len);
    c->len = 0;
    /* So small a request fits the socket's buffer, which is empty. */
    if (send(c->fd, request.data, request.len, MSG_NOSIGNAL) != (ssize_t)request.len)
        fail("paced: send");
    buf_free(&request);
    buf_free(&body);
}

static uint64_t due_us(const struct paced *p)
{
    return p->begin_us + p->n_sent * 1000000 / p->rate / TURN_US * TURN_US;
}

static void send_what_is_due(struct paced *p)
{
    while (p->n_idle > 0 && p->n_sent < p->n_due && due_us(p) <= clock_now_us()) {
        struct client *c = p->idle[--p->n_idle];
        c->due_us = due_us(p);
        p->n_sent++;
        send_request(p, c);
    }
}

/* ---- answers ---- */

/* The status of a whole answer; 0: there is more to come. */
static int status_of(struct client *c)
{
    c->answer[c->len] = '\0';
    char *end = strstr(c->answer, "\r\n\r\n");
    char *length = strcasestr(c->answer, "\r\nContent-Length:");
    if (!end || !length || length > end)
        return 0;
    size_t body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    if (c->len < (size_t)(end + 4 - c->answer) + body)
        return 0;
    return atoi(c->answer + strlen("HTTP/1.1 "));
}

static void receive(struct paced *p, struct client *c)
{
    ssize_t n = recv(c->fd, c->answer + c->len, ANSWER_BYTES - 1 - c->len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        fail("paced: the connection was cut");
    c->len += (size_t)n;
    int status = status_of(c);
    if (status == 0)
        return;
    if (status / 100 != 2)
        p->n_errors++;
    if (c->due_us >= p->begin_us + WARM_UP_US)
        p->took_us[p->n_took++] = clock_now_us() - c->due_us;
    p->idle[p->n_idle++] = c;
}

/* ---- the whole ---- */

static void connect_all(struct paced *p)
{
    int yes = 1;
    p->epoll = epoll_create1(0);
    p->clients = mem_array(p->n_clients, sizeof *p->clients);
    p->idle = mem_array(p->n_clients, sizeof *p->idle);
    for (unsigned i = 0; i < p->n_clients; i++) {
        struct client *c = &p->clients[i];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&p->addr, sizeof p->addr) != 0)
            fail("paced: connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &e);
        p->idle[p->n_idle++] = c;
    }
}

static void sleep_until_something(struct paced *p)
{
    struct epoll_event events[64];
    struct timespec wait = {.tv_nsec = 100000000};
    uint64_t now = clock_now_us();
    if (p->n_idle > 0 && p->n_sent < p->n_due)
        wait.tv_nsec = due_us(p) > now ? (long)(due_us(p) - now) * 1000 : 0;
    wait.tv_sec = wait.tv_nsec / 1000000000;
    wait.tv_nsec %= 1000000000;
    int n = epoll_pwait2(p->epoll, events, 64, &wait, NULL);
    for (int i = 0; i < n; i++)
        receive(p, events[i].data.ptr);
}

static void run(struct paced *p)
{
    uint64_t last_us = p->seconds * (uint64_t)1000000 + WARM_UP_US;
    p->n_due = p->rate * last_us / 1000000;
    p->took_us = mem_array(p->n_due, sizeof *p->took_us);
    p->begin_us = clock_now_us();
    while (p->n_sent < p->n_due || p->n_idle < p->n_clients) {
        if (clock_now_us() > p->begin_us + last_us + PATIENCE_US) {
            p->n_errors += p->n_due - p->n_sent + p->n_clients - p->n_idle;
            return;
        }
        send_what_is_due(p);
        sleep_until_something(p);
    }
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void report(struct paced *p)
{
    uint64_t took_us = clock_now_us() - p->begin_us - WARM_UP_US;
    qsort(p->took_us, p->n_took, sizeof *p->took_us, compare);
    if (p->n_took == 0)
        exit(1);
    printf("%.0f %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           (double)p->n_took * 1e6 / (double)took_us, p->took_us[p->n_took / 2],
           p->took_us[p->n_took - 1 - p->n_took / 100], p->took_us[p->n_took - 1], p->n_errors);
}

static void read_addr(struct paced *p, char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        usage();
    *colon = '\0';
    p->addr.sin_family = AF_INET;
    p->addr.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &p->addr.sin_addr) != 1)
        usage();
}

static void read_options(struct paced *p, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "c:r:s:k:")) != -1) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        if (n == 0)
            usage();
        switch (option) {
        case 'c':
            p->n_clients = n;
            break;
        case 'r':
            p->rate = n;
            break;
        case 's':
            p->seconds = n;
            break;
        case 'k':
            p->n_keys = n;
            break;
        default:
            usage();
        }
    }
    argv += optind;
    argc -= optind;
    if (argc < 3 || argc > 5)
        usage();
    read_addr(p, argv[0]);
    p->method = argv[1];
    p->path = argv[2];
    p->body = argc > 3 ? argv[3] : "";
    p->content_type = argc > 4 ? argv[4] : NULL;
}

int main(int argc, char **argv)
{
    struct paced p = {.n_clients = 256, .rate = 1000, .seconds = 10, .n_keys = 1000000};
    read_options(&p, argc, argv);
    p.rng.state = clock_now_us();
    prctl(PR_SET_TIMERSLACK, 1UL); /* a sleep may end 50 us late otherwise */
    connect_all(&p);
    run(&p);
    report(&p);
    return 0;
}
