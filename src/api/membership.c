/* SPDX-License-Identifier: MIT
 * /init, /get-id, /add-learner and /change-membership of the classic dialect.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <string.h>

#include "api/json_in.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "base/addr.h"

static bool read_uuid(struct json_object *json, struct uuid *ret_id)
{
    return json_object_is_type(json, json_type_string) &&
           uuid_parse_text(json_object_get_string(json), (size_t)json_object_get_string_len(json),
                           ret_id) == 0 &&
           !uuid_is_zero(*ret_id);
}

/* {"Err":{"APIError":{"Name":{ ... of which the caller writes the members. */
static void open_error(struct http_exchange *x, unsigned status, const char *name)
{
    buf_clear(&x->out);
    buf_printf(&x->out, "{\"Err\":{\"APIError\":{\"%s\":{", name);
    x->status = status;
}

static void close_error(struct http_exchange *x)
{
    buf_append_str(&x->out, "}}}}");
}

static void put_member(struct http_exchange *x, const char *name, struct uuid id)
{
    buf_printf(&x->out, "\"%s\":", name);
    json_out_uuid(&x->out, id);
}

/* Nothing, or an empty object as some scripts send it. */
static bool body_is_empty(struct http_exchange *x)
{
    if (x->body.len == 0)
        return true;
    if (!reply_read_json(x))
        return false;
    if (json_object_is_type(x->json, json_type_object) && json_object_object_length(x->json) == 0)
        return true;
    reply_bad_request(x, "/init takes no body");
    return false;
}

void init_start(struct http_exchange *x)
{
    /* A HEAD is a probe, and probes never initialise anything: it only asks what GET would say. */
    if (body_is_empty(x))
        http_submit(x, node_request_new(x->method == HTTP_HEAD ? NODE_STATUS : NODE_INIT));
}

static void reply_init_not_allowed(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    open_error(x, 409, "NotAllowed");
    buf_append_str(&x->out, "\"last_log_id\":");
    json_out_log_id(&x->out, &r->ret.admin.log_id);
    buf_printf(&x->out, ",\"vote\":{\"term\":%" PRIu64 ",", r->ret.admin.term);
    put_member(x, "node_id", r->ret.admin.vote);
    buf_printf(&x->out, ",\"committed\":%s}", r->ret.admin.vote_committed ? "true" : "false");
    close_error(x);
}

void init_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    if (r->err == ERR_NOT_ALLOWED)
        reply_init_not_allowed(x);
    else if (r->err)
        reply_node_error(x);
    else if (r->type == NODE_STATUS && r->ret.status->n_members > 0)
        open_error(x, 409, "NotAllowed"); /* a HEAD: nobody sees the body */
    else
        reply_ok_word(x, "Initialized");
}

void get_id_start(struct http_exchange *x)
{
    json_out_uuid(&x->out, node_id(x->server->node));
    reply_ok(x);
}

void add_learner_start(struct http_exchange *x)
{
    struct uuid id;
    struct addr addr;
    if (!reply_read_json(x))
        return;
    struct json_object *pair = x->json, *text;
    if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2 ||
        !json_object_is_type(json_object_array_get_idx(pair, 1), json_type_string)) {
        reply_bad_request(x, "expected [\"<node id>\",\"HOST:PORT\"]");
        return;
    }
    text = json_object_array_get_idx(pair, 1);
    if (!read_uuid(json_object_array_get_idx(pair, 0), &id)) {
        reply_bad_request(x, "the first item is not a node id as /get-id gives it");
        return;
    }
    const char *host_port = json_object_get_string(text);
    if (strlen(host_port) != (size_t)json_object_get_string_len(text) ||
        strlen(host_port) > LIMIT_ADDR_BYTES || addr_parse(host_port, &addr) != 0) {
        reply_bad_request(x, "the second item is not HOST:PORT");
        return;
    }
    struct node_request *r = node_request_new(NODE_ADD_LEARNER);
    r->in.add_learner.id = id;
    addr_format(&addr, r->in.add_learner.addr);
    http_submit(x, r);
}

static void reply_in_progress(struct http_exchange *x)
{
    open_error(x, 409, "ChangeMembershipError");
    buf_append_str(&x->out, "\"InProgress\":{\"membership_log_id\":");
    json_out_log_id(&x->out, &x->request->ret.admin.log_id);
    buf_append_str(&x->out, "}");
    close_error(x);
}

void add_learner_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    switch (r->err) {
    case 0:
        reply_ok_word(x, "Added");
        return;
    case ERR_UNREACHABLE:
        reply_api_err(x, 502, "NetworkError", "%s cannot be reached", r->in.add_learner.addr);
        return;
    case ERR_ID_MISMATCH:
        open_error(x, 409, "IdMismatch");
        put_member(x, "expected", r->in.add_learner.id);
        break;
    case ERR_CLUSTER_MISMATCH:
        open_error(x, 409, "ClusterMismatch");
        put_member(x, "expected", r->ret.admin.cluster);
        break;
    case ERR_INCARNATION_MISMATCH:
        reply_api_err(x, 409, "IncarnationMismatch",
                      "the node at %s has the id of a member, but not its disk; empty its data "
                      "directory, so that it gets an id of its own",
                      r->in.add_learner.addr);
        return;
    case ERR_IN_PROGRESS:
        reply_in_progress(x);
        return;
    case ERR_TOO_LARGE:
        open_error(x, 409, "ChangeMembershipError");
        buf_printf(&x->out, "\"TooManyMembers\":{\"max\":%d}", LIMIT_MEMBERS);
        close_error(x);
        return;
    default:
        reply_node_error(x);
        return;
    }
    buf_append(&x->out, ",", 1);
    put_member(x, "found", r->ret.admin.found);
    close_error(x);
}

static void reply_empty_membership(struct http_exchange *x)
{
    reply_err_json(x, 400, "{\"APIError\":{\"ChangeMembershipError\":\"EmptyMembership\"}}");
}

void change_membership_start(struct http_exchange *x)
{
    if (!reply_read_json(x))
        return;
    if (!json_object_is_type(x->json, json_type_array)) {
        reply_bad_request(x, "expected an array of node ids");
        return;
    }
    size_t n = json_object_array_length(x->json);
    if (n == 0) {
        reply_empty_membership(x);
        return;
    }
    if (n > LIMIT_MEMBERS) {
        reply_bad_request(x, "a cluster has at most %d members", LIMIT_MEMBERS);
        return;
    }
    struct node_request *r = node_request_new(NODE_CHANGE_MEMBERSHIP);
    struct uuid *ids = r->in.change_membership.ids;
    for (size_t i = 0; i < n && x->status == 0; i++) {
        if (!read_uuid(json_object_array_get_idx(x->json, i), &ids[i]))
            reply_bad_request(x, "item %zu is not a node id as /get-id gives it", i + 1);
        for (size_t k = 0; k < i && x->status == 0; k++)
            if (uuid_equal(ids[k], ids[i]))
                reply_bad_request(x, "item %zu repeats item %zu", i + 1, k + 1);
    }
    r->in.change_membership.n_ids = (unsigned)n;
    if (x->status == 0)
        http_submit(x, r);
    else
        node_request_free(&r);
}

void change_membership_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    switch (r->err) {
    case 0:
        reply_ok_word(x, "Changed");
        return;
    case ERR_EMPTY:
        reply_empty_membership(x);
        return;
    case ERR_NOT_FOUND:
        open_error(x, 404, "ChangeMembershipError");
        buf_append_str(&x->out, "\"LearnerNotFound\":{");
        put_member(x, "node_id", r->ret.admin.id);
        break;
    case ERR_LAGGING:
        open_error(x, 409, "ChangeMembershipError");
        buf_append_str(&x->out, "\"LearnerIsLagging\":{");
        put_member(x, "node_id", r->ret.admin.id);
        buf_printf(&x->out, ",\"distance\":%" PRIu64, r->ret.admin.distance);
        break;
    case ERR_IN_PROGRESS:
        reply_in_progress(x);
        return;
    default:
        reply_node_error(x);
        return;
    }
    buf_append(&x->out, "}", 1);
    close_error(x);
}
