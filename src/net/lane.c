/* SPDX-License-Identifier: MIT
 * Few addresses, short queues: lists walked from the front.
 */
#include "net/lane.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct lane_item {
    struct list link;
    uint64_t deadline_ms;
    struct transport_request *r; /* owned */
};

void lanes_init(struct lanes *l, unsigned window)
{
    ASSERT(window > 0);
    list_init(&l->lanes);
    l->window = window;
}

static struct lane *find_lane(const struct lanes *l, const char *addr)
{
    LIST_FOREACH (it, &l->lanes) {
        struct lane *lane = LIST_ENTRY(it, struct lane, link);
        if (strcmp(lane->addr, addr) == 0)
            return lane;
    }
    return NULL;
}

static struct lane *lane_new(struct lanes *l, const char *addr)
{
    struct lane *lane = mem_zalloc(sizeof *lane);
    strcpy(lane->addr, addr); /* of the same size as a request's */
    list_init(&lane->waiting);
    list_push_back(&l->lanes, &lane->link);
    return lane;
}

static void drop_if_unused(struct lane *lane)
{
    if (lane->in_flight > 0 || !list_is_empty(&lane->waiting))
        return;
    list_remove(&lane->link);
    mem_free(lane);
}

void lanes_push(struct lanes *l, struct transport_request *r, uint64_t deadline_ms)
{
    struct lane *lane = find_lane(l, r->addr);
    if (!lane)
        lane = lane_new(l, r->addr);
    struct lane_item *item = mem_zalloc(sizeof *item);
    item->deadline_ms = deadline_ms;
    item->r = r;
    list_push_back(&lane->waiting, &item->link);
}

static struct transport_request *take_item(struct lane_item *item)
{
    struct transport_request *r = item->r;
    list_remove(&item->link);
    mem_free(item);
    return r;
}

struct transport_request *lanes_pop(struct lanes *l, uint64_t *ret_deadline_ms)
{
    LIST_FOREACH (it, &l->lanes) {
        struct lane *lane = LIST_ENTRY(it, struct lane, link);
        if (lane->in_flight >= l->window || list_is_empty(&lane->waiting))
            continue;
        struct lane_item *item = LIST_ENTRY(lane->waiting.next, struct lane_item, link);
        *ret_deadline_ms = item->deadline_ms;
        lane->in_flight++;
        return take_item(item);
    }
    return NULL;
}

void lanes_done(struct lanes *l, const struct transport_request *r)
{
    struct lane *lane = find_lane(l, r->addr);
    ASSERT(lane && lane->in_flight > 0);
    lane->in_flight--;
    drop_if_unused(lane);
}

struct transport_request *lanes_pop_expired(struct lanes *l, uint64_t now_ms)
{
    LIST_FOREACH (it, &l->lanes) {
        struct lane *lane = LIST_ENTRY(it, struct lane, link);
        LIST_FOREACH (item_it, &lane->waiting) {
            struct lane_item *item = LIST_ENTRY(item_it, struct lane_item, link);
            if (item->deadline_ms > now_ms)
                continue;
            struct transport_request *r = take_item(item);
            drop_if_unused(lane);
            return r;
        }
    }
    return NULL;
}

uint64_t lanes_next_deadline(const struct lanes *l)
{
    uint64_t earliest = UINT64_MAX;
    LIST_FOREACH (it, &l->lanes) {
        struct lane *lane = LIST_ENTRY(it, struct lane, link);
        LIST_FOREACH (item_it, &lane->waiting) {
            struct lane_item *item = LIST_ENTRY(item_it, struct lane_item, link);
            if (item->deadline_ms < earliest)
                earliest = item->deadline_ms;
        }
    }
    return earliest;
}
