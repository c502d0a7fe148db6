/* SPDX-License-Identifier: MIT
 * Runs: their filters, and look-ups in several of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "run_samples.h"
#include "store/run_filter.h"
#include "store/run_format.h"

/* ---- filter ---- */

static struct run_filter_key filter_key(uint64_t key)
{
    return run_filter_key(run_filter_hash(&key, sizeof key));
}

static void test_run_filter_has_every_key_that_was_added(void **state)
{
    (void)state;
    static uint8_t filter[RUN_FILTER_BYTES_MAX];
    const uint64_t sizes[] = {1, 2, 51, 52, 1000, 300000, RUN_FILTER_RECORDS_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t n = sizes[i], absent = 0;
        size_t len = run_filter_bytes(n);
        assert_true(len <= sizeof filter && len >= n * RUN_FILTER_BITS_PER_KEY / 8);
        memset(filter, 0, len);
        for (uint64_t key = 0; key < n; key++)
            run_filter_add(filter, len, filter_key(key));
        for (uint64_t key = 0; key < n; key++)
            assert_true(run_filter_has(filter, len, filter_key(key)));
        for (uint64_t key = n; key < n + 100000; key++)
            absent += !run_filter_has(filter, len, filter_key(key));
        assert_true(absent > 97500);
    }
}

/* Blocks that are damaged stand for blocks that cannot be read without notice. */
static void test_run_filter_spares_the_blocks_for_absent_keys(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    struct run_footer f;
    struct kv_record found;
    unsigned n_read = 0;
    run_sample_make(run_sample_small, 20000, &bytes);
    assert_true(run_footer_decode(bytes.data + bytes.len - RUN_FOOTER_BYTES, &f));
    struct run *r = run_sample_opened(&bytes);
    memset(bytes.data + RUN_HEADER_BYTES, 0xee, f.meta_offset - RUN_HEADER_BYTES);
    for (unsigned i = 0; i < 20000; i++) {
        struct kv_record there = run_sample_small(i);
        char key[64];
        assert_int_equal(run_get(r, there.key, there.key_len, &found, NULL), ERR_CORRUPT);
        int len = snprintf(key, sizeof key, "app/config/%010u/", i);
        int err = run_get(r, key, (size_t)len, &found, NULL);
        assert_true(err == ERR_NOT_FOUND || err == ERR_CORRUPT);
        n_read += err == ERR_CORRUPT;
    }
    assert_in_range(n_read, 1, 500);
    run_unref(&r);
    buf_free(&bytes);
}

/* A sample for a run that is too large for a filter. */
static struct kv_record numbered(uint64_t i)
{
    static uint8_t key[4];
    bytes_put_be(key, i, sizeof key);
    return (struct kv_record){
        .key = key,
        .key_len = sizeof key,
        .value = {.data = key, .revision = i, .create_revision = i, .version = 1}};
}

static void test_run_of_many_records_has_no_filter_and_all_keys(void **state)
{
    (void)state;
    for (uint64_t more = 0; more < 2; more++) {
        struct buf bytes = BUF_INIT;
        struct run_footer f;
        struct kv_record found;
        uint64_t n = RUN_FILTER_RECORDS_MAX + more;
        run_sample_make(numbered, n, &bytes);
        assert_true(run_footer_decode(bytes.data + bytes.len - RUN_FOOTER_BYTES, &f));
        assert_int_equal(f.index_offset - f.filter_offset, more ? 0 : RUN_FILTER_BYTES_MAX);
        struct run *r = run_sample_opened(&bytes);
        for (uint64_t i = 0; i < n; i += 1001) {
            struct kv_record there = numbered(i);
            assert_int_equal(run_get(r, there.key, there.key_len, &found, NULL), 0);
        }
        assert_int_equal(run_get(r, "12345", 5, &found, NULL), ERR_NOT_FOUND);
        run_unref(&r);
        buf_free(&bytes);
    }
}

/* ---- several runs ---- */

static struct kv_record numbered_later(uint64_t i)
{
    struct kv_record record = numbered(i);
    record.value.revision += 1000;
    return record;
}

/* The first run has keys 0 to 99, the second 0 to 199; and then a damaged one. */
static void test_run_get_first_takes_the_newest_run_that_has_the_key(void **state)
{
    (void)state;
    struct buf bytes[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    struct run *runs[3];
    struct kv_record found;
    unsigned at;
    run_sample_make(numbered_later, 100, &bytes[0]);
    run_sample_make(numbered, 200, &bytes[1]);
    run_sample_make(numbered, 300, &bytes[2]);
    for (unsigned i = 0; i < 3; i++)
        runs[i] = run_sample_opened(&bytes[i]);
    struct run_footer footer;
    assert_true(run_footer_decode(bytes[2].data + bytes[2].len - RUN_FOOTER_BYTES, &footer));
    memset(bytes[2].data + RUN_HEADER_BYTES, 0xee, footer.meta_offset - RUN_HEADER_BYTES);
    for (uint64_t i = 0; i < 200; i++) {
        struct kv_record sought = numbered(i);
        assert_int_equal(run_get_first(runs, 3, sought.key, sought.key_len, &found, &at), 0);
        assert_int_equal(at, i < 100 ? 0 : 1);
        assert_int_equal(found.value.revision, i < 100 ? i + 1000 : i);
    }
    struct kv_record below = numbered(250);
    int err = run_get_first(runs, 2, below.key, below.key_len, &found, &at);
    assert_int_equal(err, ERR_NOT_FOUND);
    err = run_get_first(runs, 3, below.key, below.key_len, &found, &at);
    assert_int_equal(err, ERR_CORRUPT);
    assert_int_equal(at, 2);
    assert_int_equal(run_get_first(runs, 0, below.key, 4, &found, &at), ERR_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++) {
        run_unref(&runs[i]);
        buf_free(&bytes[i]);
    }
}

static void test_run_prefetch_keys_leaves_those_that_no_run_has(void **state)
{
    (void)state;
    struct buf bytes[2] = {BUF_INIT, BUF_INIT};
    struct run *runs[2];
    char names[KV_PREFETCH_MAX][32];
    struct kv_bytes keys[KV_PREFETCH_MAX], rest[KV_PREFETCH_MAX];
    run_sample_make(numbered_later, 100, &bytes[0]);
    run_sample_make(numbered, 200, &bytes[1]);
    for (unsigned i = 0; i < 2; i++)
        runs[i] = run_sample_opened(&bytes[i]);
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i++) { /* every second one is in none */
        struct kv_record r = numbered(i % 2 ? 100000 + i : i * 6);
        assert_true(r.key_len <= sizeof names[i]);
        memcpy(names[i], r.key, r.key_len);
        keys[i] = (struct kv_bytes){names[i], r.key_len};
    }
    unsigned n = run_prefetch_keys(runs, 2, keys, KV_PREFETCH_MAX, rest);
    assert_in_range(n, KV_PREFETCH_MAX / 2 - 3, KV_PREFETCH_MAX / 2); /* a filter may err */
    for (unsigned i = 0; i < n; i++)
        assert_int_equal((size_t)((const char *)rest[i].p - names[0]) / sizeof names[0] % 2, 1);
    assert_int_equal(run_prefetch_keys(runs, 0, keys, KV_PREFETCH_MAX, rest), KV_PREFETCH_MAX);
    assert_int_equal(run_prefetch_keys(runs, 2, keys, 0, rest), 0);
    for (unsigned i = 0; i < 2; i++) {
        run_unref(&runs[i]);
        buf_free(&bytes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_filter_has_every_key_that_was_added),
        cmocka_unit_test(test_run_filter_spares_the_blocks_for_absent_keys),
        cmocka_unit_test(test_run_of_many_records_has_no_filter_and_all_keys),
        cmocka_unit_test(test_run_get_first_takes_the_newest_run_that_has_the_key),
        cmocka_unit_test(test_run_prefetch_keys_leaves_those_that_no_run_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
