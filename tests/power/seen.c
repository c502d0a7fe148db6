/* SPDX-License-Identifier: MIT
 * Open addressing; 64 bits of hash are the whole entry. Among five million
 * images two different ones have the same hash with a chance of one in a million.
 */
#include "seen.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "base/assert.h"

void seen_init(struct seen *s, uint64_t wanted)
{
    s->n_slots = 1024;
    while (s->n_slots < 3 * wanted)
        s->n_slots *= 2;
    s->slots = mmap(NULL, s->n_slots * sizeof *s->slots, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(s->slots != MAP_FAILED);
}

void seen_free(struct seen *s)
{
    munmap(s->slots, s->n_slots * sizeof *s->slots);
    s->slots = NULL;
}

bool seen_add(struct seen *s, uint64_t hash)
{
    hash += hash == 0;
    for (size_t i = (size_t)hash;; i++) {
        _Atomic uint64_t *slot = &s->slots[i & (s->n_slots - 1)];
        uint64_t old = 0;
        if (atomic_compare_exchange_strong(slot, &old, hash))
            return true;
        if (old == hash)
            return false;
    }
}
