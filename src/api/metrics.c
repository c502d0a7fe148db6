/* SPDX-License-Identifier: MIT
 * GET /metrics: METRICS of API.md as JSON, or Prometheus text when the client
 * accepts text/plain or openmetrics.
 */
#define _GNU_SOURCE /* strcasestr */
#include "api/handlers.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "api/json_out.h"
#include "api/reply.h"

static const char *state_text(int state)
{
    switch (state) {
    case NODE_STATE_FOLLOWER:
        return "Follower";
    case NODE_STATE_CANDIDATE:
        return "Candidate";
    case NODE_STATE_LEADER:
        return "Leader";
    }
    return "Learner";
}

/* One voter set as an array of ids. */
static void write_voters(struct buf *b, const struct node_status *s, bool old)
{
    const char *comma = "";
    buf_append(b, "[", 1);
    for (unsigned i = 0; i < s->n_members; i++) {
        if (!(old ? s->members[i].voter_old : s->members[i].voter))
            continue;
        buf_append_str(b, comma);
        json_out_uuid(b, s->members[i].id);
        comma = ",";
    }
    buf_append(b, "]", 1);
}

static void write_membership(struct buf *b, const struct node_status *s)
{
    buf_append_str(b, "\"membership_config\":{\"log_id\":");
    json_out_log_id(b, &s->config_id);
    buf_append_str(b, ",\"membership\":{\"configs\":[");
    if (s->joint) {
        write_voters(b, s, true);
        buf_append(b, ",", 1);
    }
    if (s->n_members > 0)
        write_voters(b, s, false);
    buf_append_str(b, "],\"nodes\":{");
    for (unsigned i = 0; i < s->n_members; i++) {
        buf_append_str(b, i ? "," : "");
        json_out_uuid(b, s->members[i].id);
        buf_append_str(b, ":{\"addr\":");
        json_out_text(b, s->members[i].addr, strlen(s->members[i].addr));
        buf_append(b, "}", 1);
    }
    buf_append_str(b, "}}}");
}

static void write_replication(struct buf *b, const struct node_status *s)
{
    buf_append_str(b, ",\"replication\":");
    if (s->state != NODE_STATE_LEADER) {
        buf_append_str(b, "null");
        return;
    }
    for (unsigned i = 0; i < s->n_members; i++) {
        buf_append(b, i ? "," : "{", 1);
        json_out_uuid(b, s->members[i].id);
        buf_append_str(b, ":{\"matched\":");
        json_out_log_id(b, &s->members[i].matched);
        buf_append(b, "}", 1);
    }
    buf_append_str(b, s->n_members ? "}" : "{}");
}

static void write_metrics(struct buf *b, const struct node_status *s)
{
    buf_append_str(b, "{\"Ok\":{\"running_state\":{\"Ok\":null},\"id\":");
    json_out_uuid(b, s->id);
    buf_printf(b, ",\"current_term\":%" PRIu64 ",\"last_log_index\":%" PRIu64, s->term,
               s->last_log_index);
    buf_append_str(b, ",\"last_applied\":");
    json_out_log_id(b, &s->applied);
    buf_append_str(b, ",\"snapshot\":");
    json_out_log_id(b, &s->snapshot);
    buf_printf(b, ",\"state\":\"%s\",\"current_leader\":", state_text(s->state));
    json_out_uuid(b, s->leader);
    buf_append(b, ",", 1);
    write_membership(b, s);
    write_replication(b, s);
    buf_append_str(b, "}}");
}

static bool wants_prometheus(const char *accept)
{
    return accept && (strcasestr(accept, "text/plain") || strcasestr(accept, "openmetrics"));
}

void metrics_start(struct http_exchange *x)
{
    http_submit(x, node_request_new(NODE_STATUS));
}

void metrics_finish(struct http_exchange *x)
{
    if (x->request->err) {
        reply_node_error(x);
        return;
    }
    if (wants_prometheus(x->headers.accept)) {
        prometheus_answer(x);
        return;
    }
    write_metrics(&x->out, x->request->ret.status);
    reply_ok(x);
}
