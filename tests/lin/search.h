/* SPDX-License-Identifier: MIT
 * The search for an order of one register's operations: Wing and Gong (1993)
 * on a list of calls and ends, with the states seen before as Lowe (2017)
 * keeps them.
 */
#ifndef TESTS_LIN_SEARCH_H
#define TESTS_LIN_SEARCH_H

#include "lin/move.h"
#include "lin/seen.h"

#define SEARCH_NONE UINT32_MAX

struct search_item {
    size_t op; /* the caller's number */
    struct move move;
    bool optional;
    bool useless; /* optional, and no other would notice: has no call in the list */
    bool placed;
    uint32_t bit;  /* among the required ones, or among the optional ones */
    uint32_t twin; /* optional: the one before it that does the same, or SEARCH_NONE */
    uint32_t call; /* entry */
    uint32_t end;  /* entry; required only */
};

/* A call or an end. Entries are in the order of time; 0 is the ring's head.
 * Those of items that are placed are taken out of the ring. */
struct search_entry {
    uint32_t item;
    bool is_end;
    uint32_t prev;
    uint32_t next;
};

struct search_frame {
    uint32_t item;
    bool forced; /* no other choice needs to be tried in its stead */
    bool was_unnoticed;
    uint64_t state; /* before */
};

struct search {
    struct search_item *items; /* owned; in the order of their calls */
    uint32_t n_items, items_max;
    struct search_entry *entries; /* owned */
    uint32_t n_entries, entries_max;
    struct search_frame *order; /* owned: what is placed, in order */
    uint32_t n_order, order_max;
    uint32_t n_required, n_optional;
    uint32_t n_required_placed;
    uint64_t state;
    bool unnoticed; /* the last one placed is optional */

    uint64_t *bits;        /* owned: which required ones are placed, then which optional ones */
    size_t required_words; /* of them */
    size_t optional_words; /* of them, with one bit to spare */
    size_t first_open;     /* the words before it are full */
    uint64_t *string;      /* owned: scratch for seen */
    size_t bits_max;       /* of both */
    uint64_t *wanted;      /* owned: scratch for what is useless */
    uint32_t wanted_max;   /* of it */
    struct seen seen;
    uint64_t steps;

    /* The end entry farthest in time that a search got stuck at, and how many were in order. */
    uint32_t stuck_entry;
    uint32_t stuck_n_order;
};

void search_free(struct search *s);

/* Begins another register. Then calls and ends are added in the order of time. */
void search_clear(struct search *s);
/* Returns the item's number. */
uint32_t search_add_call(struct search *s, size_t op, const struct move *move, bool optional);
/* Required items only, and each. */
void search_add_end(struct search *s, uint32_t item);

/* Once, after all are added. */
enum lin_verdict search_run(struct search *s, const struct lin_limits *limits);
/* After a run that found a violation: goes back to where it was stuck farthest,
 * with `order`, `state` and the ring as they were then. */
void search_return_to_stuck(struct search *s);

#endif
