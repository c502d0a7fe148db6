/* SPDX-License-Identifier: MIT
 * A violation in words.
 */
#ifndef TESTS_LIN_EXPLAIN_H
#define TESTS_LIN_EXPLAIN_H

#include "base/buf.h"
#include "lin/search.h"

/* s has been returned to where it was stuck; ops are those that its items number. */
void explain_violation(const struct search *s, const struct lin_op *ops, struct buf *out);
void explain_giving_up(const struct search *s, uint64_t key, struct buf *out);

#endif
