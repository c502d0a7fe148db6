/* SPDX-License-Identifier: MIT
 * A key's hash is the seed of two numbers: the upper half of the first chooses
 * the line, nine bits each of the second the bits in it, the lowest first.
 */
#include "store/run_filter.h"

#include "base/crc32c.h"
#include "base/rng.h"

#define LINE_BITS_LOG2 9
_Static_assert(1 << LINE_BITS_LOG2 == 8 * RUN_FILTER_LINE_BYTES, "nine bits name a bit of a line");
_Static_assert(LINE_BITS_LOG2 *RUN_FILTER_PROBES <= 64, "the bits of a key come from one number");

size_t run_filter_bytes(uint64_t n)
{
    const uint64_t line_bits = 8 * RUN_FILTER_LINE_BYTES;
    return (size_t)((n * RUN_FILTER_BITS_PER_KEY + line_bits - 1) / line_bits) *
           RUN_FILTER_LINE_BYTES;
}

uint32_t run_filter_hash(const void *key, size_t len)
{
    return crc32c(0, key, len);
}

struct run_filter_key run_filter_key(uint32_t hash)
{
    struct rng rng = {hash};
    uint32_t line = (uint32_t)(rng_next(&rng) >> 32);
    return (struct run_filter_key){line, rng_next(&rng)};
}

/* Where its line begins. */
static size_t line_of(size_t len, struct run_filter_key key)
{
    uint64_t n_lines = len / RUN_FILTER_LINE_BYTES;
    return (size_t)(key.line * n_lines >> 32) * RUN_FILTER_LINE_BYTES;
}

void run_filter_add(uint8_t *filter, size_t len, struct run_filter_key key)
{
    uint8_t *line = filter + line_of(len, key);
    for (unsigned i = 0; i < RUN_FILTER_PROBES; i++, key.bits >>= LINE_BITS_LOG2)
        line[key.bits >> 3 & (RUN_FILTER_LINE_BYTES - 1)] |= (uint8_t)(1u << (key.bits & 7));
}

void run_filter_prefetch(const uint8_t *filter, size_t len, struct run_filter_key key)
{
    __builtin_prefetch(filter + line_of(len, key));
}

bool run_filter_has(const uint8_t *filter, size_t len, struct run_filter_key key)
{
    const uint8_t *line = filter + line_of(len, key);
    for (unsigned i = 0; i < RUN_FILTER_PROBES; i++, key.bits >>= LINE_BITS_LOG2)
        if (!(line[key.bits >> 3 & (RUN_FILTER_LINE_BYTES - 1)] & 1u << (key.bits & 7)))
            return false;
    return true;
}
