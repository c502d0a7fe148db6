/* SPDX-License-Identifier: MIT
 * PUT, DELETE and POST of /v1/kv/{key}: a value as it is, its removal, a
 * counter, and bytes at the end of a value; each on condition, if wanted.
 */
#include "api/keys.h"

#include <string.h>

#include "api/decode.h"
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/once.h"
#include "api/reply.h"
#include "base/bytes.h"
#include "kv/attrs.h"
#include "kv/command.h"

/* ---- asking ---- */

/* One tag as a condition. A weak tag and one of another kind can never match: a revision that no
 * key has lets the store find that out, and say what is there instead. */
static bool match_condition(struct http_exchange *x, struct kv_condition *ret)
{
    struct etag_list tags;
    if (!keys_read_tags(x, "If-Match", x->headers.if_match, &tags))
        return false;
    if (tags.any) {
        ret->what = KV_IF_EXISTS;
        return true;
    }
    if (tags.n > 1) {
        reply_bad_request(x, "If-Match of a write takes a star or one entity tag");
        return false;
    }
    ret->what = KV_IF_REVISION;
    ret->revision = tags.tags[0].weak ? ETAG_NO_REVISION : tags.tags[0].revision;
    return true;
}

static bool none_match_condition(struct http_exchange *x, struct kv_condition *ret)
{
    struct etag_list tags;
    if (!keys_read_tags(x, "If-None-Match", x->headers.if_none_match, &tags))
        return false;
    if (!tags.any)
        reply_bad_request(x, "If-None-Match of a write takes a star alone: the key is to be new");
    ret->what = KV_IF_ABSENT;
    return tags.any;
}

static bool read_condition(struct http_exchange *x, struct kv_condition *ret)
{
    const struct http_headers *h = &x->headers;
    *ret = (struct kv_condition){.what = KV_IF_ANY};
    if (h->if_match && h->if_none_match) {
        reply_bad_request(x, "If-Match and If-None-Match contradict each other");
        return false;
    }
    if (h->if_match)
        return match_condition(x, ret);
    return !h->if_none_match || none_match_condition(x, ret);
}

static struct kv_op op_of(const struct http_exchange *x, enum kv_op_type type)
{
    return (struct kv_op){
        .type = type,
        .key = (const uint8_t *)x->param,
        .key_len = x->param_len,
        .value = x->body.data,
        .value_len = x->body.len,
    };
}

static void submit(struct http_exchange *x, const struct kv_op *op)
{
    struct node_request *r = node_request_new(NODE_WRITE);
    once_put(x, &r->in.write.body);
    kv_body_encode(KV_SINGLE, op, 1, &r->in.write.body);
    buf_reuse(&x->body, HTTP_KEPT_BYTES);
    http_submit(x, r);
}

static bool read_content_type(struct http_exchange *x, struct buf *attrs)
{
    const char *type = x->headers.content_type;
    int err = type ? kv_attrs_put_content_type(attrs, type, strlen(type)) : 0;
    if (err)
        reply_bad_request(x, "a Content-Type is printable ASCII, at most %d bytes",
                          (int)LIMIT_CONTENT_TYPE_BYTES);
    return err == 0;
}

void keys_put_start(struct http_exchange *x)
{
    struct buf attrs = BUF_INIT;
    struct kv_op op = op_of(x, KV_OP_PUT);
    if (read_condition(x, &op.condition) && query_flag(x, QUERY_PREV, &op.want_prev) &&
        read_content_type(x, &attrs)) {
        op.attrs = attrs.data;
        op.attrs_len = attrs.len;
        submit(x, &op);
    }
    buf_free(&attrs);
}

static bool has_no_body(struct http_exchange *x, const char *what)
{
    if (x->body.len > 0)
        reply_bad_request(x, "%s takes no body", what);
    return x->body.len == 0;
}

void keys_delete_start(struct http_exchange *x)
{
    struct kv_op op = op_of(x, KV_OP_REMOVE);
    if (!has_no_body(x, "DELETE"))
        return;
    if (x->headers.if_none_match)
        reply_bad_request(x, "DELETE takes no If-None-Match");
    else if (read_condition(x, &op.condition) && query_flag(x, QUERY_PREV, &op.want_prev))
        submit(x, &op);
}

static void start_incr(struct http_exchange *x)
{
    struct kv_op op = op_of(x, KV_OP_INCR);
    op.by = 1;
    if (has_no_body(x, "op=incr") && query_i64(x, QUERY_BY, &op.by) &&
        read_condition(x, &op.condition))
        submit(x, &op);
}

static void start_append(struct http_exchange *x)
{
    struct kv_op op = op_of(x, KV_OP_APPEND);
    op.max = x->server->max_value_size;
    if (query_has(x, QUERY_BY))
        reply_bad_request(x, "by= goes with op=incr");
    else if (read_condition(x, &op.condition))
        submit(x, &op);
}

void keys_post_start(struct http_exchange *x)
{
    static const char *const ops[] = {"incr", "append", NULL};
    unsigned op = 0;
    if (!query_has(x, QUERY_OP))
        reply_bad_request(x, "POST takes op=incr or op=append; a value is stored by PUT");
    else if (query_word(x, QUERY_OP, ops, &op))
        (op == 0 ? start_incr : start_append)(x);
}

/* ---- answers ---- */

static struct kv_value info_of(const struct kv_answer_item *item)
{
    return (struct kv_value){.revision = item->revision,
                             .create_revision = item->create_revision,
                             .version = item->version};
}

static void refuse_conflict(struct http_exchange *x, const char *reason, const char *text)
{
    struct buf details = BUF_INIT;
    buf_printf(&details, "{\"reason\":\"%s\"}", reason);
    reply_v1_err(x, 409, "Conflict", buf_str(&details), "%s", text);
    buf_free(&details);
}

/* What was not done, and why not. */
static void refuse(struct http_exchange *x, const struct kv_answer_item *item)
{
    struct kv_value now = info_of(item);
    switch (item->code) {
    case KV_DONE:
        break;
    case KV_MISMATCH:
        keys_refuse_mismatch(x, &now);
        break;
    case KV_NOT_FOUND:
        keys_refuse_missing(x);
        break;
    case KV_NOT_A_NUMBER:
        refuse_conflict(x, "not_a_number", "the value is no decimal number within 64 bits");
        break;
    case KV_OVERFLOW:
        refuse_conflict(x, "overflow", "the sum is beyond 64 bits");
        break;
    case KV_TOO_LARGE:
        reply_too_large(x, "the value would be larger than %zu bytes (max-value-size)",
                        (size_t)x->server->max_value_size);
        break;
    }
}

/* The answer of the operation when it was carried out. False: everything is said. */
static bool read_result(struct http_exchange *x, struct kv_answer_item *ret_item)
{
    const struct node_request *r = x->request;
    if (r->err == ERR_TOO_LARGE)
        reply_too_large(x, "the write is too large for the log (max-value-size is %zu)",
                        (size_t)x->server->max_value_size);
    else if (r->err)
        reply_node_error(x);
    if (r->err)
        return false;
    struct bytes_reader in = bytes_reader(r->ret.write.answer.data, r->ret.write.answer.len);
    if (!kv_answer_next(&in, ret_item) || ret_item->what != KV_ANSWER_RESULT) {
        reply_err(x, 500, "Internal", "the write was done, but its answer is not readable");
        return false;
    }
    refuse(x, ret_item);
    return x->status == 0;
}

/* Up to its closing brace. */
static void begin_answer(struct http_exchange *x, const struct kv_answer_item *item)
{
    struct kv_value info = info_of(item);
    keys_tell_revision(x, &info);
    buf_append(&x->out, "{", 1);
    json_out_member(&x->out, "key", x->param, x->param_len);
    buf_append_str(&x->out, ",\"revision\":");
    buf_append_number(&x->out, item->revision);
    buf_append_str(&x->out, item->created ? ",\"created\":true" : ",\"created\":false");
}

static void end_answer(struct http_exchange *x, unsigned status)
{
    buf_append(&x->out, "}", 1);
    x->status = status;
}

/* What was there before, null for nothing. */
static void write_prev(struct http_exchange *x, const struct kv_answer_item *item)
{
    size_t len = 0;
    bool wanted = false;
    if (!query_flag(x, QUERY_PREV, &wanted) || !wanted)
        return;
    if (!item->has_value) {
        buf_append_str(&x->out, ",\"prev\":null");
        return;
    }
    buf_append_str(&x->out, ",\"prev\":{");
    json_out_member(&x->out, "value", item->value, item->value_len);
    const uint8_t *type = kv_attrs_get(item->attrs, item->attrs_len, KV_ATTR_CONTENT_TYPE, &len);
    if (type) {
        buf_append(&x->out, ",", 1);
        json_out_member(&x->out, "content_type", type, len);
    }
    buf_append(&x->out, "}", 1);
}

void keys_put_finish(struct http_exchange *x)
{
    struct kv_answer_item item;
    if (!read_result(x, &item))
        return;
    begin_answer(x, &item);
    write_prev(x, &item);
    end_answer(x, item.created ? 201 : 200);
}

void keys_delete_finish(struct http_exchange *x)
{
    struct kv_answer_item item;
    if (!read_result(x, &item))
        return;
    x->revision = item.revision;
    buf_printf(&x->out, "{\"deleted\":%llu,\"revision\":%llu", (unsigned long long)item.n_deleted,
               (unsigned long long)item.revision);
    write_prev(x, &item);
    end_answer(x, 200);
}

void keys_post_finish(struct http_exchange *x)
{
    struct kv_answer_item item;
    int64_t number = 0;
    if (!read_result(x, &item))
        return;
    begin_answer(x, &item);
    if (item.has_value && decode_i64((const char *)item.value, item.value_len, &number) == 0)
        buf_printf(&x->out, ",\"value\":%lld", (long long)number);
    end_answer(x, item.created ? 201 : 200);
}
