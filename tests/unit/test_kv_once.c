/* SPDX-License-Identifier: MIT
 * kv/: commands that a client may repeat under a name (kv/idempotency.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kv/idempotency.h"
#include "kv_operations.h"

static const struct uuid NODE_B = {0xb, 2};

static struct kv_once once_of(const char *name, uint8_t fingerprint)
{
    struct kv_once once = {.name = (const uint8_t *)name, .name_len = strlen(name)};
    memset(once.fingerprint, fingerprint, sizeof once.fingerprint);
    return once;
}

/* A command of another member, which joins with the first one. */
static struct kv_result apply_bytes(struct fixture *f, uint64_t seq, const struct buf *body)
{
    struct kv_origin origin = {NODE_B, 1, seq, seq > 20 ? seq - 20 : 1,
                               kv_member_since(f->kv, NODE_B)};
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct buf b = BUF_INIT;
    struct kv_result r;
    buf_append(&b, header, kv_origin_encode(&origin, header));
    buf_append(&b, body->data, body->len);
    assert_int_equal(kv_apply(f->kv, next_pos(f), b.data, b.len, &r), 0);
    buf_free(&b);
    return r;
}

static struct kv_result apply_named_seq(struct fixture *f, uint64_t seq, const char *name,
                                        uint8_t fingerprint, struct kv_op op)
{
    struct kv_once once = once_of(name, fingerprint);
    struct buf body = BUF_INIT;
    kv_once_encode(&once, &body);
    kv_body_encode(KV_SINGLE, &op, 1, &body);
    struct kv_result r = apply_bytes(f, seq, &body);
    buf_free(&body);
    return r;
}

static struct kv_result apply_named(struct fixture *f, const char *name, uint8_t fingerprint,
                                    struct kv_op op)
{
    return apply_named_seq(f, ++f->seq, name, fingerprint, op);
}

static void pass(struct fixture *f, uint64_t ms)
{
    struct buf b = BUF_INIT;
    struct kv_result r;
    uint64_t before = kv_stats(f->kv).clock_ms;
    kv_clock_encode(ms, &b);
    struct kv_pos pos = next_pos(f);
    assert_int_equal(kv_apply(f->kv, pos, b.data, b.len, &r), 0);
    assert_int_equal(r.err, 0);
    assert_int_equal(r.pos.index, pos.index);
    assert_int_equal(kv_stats(f->kv).clock_ms, before + ms);
    buf_free(&b);
}

static int setup_two(void **state)
{
    const struct uuid ids[] = {{0xa, 1}, NODE_B};
    setup(state);
    struct fixture *f = *state;
    kv_apply_members(f->kv, next_pos(f), ids, 2);
    return 0;
}

/* Whatever comes to be of the state: as after a restart or at a node that got a snapshot. */
static void restore(struct fixture *f)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct kv *kv;
    checkpoint(f);
    kv_meta(f->kv, &before);
    assert_int_equal(kv_restore(before.data, before.len, f->base, &kv), 0);
    kv_meta(kv, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    buf_free(&before);
    buf_free(&after);
    kv_free(&f->kv);
    f->kv = kv;
}

/* ---- once ---- */

static void test_once_repetition_is_answered_as_the_first_time(void **state)
{
    struct fixture *f = *state;
    struct kv_result first = apply_named(f, "a", 1, incr_op("n", 5));
    uint64_t index = first.pos.index;
    assert_text(item_of(&first).value, item_of(&first).value_len, "5");
    apply_seq(f, 1, incr_op("n", 1)); /* without a name, by another node */
    for (unsigned i = 0; i < 3; i++) {
        struct kv_result again = apply_named(f, "a", 1, incr_op("n", 5));
        assert_int_equal(again.pos.index, index);
        assert_text(item_of(&again).value, item_of(&again).value_len, "5");
        assert_key(f, "n", "6", "");
        restore(f);
    }
    struct kv_result other = apply_named(f, "b", 1, incr_op("n", 5));
    assert_text(item_of(&other).value, item_of(&other).value_len, "11");
    assert_int_equal(kv_stats(f->kv).n_once, 2);
}

static void test_once_repetition_in_the_session_too_is_answered(void **state)
{
    struct fixture *f = *state;
    struct kv_result first = apply_named_seq(f, 1, "a", 1, incr_op("n", 5));
    uint64_t index = first.pos.index;
    assert_int_equal(apply_named_seq(f, 2, "a", 1, incr_op("n", 5)).pos.index, index);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        struct kv_result again = apply_named_seq(f, seq, "a", 1, incr_op("n", 5));
        assert_int_equal(again.pos.index, index);
        assert_text(item_of(&again).value, item_of(&again).value_len, "5");
    }
    assert_key(f, "n", "5", "");
}

static void test_once_other_request_under_the_name_is_refused(void **state)
{
    struct fixture *f = *state;
    apply_named_seq(f, 1, "a", 1, set_op("k", "1"));
    assert_int_equal(apply_named_seq(f, 2, "a", 2, set_op("k", "2")).err, ERR_CONFLICT);
    restore(f);
    assert_int_equal(apply_named_seq(f, 2, "a", 2, set_op("k", "2")).err, ERR_CONFLICT);
    assert_int_equal(apply_named_seq(f, 3, "a", 2, set_op("k", "2")).err, ERR_CONFLICT);
    assert_int_equal(apply_named_seq(f, 4, "a", 1, set_op("k", "1")).err, 0);
    assert_int_equal(apply_named_seq(f, 5, "aa", 2, set_op("k", "3")).err, 0);
    assert_key(f, "k", "3", "");
}

static void test_once_what_failed_fails_again(void **state)
{
    struct fixture *f = *state;
    struct kv_op op = put_op("k", "v", "");
    op.condition.what = KV_IF_EXISTS;
    struct kv_result r = apply_named(f, "a", 1, op);
    assert_int_equal(item_of(&r).code, KV_MISMATCH);
    apply_seq(f, 1, set_op("k", "other"));
    r = apply_named(f, "a", 1, op);
    assert_int_equal(item_of(&r).code, KV_MISMATCH);
    assert_key(f, "k", "other", "");
}

static void test_once_removal_in_slices_is_remembered(void **state)
{
    struct fixture *f = *state;
    char key[16];
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "p%u", i);
        apply_seq(f, i + 1, set_op(key, ""));
    }
    for (unsigned i = 0; i < 2; i++) {
        struct kv_result r = apply_named(f, "a", 1, remove_prefix_op("p", 20000));
        assert_int_equal(item_of(&r).n_deleted, 10000);
        apply_seq(f, 10001 + i, set_op("p", "again"));
    }
    assert_key(f, "p", "again", "");
    assert_int_equal(kv_stats(f->kv).n_once, 1);
}

/* ---- time ---- */

static bool is_known(struct fixture *f, const char *name)
{
    struct kv_result r = apply_named(f, name, 99, op_on(KV_OP_DELETE, "none"));
    return r.err == ERR_CONFLICT;
}

static void test_once_record_goes_ten_minutes_after_the_first_clock(void **state)
{
    struct fixture *f = *state;
    pass(f, 5 * KV_ONCE_KEEP_MS); /* long ago */
    apply_named(f, "a", 1, set_op("k", "v"));
    pass(f, 5 * KV_ONCE_KEEP_MS); /* nobody led for long: who knows when it came */
    assert_true(is_known(f, "a"));
    pass(f, KV_ONCE_KEEP_MS - 1);
    assert_true(is_known(f, "a"));
    restore(f);
    pass(f, 0);
    assert_true(is_known(f, "a"));
    pass(f, 1);
    assert_int_equal(kv_stats(f->kv).n_once, 0);
    assert_false(is_known(f, "a"));
}

static void test_once_records_go_in_their_order(void **state)
{
    struct fixture *f = *state;
    apply_named(f, "a", 1, set_op("k", "v"));
    apply_named(f, "b", 1, set_op("k", "v"));
    pass(f, 10);
    apply_named(f, "c", 1, set_op("k", "v"));
    pass(f, 20);
    apply_named(f, "d", 1, set_op("k", "v"));
    restore(f);
    pass(f, KV_ONCE_KEEP_MS - 20);
    assert_int_equal(kv_stats(f->kv).n_once, 2);
    assert_true(is_known(f, "c"));
    pass(f, 20);
    assert_int_equal(kv_stats(f->kv).n_once, 1);
    pass(f, KV_ONCE_KEEP_MS - 20);
    assert_int_equal(kv_stats(f->kv).n_once, 0);
}

/* The first n of as many names. */
static void add_many(struct fixture *f, unsigned n)
{
    char name[16];
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "name%u", i);
        assert_int_equal(apply_named(f, name, 1, set_op("k", "v")).err, 0);
    }
}

static void test_once_forgets_many_in_bounded_steps(void **state)
{
    struct fixture *f = *state;
    unsigned n = 2 * KV_ONCE_PER_CLOCK + 100;
    add_many(f, n);
    pass(f, 1);
    pass(f, KV_ONCE_KEEP_MS);
    assert_int_equal(kv_stats(f->kv).n_once, n - KV_ONCE_PER_CLOCK);
    apply_named(f, "one more", 1, set_op("k", "v"));
    assert_int_equal(kv_stats(f->kv).n_once, n - KV_ONCE_PER_CLOCK - KV_ONCE_PER_COMMAND + 1);
    pass(f, 0);
    pass(f, 0);
    assert_int_equal(kv_stats(f->kv).n_once, 1);
}

/* ---- limits ---- */

static void test_once_full_table_refuses_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    add_many(f, LIMIT_ONCE_RECORDS);
    struct kv_result r = apply_named_seq(f, f->seq + 1, "late", 1, incr_op("n", 1));
    assert_int_equal(r.err, ERR_OVERLOADED);
    restore(f);
    assert_key(f, "n", NULL, "");
    assert_int_equal(apply_named(f, "late", 1, incr_op("n", 1)).err, ERR_OVERLOADED);
    assert_int_equal(apply_named(f, "name7", 1, set_op("k", "v")).err, 0);
    apply_seq(f, 1, set_op("without", "a name"));
    pass(f, 1);
    pass(f, KV_ONCE_KEEP_MS);
    assert_int_equal(apply_named(f, "late", 1, incr_op("n", 1)).err, 0);
    assert_key(f, "n", "1", "");
}

static void test_once_answers_are_bounded_all_together(void **state)
{
    struct fixture *f = *state;
    struct kv_op op = op_on(KV_OP_SET, "big");
    uint8_t *value = mem_zalloc(LIMIT_ONCE_BYTES / 2);
    char name[16];
    op.value = value;
    op.value_len = LIMIT_ONCE_BYTES / 2;
    for (unsigned i = 0; i < 2; i++) {
        apply_seq(f, i + 1, op);
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(apply_named(f, name, 1, op_on(KV_OP_DELETE, "big")).err, 0);
    }
    assert_int_equal(apply_named(f, "small", 1, set_op("k", "v")).err, ERR_OVERLOADED);
    restore(f);
    assert_int_equal(apply_named(f, "small", 1, set_op("k", "v")).err, ERR_OVERLOADED);
    struct kv_result r = apply_named(f, "0", 1, op_on(KV_OP_DELETE, "big"));
    assert_int_equal(item_of(&r).value_len, LIMIT_ONCE_BYTES / 2);
    mem_free(value);
}

/* ---- bytes ---- */

struct record {
    const char *name;
    uint64_t time;
    int n_answer; /* bytes, 0: a whole one */
};

static int decode(uint64_t clock, uint64_t n, const struct record records[2])
{
    static const uint8_t fingerprint[KV_FINGERPRINT_BYTES];
    static const uint8_t answer[] = {1, 2, 40, 1}; /* one Set, at 40 of term 2 */
    struct once_table *t = NULL;
    struct buf b = BUF_INIT;
    buf_put_varint(&b, clock);
    buf_put_varint(&b, n);
    for (unsigned i = 0; i < 2; i++) {
        buf_put_string(&b, records[i].name, strlen(records[i].name));
        buf_append(&b, fingerprint, sizeof fingerprint);
        buf_put_varint(&b, records[i].time);
        buf_append(&b, answer, records[i].n_answer ? (size_t)records[i].n_answer : sizeof answer);
    }
    struct bytes_reader r = bytes_reader(b.data, b.len);
    int err = once_table_decode(&r, (struct kv_pos){3, 50}, &t);
    if (err == 0 && n == 2) {
        struct buf again = BUF_INIT;
        once_table_encode(t, &again);
        assert_int_equal(again.len, b.len);
        assert_memory_equal(again.data, b.data, b.len);
        buf_free(&again);
    }
    once_table_free(&t);
    buf_free(&b);
    return err;
}

static void test_once_table_that_no_log_gives_is_corrupt(void **state)
{
    (void)state;
    static const char long_name[] =
        "1234567890123456789012345678901234567890123456789012345678901234";
    const struct {
        int err;
        uint64_t clock, n;
        struct record records[2];
    } cases[] = {
        {0, 9, 2, {{"a", 1, 0}, {"b", 10, 0}}},
        {0, 9, 2, {{"a", 7, 0}, {"b", 7, 0}}},
        {0, 9, 2, {{"a", 7, 0}, {"b", 0, 0}}},
        {0, 9, 2, {{"a", 0, 0}, {"b", 0, 0}}},
        {0, 9, 2, {{long_name, 1, 0}, {"b", 2, 0}}},
        {0, 9, 0, {{"a", 1, 0}, {"b", 1, 0}}},            /* the rest is somebody else's */
        {ERR_CORRUPT, 9, 2, {{"a", 1, 0}, {"a", 2, 0}}},  /* twice */
        {ERR_CORRUPT, 9, 2, {{"", 1, 0}, {"b", 2, 0}}},   /* no name */
        {ERR_CORRUPT, 9, 2, {{"a", 8, 0}, {"b", 7, 0}}},  /* out of order */
        {ERR_CORRUPT, 9, 2, {{"a", 0, 0}, {"b", 7, 0}}},  /* likewise */
        {ERR_CORRUPT, 9, 2, {{"a", 1, 0}, {"b", 11, 0}}}, /* in the future */
        {ERR_CORRUPT, 9, 3, {{"a", 1, 0}, {"b", 2, 0}}},  /* cut short */
        {ERR_CORRUPT, 9, 2, {{"a", 1, 0}, {"b", 2, 3}}},
        {ERR_CORRUPT, 9, LIMIT_ONCE_RECORDS + 1, {{"a", 1, 0}, {"b", 2, 0}}},
        {ERR_CORRUPT, UINT64_MAX, 2, {{"a", 1, 0}, {"b", 2, 0}}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(decode(cases[i].clock, cases[i].n, cases[i].records), cases[i].err);
}

static int open_of(const struct buf *body)
{
    struct kv_origin origin = {NODE_B, 1, 1, 1, 1};
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_command_reader reader;
    struct buf b = BUF_INIT;
    buf_append(&b, header, kv_origin_encode(&origin, header));
    buf_append(&b, body->data, body->len);
    int err = kv_command_open(b.data, b.len, &reader);
    buf_free(&b);
    return err;
}

static void test_once_command_cut_short_or_within_another_is_invalid(void **state)
{
    (void)state;
    struct kv_once once = once_of("a name", 7);
    struct kv_op op = set_op("k", "v");
    struct buf body = BUF_INIT, nested = BUF_INIT;
    kv_once_encode(&once, &body);
    kv_once_encode(&once, &nested);
    kv_body_encode(KV_BATCH, &op, 1, &body);
    assert_int_equal(open_of(&body), 0);
    assert_true(kv_body_grows(body.data, body.len));
    buf_append(&nested, body.data, body.len);
    assert_int_equal(open_of(&nested), ERR_INVALID);
    while (body.len > 0) {
        body.len--;
        assert_int_equal(open_of(&body), ERR_INVALID);
    }
    kv_once_encode(&once, &body);
    body.data[1] = 0;
    assert_int_equal(open_of(&body), ERR_INVALID);
    body.data[1] = LIMIT_ONCE_NAME_BYTES + 1;
    assert_int_equal(open_of(&body), ERR_TOO_LARGE);
    buf_free(&body);
    buf_free(&nested);
}

static void test_clock_within_a_named_command_or_too_far_is_invalid(void **state)
{
    (void)state;
    struct kv_once once = once_of("a name", 7);
    struct buf body = BUF_INIT;
    buf_put_u8(&body, KV_CLOCK);
    assert_int_equal(open_of(&body), ERR_INVALID);
    buf_put_varint(&body, KV_ELAPSED_MAX_MS);
    assert_int_equal(open_of(&body), 0);
    buf_put_u8(&body, 0);
    assert_int_equal(open_of(&body), ERR_INVALID);
    buf_clear(&body);
    buf_put_u8(&body, KV_CLOCK);
    buf_put_varint(&body, KV_ELAPSED_MAX_MS + 1);
    assert_int_equal(open_of(&body), ERR_INVALID);
    buf_clear(&body);
    kv_once_encode(&once, &body);
    buf_put_u8(&body, KV_CLOCK);
    buf_put_varint(&body, 1);
    assert_int_equal(open_of(&body), ERR_INVALID);
    buf_free(&body);
}

int main(void)
{
#define ONCE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)
    const struct CMUnitTest tests[] = {
        ONCE_TEST(test_once_repetition_is_answered_as_the_first_time),
        ONCE_TEST(test_once_repetition_in_the_session_too_is_answered),
        ONCE_TEST(test_once_other_request_under_the_name_is_refused),
        ONCE_TEST(test_once_what_failed_fails_again),
        ONCE_TEST(test_once_removal_in_slices_is_remembered),
        ONCE_TEST(test_once_record_goes_ten_minutes_after_the_first_clock),
        ONCE_TEST(test_once_records_go_in_their_order),
        ONCE_TEST(test_once_forgets_many_in_bounded_steps),
        ONCE_TEST(test_once_full_table_refuses_and_changes_nothing),
        ONCE_TEST(test_once_answers_are_bounded_all_together),
        cmocka_unit_test(test_once_table_that_no_log_gives_is_corrupt),
        cmocka_unit_test(test_once_command_cut_short_or_within_another_is_invalid),
        cmocka_unit_test(test_clock_within_a_named_command_or_too_far_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
