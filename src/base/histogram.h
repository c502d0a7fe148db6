/* SPDX-License-Identifier: MIT
 * Durations counted in buckets, the same bounds for all: from a tenth of a
 * millisecond, which is a sync of a good disk, to minutes. Plain data with one
 * writer; whoever else wants to know gets a copy.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 17

struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS + 1]; /* not cumulative; the last is beyond all bounds */
    uint64_t sum_us;
};

/* Upper bounds of the buckets, each of which belongs to its bucket. */
extern const uint64_t histogram_bound_us[HISTOGRAM_BUCKETS];

void histogram_add(struct histogram *h, uint64_t duration_us);
/* How many were added. */
uint64_t histogram_count(const struct histogram *h);

#endif
