/* SPDX-License-Identifier: MIT
 * Load in a closed loop: each client has one connection and one request at a
 * time, and sends the next one when the last is answered. One thread, epoll and
 * HTTP written down by hand: libcurl would be busier than the node it loads.
 */
#ifndef CTL_BENCH_H
#define CTL_BENCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/rng.h"
#include "ctl/ctl.h"
#include "ctl/latency.h"

enum bench_op { BENCH_PUT, BENCH_GET, BENCH_STALE, BENCH_INCR, BENCH_DEL, BENCH_OPS };

extern const char *const bench_op_names[BENCH_OPS];

struct bench_target {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    const char *host; /* "HOST:PORT", borrowed */
};

struct connection;

struct bench {
    const struct ctl *c;
    unsigned share[BENCH_OPS], share_sum;
    uint64_t n_clients, n_keys, value_bytes, duration_ms;
    const char *prefix; /* encoded, borrowed */
    bool fill;          /* before it is measured, every key is written once */

    struct bench_target *targets; /* owned */
    unsigned n_targets;
    struct connection *connections; /* owned */
    char *value;                    /* owned: letters, more than one value is long */
    struct rng rng;
    int epoll;

    bool filling;
    uint64_t n_filled; /* keys that were asked to be written */
    uint64_t begin_us, end_us;
    unsigned n_open; /* connections that are not over */

    struct latency latency[BENCH_OPS], recent[BENCH_OPS]; /* recent: since the last live line */
    uint64_t n_missed;                                    /* 404 of get and del */
    uint64_t n_refused[600];                              /* by HTTP status */
    uint64_t n_cut; /* connections that broke, or never were */
};

/* ---- bench_connection.c ---- */

/* Opens all connections. CTL_OK, or the exit status after a line on standard error. */
MUST_CHECK int bench_connect(struct bench *b);
/* Lets them work, until time is up or, while filling, all keys are written. tick is called some
 * times a second, and ends it by returning false. */
void bench_work(struct bench *b, bool (*tick)(struct bench *b));
void bench_disconnect(struct bench *b);

/* ---- bench_report.c ---- */

void bench_live_line(struct bench *b, double seconds);
void bench_report(const struct bench *b, double seconds);

#endif
