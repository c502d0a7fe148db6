/* SPDX-License-Identifier: MIT
 * Durations counted in buckets of at most 1.6 percent width, so that any
 * percentile may be asked for afterwards. Plain data.
 */
#ifndef CTL_LATENCY_H
#define CTL_LATENCY_H

#include <stdint.h>

#define LATENCY_SUB_BITS 6 /* 64 buckets for each power of two */
#define LATENCY_BUCKETS  ((36 - LATENCY_SUB_BITS) << LATENCY_SUB_BITS)

struct latency {
    uint64_t bucket[LATENCY_BUCKETS];
    uint64_t n, sum_us, max_us;
};

void latency_add(struct latency *l, uint64_t us);
void latency_merge(struct latency *to, const struct latency *from);
/* What `part` (0 to 1) of all did not exceed; 0 when there are none. */
double latency_percentile_ms(const struct latency *l, double part);
/* How many took from lo (counting) to hi (not counting). */
uint64_t latency_between(const struct latency *l, uint64_t lo_us, uint64_t hi_us);

#endif
