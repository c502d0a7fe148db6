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
#include "kv/kv.h"

static const struct kv_origin ORIGIN = {{0x1122334455667788, 0x99aabbccddeeff00}, 3, 1000, 990, 77};

static struct kv_op set_op(const char *key, const char *value)
{
    return (struct kv_op){KV_OP_SET, (const uint8_t *)key, strlen(key), (const uint8_t *)value,
                          strlen(value)};
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
                          {KV_OP_SET, (const uint8_t *)"z\0z", 3, (const uint8_t *)"\0", 1}};
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

static void test_command_every_truncation_is_invalid(void **state)
{
    (void)state;
    struct buf b = sample_batch();
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

static void test_command_random_bytes_never_read_outside(void **state)
{
    (void)state;
    struct rng rng = {20240607};
    struct buf valid = sample_batch();
    unsigned n_accepted = 0;
    for (unsigned i = 0; i < 200000; i++) {
        size_t len = (size_t)rng_range(&rng, 0, valid.len + 4);
        uint8_t *p = mem_alloc(len);
        for (size_t j = 0; j < len; j++)
            p[j] = (uint8_t)rng_next(&rng);
        if (i % 4) { /* mostly a valid command with a few bytes changed */
            memcpy(p, valid.data, len < valid.len ? len : valid.len);
            for (uint64_t n = rng_range(&rng, 0, 2); n > 0 && len; n--)
                p[rng_range(&rng, 0, len - 1)] = (uint8_t)rng_next(&rng);
        }
        struct kv_command c;
        int err = kv_command_decode(p, len, &c);
        if (!err) {
            n_accepted++;
            assert_true(c.origin.floor >= 1 && c.origin.floor <= c.origin.seq);
            for (size_t j = 0; j < c.n_ops; j++)
                assert_true(c.ops[j].key_len >= 1 && c.ops[j].key + c.ops[j].key_len <= p + len);
            kv_command_free(&c);
        } else {
            assert_true(err == ERR_INVALID || err == ERR_VERSION || err == ERR_TOO_LARGE);
        }
        mem_free(p);
    }
    assert_true(n_accepted > 100);
    buf_free(&valid);
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
    struct kv_op op = {KV_OP_SET, key, sizeof key, value, LIMIT_VALUE_BYTES};
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
    struct kv_answer_item items[] = {{KV_ANSWER_SET, NULL, 0},
                                     {KV_ANSWER_OLD, (const uint8_t *)"old", 3},
                                     {KV_ANSWER_NONE, NULL, 0}};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_batch_round_trips),
        cmocka_unit_test(test_command_largest_numbers_round_trip),
        cmocka_unit_test(test_command_every_truncation_is_invalid),
        cmocka_unit_test(test_command_random_bytes_never_read_outside),
        cmocka_unit_test(test_command_whose_floor_would_not_be_positive_is_invalid),
        cmocka_unit_test(test_command_other_version_is_refused),
        cmocka_unit_test(test_body_beyond_its_limits_is_refused),
        cmocka_unit_test(test_command_largest_value_fits),
        cmocka_unit_test(test_answer_items_round_trip_and_cuts_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
