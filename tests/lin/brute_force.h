/* SPDX-License-Identifier: MIT
 * Linearizability by its definition: all orders of a few operations are tried.
 */
#ifndef TESTS_LIN_BRUTE_FORCE_H
#define TESTS_LIN_BRUTE_FORCE_H

#include <stdbool.h>
#include <stddef.h>

#include "lin/lin.h"

#define BRUTE_FORCE_OPS_MAX 16

/* Operations of one register; the keys are not looked at. */
bool brute_force_is_linearizable(const struct lin_op ops[], size_t n);

#endif
