/* SPDX-License-Identifier: MIT
 * Which images were there before: a set of hashes that processes share.
 */
#ifndef POWER_SEEN_H
#define POWER_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen {
    _Atomic uint64_t *slots; /* shared memory; 0: free */
    size_t n_slots;          /* a power of two */
};

/* Room for `wanted` hashes. */
void seen_init(struct seen *s, uint64_t wanted);
void seen_free(struct seen *s);
/* True: it was not there; it is now. */
bool seen_add(struct seen *s, uint64_t hash);

#endif
