/* SPDX-License-Identifier: MIT
 * GET /v1/snapshot: a backup, streamed piece by piece from the file that the
 * node makes of its state. HEAD makes none: it only tells what GET would do.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/reply.h"
#include "base/clock.h"

#define PIECE_BYTES (256 * KIB)
/* The file is written before the first byte is sent, and nobody waits longer for it. */
#define OPEN_MS (60 * 60 * 1000)

void snapshot_start(struct http_exchange *x)
{
    bool head = x->method == HTTP_HEAD;
    struct node_request *r = node_request_new(head ? NODE_STATUS : NODE_SNAPSHOT_OPEN);
    if (!head && !x->query.timeout_ms)
        r->deadline_ms = clock_now_ms() + OPEN_MS;
    http_submit(x, r);
}

static enum http_more more(struct http_exchange *x, uint64_t at)
{
    uint64_t left = x->stream_size - at;
    node_request_free(&x->request);
    struct node_request *r = node_request_new(NODE_SNAPSHOT_READ);
    r->in.snapshot.id = x->snapshot;
    r->in.snapshot.offset = at;
    r->in.snapshot.len = left < PIECE_BYTES ? (uint32_t)left : PIECE_BYTES;
    http_submit(x, r);
    return HTTP_MORE_ASKED;
}

static void take(struct http_exchange *x)
{
    struct buf *data = &x->request->ret.snapshot.data;
    if (x->request->err)
        return;
    buf_free(&x->out);
    x->out = *data;
    *data = (struct buf)BUF_INIT;
}

static void closed(struct node_request *r)
{
    node_request_free(&r);
}

static void end(struct http_exchange *x)
{
    if (x->snapshot == 0)
        return;
    struct node_request *r = node_request_new(NODE_SNAPSHOT_CLOSE);
    r->in.snapshot.id = x->snapshot;
    r->done = closed;
    r->deadline_ms = clock_now_ms() + x->server->request_timeout_ms;
    node_submit(x->server->node, r);
}

static const struct http_stream stream = {.more = more, .take = take, .end = end};

void snapshot_finish(struct http_exchange *x)
{
    struct node_request *r = x->request;
    if (r->type == NODE_STATUS && r->err == 0 && r->ret.status->n_members == 0)
        r->err = ERR_UNINITIALIZED;
    if (r->err) {
        reply_node_error(x);
        return;
    }
    x->stream = &stream;
    x->stream_size = HTTP_STREAM_SIZE_UNKNOWN;
    x->content_type = "application/octet-stream";
    if (r->type == NODE_SNAPSHOT_OPEN) {
        x->stream_size = r->ret.snapshot.size;
        x->snapshot = r->ret.snapshot.id;
        x->revision = r->ret.snapshot.at.index;
        snprintf(x->disposition, sizeof x->disposition,
                 "attachment; filename=\"crabcluster-%" PRIu64 ".snapshot\"", x->revision);
    }
    reply_ok(x);
}
