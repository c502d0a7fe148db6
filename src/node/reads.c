/* SPDX-License-Identifier: MIT
 * Reads. Linearizable reads on every node (dissertation 6.4): the reads that wait at
 * one moment share one question for a read index; they are served when the
 * state machine has applied that far. A question that is lost, or that finds no
 * leader, is asked again with a new number until the deadlines pass.
 *
 * Reads by lease (PITFALLS 46) are asked in a question of their own, which the
 * core answers at once where it has a lease. The clock was read after they were
 * taken in: at that moment the lease held and the index was the latest, so that
 * a pause before the answer is sent makes it late, not wrong.
 */
#include "base/mem.h"
#include "node/driver.h"

struct read_batch {
    struct list link;
    struct list requests;
    uint64_t ctx;
    uint64_t asked_ms, asked_us;
    uint64_t confirmed_us; /* 0: not yet */
    uint64_t index;        /* once confirmed */
};

void reads_init(struct driver *d)
{
    list_init(&d->reads.waiting);
    list_init(&d->reads.by_lease);
    list_init(&d->reads.asked);
    list_init(&d->reads.confirmed);
    list_init(&d->reads.later);
    d->reads.later_least = UINT64_MAX;
}

static void end(struct driver *d, struct node_request *r, uint64_t confirmed_us, int err)
{
    figures_request_ended(d, r->taken_us, confirmed_us, NODE_PHASE_READ_INDEX, NODE_PHASE_APPLY);
    driver_done(r, err);
}

/* Everything else that the read wants is there; what is missing is its own index, perhaps. */
static void end_when_applied(struct driver *d, struct node_request *r, uint64_t confirmed_us)
{
    uint64_t wanted = r->in.read.min_revision;
    if (wanted <= machine_applied(d->machine).index) {
        end(d, r, confirmed_us, 0);
        return;
    }
    list_push_back(&d->reads.later, &r->link);
    if (wanted < d->reads.later_least)
        d->reads.later_least = wanted;
}

static void end_those_applied(struct driver *d, uint64_t applied)
{
    if (d->reads.later_least > applied)
        return;
    struct list all;
    list_init(&all);
    list_splice(&all, &d->reads.later);
    d->reads.later_least = UINT64_MAX;
    for (struct list *it; (it = list_pop_front(&all));)
        end_when_applied(d, LIST_ENTRY(it, struct node_request, link), d->now_us);
}

void reads_add(struct driver *d, struct node_request *r)
{
    if (!driver_is_member(d)) {
        driver_done(r, ERR_UNINITIALIZED);
        return;
    }
    if (r->in.read.stale) {
        end_when_applied(d, r, d->now_us);
        return;
    }
    bool by_lease = r->in.read.by_lease && driver_is_leader(d);
    list_push_back(by_lease ? &d->reads.by_lease : &d->reads.waiting, &r->link);
}

/* A follower has one question under way at a time, so that what comes meanwhile shares the next. */
static bool may_ask(const struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    if (list_is_empty(&d->reads.waiting) || uuid_is_zero(s.leader))
        return false;
    return s.role == RAFT_LEADER || list_is_empty(&d->reads.asked);
}

static void ask_again_if_lost(struct driver *d)
{
    LIST_FOREACH_SAFE (it, following, &d->reads.asked) {
        struct read_batch *b = LIST_ENTRY(it, struct read_batch, link);
        if (d->now_ms - b->asked_ms < d->o.election_min_ms)
            continue;
        list_remove(&b->link);
        list_splice(&d->reads.waiting, &b->requests);
        mem_free(b);
    }
}

static uint64_t new_batch(struct driver *d, struct list *requests)
{
    struct read_batch *b = mem_zalloc(sizeof *b);
    list_init(&b->requests);
    list_splice(&b->requests, requests);
    b->ctx = ++d->reads.ctx_last;
    b->asked_ms = d->now_ms;
    b->asked_us = d->now_us;
    list_push_back(&d->reads.asked, &b->link);
    return b->ctx;
}

void reads_pump(struct driver *d)
{
    ask_again_if_lost(d);
    if (!list_is_empty(&d->reads.by_lease))
        raft_read_lease(d->raft, new_batch(d, &d->reads.by_lease));
    if (may_ask(d))
        raft_read(d->raft, new_batch(d, &d->reads.waiting));
}

static void serve(struct driver *d, struct read_batch *b)
{
    struct list *it;
    list_remove(&b->link);
    while ((it = list_pop_front(&b->requests)) != NULL)
        end_when_applied(d, LIST_ENTRY(it, struct node_request, link), b->confirmed_us);
    mem_free(b);
}

static struct read_batch *find(struct driver *d, uint64_t ctx)
{
    LIST_FOREACH (it, &d->reads.asked) {
        struct read_batch *b = LIST_ENTRY(it, struct read_batch, link);
        if (b->ctx == ctx)
            return b;
    }
    return NULL;
}

void reads_result(struct driver *d, const struct raft_read_result *result)
{
    struct read_batch *b = find(d, result->ctx);
    if (!b)
        return; /* asked again meanwhile */
    list_remove(&b->link);
    if (result->err != 0) {
        list_splice(&d->reads.waiting, &b->requests);
        mem_free(b);
        return;
    }
    b->index = result->index;
    b->confirmed_us = d->now_us;
    figures_took(d, NODE_TOOK_READ_INDEX, b->asked_us);
    list_push_back(&d->reads.confirmed, &b->link);
}

void reads_applied(struct driver *d)
{
    uint64_t applied = machine_applied(d->machine).index;
    LIST_FOREACH_SAFE (it, following, &d->reads.confirmed) {
        struct read_batch *b = LIST_ENTRY(it, struct read_batch, link);
        if (b->index <= applied)
            serve(d, b);
    }
    end_those_applied(d, applied);
}

static void expire_requests(struct driver *d, struct list *requests, uint64_t confirmed_us, int err,
                            bool all)
{
    LIST_FOREACH_SAFE (it, following, requests) {
        struct node_request *r = LIST_ENTRY(it, struct node_request, link);
        if (!all && r->deadline_ms > d->now_ms)
            continue;
        list_remove(&r->link);
        end(d, r, confirmed_us, all ? ERR_SHUTDOWN : err);
    }
}

static void expire_batches(struct driver *d, struct list *batches, int err, bool all)
{
    LIST_FOREACH_SAFE (it, following, batches) {
        struct read_batch *b = LIST_ENTRY(it, struct read_batch, link);
        expire_requests(d, &b->requests, b->confirmed_us, err, all);
        if (list_is_empty(&b->requests)) {
            list_remove(&b->link);
            mem_free(b);
        }
    }
}

void reads_expire(struct driver *d, bool all)
{
    expire_requests(d, &d->reads.waiting, 0, ERR_NO_LEADER, all);
    expire_requests(d, &d->reads.by_lease, 0, ERR_NO_LEADER, all);
    expire_batches(d, &d->reads.asked, ERR_NO_LEADER, all);
    expire_batches(d, &d->reads.confirmed, ERR_TIMEOUT, all);
    expire_requests(d, &d->reads.later, d->now_us, ERR_TIMEOUT, all);
}
