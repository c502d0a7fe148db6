/* SPDX-License-Identifier: MIT
 * POST /raft-*: what other nodes send goes to the node as it is.
 */
#include "api/handlers.h"
#include "api/reply.h"
#include "api/route.h"

void peer_start(struct http_exchange *x)
{
    struct node_request *r = node_request_new(NODE_PEER);
    r->in.peer.path = x->route->transport;
    r->in.peer.body = x->body;
    x->body = (struct buf)BUF_INIT;
    http_submit(x, r);
}

void peer_finish(struct http_exchange *x)
{
    struct node_request *r = x->request;
    if (r->err) {
        reply_node_error(x);
        return;
    }
    buf_free(&x->out);
    x->out = r->ret.reply.body;
    r->ret.reply.body = (struct buf)BUF_INIT;
    x->status = (unsigned)r->ret.reply.http_status;
    x->content_type = "application/octet-stream";
    /* Only what the node took for a message of its cluster earns a peer's place. */
    if (x->status == 200)
        place_make_peer(x->place);
    else if (x->place->kind == PLACE_WAITING)
        x->close = true;
}
