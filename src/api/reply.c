/* SPDX-License-Identifier: MIT */
#include "api/reply.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json_in.h"
#include "api/json_out.h"
#include "api/once.h"

#define TEXT_BYTES 1000 /* of a message for people */

void reply_ok(struct http_exchange *x)
{
    x->status = 200;
}

void reply_ok_word(struct http_exchange *x, const char *word)
{
    buf_clear(&x->out);
    buf_printf(&x->out, "{\"Ok\":\"%s\"}", word);
    x->status = 200;
}

void reply_err_json(struct http_exchange *x, unsigned status, const char *json)
{
    buf_clear(&x->out);
    buf_printf(&x->out, "{\"Err\":%s}", json);
    x->status = status;
}

/* ---- /v1 ---- */

/* "TooLarge" as "too_large". */
static void put_code(struct buf *out, const char *name)
{
    for (const char *p = name; *p; p++) {
        char c = (char)tolower((unsigned char)*p);
        if (p > name && isupper((unsigned char)*p))
            buf_append(out, "_", 1);
        buf_append(out, &c, 1);
    }
}

/* Nothing was done, and it may go better another time. */
static bool is_retryable(unsigned status)
{
    return status == 429 || status == 503;
}

static void reply_v1(struct http_exchange *x, unsigned status, const char *name,
                     const char *details, const char *text)
{
    buf_clear(&x->out);
    buf_append_str(&x->out, "{\"error\":{\"code\":\"");
    put_code(&x->out, name);
    buf_append_str(&x->out, "\",\"message\":");
    json_out_text(&x->out, text, strlen(text));
    buf_printf(&x->out, ",\"retryable\":%s,\"request_id\":\"%s\",\"details\":%s}}",
               is_retryable(status) ? "true" : "false", x->request_id, details ? details : "{}");
    x->status = status;
    x->content_type = NULL;
}

void reply_v1_err(struct http_exchange *x, unsigned status, const char *name, const char *details,
                  const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply_v1(x, status, name, details, text);
}

/* ---- both ---- */

static void reply_text(struct http_exchange *x, unsigned status, const char *before,
                       const char *name, const char *after, const char *text)
{
    if (x->v1) {
        reply_v1(x, status, name, NULL, text);
        return;
    }
    buf_clear(&x->out);
    buf_printf(&x->out, "{\"Err\":%s{\"%s\":", before, name);
    json_out_text(&x->out, text, strlen(text));
    buf_printf(&x->out, "}%s}", after);
    x->status = status;
}

void reply_err(struct http_exchange *x, unsigned status, const char *name, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply_text(x, status, "", name, "", text);
}

void reply_api_err(struct http_exchange *x, unsigned status, const char *name, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply_text(x, status, "{\"APIError\":", name, "}", text);
}

static void refuse_json(struct http_exchange *x, const struct json_in_error *error)
{
    reply_bad_request(x, "%s, at byte %zu", error->what, error->at);
}

bool reply_read_json(struct http_exchange *x)
{
    struct json_in_error error;
    if (json_in_parse(&x->body, &error, &x->json) == 0)
        return true;
    refuse_json(x, &error);
    return false;
}

void reply_malformed(struct http_exchange *x)
{
    struct json_in_error error;
    if (json_in_check(x->body.data, x->body.len, &error) != 0)
        refuse_json(x, &error);
}

static void reply_uninitialized(struct http_exchange *x)
{
    const struct api_options *o = x->server->options;
    const char *here = o->advertise_addr ? o->advertise_addr : o->bind_addr;
    if (o->has_peers)
        reply_api_err(x, 503, "Uninitialized",
                      "this node belongs to no cluster yet: it forms one with the peers of its "
                      "configuration as soon as all of them answer; see the log of the first one "
                      "in the list");
    else
        reply_api_err(x, 503, "Uninitialized",
                      "this node belongs to no cluster yet. To make it a cluster of its own: "
                      "curl -X POST http://%s/init . To add it to a cluster that exists, ask a "
                      "member M of that: curl -d '{\"addr\":\"%s\"}' http://M/v1/members",
                      here, here);
}

void reply_node_error(struct http_exchange *x)
{
    int err = x->request->err;
    if (once_reply_error(x))
        return;
    switch (err) {
    case ERR_NO_LEADER:
    case ERR_NOT_LEADER:
        if (x->v1)
            reply_v1(x, 503, "NoLeader", NULL, "no leader was known in time; nothing was done");
        else
            reply_err_json(
                x, 503,
                "{\"APIError\":{\"ForwardToLeader\":{\"leader_id\":null,\"leader_node\":null}}}");
        return;
    case ERR_UNKNOWN:
    case ERR_TIMEOUT:
        if (x->v1)
            reply_v1(x, 504, err == ERR_UNKNOWN ? "OutcomeUnknown" : "Timeout", NULL,
                     err_text(err));
        else
            reply_err_json(x, 504, "{\"APIError\":\"Timeout\"}");
        return;
    case ERR_UNINITIALIZED:
        reply_uninitialized(x);
        return;
    case ERR_OVERLOADED:
        reply_api_err(x, 429, "Overloaded", "too much work is waiting; nothing was done");
        x->retry_after_s = 1;
        return;
    case ERR_NO_SPACE:
        reply_api_err(x, 507, x->v1 ? "DiskFull" : "NoSpace",
                      "the disk or the quota is full; nothing was done");
        return;
    case ERR_SHUTDOWN:
        reply_api_err(x, 503, "ShuttingDown", "this node is shutting down; ask another one");
        x->close = true;
        return;
    }
    reply_api_err(x, 500, "Internal", "%s (%s)", err_text(err), err_name(err));
}
