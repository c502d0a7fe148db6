/* SPDX-License-Identifier: MIT */
#include "api/route.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/guard.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "base/limits.h"

#define CONTROL ROUTE_BODY_CONTROL
#define PEER(text, which)                                                                          \
    {                                                                                              \
        .path = "/raft-" text, .method = HTTP_POST, .body = ROUTE_BODY_PEER, .peer = true,         \
        .transport = TRANSPORT_##which, .start = peer_start, .finish = peer_finish                 \
    }

static const struct route table[] = {
    {.path = "/init", .method = HTTP_GET, .start = init_start, .finish = init_finish},
    {.path = "/init", .method = HTTP_POST, .start = init_start, .finish = init_finish},
    {.path = "/get-id", .method = HTTP_GET, .start = get_id_start},
    {.path = "/add-learner",
     .method = HTTP_POST,
     .start = add_learner_start,
     .finish = add_learner_finish},
    {.path = "/change-membership",
     .method = HTTP_POST,
     .start = change_membership_start,
     .finish = change_membership_finish},
    {.path = "/metrics", .method = HTTP_GET, .start = metrics_start, .finish = metrics_finish},
    {.path = "/write",
     .method = HTTP_POST,
     .body = ROUTE_BODY_WRITE,
     .start = write_start,
     .finish = write_finish},
    {.path = "/read", .method = HTTP_POST, .start = read_start, .finish = read_finish},
    {.path = "/v1/snapshot",
     .method = HTTP_GET,
     .start = snapshot_start,
     .finish = snapshot_finish},
    PEER("append", APPEND),
    PEER("vote", VOTE),
    PEER("read-index", READ_INDEX),
    PEER("timeout-now", TIMEOUT_NOW),
    PEER("snapshot", SNAPSHOT),
    PEER("forward", FORWARD),
    PEER("admin", ADMIN),
    PEER("hello", HELLO),
    PEER("form", FORM),
};

#define N_ROUTES (sizeof table / sizeof *table)

/* Stands for every path that is not in the table. */
static const struct route unknown = {.path = "other", .body = CONTROL};

/* Query parameters of API.md that a later version brings. */
static const char *const later_parameters[] = {
    "consistency", "min_revision", "timeout", "pretty",  "wait",    "lease",     "ttl",      "prev",
    "prefix",      "limit",        "cursor",  "key_b64", "reverse", "keys_only", "delimiter"};

const char *http_method_text(enum http_method m)
{
    static const char *const text[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "other"};
    return text[m];
}

static const struct route *first_of_path(const char *path)
{
    for (unsigned i = 0; i < N_ROUTES; i++)
        if (strcmp(table[i].path, path) == 0)
            return &table[i];
    return NULL;
}

static const struct route *find(const char *path, enum http_method method)
{
    if (method == HTTP_HEAD)
        method = HTTP_GET;
    for (unsigned i = 0; i < N_ROUTES; i++)
        if (table[i].method == method && strcmp(table[i].path, path) == 0)
            return &table[i];
    return NULL;
}

/* The place of the route's path among the paths. */
unsigned route_number(const struct route *r)
{
    unsigned number = 0;
    for (unsigned i = 0; i < N_ROUTES; i++) {
        if (strcmp(table[i].path, r->path) == 0)
            return number;
        number += i + 1 == N_ROUTES || strcmp(table[i].path, table[i + 1].path) != 0;
    }
    return number;
}

unsigned route_numbers(void)
{
    return route_number(&unknown) + 1;
}

const char *route_number_path(unsigned number)
{
    for (unsigned i = 0; i < N_ROUTES; i++)
        if (route_number(&table[i]) == number)
            return table[i].path;
    return unknown.path;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes once, into at most max bytes. INVALID; TOO_LARGE; ret_len may count NULs. */
static int decode_path(const char *in, char *out, size_t max, size_t *ret_len)
{
    size_t n = 0;
    for (; *in; in++, n++) {
        char c = *in;
        if (c == '%') {
            int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0)
                return ERR_INVALID;
            c = (char)(high << 4 | low);
            in += 2;
        }
        if (n == max)
            return ERR_TOO_LARGE;
        out[n] = c;
    }
    *ret_len = n;
    return 0;
}

static void refuse_method(struct http_exchange *x, const char *path)
{
    struct buf allow = BUF_INIT;
    for (unsigned i = 0; i < N_ROUTES; i++) {
        if (strcmp(table[i].path, path) != 0)
            continue;
        buf_printf(&allow, "%s%s", allow.len ? ", " : "", http_method_text(table[i].method));
        if (table[i].method == HTTP_GET)
            buf_append_str(&allow, ", HEAD");
    }
    snprintf(x->allow, sizeof x->allow, "%s", buf_str(&allow));
    reply_err(x, 405, "MethodNotAllowed", "%s takes %s", path, x->allow);
    buf_free(&allow);
}

static size_t body_limit(const struct http_exchange *x)
{
    size_t value = x->server->max_value_size;
    switch (x->route->body) {
    case ROUTE_BODY_PEER:
        return LIMIT_APPEND_BYTES;
    case ROUTE_BODY_WRITE: /* twice: quotes, newlines and the like are escaped by one byte each */
        return 2 * (value > WRITE_BATCH_BYTES ? value : WRITE_BATCH_BYTES) + LIMIT_CONTROL_BYTES;
    case ROUTE_BODY_CONTROL:
        break;
    }
    return LIMIT_CONTROL_BYTES;
}

struct parameter {
    char text[64];
    bool any, later;
};

static bool note_parameter(void *ctx, const char *name, size_t len)
{
    struct parameter *p = ctx;
    p->any = true;
    snprintf(p->text, sizeof p->text, "%.*s", (int)(len < 63 ? len : 63), name);
    for (unsigned i = 0; i < sizeof later_parameters / sizeof *later_parameters; i++)
        p->later |= strcmp(p->text, later_parameters[i]) == 0;
    return false; /* one is enough */
}

/* Nothing that a client asks for is silently ignored. */
static void check_extras(struct http_exchange *x)
{
    struct parameter p = {.any = false};
    http_visit_query(x, note_parameter, &p);
    if (p.later)
        reply_err(x, 501, "NotImplemented",
                  "not_implemented: this version has no query parameter \"%s\"", p.text);
    else if (p.any)
        reply_bad_request(x, "%s takes no query parameter \"%s\"", x->route->path, p.text);
    else if (x->headers.idempotency_key && x->route->body == ROUTE_BODY_WRITE)
        reply_err(x, 501, "NotImplemented",
                  "not_implemented: this version does not know Idempotency-Key");
}

void route_refuse_body(struct http_exchange *x)
{
    if (x->route->body == ROUTE_BODY_WRITE)
        reply_too_large(x, "the body is larger than %zu bytes (max-value-size is %zu)",
                        x->body_limit, (size_t)x->server->max_value_size);
    else
        reply_too_large(x, "the body is larger than the %zu bytes that %s takes (no option)",
                        x->body_limit, x->route->path);
}

static bool is_too_long(const struct http_exchange *x)
{
    const char *text = x->headers.content_length;
    return text && strtoull(text, NULL, 10) > x->body_limit;
}

static void find_route(struct http_exchange *x, const char *target)
{
    char path[256];
    size_t len = 0;
    int err = decode_path(target, path, sizeof path - 1, &len);
    path[len] = 0;
    x->v1 = len >= 4 && memcmp(path, "/v1/", 4) == 0;
    bool whole = !err && strlen(path) == len;
    const struct route *r = whole ? find(path, x->method) : NULL;
    const struct route *other = whole ? first_of_path(path) : NULL;
    x->route = r ? r : other ? other : &unknown;
    if (err == ERR_INVALID)
        reply_bad_request(x, "the path is not percent-encoded as it should be");
    else if (!other)
        reply_err(x, 404, "NoSuchPath", "there is nothing at this path");
    else if (!r)
        refuse_method(x, path);
}

void route_begin(struct http_exchange *x, const char *target)
{
    find_route(x, target);
    x->body_limit = body_limit(x);
    const char *bad_host = x->route->peer ? NULL : x->headers.bad_host;
    const char *refusal =
        guard_refusal(x->server->options, x->headers.origin, x->headers.fetch_site, bad_host);
    if (x->headers.bytes > LIMIT_HEADER_BYTES)
        reply_err(x, 431, "TooLarge", "the headers are larger than %zu bytes (no option)",
                  LIMIT_HEADER_BYTES);
    else if (refusal)
        reply_err(x, 403, "Forbidden", "%s", refusal);
    else if (x->headers.two_lengths) {
        reply_bad_request(x, "more than one Content-Length: where the body ends is not known");
        x->close = true;
    } else if (!x->route->peer && !place_take_client(x->place)) {
        reply_api_err(x, 503, "Overloaded", "all %u connections are taken (max-connections)",
                      x->server->places.max_clients);
        x->retry_after_s = 1;
    } else if (x->status == 0)
        check_extras(x);
    if (x->status == 0 && is_too_long(x))
        route_refuse_body(x);
    if (x->place->kind == PLACE_WAITING && !x->route->peer)
        x->close = true;
}
