/* SPDX-License-Identifier: MIT
 * GET and HEAD /v1/kv/{key}: the value as it is, with what is known about it in
 * headers, on condition, or when it changes (?wait=).
 *
 *      read (by consistency) --> as the client has it? --no--> 200
 *                ^                     | yes
 *                |                     +-- time left? --no--> 304
 *                +--- woken -- wait <--yes--+
 *
 * What a wait was woken by was written after the request came: to read it here
 * is linearizable without any further question.
 */
#include "api/keys.h"

#include <string.h>

#include "api/handlers.h"
#include "api/reading.h"
#include "api/reply.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kv/attrs.h"

/* A wait is looked after so often: libmicrohttpd does not notice that a client is gone. */
#define WAIT_SLICE_MS 5000

/* ---- conditions ---- */

bool keys_read_tags(struct http_exchange *x, const char *name, const char *text,
                    struct etag_list *ret)
{
    *ret = (struct etag_list){.n = 0};
    if (x->headers.two_conditions)
        reply_bad_request(x, "If-Match or If-None-Match is there more than once");
    else if (text && etag_parse(text, ret) != 0)
        reply_bad_request(x, "%s takes a star or up to %d entity tags like \"17\"", name, ETAG_MAX);
    return x->status == 0;
}

void keys_refuse_mismatch(struct http_exchange *x, const struct kv_value *now)
{
    struct buf details = BUF_INIT;
    buf_printf(&details, "{\"revision\":%llu", (unsigned long long)now->revision);
    if (now->revision)
        buf_printf(&details, ",\"create_revision\":%llu,\"version\":%llu",
                   (unsigned long long)now->create_revision, (unsigned long long)now->version);
    buf_append(&details, "}", 1);
    if (now->revision)
        reply_v1_err(x, 412, "RevisionMismatch", buf_str(&details), "the key has revision %llu",
                     (unsigned long long)now->revision);
    else
        reply_v1_err(x, 412, "RevisionMismatch", buf_str(&details), "the key does not exist");
    buf_free(&details);
}

void keys_refuse_missing(struct http_exchange *x)
{
    reply_err(x, 404, "KeyNotFound", "the key does not exist");
}

/* ---- the answer ---- */

void keys_tell_revision(struct http_exchange *x, const struct kv_value *info)
{
    x->revision = info->revision;
    x->create_revision = info->create_revision;
    x->version = info->version;
    x->etag = true;
}

static void tell_type(struct http_exchange *x, const struct buf *attrs)
{
    size_t len = 0;
    const uint8_t *type =
        attrs->len ? kv_attrs_get(attrs->data, attrs->len, KV_ATTR_CONTENT_TYPE, &len) : NULL;
    x->content_type = KV_CONTENT_TYPE_DEFAULT;
    if (!type || len == 0 || len > LIMIT_CONTENT_TYPE_BYTES)
        return;
    memcpy(x->stored_type, type, len);
    x->stored_type[len] = 0;
    x->content_type = x->stored_type;
}

static void submit_wait(struct http_exchange *x, uint64_t revision)
{
    struct node_request *r = node_request_new(NODE_WAIT_KEY);
    uint64_t slice_ms = clock_now_ms() + WAIT_SLICE_MS;
    r->in.wait.revision = revision;
    r->in.wait.key_len = x->param_len;
    memcpy(r->in.wait.key, x->param, x->param_len);
    r->deadline_ms = slice_ms < x->wait_until_ms ? slice_ms : x->wait_until_ms;
    http_long_poll(x);
    http_submit(x, r);
}

/* The client has what is there. */
static void nothing_new(struct http_exchange *x, const struct kv_value *info)
{
    buf_reuse(&x->out, HTTP_KEPT_BYTES);
    if (clock_now_ms() < x->wait_until_ms && !http_client_is_gone(x)) {
        submit_wait(x, info->revision);
        return;
    }
    keys_tell_revision(x, info);
    x->no_body = true;
    x->body_bytes = info->len;
    x->status = 304;
}

/* False: that was answered, or is waited for. */
static bool wants_value(struct http_exchange *x, const struct kv_value *info)
{
    struct etag_list match, none_match;
    if (!keys_read_tags(x, "If-Match", x->headers.if_match, &match) ||
        !keys_read_tags(x, "If-None-Match", x->headers.if_none_match, &none_match))
        return false;
    if (x->headers.if_match && !etag_matches(&match, info->revision, false))
        keys_refuse_mismatch(x, info);
    else if (etag_matches(&none_match, info->revision, true))
        nothing_new(x, info);
    else
        return true;
    return false;
}

static void refuse_unreadable(struct http_exchange *x, int err)
{
    if (err == ERR_NOT_FOUND)
        keys_refuse_missing(x);
    else
        reply_err(x, 500, "Internal", "%s (%s)", err_text(err), err_name(err));
}

/* The value itself is in x->out. */
static void tell_value(struct http_exchange *x, const struct kv_value *info,
                       const struct buf *attrs)
{
    keys_tell_revision(x, info);
    tell_type(x, attrs);
    x->no_body = x->method == HTTP_HEAD;
    x->body_bytes = info->len;
    reply_ok(x);
}

static int get(const struct http_exchange *x, struct kv_value *ret_info, struct buf *value,
               struct buf *attrs)
{
    return node_get_value(x->server->node, x->param, x->param_len, ret_info, value, attrs);
}

/* The value as this node has it. Conditions are checked before a value is copied that may be large,
 * and once more when it was written meanwhile. */
static void answer(struct http_exchange *x)
{
    struct kv_value info = {.len = 0};
    struct buf attrs = BUF_INIT;
    bool conditional = x->headers.if_match || x->headers.if_none_match;
    reading_tell_age(x);
    int err = conditional ? get(x, &info, NULL, NULL) : 0;
    uint64_t checked = info.revision;
    if (!err && conditional && !wants_value(x, &info))
        return;
    buf_clear(&x->out);
    if (!err)
        err = get(x, &info, x->method == HTTP_HEAD ? NULL : &x->out, &attrs);
    if (err)
        refuse_unreadable(x, err);
    else if (!conditional || info.revision == checked || wants_value(x, &info))
        tell_value(x, &info, &attrs);
    buf_free(&attrs);
}

/* ---- asking ---- */

void keys_get_start(struct http_exchange *x)
{
    struct etag_list tags;
    uint64_t wait_ms = 0;
    if (!keys_read_tags(x, "If-Match", x->headers.if_match, &tags) ||
        !keys_read_tags(x, "If-None-Match", x->headers.if_none_match, &tags) ||
        !query_duration(x, QUERY_WAIT, 0, QUERY_DURATION_MAX_MS, &wait_ms))
        return;
    if (query_has(x, QUERY_WAIT) && !x->headers.if_none_match) {
        reply_bad_request(x, "wait= goes with If-None-Match, which says what the client has");
        return;
    }
    x->wait_until_ms = x->started_us / 1000 + wait_ms;
    if (reading_start(x))
        answer(x);
}

void keys_get_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    bool waited = r->type == NODE_WAIT_KEY && r->err == ERR_TIMEOUT;
    if (waited || !reading_failed(x))
        answer(x);
}
