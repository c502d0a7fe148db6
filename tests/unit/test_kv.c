/* SPDX-License-Identifier: MIT
 * kv/: keys, revisions and sessions.
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
#include "kv/digest.h"
#include "kv/view.h"

static const struct uuid NODE_A = {0xa, 1}, NODE_B = {0xb, 2}, NODE_C = {0xc, 3};

/* A state machine and the log position it is at. */
struct fixture {
    struct kv *kv;
    uint64_t index;
};

static struct kv_pos next_pos(struct fixture *f)
{
    f->index++;
    return (struct kv_pos){1, f->index};
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->kv = kv_new();
    struct uuid ids[] = {NODE_A, NODE_B};
    kv_apply_members(f->kv, next_pos(f), ids, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kv_free(&f->kv);
    mem_free(f);
    return 0;
}

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

static struct kv_result apply_ops(struct fixture *f, struct kv_origin origin, enum kv_kind kind,
                                  const struct kv_op ops[], size_t n)
{
    struct buf b = BUF_INIT;
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_result result;
    buf_append(&b, header, kv_origin_encode(&origin, header));
    kv_body_encode(kind, ops, n, &b);
    assert_int_equal(kv_apply(f->kv, next_pos(f), b.data, b.len, &result), 0);
    buf_free(&b);
    return result;
}

static struct kv_result apply_set(struct fixture *f, struct kv_origin origin, const char *key,
                                  const char *value)
{
    struct kv_op op = set_op(key, value);
    return apply_ops(f, origin, KV_SINGLE, &op, 1);
}

static struct kv_result apply_delete(struct fixture *f, struct kv_origin origin, const char *key)
{
    struct kv_op op = delete_op(key);
    return apply_ops(f, origin, KV_SINGLE, &op, 1);
}

static struct kv_origin from(struct uuid node, uint64_t boot, uint64_t seq, uint64_t floor)
{
    return (struct kv_origin){node, boot, seq, floor, 1};
}

static void assert_value(struct fixture *f, const char *key, const char *value)
{
    struct kv_value v;
    int err = kv_get(f->kv, key, strlen(key), &v);
    if (!value) {
        assert_int_equal(err, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(err, 0);
    assert_int_equal(v.len, strlen(value));
    assert_memory_equal(v.data, value, v.len);
}

static void assert_answer(const struct kv_result *result, unsigned i, int what, const char *old)
{
    struct bytes_reader r = bytes_reader(result->answer, result->answer_len);
    struct kv_answer_item item;
    for (unsigned j = 0; j <= i; j++)
        assert_true(kv_answer_next(&r, &item));
    assert_int_equal(item.what, what);
    if (old) {
        assert_int_equal(item.value_len, strlen(old));
        assert_memory_equal(item.value, old, item.value_len);
    }
}

/* ---- keys ---- */

static void test_kv_set_counts_revisions_and_versions(void **state)
{
    struct fixture *f = *state;
    struct kv_value v;
    struct kv_result r = apply_set(f, from(NODE_A, 1, 1, 1), "k", "one");
    assert_int_equal(r.err, 0);
    assert_int_equal(r.pos.index, 2);
    assert_int_equal(r.answer_len, 1);
    assert_answer(&r, 0, KV_ANSWER_SET, NULL);
    apply_set(f, from(NODE_A, 1, 2, 1), "k", "a longer value than before");
    assert_int_equal(kv_get(f->kv, "k", 1, &v), 0);
    assert_int_equal(v.create_revision, 2);
    assert_int_equal(v.revision, 3);
    assert_int_equal(v.version, 2);
    assert_value(f, "k", "a longer value than before");
    r = apply_delete(f, from(NODE_A, 1, 3, 1), "k");
    assert_answer(&r, 0, KV_ANSWER_OLD, "a longer value than before");
    assert_value(f, "k", NULL);
    r = apply_delete(f, from(NODE_A, 1, 4, 1), "k");
    assert_answer(&r, 0, KV_ANSWER_NONE, NULL);
    apply_set(f, from(NODE_A, 1, 5, 1), "k", "");
    assert_int_equal(kv_get(f->kv, "k", 1, &v), 0);
    assert_int_equal(v.create_revision, 6);
    assert_int_equal(v.version, 1);
    assert_int_equal(v.len, 0);
}

static void test_kv_batch_is_applied_in_order_and_answered_per_operation(void **state)
{
    struct fixture *f = *state;
    struct kv_op ops[] = {set_op("x", "1"), delete_op("x"), delete_op("x"), set_op("y", "2")};
    struct kv_result r = apply_ops(f, from(NODE_A, 1, 1, 1), KV_BATCH, ops, 4);
    assert_int_equal(r.err, 0);
    assert_answer(&r, 0, KV_ANSWER_SET, NULL);
    assert_answer(&r, 1, KV_ANSWER_OLD, "1");
    assert_answer(&r, 2, KV_ANSWER_NONE, NULL);
    assert_answer(&r, 3, KV_ANSWER_SET, NULL);
    assert_value(f, "x", NULL);
    assert_value(f, "y", "2");
    struct kv_op sets[] = {set_op("p", "1"), set_op("q", "2")};
    r = apply_ops(f, from(NODE_A, 1, 2, 1), KV_BATCH, sets, 2);
    assert_int_equal(r.answer_len, 2);
    assert_answer(&r, 1, KV_ANSWER_SET, NULL);
    r = apply_ops(f, from(NODE_A, 1, 3, 1), KV_BATCH, sets, 0);
    assert_int_equal(r.err, 0);
    assert_int_equal(r.answer_len, 0);
}

/* So many keys that what is needed of them is fetched before: each is found at its own place. */
static void test_kv_batches_with_many_keys_change_what_they_name(void **state)
{
    struct fixture *f = *state;
    enum { N = 1000, ROUNDS = 33 };
    static char keys[N][16];
    static struct kv_op ops[N];
    for (unsigned round = 0; round < 2 * ROUNDS; round++) {
        for (unsigned i = 0; i < N; i++) {
            snprintf(keys[i], sizeof keys[i], "%u", round % ROUNDS + i * 7919 % N * ROUNDS);
            ops[i] = set_op(keys[i], keys[i]);
        }
        struct kv_result r = apply_ops(f, from(NODE_A, 1, round + 1, 1), KV_BATCH, ops, N);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.answer_len, N);
        for (unsigned i = 0; i < N; i++)
            assert_value(f, keys[i], keys[i]);
    }
    assert_true(kv_stats(f->kv).n_keys > 30000);
}

/* At most n_max keys from `from` on, as a view gives them. */
static void assert_keys(struct fixture *f, const char *from_key, unsigned n_max,
                        const char *expected)
{
    struct kv_view *view = kv_view_new(f->kv);
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    char keys[64] = "";
    int err = kv_cursor_seek(c, from_key, strlen(from_key), &r);
    for (; err == 0 && n_max > 0; n_max--, err = kv_cursor_next(c, &r)) {
        strncat(keys, (const char *)r.key, r.key_len);
        strcat(keys, " ");
    }
    assert_true(err == 0 || err == ERR_NOT_FOUND);
    assert_string_equal(keys, expected);
    kv_cursor_close(&c);
    kv_view_close(&view);
}

static void test_kv_cursor_goes_in_byte_order_from_a_key(void **state)
{
    struct fixture *f = *state;
    const char *keys[] = {"b", "a", "ab", "a\xff", "c", "aa"};
    for (unsigned i = 0; i < 6; i++)
        apply_set(f, from(NODE_A, 1, i + 1, 1), keys[i], "v");
    assert_keys(f, "", 99, "a aa ab a\xff b c ");
    assert_keys(f, "aab", 3, "ab a\xff b ");
    assert_keys(f, "d", 1, "");
    apply_delete(f, from(NODE_A, 1, 7, 1), "ab");
    assert_keys(f, "aab", 3, "a\xff b c ");
}

static void test_kv_stats_return_to_where_they_were_after_deletes(void **state)
{
    struct fixture *f = *state;
    struct kv_stats before = kv_stats(f->kv);
    char key[16], value[200] = {0};
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%u", i);
        apply_set(f, from(NODE_A, 1, i + 1, i + 1), key, value);
    }
    assert_int_equal(kv_stats(f->kv).n_keys, 1000);
    assert_true(kv_stats(f->kv).bytes > before.bytes + 200000);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%u", i);
        apply_delete(f, from(NODE_A, 1, 1001 + i, 1001 + i), key);
    }
    assert_int_equal(kv_stats(f->kv).n_keys, 0);
    assert_int_equal(kv_stats(f->kv).bytes, before.bytes);
}

static void test_kv_digest_of_a_record_depends_on_each_field(void **state)
{
    (void)state;
    const struct kv_record record = {
        .key = (const uint8_t *)"key",
        .key_len = 3,
        .value = {(const uint8_t *)"value", 5, .revision = 9, .create_revision = 7, .version = 2},
    };
    struct kv_record others[8];
    for (unsigned i = 0; i < 8; i++)
        others[i] = record;
    others[0].key_len = 2;
    others[1].value.len = 4;
    others[2].value.revision++;
    others[3].value.create_revision++;
    others[4].value.version++;
    others[5].value.data = (const uint8_t *)"valuf";
    others[6].key = (const uint8_t *)"kez";
    others[7].value.len = 4;
    others[7].value.attrs = record.value.data + 4;
    others[7].value.attrs_len = 1;
    for (unsigned i = 0; i < 8; i++)
        assert_true(kv_record_digest(&others[i]) != kv_record_digest(&record));
    others[0].deleted = true;
    assert_true(kv_record_digest(&others[0]) == 0);
}

static void test_kv_digest_is_that_of_the_records_there(void **state)
{
    struct fixture *f = *state;
    assert_true(kv_digest(f->kv) == 0);
    apply_set(f, from(NODE_A, 1, 1, 1), "a", "1");
    uint64_t one = kv_digest(f->kv);
    apply_set(f, from(NODE_A, 1, 2, 1), "b", "2");
    apply_set(f, from(NODE_A, 1, 3, 1), "b", "3");
    struct kv_view *view = kv_view_new(f->kv);
    uint64_t again;
    assert_int_equal(kv_view_digest(view, &again), 0);
    assert_true(again == kv_digest(f->kv) && again != one && one != 0);
    kv_view_close(&view);
    apply_delete(f, from(NODE_A, 1, 4, 1), "b");
    assert_true(kv_digest(f->kv) == one);
    apply_delete(f, from(NODE_A, 1, 5, 1), "b");
    apply_delete(f, from(NODE_A, 1, 6, 1), "a");
    assert_true(kv_digest(f->kv) == 0);
}

static void test_kv_bytes_that_are_no_command_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct kv_result r;
    assert_int_equal(kv_apply(f->kv, next_pos(f), "garbage", 7, &r), 0);
    assert_int_equal(r.err, ERR_INVALID);
    assert_int_equal(kv_apply(f->kv, next_pos(f), NULL, 0, &r), 0);
    assert_int_equal(r.err, ERR_INVALID);
    assert_int_equal(r.pos.index, 0);
    assert_int_equal(kv_stats(f->kv).n_keys, 0);
    assert_int_equal(kv_applied(f->kv).index, 3);
    kv_apply_nothing(f->kv, next_pos(f));
    assert_int_equal(kv_applied(f->kv).index, 4);
}

/* ---- sessions ---- */

static void test_session_repetition_is_answered_as_the_first_time(void **state)
{
    struct fixture *f = *state;
    struct kv_result first, again;
    apply_set(f, from(NODE_A, 1, 1, 1), "k", "one");
    first = apply_delete(f, from(NODE_A, 1, 2, 1), "k");
    apply_set(f, from(NODE_B, 1, 1, 1), "k", "two");
    again = apply_delete(f, from(NODE_A, 1, 2, 1), "k");
    assert_int_equal(again.err, 0);
    assert_int_equal(again.pos.index, first.pos.index);
    assert_answer(&again, 0, KV_ANSWER_OLD, "one");
    assert_value(f, "k", "two");
    again = apply_set(f, from(NODE_A, 1, 1, 1), "k", "one");
    assert_int_equal(again.pos.index, 2);
    assert_answer(&again, 0, KV_ANSWER_SET, NULL);
    assert_value(f, "k", "two");
}

static void test_session_commands_out_of_order_are_each_applied_once(void **state)
{
    struct fixture *f = *state;
    const uint64_t order[] = {5, 3, 5, 1, 40, 2, 3, 4, 1};
    unsigned n_applied = 0;
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
        struct kv_result r = apply_set(f, from(NODE_A, 1, order[i], 1), "k", "v");
        assert_int_equal(r.err, 0);
        n_applied += r.pos.index == f->index;
    }
    struct kv_value v;
    assert_int_equal(kv_get(f->kv, "k", 1, &v), 0);
    assert_int_equal(v.version, 6);
    assert_int_equal(n_applied, 6);
}

static void test_session_below_the_floor_is_stale(void **state)
{
    struct fixture *f = *state;
    apply_set(f, from(NODE_A, 1, 1, 1), "k", "one");
    apply_set(f, from(NODE_A, 1, 10, 9), "k", "ten");
    assert_int_equal(apply_set(f, from(NODE_A, 1, 1, 1), "k", "late").err, ERR_STALE);
    assert_int_equal(apply_set(f, from(NODE_A, 1, 8, 1), "k", "late").err, ERR_STALE);
    assert_value(f, "k", "ten");
    /* a late copy with a lower floor does not lower the floor */
    assert_int_equal(apply_set(f, from(NODE_A, 1, 9, 2), "j", "nine").err, 0);
    assert_int_equal(apply_set(f, from(NODE_A, 1, 8, 8), "k", "late").err, ERR_STALE);
    assert_value(f, "k", "ten");
}

static void test_session_too_far_above_the_floor_is_stale_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t far = LIMIT_FORWARDED_OPS;
    assert_int_equal(apply_set(f, from(NODE_A, 1, far + 1, 1), "k", "v").err, ERR_STALE);
    assert_int_equal(apply_set(f, from(NODE_A, 1, UINT64_MAX, 1), "k", "v").err, ERR_STALE);
    assert_value(f, "k", NULL);
    assert_int_equal(apply_set(f, from(NODE_A, 1, far, 1), "k", "v").err, 0);
    assert_int_equal(apply_set(f, from(NODE_A, 1, 1, 1), "j", "v").err, 0);
    uint64_t last = UINT64_MAX - 1;
    assert_int_equal(apply_set(f, from(NODE_A, 1, last, last), "i", "v").err, 0);
    assert_int_equal(apply_set(f, from(NODE_A, 1, last + 1, last + 1), "i", "v").err, ERR_STALE);
}

static void test_session_later_boot_starts_again_and_earlier_is_stale(void **state)
{
    struct fixture *f = *state;
    apply_set(f, from(NODE_A, 1, 7, 7), "k", "boot one");
    assert_int_equal(apply_set(f, from(NODE_A, 2, 1, 1), "k", "boot two").err, 0);
    assert_value(f, "k", "boot two");
    assert_int_equal(apply_set(f, from(NODE_A, 1, 8, 7), "k", "late").err, ERR_STALE);
    assert_int_equal(apply_set(f, from(NODE_A, 2, 7, 1), "k", "seven").err, 0);
    assert_value(f, "k", "seven");
}

static void test_session_later_boot_refused_does_not_end_the_earlier(void **state)
{
    struct fixture *f = *state;
    apply_set(f, from(NODE_A, 1, 1, 1), "k", "one");
    uint64_t far = LIMIT_FORWARDED_OPS + 1;
    assert_int_equal(apply_set(f, from(NODE_A, 2, far, 1), "k", "two").err, ERR_STALE);
    assert_int_equal(apply_set(f, from(NODE_A, 1, 1, 1), "k", "again").pos.index, 2);
}

static void test_session_belongs_to_members_only(void **state)
{
    struct fixture *f = *state;
    struct fixture fresh = {kv_new(), 0};
    assert_int_equal(apply_set(&fresh, from(NODE_A, 1, 1, 1), "k", "v").err, ERR_STALE);
    kv_free(&fresh.kv);

    apply_set(f, from(NODE_A, 1, 1, 1), "k", "a");
    apply_set(f, from(NODE_B, 1, 1, 1), "k", "b");
    assert_int_equal(apply_set(f, from(NODE_C, 1, 1, 1), "k", "c").err, ERR_STALE);
    struct uuid ids[] = {NODE_C, NODE_B, NODE_C};
    kv_apply_members(f->kv, next_pos(f), ids, 3);
    assert_int_equal(kv_stats(f->kv).n_sessions, 2);
    assert_int_equal(apply_set(f, from(NODE_A, 1, 2, 1), "k", "a").err, ERR_STALE);
    assert_int_equal(apply_set(f, from(NODE_B, 1, 1, 1), "k", "late").pos.index, 3);
    assert_value(f, "k", "b");
    struct kv_origin c = from(NODE_C, 1, 1, 1);
    c.member_since = kv_member_since(f->kv, NODE_C);
    assert_int_equal(apply_set(f, c, "k", "c").err, 0);
    kv_apply_members(f->kv, next_pos(f), NULL, 0);
    assert_int_equal(kv_stats(f->kv).n_sessions, 0);
}

/* The session of a removed node was forgotten, and a copy of its write that came after the node had
 * been added again was applied a second time. Found by the simulator. */
static void test_session_late_copy_from_an_earlier_membership_is_stale(void **state)
{
    struct fixture *f = *state;
    struct uuid both[] = {NODE_A, NODE_B};
    struct kv_origin before = from(NODE_A, 1, 1, 1), after = before;
    assert_int_equal(apply_set(f, before, "k", "v").err, 0);
    kv_apply_members(f->kv, next_pos(f), both + 1, 1);
    assert_int_equal(kv_member_since(f->kv, NODE_A), 0);
    kv_apply_members(f->kv, next_pos(f), both, 2);
    assert_int_equal(apply_set(f, before, "k", "again").err, ERR_STALE);
    assert_value(f, "k", "v");
    after.member_since = kv_member_since(f->kv, NODE_A);
    assert_int_equal(after.member_since, 4);
    assert_int_equal(apply_set(f, after, "k", "new").err, 0);
    assert_int_equal(kv_member_since(f->kv, NODE_B), 1); /* stayed */
}

static void test_batch_whose_answer_would_be_too_large_is_refused_for_good(void **state)
{
    struct fixture *f = *state;
    uint8_t *value = mem_zalloc(LIMIT_VALUE_BYTES);
    struct kv_op set = {.type = KV_OP_SET,
                        .key = (const uint8_t *)"big1",
                        .key_len = 4,
                        .value = value,
                        .value_len = LIMIT_VALUE_BYTES};
    apply_ops(f, from(NODE_A, 1, 1, 1), KV_SINGLE, &set, 1);
    set.key = (const uint8_t *)"big2";
    apply_ops(f, from(NODE_A, 1, 2, 1), KV_SINGLE, &set, 1);
    struct kv_op both[] = {delete_op("big1"), delete_op("big2")};
    assert_int_equal(apply_ops(f, from(NODE_A, 1, 3, 3), KV_BATCH, both, 2).err, ERR_TOO_LARGE);
    assert_int_equal(kv_stats(f->kv).n_keys, 2);
    struct kv_result r = apply_ops(f, from(NODE_A, 1, 4, 3), KV_BATCH, both, 1);
    assert_int_equal(r.err, 0);
    assert_true(r.answer_len > LIMIT_VALUE_BYTES && r.answer_len <= KV_ANSWER_BYTES_MAX);
    /* it would fit now, but it was answered */
    assert_int_equal(apply_ops(f, from(NODE_A, 1, 3, 3), KV_BATCH, both, 2).err, ERR_TOO_LARGE);
    assert_int_equal(kv_stats(f->kv).n_keys, 1);
    mem_free(value);
}

int main(void)
{
#define KV_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        KV_TEST(test_kv_set_counts_revisions_and_versions),
        KV_TEST(test_kv_batch_is_applied_in_order_and_answered_per_operation),
        KV_TEST(test_kv_batches_with_many_keys_change_what_they_name),
        KV_TEST(test_kv_cursor_goes_in_byte_order_from_a_key),
        KV_TEST(test_kv_stats_return_to_where_they_were_after_deletes),
        KV_TEST(test_kv_digest_of_a_record_depends_on_each_field),
        KV_TEST(test_kv_digest_is_that_of_the_records_there),
        KV_TEST(test_kv_bytes_that_are_no_command_change_nothing),
        KV_TEST(test_session_repetition_is_answered_as_the_first_time),
        KV_TEST(test_session_commands_out_of_order_are_each_applied_once),
        KV_TEST(test_session_below_the_floor_is_stale),
        KV_TEST(test_session_too_far_above_the_floor_is_stale_and_changes_nothing),
        KV_TEST(test_session_later_boot_starts_again_and_earlier_is_stale),
        KV_TEST(test_session_later_boot_refused_does_not_end_the_earlier),
        KV_TEST(test_session_late_copy_from_an_earlier_membership_is_stale),
        KV_TEST(test_session_belongs_to_members_only),
        KV_TEST(test_batch_whose_answer_would_be_too_large_is_refused_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
