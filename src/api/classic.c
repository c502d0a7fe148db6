/* SPDX-License-Identifier: MIT
 * POST /write and /read of the classic dialect.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <string.h>

#include "api/json_in.h"
#include "api/json_out.h"
#include "api/once.h"
#include "api/reply.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "kv/command.h"

/* ---- what is asked for ---- */

static bool check_key(struct http_exchange *x, size_t len)
{
    if (len == 0)
        reply_bad_request(x, "a key has 1 to %d bytes", LIMIT_KEY_BYTES);
    else if (len > LIMIT_KEY_BYTES)
        reply_too_large(x, "the key is %zu bytes long; the limit is %d (no option)", len,
                        LIMIT_KEY_BYTES);
    return x->status == 0;
}

static bool check_value(struct http_exchange *x, size_t len)
{
    size_t max = x->server->max_value_size;
    if (len > max)
        reply_too_large(x, "the value is %zu bytes long; max-value-size is %zu", len, max);
    return x->status == 0;
}

/* {"key":"k","value":"v"}, in any order, after the brace; without a value for a Delete. */
static bool read_fields(struct json_reader *in, struct kv_op *op)
{
    struct json_string name, key = {NULL, 0}, value = {NULL, 0};
    bool set = op->type == KV_OP_SET, good = true;
    while (good && json_read_name(in, &name)) {
        bool is_value = set && json_string_is(&name, "value");
        struct json_string *field = is_value ? &value : &key;
        good = (is_value || json_string_is(&name, "key")) && !field->p;
        good = good && json_read_string(in, field);
    }
    op->key = key.p;
    op->key_len = key.len;
    op->value = value.p;
    op->value_len = value.len;
    return good && key.p && (value.p || !set);
}

/* The name of what a write, or a part of a Batch, is. */
static bool read_verb(struct json_reader *in, struct json_string *ret_verb)
{
    return json_read_open(in, '{') && json_read_name(in, ret_verb);
}

/* {"Set":{"key":"k","value":"v"}} or {"Delete":{"key":"k"}}, after the name. When it is false and
 * nothing was answered, it is neither. */
static bool read_op(struct http_exchange *x, struct json_reader *in, const struct json_string *verb,
                    struct kv_op *op)
{
    bool set = json_string_is(verb, "Set");
    if ((!set && !json_string_is(verb, "Delete")) || !json_read_open(in, '{'))
        return false;
    *op = (struct kv_op){.type = set ? KV_OP_SET : KV_OP_DELETE};
    if (!read_fields(in, op)) {
        reply_bad_request(x, set ? "Set takes exactly \"key\" and \"value\", both strings"
                                 : "Delete takes exactly \"key\", a string");
        return false;
    }
    return !json_read_more(in, '}') && check_key(x, op->key_len) && check_value(x, op->value_len);
}

/* False: something follows, or what came before is not JSON. */
static bool submit_write(struct http_exchange *x, struct json_reader *in, enum kv_kind kind,
                         const struct kv_op ops[], size_t n)
{
    if (!json_read_end(in))
        return false;
    struct node_request *r = node_request_new(NODE_WRITE);
    once_put(x, &r->in.write.body);
    kv_body_encode(kind, ops, n, &r->in.write.body);
    buf_reuse(&x->body, HTTP_KEPT_BYTES);
    http_submit(x, r);
    return true;
}

/* The operations of a Batch, after its name. */
static bool read_ops(struct http_exchange *x, struct json_reader *in, struct kv_op ops[],
                     size_t *ret_n)
{
    size_t max = x->server->max_value_size, sum = 0, n = 0;
    struct json_string verb;
    bool more = json_read_open(in, '[') && json_read_more(in, ']');
    for (; more && n < LIMIT_BATCH_OPS; more = json_read_more(in, ']'), n++) {
        if (!read_verb(in, &verb) || !read_op(x, in, &verb, &ops[n]))
            return false;
        sum += ops[n].key_len + ops[n].value_len;
    }
    max = max > WRITE_BATCH_BYTES ? max : WRITE_BATCH_BYTES;
    if (n == 0 || more)
        reply_err(x, n ? 413 : 400, n ? "TooLarge" : "BadRequest",
                  "Batch takes an array of 1 to %d Sets and Deletes", LIMIT_BATCH_OPS);
    else if (sum > max)
        reply_too_large(x,
                        "the keys and values of the Batch are %zu bytes; the limit is %zu (4 "
                        "MiB, or max-value-size when that is more)",
                        sum, max);
    *ret_n = n;
    return x->status == 0;
}

static bool start_batch(struct http_exchange *x, struct json_reader *in)
{
    size_t n = 0, n_max = x->body.len / strlen("{\"Delete\":{\"key\":\"k\"}}") + 1;
    struct kv_op *ops = mem_array(n_max < LIMIT_BATCH_OPS ? n_max : LIMIT_BATCH_OPS, sizeof *ops);
    bool good = read_ops(x, in, ops, &n) && !json_read_more(in, '}') &&
                submit_write(x, in, KV_BATCH, ops, n);
    mem_free(ops);
    return good;
}

void write_start(struct http_exchange *x)
{
    struct json_reader in;
    struct json_string verb = {NULL, 0};
    struct kv_op op;
    json_reader_init(&in, &x->body);
    bool good = read_verb(&in, &verb);
    if (good && json_string_is(&verb, "Batch"))
        good = start_batch(x, &in);
    else
        good = good && read_op(x, &in, &verb, &op) && submit_write(x, &in, KV_SINGLE, &op, 1);
    json_reader_free(&in);
    if (!good && x->status == 0)
        reply_bad_request(x, "expected {\"Set\":{\"key\":\"...\",\"value\":\"...\"}} or "
                             "{\"Delete\":{\"key\":\"...\"}}");
    if (!good)
        reply_malformed(x);
}

/* ---- answers ---- */

/* What one operation found. Of a Set that is its own value. */
static void write_item(struct buf *out, const struct kv_answer_item *item, const struct kv_op *op)
{
    switch (item->what) {
    case KV_ANSWER_SET:
        json_out_text(out, op->value, op->value_len);
        break;
    case KV_ANSWER_OLD:
        json_out_value(out, item->value, item->value_len);
        break;
    case KV_ANSWER_NONE:
    case KV_ANSWER_RESULT: /* of /v1, not asked for here */
        buf_append_str(out, "null");
        break;
    }
}

static bool write_answer(struct http_exchange *x)
{
    const struct buf *answer = &x->request->ret.write.answer, *body = &x->request->in.write.body;
    struct bytes_reader r = bytes_reader(answer->data, answer->len);
    struct kv_command_reader asked;
    struct kv_answer_item item;
    struct kv_op op;
    if (kv_body_peek(body->data, body->len, &asked) != 0)
        return false;
    for (size_t i = 0; i < asked.n_ops; i++) {
        if (!kv_op_next(&asked.ops, &op) || !kv_answer_next(&r, &item))
            return false;
        if (asked.kind == KV_BATCH)
            buf_append(&x->out, i ? "," : "[", 1);
        write_item(&x->out, &item, &op);
    }
    buf_append_str(&x->out, asked.kind == KV_BATCH ? "]" : "");
    return true;
}

void write_finish(struct http_exchange *x)
{
    struct node_request *r = x->request;
    if (r->err == ERR_TOO_LARGE) {
        reply_too_large(x, "the write is too large for the log (max-value-size is %zu)",
                        x->server->max_value_size);
        return;
    }
    if (r->err) {
        reply_node_error(x);
        return;
    }
    buf_append_str(&x->out, "{\"Ok\":{\"log_id\":");
    json_out_log_id(&x->out, &r->ret.write.log_id);
    buf_append_str(&x->out, ",\"data\":{\"value\":");
    if (!write_answer(x)) {
        reply_api_err(x, 500, "Internal", "the write was done, but its answer is not readable");
        return;
    }
    buf_append_str(&x->out, "},\"membership\":null}}");
    reply_ok(x);
}

/* ---- /read ---- */

void read_start(struct http_exchange *x)
{
    struct json_reader in;
    struct json_string key;
    json_reader_init(&in, &x->body);
    if (!json_read_string(&in, &key) || !json_read_end(&in)) {
        reply_bad_request(x, "expected a key as a JSON string, such as \"k\"");
        reply_malformed(x);
    } else if (check_key(x, key.len)) {
        memcpy(x->param, key.p, key.len);
        x->param_len = key.len;
        http_submit(x, node_request_new(NODE_READ));
    }
    json_reader_free(&in);
}

void read_finish(struct http_exchange *x)
{
    struct buf value = BUF_INIT;
    if (x->request->err) {
        reply_node_error(x);
        return;
    }
    int err = node_get(x->server->node, x->param, x->param_len, &value);
    buf_append_str(&x->out, "{\"Ok\":");
    if (err == ERR_NOT_FOUND)
        reply_err_json(x, 404, "\"KeyNotFound\"");
    else if (err)
        reply_api_err(x, 500, "Internal", "%s", err_text(err));
    else if (json_out_string(&x->out, value.data, value.len) != 0)
        reply_err_json(x, 422, "\"NotUtf8\"");
    else {
        buf_append(&x->out, "}", 1);
        reply_ok(x);
    }
    buf_free(&value);
}
