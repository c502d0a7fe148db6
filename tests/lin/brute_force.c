/* SPDX-License-Identifier: MIT
 * Shares nothing with the checker, and is not clever anywhere.
 */
#include "lin/brute_force.h"

#include "base/assert.h"

static bool agrees(uint64_t result, uint64_t state)
{
    return result == LIN_ANY || (result == LIN_PRESENT ? state != LIN_ABSENT : result == state);
}

/* Whether the operation may happen in this state, as one that has an effect. */
static bool happen(const struct lin_op *op, uint64_t *state)
{
    bool ok = op->outcome == LIN_OK;
    switch (op->kind) {
    case LIN_READ:
        return !ok || agrees(op->result, *state);
    case LIN_WRITE:
    case LIN_DELETE:
        if (ok && !agrees(op->result, *state))
            return false;
        *state = op->kind == LIN_WRITE ? op->value : LIN_ABSENT;
        return true;
    case LIN_CAS:
        break;
    }
    if (op->outcome == LIN_MISMATCH)
        return *state != op->expected && agrees(op->result, *state);
    if (*state != op->expected)
        return false;
    *state = op->value;
    return true;
}

static bool has_end(const struct lin_op *op)
{
    return op->outcome == LIN_OK || op->outcome == LIN_MISMATCH;
}

/* Whether another one that is left has ended before this one began. */
static bool must_wait(const struct lin_op ops[], size_t n, const bool left[], size_t i)
{
    for (size_t j = 0; j < n; j++)
        if (left[j] && has_end(&ops[j]) && ops[j].end < ops[i].call)
            return true;
    return false;
}

static bool try_all(const struct lin_op ops[], size_t n, bool left[], uint64_t state)
{
    bool done = true;
    for (size_t i = 0; i < n; i++)
        done = done && !(left[i] && has_end(&ops[i]));
    if (done)
        return true;
    for (size_t i = 0; i < n; i++) {
        uint64_t next = state;
        if (!left[i] || ops[i].outcome == LIN_FAILED || must_wait(ops, n, left, i) ||
            !happen(&ops[i], &next))
            continue;
        left[i] = false;
        if (try_all(ops, n, left, next))
            return true;
        left[i] = true;
    }
    return false;
}

bool brute_force_is_linearizable(const struct lin_op ops[], size_t n)
{
    bool left[BRUTE_FORCE_OPS_MAX];
    ASSERT(n <= BRUTE_FORCE_OPS_MAX);
    for (size_t i = 0; i < n; i++)
        left[i] = true;
    return try_all(ops, n, left, LIN_ABSENT);
}
