/* SPDX-License-Identifier: MIT
 * GET /v1/kv: the keys that begin with a prefix, by page as one JSON object, or
 * all in a stream of lines, which see one revision:
 *
 *      {"key":"a/1","value":"x","revision":17,"create_revision":17,"version":1}
 *      {"prefix":"a/b/"}
 *
 * A stream that is not taken within LIST_VIEW_MS ends with a line {"error":...}.
 * DELETE /v1/kv removes them all in one step.
 */
#define _GNU_SOURCE /* strcasestr */
#include "api/list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/decode.h"
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/once.h"
#include "api/reading.h"
#include "api/reply.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kv/attrs.h"
#include "kv/command.h"

#define PAGE_ITEMS_MAX 1000
#define PAGE_BYTES     (4 * MIB) /* what begins below that is still on the page */
#define STREAM_BYTES   (64 * KIB)

/* ---- what is asked for ---- */

static bool wants_lines(const struct http_exchange *x)
{
    return x->headers.accept && strcasestr(x->headers.accept, "application/x-ndjson");
}

static bool read_cursor(struct http_exchange *x, struct listing *g)
{
    struct buf text = BUF_INIT, token = BUF_INIT;
    if (!query_has(x, QUERY_CURSOR))
        return true;
    if (query_bytes(x, QUERY_CURSOR, 2 * LIMIT_KEY_BYTES, &text) &&
        (decode_base64((const char *)text.data, text.len, &token) != 0 ||
         lister_seek(&g->lister, token.data, token.len) != 0))
        reply_bad_request(x, "cursor is not what \"next\" of a page with this prefix was");
    buf_free(&text);
    buf_free(&token);
    return x->status == 0;
}

static bool read_parameters(struct http_exchange *x, struct listing *g)
{
    struct lister *l = &g->lister;
    g->streams = wants_lines(x);
    g->limit = g->streams ? 0 : PAGE_ITEMS_MAX;
    uint64_t limit_max = g->streams ? UINT64_MAX : PAGE_ITEMS_MAX;
    return query_bytes(x, QUERY_PREFIX, LIMIT_KEY_BYTES, &l->prefix) &&
           query_bytes(x, QUERY_DELIMITER, LIMIT_KEY_BYTES, &l->delimiter) &&
           query_flag(x, QUERY_REVERSE, &l->reverse) &&
           query_flag(x, QUERY_KEYS_ONLY, &g->keys_only) &&
           query_u64(x, QUERY_LIMIT, 1, limit_max, &g->limit) && read_cursor(x, g);
}

/* ---- items ---- */

static void write_item(struct buf *out, const struct listing *g, const struct lister_item *item)
{
    const struct kv_value *v = &item->value;
    size_t type_len = 0;
    const uint8_t *type = kv_attrs_get(v->attrs, v->attrs_len, KV_ATTR_CONTENT_TYPE, &type_len);
    buf_append(out, "{", 1);
    json_out_member(out, "key", item->key, item->key_len);
    if (!g->keys_only) {
        buf_append(out, ",", 1);
        json_out_member(out, "value", v->data, v->len);
    }
    if (type) {
        buf_append(out, ",", 1);
        json_out_member(out, "content_type", type, type_len);
    }
    buf_printf(out,
               ",\"revision\":%" PRIu64 ",\"create_revision\":%" PRIu64 ",\"version\":%" PRIu64 "}",
               v->revision, v->create_revision, v->version);
}

static void refuse_unreadable(struct http_exchange *x, int err)
{
    if (err == ERR_TIMEOUT) {
        reply_err(x, 503, "Timeout", "the listing took too long; nothing was done");
        return;
    }
    reply_err(x, 500, "Internal", "%s (%s)", err_text(err), err_name(err));
}

static void drop(struct http_exchange *x)
{
    lister_free(&x->listing->lister);
    MEM_FREE(x->listing);
}

/* ---- a page ---- */

static void write_token(struct buf *out, const struct lister *l)
{
    struct buf token = BUF_INIT;
    lister_token(l, &token);
    buf_append(out, "\"", 1);
    json_out_base64_url(out, token.data, token.len);
    buf_append(out, "\"", 1);
    buf_free(&token);
}

/* {"prefix":"a/"}, or prefix_b64 */
static void write_group(struct buf *out, const struct lister_item *item)
{
    buf_append(out, "{", 1);
    json_out_member(out, "prefix", item->key, item->key_len);
    buf_append(out, "}", 1);
}

/* The items into out, the groups into groups. 0: there may be more; NOT_FOUND: there is not. */
static int write_items(struct listing *g, struct buf *out, struct buf *groups)
{
    struct lister_item item;
    int err = 0;
    size_t start = out->len;
    while (g->n < g->limit && out->len - start < PAGE_BYTES &&
           (err = lister_next(&g->lister, &item)) == 0) {
        struct buf *to = item.is_group ? groups : out;
        if (to->len > (item.is_group ? 0 : start))
            buf_append(to, ",", 1);
        if (!item.is_group)
            write_item(to, g, &item);
        else if (json_out_string(to, item.key, item.key_len) != 0)
            write_group(to, &item);
        g->n++;
    }
    return err;
}

/* What comes after the items. */
static void end_page(struct http_exchange *x, const struct buf *groups, bool is_last)
{
    buf_append_str(&x->out, "],\"prefixes\":[");
    buf_append(&x->out, groups->data, groups->len);
    buf_append_str(&x->out, "],\"next\":");
    if (is_last)
        buf_append_str(&x->out, "null");
    else
        write_token(&x->out, &x->listing->lister);
    buf_append(&x->out, "}", 1);
    reply_ok(x);
}

static void answer_page(struct http_exchange *x)
{
    struct listing *g = x->listing;
    struct buf groups = BUF_INIT;
    buf_printf(&x->out, "{\"revision\":%" PRIu64 ",\"items\":[", x->revision);
    int err = write_items(g, &x->out, &groups);
    if (err && err != ERR_NOT_FOUND)
        refuse_unreadable(x, err);
    else
        end_page(x, &groups, err == ERR_NOT_FOUND);
    buf_free(&groups);
    drop(x);
}

/* ---- a stream ---- */

static void write_line(struct listing *g, struct buf *out, const struct lister_item *item)
{
    if (item->is_group)
        write_group(out, item);
    else
        write_item(out, g, item);
    buf_append(out, "\n", 1);
    g->n++;
}

/* Says why this is not everything. */
static void write_last_line(struct http_exchange *x, int err)
{
    const char *why = err == ERR_TIMEOUT
                          ? "this is not everything: it was not taken within 60 s; list from the "
                            "last key on, or by page"
                          : err_text(err);
    buf_printf(&x->out,
               "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"retryable\":true,"
               "\"request_id\":\"%s\",\"details\":{}}}\n",
               err == ERR_TIMEOUT ? "timeout" : "internal", why, x->request_id);
}

static enum http_more more(struct http_exchange *x, uint64_t at)
{
    struct listing *g = x->listing;
    struct lister_item item;
    int err = 0;
    (void)at;
    if (g->done)
        return HTTP_MORE_NONE;
    while (x->out.len < STREAM_BYTES && (g->limit == 0 || g->n < g->limit) &&
           (err = lister_next(&g->lister, &item)) == 0)
        write_line(g, &x->out, &item);
    g->done = err != 0 || (g->limit > 0 && g->n == g->limit);
    if (g->done)
        lister_close(&g->lister);
    if (err && err != ERR_NOT_FOUND)
        write_last_line(x, err);
    return x->out.len > 0 ? HTTP_MORE_HERE : HTTP_MORE_NONE;
}

/* The client is too slow: it gets the last line when it comes for more. */
static void expire(struct http_exchange *x)
{
    lister_close(&x->listing->lister);
}

static void end(struct http_exchange *x)
{
    atomic_fetch_sub(&x->server->n_listings, 1);
    drop(x);
}

static const struct http_stream stream = {.more = more, .expire = expire, .end = end};

static void answer_stream(struct http_exchange *x)
{
    if (atomic_fetch_add(&x->server->n_listings, 1) >= LIST_STREAMS_MAX) {
        atomic_fetch_sub(&x->server->n_listings, 1);
        drop(x);
        reply_err(x, 429, "Overloaded", "%d listings are being streamed already", LIST_STREAMS_MAX);
        x->retry_after_s = 1;
        return;
    }
    x->stream = &stream;
    x->stream_size = HTTP_STREAM_SIZE_UNKNOWN;
    x->content_type = "application/x-ndjson";
    http_expire_after(x, LIST_VIEW_MS);
    reply_ok(x);
}

/* ---- both ---- */

static void answer(struct http_exchange *x)
{
    struct kv_view *view = node_view(x->server->node);
    reading_tell_age(x);
    x->revision = kv_view_index(view);
    lister_open(&x->listing->lister, view);
    if (x->listing->streams)
        answer_stream(x);
    else
        answer_page(x);
}

void list_start(struct http_exchange *x)
{
    x->listing = mem_zalloc(sizeof *x->listing);
    if (!read_parameters(x, x->listing))
        drop(x);
    else if (reading_start(x))
        answer(x);
}

void list_finish(struct http_exchange *x)
{
    if (reading_failed(x))
        drop(x);
    else
        answer(x);
}

/* ---- removal ---- */

void list_delete_start(struct http_exchange *x)
{
    struct buf prefix = BUF_INIT;
    static const char *const words[] = {"all", NULL};
    unsigned word = 0;
    if (x->body.len > 0)
        reply_bad_request(x, "DELETE takes no body");
    else if (x->headers.if_match || x->headers.if_none_match)
        reply_bad_request(x, "If-Match is about one key, and this DELETE about all of a prefix");
    else if (!query_has(x, QUERY_PREFIX))
        reply_bad_request(x, "DELETE takes a key in the path, or prefix= for all that begin so");
    else if (query_bytes(x, QUERY_PREFIX, LIMIT_KEY_BYTES, &prefix) &&
             query_word(x, QUERY_CONFIRM, words, &word) && prefix.len == 0 &&
             !query_has(x, QUERY_CONFIRM))
        reply_bad_request(x, "an empty prefix is every key: that needs confirm=all");
    if (x->status == 0) {
        struct node_request *r = node_request_new(NODE_WRITE);
        struct kv_op op = {.type = KV_OP_REMOVE_PREFIX,
                           .key = prefix.data,
                           .key_len = prefix.len,
                           .max = LIMIT_REMOVE_KEYS};
        once_put(x, &r->in.write.body);
        kv_body_encode(KV_SINGLE, &op, 1, &r->in.write.body);
        http_submit(x, r);
    }
    buf_free(&prefix);
}

void list_delete_finish(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    struct kv_answer_item item;
    struct bytes_reader in = bytes_reader(r->ret.write.answer.data, r->ret.write.answer.len);
    if (r->err) {
        reply_node_error(x);
    } else if (!kv_answer_next(&in, &item) || item.what != KV_ANSWER_RESULT) {
        reply_err(x, 500, "Internal", "the keys were removed, but the answer is not readable");
    } else if (item.code == KV_TOO_LARGE) {
        reply_too_large(x,
                        "more than %d keys begin with this prefix (no option), and none was "
                        "removed; remove them by longer prefixes",
                        LIMIT_REMOVE_KEYS);
    } else {
        x->revision = r->ret.write.log_id.index;
        buf_printf(&x->out, "{\"deleted\":%" PRIu64 ",\"revision\":%" PRIu64 "}", item.n_deleted,
                   x->revision);
        reply_ok(x);
    }
}
