/* SPDX-License-Identifier: MIT
 * The checker on small histories whose verdict a person can tell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lin/lin.h"
#include "lin/seen.h"

#define N_OPS(ops) (sizeof(ops) / sizeof((ops)[0]))

/* [call, end] of a client and what it did. */
#define READ(c, e, saw)                                                                            \
    {                                                                                              \
        .kind = LIN_READ, .outcome = LIN_OK, .call = (c), .end = (e), .result = (saw)              \
    }
#define WRITE(c, e, v)                                                                             \
    {                                                                                              \
        .kind = LIN_WRITE, .outcome = LIN_OK, .call = (c), .end = (e), .value = (v),               \
        .result = LIN_ANY                                                                          \
    }
#define WRITE_OVER(c, e, v, old)                                                                   \
    {                                                                                              \
        .kind = LIN_WRITE, .outcome = LIN_OK, .call = (c), .end = (e), .value = (v),               \
        .result = (old)                                                                            \
    }
#define DELETE(c, e, old)                                                                          \
    {                                                                                              \
        .kind = LIN_DELETE, .outcome = LIN_OK, .call = (c), .end = (e), .result = (old)            \
    }
#define CAS(c, e, from, to)                                                                        \
    {                                                                                              \
        .kind = LIN_CAS, .outcome = LIN_OK, .call = (c), .end = (e), .expected = (from),           \
        .value = (to)                                                                              \
    }
#define MISMATCH(c, e, from, found)                                                                \
    {                                                                                              \
        .kind = LIN_CAS, .outcome = LIN_MISMATCH, .call = (c), .end = (e), .expected = (from),     \
        .value = 99, .result = (found)                                                             \
    }
#define UNKNOWN_WRITE(c, v)                                                                        \
    {                                                                                              \
        .kind = LIN_WRITE, .outcome = LIN_UNKNOWN, .call = (c), .value = (v)                       \
    }
#define UNKNOWN_DELETE(c)                                                                          \
    {                                                                                              \
        .kind = LIN_DELETE, .outcome = LIN_UNKNOWN, .call = (c)                                    \
    }
#define UNKNOWN_CAS(c, from, to)                                                                   \
    {                                                                                              \
        .kind = LIN_CAS, .outcome = LIN_UNKNOWN, .call = (c), .expected = (from), .value = (to)    \
    }

static enum lin_verdict verdict_of(const struct lin_op ops[], size_t n)
{
    struct lin *lin = lin_new();
    struct lin_report report;
    for (size_t i = 0; i < n; i++)
        lin_add(lin, &ops[i]);
    enum lin_verdict verdict = lin_check(lin, NULL, &report);
    assert_int_equal(verdict, report.verdict);
    assert_int_equal(report.n_ops, n);
    lin_free(&lin);
    return verdict;
}

#define ASSERT_VERDICT(want, ...)                                                                  \
    do {                                                                                           \
        const struct lin_op ops_[] = {__VA_ARGS__};                                                \
        assert_int_equal(verdict_of(ops_, N_OPS(ops_)), want);                                     \
    } while (0)
#define ASSERT_FINE(...)     ASSERT_VERDICT(LIN_LINEARIZABLE, __VA_ARGS__)
#define ASSERT_VIOLATED(...) ASSERT_VERDICT(LIN_VIOLATED, __VA_ARGS__)

static void test_read_of_a_fresh_key_is_absent(void **state)
{
    (void)state;
    assert_int_equal(verdict_of(NULL, 0), LIN_LINEARIZABLE);
    ASSERT_FINE(READ(1, 2, LIN_ABSENT));
    ASSERT_VIOLATED(READ(1, 2, 7));
    ASSERT_VIOLATED(READ(1, 2, LIN_PRESENT));
}

static void test_read_during_a_write_sees_either_value(void **state)
{
    (void)state;
    ASSERT_FINE(WRITE(1, 4, 7), READ(2, 3, 7));
    ASSERT_FINE(WRITE(1, 4, 7), READ(2, 3, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 4, 7), READ(2, 3, 8));
}

static void test_read_after_a_write_of_an_older_value_is_stale(void **state)
{
    (void)state;
    ASSERT_VIOLATED(WRITE(1, 2, 7), READ(3, 4, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 2, 7), WRITE(3, 4, 8), READ(5, 6, 7));
    ASSERT_FINE(WRITE(1, 2, 7), WRITE(3, 4, 8), READ(5, 6, 8));
}

static void test_read_after_a_read_never_goes_back(void **state)
{
    (void)state;
    ASSERT_FINE(WRITE(1, 9, 7), READ(2, 3, LIN_ABSENT), READ(4, 5, 7));
    ASSERT_VIOLATED(WRITE(1, 9, 7), READ(2, 3, 7), READ(4, 5, LIN_ABSENT));
}

static void test_write_acknowledged_and_gone_is_lost(void **state)
{
    (void)state;
    ASSERT_VIOLATED(WRITE(1, 2, 7), CAS(3, 4, 7, 8), READ(5, 6, 7));
    ASSERT_VIOLATED(WRITE(1, 2, 7), WRITE_OVER(3, 4, 8, LIN_ABSENT));
    ASSERT_FINE(WRITE(1, 2, 7), WRITE_OVER(3, 4, 8, 7));
    ASSERT_FINE(WRITE(1, 2, 7), WRITE_OVER(3, 4, 8, LIN_PRESENT));
}

static void test_split_brain_of_two_leaders_is_seen(void **state)
{
    (void)state;
    /* Each side goes on from 5 and reads its own writes. */
    ASSERT_VIOLATED(WRITE(1, 2, 5), WRITE(3, 4, 6), WRITE(3, 5, 7), READ(6, 7, 6), READ(6, 8, 7),
                    READ(9, 10, 6));
    /* Two swaps from the same value both succeed. */
    ASSERT_VIOLATED(WRITE(1, 2, 5), CAS(3, 6, 5, 6), CAS(4, 5, 5, 7));
    ASSERT_FINE(WRITE(1, 2, 5), CAS(3, 6, 5, 6), CAS(4, 5, 6, 7));
}

static void test_unknown_write_may_be_seen_late_or_never(void **state)
{
    (void)state;
    ASSERT_FINE(UNKNOWN_WRITE(1, 7), READ(2, 3, LIN_ABSENT), READ(4, 5, 7));
    ASSERT_FINE(UNKNOWN_WRITE(1, 7), READ(2, 3, LIN_ABSENT));
    ASSERT_FINE(UNKNOWN_WRITE(1, 7), WRITE(2, 3, 8), READ(4, 5, 8), READ(6, 7, 7));
}

static void test_unknown_write_takes_effect_once_and_after_its_call(void **state)
{
    (void)state;
    ASSERT_VIOLATED(UNKNOWN_WRITE(4, 7), READ(2, 3, 7));
    ASSERT_FINE(UNKNOWN_WRITE(3, 7), READ(2, 3, 7));
    ASSERT_VIOLATED(UNKNOWN_WRITE(1, 7), READ(2, 3, 7), WRITE(4, 5, 8), READ(6, 7, 7));
    ASSERT_FINE(UNKNOWN_WRITE(1, 7), UNKNOWN_WRITE(1, 7), READ(2, 3, 7), WRITE(4, 5, 8),
                READ(6, 7, 7));
    ASSERT_VIOLATED(UNKNOWN_WRITE(1, 7), UNKNOWN_WRITE(8, 7), READ(2, 3, 7), WRITE(4, 5, 8),
                    READ(6, 7, 7));
}

static void test_unknown_operations_build_on_each_other(void **state)
{
    (void)state;
    ASSERT_FINE(UNKNOWN_WRITE(1, 7), UNKNOWN_CAS(1, 7, 8), UNKNOWN_CAS(1, 8, 9), READ(2, 3, 9));
    ASSERT_FINE(UNKNOWN_CAS(1, 8, 9), UNKNOWN_CAS(1, 7, 8), UNKNOWN_WRITE(1, 7), READ(2, 3, 7),
                READ(4, 5, 9));
    ASSERT_VIOLATED(UNKNOWN_CAS(1, 7, 8), UNKNOWN_CAS(1, 8, 9), READ(2, 3, 9));
    ASSERT_VIOLATED(UNKNOWN_WRITE(1, 7), UNKNOWN_CAS(1, 7, 8), READ(2, 3, 8), READ(4, 5, 7));
}

static void test_failed_operation_leaves_no_trace(void **state)
{
    (void)state;
    struct lin_op failed = WRITE(1, 2, 7);
    failed.outcome = LIN_FAILED;
    struct lin_op ops[] = {failed, READ(3, 4, LIN_ABSENT)};
    assert_int_equal(verdict_of(ops, 2), LIN_LINEARIZABLE);
    ops[1].result = 7;
    assert_int_equal(verdict_of(ops, 2), LIN_VIOLATED);
}

static void test_delete_tells_the_value_it_removed(void **state)
{
    (void)state;
    ASSERT_FINE(WRITE(1, 2, 7), DELETE(3, 4, 7), READ(5, 6, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 2, 7), DELETE(3, 4, 7), READ(5, 6, 7));
    ASSERT_FINE(WRITE(1, 2, 7), DELETE(3, 4, LIN_ANY), DELETE(5, 6, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 2, 7), DELETE(3, 4, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 2, 7), DELETE(3, 6, 7), DELETE(4, 5, 7));
    ASSERT_FINE(WRITE(1, 2, 7), DELETE(3, 6, LIN_ABSENT), DELETE(4, 5, LIN_PRESENT));
    ASSERT_FINE(WRITE(1, 2, 7), UNKNOWN_DELETE(3), READ(4, 5, 7), READ(6, 7, LIN_ABSENT));
    ASSERT_VIOLATED(WRITE(1, 2, 7), UNKNOWN_DELETE(3), READ(4, 5, LIN_ABSENT), READ(6, 7, 7));
    struct lin_op ops[] = {WRITE(1, 2, 7), DELETE(3, 4, 7), READ(5, 6, LIN_ABSENT)};
    ops[1].value = 9; /* means nothing */
    assert_int_equal(verdict_of(ops, 3), LIN_LINEARIZABLE);
}

static void test_swap_that_met_another_value_says_so(void **state)
{
    (void)state;
    ASSERT_FINE(WRITE(1, 2, 7), MISMATCH(3, 4, 8, 7));
    ASSERT_FINE(WRITE(1, 2, 7), MISMATCH(3, 4, 8, LIN_ANY));
    ASSERT_FINE(WRITE(1, 2, 7), MISMATCH(3, 4, LIN_ABSENT, LIN_ANY));
    ASSERT_VIOLATED(WRITE(1, 2, 7), MISMATCH(3, 4, 7, LIN_ANY));
    ASSERT_VIOLATED(WRITE(1, 2, 7), MISMATCH(3, 4, 8, 9));
    ASSERT_VIOLATED(WRITE(1, 2, 7), MISMATCH(3, 4, 7, 7));
    /* Only the write that nobody else saw explains it. */
    ASSERT_FINE(WRITE(1, 2, 7), UNKNOWN_WRITE(1, 8), MISMATCH(3, 4, 7, LIN_ANY), READ(5, 6, 8));
    ASSERT_FINE(WRITE(1, 2, 7), UNKNOWN_WRITE(1, 8), MISMATCH(3, 4, 7, LIN_ANY));
}

static void test_equal_times_count_as_overlapping(void **state)
{
    (void)state;
    ASSERT_FINE(WRITE(1, 2, 7), READ(2, 3, LIN_ABSENT));
    ASSERT_FINE(READ(1, 2, 7), WRITE(2, 3, 7));
    ASSERT_FINE(WRITE(2, 2, 7), READ(2, 2, LIN_ABSENT));
    ASSERT_VIOLATED(READ(1, 2, 7), WRITE(3, 3, 7));
}

static void test_keys_are_judged_alone_and_the_first_violated_is_named(void **state)
{
    (void)state;
    struct lin_op ops[] = {WRITE(1, 2, 7), READ(3, 4, 7), READ(3, 4, 7), READ(3, 4, 8)};
    ops[0].key = ops[1].key = 30;
    ops[2].key = 20;
    ops[3].key = UINT64_MAX;
    struct lin *lin = lin_new();
    struct lin_report report;
    lin_add(lin, &ops[0]);
    lin_add(lin, &ops[1]);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_LINEARIZABLE);
    assert_int_equal(report.n_keys, 1);
    assert_string_equal(report.explanation, "");
    lin_add(lin, &ops[3]);
    lin_add(lin, &ops[2]);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_VIOLATED);
    assert_int_equal(report.key, 20);
    lin_clear(lin);
    lin_add(lin, &ops[0]);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_LINEARIZABLE);
    assert_int_equal(report.n_ops, 1);
    lin_free(&lin);
    assert_null(lin);
}

static void test_operation_begun_and_never_ended_is_unknown(void **state)
{
    (void)state;
    struct lin *lin = lin_new();
    struct lin_report report;
    struct lin_op write_op = WRITE(1, 2, 7);
    size_t write = lin_begin(lin, &write_op); /* outcome and end are not read */
    size_t read = lin_begin(lin, &(struct lin_op){.kind = LIN_READ, .call = 5});
    (void)lin_begin(lin, &(struct lin_op){.kind = LIN_READ, .call = 5, .result = 9});
    lin_end(lin, read, 6, LIN_OK, LIN_ABSENT);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_LINEARIZABLE);
    lin_end(lin, read, 6, LIN_OK, 7);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_LINEARIZABLE);
    lin_end(lin, write, 7, LIN_FAILED, LIN_ANY);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_VIOLATED);
    assert_int_equal(lin_count(lin), 3);
    lin_free(&lin);
}

static void test_explanation_names_key_order_and_what_cannot_follow(void **state)
{
    (void)state;
    struct lin_op ops[] = {WRITE(1, 2, 7), UNKNOWN_WRITE(2, 9), WRITE(3, 4, 8), READ(5, 6, 7),
                           READ(7, 8, 9)};
    struct lin *lin = lin_new();
    struct lin_report report;
    for (size_t i = 0; i < N_OPS(ops); i++) {
        ops[i].key = 42;
        ops[i].client = i;
        lin_add(lin, &ops[i]);
    }
    assert_int_equal(lin_check(lin, NULL, &report), LIN_VIOLATED);
    assert_string_equal(
        report.explanation,
        "key 42 is not linearizable (5 operations)\n"
        "  no order that agrees with all answers gets past the end of\n"
        "    [5, 6] client 3 reads 7\n"
        "  the longest one has 2 operations:\n"
        "    [1, 2] client 0 writes 7\n"
        "    [3, 4] client 2 writes 8\n"
        "  then the key holds 8, and next would have to come one of\n"
        "    [2, ?] client 1 writes 9, outcome unknown: may come, and does not help\n"
        "    [5, 6] client 3 reads 7: needs 7\n");
    lin_free(&lin);
}

static void test_explanation_shows_the_longest_of_the_orders(void **state)
{
    (void)state;
    struct lin_op ops[] = {WRITE(1, 2, 7), WRITE(3, 6, 8), WRITE(3, 7, 9), READ(4, 5, 6)};
    struct lin *lin = lin_new();
    struct lin_report report;
    for (size_t i = 0; i < N_OPS(ops); i++)
        lin_add(lin, &ops[i]);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_VIOLATED);
    assert_non_null(strstr(report.explanation, "gets past the end of\n    [4, 5] "));
    assert_non_null(strstr(report.explanation, "the longest one has 3 operations"));
    lin_free(&lin);
}

static void test_state_reached_with_fewer_bits_is_as_good(void **state)
{
    (void)state;
    struct seen seen = {0};
    const uint64_t both[] = {5, 1, 1}, first[] = {5, 1, 0}, second[] = {5, 0, 1};
    const uint64_t other_name[] = {6, 1, 1};
    seen_clear(&seen);
    assert_true(seen_add(&seen, both, 1, 2));
    assert_false(seen_add(&seen, both, 1, 2));
    assert_true(seen_add(&seen, first, 1, 2));
    assert_true(seen_add(&seen, second, 1, 2));
    assert_true(seen_add(&seen, other_name, 1, 2));
    const uint64_t more[] = {5, 3, 0}, more_too[] = {5, 0, 3}, none_of[] = {5, 2, 2};
    assert_false(seen_add(&seen, more, 1, 2));
    assert_false(seen_add(&seen, more_too, 1, 2));
    assert_true(seen_add(&seen, none_of, 1, 2));
    seen_clear(&seen);
    for (uint64_t i = 0; i < 5000; i++)
        assert_true(seen_add(&seen, &i, 1, 0));
    for (uint64_t i = 0; i < 5000; i++)
        assert_false(seen_add(&seen, &i, 1, 0));
    assert_true(seen_bytes(&seen) > 5000 * sizeof(uint64_t));
    seen_clear(&seen);
    assert_int_equal(seen_bytes(&seen), 0);
    assert_true(seen_add(&seen, both, 1, 2));
    seen_free(&seen);
}

/* n writes at the same time and a read of something else: all orders are tried. */
static void add_hard_key(struct lin *lin, uint64_t key, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct lin_op write = WRITE(1, 2, i + 1);
        write.key = key;
        lin_add(lin, &write);
    }
    struct lin_op read = READ(3, 4, n + 1);
    read.key = key;
    lin_add(lin, &read);
}

static void test_search_beyond_its_limits_gives_up_and_says_so(void **state)
{
    (void)state;
    struct lin *lin = lin_new();
    struct lin_report report;
    add_hard_key(lin, 5, 14);
    assert_int_equal(lin_check(lin, NULL, &report), LIN_VIOLATED);
    struct lin_limits few_steps = {1000, SIZE_MAX}, few_bytes = {UINT64_MAX, 100000};
    assert_int_equal(lin_check(lin, &few_steps, &report), LIN_GAVE_UP);
    assert_int_equal(report.n_keys_gave_up, 1);
    assert_int_equal(report.key, 5);
    assert_non_null(strstr(report.explanation, "key 5: gave up after 1000 steps"));
    assert_int_equal(lin_check(lin, &few_bytes, &report), LIN_GAVE_UP);
    assert_true(report.steps < 14 * 14 * 16384);
    /* A key that is certain counts more. */
    struct lin_op stale = READ(1, 2, 7);
    stale.key = 6;
    lin_add(lin, &stale);
    assert_int_equal(lin_check(lin, &few_steps, &report), LIN_VIOLATED);
    assert_int_equal(report.key, 6);
    assert_int_equal(report.n_keys_gave_up, 1);
    lin_free(&lin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_of_a_fresh_key_is_absent),
        cmocka_unit_test(test_read_during_a_write_sees_either_value),
        cmocka_unit_test(test_read_after_a_write_of_an_older_value_is_stale),
        cmocka_unit_test(test_read_after_a_read_never_goes_back),
        cmocka_unit_test(test_write_acknowledged_and_gone_is_lost),
        cmocka_unit_test(test_split_brain_of_two_leaders_is_seen),
        cmocka_unit_test(test_unknown_write_may_be_seen_late_or_never),
        cmocka_unit_test(test_unknown_write_takes_effect_once_and_after_its_call),
        cmocka_unit_test(test_unknown_operations_build_on_each_other),
        cmocka_unit_test(test_failed_operation_leaves_no_trace),
        cmocka_unit_test(test_delete_tells_the_value_it_removed),
        cmocka_unit_test(test_swap_that_met_another_value_says_so),
        cmocka_unit_test(test_equal_times_count_as_overlapping),
        cmocka_unit_test(test_keys_are_judged_alone_and_the_first_violated_is_named),
        cmocka_unit_test(test_operation_begun_and_never_ended_is_unknown),
        cmocka_unit_test(test_explanation_names_key_order_and_what_cannot_follow),
        cmocka_unit_test(test_explanation_shows_the_longest_of_the_orders),
        cmocka_unit_test(test_state_reached_with_fewer_bits_is_as_good),
        cmocka_unit_test(test_search_beyond_its_limits_gives_up_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
