/* SPDX-License-Identifier: MIT
 * store/state: when runs are merged, that merging keeps what they say, and how
 * large the file is then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "state_fixture.h"

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void test_merged_run_is_in_the_state_and_its_file_is_gone(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, MODEL_KEYS - 1, 80);
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_wait_steps(f, STATE_STEP_DELETED, 2);
    assert_false(exists(fixture_state_path(f, "run-1")));
    assert_false(exists(fixture_state_path(f, "run-2")));
    assert_true(f->n_steps[STATE_STEP_SLICE] > 4);
    assert_int_equal(f->n_merged, 1); /* in one pass */
    assert_int_equal(f->n_steps[STATE_STEP_MERGED], 1);
    fixture_check(f);
    struct state_stats stats = state_stats(f->state);
    uint64_t n = 0, bytes = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        size_t len;
        fixture_key(i, &len);
        n += f->model[i].present;
        bytes += f->model[i].present ? len + f->model[i].len : 0;
    }
    assert_int_equal(stats.n_keys, n);
    assert_int_equal(stats.bytes, bytes);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
    fixture_state_reopen(f);
    fixture_check(f);
}

/* Of one run each key has a page of its own here. */
static void test_runs_wait_for_each_other_when_one_alone_rewrites_much(void **state)
{
    struct state_fixture *f = *state;
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 100);
    fixture_wait_merged(f);
    f->options.merge_runs = 3;
    fixture_state_reopen(f);
    state_start(f->state);
    f->n_steps[STATE_STEP_DROPPED] = 0;
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    usleep(50000);
    assert_int_equal(state_stats(f->state).n_runs, 2);
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    fixture_wait_merged(f);
    fixture_wait_steps(f, STATE_STEP_DELETED, 4);
    assert_int_equal(f->n_steps[STATE_STEP_DROPPED], 1);
    fixture_check(f);
}

static void test_run_that_waited_long_is_merged_alone(void **state)
{
    struct state_fixture *f = *state;
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 100);
    fixture_wait_merged(f);
    f->options.merge_runs = STATE_RUNS_MAX;
    f->options.merge_wait_ms = 100;
    f->options.view_ms_max = 40; /* so often the thread wakes */
    fixture_state_reopen(f);
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    fixture_wait_merged(f);
    fixture_check(f);
}

static void test_run_that_fits_one_slice_waits_for_no_other(void **state)
{
    struct state_fixture *f = *state;
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 100);
    fixture_wait_merged(f);
    f->options.merge_runs = STATE_RUNS_MAX;
    fixture_state_reopen(f);
    state_start(f->state);
    fixture_add(f, 0, 9, 100);
    fixture_wait_merged(f);
    fixture_check(f);
}

static void test_merged_run_that_is_merged_again_changes_nothing(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, MODEL_KEYS - 1, 80);
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    struct buf copy = BUF_INIT;
    FILE *file = fopen(fixture_state_path(f, "run-2"), "rb");
    assert_non_null(file);
    buf_reserve(&copy, 64 * MIB);
    copy.len = fread(copy.data, 1, copy.cap, file);
    fclose(file);
    state_start(f->state);
    fixture_wait_merged(f);
    struct state_stats before = state_stats(f->state);
    fixture_check(f);
    file = fopen(state_run_path(f->state), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(copy.data, 1, copy.len, file), copy.len);
    assert_int_equal(fclose(file), 0);
    buf_free(&copy);
    assert_int_equal(state_add_run(f->state, &f->reason), 0);
    fixture_wait_merged(f);
    struct state_stats after = state_stats(f->state);
    assert_int_equal(after.n_keys, before.n_keys);
    assert_int_equal(after.bytes, before.bytes);
    fixture_check(f);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
}

static void test_file_does_not_grow_under_overwriting(void **state)
{
    struct state_fixture *f = *state;
    uint64_t settled = 0, last = 0;
    state_start(f->state);
    for (int round = 0; round < 30; round++) {
        fixture_add(f, 0, MODEL_KEYS - 1, 100);
        fixture_wait_merged(f);
        last = state_stats(f->state).used_bytes;
        if (round < 15 && last > settled)
            settled = last;
    }
    assert_true(last <= settled + settled / 10);
}

/* Every 4th of 40,000 keys, from first on, scattered over all of them. */
static void add_scattered(struct state_fixture *f, unsigned first)
{
    static const uint8_t value[32] = {1};
    uint8_t meta[16] = {0};
    struct run_writer *w;
    assert_int_equal(run_writer_new(state_run_path(f->state), &w, &f->reason), 0);
    for (unsigned i = first; i < 40000; i += 4) {
        char key[20];
        struct kv_record r = {.key = (const uint8_t *)key,
                              .value = {.data = value,
                                        .len = sizeof value,
                                        .revision = 5,
                                        .create_revision = 5,
                                        .version = 1}};
        r.key_len = (size_t)snprintf(key, sizeof key, "scattered-%06u", i);
        run_writer_put(w, &r);
    }
    assert_int_equal(run_writer_finish(&w, meta, sizeof meta, NULL, &f->reason), 0);
    assert_int_equal(state_add_run(f->state, &f->reason), 0);
}

static void test_scattered_insertions_leave_the_pages_full(void **state)
{
    struct state_fixture *f = *state;
    f->options.slice_bytes = 128 * KIB;
    fixture_state_reopen(f);
    state_start(f->state);
    for (unsigned first = 0; first < 4; first++) {
        add_scattered(f, first);
        fixture_wait_merged(f);
    }
    struct state_stats stats = state_stats(f->state);
    assert_int_equal(stats.n_keys, 40000);
    if (stats.used_bytes > 2 * stats.bytes)
        fail_msg("%lu bytes of file for %lu", (unsigned long)stats.used_bytes,
                 (unsigned long)stats.bytes);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, state_fixture_setup, state_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_merged_run_is_in_the_state_and_its_file_is_gone),
        TEST(test_runs_wait_for_each_other_when_one_alone_rewrites_much),
        TEST(test_run_that_waited_long_is_merged_alone),
        TEST(test_run_that_fits_one_slice_waits_for_no_other),
        TEST(test_merged_run_that_is_merged_again_changes_nothing),
        TEST(test_file_does_not_grow_under_overwriting),
        TEST(test_scattered_insertions_leave_the_pages_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
