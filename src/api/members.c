/* SPDX-License-Identifier: MIT
 * The commands of /v1 about members, one at a time, and about who leads. What
 * went on after the time was over is no error: 202 and how to watch it.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <json-c/linkhash.h>

#include "api/json_in.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "api/route.h"
#include "base/addr.h"

/* ---- what is asked for ---- */

/* The value of a member of the body; NULL: there is none, or the request is refused because it is
 * no string. */
static struct json_object *string_of(struct http_exchange *x, const char *name)
{
    struct json_object *value;
    if (!json_object_object_get_ex(x->json, name, &value))
        return NULL;
    if (json_object_is_type(value, json_type_string))
        return value;
    reply_bad_request(x, "\"%s\" is not a string", name);
    return NULL;
}

/* An object with no other members than these, which are two. */
static bool read_object(struct http_exchange *x, const char *one, const char *two)
{
    if (!reply_read_json(x))
        return false;
    if (!json_object_is_type(x->json, json_type_object)) {
        reply_bad_request(x, "expected an object: {\"%s\":...}", one);
        return false;
    }
    json_object_object_foreach(x->json, name, value)
    {
        (void)value;
        if (strcmp(name, one) != 0 && (!two || strcmp(name, two) != 0)) {
            reply_bad_request(x, "\"%.40s\" is not known here", name);
            return false;
        }
    }
    return true;
}

static bool read_addr(struct http_exchange *x, char ret_addr[LIMIT_ADDR_BYTES + 1])
{
    struct addr addr;
    struct json_object *value = string_of(x, "addr");
    const char *text = value ? json_object_get_string(value) : "";
    size_t len = value ? (size_t)json_object_get_string_len(value) : 0;
    if (x->status != 0)
        return false;
    if (len == 0 || strlen(text) != len || len > LIMIT_ADDR_BYTES || addr_parse(text, &addr) != 0) {
        reply_bad_request(x, "\"addr\" has to be HOST:PORT of the new node");
        return false;
    }
    addr_format(&addr, ret_addr);
    return true;
}

static bool read_role(struct http_exchange *x, bool *ret_voter)
{
    struct json_object *value = string_of(x, "role");
    const char *text = value ? json_object_get_string(value) : "voter";
    if (x->status != 0)
        return false;
    *ret_voter = strcmp(text, "voter") == 0;
    if (*ret_voter || strcmp(text, "learner") == 0)
        return true;
    reply_bad_request(x, "\"role\" is \"voter\" (default) or \"learner\"");
    return false;
}

static bool read_id(struct http_exchange *x, const char *text, size_t len, struct uuid *ret_id)
{
    if (uuid_parse_text(text, len, ret_id) == 0 && !uuid_is_zero(*ret_id))
        return true;
    reply_bad_request(x, "expected the id of a member, as GET /v1/members shows it");
    return false;
}

void member_add_start(struct http_exchange *x)
{
    struct node_request *r = node_request_new(NODE_MEMBER_ADD);
    if (read_object(x, "addr", "role") && read_addr(x, r->in.member_add.addr) &&
        read_role(x, &r->in.member_add.voter))
        http_submit(x, r);
    else
        node_request_free(&r);
}

static void start_with_id(struct http_exchange *x, enum node_request_type type)
{
    struct uuid id;
    if (x->body.len > 0) {
        reply_bad_request(x, "%s takes no body", x->route->path);
        return;
    }
    if (!read_id(x, x->param, x->param_len, &id))
        return;
    struct node_request *r = node_request_new(type);
    r->in.member.id = id;
    http_submit(x, r);
}

void member_remove_start(struct http_exchange *x)
{
    start_with_id(x, NODE_MEMBER_REMOVE);
}

void member_promote_start(struct http_exchange *x)
{
    start_with_id(x, NODE_MEMBER_PROMOTE);
}

void member_demote_start(struct http_exchange *x)
{
    start_with_id(x, NODE_MEMBER_DEMOTE);
}

void transfer_start(struct http_exchange *x)
{
    struct uuid to = UUID_ZERO;
    if (x->body.len > 0) {
        if (!read_object(x, "to", NULL))
            return;
        struct json_object *value = string_of(x, "to");
        if (x->status != 0 || (value && !read_id(x, json_object_get_string(value),
                                                 (size_t)json_object_get_string_len(value), &to)))
            return;
    }
    struct node_request *r = node_request_new(NODE_TRANSFER);
    r->in.member.id = to;
    http_submit(x, r);
}

/* ---- what came of it ---- */

/* {"id":... of which the caller writes the rest. */
static void open_id(struct buf *b, struct uuid id)
{
    buf_append_str(b, "{\"id\":");
    json_out_uuid(b, id);
}

/* Errors have the id, and sometimes more, as details. Each name has room for one more pair. */
static void refuse(struct http_exchange *x, unsigned status, const char *name, const char *extra,
                   const char *text)
{
    struct buf details = BUF_INIT;
    struct uuid id = x->request->ret.admin.id;
    if (uuid_is_zero(id))
        buf_append_str(&details, "{");
    else
        open_id(&details, id);
    if (*extra)
        buf_printf(&details, "%s%s", details.len > 1 ? "," : "", extra);
    buf_append(&details, "}", 1);
    reply_v1_err(x, status, name, buf_str(&details), "%s", text);
    buf_free(&details);
}

/* What is the same for all of them; false: it is none of that. */
static bool common_error(struct http_exchange *x)
{
    switch (x->request->err) {
    case ERR_NOT_FOUND:
        refuse(x, 404, "MemberNotFound", "", "no member has this id; see GET /v1/members");
        return true;
    case ERR_IN_PROGRESS:
        refuse(x, 409, "ChangeInProgress", "",
               "another change of the members was in progress all the time; nothing was done");
        return true;
    case ERR_TOO_LARGE:
        refuse(x, 409, "TooManyMembers", "", "a cluster has at most 32 members");
        return true;
    default:
        return false;
    }
}

static void fail(struct http_exchange *x)
{
    if (!common_error(x))
        reply_node_error(x);
}

static void answer_member(struct http_exchange *x, const char *role)
{
    open_id(&x->out, x->request->ret.admin.id);
    buf_printf(&x->out, ",\"role\":\"%s\"}", role);
    reply_ok(x);
}

/* It has not caught up in time, and will be promoted all the same. */
static void answer_later(struct http_exchange *x)
{
    open_id(&x->out, x->request->ret.admin.id);
    buf_printf(&x->out,
               ",\"role\":\"learner\",\"lag\":%" PRIu64
               ",\"message\":\"it is a learner and has not caught up yet; whoever leads goes on "
               "with it by itself: watch lag and role of this id in GET /v1/status\"}",
               x->request->ret.admin.distance);
    x->status = 202;
}

static void refuse_other_cluster(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    struct buf extra = BUF_INIT;
    char text[600], theirs[UUID_TEXT_LEN + 1];
    buf_append_str(&extra, "\"cluster\":");
    json_out_uuid(&extra, r->ret.admin.cluster);
    buf_append_str(&extra, ",\"found\":");
    json_out_uuid(&extra, r->ret.admin.found);
    snprintf(text, sizeof text,
             "the node at %s belongs to another cluster, %s; nothing was changed. If its data is "
             "not needed, stop it, empty its data directory, and start it again",
             r->in.member_add.addr, uuid_format(r->ret.admin.found, theirs));
    refuse(x, 409, "ClusterMismatch", buf_str(&extra), text);
    buf_free(&extra);
}

/* The address is wrong, or who lives there is. */
static bool address_error(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    const char *addr = r->in.member_add.addr;
    char text[500];
    switch (r->err) {
    case ERR_UNREACHABLE:
        snprintf(text, sizeof text,
                 "the leader cannot reach %s; nothing was changed. Is the address right, and the "
                 "node up?",
                 addr);
        refuse(x, 502, "Unreachable", "", text);
        return true;
    case ERR_INVALID:
        snprintf(text, sizeof text,
                 "what answers at %s is no crabcluster node; nothing was changed", addr);
        refuse(x, 502, "NotANode", "", text);
        return true;
    case ERR_CLUSTER_MISMATCH:
        refuse_other_cluster(x);
        return true;
    case ERR_INCARNATION_MISMATCH:
        snprintf(text, sizeof text,
                 "the node at %s has the id of a member, but not its disk; empty its data "
                 "directory, so that it gets an id of its own",
                 addr);
        refuse(x, 409, "IncarnationMismatch", "", text);
        return true;
    case ERR_EXISTS:
        snprintf(text, sizeof text,
                 "the node at %s is a member already; promote and demote change its role", addr);
        refuse(x, 409, "AlreadyMember", "", text);
        return true;
    default:
        return false;
    }
}

void member_add_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    if (r->err == ERR_TIMEOUT) {
        answer_later(x);
    } else if (r->err == 0) {
        open_id(&x->out, r->ret.admin.id);
        buf_append_str(&x->out, ",\"addr\":");
        json_out_text(&x->out, r->in.member_add.addr, strlen(r->in.member_add.addr));
        buf_printf(&x->out, ",\"role\":\"%s\"}", r->in.member_add.voter ? "voter" : "learner");
        x->status = 201;
    } else if (!address_error(x)) {
        fail(x);
    }
}

/* The arithmetic of a vote that may not go. */
static void refuse_quorum(struct http_exchange *x)
{
    const struct node_admin_result *a = &x->request->ret.admin;
    unsigned needed = a->n_voters / 2 + 1;
    char text[400], extra[100];
    snprintf(extra, sizeof extra, "\"voters\":%u,\"alive\":%u,\"quorum\":%u", a->n_voters,
             a->n_alive, needed);
    snprintf(text, sizeof text,
             "without its vote there would be %u voter%s, of which %u answer%s and %u are needed: "
             "no write would ever succeed again. Start a voter that is down, add one, or remove "
             "one that is down first",
             a->n_voters, a->n_voters == 1 ? "" : "s", a->n_alive, a->n_alive == 1 ? "s" : "",
             needed);
    refuse(x, 409, "WouldLoseQuorum", extra, text);
}

static void fail_to_take(struct http_exchange *x)
{
    if (x->request->err == ERR_NO_QUORUM)
        refuse_quorum(x);
    else if (x->request->err == ERR_EMPTY)
        refuse(x, 409, "LastVoter", "",
               "it is the only voter: without it there is no cluster. Add another voter first");
    else
        fail(x);
}

void member_remove_finish(struct http_exchange *x)
{
    if (x->request->err) {
        fail_to_take(x);
        return;
    }
    open_id(&x->out, x->request->ret.admin.id);
    buf_append_str(&x->out, ",\"removed\":true}");
    reply_ok(x);
}

void member_demote_finish(struct http_exchange *x)
{
    if (x->request->err)
        fail_to_take(x);
    else
        answer_member(x, "learner");
}

void member_promote_finish(struct http_exchange *x)
{
    if (x->request->err == ERR_TIMEOUT)
        answer_later(x);
    else if (x->request->err)
        fail(x);
    else
        answer_member(x, "voter");
}

void transfer_finish(struct http_exchange *x)
{
    switch (x->request->err) {
    case 0:
        buf_append_str(&x->out, "{\"leader\":");
        json_out_uuid(&x->out, x->request->ret.admin.id);
        buf_append(&x->out, "}", 1);
        reply_ok(x);
        break;
    case ERR_NOT_ALLOWED:
        refuse(x, 409, "NotAVoter", "", "a learner cannot lead; promote it first");
        break;
    case ERR_UNREACHABLE:
        refuse(x, 409, "NobodyToLead", "",
               "no other voter answers that could lead; see GET /v1/status");
        break;
    case ERR_TIMEOUT:
        refuse(x, 503, "NotTransferred", "",
               "nothing came of it in time: writes go on under whoever leads now");
        break;
    default:
        fail(x);
    }
}
