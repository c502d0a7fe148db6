/* SPDX-License-Identifier: MIT
 * Growing arrays inside raft/.
 */
#ifndef RAFT_ARRAY_H
#define RAFT_ARRAY_H

#include <stddef.h>

#include "base/mem.h"

/* Room for one more element in an array that has n of cap; returns the array. */
static inline void *raft_array_grow(void *p, size_t n, size_t *cap, size_t element_bytes)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 8;
    return mem_realloc(p, *cap * element_bytes);
}

/* Appends value to a->items, where *a has items, n and cap. */
#define RAFT_ARRAY_PUSH(a, value)                                                                  \
    ((a)->items = raft_array_grow((a)->items, (a)->n, &(a)->cap, sizeof *(a)->items),              \
     (a)->items[(a)->n++] = (value))

#endif
