/* SPDX-License-Identifier: MIT
 * Prints the longest order found and what could not follow it.
 */
#include "lin/explain.h"

#include <inttypes.h>

enum { LINES_MAX = 20 };

static void put_value(struct buf *out, uint64_t value)
{
    if (value == LIN_ABSENT)
        buf_append_str(out, "absent");
    else if (value == LIN_PRESENT)
        buf_append_str(out, "some value");
    else
        buf_printf(out, "%" PRIu64, value);
}

static void put_before(struct buf *out, const struct lin_op *op)
{
    if (op->outcome != LIN_OK || op->result == LIN_ANY)
        return;
    buf_append_str(out, ", told that it held ");
    put_value(out, op->result);
}

static void put_what(struct buf *out, const struct lin_op *op)
{
    switch (op->kind) {
    case LIN_READ:
        buf_append_str(out, "reads ");
        put_value(out, op->result);
        break;
    case LIN_WRITE:
        buf_append_str(out, "writes ");
        put_value(out, op->value);
        put_before(out, op);
        break;
    case LIN_DELETE:
        buf_append_str(out, "deletes");
        put_before(out, op);
        break;
    case LIN_CAS:
        buf_append_str(out, "swaps ");
        put_value(out, op->expected);
        buf_append_str(out, " for ");
        put_value(out, op->value);
        break;
    }
    if (op->outcome == LIN_UNKNOWN)
        buf_append_str(out, ", outcome unknown");
    if (op->outcome != LIN_MISMATCH)
        return;
    buf_append_str(out, ", told of a mismatch");
    if (op->result == LIN_ANY)
        return;
    buf_append_str(out, " with ");
    put_value(out, op->result);
}

static void put_op(struct buf *out, const struct lin_op *op)
{
    buf_printf(out, "[%" PRIu64 ", ", op->call);
    if (op->outcome == LIN_UNKNOWN)
        buf_append_str(out, "?");
    else
        buf_printf(out, "%" PRIu64, op->end);
    buf_printf(out, "] client %" PRIu64 " ", op->client);
    put_what(out, op);
}

static void put_order(struct buf *out, const struct search *s, const struct lin_op *ops)
{
    uint32_t skip = s->n_order > LINES_MAX ? s->n_order - LINES_MAX : 0;
    if (skip > 0)
        buf_printf(out, "    ... %" PRIu32 " operations\n", skip);
    for (uint32_t i = skip; i < s->n_order; i++) {
        buf_append_str(out, "    ");
        put_op(out, &ops[s->items[s->order[i].item].op]);
        buf_append_str(out, "\n");
    }
}

static void put_obstacle(struct buf *out, const struct search_item *item, uint64_t state)
{
    const struct move *m = &item->move;
    if (m->need == MOVE_NEVER)
        buf_append_str(out, "contradicts itself");
    else if (move_fits(m, state))
        buf_append_str(out, item->optional
                                ? "may come, and does not help"
                                : "fits, and no order that goes on with it gets further");
    else if (m->need == MOVE_UNLESS)
        buf_append_str(out, "needs another value");
    else {
        buf_append_str(out, "needs ");
        put_value(out, m->what);
    }
}

/* Whether it is worth a line among what could come next. */
static bool is_choice(const struct search *s, const struct search_item *item)
{
    if (!item->optional)
        return true;
    bool is_turn = item->twin == SEARCH_NONE || s->items[item->twin].placed;
    return is_turn && item->move.leaves != s->state;
}

static void put_choices(struct buf *out, const struct search *s, const struct lin_op *ops)
{
    unsigned n = 0;
    for (uint32_t e = s->entries[0].next; !s->entries[e].is_end; e = s->entries[e].next) {
        const struct search_item *item = &s->items[s->entries[e].item];
        if (!is_choice(s, item) || ++n > LINES_MAX)
            continue;
        buf_append_str(out, "    ");
        put_op(out, &ops[item->op]);
        buf_append_str(out, ": ");
        put_obstacle(out, item, s->state);
        buf_append_str(out, "\n");
    }
    if (n > LINES_MAX)
        buf_printf(out, "    ... %u operations\n", n - LINES_MAX);
}

void explain_violation(const struct search *s, const struct lin_op *ops, struct buf *out)
{
    const struct lin_op *stuck = &ops[s->items[s->entries[s->stuck_entry].item].op];
    buf_printf(out, "key %" PRIu64 " is not linearizable (%" PRIu32 " operations)\n", stuck->key,
               s->n_items);
    buf_append_str(out, "  no order that agrees with all answers gets past the end of\n    ");
    put_op(out, stuck);
    buf_printf(out, "\n  the longest one has %" PRIu32 " operations:\n", s->n_order);
    put_order(out, s, ops);
    buf_append_str(out, "  then the key holds ");
    put_value(out, s->state);
    buf_append_str(out, ", and next would have to come one of\n");
    put_choices(out, s, ops);
}

void explain_giving_up(const struct search *s, uint64_t key, struct buf *out)
{
    buf_printf(out,
               "key %" PRIu64 ": gave up after %" PRIu64 " steps and %zu bytes of states"
               " (%" PRIu32 " operations, %" PRIu32 " of them unknown)\n",
               key, s->steps, seen_bytes(&s->seen), s->n_items, s->n_items - s->n_required);
}
