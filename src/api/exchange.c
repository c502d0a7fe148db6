/* SPDX-License-Identifier: MIT */
#include "api/exchange.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <json-c/json_object.h>

#include "api/guard.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "api/route.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/number.h"

/* What is read and thrown away of a body that was refused, before the connection is closed. */
#define DISCARD_BYTES (LIMIT_VALUE_BYTES + 16 * MIB)
/* Reserved at most before the bytes are there. */
#define AHEAD_BYTES MIB
/* A body or answer up to this long is not counted against its budget. */
#define SMALL_BYTES (16 * KIB)
/* Exchanges that a loop keeps: as many as are often under way at once. */
#define SPARES_MAX 256
/* Clients can make any number of requests fail. */
#define LOG_INTERVAL_MS 100

enum http_method http_method_of(const char *text)
{
    for (unsigned m = 0; m < HTTP_OTHER; m++)
        if (strcmp(text, http_method_text((enum http_method)m)) == 0)
            return (enum http_method)m;
    return HTTP_OTHER;
}

/* Where the first of each header that matters is kept, and what is told when there are more. */
static const struct wanted {
    const char *name;
    size_t len;
    size_t first, more; /* within struct http_headers; more = 0: nothing is told */
} wanted[] = {
#define WANTED(name, field, more)                                                                  \
    {                                                                                              \
        name, sizeof name - 1, offsetof(struct http_headers, field), more                          \
    }
#define MORE(field) offsetof(struct http_headers, field)
    WANTED("Accept", accept, 0),
    WANTED("Expect", expect, 0),
    WANTED("Content-Length", content_length, MORE(two_lengths)),
    WANTED("Content-Type", content_type, 0),
    WANTED("Transfer-Encoding", transfer_encoding, MORE(odd_encoding)),
    WANTED("If-Match", if_match, MORE(two_conditions)),
    WANTED("If-None-Match", if_none_match, MORE(two_conditions)),
    WANTED("Origin", origin, 0),
    WANTED("Sec-Fetch-Site", fetch_site, 0),
    WANTED("Idempotency-Key", idempotency_key, MORE(two_idempotency_keys)),
    WANTED("X-Request-Id", request_id, 0),
#undef MORE
#undef WANTED
};

static bool is_name(const char *name, size_t len, const char *wanted_name, size_t wanted_len)
{
    return len == wanted_len && strcasecmp(name, wanted_name) == 0;
}

static void keep_header(struct http_headers *h, const struct wanted *w, const char *value)
{
    const char **first = (const char **)(void *)((char *)h + w->first);
    if (!*first)
        *first = value;
    else if (w->more)
        *(bool *)((char *)h + w->more) = true;
}

void http_note_header(struct http_exchange *x, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    struct http_headers *h = &x->headers;
    h->bytes += name_len + value_len + strlen(": \r\n");
    if (!value)
        return;
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (is_name(name, name_len, wanted[i].name, wanted[i].len))
            keep_header(h, &wanted[i], value);
    if (h->transfer_encoding && strcasecmp(h->transfer_encoding, "chunked") != 0)
        h->odd_encoding = true;
    if (!h->bad_host && is_name(name, name_len, "Host", strlen("Host")) &&
        !guard_host_is_ours(x->server->options, value))
        h->bad_host = value;
}

void http_choose_request_id(struct http_exchange *x, struct rng *rng)
{
    const char *theirs = x->headers.request_id;
    size_t len = theirs ? strspn(theirs, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789._-")
                        : 0;
    if (len > 0 && len <= HTTP_REQUEST_ID_MAX && theirs[len] == 0)
        memcpy(x->request_id, theirs, len + 1);
    else
        number_format_hex(rng_next(rng), x->request_id);
}

static size_t claimed_length(const struct http_exchange *x)
{
    const char *text = x->headers.content_length;
    return text ? strtoull(text, NULL, 10) : 0;
}

/* A client that waits for "100 Continue" is told at once when its body is not wanted. Any
 * other sends it before it reads, so the answer comes after it, unless that takes too long or has
 * no end. */
bool http_answers_before_body(const struct http_exchange *x)
{
    size_t claimed = claimed_length(x);
    return x->status != 0 && (x->headers.odd_encoding ||
                              (claimed > 0 && (x->headers.expect || claimed > DISCARD_BYTES)));
}

void http_reserve_body(struct http_exchange *x)
{
    size_t claimed = claimed_length(x);
    if (claimed > 0)
        buf_reserve(&x->body, (claimed < AHEAD_BYTES ? claimed : AHEAD_BYTES) + 1);
}

static atomic_size_t *budget_of(struct http_exchange *x)
{
    return x->route->peer ? &x->server->peer_body_bytes : &x->server->client_body_bytes;
}

/* All large bodies together are bounded: each alone within its limit, thousands of them
 * would still take all memory. Peers have a budget of their own. */
static bool charge(struct http_exchange *x, size_t len)
{
    size_t max = x->route->peer ? LIMIT_PEER_BODIES_BYTES : LIMIT_CLIENT_BODIES_BYTES;
    if (x->body.len + len <= SMALL_BYTES)
        return true;
    size_t before = atomic_fetch_add(budget_of(x), len);
    x->body_charged += len;
    return before + len <= max;
}

static void release(struct http_exchange *x)
{
    if (x->body_charged > 0)
        atomic_fetch_sub(budget_of(x), x->body_charged);
    x->body_charged = 0;
}

static void refuse_overload(struct http_exchange *x)
{
    reply_api_err(x, 429, "Overloaded", "too many large bodies are on their way; nothing was done");
    x->retry_after_s = 1;
}

bool http_take_body(struct http_exchange *x, const void *p, size_t len)
{
    if (x->status == 0 && len > x->body_limit - x->body.len)
        route_refuse_body(x);
    if (x->status == 0 && !charge(x, len))
        refuse_overload(x);
    if (x->status == 0) {
        buf_append(&x->body, p, len);
        return true;
    }
    release(x);
    buf_free(&x->body);
    x->body_discarded += len;
    return x->body_discarded <= DISCARD_BYTES;
}

/* The client's own id of a slow or failed request, so that both ends can talk about one thing. */
static void log_unusual(const struct http_exchange *x, uint64_t took_us)
{
    static struct log_limit limit;
    bool failed = x->status >= 500 && x->status != 501,
         slow = took_us >= NODE_SLOW_MS * 1000 && !x->waited;
    if ((!failed && !slow) || x->route->peer || !log_allow(&limit, LOG_INTERVAL_MS))
        return;
    LOG_INFO("request %s: %s %s: %u after %llu ms", x->request_id, http_method_text(x->method),
             x->route->path, x->status, (unsigned long long)took_us / 1000);
}

/* The answer of a read is not what the client gets. */
static void refuse_answer(struct http_exchange *x)
{
    atomic_fetch_sub(&x->server->answer_bytes, x->answer_charged);
    x->answer_charged = 0;
    x->content_type = NULL;
    x->revision = x->create_revision = x->version = 0;
    x->age_known = false;
    reply_api_err(x, 429, "Overloaded", "too many large answers are on their way");
    x->retry_after_s = 1;
}

/* Clients that are slow to take large values, or take nothing, would use all memory. One answer is
 * always sent, and so is that of a write: it was done. */
static void charge_answer(struct http_exchange *x)
{
    size_t len = x->out.len, max = x->server->options->answers_max;
    bool wrote = x->request && x->request->type == NODE_WRITE;
    if (x->stream || x->route->peer || len <= SMALL_BYTES)
        return;
    x->answer_charged = len;
    size_t before = atomic_fetch_add(&x->server->answer_bytes, len);
    if (before > 0 && before + len > (max ? max : LIMIT_CLIENT_ANSWERS_BYTES) && !wrote)
        refuse_answer(x);
}

void http_complete(struct http_exchange *x, uint64_t took_us)
{
    if (x->query.pretty && !x->content_type && !x->stream && x->out.len > 0) {
        struct buf pretty = BUF_INIT;
        json_out_pretty(&pretty, x->out.data, x->out.len);
        buf_free(&x->out);
        x->out = pretty;
    }
    charge_answer(x);
    log_unusual(x, took_us);
}

void http_long_poll(struct http_exchange *x)
{
    if (x->in_flight)
        atomic_fetch_sub(&x->server->n_in_flight, 1);
    x->in_flight = false;
    x->waited = true;
}

size_t http_copy_piece(const struct http_exchange *x, uint64_t at, char *to, size_t max)
{
    if (at < x->stream_at || at - x->stream_at >= x->out.len)
        return 0;
    size_t offset = (size_t)(at - x->stream_at), left = x->out.len - offset;
    size_t len = left < max ? left : max;
    memcpy(to, x->out.data + offset, len);
    return len;
}

/* ---- beginning and end ---- */

struct http_exchange *http_exchange_new(struct http_spares *spares)
{
    struct http_exchange *x = spares->first;
    if (!x)
        return mem_zalloc(sizeof *x);
    struct buf body = x->body, out = x->out;
    spares->first = x->next_done;
    spares->n--;
    memset(x, 0, sizeof *x);
    x->body = body;
    x->out = out;
    return x;
}

static void destroy(struct http_exchange *x)
{
    buf_free(&x->body);
    buf_free(&x->out);
    mem_free(x);
}

void http_exchange_free(struct http_exchange *x, struct http_spares *spares)
{
    if (x->in_flight)
        atomic_fetch_sub(&x->server->n_in_flight, 1);
    if (x->stream && x->stream->end)
        x->stream->end(x);
    release(x);
    if (x->answer_charged > 0)
        atomic_fetch_sub(&x->server->answer_bytes, x->answer_charged);
    node_request_free(&x->request);
    json_object_put(x->json);
    if (spares->n == SPARES_MAX) {
        destroy(x);
        return;
    }
    buf_reuse(&x->body, HTTP_KEPT_BYTES);
    buf_reuse(&x->out, HTTP_KEPT_BYTES);
    x->next_done = spares->first;
    spares->first = x;
    spares->n++;
}

void http_spares_free(struct http_spares *spares)
{
    while (spares->first) {
        struct http_exchange *x = spares->first;
        spares->first = x->next_done;
        destroy(x);
    }
    spares->n = 0;
}
