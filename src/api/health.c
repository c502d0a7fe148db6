/* SPDX-License-Identifier: MIT
 * GET /healthz: the process works; no quorum is needed, and the node is not
 * asked. GET /readyz: this node can serve; a linearizable read succeeds here.
 * Each check is named in the body.
 */
#include "api/handlers.h"

#include <string.h>

#include "api/json_out.h"
#include "api/reply.h"
#include "base/clock.h"

/* The loop of the node turns at every tick. One that stands still for so long hangs. */
#define STALLED_MS 5000
/* A probe that waits longer, unless it says so, is no use to whoever probes. */
#define READY_MS 1000

/* {"ready":true,"checks":{"cluster":"ok",...}} with these checks, all ok but perhaps the last. */
struct check {
    const char *name, *text;
};

static void answer(struct http_exchange *x, const char *what, const struct check checks[],
                   unsigned n)
{
    bool ok = strcmp(checks[n - 1].text, "ok") == 0;
    buf_clear(&x->out);
    buf_printf(&x->out, "{\"%s\":%s,\"checks\":{", what, ok ? "true" : "false");
    for (unsigned i = 0; i < n; i++) {
        buf_printf(&x->out, "%s\"%s\":", i ? "," : "", checks[i].name);
        json_out_text(&x->out, checks[i].text, strlen(checks[i].text));
    }
    buf_append_str(&x->out, "}}");
    x->status = ok ? 200 : 503;
}

static bool node_works(struct http_exchange *x)
{
    return clock_now_ms() - node_last_turn_ms(x->server->node) < STALLED_MS;
}

#define STALLED_TEXT "the node's loop has stood still for seconds"

void healthz_start(struct http_exchange *x)
{
    struct check process = {"process", node_works(x) ? "ok" : STALLED_TEXT};
    answer(x, "healthy", &process, 1);
}

void readyz_start(struct http_exchange *x)
{
    struct check process = {"process", STALLED_TEXT};
    if (!node_works(x)) {
        answer(x, "ready", &process, 1);
        return;
    }
    struct node_request *r = node_request_new(NODE_READ);
    uint32_t timeout_ms = http_timeout_ms(x);
    if (x->query.timeout_ms == 0 && timeout_ms > READY_MS)
        timeout_ms = READY_MS;
    r->deadline_ms = clock_now_ms() + timeout_ms;
    http_submit(x, r);
}

/* What a read came to says how far it got. */
void readyz_finish(struct http_exchange *x)
{
    struct check checks[] = {
        {"process", "ok"}, {"cluster", "ok"}, {"leader", "ok"}, {"read", "ok"}};
    switch (x->request->err) {
    case 0:
        answer(x, "ready", checks, 4);
        break;
    case ERR_SHUTDOWN:
        checks[0].text = "this node is shutting down";
        answer(x, "ready", checks, 1);
        break;
    case ERR_UNINITIALIZED:
        checks[1].text = "this node belongs to no cluster yet; GET /v1/status says what to do";
        answer(x, "ready", checks, 2);
        break;
    case ERR_NO_LEADER:
    case ERR_NOT_LEADER:
        checks[2].text = "no leader that a majority follows; GET /v1/status says what to do";
        answer(x, "ready", checks, 3);
        break;
    default:
        checks[3].text = err_text(x->request->err);
        answer(x, "ready", checks, 4);
    }
}
