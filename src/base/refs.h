/* SPDX-License-Identifier: MIT
 * A count of references that several threads hold: whoever drops the last one
 * frees the thing.
 */
#ifndef BASE_REFS_H
#define BASE_REFS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/assert.h"

struct refs {
    atomic_uint n;
};

/* The maker's own. */
static inline void refs_init(struct refs *r)
{
    atomic_init(&r->n, 1);
}

/* Only who has one may take another. */
static inline void refs_take(struct refs *r)
{
    atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
}

/* True: it was the last. acq_rel: whoever frees sees what the others did with it before. */
static inline bool refs_drop(struct refs *r)
{
    unsigned before = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    return before == 1;
}

#endif
