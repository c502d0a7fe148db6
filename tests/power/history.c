/* SPDX-License-Identifier: MIT
 * What histories of logs and of states have in common.
 */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "record.h"

unsigned history_kinds(void)
{
    return history_log_kinds + history_state_kinds + history_node_kinds;
}

enum history_group history_group(unsigned kind)
{
    return kind < history_log_kinds                         ? HISTORY_LOG
           : kind < history_log_kinds + history_state_kinds ? HISTORY_STATE
                                                            : HISTORY_NODE;
}

unsigned history_kind_in_group(unsigned kind)
{
    const unsigned first[HISTORY_GROUPS] = {0, history_log_kinds,
                                            history_log_kinds + history_state_kinds};
    return kind - first[history_group(kind)];
}

const char *history_kind_name(unsigned kind)
{
    static const char *(*const names[HISTORY_GROUPS])(unsigned) = {
        history_log_kind_name, history_state_kind_name, history_node_kind_name};
    return names[history_group(kind)](history_kind_in_group(kind));
}

uint64_t history_mixed(uint64_t a, uint64_t b)
{
    struct rng r = {a ^ (b * 0xd1342543de82ef95u)};
    return rng_next(&r);
}

void history_add_state(struct history *h, const struct expected *s)
{
    if (h->n_states == h->cap_states) {
        h->cap_states = h->cap_states ? 2 * h->cap_states : 64;
        h->states = mem_realloc(h->states, h->cap_states * sizeof *h->states);
    }
    h->states[h->n_states++] = *s;
}

void history_broken(const char *what, const char *why)
{
    fprintf(stderr, "power: the store fails without a fault: %s: %s\n", what, why);
    exit(3);
}

static void to_trace(void *ctx, const struct trace_op *op, const void *data)
{
    struct history *h = ctx;
    trace_add(&h->trace, op, data);
    if (h->watch)
        h->watch(h->watch_ctx, op);
}

struct history *history_record(const char *root, unsigned kind, uint64_t seed)
{
    struct history *h = mem_zalloc(sizeof *h);
    char dir[256];
    snprintf(dir, sizeof dir, "%s/data", root);
    h->seed = seed;
    h->kind = kind;
    record_seed_random(seed);
    record_begin(root, to_trace, h);
    static void (*const works[HISTORY_GROUPS])(struct history *, const char *) = {
        history_log_work, history_state_work, history_node_work};
    works[history_group(kind)](h, dir);
    record_end();
    return h;
}

void history_free(struct history **h)
{
    if (!*h)
        return;
    trace_free(&(*h)->trace);
    mem_free((*h)->states);
    MEM_FREE(*h);
}
