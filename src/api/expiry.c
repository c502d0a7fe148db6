/* SPDX-License-Identifier: MIT */
#include "api/expiry.h"

#include <limits.h>

#include "base/clock.h"

void expiry_add(struct list *expiring, struct http_exchange *x, uint32_t ms)
{
    unsigned stall_s = x->server->options->stall_s;
    x->lives_ms = stall_s ? stall_s * 1000 : ms;
    x->expires_ms = clock_now_ms() + x->lives_ms;
    list_push_back(expiring, &x->expiry_link);
}

void expiry_remove(struct http_exchange *x)
{
    if (x->expires_ms)
        list_remove(&x->expiry_link);
    x->expires_ms = 0;
}

void expiry_run(struct list *expiring)
{
    uint64_t now_ms = list_is_empty(expiring) ? 0 : clock_now_ms();
    LIST_FOREACH_SAFE (it, following, expiring) {
        struct http_exchange *x = LIST_ENTRY(it, struct http_exchange, expiry_link);
        if (x->expires_ms > now_ms)
            return;
        expiry_remove(x);
        x->stream->expire(x);
    }
}

int expiry_left_ms(const struct list *expiring)
{
    if (list_is_empty(expiring))
        return INT_MAX;
    uint64_t now_ms = clock_now_ms(),
             at_ms = LIST_ENTRY(expiring->next, struct http_exchange, expiry_link)->expires_ms;
    return at_ms > now_ms ? (int)(at_ms - now_ms) : 0;
}
