/* SPDX-License-Identifier: MIT
 * A bucket is a power of two and the bits behind its leading one, as in
 * HdrHistogram.
 */
#include "ctl/latency.h"

#define SUB ((uint64_t)1 << LATENCY_SUB_BITS)

static unsigned bucket_of(uint64_t us)
{
    if (us < SUB)
        return (unsigned)us;
    unsigned log2 = 63 - (unsigned)__builtin_clzll(us);
    unsigned shift = log2 - LATENCY_SUB_BITS;
    uint64_t i = ((uint64_t)(shift + 1) << LATENCY_SUB_BITS) + ((us >> shift) - SUB);
    return i < LATENCY_BUCKETS ? (unsigned)i : LATENCY_BUCKETS - 1;
}

/* The least duration that falls into the bucket. */
static uint64_t bucket_start(unsigned i)
{
    if (i < SUB)
        return i;
    unsigned shift = (i >> LATENCY_SUB_BITS) - 1;
    return (SUB + (i & (SUB - 1))) << shift;
}

void latency_add(struct latency *l, uint64_t us)
{
    l->bucket[bucket_of(us)]++;
    l->n++;
    l->sum_us += us;
    l->max_us = us > l->max_us ? us : l->max_us;
}

void latency_merge(struct latency *to, const struct latency *from)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
    to->n += from->n;
    to->sum_us += from->sum_us;
    to->max_us = from->max_us > to->max_us ? from->max_us : to->max_us;
}

double latency_percentile_ms(const struct latency *l, double part)
{
    uint64_t seen = 0, wanted = (uint64_t)(part * (double)l->n);
    if (l->n == 0)
        return 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += l->bucket[i];
        if (seen > wanted) {
            uint64_t end = i + 1 < LATENCY_BUCKETS ? bucket_start(i + 1) - 1 : l->max_us;
            return (double)(end < l->max_us ? end : l->max_us) / 1000;
        }
    }
    return (double)l->max_us / 1000;
}

uint64_t latency_between(const struct latency *l, uint64_t lo_us, uint64_t hi_us)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        if (bucket_start(i) >= lo_us && bucket_start(i) < hi_us)
            n += l->bucket[i];
    return n;
}
