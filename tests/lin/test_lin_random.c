/* SPDX-License-Identifier: MIT
 * The checker on random histories: small ones against brute force, long ones
 * that are linearizable by their making, long ones with a violation put in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lin/brute_force.h"
#include "lin/random_history.h"

enum { SMALL_OPS_MAX = 7, SMALL_ROUNDS = 40000, LONG_OPS_MAX = 200, LONG_ROUNDS = 400 };

/* Enough for nearly all; the rest would take minutes. */
static const struct lin_limits limits = {500000, (size_t)256 << 20};

static enum lin_verdict verdict_of(struct lin *lin, const struct lin_op ops[], size_t n,
                                   struct lin_report *report)
{
    lin_clear(lin);
    for (size_t i = 0; i < n; i++)
        lin_add(lin, &ops[i]);
    return lin_check(lin, &limits, report);
}

/* Few values, so that one operation may be taken for another. */
static struct history_shape small_shape(struct rng *rng)
{
    return (struct history_shape){.n_ops = rng_range(rng, 1, SMALL_OPS_MAX),
                                  .n_clients = (unsigned)rng_range(rng, 1, 5),
                                  .n_values = (unsigned)rng_range(rng, 1, 3),
                                  .unknown_percent = (unsigned)rng_range(rng, 0, 70),
                                  .read_percent = (unsigned)rng_range(rng, 10, 60)};
}

/* Some operation tells another story. */
static void tamper(struct rng *rng, struct lin_op ops[], size_t n)
{
    struct lin_op *op = &ops[rng_range(rng, 0, n - 1)];
    switch (rng_range(rng, 0, 3)) {
    case 0:
        op->result = rng_range(rng, 0, 3);
        break;
    case 1:
        op->outcome = op->kind == LIN_CAS ? LIN_OK : LIN_FAILED;
        break;
    case 2:
        op->call -= op->call > 3 ? 3 : op->call;
        op->end = op->call;
        break;
    default:
        op->call += 3;
        op->end += 3;
    }
}

static void print_history(const struct lin_op ops[], size_t n)
{
    static const char *const kinds[] = {"READ", "WRITE", "DELETE", "CAS"};
    static const char *const outcomes[] = {"unknown", "ok", "mismatch", "failed"};
    for (size_t i = 0; i < n; i++)
        print_message("[%llu, %llu] %s value %llu expected %llu result %lld %s\n",
                      (unsigned long long)ops[i].call, (unsigned long long)ops[i].end,
                      kinds[ops[i].kind], (unsigned long long)ops[i].value,
                      (unsigned long long)ops[i].expected, (long long)ops[i].result,
                      outcomes[ops[i].outcome]);
}

static void test_small_histories_get_the_verdict_of_brute_force(void **state)
{
    (void)state;
    struct rng rng = {1};
    struct lin *lin = lin_new();
    struct lin_report report;
    unsigned n_violated = 0, n_fine = 0;
    for (unsigned round = 0; round < SMALL_ROUNDS; round++) {
        struct lin_op ops[SMALL_OPS_MAX];
        struct history_shape shape = small_shape(&rng);
        random_history(&rng, &shape, 0, ops);
        for (uint64_t i = rng_range(&rng, 0, 6); i > 0; i--)
            tamper(&rng, ops, shape.n_ops);
        bool want = brute_force_is_linearizable(ops, shape.n_ops);
        enum lin_verdict got = verdict_of(lin, ops, shape.n_ops, &report);
        if (got != (want ? LIN_LINEARIZABLE : LIN_VIOLATED)) {
            print_history(ops, shape.n_ops);
            fail_msg("round %u: linearizable %d, the checker says %d\n%s", round, want, (int)got,
                     report.explanation);
        }
        n_fine += want ? 1 : 0;
        n_violated += want ? 0 : 1;
    }
    print_message("%u linearizable, %u not\n", n_fine, n_violated);
    assert_true(n_fine > SMALL_ROUNDS / 5 && n_violated > SMALL_ROUNDS / 5);
    lin_free(&lin);
}

static struct history_shape long_shape(struct rng *rng)
{
    return (struct history_shape){.n_ops = rng_range(rng, 10, LONG_OPS_MAX),
                                  .n_clients = (unsigned)rng_range(rng, 2, 8),
                                  .n_values = rng_range(rng, 0, 1) ? 5 : 0,
                                  .unknown_percent = (unsigned)rng_range(rng, 0, 30),
                                  .read_percent = (unsigned)rng_range(rng, 20, 80)};
}

static void test_long_histories_of_a_correct_store_are_linearizable(void **state)
{
    (void)state;
    struct rng rng = {2};
    struct lin *lin = lin_new();
    struct lin_report report;
    uint64_t steps = 0, n_ops = 0;
    for (unsigned round = 0; round < LONG_ROUNDS; round++) {
        struct lin_op ops[LONG_OPS_MAX];
        struct history_shape shape = long_shape(&rng);
        random_history(&rng, &shape, round, ops);
        if (verdict_of(lin, ops, shape.n_ops, &report) != LIN_LINEARIZABLE)
            fail_msg("round %u: %s", round, report.explanation);
        steps += report.steps;
        n_ops += report.n_ops;
    }
    print_message("%llu operations in %llu steps\n", (unsigned long long)n_ops,
                  (unsigned long long)steps);
    lin_free(&lin);
}

/* One client writes a value of its own, then another, and reads the first:
 * nothing that others do excuses this. */
static void put_stale_read(struct rng *rng, struct lin_op ops[3], uint64_t time_max)
{
    uint64_t t = rng_range(rng, 0, time_max);
    ops[0] = (struct lin_op){.kind = LIN_WRITE,
                             .outcome = LIN_OK,
                             .value = 1000,
                             .result = LIN_ANY,
                             .call = t,
                             .end = t + 9};
    ops[1] = ops[0];
    ops[1].value = 1001;
    ops[1].call = t + 10;
    ops[1].end = t + 19;
    ops[2] = (struct lin_op){
        .kind = LIN_READ, .outcome = LIN_OK, .result = 1000, .call = t + 20, .end = t + 40};
}

static void test_long_histories_with_a_stale_read_are_violated(void **state)
{
    (void)state;
    struct rng rng = {3};
    struct lin *lin = lin_new();
    struct lin_report report;
    unsigned n_gave_up = 0;
    for (unsigned round = 0; round < LONG_ROUNDS; round++) {
        struct lin_op ops[LONG_OPS_MAX + 3];
        struct history_shape shape = long_shape(&rng);
        random_history(&rng, &shape, 0, ops);
        put_stale_read(&rng, ops + shape.n_ops, ops[shape.n_ops - 1].call);
        enum lin_verdict verdict = verdict_of(lin, ops, shape.n_ops + 3, &report);
        if (verdict == LIN_LINEARIZABLE)
            fail_msg("round %u", round);
        n_gave_up += verdict == LIN_GAVE_UP ? 1 : 0;
    }
    print_message("gave up on %u of %u\n", n_gave_up, (unsigned)LONG_ROUNDS);
    assert_true(n_gave_up < LONG_ROUNDS / 50);
    lin_free(&lin);
}

static void test_report_of_the_same_history_is_the_same(void **state)
{
    (void)state;
    struct lin_op ops[LONG_OPS_MAX + 3];
    struct rng rng = {4};
    struct history_shape shape = long_shape(&rng);
    random_history(&rng, &shape, 0, ops);
    put_stale_read(&rng, ops + shape.n_ops, ops[shape.n_ops - 1].call);
    struct lin *fresh = lin_new(), *used = lin_new();
    struct lin_report of_fresh, of_used;
    assert_int_equal(verdict_of(used, ops, shape.n_ops, &of_used), LIN_LINEARIZABLE);
    assert_int_equal(verdict_of(used, ops, shape.n_ops + 3, &of_used), LIN_VIOLATED);
    assert_int_equal(verdict_of(fresh, ops, shape.n_ops + 3, &of_fresh), LIN_VIOLATED);
    assert_string_equal(of_fresh.explanation, of_used.explanation);
    assert_true(of_fresh.steps == of_used.steps);
    lin_free(&fresh);
    lin_free(&used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_histories_get_the_verdict_of_brute_force),
        cmocka_unit_test(test_long_histories_of_a_correct_store_are_linearizable),
        cmocka_unit_test(test_long_histories_with_a_stale_read_are_violated),
        cmocka_unit_test(test_report_of_the_same_history_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
