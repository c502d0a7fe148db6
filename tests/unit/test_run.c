/* SPDX-License-Identifier: MIT
 * Runs: what is written is read, by key and in order, from a file as from a
 * stream.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "run_samples.h"
#include "store/run_file.h"
#include "store/run_format.h"

static char dir[] = "/tmp/test_run.XXXXXX";
static char path[sizeof dir + 8];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/run", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

/* Everything about a run of n records: order, seeks to each and around each, gets, counts. */
static void check_records(struct run *r, run_sample_fn *record, uint64_t n)
{
    struct buf reason = BUF_INIT;
    struct kv_cursor *c = run_cursor(r), *seeker = run_cursor(r);
    struct kv_record found, expected;
    int err = kv_cursor_seek(c, NULL, 0, &found);
    for (uint64_t i = 0; i < n; i++) {
        expected = record(i);
        assert_int_equal(err, 0);
        assert_true(run_sample_equal(&found, &expected));
        assert_int_equal(run_get(r, expected.key, expected.key_len, &found, &reason), 0);
        assert_true(run_sample_equal(&found, &expected));
        assert_int_equal(kv_cursor_seek(seeker, expected.key, expected.key_len, &found), 0);
        assert_true(run_sample_equal(&found, &expected));
        err = kv_cursor_next(c, &found);
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_int_equal(kv_cursor_next(c, &found), ERR_NOT_FOUND);
    err = kv_cursor_below(c, NULL, 0, &found);
    for (uint64_t i = n; i-- > 0;) {
        expected = record(i);
        assert_int_equal(err, 0);
        assert_true(run_sample_equal(&found, &expected));
        err = kv_cursor_below(c, expected.key, expected.key_len, &found);
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_int_equal(run_verify(r, &reason), 0);
    assert_int_equal(run_info(r).n_records, n);
    assert_int_equal(reason.len, 0);
    assert_false(run_damage(r, &reason));
    kv_cursor_close(&c);
    kv_cursor_close(&seeker);
}

static void check_round_trip(run_sample_fn *record, uint64_t n)
{
    struct buf bytes = BUF_INIT, meta = BUF_INIT, reason = BUF_INIT;
    run_sample_make(record, n, &bytes);
    struct run *r = run_sample_opened(&bytes);
    check_records(r, record, n);
    assert_int_equal(run_meta(r, &meta, &reason), 0);
    assert_int_equal(meta.len, sizeof RUN_SAMPLE_META);
    assert_memory_equal(meta.data, RUN_SAMPLE_META, meta.len);
    assert_int_equal(run_info(r).meta_bytes, meta.len);
    assert_int_equal(run_info(r).file_bytes, bytes.len);
    run_unref(&r);
    assert_null(r);
    buf_free(&meta);
    buf_free(&bytes);
}

static void test_run_without_records_is_empty(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct kv_record found;
    check_round_trip(run_sample_small, 0);
    run_sample_make(run_sample_small, 0, &bytes);
    struct run *r = run_sample_opened(&bytes);
    assert_int_equal(run_get(r, "a", 1, &found, &reason), ERR_NOT_FOUND);
    run_unref(&r);
    buf_free(&bytes);
}

static void test_run_of_any_size_is_read_as_written(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 63, 64, 65, 66, 67, 68, 1000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_round_trip(run_sample_small, sizes[i]);
    check_round_trip(run_sample_long, 500);
}

static void test_run_keys_may_be_any_bytes(void **state)
{
    (void)state;
    check_round_trip(run_sample_binary, 2000);
}

static void test_run_tombstones_and_bytes_are_counted(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    run_sample_make(run_sample_small, 700, &bytes);
    struct run *r = run_sample_opened(&bytes);
    assert_int_equal(run_info(r).n_deleted, 100);
    assert_int_equal(run_info(r).content_bytes, 700 * 21 + 600 * 32);
    assert_in_range(run_info(r).n_blocks, 18, 26);
    run_unref(&r);
    buf_free(&bytes);
}

/* Only even keys are there: the odd ones and whatever is around them are not. */
static struct kv_record even(uint64_t i)
{
    return run_sample_small(2 * i);
}

static void test_run_missing_key_is_not_found_and_seek_gives_the_next(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    run_sample_make(even, N, &bytes);
    struct run *r = run_sample_opened(&bytes);
    struct kv_cursor *c = run_cursor(r);
    struct kv_record found = {.key_len = 77}, expected;
    for (uint64_t i = 0; i < N; i++) {
        struct kv_record odd = run_sample_small(2 * i + 1);
        assert_int_equal(run_get(r, odd.key, odd.key_len, &found, &reason), ERR_NOT_FOUND);
        int err = kv_cursor_seek(c, odd.key, odd.key_len, &found);
        assert_int_equal(err, i + 1 < N ? 0 : ERR_NOT_FOUND);
        expected = even(i + 1 < N ? i + 1 : i);
        assert_true(run_sample_equal(&found, &expected)); /* untouched by NOT_FOUND */
    }
    assert_int_equal(run_get(r, "a", 1, &found, &reason), ERR_NOT_FOUND);
    assert_int_equal(run_get(r, "app/config/000000000", 20, &found, &reason), ERR_NOT_FOUND);
    assert_int_equal(run_get(r, "z", 1, &found, &reason), ERR_NOT_FOUND);
    assert_int_equal(kv_cursor_seek(c, "z", 1, &found), ERR_NOT_FOUND);
    assert_int_equal(kv_cursor_next(c, &found), ERR_NOT_FOUND);
    assert_int_equal(kv_cursor_seek(c, "a", 1, &found), 0);
    expected = even(0);
    assert_true(run_sample_equal(&found, &expected));
    kv_cursor_close(&c);
    run_unref(&r);
    buf_free(&bytes);
}

/* Many keys have the first eight bytes after "app/" in common, too; each is the number of its
 * place. Of every seventh the number has a zero more at its end. */
#define ONE_BEGINNING 3000
static struct kv_record one_beginning(uint64_t i)
{
    static uint8_t key[24];
    memcpy(key, "app/?unlikeness", 15);
    key[4] = (uint8_t)(i / 1000 * 100); /* 0 to 200 */
    bytes_put_be(key + 15, i * 2, 3);
    key[18] = 0;
    return (struct kv_record){
        .key = key,
        .key_len = i % 7 == 0 ? 19 : 18,
        .value = {.data = (const uint8_t *)"a value of some bytes",
                  .len = 21,
                  .revision = i + 1,
                  .create_revision = 1,
                  .version = 1},
    };
}

/* The first that is not below, by looking at all. */
static uint64_t first_not_below(const uint8_t *key, size_t len)
{
    uint64_t i = 0;
    for (; i < ONE_BEGINNING; i++) {
        struct kv_record r = one_beginning(i);
        if (run_key_compare(r.key, r.key_len, key, len) >= 0)
            break;
    }
    return i;
}

/* Cut anywhere, and with its bytes one lower and one higher. */
static void test_run_seek_finds_its_way_among_keys_with_one_beginning(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    check_round_trip(one_beginning, ONE_BEGINNING);
    run_sample_make(one_beginning, ONE_BEGINNING, &bytes);
    struct run *r = run_sample_opened(&bytes);
    struct kv_cursor *c = run_cursor(r);
    assert_true(run_info(r).file_bytes > 30 * RUN_BLOCK_BYTES);
    for (uint64_t i = 0; i < ONE_BEGINNING; i += 97) {
        for (size_t len = 1; len <= 19; len++) {
            for (int change = -1; change <= 1; change++) {
                struct kv_record sought = one_beginning(i), found = {.deleted = false};
                uint8_t key[24];
                memcpy(key, sought.key, sizeof key);
                key[len - 1] = (uint8_t)(key[len - 1] + change);
                uint64_t expected = first_not_below(key, len);
                int err = kv_cursor_seek(c, key, len, &found);
                assert_int_equal(err, expected < ONE_BEGINNING ? 0 : ERR_NOT_FOUND);
                if (!err)
                    assert_int_equal(found.value.revision, expected + 1);
            }
        }
    }
    kv_cursor_close(&c);
    run_unref(&r);
    buf_free(&bytes);
}

static void test_run_cursor_outlives_the_reference_it_was_made_with(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    struct kv_record found, expected;
    run_sample_make(run_sample_small, 100, &bytes);
    struct run *r = run_sample_opened(&bytes), *other = run_ref(r);
    struct kv_cursor *c = run_cursor(r);
    run_unref(&r);
    run_unref(&other);
    assert_int_equal(kv_cursor_seek(c, NULL, 0, &found), 0);
    expected = run_sample_small(0);
    assert_true(run_sample_equal(&found, &expected));
    kv_cursor_close(&c);
    buf_free(&bytes);
}

/* ---- values ---- */

/* Sizes around the limits of a block and of the output, and the largest of all. */
static const size_t value_sizes[] = {0,
                                     1,
                                     4000,
                                     4095,
                                     4096,
                                     4097,
                                     8192,
                                     65535,
                                     65536,
                                     65537,
                                     262143,
                                     262144,
                                     262145,
                                     1 * MIB,
                                     0,
                                     1,
                                     4 * KIB - 1,
                                     LIMIT_VALUE_BYTES - 1,
                                     LIMIT_VALUE_BYTES};
enum { N_VALUES = sizeof value_sizes / sizeof value_sizes[0] };

/* Zeros but for its first and last byte, which `set` puts there or takes away. */
static struct kv_record sized(unsigned i, const uint8_t *key, uint8_t *memory, bool set)
{
    size_t len = value_sizes[i];
    if (len > 0) {
        memory[len - 1] = (uint8_t)(set ? i + 2 : 0);
        memory[0] = (uint8_t)(set ? i + 1 : 0);
    }
    return (struct kv_record){
        .key = key,
        .key_len = 1,
        .value = {.data = memory, .len = len, .revision = 9, .create_revision = 8, .version = 7}};
}

static void test_run_values_of_any_size_are_read_as_written(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    struct run_writer *w;
    struct run_info info;
    struct run *r;
    struct kv_record found, expected;
    uint8_t *memory = mem_zalloc(LIMIT_VALUE_BYTES), key;
    assert_int_equal(run_writer_new(path, &w, &reason), 0);
    for (key = 0; key < N_VALUES; key++) {
        expected = sized(key, &key, memory, true);
        assert_int_equal(run_writer_put(w, &expected), 0);
        sized(key, &key, memory, false);
    }
    assert_true(run_writer_bytes(w) > 2 * LIMIT_VALUE_BYTES);
    assert_int_equal(run_writer_finish(&w, NULL, 0, &info, &reason), 0);
    assert_int_equal(run_open(path, RUN_REMEDY_NODE, &r, &reason), 0);
    for (key = 0; key < N_VALUES; key++) {
        expected = sized(key, &key, memory, true);
        assert_int_equal(run_get(r, &key, 1, &found, &reason), 0);
        assert_true(run_sample_equal(&found, &expected));
        sized(key, &key, memory, false);
    }
    assert_int_equal(run_verify(r, &reason), 0);
    assert_int_equal(run_info(r).digest, info.digest);
    assert_int_equal(run_info(r).file_bytes, info.file_bytes);
    run_unref(&r);
    mem_free(memory);
}

/* ---- files ---- */

static void write_file(run_sample_fn *record, uint64_t n)
{
    struct buf reason = BUF_INIT;
    struct run_writer *w;
    assert_int_equal(run_writer_new(path, &w, &reason), 0);
    run_sample_put(w, record, n);
    assert_int_equal(run_writer_finish(&w, RUN_SAMPLE_META, sizeof RUN_SAMPLE_META, NULL, &reason),
                     0);
    assert_null(w);
}

static void test_run_file_and_stream_are_the_same_bytes(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    struct stat st;
    run_sample_make(run_sample_small, 20000, &bytes);
    write_file(run_sample_small, 20000);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, bytes.len);
    assert_int_equal(st.st_mode & 0777, 0600);
    uint8_t *content = mem_alloc(bytes.len);
    FILE *f = fopen(path, "rb");
    assert_int_equal(fread(content, 1, bytes.len, f), bytes.len);
    fclose(f);
    assert_memory_equal(content, bytes.data, bytes.len);
    mem_free(content);
    buf_free(&bytes);
}

static void test_run_file_is_made_anew_and_for_nobody_else(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    struct stat st;
    struct run *r;
    write_file(run_sample_small, 20000);
    assert_int_equal(chmod(path, 0644), 0);
    write_file(run_sample_small, 10);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(run_open(path, RUN_REMEDY_NODE, &r, &reason), 0);
    assert_string_equal(run_path(r), path);
    assert_int_equal(unlink(path), 0); /* may be done while it is open */
    check_records(r, run_sample_small, 10);
    run_unref(&r);
}

static void test_run_writer_aborted_leaves_no_file(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    struct run_writer *w;
    assert_int_equal(run_writer_new(path, &w, &reason), 0);
    run_sample_put(w, run_sample_small, 10000);
    assert_int_equal(access(path, F_OK), 0);
    run_writer_abort(&w);
    assert_null(w);
    run_writer_abort(&w);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_run_writer_without_directory_says_which(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    struct run_writer *w = NULL;
    assert_int_equal(run_writer_new("/nonexistent/run", &w, &reason), ERR_IO);
    assert_non_null(strstr(buf_str(&reason), "/nonexistent/run"));
    assert_null(w);
    buf_free(&reason);
}

/* A file that may not grow; only the code differs from a disk that is full. */
static void test_run_writer_that_cannot_write_says_so_and_leaves_no_file(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    struct run_writer *w;
    struct rlimit old, small = {.rlim_cur = 100000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(run_writer_new(path, &w, &reason), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        struct kv_record record = run_sample_small(i);
        err = run_writer_put(w, &record);
    }
    assert_int_equal(err, ERR_IO); /* EFBIG */
    assert_int_equal(run_writer_finish(&w, NULL, 0, NULL, &reason), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(strstr(buf_str(&reason), path));
    assert_non_null(strstr(buf_str(&reason), strerror(EFBIG)));
    assert_int_equal(access(path, F_OK), -1);
    buf_free(&reason);
}

static int failing_sink(void *ctx, const void *p, size_t len, struct buf *reason)
{
    unsigned *calls = ctx;
    (void)p;
    (void)len;
    buf_append_str(reason, "the reader has gone");
    ++*calls;
    return ERR_UNREACHABLE;
}

static void test_run_stream_stops_at_the_first_error_of_its_sink(void **state)
{
    (void)state;
    struct buf reason = BUF_INIT;
    unsigned calls = 0;
    struct run_writer *w = run_writer_new_stream(failing_sink, &calls);
    for (uint64_t i = 0; i < 20000; i++) {
        struct kv_record record = run_sample_small(i);
        (void)run_writer_put(w, &record);
    }
    assert_int_equal(run_writer_finish(&w, NULL, 0, NULL, &reason), ERR_UNREACHABLE);
    assert_string_equal(buf_str(&reason), "the reader has gone");
    assert_int_equal(calls, 1);
    buf_free(&reason);
}

/* ---- crabcluster-format(5) ---- */

/* The bytes of the page's example: lines of an offset, sixteen bytes and their text. */
static void read_example(struct buf *out)
{
    const char *top = getenv("top_srcdir");
    struct buf page = BUF_INIT;
    char line[256];
    buf_printf(&page, "%s/man/crabcluster-format.5", top ? top : ".");
    FILE *f = fopen(buf_str(&page), "r");
    buf_free(&page);
    if (!f)
        skip();
    while (fgets(line, sizeof line, f)) {
        unsigned b[17];
        if (sscanf(line, "%4x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x %2x |",
                   &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &b[10],
                   &b[11], &b[12], &b[13], &b[14], &b[15], &b[16]) != 17)
            continue;
        for (unsigned i = 1; i < 17; i++)
            buf_put_u8(out, (uint8_t)b[i]);
    }
    fclose(f);
}

static void test_run_example_of_the_manual_page_is_what_is_written(void **state)
{
    (void)state;
    struct buf written = BUF_INIT, example = BUF_INIT, reason = BUF_INIT;
    struct kv_record record = {.key = (const uint8_t *)"a",
                               .key_len = 1,
                               .value = {.data = (const uint8_t *)"bcdef",
                                         .len = 5,
                                         .revision = 5,
                                         .create_revision = 4,
                                         .version = 2}};
    struct run_writer *w = run_writer_new_stream(run_sample_sink, &written);
    assert_int_equal(run_writer_put(w, &record), 0);
    assert_int_equal(run_writer_finish(&w, NULL, 0, NULL, &reason), 0);
    read_example(&example);
    assert_int_equal(example.len, written.len);
    assert_memory_equal(example.data, written.data, written.len);
    buf_free(&example);
    buf_free(&written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_without_records_is_empty),
        cmocka_unit_test(test_run_of_any_size_is_read_as_written),
        cmocka_unit_test(test_run_keys_may_be_any_bytes),
        cmocka_unit_test(test_run_tombstones_and_bytes_are_counted),
        cmocka_unit_test(test_run_missing_key_is_not_found_and_seek_gives_the_next),
        cmocka_unit_test(test_run_seek_finds_its_way_among_keys_with_one_beginning),
        cmocka_unit_test(test_run_cursor_outlives_the_reference_it_was_made_with),
        cmocka_unit_test(test_run_values_of_any_size_are_read_as_written),
        cmocka_unit_test(test_run_file_and_stream_are_the_same_bytes),
        cmocka_unit_test(test_run_file_is_made_anew_and_for_nobody_else),
        cmocka_unit_test(test_run_writer_aborted_leaves_no_file),
        cmocka_unit_test(test_run_writer_without_directory_says_which),
        cmocka_unit_test(test_run_writer_that_cannot_write_says_so_and_leaves_no_file),
        cmocka_unit_test(test_run_stream_stops_at_the_first_error_of_its_sink),
        cmocka_unit_test(test_run_example_of_the_manual_page_is_what_is_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
