/* SPDX-License-Identifier: MIT
 * From an operation and its outcome to a move.
 */
#include "lin/move.h"

/* What a result says of the value before. */
static void need_result(struct move *m, uint64_t result)
{
    if (result == LIN_ANY) {
        m->need = MOVE_ALWAYS;
    } else if (result == LIN_PRESENT) {
        m->need = MOVE_UNLESS;
        m->what = LIN_ABSENT;
    } else {
        m->need = MOVE_IF;
        m->what = result;
    }
}

static struct move move_of_mismatch(const struct lin_op *op)
{
    struct move m = {.need = MOVE_UNLESS, .what = op->expected, .only_looks = true};
    if (op->result == op->expected) {
        m.need = MOVE_NEVER;
    } else if (op->result != LIN_ANY) {
        m.need = MOVE_IF;
        m.what = op->result;
    }
    return m;
}

static struct move move_of_effect(const struct lin_op *op, uint64_t result)
{
    struct move m = {.leaves = op->value};
    if (op->kind == LIN_CAS) {
        m.need = MOVE_IF;
        m.what = op->expected;
    } else {
        need_result(&m, result);
        m.only_looks = op->kind == LIN_READ;
        if (op->kind == LIN_DELETE)
            m.leaves = LIN_ABSENT;
    }
    if (m.need == MOVE_IF && m.what == m.leaves)
        m.only_looks = true;
    return m;
}

enum move_duty move_of(const struct lin_op *op, struct move *ret_move)
{
    if (op->outcome == LIN_FAILED)
        return MOVE_DROPPED;
    if (op->outcome == LIN_MISMATCH) {
        *ret_move = move_of_mismatch(op);
        return MOVE_REQUIRED;
    }
    bool told = op->outcome == LIN_OK;
    struct move m = move_of_effect(op, told ? op->result : LIN_ANY);
    if (m.only_looks && (!told || m.need == MOVE_ALWAYS))
        return MOVE_DROPPED;
    *ret_move = m;
    return told ? MOVE_REQUIRED : MOVE_OPTIONAL;
}
