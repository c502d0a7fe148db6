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

/* One operation and the JSON string of its key. */
static bool read_key(struct http_exchange *x, struct json_object *key, struct kv_op *op)
{
    op->key = (const uint8_t *)json_object_get_string(key);
    op->key_len = (size_t)json_object_get_string_len(key);
    if (op->key_len == 0)
        reply_bad_request(x, "a key has 1 to %d bytes", LIMIT_KEY_BYTES);
    else if (op->key_len > LIMIT_KEY_BYTES)
        reply_too_large(x, "the key is %zu bytes long; the limit is %d (no option)", op->key_len,
                        LIMIT_KEY_BYTES);
    return x->status == 0;
}

static bool read_value(struct http_exchange *x, struct json_object *value, struct kv_op *op)
{
    size_t max = x->server->max_value_size;
    op->value = (const uint8_t *)json_object_get_string(value);
    op->value_len = (size_t)json_object_get_string_len(value);
    if (op->value_len > max)
        reply_too_large(x, "the value is %zu bytes long; max-value-size is %zu", op->value_len,
                        max);
    return x->status == 0;
}

/* {"Set":{"key":"k","value":"v"}} or {"Delete":{"key":"k"}}; answers 400 or 413 otherwise. */
static bool read_op(struct http_exchange *x, struct json_object *json, struct kv_op *op)
{
    struct json_object *fields = NULL, *key = NULL, *value = NULL;
    if (json_object_is_type(json, json_type_object) && json_object_object_length(json) == 1) {
        if (json_object_object_get_ex(json, "Set", &fields))
            op->type = KV_OP_SET;
        else if (json_object_object_get_ex(json, "Delete", &fields))
            op->type = KV_OP_DELETE;
    }
    if (!json_object_is_type(fields, json_type_object)) {
        reply_bad_request(x, "expected {\"Set\":{\"key\":\"...\",\"value\":\"...\"}} or "
                             "{\"Delete\":{\"key\":\"...\"}}");
        return false;
    }
    bool set = op->type == KV_OP_SET;
    json_object_object_get_ex(fields, "key", &key);
    json_object_object_get_ex(fields, "value", &value);
    if (json_object_object_length(fields) != (set ? 2 : 1) ||
        !json_object_is_type(key, json_type_string) ||
        (set && !json_object_is_type(value, json_type_string))) {
        reply_bad_request(x, set ? "Set takes exactly \"key\" and \"value\", both strings"
                                 : "Delete takes exactly \"key\", a string");
        return false;
    }
    return read_key(x, key, op) && (!set || read_value(x, value, op));
}

static void submit_write(struct http_exchange *x, enum kv_kind kind, const struct kv_op ops[],
                         size_t n)
{
    struct node_request *r = node_request_new(NODE_WRITE);
    once_put(x, &r->in.write.body);
    kv_body_encode(kind, ops, n, &r->in.write.body);
    buf_reuse(&x->body, HTTP_KEPT_BYTES);
    http_submit(x, r);
}

static void start_batch(struct http_exchange *x, struct json_object *batch)
{
    size_t n = json_object_is_type(batch, json_type_array) ? json_object_array_length(batch) : 0;
    size_t max = x->server->max_value_size, sum = 0;
    if (n == 0 || n > LIMIT_BATCH_OPS) {
        reply_err(x, n ? 413 : 400, n ? "TooLarge" : "BadRequest",
                  "Batch takes an array of 1 to %d Sets and Deletes", LIMIT_BATCH_OPS);
        return;
    }
    max = max > WRITE_BATCH_BYTES ? max : WRITE_BATCH_BYTES;
    struct kv_op *ops = mem_array(n, sizeof *ops);
    for (size_t i = 0; i < n && x->status == 0; i++)
        if (read_op(x, json_object_array_get_idx(batch, i), &ops[i]))
            sum += ops[i].key_len + ops[i].value_len;
    if (x->status == 0 && sum > max)
        reply_too_large(x,
                        "the keys and values of the Batch are %zu bytes; the limit is %zu (4 "
                        "MiB, or max-value-size when that is more)",
                        sum, max);
    if (x->status == 0)
        submit_write(x, KV_BATCH, ops, n);
    mem_free(ops);
}

void write_start(struct http_exchange *x)
{
    struct json_object *batch;
    struct kv_op op = {.type = KV_OP_SET};
    if (!reply_read_json(x))
        return;
    if (json_object_is_type(x->json, json_type_object) && json_object_object_length(x->json) == 1 &&
        json_object_object_get_ex(x->json, "Batch", &batch))
        start_batch(x, batch);
    else if (read_op(x, x->json, &op))
        submit_write(x, KV_SINGLE, &op, 1);
}

/* What one operation found. Of a Set that is its own value, which stands in the question. */
static void write_item(struct buf *out, const struct kv_answer_item *item, struct json_object *op)
{
    struct json_object *set = NULL, *value = NULL;
    switch (item->what) {
    case KV_ANSWER_SET:
        json_object_object_get_ex(op, "Set", &set);
        json_object_object_get_ex(set, "value", &value);
        json_out_text(out, json_object_get_string(value),
                      (size_t)json_object_get_string_len(value));
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
    const struct buf *answer = &x->request->ret.write.answer;
    struct bytes_reader r = bytes_reader(answer->data, answer->len);
    struct kv_answer_item item;
    struct json_object *batch = NULL;
    if (!json_object_object_get_ex(x->json, "Batch", &batch)) {
        if (!kv_answer_next(&r, &item))
            return false;
        write_item(&x->out, &item, x->json);
        return true;
    }
    size_t n = json_object_array_length(batch);
    for (size_t i = 0; i < n; i++) {
        if (!kv_answer_next(&r, &item))
            return false;
        buf_append(&x->out, i ? "," : "[", 1);
        write_item(&x->out, &item, json_object_array_get_idx(batch, i));
    }
    buf_append(&x->out, "]", 1);
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

void read_start(struct http_exchange *x)
{
    struct kv_op op;
    if (!reply_read_json(x))
        return;
    if (!json_object_is_type(x->json, json_type_string)) {
        reply_bad_request(x, "expected a key as a JSON string, such as \"k\"");
        return;
    }
    if (read_key(x, x->json, &op))
        http_submit(x, node_request_new(NODE_READ));
}

void read_finish(struct http_exchange *x)
{
    struct buf value = BUF_INIT;
    const char *key = json_object_get_string(x->json);
    size_t key_len = (size_t)json_object_get_string_len(x->json);
    if (x->request->err) {
        reply_node_error(x);
        return;
    }
    int err = node_get(x->server->node, key, key_len, &value);
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
