/* SPDX-License-Identifier: MIT */
#include "kv_operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kv/digest.h"

static const struct uuid NODE = {0xa, 1};

struct kv_pos next_pos(struct fixture *f)
{
    f->index++;
    return (struct kv_pos){1, f->index};
}

int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->base = mem_base_new();
    assert_int_equal(kv_restore(NULL, 0, f->base, &f->kv), 0);
    kv_apply_members(f->kv, next_pos(f), &NODE, 1);
    *state = f;
    return 0;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    kv_free(&f->kv);
    assert_int_equal(mem_base_n_views(f->base), 0);
    f->base->ops->unref(f->base);
    mem_free(f);
    return 0;
}

void checkpoint(struct fixture *f)
{
    struct kv_view *view = kv_view_new(f->kv);
    struct kv_frozen *frozen;
    uint64_t digest = 0;
    assert_int_equal(kv_view_digest(view, &digest), 0);
    assert_true(digest == kv_digest(f->kv));
    kv_view_close(&view);
    assert_int_equal(kv_freeze(f->kv, &frozen), 0);
    struct kv_cursor *run = kv_frozen_cursor(frozen);
    mem_base_add_run(f->base, &run);
    kv_drop_frozen(f->kv, &frozen);
}

void encode(const struct fixture *f, uint64_t seq, const struct kv_op *op, struct buf *out)
{
    struct kv_origin origin = {NODE, 1, seq, seq > 20 ? seq - 20 : 1, kv_member_since(f->kv, NODE)};
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    buf_append(out, header, kv_origin_encode(&origin, header));
    kv_body_encode(KV_SINGLE, op, 1, out);
}

struct kv_answer_item item_of(const struct kv_result *r)
{
    struct bytes_reader answer = bytes_reader(r->answer, r->answer_len);
    struct kv_answer_item item;
    assert_int_equal(r->err, 0);
    assert_true(kv_answer_next(&answer, &item));
    assert_true(bytes_reader_done(&answer));
    return item;
}

struct kv_result apply_seq(struct fixture *f, uint64_t seq, struct kv_op op)
{
    struct buf b = BUF_INIT;
    struct kv_result r;
    encode(f, seq, &op, &b);
    assert_int_equal(kv_apply(f->kv, next_pos(f), b.data, b.len, &r), 0);
    f->item = item_of(&r);
    buf_free(&b);
    return r;
}

enum kv_code apply(struct fixture *f, struct kv_op op)
{
    apply_seq(f, ++f->seq, op);
    assert_int_equal(f->item.what, KV_ANSWER_RESULT);
    return f->item.code;
}

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

struct kv_op op_on(enum kv_op_type type, const char *key)
{
    return (struct kv_op){.type = type, .key = bytes(key), .key_len = strlen(key)};
}

struct kv_op put_op(const char *key, const char *value, const char *attrs)
{
    struct kv_op op = op_on(KV_OP_PUT, key);
    op.value = bytes(value);
    op.value_len = strlen(value);
    op.attrs = bytes(attrs);
    op.attrs_len = strlen(attrs);
    return op;
}

struct kv_op incr_op(const char *key, int64_t by)
{
    struct kv_op op = op_on(KV_OP_INCR, key);
    op.by = by;
    return op;
}

struct kv_op append_op(const char *key, const char *value, uint64_t max)
{
    struct kv_op op = op_on(KV_OP_APPEND, key);
    op.value = bytes(value);
    op.value_len = strlen(value);
    op.max = max;
    return op;
}

struct kv_op remove_prefix_op(const char *prefix, uint64_t max)
{
    struct kv_op op = op_on(KV_OP_REMOVE_PREFIX, prefix);
    op.max = max;
    return op;
}

struct kv_op set_op(const char *key, const char *value)
{
    struct kv_op op = put_op(key, value, "");
    op.type = KV_OP_SET;
    return op;
}

void assert_text(const uint8_t *p, size_t len, const char *expected)
{
    assert_int_equal(len, strlen(expected));
    if (len > 0)
        assert_memory_equal(p, expected, len);
}

void assert_key(struct fixture *f, const char *key, const char *value, const char *attrs)
{
    struct kv_view *view = kv_view_new(f->kv);
    struct kv_value v[2];
    int err[] = {kv_get(f->kv, key, strlen(key), &v[0]),
                 kv_view_get(view, key, strlen(key), &v[1])};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(err[i], value ? 0 : ERR_NOT_FOUND);
        if (value) {
            assert_text(v[i].data, v[i].len, value);
            assert_text(v[i].attrs, v[i].attrs_len, attrs);
        }
    }
    kv_view_close(&view);
}

void assert_revisions(const struct fixture *f, uint64_t revision, uint64_t create_revision,
                      uint64_t version)
{
    assert_int_equal(f->item.revision, revision);
    assert_int_equal(f->item.create_revision, create_revision);
    assert_int_equal(f->item.version, version);
}
