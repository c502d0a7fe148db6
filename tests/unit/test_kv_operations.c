/* SPDX-License-Identifier: MIT
 * kv/: the operations of /v1 on one key, each with every code that it can
 * answer, on keys in the memtable and on keys in the base.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kv_operations.h"

/* ---- Put ---- */

static void test_put_answers_revisions_and_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct kv_op op = put_op("k", "one", "A");
    op.want_prev = true;
    assert_int_equal(apply(f, op), KV_DONE);
    assert_true(f->item.created && !f->item.has_value);
    assert_revisions(f, 2, 2, 1);
    assert_key(f, "k", "one", "A");
    checkpoint(f);
    assert_key(f, "k", "one", "A");
    op = put_op("k", "", "");
    op.want_prev = true;
    assert_int_equal(apply(f, op), KV_DONE);
    assert_true(!f->item.created && f->item.has_value);
    assert_text(f->item.value, f->item.value_len, "one");
    assert_text(f->item.attrs, f->item.attrs_len, "A");
    assert_revisions(f, 3, 2, 2);
    assert_int_equal(apply(f, put_op("k", "three", "BC")), KV_DONE);
    assert_false(f->item.has_value);
    assert_key(f, "k", "three", "BC");
    assert_int_equal(kv_stats(f->kv).bytes, 6);
    assert_int_equal(kv_stats(f->kv).n_keys, 1);
}

static void test_put_beside_classic_set_shares_its_keys(void **state)
{
    struct fixture *f = *state;
    apply(f, put_op("k", "one", "A"));
    apply_seq(f, ++f->seq, set_op("k", "two"));
    assert_int_equal(f->item.what, KV_ANSWER_SET);
    assert_key(f, "k", "two", "");
    apply(f, put_op("k", "three", "B"));
    assert_revisions(f, 4, 2, 3);
}

/* Each condition, on a key that is there (revision 2) and on one that is not. */
static void test_condition_that_does_not_hold_changes_nothing(void **state)
{
    static const struct {
        struct kv_condition condition;
        bool there, absent; /* holds */
    } cases[] = {{{KV_IF_ANY, 0}, true, true},        {{KV_IF_ABSENT, 0}, false, true},
                 {{KV_IF_EXISTS, 0}, true, false},    {{KV_IF_REVISION, 2}, true, false},
                 {{KV_IF_REVISION, 1}, false, false}, {{KV_IF_REVISION, 0}, false, false}};
    struct kv_op ops[] = {put_op("", "5", ""), op_on(KV_OP_REMOVE, ""), incr_op("", 1),
                          append_op("", "7", 100)};
    for (unsigned i = 0; i < 4 * 6 * 2; i++) {
        bool there = i % 2;
        struct kv_op op = ops[i / 12];
        unsigned c = i / 2 % 6;
        setup(state);
        struct fixture *f = *state;
        if (there)
            apply(f, put_op("k", "3", ""));
        op.key = (const uint8_t *)"k";
        op.key_len = 1;
        op.condition = cases[c].condition;
        bool holds = there ? cases[c].there : cases[c].absent;
        enum kv_code expected = !holds                              ? KV_MISMATCH
                                : op.type == KV_OP_REMOVE && !there ? KV_NOT_FOUND
                                                                    : KV_DONE;
        assert_int_equal(apply(f, op), expected);
        if (expected != KV_DONE) {
            assert_revisions(f, there ? 2 : 0, there ? 2 : 0, there);
            assert_false(f->item.created || f->item.has_value);
            assert_key(f, "k", there ? "3" : NULL, "");
            assert_int_equal(kv_stats(f->kv).n_keys, there);
        }
        teardown(state);
    }
    setup(state);
}

/* ---- Remove ---- */

static void test_remove_answers_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct kv_op op = op_on(KV_OP_REMOVE, "k");
    op.want_prev = true;
    assert_int_equal(apply(f, op), KV_NOT_FOUND);
    assert_revisions(f, 0, 0, 0);
    assert_int_equal(f->item.n_deleted, 0);
    apply(f, put_op("k", "one", "A"));
    checkpoint(f);
    assert_int_equal(apply(f, op), KV_DONE);
    assert_int_equal(f->item.n_deleted, 1);
    assert_revisions(f, f->index, 0, 0);
    assert_text(f->item.value, f->item.value_len, "one");
    assert_text(f->item.attrs, f->item.attrs_len, "A");
    assert_key(f, "k", NULL, NULL);
    assert_int_equal(apply(f, op), KV_NOT_FOUND);
    assert_int_equal(kv_stats(f->kv).n_keys, 0);
    assert_int_equal(kv_stats(f->kv).bytes, 0);
    assert_int_equal(apply(f, put_op("k", "again", "")), KV_DONE);
    assert_true(f->item.created);
    assert_revisions(f, f->index, f->index, 1);
}

/* ---- Incr ---- */

static void test_incr_counts_from_nothing_and_keeps_attributes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, incr_op("n", 5)), KV_DONE);
    assert_true(f->item.created && f->item.has_value);
    assert_text(f->item.value, f->item.value_len, "5");
    assert_revisions(f, 2, 2, 1);
    assert_int_equal(apply(f, incr_op("n", -7)), KV_DONE);
    assert_text(f->item.value, f->item.value_len, "-2");
    assert_false(f->item.created);
    assert_revisions(f, 3, 2, 2);
    assert_key(f, "n", "-2", "");
    apply(f, put_op("n", "-0010", "A"));
    checkpoint(f);
    assert_int_equal(apply(f, incr_op("n", 10)), KV_DONE);
    assert_key(f, "n", "0", "A");
    assert_int_equal(apply(f, incr_op("n", 0)), KV_DONE);
    assert_revisions(f, f->index, 2, 5);
}

static void test_incr_of_what_is_no_number_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {"",
                                         "-",
                                         "x",
                                         "1x",
                                         "1 ",
                                         " 1",
                                         "+1",
                                         "1.0",
                                         "--1",
                                         "0x1",
                                         "9223372036854775808",
                                         "-9223372036854775809",
                                         "000000000000000000001",
                                         "1\n"};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        apply(f, put_op("n", values[i], ""));
        uint64_t revision = f->index;
        assert_int_equal(apply(f, incr_op("n", 1)), KV_NOT_A_NUMBER);
        assert_revisions(f, revision, 2, i + 1);
        assert_false(f->item.has_value);
        assert_key(f, "n", values[i], "");
    }
}

static void test_incr_beyond_64_bits_changes_nothing(void **state)
{
    struct fixture *f = *state;
    apply(f, put_op("n", "9223372036854775806", ""));
    assert_int_equal(apply(f, incr_op("n", 1)), KV_DONE);
    assert_int_equal(apply(f, incr_op("n", 1)), KV_OVERFLOW);
    assert_revisions(f, 3, 2, 2);
    assert_key(f, "n", "9223372036854775807", "");
    assert_int_equal(apply(f, incr_op("n", INT64_MIN)), KV_DONE);
    assert_key(f, "n", "-1", "");
    apply(f, put_op("n", "-9223372036854775808", ""));
    assert_int_equal(apply(f, incr_op("n", -1)), KV_OVERFLOW);
    assert_int_equal(apply(f, incr_op("n", INT64_MAX)), KV_DONE);
    assert_key(f, "n", "-1", "");
    assert_int_equal(apply(f, incr_op("m", INT64_MIN)), KV_DONE);
    assert_key(f, "m", "-9223372036854775808", "");
}

/* ---- Append ---- */

static void test_append_up_to_its_bound(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(apply(f, append_op("a", "abc", 2)), KV_TOO_LARGE);
    assert_revisions(f, 0, 0, 0);
    assert_key(f, "a", NULL, NULL);
    assert_int_equal(apply(f, append_op("a", "abc", 3)), KV_DONE);
    assert_true(f->item.created);
    apply(f, put_op("a", "abc", "T"));
    checkpoint(f);
    assert_int_equal(apply(f, append_op("a", "de", 5)), KV_DONE);
    assert_false(f->item.created || f->item.has_value);
    assert_revisions(f, f->index, 3, 3);
    assert_key(f, "a", "abcde", "T");
    assert_int_equal(apply(f, append_op("a", "f", 5)), KV_TOO_LARGE);
    assert_int_equal(f->item.version, 3);
    assert_int_equal(apply(f, append_op("a", "", 5)), KV_DONE);
    assert_key(f, "a", "abcde", "T");
    assert_int_equal(kv_stats(f->kv).bytes, 6);
}

static void test_append_beyond_the_largest_value_is_too_large(void **state)
{
    struct fixture *f = *state;
    struct kv_op op = op_on(KV_OP_APPEND, "a");
    uint8_t *half = mem_zalloc(LIMIT_VALUE_BYTES / 2 + 1);
    op.value = half;
    op.value_len = LIMIT_VALUE_BYTES / 2 + 1;
    op.max = UINT64_MAX;
    assert_int_equal(apply(f, op), KV_DONE);
    assert_int_equal(apply(f, op), KV_TOO_LARGE);
    op.value_len -= 2;
    assert_int_equal(apply(f, op), KV_DONE);
    assert_int_equal(kv_stats(f->kv).bytes, LIMIT_VALUE_BYTES + 1);
    mem_free(half);
}

/* ---- repetitions ---- */

static void assert_same_answer(const struct kv_result *a, const uint8_t *answer, size_t len)
{
    assert_int_equal(a->answer_len, len);
    assert_memory_equal(a->answer, answer, len);
}

/* Each operation comes twice, the second time after a checkpoint and a restart. */
static void test_repetition_is_answered_as_the_first_time(void **state)
{
    struct fixture *f = *state;
    struct kv_op put = put_op("k", "one", "A"), removal = op_on(KV_OP_REMOVE, "k");
    struct kv_op only = put_op("k", "two", "");
    put.want_prev = removal.want_prev = true;
    only.condition.what = KV_IF_ABSENT;
    struct kv_op ops[] = {put,
                          put,
                          only,
                          incr_op("n", 3),
                          incr_op("k", 3),
                          append_op("a", "xyz", 5),
                          append_op("a", "xyz", 5),
                          removal,
                          removal,
                          remove_prefix_op("a", 9),
                          remove_prefix_op("", 0)};
    struct buf answers[sizeof ops / sizeof ops[0]] = {BUF_INIT};
    uint64_t index[sizeof ops / sizeof ops[0]];
    unsigned n_ops = sizeof ops / sizeof ops[0];
    for (unsigned i = 0; i < n_ops; i++) {
        struct kv_result r = apply_seq(f, i + 1, ops[i]);
        index[i] = r.pos.index;
        assert_int_equal(r.pos.index, f->index);
        buf_append(&answers[i], r.answer, r.answer_len);
    }
    struct buf meta = BUF_INIT;
    checkpoint(f);
    kv_meta(f->kv, &meta);
    kv_free(&f->kv);
    assert_int_equal(kv_restore(meta.data, meta.len, f->base, &f->kv), 0);
    for (unsigned i = 0; i < n_ops; i++) {
        struct kv_result r = apply_seq(f, i + 1, ops[i]);
        assert_int_equal(r.pos.index, index[i]);
        assert_same_answer(&r, answers[i].data, answers[i].len);
        buf_free(&answers[i]);
    }
    assert_key(f, "n", "3", "");
    assert_key(f, "a", NULL, NULL);
    buf_free(&meta);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_put_answers_revisions_and_what_was_there),
        TEST(test_put_beside_classic_set_shares_its_keys),
        cmocka_unit_test_teardown(test_condition_that_does_not_hold_changes_nothing, teardown),
        TEST(test_remove_answers_what_was_there),
        TEST(test_incr_counts_from_nothing_and_keeps_attributes),
        TEST(test_incr_of_what_is_no_number_changes_nothing),
        TEST(test_incr_beyond_64_bits_changes_nothing),
        TEST(test_append_up_to_its_bound),
        TEST(test_append_beyond_the_largest_value_is_too_large),
        TEST(test_repetition_is_answered_as_the_first_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
