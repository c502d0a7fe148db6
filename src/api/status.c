/* SPDX-License-Identifier: MIT
 * GET /v1/status and GET /v1/members: the cluster on one screen, as its leader
 * sees it; as this node does where there is none, or with consistency=stale.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <string.h>

#include "api/json_out.h"
#include "api/problems.h"
#include "api/reply.h"

void status_start(struct http_exchange *x)
{
    struct node_request *r = node_request_new(NODE_STATUS);
    r->in.status.of_leader = x->query.consistency != QUERY_STALE;
    http_submit(x, r);
}

static const char *own_addr(const struct http_exchange *x)
{
    const struct api_options *o = x->server->options;
    return o->advertise_addr ? o->advertise_addr : o->bind_addr;
}

/* ---- members ---- */

static bool is_leader(const struct node_status *s, const struct node_member_status *m)
{
    return !uuid_is_zero(s->leader) && uuid_equal(s->leader, m->id);
}

/* Opens an object with what never needs the leader. */
static void write_identity(struct buf *b, const struct node_status *s,
                           const struct node_member_status *m)
{
    buf_append_str(b, "{\"id\":");
    json_out_uuid(b, m->id);
    buf_append_str(b, ",\"addr\":");
    json_out_text(b, m->addr, strlen(m->addr));
    buf_printf(b, ",\"role\":\"%s\",\"becomes_voter\":%s,\"leader\":%s",
               m->learner ? "learner" : "voter", m->voter_soon ? "true" : "false",
               is_leader(s, m) ? "true" : "false");
}

static void write_hash(struct buf *b, const struct node_digest *d, bool leads)
{
    static const char *const agrees[] = {"null", "true", "false"};
    buf_append_str(b, ",\"state_hash\":");
    if (d->index == 0)
        buf_append_str(b, "null");
    else
        buf_printf(b, "{\"index\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\",\"agrees\":%s}", d->index,
                   d->digest, leads ? "true" : agrees[d->compared]);
}

static void write_member(struct buf *b, const struct node_status *s,
                         const struct node_member_status *m)
{
    bool leads = is_leader(s, m);
    write_identity(b, s, m);
    if (!s->leader_view) {
        buf_append_str(b, ",\"alive\":null,\"lag\":null,\"last_contact_ms\":null,\"rtt_ms\":null");
    } else {
        buf_printf(b, ",\"alive\":%s,\"lag\":%" PRIu64, m->alive ? "true" : "false", m->lag);
        if (leads || m->heard)
            buf_printf(b, ",\"last_contact_ms\":%" PRIu64, leads ? 0 : m->heard_us_ago / 1000);
        else
            buf_append_str(b, ",\"last_contact_ms\":null");
        if (m->rtt_us > 0 && !leads)
            buf_printf(b, ",\"rtt_ms\":%" PRIu64 ".%03" PRIu64, m->rtt_us / 1000, m->rtt_us % 1000);
        else
            buf_append_str(b, ",\"rtt_ms\":null");
    }
    write_hash(b, &m->digest, leads && s->leader_view);
    buf_append(b, "}", 1);
}

static void write_members(struct buf *b, const struct node_status *s, bool whole)
{
    buf_append_str(b, "\"members\":[");
    for (unsigned i = 0; i < s->n_members; i++) {
        buf_append_str(b, i ? "," : "");
        if (whole) {
            write_member(b, s, &s->members[i]);
        } else {
            write_identity(b, s, &s->members[i]);
            buf_append(b, "}", 1);
        }
    }
    buf_append(b, "]", 1);
}

/* ---- the whole ---- */

static void write_leader(struct buf *b, const struct node_status *s)
{
    buf_append_str(b, "\"leader\":");
    json_out_uuid(b, s->leader);
    buf_append(b, ",", 1);
}

static void write_head(struct http_exchange *x, const struct node_status *s, bool healthy)
{
    struct problems_quorum q = problems_quorum(s);
    struct buf *b = &x->out;
    buf_printf(b, "{\"healthy\":%s,\"cluster\":", healthy ? "true" : "false");
    json_out_uuid(b, s->cluster);
    buf_append_str(b, ",\"node\":{\"id\":");
    json_out_uuid(b, s->id);
    buf_append_str(b, ",\"addr\":");
    json_out_text(b, own_addr(x), strlen(own_addr(x)));
    buf_printf(b, ",\"version\":\"%s\",\"applied\":%" PRIu64 "},",
               x->server->options->version ? x->server->options->version : "", s->applied.index);
    write_leader(b, s);
    buf_printf(b,
               "\"view\":\"%s\",\"term\":%" PRIu64 ",\"commit_index\":%" PRIu64
               ",\"failure_tolerance\":%u,\"voters\":{\"configured\":%u,\"alive\":%u,"
               "\"quorum\":%u},",
               s->leader_view ? "leader" : "node", s->term, s->commit_index, q.tolerance,
               q.n_voters, q.n_alive, q.quorum);
}

void status_finish(struct http_exchange *x)
{
    struct buf problems = BUF_INIT;
    if (x->request->err) {
        reply_node_error(x);
        return;
    }
    const struct node_status *s = x->request->ret.status;
    bool asked = x->request->in.status.of_leader;
    unsigned n = problems_write(&problems, s, own_addr(x), asked);
    write_head(x, s, n == 0);
    write_members(&x->out, s, true);
    buf_append_str(&x->out, ",\"problems\":");
    buf_append(&x->out, problems.data, problems.len);
    buf_append(&x->out, "}", 1);
    buf_free(&problems);
    reply_ok(x);
}

void members_finish(struct http_exchange *x)
{
    if (!x->request->err && x->request->ret.status->n_members == 0)
        x->request->err = ERR_UNINITIALIZED;
    if (x->request->err) {
        reply_node_error(x);
        return;
    }
    buf_append(&x->out, "{", 1);
    write_leader(&x->out, x->request->ret.status);
    write_members(&x->out, x->request->ret.status, false);
    buf_append(&x->out, "}", 1);
    reply_ok(x);
}
