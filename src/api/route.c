/* SPDX-License-Identifier: MIT */
#include "api/route.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/decode.h"
#include "api/guard.h"
#include "api/handlers.h"
#include "api/once.h"
#include "api/reply.h"
#include "base/assert.h"
#include "base/limits.h"

#define ROUTES_MAX 96

/* Stands for every path that is not in the table. */
static const struct route unknown = {.path = "other"};

/* What matching wants to know of a path, found out once. */
static struct shape {
    size_t before;     /* bytes up to the part in braces, or all */
    const char *after; /* what follows that; NULL: there is none */
    size_t after_len;
    unsigned number; /* of the path among the paths */
} shapes[ROUTES_MAX];
static unsigned n_paths;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_shapes(void)
{
    ASSERT(route_table_n <= ROUTES_MAX);
    for (unsigned i = 0; i < route_table_n; i++) {
        const char *path = route_table[i].path, *end = strchr(path, '}');
        shapes[i].before = strcspn(path, "{");
        shapes[i].after = end ? end + 1 : NULL;
        shapes[i].after_len = end ? strlen(end + 1) : 0;
        n_paths += i > 0 && strcmp(path, route_table[i - 1].path) != 0;
        shapes[i].number = n_paths;
    }
    n_paths++;
    ASSERT(n_paths < ROUTE_PATHS_MAX);
}

void route_init(void)
{
    pthread_once(&once, find_shapes);
}

const char *http_method_text(enum http_method m)
{
    static const char *const text[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "other"};
    return text[m];
}

/* ---- numbers ---- */

unsigned route_number(const struct route *r)
{
    return r == &unknown ? n_paths : shapes[r - route_table].number;
}

unsigned route_numbers(void)
{
    return n_paths + 1;
}

const char *route_number_path(unsigned number)
{
    for (unsigned i = 0; i < route_table_n; i++)
        if (shapes[i].number == number)
            return route_table[i].path;
    return unknown.path;
}

/* ---- finding ---- */

struct found {
    const struct route *route; /* of path and method; NULL: none */
    const struct route *path;  /* the first one of the path; NULL: none */
    const char *param;         /* what stands for the part in braces */
    size_t param_len;
};

static bool matches(unsigned i, const char *path, size_t len, struct found *f)
{
    const struct shape *s = &shapes[i];
    bool key = route_table[i].key;
    size_t least = s->before + s->after_len + (s->after && !key);
    if (s->after ? len < least : len != least)
        return false;
    if (memcmp(path, route_table[i].path, s->before) != 0)
        return false;
    if (!s->after)
        return true;
    const char *param = path + s->before;
    size_t param_len = len - s->before - s->after_len;
    if (memcmp(param + param_len, s->after, s->after_len) != 0 ||
        (!key && memchr(param, '/', param_len)))
        return false;
    f->param = param;
    f->param_len = param_len;
    return true;
}

static struct found find(const char *path, size_t len, enum http_method method)
{
    struct found f = {.route = NULL};
    if (method == HTTP_HEAD)
        method = HTTP_GET;
    for (unsigned i = 0; i < route_table_n && !f.route; i++) {
        if (f.path ? strcmp(f.path->path, route_table[i].path) != 0 : !matches(i, path, len, &f))
            continue;
        if (!f.path)
            f.path = &route_table[i];
        if (route_table[i].method == method)
            f.route = &route_table[i];
    }
    return f;
}

static void refuse_method(struct http_exchange *x, const char *path)
{
    struct buf allow = BUF_INIT;
    for (unsigned i = 0; i < route_table_n; i++) {
        if (strcmp(route_table[i].path, path) != 0)
            continue;
        buf_printf(&allow, "%s%s", allow.len ? ", " : "", http_method_text(route_table[i].method));
        if (route_table[i].method == HTTP_GET)
            buf_append_str(&allow, ", HEAD");
    }
    snprintf(x->allow, sizeof x->allow, "%s", buf_str(&allow));
    reply_err(x, 405, "MethodNotAllowed", "%s takes %s", path, x->allow);
    buf_free(&allow);
}

/* Longer than any key: its length alone is kept, to be refused with. */
static void keep_param(struct http_exchange *x, const struct found *f)
{
    x->param_len = f->param_len;
    if (f->param_len == 0)
        return;
    if (f->param_len <= LIMIT_KEY_BYTES)
        memcpy(x->param, f->param, f->param_len);
    else if (!f->path->key)
        reply_err(x, 404, "NoSuchPath", "there is nothing at this path");
}

static bool is_key_b64(void *ctx, const char *name, size_t name_len, const char *value,
                       size_t value_len)
{
    (void)value, (void)value_len;
    bool *found = ctx;
    *found = name_len == strlen("key_b64") && memcmp(name, "key_b64", name_len) == 0;
    return !*found;
}

/* /v1/kv?key_b64= is about one key as much as /v1/kv/?key_b64= . */
static size_t complete_key_path(struct http_exchange *x, char *path, size_t len)
{
    static const char collection[] = "/v1/kv";
    bool one_key = false;
    if (len != strlen(collection) || memcmp(path, collection, len) != 0)
        return len;
    http_visit_query(x, is_key_b64, &one_key);
    path[len] = '/';
    return len + one_key;
}

static void find_route(struct http_exchange *x, const char *target)
{
    char path[LIMIT_HEADER_BYTES];
    size_t len = 0;
    int err = decode_percent(target, strlen(target), false, path, sizeof path - 1, &len);
    if (!err)
        len = complete_key_path(x, path, len);
    struct found f = err ? (struct found){.route = NULL} : find(path, len, x->method);
    x->v1 = strncmp(target, "/v1", 3) == 0 && (target[3] == '/' || target[3] == 0);
    x->route = f.route ? f.route : f.path ? f.path : &unknown;
    if (err == ERR_INVALID)
        reply_bad_request(x, "the path is not percent-encoded as it should be");
    else if (!f.path)
        reply_err(x, 404, "NoSuchPath",
                  "there is nothing at this path; GET /v1/openapi.json lists what there is");
    else if (!f.route)
        refuse_method(x, f.path->path);
    else
        keep_param(x, &f);
}

/* ---- checks ---- */

static size_t body_limit(const struct http_exchange *x)
{
    size_t value = x->server->max_value_size;
    switch (x->route->body) {
    case ROUTE_BODY_PEER:
        return LIMIT_APPEND_BYTES;
    case ROUTE_BODY_VALUE:
        return value;
    case ROUTE_BODY_WRITE: /* twice: quotes, newlines and the like are escaped by one byte each */
        return 2 * (value > WRITE_BATCH_BYTES ? value : WRITE_BATCH_BYTES) + LIMIT_CONTROL_BYTES;
    case ROUTE_BODY_CONTROL:
        break;
    }
    return LIMIT_CONTROL_BYTES;
}

static void take_base64_key(struct http_exchange *x, const struct buf *text)
{
    struct buf key = BUF_INIT;
    if (decode_base64((const char *)text->data, text->len, &key) != 0)
        reply_bad_request(x, "key_b64 is not base64");
    else if (key.len > 0 && key.len <= LIMIT_KEY_BYTES)
        memcpy(x->param, key.data, key.len);
    x->param_len = key.len;
    buf_free(&key);
}

/* From the path or, where no path can carry it, from key_b64. */
static void check_key(struct http_exchange *x)
{
    struct buf text = BUF_INIT;
    if (query_has(x, QUERY_KEY_B64)) {
        if (x->param_len > 0)
            reply_bad_request(x, "the key is either in the path or in key_b64, not in both");
        else if (query_bytes(x, QUERY_KEY_B64, LIMIT_HEADER_BYTES, &text))
            take_base64_key(x, &text);
    }
    if (x->status == 0 && x->param_len == 0)
        reply_bad_request(x, "a key has 1 to %d bytes", LIMIT_KEY_BYTES);
    else if (x->status == 0 && x->param_len > LIMIT_KEY_BYTES)
        reply_too_large(x, "the key is %zu bytes long; the limit is %d (no option)", x->param_len,
                        LIMIT_KEY_BYTES);
    buf_free(&text);
}

/* Nothing that a client asks for is silently ignored. */
static void check_extras(struct http_exchange *x)
{
    bool writes = x->route->body == ROUTE_BODY_WRITE || x->route->body == ROUTE_BODY_VALUE ||
                  x->method == HTTP_DELETE;
    query_read(x);
    if (x->status == 0 && x->route->key)
        check_key(x);
    if (x->status == 0 && writes)
        (void)once_check(x);
}

void route_refuse_body(struct http_exchange *x)
{
    size_t max_value = x->server->max_value_size;
    if (x->route->body == ROUTE_BODY_VALUE)
        reply_too_large(x, "the value is larger than %zu bytes (max-value-size)", x->body_limit);
    else if (x->route->body == ROUTE_BODY_WRITE)
        reply_too_large(x, "the body is larger than %zu bytes (max-value-size is %zu)",
                        x->body_limit, max_value);
    else
        reply_too_large(x, "the body is larger than the %zu bytes that %s takes (no option)",
                        x->body_limit, x->route->path);
}

static bool is_too_long(const struct http_exchange *x)
{
    const char *text = x->headers.content_length;
    return text && strtoull(text, NULL, 10) > x->body_limit;
}

/* Where the body ends must be beyond doubt, or somebody before us sees other requests than we do
 * (RFC 9112, 6.1 and 6.3). libmicrohttpd waits for the end of the connection instead. */
static bool framing_is_refused(struct http_exchange *x)
{
    const struct http_headers *h = &x->headers;
    if (h->odd_encoding)
        reply_err(x, 501, "NotImplemented", "the only Transfer-Encoding known here is chunked");
    else if (h->two_lengths || (h->transfer_encoding && h->content_length))
        reply_bad_request(x, "more than one Content-Length, or one beside a Transfer-Encoding: "
                             "where the body ends is not known");
    else
        return false;
    return true;
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
    else if (framing_is_refused(x)) {
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
