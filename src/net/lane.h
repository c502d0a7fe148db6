/* SPDX-License-Identifier: MIT
 * net/'s own: DATA requests that wait for their turn, by address. Pure
 * bookkeeping: what may go out now is for the caller to send.
 */
#ifndef NET_LANE_H
#define NET_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "node/transport.h"

/* One per address that has DATA requests; gone when it has none. */
struct lane {
    struct list link;
    char addr[LIMIT_ADDR_BYTES + 1];
    unsigned in_flight;
    struct list waiting; /* struct lane_item */
};

struct lanes {
    struct list lanes;
    unsigned window;
};

void lanes_init(struct lanes *l, unsigned window);
/* Takes r into the queue of its address. */
void lanes_push(struct lanes *l, struct transport_request *r, uint64_t deadline_ms);
/* The next request that may go out, which counts as in flight then, with its
 * deadline; NULL: none. */
struct transport_request *lanes_pop(struct lanes *l, uint64_t *ret_deadline_ms);
/* One that lanes_pop() gave out is done. */
void lanes_done(struct lanes *l, const struct transport_request *r);
/* A waiting request whose deadline has passed; NULL: none. */
struct transport_request *lanes_pop_expired(struct lanes *l, uint64_t now_ms);
/* The earliest deadline of those that wait; UINT64_MAX: none waits. */
uint64_t lanes_next_deadline(const struct lanes *l);

#endif
