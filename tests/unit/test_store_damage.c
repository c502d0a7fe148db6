/* SPDX-License-Identifier: MIT
 * store/: damaged files. Whatever byte is wrong, the answer is the right
 * content or a refusal, never other content and never a crash.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/log.h"
#include "store_fixture.h"

#define N_ENTRIES 300

static struct fixture_log log_read;

static void make_log(struct store_fixture *f)
{
    fixture_open(f);
    fixture_append(f, 1, 200, 1);
    fixture_append(f, 201, N_ENTRIES - 200, 2);
    fixture_close(f);
}

static char *data_path(const struct store_fixture *f)
{
    static char path[120];
    snprintf(path, sizeof path, "%s/log/data.mdb", f->dir);
    return path;
}

static void assert_refused(struct store_fixture *f, const char *why)
{
    int err = fixture_try_open(f);
    if (!err)
        err = fixture_scan(f, &log_read);
    assert_int_equal(err, ERR_CORRUPT);
    if (!strstr(buf_str(&f->reason), why))
        fail_msg("\"%s\" is not in: %s", why, buf_str(&f->reason));
    assert_non_null(strstr(buf_str(&f->reason), f->dir));
}

/* ---- entries that are valid, and in the wrong place ---- */

/* Opens the tables for a test to spoil; commit by end_spoiling(). */
static MDB_txn *begin_spoiling(struct store_fixture *f, struct store_log **ret_log)
{
    bool is_new;
    MDB_txn *txn;
    assert_int_equal(store_log_open(f->dir, "log", 0, ret_log, &is_new, &f->reason), 0);
    assert_int_equal(mdb_txn_begin((*ret_log)->env, NULL, 0, &txn), 0);
    return txn;
}

static void end_spoiling(MDB_txn *txn, struct store_log **log)
{
    assert_int_equal(store_put_ends(txn, (*log)->records, &(*log)->ends), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    store_log_close(log);
}

static void put_entry(MDB_txn *txn, MDB_dbi dbi, size_t index, const void *p, size_t len)
{
    MDB_val key = {sizeof index, &index}, value = {len, (void *)p};
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void test_entry_of_another_place_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    size_t index = 100;
    MDB_val key = {sizeof index, &index}, value;
    assert_int_equal(mdb_get(txn, log->entries, &key, &value), 0);
    uint8_t *copy = mem_dup(value.mv_data, value.mv_size);
    put_entry(txn, log->entries, 150, copy, value.mv_size);
    mem_free(copy);
    end_spoiling(txn, &log);
    assert_refused(f, "log entry 150 does not match its checksum");
}

/* Valid in itself at this place, but of another history. */
static void put_stale(struct store_fixture *f, uint64_t index, uint64_t term)
{
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    struct raft_entry *e = fixture_entry(index, term);
    size_t len = STORE_ENTRY_HEADER_BYTES + e->len;
    uint8_t *bytes = mem_alloc(len);
    store_entry_encode(e, (struct store_link){{1, index - 1}, 12345}, bytes);
    put_entry(txn, log->entries, index, bytes, len);
    mem_free(bytes);
    raft_entry_unref(&e);
    end_spoiling(txn, &log);
}

static void test_stale_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    put_stale(f, 120, 1);
    assert_refused(f, "log entry 120 does not follow on");
}

static void test_stale_last_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    put_stale(f, N_ENTRIES, 2);
    assert_refused(f, "log entry 300 does not follow on");
}

static void ignore_hard_state(void *ctx, struct raft_hard_state hs)
{
    (void)ctx;
    (void)hs;
}

static int ignore_entry(void *ctx, struct raft_entry *e)
{
    (void)ctx;
    (void)e;
    return 0;
}

/* Chained to the one before it, and still not what was written last. */
static void test_other_last_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    size_t index = N_ENTRIES;
    MDB_val key = {sizeof index, &index}, value;
    struct store_entry_view last;
    assert_int_equal(mdb_get(txn, log->entries, &key, &value), 0);
    assert_int_equal(store_entry_decode(index, value.mv_data, value.mv_size, &last), 0);
    struct store_link before = {{2, index - 1}, last.before_crc};
    struct raft_entry *e = fixture_entry(index, 2);
    e->type = e->type == RAFT_ENTRY_NOOP ? RAFT_ENTRY_COMMAND : RAFT_ENTRY_NOOP;
    uint8_t *bytes = mem_alloc(STORE_ENTRY_HEADER_BYTES + e->len);
    store_entry_encode(e, before, bytes);
    put_entry(txn, log->entries, index, bytes, STORE_ENTRY_HEADER_BYTES + e->len);
    mem_free(bytes);
    raft_entry_unref(&e);
    end_spoiling(txn, &log);
    struct store_visitor visitor = {.hard_state = ignore_hard_state, .entry = ignore_entry, .ctx = NULL};
    assert_int_equal(fixture_try_open(f), 0);
    assert_int_equal(store_scan(f->store, &visitor, &f->reason), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "log entry 300 is not the one written last"));
}

static void delete_entry(struct store_fixture *f, size_t index)
{
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    MDB_val key = {sizeof index, &index};
    assert_int_equal(mdb_del(txn, log->entries, &key, NULL), 0);
    end_spoiling(txn, &log);
}

static void test_missing_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    delete_entry(f, 77);
    assert_refused(f, "log entry 77 is missing");
}

static void test_missing_first_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    delete_entry(f, 1);
    assert_refused(f, "log entry 1 is missing");
}

static void test_missing_last_entry_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    delete_entry(f, N_ENTRIES);
    assert_refused(f, "log entry 300 and those after it are missing");
}

static void test_hard_state_older_than_the_log_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    struct raft_hard_state old = {.term = 1};
    assert_int_equal(store_put_hard_state(txn, log->records, &old), 0);
    end_spoiling(txn, &log);
    assert_refused(f, "the hard state is older than the log");
}

static void test_damaged_entry_is_never_loaded(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    put_stale(f, 50, 1); /* valid alone: a load may give it, the boot scan would not */
    struct store_log *log;
    MDB_txn *txn = begin_spoiling(f, &log);
    put_entry(txn, log->entries, 60, "short", 5);
    end_spoiling(txn, &log);
    fixture_open(f);
    assert_null(fixture_load(f, 55, 10, SIZE_MAX));
    assert_int_equal(f->n_fatal, 1);
}

/* ---- files ---- */

static void test_emptied_log_is_not_a_beginning(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    assert_int_equal(truncate(data_path(f), 0), 0);
    assert_refused(f, "is empty, though the directory was in use");
    assert_int_equal(unlink(data_path(f)), 0);
    assert_refused(f, "is empty, though the directory was in use");
}

enum outcome { RIGHT, REFUSED, WRONG };

/* Opens and reads in a process of its own, which may be killed by what it reads. */
static int try_in_child(struct store_fixture *f)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's */
        signal(SIGBUS, SIG_DFL);
        alarm(30); /* no endless walk either */
        int err = fixture_try_open(f);
        if (!err)
            err = fixture_scan(f, &log_read);
        if (err)
            _exit(!log_read.wrong && f->reason.len > 0 ? REFUSED : WRONG);
        bool right = !log_read.wrong && log_read.n == N_ENTRIES && log_read.terms[200] == 1 &&
                     log_read.terms[201] == 2 && log_read.hard_state.term == 2;
        _exit(right ? RIGHT : WRONG);
    }
    int status;
    waitpid(pid, &status, 0);
    return status;
}

static void write_all(const char *path, const uint8_t *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, len), len);
    close(fd);
}

static uint8_t *read_all(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *p = mem_alloc((size_t)st.st_size);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return p;
}

/* LMDB may count free pages that were never written, so that the length alone
 * tells nothing: reading does. */
static void test_shortened_file_gives_right_content_or_a_refusal(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    size_t len;
    uint8_t *good = read_all(data_path(f), &len);
    for (size_t cut = 1; cut < len; cut += len / 30) {
        write_all(data_path(f), good, len - cut);
        int status = try_in_child(f);
        if (!WIFEXITED(status) || WEXITSTATUS(status) > REFUSED)
            fail_msg("%zu of %zu bytes: status %#x", len - cut, len, (unsigned)status);
        assert_true(cut < len / 2 || WEXITSTATUS(status) == REFUSED);
    }
    mem_free(good);
}

/* Where a meta page of LMDB 0.9 (64 bits) keeps the number of its transaction. */
#define META_TXN_ID 144

/* A torn write of a meta page: the number is new, what it leads to is not. */
static void test_older_state_that_claims_to_be_the_newest_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    size_t len;
    uint64_t ids[2];
    uint8_t *bytes = read_all(data_path(f), &len);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < 2; i++)
        memcpy(&ids[i], bytes + i * page + META_TXN_ID, sizeof ids[i]);
    if (ids[0] + ids[1] != 2 * (ids[0] > ids[1] ? ids[0] : ids[1]) - 1) {
        mem_free(bytes);
        skip(); /* another layout */
    }
    unsigned older = ids[0] > ids[1];
    ids[older] += 2;
    memcpy(bytes + older * page + META_TXN_ID, &ids[older], sizeof ids[older]);
    write_all(data_path(f), bytes, len);
    mem_free(bytes);
    assert_refused(f, "the records of the newest state");
}

#define N_FLIPS 400

static void test_any_flipped_byte_gives_right_content_or_a_refusal(void **state)
{
    struct store_fixture *f = *state;
    make_log(f);
    size_t len;
    uint8_t *good = read_all(data_path(f), &len);
    uint8_t *bad = mem_alloc(len);
    unsigned n_right = 0, n_refused = 0;
    struct rng rng = {1};
    for (unsigned i = 0; i < N_FLIPS; i++) {
        memcpy(bad, good, len);
        size_t at = (size_t)rng_range(&rng, 0, len - 1);
        if (i % 4 == 0) /* headers of pages more often */
            at = at / 4096 * 4096 + at % 64;
        bad[at] ^= (uint8_t)rng_range(&rng, 1, 255);
        write_all(data_path(f), bad, len);
        int status = try_in_child(f);
        if (!WIFEXITED(status) || WEXITSTATUS(status) > REFUSED)
            fail_msg("byte %zu of %zu: status %#x", at, len, (unsigned)status);
        n_right += WEXITSTATUS(status) == RIGHT;
        n_refused += WEXITSTATUS(status) == REFUSED;
    }
    assert_true(n_right > 0 && n_refused > N_FLIPS / 4);
    mem_free(bad);
    mem_free(good);
}

int main(void)
{
#define STORE_TEST(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_entry_of_another_place_is_noticed),
        STORE_TEST(test_stale_entry_is_noticed),
        STORE_TEST(test_stale_last_entry_is_noticed),
        STORE_TEST(test_other_last_entry_is_noticed),
        STORE_TEST(test_missing_entry_is_noticed),
        STORE_TEST(test_missing_first_entry_is_noticed),
        STORE_TEST(test_missing_last_entry_is_noticed),
        STORE_TEST(test_hard_state_older_than_the_log_is_noticed),
        STORE_TEST(test_damaged_entry_is_never_loaded),
        STORE_TEST(test_emptied_log_is_not_a_beginning),
        STORE_TEST(test_shortened_file_gives_right_content_or_a_refusal),
        STORE_TEST(test_older_state_that_claims_to_be_the_newest_is_noticed),
        STORE_TEST(test_any_flipped_byte_gives_right_content_or_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
