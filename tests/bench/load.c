/* SPDX-License-Identifier: MIT
 * A client that writes Sets over many connections as fast as they are answered,
 * one request of each at a time, and can put down when each was answered and
 * how long that took. For tests/bench/storage; see usage().
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

#define ANSWER_BYTES (1024 * 1024)
#define RETRY_US     2000 /* after an answer that is not 200 */

struct sample {
    uint64_t end_us; /* of CLOCK_MONOTONIC */
    uint64_t took_us;
};

struct client {
    int fd;
    struct buf request;
    size_t sent;
    unsigned n_sets; /* in the request */
    uint64_t begin_us;
    char *answer;
    size_t len;
};

struct load {
    unsigned n_clients, batch, value_bytes;
    uint64_t n_keys, seconds, count, seed;
    bool each_once;
    FILE *samples;
    struct sockaddr_in addr;
    struct rng rng;
    struct client *clients;
    int epoll;
    unsigned n_open;
    uint64_t begin_us, end_us, n_asked, n_sets, n_requests, n_errors, n_cut;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void usage(void)
{
    fputs("usage: load [options] HOST:PORT\n"
          "  -c N     connections (64)\n"
          "  -k N     keys, uniformly random (1000000)\n"
          "  -e       each key once, in a mixed order, instead\n"
          "  -b N     Sets in a request: more than 1 is a Batch (1)\n"
          "  -v N     bytes of a value (32)\n"
          "  -s N     seconds (10); 0: until -n\n"
          "  -n N     Sets after which it ends; 0: until -s\n"
          "  -o FILE  for each answer two 64-bit numbers: when (CLOCK_MONOTONIC) and how long, us\n"
          "prints: RESULT sets requests errors connections-cut seconds\n",
          stderr);
    exit(2);
}

/* ---- requests ---- */

/* Each number below n_keys for another one, in an order of this run: multiplying by odd numbers
 * and shifting right are one to one among the numbers of so many bits, and whoever lands above
 * goes on. */
static uint64_t mixed(const struct load *l, uint64_t n)
{
    unsigned bits = 2;
    while ((uint64_t)1 << bits < l->n_keys)
        bits++;
    do {
        for (unsigned i = 0; i < 3; i++) {
            n = (n * 0x9e3779b97f4a7c15 + l->seed) & (((uint64_t)1 << bits) - 1);
            n ^= n >> (bits / 2);
        }
    } while (n >= l->n_keys);
    return n;
}

static void append_set(struct load *l, struct buf *b)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyzABCDEF";
    uint64_t n =
        l->each_once ? mixed(l, l->n_asked % l->n_keys) : rng_range(&l->rng, 0, l->n_keys - 1);
    l->n_asked++;
    buf_printf(b, "{\"Set\":{\"key\":\"key-%08" PRIu64 "\",\"value\":\"", n);
    for (unsigned left = l->value_bytes; left > 0;) {
        char text[12];
        unsigned part = left < sizeof text ? left : (unsigned)sizeof text;
        uint64_t random = rng_range(&l->rng, 0, UINT64_MAX - 1);
        for (unsigned i = 0; i < part; i++)
            text[i] = digits[random >> (5 * i) & 31];
        buf_append(b, text, part);
        left -= part;
    }
    buf_printf(b, "\"}}");
}

static bool is_over(const struct load *l)
{
    return interrupted || (l->count > 0 && l->n_asked >= l->count) ||
           (l->seconds > 0 && clock_now_us() >= l->begin_us + l->seconds * 1000000);
}

static void make_request(struct load *l, struct client *c)
{
    struct buf body = BUF_INIT;
    if (l->batch > 1)
        buf_printf(&body, "{\"Batch\":[");
    c->n_sets = 0;
    while (c->n_sets < l->batch && (l->count == 0 || l->n_asked < l->count)) {
        if (c->n_sets++ > 0)
            buf_printf(&body, ",");
        append_set(l, &body);
    }
    if (l->batch > 1)
        buf_printf(&body, "]}");
    buf_clear(&c->request);
    buf_printf(&c->request,
               "POST /write HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %zu\r\n\r\n", body.len);
    buf_append(&c->request, body.data, body.len);
    buf_free(&body);
}

static void watch(struct load *l, struct client *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void close_client(struct load *l, struct client *c)
{
    close(c->fd);
    c->fd = -1;
    l->n_open--;
}

static void cut(struct load *l, struct client *c)
{
    l->n_cut++;
    close_client(l, c);
}

static void send_more(struct load *l, struct client *c)
{
    ssize_t n = send(c->fd, c->request.data + c->sent, c->request.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        cut(l, c);
        return;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    watch(l, c, c->sent < c->request.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void begin(struct load *l, struct client *c)
{
    c->sent = c->len = 0;
    c->begin_us = clock_now_us();
    send_more(l, c);
}

static void next(struct load *l, struct client *c)
{
    if (is_over(l)) {
        close_client(l, c);
        return;
    }
    make_request(l, c);
    begin(l, c);
}

/* ---- answers ---- */

/* The status of a whole answer; 0: there is more to come. */
static int status_of(struct client *c)
{
    c->answer[c->len] = '\0';
    char *end = strstr(c->answer, "\r\n\r\n");
    char *length = strstr(c->answer, "\r\nContent-Length:");
    if (!end || !length || length > end)
        return 0;
    size_t body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    if (c->len < (size_t)(end + 4 - c->answer) + body)
        return 0;
    return atoi(c->answer + strlen("HTTP/1.1 "));
}

static void answered(struct load *l, struct client *c, int status)
{
    struct sample s = {.end_us = clock_now_us()};
    s.took_us = s.end_us - c->begin_us;
    l->n_requests++;
    if (status != 200) {
        l->n_errors++;
        if (is_over(l)) {
            close_client(l, c);
            return;
        }
        usleep(RETRY_US);
        begin(l, c);
        return;
    }
    l->n_sets += c->n_sets;
    if (l->samples)
        fwrite(&s, sizeof s, 1, l->samples);
    next(l, c);
}

static void receive(struct load *l, struct client *c)
{
    ssize_t n = recv(c->fd, c->answer + c->len, ANSWER_BYTES - 1 - c->len, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            cut(l, c);
        return;
    }
    c->len += (size_t)n;
    int status = status_of(c);
    if (status != 0)
        answered(l, c, status);
}

/* ---- the whole ---- */

static void connect_all(struct load *l)
{
    int yes = 1;
    l->clients = mem_array(l->n_clients, sizeof *l->clients);
    for (unsigned i = 0; i < l->n_clients; i++) {
        struct client *c = &l->clients[i];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&l->addr, sizeof l->addr) != 0) {
            perror("load: connect");
            exit(1);
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e);
        c->answer = mem_alloc(ANSWER_BYTES);
        l->n_open++;
    }
}

static void run(struct load *l)
{
    struct epoll_event events[64];
    l->begin_us = clock_now_us();
    for (unsigned i = 0; i < l->n_clients; i++)
        next(l, &l->clients[i]);
    while (l->n_open > 0 && !interrupted) {
        int n = epoll_wait(l->epoll, events, 64, 100);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->fd >= 0 && events[i].events & EPOLLOUT)
                send_more(l, c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                receive(l, c);
        }
    }
    l->end_us = clock_now_us();
}

static void read_addr(struct load *l, char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        usage();
    *colon = '\0';
    l->addr.sin_family = AF_INET;
    l->addr.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &l->addr.sin_addr) != 1)
        usage();
}

static void read_options(struct load *l, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "c:k:eb:v:s:n:o:")) != -1) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (option) {
        case 'c':
            l->n_clients = (unsigned)n;
            break;
        case 'k':
            l->n_keys = n;
            break;
        case 'e':
            l->each_once = true;
            break;
        case 'b':
            l->batch = (unsigned)n;
            break;
        case 'v':
            l->value_bytes = (unsigned)n;
            break;
        case 's':
            l->seconds = n;
            break;
        case 'n':
            l->count = n;
            break;
        case 'o':
            l->samples = fopen(optarg, "wb");
            break;
        default:
            usage();
        }
    }
    if (optind != argc - 1 || l->n_clients == 0 || l->batch == 0 || l->n_keys == 0)
        usage();
    read_addr(l, argv[optind]);
}

int main(int argc, char **argv)
{
    struct load l = {.n_clients = 64,
                     .batch = 1,
                     .value_bytes = 32,
                     .n_keys = 1000000,
                     .seconds = 10,
                     .rng = {clock_now_us()},
                     .seed = clock_now_us()};
    read_options(&l, argc, argv);
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
    l.epoll = epoll_create1(0);
    connect_all(&l);
    run(&l);
    if (l.samples)
        fclose(l.samples);
    printf("RESULT %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.6f\n", l.n_sets, l.n_requests,
           l.n_errors, l.n_cut, (double)(l.end_us - l.begin_us) / 1e6);
    return 0;
}
