/* SPDX-License-Identifier: MIT */
#include "ctl/bench.h"

#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/handlers.h"
#include "ctl/progress.h"
#include "ctl/text.h"

#define LIVE_US     500000
#define SPARE_FILES 16

const char *const bench_op_names[BENCH_OPS] = {
    [BENCH_PUT] = "put",   [BENCH_GET] = "get", [BENCH_STALE] = "stale",
    [BENCH_INCR] = "incr", [BENCH_DEL] = "del",
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- what is asked for ---- */

static int find_op(const char *name, size_t len)
{
    for (int op = 0; op < BENCH_OPS; op++)
        if (strlen(bench_op_names[op]) == len && memcmp(bench_op_names[op], name, len) == 0)
            return op;
    return -1;
}

/* "put=20,get=80"; a name alone counts 1. */
static int read_mix(struct bench *b, const char *text)
{
    for (const char *p = text; *p;) {
        size_t name_len = strcspn(p, "=,");
        int op = find_op(p, name_len);
        char *end = NULL;
        unsigned long n = p[name_len] == '=' ? strtoul(p + name_len + 1, &end, 10) : 1;
        const char *next = end ? end : p + name_len;
        if (op < 0 || n > 1000000 || end == p + name_len + 1 || (*next && *next != ',')) {
            ctl_fail(CTL_USAGE, "--mix: '%s' is not understood; write for example put=20,get=80",
                     text);
            return ERR_INVALID;
        }
        b->share[op] += (unsigned)n;
        b->share_sum += (unsigned)n;
        p = next + (*next == ',');
    }
    if (b->share_sum > 0)
        return 0;
    ctl_fail(CTL_USAGE, "--mix: there is nothing to do");
    return ERR_INVALID;
}

static int read_options(struct bench *b)
{
    const struct args *a = b->c->args;
    const char *mix = a->value[FLAG_MIX];
    b->fill = args_has(a, FLAG_FILL);
    if (read_mix(b, mix ? mix : "put=1,get=1") < 0 ||
        args_count(a, FLAG_CLIENTS, 1, 100000, 64, &b->n_clients) < 0 ||
        args_count(a, FLAG_KEYS, 1, UINT64_MAX / 2, 100000, &b->n_keys) < 0 ||
        args_size(a, FLAG_VALUE_SIZE, 0, LIMIT_VALUE_BYTES, 32, &b->value_bytes) < 0 ||
        args_duration_ms(a, FLAG_DURATION, 1, UINT64_MAX / 2000, 10000, &b->duration_ms) < 0)
        return ERR_INVALID;
    return 0;
}

static int resolve(struct bench_target *t)
{
    struct addr addr;
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (addr_parse(t->host, &addr) < 0)
        return ERR_INVALID;
    snprintf(port, sizeof port, "%u", addr.port);
    int rc = getaddrinfo(addr.host, port, &hints, &found);
    if (rc != 0) {
        ctl_fail(CTL_UNREACHABLE, "%s: %s", t->host, gai_strerror(rc));
        return ERR_UNREACHABLE;
    }
    memcpy(&t->addr, found->ai_addr, found->ai_addrlen);
    t->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int find_targets(struct bench *b)
{
    b->n_targets = client_n_endpoints(b->c->client);
    b->targets = mem_array(b->n_targets, sizeof *b->targets);
    for (unsigned i = 0; i < b->n_targets; i++) {
        b->targets[i].host = client_addr(b->c->client, i);
        if (resolve(&b->targets[i]) < 0)
            return CTL_UNREACHABLE;
    }
    return CTL_OK;
}

static int allow_files(const struct bench *b)
{
    struct rlimit limit;
    uint64_t needed = b->n_clients + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return CTL_OK;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (limit.rlim_cur >= needed && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return CTL_OK;
    return ctl_fail(CTL_FAILURE, "--clients: this process may open %llu files only (ulimit -n)",
                    (unsigned long long)limit.rlim_max);
}

/* ---- running it ---- */

static struct progress progress;
static uint64_t next_live_us;

static bool tick_fill(struct bench *b)
{
    progress_bytes(&progress, b->n_filled * b->value_bytes, b->n_keys * b->value_bytes);
    return !interrupted;
}

static bool tick_load(struct bench *b)
{
    uint64_t now = clock_now_us();
    if (b->c->progress && now >= next_live_us) {
        if (now > b->begin_us + LIVE_US / 2)
            bench_live_line(b, (double)(now - b->begin_us) / 1e6);
        next_live_us = now + LIVE_US;
    }
    return !interrupted;
}

static void fill(struct bench *b)
{
    progress_start(&progress, b->c->progress, "fill");
    b->filling = true;
    bench_work(b, tick_fill);
    b->filling = false;
    progress_end(&progress);
}

static int measure(struct bench *b)
{
    uint64_t n = 0;
    b->begin_us = clock_now_us();
    b->end_us = b->begin_us + b->duration_ms * 1000;
    bench_work(b, tick_load);
    double seconds = (double)(clock_now_us() - b->begin_us) / 1e6;
    if (b->c->progress)
        fprintf(stderr, "\r\033[K");
    for (unsigned op = 0; op < BENCH_OPS; op++) {
        latency_merge(&b->latency[op], &b->recent[op]);
        n += b->latency[op].n;
    }
    bench_report(b, seconds);
    return n > 0 ? CTL_OK : ctl_fail(CTL_FAILURE, "not one request succeeded");
}

static int run(struct bench *b)
{
    int status = find_targets(b);
    if (status == CTL_OK)
        status = allow_files(b);
    if (status == CTL_OK)
        status = bench_connect(b);
    if (status == CTL_OK && b->fill)
        fill(b);
    if (status == CTL_OK && !interrupted)
        status = measure(b);
    bench_disconnect(b);
    return status;
}

int bench_run(struct ctl *c)
{
    struct bench *b = mem_zalloc(sizeof *b);
    struct buf prefix = BUF_INIT;
    const char *text = c->args->value[FLAG_PREFIX];
    b->c = c;
    b->epoll = -1;
    b->rng.state = clock_now_us();
    text = text ? text : "bench/";
    text_percent(text, strlen(text), true, &prefix);
    b->prefix = buf_str(&prefix);
    int status = CTL_USAGE;
    if (strlen(text) > LIMIT_KEY_BYTES / 2 || prefix.len > 600)
        ctl_fail(CTL_USAGE, "--prefix: it is too long");
    else if (read_options(b) == 0) {
        signal(SIGINT, interrupt);
        signal(SIGTERM, interrupt);
        status = run(b);
    }
    mem_free(b->targets);
    buf_free(&prefix);
    mem_free(b);
    return status;
}
