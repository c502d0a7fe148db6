/* SPDX-License-Identifier: MIT
 * A run's filter: says of most keys that are not in the run that they are not,
 * without a look at index and blocks. Of a key that is in the run it never says
 * so. A Bloom filter (1970) whose bits of one key are all in one line of memory,
 * so that a question costs one cache miss (Putze, Sanders and Singler 2007).
 *
 * Of 1000 absent keys it lets some 15 pass.
 */
#ifndef STORE_RUN_FILTER_H
#define STORE_RUN_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_FILTER_LINE_BYTES   64
#define RUN_FILTER_BITS_PER_KEY 10
#define RUN_FILTER_PROBES       6

/* A run of more records has none: its writer would have to remember too much. Checkpoints have
 * fewer; snapshots and backups are read in order. */
#define RUN_FILTER_RECORDS_MAX (1u << 20)
#define RUN_FILTER_BYTES_MAX   (RUN_FILTER_RECORDS_MAX * RUN_FILTER_BITS_PER_KEY / 8)

/* The size of the filter of n keys, at most RUN_FILTER_RECORDS_MAX: whole lines. */
size_t run_filter_bytes(uint64_t n);
/* What of a key goes into a filter. */
uint32_t run_filter_hash(const void *key, size_t len);
/* The same as what it is in a filter of any size, made once for all that are asked. */
struct run_filter_key {
    uint32_t line; /* to be scaled to the number of lines */
    uint64_t bits; /* places in the line, nine bits each, the lowest first */
};
struct run_filter_key run_filter_key(uint32_t hash);
/* len: a multiple of the line, above 0; all bytes 0 at first. */
void run_filter_add(uint8_t *filter, size_t len, struct run_filter_key key);
/* Begins to fetch the line that run_filter_has() will look at. */
void run_filter_prefetch(const uint8_t *filter, size_t len, struct run_filter_key key);
/* False: no key with this hash was added. */
bool run_filter_has(const uint8_t *filter, size_t len, struct run_filter_key key);

#endif
