/* SPDX-License-Identifier: MIT */
#include "base/histogram.h"

const uint64_t histogram_bound_us[HISTOGRAM_BUCKETS] = {
    100,    250,    500,    1000,    2500,    5000,     10000,    25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 10000000, 60000000, 300000000};

void histogram_add(struct histogram *h, uint64_t duration_us)
{
    unsigned i = 0;
    while (i < HISTOGRAM_BUCKETS && duration_us > histogram_bound_us[i])
        i++;
    h->bucket[i]++;
    h->sum_us += duration_us;
}

uint64_t histogram_count(const struct histogram *h)
{
    uint64_t n = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        n += h->bucket[i];
    return n;
}
