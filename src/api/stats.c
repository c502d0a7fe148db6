/* SPDX-License-Identifier: MIT */
#include "api/stats.h"

const uint64_t stats_bound_us[STATS_BUCKETS] = {250,    500,     1000,    2500,   5000,
                                                10000,  25000,   50000,   100000, 250000,
                                                500000, 1000000, 2500000, 5000000};

static const unsigned statuses[] = {
#define X(status) status,
    STATS_STATUSES(X)
#undef X
};

unsigned stats_status(unsigned index)
{
    return statuses[index];
}

static unsigned index_of(unsigned status)
{
    for (unsigned i = 1; i < STATS_N_STATUSES; i++)
        if (statuses[i] == status)
            return i;
    return 0;
}

/* One writer: no need for a locked instruction. */
static void add(atomic_ullong *n, uint64_t more)
{
    unsigned long long now = atomic_load_explicit(n, memory_order_relaxed);
    atomic_store_explicit(n, now + more, memory_order_relaxed);
}

void stats_count(struct stats *s, unsigned route, enum http_method method, unsigned status,
                 uint64_t duration_us)
{
    unsigned i = 0;
    while (i < STATS_BUCKETS && duration_us > stats_bound_us[i])
        i++;
    add(&s->requests[route][method][index_of(status)], 1);
    add(&s->duration[route].bucket[i], 1);
    add(&s->duration[route].sum_us, duration_us);
}
