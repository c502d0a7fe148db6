/* SPDX-License-Identifier: MIT
 * Keeps the operations and hands them to the search, a key at a time.
 */
#include "lin/lin.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "lin/explain.h"
#include "lin/search.h"

enum { OPS_MIN = 256 };

/* A call or an end. */
struct event {
    uint64_t key;
    uint64_t time;
    bool is_end;
    size_t op;
};

struct lin {
    struct lin_op *ops; /* owned */
    size_t n_ops, ops_max;
    struct event *events; /* owned: scratch of a check, as the rest */
    size_t n_events, events_max;
    uint32_t *items; /* owned: by operation, its number in the search */
    size_t items_max;
    struct search search;
    struct buf explanation;
};

struct lin *lin_new(void)
{
    return mem_zalloc(sizeof(struct lin));
}

void lin_free(struct lin **lin)
{
    if (!*lin)
        return;
    mem_free((*lin)->ops);
    mem_free((*lin)->events);
    mem_free((*lin)->items);
    search_free(&(*lin)->search);
    buf_free(&(*lin)->explanation);
    MEM_FREE(*lin);
}

void lin_clear(struct lin *lin)
{
    lin->n_ops = 0;
    buf_clear(&lin->explanation);
}

size_t lin_count(const struct lin *lin)
{
    return lin->n_ops;
}

static bool is_value(uint64_t value)
{
    return value != LIN_PRESENT && value != LIN_ANY;
}

size_t lin_begin(struct lin *lin, const struct lin_op *op)
{
    bool writes = op->kind == LIN_WRITE || op->kind == LIN_CAS;
    ASSERT(!writes || (is_value(op->value) && op->value != LIN_ABSENT));
    ASSERT(op->kind != LIN_CAS || is_value(op->expected));
    if (lin->n_ops == lin->ops_max) {
        lin->ops_max = lin->n_ops ? 2 * lin->n_ops : OPS_MIN;
        lin->ops = mem_realloc(lin->ops, lin->ops_max * sizeof lin->ops[0]);
    }
    struct lin_op *mine = &lin->ops[lin->n_ops];
    *mine = *op;
    mine->outcome = LIN_UNKNOWN;
    mine->result = LIN_ANY;
    return lin->n_ops++;
}

void lin_end(struct lin *lin, size_t id, uint64_t end, enum lin_outcome outcome, uint64_t result)
{
    ASSERT(id < lin->n_ops);
    struct lin_op *op = &lin->ops[id];
    ASSERT(outcome == LIN_UNKNOWN || end >= op->call);
    ASSERT(outcome != LIN_MISMATCH || (op->kind == LIN_CAS && result != LIN_PRESENT));
    op->outcome = outcome;
    op->end = end;
    op->result = result;
}

void lin_add(struct lin *lin, const struct lin_op *op)
{
    lin_end(lin, lin_begin(lin, op), op->end, op->outcome, op->result);
}

/* At the same time calls come first: the operations count as overlapping. */
static int compare_events(const void *left, const void *right)
{
    const struct event *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (a->is_end != b->is_end)
        return a->is_end ? 1 : -1;
    return (a->op > b->op) - (a->op < b->op);
}

static void collect_events(struct lin *lin)
{
    if (lin->events_max < 2 * lin->n_ops) {
        lin->events_max = 2 * lin->n_ops;
        lin->events = mem_realloc(lin->events, lin->events_max * sizeof lin->events[0]);
    }
    if (lin->items_max < lin->n_ops) {
        lin->items_max = lin->n_ops;
        lin->items = mem_realloc(lin->items, lin->items_max * sizeof lin->items[0]);
    }
    lin->n_events = 0;
    for (size_t i = 0; i < lin->n_ops; i++) {
        const struct lin_op *op = &lin->ops[i];
        struct move move;
        enum move_duty duty = move_of(op, &move);
        if (duty != MOVE_DROPPED)
            lin->events[lin->n_events++] = (struct event){op->key, op->call, false, i};
        if (duty == MOVE_REQUIRED)
            lin->events[lin->n_events++] = (struct event){op->key, op->end, true, i};
    }
    if (lin->n_events > 0)
        qsort(lin->events, lin->n_events, sizeof lin->events[0], compare_events);
}

static void add_to_search(struct lin *lin, const struct event *event)
{
    if (event->is_end) {
        search_add_end(&lin->search, lin->items[event->op]);
        return;
    }
    struct move move;
    enum move_duty duty = move_of(&lin->ops[event->op], &move);
    lin->items[event->op] = search_add_call(&lin->search, event->op, &move, duty == MOVE_OPTIONAL);
}

/* Judges the key whose events begin at *at, and moves *at behind them. */
static enum lin_verdict check_key(struct lin *lin, size_t *at, const struct lin_limits *limits)
{
    uint64_t key = lin->events[*at].key;
    search_clear(&lin->search);
    for (; *at < lin->n_events && lin->events[*at].key == key; ++*at)
        add_to_search(lin, &lin->events[*at]);
    return search_run(&lin->search, limits);
}

static void note_verdict(struct lin *lin, enum lin_verdict verdict, uint64_t key,
                         struct lin_report *report)
{
    report->n_keys++;
    report->steps += lin->search.steps;
    if (verdict == LIN_LINEARIZABLE)
        return;
    if (verdict == LIN_VIOLATED) {
        buf_clear(&lin->explanation);
        search_return_to_stuck(&lin->search);
        explain_violation(&lin->search, lin->ops, &lin->explanation);
    } else {
        explain_giving_up(&lin->search, key, &lin->explanation);
        if (report->n_keys_gave_up++ > 0)
            return;
    }
    report->verdict = verdict;
    report->key = key;
}

enum lin_verdict lin_check(struct lin *lin, const struct lin_limits *limits,
                           struct lin_report *ret_report)
{
    static const struct lin_limits defaults = {LIN_STEPS_DEFAULT, LIN_BYTES_DEFAULT};
    struct lin_report report = {.verdict = LIN_LINEARIZABLE, .n_ops = lin->n_ops};
    buf_clear(&lin->explanation);
    collect_events(lin);
    for (size_t at = 0; at < lin->n_events && report.verdict != LIN_VIOLATED;) {
        uint64_t key = lin->events[at].key;
        note_verdict(lin, check_key(lin, &at, limits ? limits : &defaults), key, &report);
    }
    report.explanation = buf_str(&lin->explanation);
    *ret_report = report;
    return report.verdict;
}
