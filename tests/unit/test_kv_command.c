/* SPDX-License-Identifier: MIT
 * kv/command: bytes of commands and answers, good and bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/attrs.h"
#include "kv/kv.h"

static const struct kv_origin ORIGIN = {{0x1122334455667788, 0x99aabbccddeeff00}, 3, 1000, 990, 77};

static struct kv_op set_op(const char *key, const char *value)
{
    return (struct kv_op){.type = KV_OP_SET,
                          .key = (const uint8_t *)key,
                          .key_len = strlen(key),
                          .value = (const uint8_t *)value,
                          .value_len = strlen(value)};
}

static struct kv_op delete_op(const char *key)
{
    return (struct kv_op){.type = KV_OP_DELETE, .key = (const uint8_t *)key, strlen(key)};
}

static struct buf command_of(const struct kv_origin *origin, enum kv_kind kind,
                             const struct kv_op ops[], size_t n)
{
    struct buf b = BUF_INIT;
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    buf_append(&b, header, kv_origin_encode(origin, header));
    kv_body_encode(kind, ops, n, &b);
    return b;
}

/* A batch with every kind of operation, an empty value, and bytes beyond text. */
static struct buf sample_batch(void)
{
    struct kv_op ops[] = {set_op("a", "1"),
                          delete_op("b\xff"),
                          set_op("c", ""),
                          {.type = KV_OP_SET,
                           .key = (const uint8_t *)"z\0z",
                           .key_len = 3,
                           .value = (const uint8_t *)"\0",
                           .value_len = 1}};
    return command_of(&ORIGIN, KV_BATCH, ops, 4);
}

static void test_command_batch_round_trips(void **state)
{
    (void)state;
    struct buf b = sample_batch();
    struct kv_command c;
    assert_int_equal(kv_command_decode(b.data, b.len, &c), 0);
    assert_true(uuid_equal(c.origin.node, ORIGIN.node));
    assert_int_equal(c.origin.boot, 3);
    assert_int_equal(c.origin.seq, 1000);
    assert_int_equal(c.origin.floor, 990);
    assert_int_equal(c.kind, KV_BATCH);
    assert_int_equal(c.n_ops, 4);
    assert_int_equal(c.ops[0].type, KV_OP_SET);
    assert_memory_equal(c.ops[0].value, "1", 1);
    assert_int_equal(c.ops[1].type, KV_OP_DELETE);
    assert_memory_equal(c.ops[1].key, "b\xff", 2);
    assert_int_equal(c.ops[2].value_len, 0);
    assert_int_equal(c.ops[3].key_len, 3);
    assert_memory_equal(c.ops[3].key, "z\0z", 3);
    assert_int_equal(c.ops[3].value_len, 1);
    kv_command_free(&c);
    assert_null(c.ops);
    buf_free(&b);
}

/* One of each operation of /v1, with everything that it can have. */
#define N_V1_OPS 5
static struct kv_op v1_op(unsigned i)
{
    static const enum kv_op_type types[N_V1_OPS] = {KV_OP_PUT, KV_OP_REMOVE, KV_OP_REMOVE_PREFIX,
                                                    KV_OP_INCR, KV_OP_APPEND};
    struct kv_op op = set_op("key\xff", "value");
    op.type = types[i];
    op.attrs = (const uint8_t *)"\1\5a/b;c";
    op.attrs_len = 7;
    op.condition.what = KV_IF_REVISION;
    op.condition.revision = UINT64_MAX - 1;
    op.want_prev = true;
    op.by = INT64_MIN;
    op.max = LIMIT_REMOVE_KEYS;
    return op;
}

static struct buf v1_command(unsigned i)
{
    struct kv_op op = v1_op(i);
    return command_of(&ORIGIN, KV_SINGLE, &op, 1);
}

static void assert_bytes(const uint8_t *p, size_t len, const uint8_t *expected, size_t n)
{
    assert_int_equal(len, n);
    if (n > 0)
        assert_memory_equal(p, expected, n);
}

static void test_command_v1_operations_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_V1_OPS; i++) {
        struct buf b = v1_command(i);
        struct kv_command c;
        assert_int_equal(kv_command_decode(b.data, b.len, &c), 0);
        assert_int_equal(c.n_ops, 1);
        const struct kv_op in = v1_op(i), *op = &c.ops[0];
        bool puts = in.type == KV_OP_PUT, removes = in.type == KV_OP_REMOVE;
        bool prefix = in.type == KV_OP_REMOVE_PREFIX, appends = in.type == KV_OP_APPEND;
        assert_int_equal(op->type, in.type);
        assert_bytes(op->key, op->key_len, in.key, in.key_len);
        assert_bytes(op->value, op->value_len, in.value, puts || appends ? in.value_len : 0);
        assert_bytes(op->attrs, op->attrs_len, in.attrs, puts ? in.attrs_len : 0);
        assert_int_equal(op->condition.what, prefix ? KV_IF_ANY : KV_IF_REVISION);
        assert_true(op->condition.revision == (prefix ? 0 : in.condition.revision));
        assert_int_equal(op->want_prev, puts || removes);
        assert_true(op->by == (in.type == KV_OP_INCR ? in.by : 0));
        assert_int_equal(op->max, prefix || appends ? in.max : 0);
        kv_command_free(&c);
        buf_free(&b);
    }
}

static void test_command_v1_operations_are_no_part_of_a_batch(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_V1_OPS; i++) {
        struct buf b = BUF_INIT;
        struct kv_op ops[] = {set_op("a", "1"), v1_op(i)};
        kv_body_encode(KV_BATCH, ops, 2, &b);
        assert_int_equal(kv_body_check(b.data, b.len), ERR_INVALID);
        buf_clear(&b);
        kv_body_encode(KV_SINGLE, &ops[1], 1, &b);
        assert_int_equal(kv_body_check(b.data, b.len), 0);
        buf_free(&b);
    }
}

static void test_command_v1_operations_have_no_value_out_of_range(void **state)
{
    (void)state;
    struct kv_op op = v1_op(2);
    struct buf b = BUF_INIT;
    op.max = LIMIT_REMOVE_KEYS + 1;
    kv_body_encode(KV_SINGLE, &op, 1, &b);
    assert_int_equal(kv_body_check(b.data, b.len), ERR_TOO_LARGE);
    buf_clear(&b);
    op.max = 1;
    op.key_len = 0; /* everything */
    kv_body_encode(KV_SINGLE, &op, 1, &b);
    assert_int_equal(kv_body_check(b.data, b.len), 0);
    buf_clear(&b);
    buf_append(&b, "\1\4\1k\4\0", 6); /* Remove, key, a condition that there is not */
    assert_int_equal(kv_body_check(b.data, b.len), ERR_INVALID);
    memcpy(b.data + 4, "\2\2", 2); /* neither 0 nor 1 for want_prev */
    assert_int_equal(kv_body_check(b.data, b.len), ERR_INVALID);
    b.data[5] = 1;
    assert_int_equal(kv_body_check(b.data, b.len), 0);
    buf_free(&b);
}

static void test_body_that_only_takes_away_does_not_grow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_V1_OPS; i++) {
        struct kv_op op = v1_op(i);
        struct buf b = BUF_INIT;
        kv_body_encode(KV_SINGLE, &op, 1, &b);
        assert_int_equal(kv_body_grows(b.data, b.len),
                         op.type != KV_OP_REMOVE && op.type != KV_OP_REMOVE_PREFIX);
        buf_free(&b);
    }
}

static void test_command_largest_numbers_round_trip(void **state)
{
    (void)state;
    struct kv_origin origin = {{UINT64_MAX, UINT64_MAX}, UINT64_MAX, UINT64_MAX, 1, UINT64_MAX};
    struct kv_op op = set_op("k", "v");
    struct buf b = command_of(&origin, KV_SINGLE, &op, 1);
    struct kv_command_reader r;
    assert_int_equal(kv_command_open(b.data, b.len, &r), 0);
    assert_true(r.origin.boot == UINT64_MAX && r.origin.seq == UINT64_MAX && r.origin.floor == 1 &&
                r.origin.member_since == UINT64_MAX);
    buf_free(&b);
}

/* It does not look at the operations, and reading them ends where they are malformed. */
static void test_command_peek_reads_operations_up_to_a_malformed_one(void **state)
{
    (void)state;
    struct kv_origin origin = {{1, 2}, 3, 9, 4, 5};
    struct kv_op ops[2] = {set_op("a", "v"), delete_op("b")}, op;
    struct kv_command_reader r;
    struct buf b = command_of(&origin, KV_BATCH, ops, 2), body = BUF_INIT;
    b.data[b.len - 1 - 2] = 99; /* in place of the Delete's number */
    assert_int_equal(kv_command_open(b.data, b.len, &r), ERR_INVALID);
    assert_int_equal(kv_command_peek(b.data, b.len, &r), 0);
    assert_true(r.origin.seq == 9 && r.kind == KV_BATCH && r.n_ops == 2);
    assert_true(kv_op_next(&r.ops, &op));
    assert_true(op.type == KV_OP_SET && op.key_len == 1 && op.key[0] == 'a');
    assert_false(kv_op_next(&r.ops, &op));
    assert_int_equal(kv_command_peek(b.data, 3, &r), ERR_INVALID);
    kv_body_encode(KV_BATCH, ops, 1, &body);
    assert_int_equal(kv_body_peek(body.data, body.len, &r), 0);
    assert_true(r.kind == KV_BATCH && r.n_ops == 1 && kv_op_next(&r.ops, &op));
    assert_int_equal(kv_body_peek(body.data, 1, &r), ERR_INVALID);
    buf_free(&b);
    buf_free(&body);
}

static void test_command_of_sets_alone_is_told_from_others(void **state)
{
    (void)state;
    struct kv_origin origin = {{1, 2}, 3, 9, 4, 5};
    struct kv_op ops[3] = {set_op("a", "v"), set_op("b", "w"), delete_op("b")};
    for (unsigned n = 0; n <= 3; n++) {
        struct buf b = command_of(&origin, KV_BATCH, ops, n);
        struct kv_command_reader r;
        assert_int_equal(kv_command_open(b.data, b.len, &r), 0);
        assert_int_equal(r.only_sets, n < 3);
        buf_free(&b);
    }
}

static void assert_no_part_is_a_command(struct buf b)
{
    for (size_t len = 0; len < b.len; len++) {
        /* a copy of exact size, so that a sanitizer sees a read beyond it */
        uint8_t *cut = mem_dup(b.data, len);
        struct kv_command c;
        memset(&c, 0x5a, sizeof c);
        struct kv_command before = c;
        assert_int_equal(kv_command_decode(cut, len, &c), ERR_INVALID);
        assert_memory_equal(&c, &before, sizeof c);
        mem_free(cut);
    }
    buf_put_u8(&b, 0); /* and a byte too many */
    struct kv_command_reader r;
    assert_int_equal(kv_command_open(b.data, b.len, &r), ERR_INVALID);
    buf_free(&b);
}

static void test_command_every_truncation_is_invalid(void **state)
{
    (void)state;
    assert_no_part_is_a_command(sample_batch());
    for (unsigned i = 0; i < N_V1_OPS; i++)
        assert_no_part_is_a_command(v1_command(i));
}

/* Everything that an accepted operation points to lies within the bytes. */
static void assert_op_within(const struct kv_op *op, const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;
    assert_true(op->key_len >= 1 || op->type == KV_OP_REMOVE_PREFIX);
    assert_true(op->key >= p && op->key + op->key_len <= end);
    assert_true(!op->value || (op->value >= p && op->value + op->value_len <= end));
    assert_true(!op->attrs || (op->attrs >= p && op->attrs + op->attrs_len <= end));
}

/* Random bytes, mostly the valid command with a few bytes changed. Accepted: how often. */
static unsigned decode_random(const struct buf *valid, struct rng *rng, unsigned n)
{
    unsigned n_accepted = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t len = (size_t)rng_range(rng, 0, valid->len + 4);
        uint8_t *p = mem_alloc(len);
        for (size_t j = 0; j < len; j++)
            p[j] = (uint8_t)rng_next(rng);
        if (i % 4) {
            memcpy(p, valid->data, len < valid->len ? len : valid->len);
            for (uint64_t left = rng_range(rng, 0, 2); left > 0 && len; left--)
                p[rng_range(rng, 0, len - 1)] = (uint8_t)rng_next(rng);
        }
        struct kv_command c;
        int err = kv_command_decode(p, len, &c);
        if (!err) {
            n_accepted++;
            assert_true(c.origin.floor >= 1 && c.origin.floor <= c.origin.seq);
            for (size_t j = 0; j < c.n_ops; j++)
                assert_op_within(&c.ops[j], p, len);
            kv_command_free(&c);
        } else {
            assert_true(err == ERR_INVALID || err == ERR_VERSION || err == ERR_TOO_LARGE);
        }
        mem_free(p);
    }
    return n_accepted;
}

static void test_command_random_bytes_never_read_outside(void **state)
{
    (void)state;
    struct rng rng = {20240607};
    struct buf valid = sample_batch();
    assert_true(decode_random(&valid, &rng, 200000) > 100);
    buf_free(&valid);
    for (unsigned i = 0; i < N_V1_OPS; i++) {
        valid = v1_command(i);
        assert_true(decode_random(&valid, &rng, 50000) > 100);
        buf_free(&valid);
    }
}

static void test_command_whose_floor_would_not_be_positive_is_invalid(void **state)
{
    (void)state;
    struct kv_op op = set_op("k", "v");
    struct {
        uint8_t seq, back;
        int err;
    } cases[] = {
        {0, 0, ERR_INVALID}, {5, 5, ERR_INVALID}, {5, 6, ERR_INVALID}, {5, 4, 0}, {1, 0, 0}};
    for (unsigned i = 0; i < 5; i++) {
        struct buf b = BUF_INIT;
        struct kv_command_reader r;
        buf_put_u8(&b, KV_COMMAND_VERSION);
        buf_put_uuid(&b, ORIGIN.node);
        buf_put_u8(&b, 1); /* member_since */
        buf_put_u8(&b, 1); /* boot */
        buf_put_u8(&b, cases[i].seq);
        buf_put_u8(&b, cases[i].back);
        kv_body_encode(KV_SINGLE, &op, 1, &b);
        assert_int_equal(kv_command_open(b.data, b.len, &r), cases[i].err);
        buf_free(&b);
    }
}

static void test_command_other_version_is_refused(void **state)
{
    (void)state;
    struct buf b = sample_batch();
    struct kv_command_reader r;
    b.data[0] = KV_COMMAND_VERSION + 1;
    assert_int_equal(kv_command_open(b.data, b.len, &r), ERR_VERSION);
    buf_free(&b);
}

/* A body of one Set whose lengths are said, not held. */
static struct buf body_saying(uint64_t key_len, uint64_t value_len)
{
    struct buf b = BUF_INIT;
    uint8_t key[600] = {'k'};
    buf_put_u8(&b, KV_SINGLE);
    buf_put_u8(&b, KV_OP_SET);
    buf_put_varint(&b, key_len);
    buf_append(&b, key, key_len < sizeof key ? key_len : sizeof key);
    buf_put_varint(&b, value_len);
    return b;
}

static int check_and_free(struct buf b)
{
    int err = kv_body_check(b.data, b.len);
    buf_free(&b);
    return err;
}

static void test_body_beyond_its_limits_is_refused(void **state)
{
    (void)state;
    assert_int_equal(check_and_free(body_saying(0, 0)), ERR_INVALID);
    assert_int_equal(check_and_free(body_saying(LIMIT_KEY_BYTES, 0)), 0);
    assert_int_equal(check_and_free(body_saying(LIMIT_KEY_BYTES + 1, 0)), ERR_TOO_LARGE);
    assert_int_equal(check_and_free(body_saying(1, LIMIT_VALUE_BYTES)), ERR_INVALID);
    assert_int_equal(check_and_free(body_saying(1, LIMIT_VALUE_BYTES + 1)), ERR_TOO_LARGE);
    assert_int_equal(check_and_free(body_saying(1, UINT64_MAX)), ERR_TOO_LARGE);
    struct buf b = BUF_INIT;
    buf_put_u8(&b, KV_BATCH);
    buf_put_varint(&b, LIMIT_BATCH_OPS + 1);
    assert_int_equal(check_and_free(b), ERR_TOO_LARGE);
}

static void test_command_largest_value_fits(void **state)
{
    (void)state;
    uint8_t *value = mem_zalloc(LIMIT_VALUE_BYTES);
    uint8_t key[LIMIT_KEY_BYTES];
    memset(key, 'k', sizeof key);
    struct kv_op op = {.type = KV_OP_SET,
                       .key = key,
                       .key_len = sizeof key,
                       .value = value,
                       .value_len = LIMIT_VALUE_BYTES};
    struct buf b = command_of(&ORIGIN, KV_SINGLE, &op, 1);
    struct kv_command_reader r;
    assert_int_equal(kv_command_open(b.data, b.len, &r), 0);
    buf_free(&b);
    mem_free(value);
}

static void test_answer_items_round_trip_and_cuts_end_it(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct kv_answer_item items[] = {
        {.what = KV_ANSWER_SET},
        {.what = KV_ANSWER_OLD, .value = (const uint8_t *)"old", .value_len = 3},
        {.what = KV_ANSWER_NONE}};
    for (unsigned i = 0; i < 3; i++)
        kv_answer_put(&b, &items[i]);
    for (size_t len = 0; len <= b.len; len++) {
        struct bytes_reader r = bytes_reader(b.data, len);
        struct kv_answer_item item;
        unsigned n = 0;
        for (; kv_answer_next(&r, &item); n++) {
            assert_int_equal(item.what, items[n].what);
            if (item.what == KV_ANSWER_OLD)
                assert_memory_equal(item.value, "old", 3);
        }
        assert_int_equal(n, len == b.len ? 3 : len == b.len - 1 ? 2 : len >= 1 ? 1 : 0);
    }
    uint8_t unknown = 9;
    struct bytes_reader r = bytes_reader(&unknown, 1);
    struct kv_answer_item item;
    assert_false(kv_answer_next(&r, &item));
    buf_free(&b);
}

static void assert_same_result(const struct kv_answer_item *a, const struct kv_answer_item *b)
{
    assert_int_equal(a->what, KV_ANSWER_RESULT);
    assert_int_equal(a->code, b->code);
    assert_true(a->revision == b->revision && a->create_revision == b->create_revision &&
                a->version == b->version && a->n_deleted == b->n_deleted);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->has_value, b->has_value);
    assert_bytes(a->value, a->value_len, b->value, b->value_len);
    assert_bytes(a->attrs, a->attrs_len, b->attrs, b->attrs_len);
}

static void test_answer_results_round_trip_and_cuts_end_them(void **state)
{
    (void)state;
    struct kv_answer_item item = {.what = KV_ANSWER_RESULT,
                                  .revision = UINT64_MAX,
                                  .create_revision = 300,
                                  .version = 2,
                                  .n_deleted = LIMIT_REMOVE_KEYS,
                                  .created = true};
    for (unsigned i = 0; i < 3 * KV_CODES; i++) {
        struct buf b = BUF_INIT;
        item.code = i % KV_CODES;
        if (i >= KV_CODES) { /* with a value, at first an empty one */
            item.created = false;
            item.has_value = true;
            item.value = (const uint8_t *)"old value";
            item.value_len = i < 2 * KV_CODES ? 0 : 9;
            item.attrs = (const uint8_t *)"\1\1a";
            item.attrs_len = i < 2 * KV_CODES ? 0 : 3;
        }
        kv_answer_put(&b, &item);
        for (size_t len = 0; len <= b.len; len++) {
            uint8_t *cut = mem_dup(b.data, len);
            struct bytes_reader r = bytes_reader(cut, len);
            struct kv_answer_item out;
            assert_int_equal(kv_answer_next(&r, &out), len == b.len);
            if (len == b.len)
                assert_same_result(&out, &item);
            mem_free(cut);
        }
        b.data[1] = KV_CODES;
        struct bytes_reader r = bytes_reader(b.data, b.len);
        assert_false(kv_answer_next(&r, &item));
        buf_free(&b);
    }
}

/* ---- attributes ---- */

static void assert_content_type(const char *text, int expected, const char *kept)
{
    struct buf b = BUF_INIT;
    size_t len = 0;
    buf_put_u8(&b, 77); /* an attribute of a later version before it */
    buf_put_u8(&b, 1);
    buf_put_u8(&b, KV_ATTR_CONTENT_TYPE);
    assert_int_equal(kv_attrs_put_content_type(&b, text, strlen(text)), expected);
    const uint8_t *p = kv_attrs_get(b.data, b.len, KV_ATTR_CONTENT_TYPE, &len);
    assert_int_equal(p != NULL, kept != NULL);
    if (kept)
        assert_bytes(p, len, (const uint8_t *)kept, strlen(kept));
    else
        assert_int_equal(b.len, 3);
    assert_null(kv_attrs_get(b.data, b.len, KV_ATTR_LEASE, &len));
    assert_int_equal(*kv_attrs_get(b.data, b.len, 77, &len), KV_ATTR_CONTENT_TYPE);
    buf_free(&b);
}

static void test_attrs_content_type_is_kept_unless_it_says_nothing(void **state)
{
    (void)state;
    char text[LIMIT_CONTENT_TYPE_BYTES + 2];
    memset(text, 'x', sizeof text);
    text[LIMIT_CONTENT_TYPE_BYTES + 1] = 0;
    assert_content_type("application/json; charset=utf-8", 0, "application/json; charset=utf-8");
    assert_content_type("", 0, NULL);
    assert_content_type("Application/Octet-Stream", 0, NULL);
    assert_content_type("application/x-www-form-urlencoded", 0, NULL);
    assert_content_type("text/plain\r\nSet-Cookie: a", ERR_INVALID, NULL);
    assert_content_type("text/\xc3\xa9", ERR_INVALID, NULL);
    assert_content_type(text, ERR_TOO_LARGE, NULL);
    text[LIMIT_CONTENT_TYPE_BYTES] = 0;
    assert_content_type(text, 0, text);
}

static void test_attrs_cut_short_hold_nothing(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {KV_ATTR_CONTENT_TYPE, 3, 'a', '/', 'b'};
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t found = 0;
        uint8_t *cut = mem_dup(bytes, len);
        const uint8_t *p = kv_attrs_get(cut, len, KV_ATTR_CONTENT_TYPE, &found);
        assert_int_equal(p != NULL, len == sizeof bytes);
        mem_free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_batch_round_trips),
        cmocka_unit_test(test_command_v1_operations_round_trip),
        cmocka_unit_test(test_command_v1_operations_are_no_part_of_a_batch),
        cmocka_unit_test(test_command_v1_operations_have_no_value_out_of_range),
        cmocka_unit_test(test_body_that_only_takes_away_does_not_grow),
        cmocka_unit_test(test_command_largest_numbers_round_trip),
        cmocka_unit_test(test_command_of_sets_alone_is_told_from_others),
        cmocka_unit_test(test_command_peek_reads_operations_up_to_a_malformed_one),
        cmocka_unit_test(test_command_every_truncation_is_invalid),
        cmocka_unit_test(test_command_random_bytes_never_read_outside),
        cmocka_unit_test(test_command_whose_floor_would_not_be_positive_is_invalid),
        cmocka_unit_test(test_command_other_version_is_refused),
        cmocka_unit_test(test_body_beyond_its_limits_is_refused),
        cmocka_unit_test(test_command_largest_value_fits),
        cmocka_unit_test(test_answer_items_round_trip_and_cuts_end_it),
        cmocka_unit_test(test_answer_results_round_trip_and_cuts_end_them),
        cmocka_unit_test(test_attrs_content_type_is_kept_unless_it_says_nothing),
        cmocka_unit_test(test_attrs_cut_short_hold_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
