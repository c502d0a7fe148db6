/* SPDX-License-Identifier: MIT
 * The status of the whole cluster at any node: what only the leader knows
 * (who answers, who lags) is asked of it. Where it does not answer soon, the
 * status is what this node knows, and says so: who asks for it may well do so
 * because something is broken.
 */
#include <string.h>

#include "base/mem.h"
#include "node/driver.h"

#define ASK_MS 1000

/* A request that waits for the leader's answer. */
struct overview {
    struct list link;
    uint64_t id;
    struct node_request *request;
    uint64_t until_ms;
};

static void finish(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    r->ret.status = mem_zalloc(sizeof *r->ret.status);
    driver_status(d, r->ret.status);
    if (m)
        driver_status_merge(d, r->ret.status, m);
    driver_done(r, 0);
}

void overview_request(struct driver *d, struct node_request *r)
{
    const struct raft_member *leader = driver_member(d, raft_status(d->raft).leader);
    bool is_known = !leader || uuid_equal(leader->id, d->identity.node);
    if (!r->in.status.of_leader || is_known || d->stopping) {
        finish(d, r, NULL);
        return;
    }
    struct overview *o = mem_zalloc(sizeof *o);
    uint64_t left_ms = r->deadline_ms > d->now_ms ? r->deadline_ms - d->now_ms : 1;
    uint32_t wait_ms = left_ms < ASK_MS ? (uint32_t)left_ms : ASK_MS;
    struct wire_message m = {.header =
                                 peer_header(d, WIRE_STATUS, leader->id, leader->incarnation)};
    o->id = ++d->exchanges.id_last;
    o->request = r;
    o->until_ms = d->now_ms + wait_ms;
    list_push_back(&d->overviews, &o->link);
    exchange_ask(d, EXCHANGE_STATUS, TRANSPORT_STATUS, TRANSPORT_CONTROL, move_addr(d, leader),
                 wait_ms, &m)
        ->owner = o->id;
}

void overview_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    LIST_FOREACH (it, &d->overviews) {
        struct overview *o = LIST_ENTRY(it, struct overview, link);
        if (o->id != x->owner)
            continue;
        list_remove(&o->link);
        finish(d, o->request, err == 0 && m->status_reply.leads ? m : NULL);
        mem_free(o);
        return;
    }
}

void overview_expire(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->overviews) {
        struct overview *o = LIST_ENTRY(it, struct overview, link);
        if (!all && o->until_ms > d->now_ms)
            continue;
        list_remove(&o->link);
        finish(d, o->request, NULL);
        mem_free(o);
    }
}

/* ---- the leader's part ---- */

static struct wire_member_status member_of(const struct node_member_status *s)
{
    struct wire_member_status out = {.id = s->id,
                                     .match = s->matched.index,
                                     .lag = s->lag,
                                     .rtt_us = s->rtt_us,
                                     .heard_us_ago = s->heard ? s->heard_us_ago : 0,
                                     .digest_index = s->digest.index,
                                     .digest = s->digest.digest,
                                     .digest_compared = (uint8_t)s->digest.compared,
                                     .alive = s->alive,
                                     .caught_up = s->caught_up,
                                     .heard = s->heard,
                                     .lost_data = s->lost_data,
                                     .in_snapshot = s->in_snapshot,
                                     .full = s->full};
    memcpy(out.addr, s->addr, sizeof out.addr);
    return out;
}

void overview_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    struct wire_message *answer = mem_zalloc(sizeof *answer);
    struct node_status *s = mem_zalloc(sizeof *s);
    struct raft_pos config_pos;
    const struct raft_config *c = raft_config(d->raft, &config_pos);
    driver_status(d, s);
    answer->header.type = WIRE_STATUS_REPLY;
    answer->status_reply.leads = s->leader_view;
    answer->status_reply.full = s->full;
    answer->status_reply.joint = s->joint;
    answer->status_reply.config_pos = config_pos;
    answer->status_reply.n_members = s->n_members;
    for (unsigned i = 0; i < s->n_members; i++) {
        answer->status_reply.members[i] = member_of(&s->members[i]);
        answer->status_reply.members[i].roles = c->members[i].roles;
    }
    peer_answer(d, r, &m->header, answer);
    mem_free(s);
    mem_free(answer);
}
