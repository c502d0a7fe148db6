/* SPDX-License-Identifier: MIT
 * Counts and durations of requests. Each loop has its own and is the only
 * one to write it; /metrics adds them up.
 */
#ifndef API_STATS_H
#define API_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "api/http.h"
#include "api/route.h"

/* Every status that we answer; another one would be counted under 0. */
#define STATS_STATUSES(X)                                                                          \
    X(0)                                                                                           \
    X(200)                                                                                         \
    X(201)                                                                                         \
    X(304)                                                                                         \
    X(400)                                                                                         \
    X(403)                                                                                         \
    X(404)                                                                                         \
    X(405)                                                                                         \
    X(409) X(410) X(412) X(413) X(422) X(429) X(431) X(500) X(501) X(502) X(503) X(504) X(507)

enum {
#define X(status) STATS_INDEX_##status,
    STATS_STATUSES(X)
#undef X
        STATS_N_STATUSES
};

#define STATS_BUCKETS 14

struct stats_histogram {
    atomic_ullong bucket[STATS_BUCKETS + 1]; /* not cumulative; the last is beyond all bounds */
    atomic_ullong sum_us;
};

struct stats {
    atomic_ullong requests[ROUTE_PATHS_MAX][HTTP_METHODS][STATS_N_STATUSES];
    struct stats_histogram duration[ROUTE_PATHS_MAX];
};

void stats_count(struct stats *s, unsigned route, enum http_method method, unsigned status,
                 uint64_t duration_us);
/* Upper bounds of the buckets. */
extern const uint64_t stats_bound_us[STATS_BUCKETS];
unsigned stats_status(unsigned index);

#endif
