/* SPDX-License-Identifier: MIT */
#include "api/reading.h"

#include "api/reply.h"

void reading_tell_age(struct http_exchange *x)
{
    if (x->query.consistency != QUERY_STALE)
        return;
    struct node_freshness f = node_freshness(x->server->node);
    x->age_known = f.known;
    x->age_ms = f.age_ms;
}

bool reading_start(struct http_exchange *x)
{
    bool stale = x->query.consistency == QUERY_STALE;
    struct node_freshness f =
        stale ? node_freshness(x->server->node) : (struct node_freshness){.member = false};
    if (stale && f.member && f.applied >= x->query.min_revision)
        return true;
    struct node_request *r = node_request_new(NODE_READ);
    r->in.read.by_lease = x->query.consistency == QUERY_BY_LEASE;
    r->in.read.stale = stale;
    r->in.read.min_revision = x->query.min_revision;
    http_submit(x, r);
    return false;
}

bool reading_failed(struct http_exchange *x)
{
    int err = x->request->err;
    if (err == ERR_TIMEOUT)
        reply_err(x, 503, "Timeout",
                  "this node had not applied in time what the read has to see; nothing was done");
    else if (err)
        reply_node_error(x);
    return err != 0;
}
