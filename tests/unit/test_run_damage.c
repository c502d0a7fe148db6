/* SPDX-License-Identifier: MIT
 * Runs that are cut short, altered, of another version or no runs at all: what
 * is read is right or refused with a line that names the file, and nothing
 * crashes.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "run_samples.h"
#include "store/guard.h"
#include "store/run_filter.h"
#include "store/run_format.h"

enum { N = 12 }; /* records of run_sample_long(): several blocks */

static char dir[] = "/tmp/test_run_damage.XXXXXX";
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

static void write_file(const void *p, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* One line with the remedy at its end. */
static void check_reason(struct buf *reason, const char *remedy)
{
    const char *text = buf_str(reason);
    assert_non_null(strstr(text, "is damaged: "));
    assert_null(strchr(text, '\n'));
    size_t len = strlen(remedy);
    assert_true(reason->len > len);
    assert_string_equal(text + reason->len - len, remedy);
}

/* ---- reading what may be damaged ---- */

/* Each record by its key: it is right, or CORRUPT. True: one was CORRUPT. */
static bool gets_find_damage(struct run *r)
{
    struct kv_record found, expected;
    bool damaged = false;
    for (uint64_t i = 0; i < N; i++) {
        struct buf reason = BUF_INIT;
        expected = run_sample_long(i);
        int err = run_get(r, expected.key, expected.key_len, &found, &reason);
        if (err) {
            assert_int_equal(err, ERR_CORRUPT);
            check_reason(&reason, RUN_REMEDY_BACKUP);
        } else {
            assert_true(run_sample_equal(&found, &expected));
        }
        damaged = damaged || err;
        buf_free(&reason);
    }
    return damaged;
}

/* The same in order, up to the first damage. */
static bool cursor_finds_damage(struct run *r)
{
    struct kv_cursor *c = run_cursor(r);
    struct kv_record found, expected;
    int err = kv_cursor_seek(c, NULL, 0, &found);
    uint64_t i = 0;
    for (; !err; i++) {
        expected = run_sample_long(i);
        assert_true(i < N && run_sample_equal(&found, &expected));
        err = kv_cursor_next(c, &found);
    }
    kv_cursor_close(&c);
    if (err == ERR_NOT_FOUND) {
        assert_int_equal(i, N);
        return false;
    }
    assert_int_equal(err, ERR_CORRUPT);
    return true;
}

/* A run that may have been opened is all right for those who read it, or says so; and whatever is
 * wrong anywhere, run_verify() finds. */
static void check_damage_is_found(struct run *r)
{
    struct buf reason = BUF_INIT, noted = BUF_INIT;
    bool by_get = gets_find_damage(r);
    assert_int_equal(cursor_finds_damage(r), by_get);
    assert_int_equal(run_damage(r, &noted), by_get);
    assert_int_equal(run_verify(r, &reason), ERR_CORRUPT);
    check_reason(&reason, RUN_REMEDY_BACKUP);
    buf_clear(&noted);
    assert_true(run_damage(r, &noted));
    check_reason(&noted, RUN_REMEDY_BACKUP);
    buf_free(&noted);
    buf_free(&reason);
}

static void test_run_flipped_bit_is_found_wherever_it_is(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    run_sample_make(run_sample_long, N, &bytes);
    for (size_t at = 0; at < bytes.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct buf reason = BUF_INIT;
            struct run *r = NULL;
            /* In the body of a value any bit is as good as another. */
            if (bytes.len > 1000 && at % 16 != 0 && bit != at % 8)
                continue;
            bytes.data[at] ^= (uint8_t)(1u << bit);
            int err = run_open_bytes(bytes.data, bytes.len, RUN_REMEDY_BACKUP, &r, &reason);
            if (err) {
                assert_int_equal(err, ERR_CORRUPT);
                check_reason(&reason, RUN_REMEDY_BACKUP);
            } else {
                check_damage_is_found(r);
            }
            run_unref(&r);
            bytes.data[at] ^= (uint8_t)(1u << bit);
            buf_free(&reason);
        }
    }
    buf_free(&bytes);
}

/* Damage that comes while the run is open is met by whoever reads there, and by the scrub. */
static void test_run_bit_flipped_while_open_is_found_by_reading(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    run_sample_make(run_sample_long, N, &bytes);
    for (size_t at = 0; at < bytes.len; at += 3) {
        struct run *r;
        uint64_t done = 0;
        int err = 0;
        assert_int_equal(run_open_bytes(bytes.data, bytes.len, RUN_REMEDY_BACKUP, &r, &reason), 0);
        bytes.data[at] ^= 4;
        check_damage_is_found(r);
        while (!err && done < bytes.len)
            err = run_verify_some(r, &done, 1, &reason);
        assert_int_equal(err, ERR_CORRUPT);
        bytes.data[at] ^= 4;
        run_unref(&r);
        buf_clear(&reason);
    }
    buf_free(&reason);
    buf_free(&bytes);
}

static void test_run_cut_short_anywhere_is_corrupt(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r = NULL;
    run_sample_make(run_sample_long, N, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *exact = mem_dup(bytes.data, len ? len : 1); /* reading on is seen by a sanitizer */
        assert_int_equal(run_open_bytes(exact, len, RUN_REMEDY_BACKUP, &r, &reason), ERR_CORRUPT);
        check_reason(&reason, RUN_REMEDY_BACKUP);
        buf_clear(&reason);
        mem_free(exact);
    }
    assert_null(r);
    buf_free(&reason);
    buf_free(&bytes);
}

static void test_run_file_cut_short_names_file_and_remedy(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r;
    run_sample_make(run_sample_long, N, &bytes);
    const size_t lengths[] = {
        0, 1, 8, 16, RUN_FILE_BYTES_MIN - 1, RUN_FILE_BYTES_MIN, 4096, bytes.len - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        write_file(bytes.data, lengths[i]);
        assert_int_equal(run_open(path, RUN_REMEDY_NODE, &r, &reason), ERR_CORRUPT);
        check_reason(&reason, RUN_REMEDY_NODE);
        assert_int_equal(strncmp(buf_str(&reason), path, strlen(path)), 0);
        buf_clear(&reason);
    }
    buf_free(&reason);
    buf_free(&bytes);
}

/* A whole run inside of a value, cut off just behind it: the end looks like a right one. */
static void test_run_cut_short_after_a_run_in_a_value_is_corrupt(void **state)
{
    (void)state;
    struct buf inner = BUF_INIT, outer = BUF_INIT, reason = BUF_INIT;
    run_sample_make(run_sample_small, 3, &inner);
    struct run_writer *w = run_writer_new_stream(run_sample_sink, &outer);
    struct kv_record record = {.key = (const uint8_t *)"k",
                               .key_len = 1,
                               .value = {.data = inner.data,
                                         .len = inner.len,
                                         .revision = 1,
                                         .create_revision = 1,
                                         .version = 1}};
    struct run *r;
    assert_int_equal(run_writer_put(w, &record), 0);
    assert_int_equal(run_writer_finish(&w, NULL, 0, NULL, &reason), 0);
    size_t from = RUN_HEADER_BYTES + RUN_BLOCK_HEADER_BYTES + 1 + 2 + 1 + 3;
    assert_memory_equal(outer.data + from, inner.data, inner.len);
    assert_int_equal(run_open_bytes(outer.data, from + inner.len, RUN_REMEDY_BACKUP, &r, &reason),
                     ERR_CORRUPT);
    buf_free(&reason);
    buf_free(&outer);
    buf_free(&inner);
}

static void test_run_blocks_swapped_are_corrupt(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r;
    struct run_footer f;
    run_sample_make(run_sample_long, N, &bytes);
    assert_true(run_footer_decode(bytes.data + bytes.len - RUN_FOOTER_BYTES, &f));
    const uint8_t *index = bytes.data + f.index_offset;
    size_t first = bytes_get_be(index + RUN_INDEX_ENTRY_BYTES, 8);
    size_t second = bytes_get_be(index + 2 * RUN_INDEX_ENTRY_BYTES, 8);
    size_t third = bytes_get_be(index + 3 * RUN_INDEX_ENTRY_BYTES, 8);
    assert_int_equal(second - first, third - second);
    uint8_t *other = mem_dup(bytes.data + first, second - first);
    memmove(bytes.data + first, bytes.data + second, third - second);
    memcpy(bytes.data + second, other, second - first);
    assert_int_equal(run_open_bytes(bytes.data, bytes.len, RUN_REMEDY_BACKUP, &r, &reason), 0);
    check_damage_is_found(r);
    run_unref(&r);
    mem_free(other);
    buf_free(&reason);
    buf_free(&bytes);
}

/* ---- files that are something else ---- */

static void test_run_of_another_version_is_refused_by_name(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r = NULL;
    run_sample_make(run_sample_small, 3, &bytes);
    bytes_put_be(bytes.data + 8, 7, 4);
    bytes_put_be(bytes.data + 12, crc32c(0, bytes.data, 12), 4);
    write_file(bytes.data, bytes.len);
    assert_int_equal(run_open(path, RUN_REMEDY_BACKUP, &r, &reason), ERR_VERSION);
    assert_non_null(strstr(buf_str(&reason), path));
    assert_non_null(strstr(buf_str(&reason), "run format 7"));
    assert_null(r);
    buf_free(&reason);
    buf_free(&bytes);
}

static void check_refused(int code, const char *why)
{
    struct buf reason = BUF_INIT;
    struct run *r = NULL;
    assert_int_equal(run_open(path, RUN_REMEDY_BACKUP, &r, &reason), code);
    assert_non_null(strstr(buf_str(&reason), path));
    assert_non_null(strstr(buf_str(&reason), why));
    assert_null(r);
    buf_free(&reason);
}

static void test_run_file_of_another_kind_is_refused(void **state)
{
    (void)state;
    uint8_t page[4096] = {0};
    write_file("hello\n", 6);
    check_refused(ERR_INVALID, "no snapshot, backup or run");
    write_file(page, sizeof page);
    check_refused(ERR_INVALID, "no snapshot, backup or run");
    unlink(path);
    check_refused(ERR_NOT_FOUND, "No such file");
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused(ERR_INVALID, "not a regular file");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(ERR_INVALID, "not a regular file");
}

/* ---- bytes under right checksums that none of ours wrote ---- */

/* Puts `value` at `offset`, makes all checksums right, and reads everything. */
static int verify_forged(size_t offset, uint64_t value, unsigned n_bytes)
{
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r = NULL;
    run_sample_make(run_sample_long, N, &bytes);
    bytes_put_be(bytes.data + offset, value, n_bytes);
    run_sample_reseal(bytes.data, bytes.len);
    int err = run_open_bytes(bytes.data, bytes.len, RUN_REMEDY_BACKUP, &r, &reason);
    if (!err)
        err = run_verify(r, &reason);
    assert_int_equal(reason.len > 0, err != 0);
    run_unref(&r);
    buf_free(&reason);
    buf_free(&bytes);
    return err;
}

static void test_run_forged_fields_are_refused(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    size_t block = RUN_HEADER_BYTES, record = block + RUN_BLOCK_HEADER_BYTES;
    run_sample_make(run_sample_long, N, &bytes);
    size_t footer = bytes.len - RUN_FOOTER_BYTES;
    size_t index = bytes_get_be(bytes.data + footer + 16, 8);
    assert_int_equal(verify_forged(0, 'C', 1), 0); /* resealing alone does no harm */
    assert_int_equal(verify_forged(block + 4, 0, 4), ERR_CORRUPT);
    assert_int_equal(verify_forged(block + 4, UINT32_MAX, 4), ERR_CORRUPT);
    assert_int_equal(verify_forged(block + 8, 0, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(block + 8, 1, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(block + 8, UINT16_MAX, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(record, 0, 1), ERR_CORRUPT);
    assert_int_equal(verify_forged(record, 3, 1), ERR_CORRUPT);
    assert_int_equal(verify_forged(record, RUN_RECORD_TOMBSTONE, 1), ERR_CORRUPT);
    assert_int_equal(verify_forged(record + 1, 0, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(record + 1, 512, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(record + 1, UINT16_MAX, 2), ERR_CORRUPT);
    assert_int_equal(verify_forged(record + 3, 'm', 1), ERR_CORRUPT); /* long/ becomes mong/ */
    size_t second = bytes_get_be(bytes.data + index + RUN_INDEX_ENTRY_BYTES, 8);
    assert_int_equal(verify_forged(second - 2, 0, 2), ERR_CORRUPT); /* starts of the first block */
    assert_int_equal(verify_forged(second - 6, 1, 2), ERR_CORRUPT);
    /* The first block's second key below its first, its third above the next block's. */
    size_t middle = bytes_get_be(bytes.data + second - 4, 2);
    size_t last = bytes_get_be(bytes.data + second - 2, 2);
    assert_int_equal(verify_forged(record + middle + 3, 'k', 1), ERR_CORRUPT);
    assert_int_equal(verify_forged(record + last + 3, 'm', 1), ERR_CORRUPT);
    size_t filter = bytes_get_be(bytes.data + footer + 8, 8);
    assert_int_equal(index - filter, run_filter_bytes(N));
    for (size_t at = filter; at < index; at++) /* less than it has: keys would not be found */
        assert_int_equal(verify_forged(at, 0, 1), bytes.data[at] ? ERR_CORRUPT : 0);
    assert_int_equal(verify_forged(filter, UINT64_MAX, 8), 0); /* more is slow, but not wrong */
    assert_int_equal(verify_forged(index, 17, 8), ERR_CORRUPT);
    assert_int_equal(verify_forged(index + 8, 1, 8), ERR_CORRUPT);
    assert_int_equal(verify_forged(index + 16, UINT64_MAX, 8), ERR_CORRUPT);
    assert_int_equal(verify_forged(index + 24, UINT64_MAX, 8), ERR_CORRUPT);
    for (unsigned field = 0; field < 7; field++) {
        assert_int_equal(verify_forged(footer + 8 * field, 1, 8), ERR_CORRUPT);
        assert_int_equal(verify_forged(footer + 8 * field, UINT64_MAX, 8), ERR_CORRUPT);
    }
    buf_free(&bytes);
}

static void test_run_of_another_digest_is_corrupt(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run_footer f;
    struct run *r;
    run_sample_make(run_sample_long, N, &bytes);
    uint8_t *footer = bytes.data + bytes.len - RUN_FOOTER_BYTES;
    assert_true(run_footer_decode(footer, &f));
    f.digest++;
    run_footer_encode(&f, footer);
    assert_int_equal(run_open_bytes(bytes.data, bytes.len, RUN_REMEDY_BACKUP, &r, &reason), 0);
    assert_int_equal(run_verify(r, &reason), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&reason), "digest"));
    run_unref(&r);
    buf_free(&reason);
    buf_free(&bytes);
}

/* ---- disks that cannot read ---- */

/* A page of a map that the file no longer has is a fault, like one that the disk cannot read. */
static void test_run_file_cut_short_while_open_is_corrupt_and_no_crash(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct kv_record found, sought;
    struct run *r;
    uint64_t at = 0;
    run_sample_make(run_sample_small, 5000, &bytes);
    rmdir(path);
    unlink(path);
    write_file(bytes.data, bytes.len);
    assert_int_equal(run_open(path, RUN_REMEDY_NODE, &r, &reason), 0);
    assert_int_equal(truncate(path, 16384), 0);
    sought = run_sample_small(0);
    assert_int_equal(run_get(r, sought.key, sought.key_len, &found, &reason), 0);
    sought = run_sample_small(4000);
    assert_int_equal(run_get(r, sought.key, sought.key_len, &found, &reason), ERR_CORRUPT);
    check_reason(&reason, RUN_REMEDY_NODE);
    assert_non_null(strstr(buf_str(&reason), "cannot read"));
    buf_clear(&reason);
    assert_int_equal(run_meta(r, &bytes, &reason), ERR_CORRUPT);
    assert_int_equal(run_verify(r, &reason), ERR_CORRUPT);
    assert_int_equal(run_verify_some(r, &at, UINT64_MAX, &reason), ERR_CORRUPT);
    assert_int_equal(at, 0);
    run_unref(&r);
    buf_free(&reason);
    buf_free(&bytes);
}

/* Half of the gets fault, in several threads: no one's guard is another's. */
static void *get_many(void *ctx)
{
    struct run *r = ctx;
    size_t wrong = 0;
    for (unsigned i = 0; i < 2000; i++) {
        char key[32];
        struct kv_record found;
        uint64_t n = i % 2 ? 1 : 4991;
        snprintf(key, sizeof key, "app/config/%010llu", (unsigned long long)n);
        wrong += run_get(r, key, strlen(key), &found, NULL) != (i % 2 ? 0 : ERR_CORRUPT);
    }
    return (void *)wrong;
}

static void test_run_faults_in_several_threads_are_told_apart(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, reason = BUF_INIT;
    struct run *r;
    pthread_t threads[4];
    run_sample_make(run_sample_small, 5000, &bytes);
    write_file(bytes.data, bytes.len);
    assert_int_equal(run_open(path, RUN_REMEDY_NODE, &r, &reason), 0);
    assert_int_equal(truncate(path, 16384), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_many, r), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    run_unref(&r);
    buf_free(&bytes);
}

static int trip(void *ctx)
{
    (void)ctx;
    store_guard_trip();
    return 1;
}

static int guard_in_guard(void *ctx)
{
    int result = 0;
    *(bool *)ctx = store_guard(trip, NULL, &result);
    return 2;
}

static int guard_then_trip(void *ctx)
{
    int result = guard_in_guard(ctx);
    store_guard_trip();
    return result;
}

static void test_guard_inside_of_a_guard_falls_alone(void **state)
{
    (void)state;
    bool inner = true;
    int result = 0;
    assert_true(store_guard(guard_in_guard, &inner, &result));
    assert_false(inner);
    assert_int_equal(result, 2);
    assert_false(store_guard(guard_then_trip, &inner, &result));
    assert_false(store_guard(trip, NULL, &result));
    store_guard_trip(); /* no guard: returns */
}

static int touch(void *ctx)
{
    return *(volatile uint8_t *)ctx;
}

/* How a child ends that has a handler in place and gets the signal without a guard: by a fault, or
 * sent by somebody. */
static int signal_that_ends(bool fault)
{
    int status, result;
    FILE *f = fopen(path, "w+b");
    assert_non_null(f);
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
    fclose(f);
    assert_true(map != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGBUS, SIG_DFL);
        store_guard_prepare();
        if (store_guard(touch, map, &result))
            _exit(1);
        if (fault)
            touch(map);
        else
            kill(getpid(), SIGBUS);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    munmap(map, 4096);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void test_guard_leaves_other_faults_to_others(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(signal_that_ends(true), SIGBUS);
    assert_int_equal(signal_that_ends(false), SIGBUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_flipped_bit_is_found_wherever_it_is),
        cmocka_unit_test(test_run_bit_flipped_while_open_is_found_by_reading),
        cmocka_unit_test(test_run_cut_short_anywhere_is_corrupt),
        cmocka_unit_test(test_run_file_cut_short_names_file_and_remedy),
        cmocka_unit_test(test_run_cut_short_after_a_run_in_a_value_is_corrupt),
        cmocka_unit_test(test_run_blocks_swapped_are_corrupt),
        cmocka_unit_test(test_run_of_another_version_is_refused_by_name),
        cmocka_unit_test(test_run_file_of_another_kind_is_refused),
        cmocka_unit_test(test_run_forged_fields_are_refused),
        cmocka_unit_test(test_run_of_another_digest_is_corrupt),
        cmocka_unit_test(test_run_file_cut_short_while_open_is_corrupt_and_no_crash),
        cmocka_unit_test(test_run_faults_in_several_threads_are_told_apart),
        cmocka_unit_test(test_guard_inside_of_a_guard_falls_alone),
        cmocka_unit_test(test_guard_leaves_other_faults_to_others),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
