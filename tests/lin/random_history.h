/* SPDX-License-Identifier: MIT
 * Histories as clients of a correct store would see them.
 */
#ifndef TESTS_LIN_RANDOM_HISTORY_H
#define TESTS_LIN_RANDOM_HISTORY_H

#include <stddef.h>

#include "base/rng.h"
#include "lin/lin.h"

struct history_shape {
    size_t n_ops;
    unsigned n_clients;       /* each does one thing at a time */
    unsigned n_values;        /* 0: every write has a value of its own */
    unsigned unknown_percent; /* half of these take effect, late or not */
    unsigned read_percent;    /* the rest are writes, deletes and swaps */
};

/* Fills n_ops operations of one register, linearizable. */
void random_history(struct rng *rng, const struct history_shape *shape, uint64_t key,
                    struct lin_op ops[]);

#endif
