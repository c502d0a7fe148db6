/* SPDX-License-Identifier: MIT
 * What an operation asks of a register and does to it: all kinds and outcomes
 * in one form.
 */
#ifndef TESTS_LIN_MOVE_H
#define TESTS_LIN_MOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "lin/lin.h"

enum move_need {
    MOVE_ALWAYS, /* possible whatever the register holds */
    MOVE_IF,     /* if it holds `what` */
    MOVE_UNLESS, /* if it holds anything but `what` */
    MOVE_NEVER,  /* a result that contradicts itself */
};

struct move {
    enum move_need need;
    uint64_t what;
    bool only_looks; /* leaves what it finds */
    uint64_t leaves; /* else */
};

enum move_duty {
    MOVE_REQUIRED, /* has a place in every order */
    MOVE_OPTIONAL, /* may have one, after its call */
    MOVE_DROPPED,  /* without effect and telling nothing */
};

/* *ret_move is untouched when the operation is dropped. */
enum move_duty move_of(const struct lin_op *op, struct move *ret_move);

static inline bool move_fits(const struct move *m, uint64_t state)
{
    switch (m->need) {
    case MOVE_ALWAYS:
        return true;
    case MOVE_IF:
        return m->what == state;
    case MOVE_UNLESS:
        return m->what != state;
    case MOVE_NEVER:
        break;
    }
    return false;
}

static inline uint64_t move_apply(const struct move *m, uint64_t state)
{
    return m->only_looks ? state : m->leaves;
}

#endif
