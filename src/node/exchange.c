/* SPDX-License-Identifier: MIT */
#include "node/exchange.h"

#include <stdio.h>

#include "base/mem.h"
#include "node/driver.h"

void exchanges_init(struct exchanges *x)
{
    list_init(&x->open);
    x->id_last = 0;
}

void exchange_free(struct exchange **x)
{
    if (!*x)
        return;
    mem_free((*x)->seqs);
    MEM_FREE(*x);
}

void exchanges_free(struct exchanges *x)
{
    struct list *it;
    while ((it = list_pop_front(&x->open)) != NULL) {
        struct exchange *e = LIST_ENTRY(it, struct exchange, link);
        exchange_free(&e);
    }
}

struct exchange *exchange_ask(struct driver *d, enum exchange_kind kind, enum transport_path path,
                              enum transport_lane lane, const char *addr, uint32_t timeout_ms,
                              const struct wire_message *m)
{
    struct exchange *x = mem_zalloc(sizeof *x);
    x->id = ++d->exchanges.id_last;
    x->kind = kind;
    x->peer = m->header.to;
    if (path == TRANSPORT_APPEND && lane == TRANSPORT_CONTROL)
        x->asked_us = figures_clock_us(d);
    list_push_back(&d->exchanges.open, &x->link);

    struct transport_request *t = transport_request_new();
    t->exchange = x->id;
    t->path = path;
    t->lane = lane;
    t->timeout_ms = timeout_ms;
    snprintf(t->addr, sizeof t->addr, "%s", addr);
    wire_encode(m, &t->body);
    d->transport->send(d->transport, t);
    return x;
}

struct exchange *exchanges_take(struct exchanges *x, uint64_t id)
{
    LIST_FOREACH (it, &x->open) {
        struct exchange *e = LIST_ENTRY(it, struct exchange, link);
        if (e->id == id) {
            list_remove(&e->link);
            return e;
        }
    }
    return NULL;
}
