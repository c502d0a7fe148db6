/* SPDX-License-Identifier: MIT
 * Draws intervals, a moment of effect in each, and runs a register over them.
 */
#include "lin/random_history.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

enum { DURATION_MAX = 12, GAP_MAX = 6 };

struct moment {
    uint64_t time;
    size_t op;
};

static bool is_chance(struct rng *rng, unsigned percent)
{
    return rng_range(rng, 0, 99) < percent;
}

static uint64_t random_value(struct rng *rng, const struct history_shape *shape, size_t n_before)
{
    uint64_t n = shape->n_values > 0 ? shape->n_values : n_before;
    return n > 0 ? rng_range(rng, 1, n) : LIN_ABSENT;
}

static struct lin_op random_call(struct rng *rng, const struct history_shape *shape, size_t number)
{
    struct lin_op op = {.kind = LIN_READ, .outcome = LIN_OK};
    if (!is_chance(rng, shape->read_percent)) {
        static const enum lin_kind kinds[] = {LIN_WRITE, LIN_WRITE, LIN_CAS, LIN_DELETE};
        op.kind = kinds[rng_range(rng, 0, 3)];
    }
    if (op.kind == LIN_WRITE || op.kind == LIN_CAS)
        op.value = shape->n_values > 0 ? random_value(rng, shape, 0) : number + 1;
    if (op.kind == LIN_CAS)
        op.expected = is_chance(rng, 20) ? LIN_ABSENT : random_value(rng, shape, number);
    if (is_chance(rng, shape->unknown_percent))
        op.outcome = LIN_UNKNOWN;
    return op;
}

static int compare_moments(const void *left, const void *right)
{
    const struct moment *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->op > b->op) - (a->op < b->op);
}

/* What the store may tell of the value before: all, that there was one, nothing. */
static uint64_t told(struct rng *rng, uint64_t value)
{
    if (is_chance(rng, 40))
        return LIN_ANY;
    return value != LIN_ABSENT && is_chance(rng, 20) ? LIN_PRESENT : value;
}

static uint64_t take_effect(struct rng *rng, struct lin_op *op, uint64_t state)
{
    switch (op->kind) {
    case LIN_READ:
        op->result = state;
        return state;
    case LIN_WRITE:
        op->result = told(rng, state);
        return op->value;
    case LIN_DELETE:
        op->result = told(rng, state);
        return LIN_ABSENT;
    case LIN_CAS:
        break;
    }
    if (state == op->expected)
        return op->value;
    if (op->outcome == LIN_OK)
        op->outcome = LIN_MISMATCH;
    op->result = is_chance(rng, 50) ? state : LIN_ANY;
    return state;
}

void random_history(struct rng *rng, const struct history_shape *shape, uint64_t key,
                    struct lin_op ops[])
{
    uint64_t *free_at = mem_array(shape->n_clients, sizeof *free_at);
    struct moment *moments = mem_array(shape->n_ops, sizeof *moments);
    size_t n_moments = 0;
    for (size_t i = 0; i < shape->n_ops; i++) {
        unsigned client = 0;
        for (unsigned c = 1; c < shape->n_clients; c++)
            client = free_at[c] < free_at[client] ? c : client;
        ops[i] = random_call(rng, shape, i);
        ops[i].key = key;
        ops[i].client = client;
        ops[i].call = free_at[client] + rng_range(rng, 0, GAP_MAX);
        ops[i].end = ops[i].call + rng_range(rng, 0, DURATION_MAX);
        free_at[client] = ops[i].end + 1;
        bool is_unknown = ops[i].outcome == LIN_UNKNOWN;
        uint64_t latest = ops[i].end + (is_unknown && is_chance(rng, 30) ? 10 * DURATION_MAX : 0);
        if (!is_unknown || is_chance(rng, 50))
            moments[n_moments++] = (struct moment){rng_range(rng, ops[i].call, latest), i};
    }
    qsort(moments, n_moments, sizeof *moments, compare_moments);
    uint64_t state = LIN_ABSENT;
    for (size_t i = 0; i < n_moments; i++)
        state = take_effect(rng, &ops[moments[i].op], state);
    mem_free(moments);
    mem_free(free_at);
}
