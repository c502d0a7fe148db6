/* SPDX-License-Identifier: MIT */
#include "kv/answer.h"

#include "base/limits.h"

enum { RESULT_CREATED = 1, RESULT_HAS_VALUE = 2, RESULT_FLAGS = 3 };

static void put_result(struct buf *out, const struct kv_answer_item *item)
{
    buf_put_u8(out, (uint8_t)item->code);
    buf_put_u8(out, (uint8_t)((item->created ? RESULT_CREATED : 0) |
                              (item->has_value ? RESULT_HAS_VALUE : 0)));
    buf_put_varint(out, item->revision);
    buf_put_varint(out, item->create_revision);
    buf_put_varint(out, item->version);
    buf_put_varint(out, item->n_deleted);
    if (item->has_value) {
        buf_put_string(out, item->value, item->value_len);
        buf_put_string(out, item->attrs, item->attrs_len);
    }
}

void kv_answer_put(struct buf *out, const struct kv_answer_item *item)
{
    buf_put_u8(out, (uint8_t)item->what);
    if (item->what == KV_ANSWER_OLD)
        buf_put_string(out, item->value, item->value_len);
    else if (item->what == KV_ANSWER_RESULT)
        put_result(out, item);
}

/* False: malformed. */
static bool read_result(struct bytes_reader *r, struct kv_answer_item *item)
{
    uint8_t code = bytes_read_u8(r), flags = bytes_read_u8(r);
    item->revision = bytes_read_varint(r);
    item->create_revision = bytes_read_varint(r);
    item->version = bytes_read_varint(r);
    item->n_deleted = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || code >= KV_CODES || flags > RESULT_FLAGS)
        return false;
    item->code = code;
    item->created = flags & RESULT_CREATED;
    item->has_value = flags & RESULT_HAS_VALUE;
    if (!item->has_value)
        return true;
    item->value = bytes_read_string(r, LIMIT_VALUE_BYTES, &item->value_len);
    item->attrs = bytes_read_string(r, LIMIT_ATTRS_BYTES, &item->attrs_len);
    return item->value && item->attrs;
}

bool kv_answer_next(struct bytes_reader *r, struct kv_answer_item *ret_item)
{
    uint8_t what = bytes_read_u8(r);
    if (!bytes_reader_ok(r) || what > KV_ANSWER_RESULT)
        return false;
    struct kv_answer_item item = {.what = what};
    if (what == KV_ANSWER_OLD) {
        item.value = bytes_read_string(r, LIMIT_VALUE_BYTES, &item.value_len);
        if (!item.value)
            return false;
    }
    if (what == KV_ANSWER_RESULT && !read_result(r, &item))
        return false;
    *ret_item = item;
    return true;
}
