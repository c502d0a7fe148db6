/* SPDX-License-Identifier: MIT
 * store/: the journal. What was made durable is read again, whatever came after
 * it; what the power failed in is left out; what is damaged is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "store/journal.h"
#include "store/log.h"
#include "store_fixture.h"

#define SECTOR  512
#define SMALL   (16 * KIB)
#define CONTENT 496 /* of a sector */

static struct fixture_log log_read;

/* ---- a journal alone ---- */

struct alone {
    char dir[64];
    struct store_journal *j;
    uint64_t next; /* index of the entry to come */
    struct buf reason;
    uint8_t file[SMALL];
};

static int setup(void **state)
{
    struct alone *a = mem_zalloc(sizeof *a);
    strcpy(a->dir, "/tmp/crab-journal-XXXXXX");
    a->next = 1;
    *state = a;
    if (!mkdtemp(a->dir) || store_journal_make(a->dir, SMALL, &a->reason) != 0)
        return -1;
    return store_journal_open(a->dir, &a->j, &a->reason);
}

static void path_of(const struct alone *a, char out[96])
{
    snprintf(out, 96, "%s/" STORE_JOURNAL_FILE, a->dir);
}

static int teardown(void **state)
{
    struct alone *a = *state;
    char path[96];
    path_of(a, path);
    unlink(path);
    rmdir(a->dir);
    store_journal_close(&a->j);
    buf_free(&a->reason);
    mem_free(a);
    return 0;
}

/* A write of one entry with so many bytes of data, and a hard state that tells its index. */
static struct storage_write *write_new(uint64_t index, size_t len)
{
    struct storage_write *w = storage_write_new(1);
    w->seq = 1;
    w->hard_state = (struct raft_hard_state){5, {7, 9}, index};
    w->entries[0] = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){5, index}, (uint32_t)len);
    memset(w->entries[0]->data, (int)index, len);
    return w;
}

static bool add(struct alone *a, size_t len)
{
    struct storage_write *w = write_new(a->next, len);
    bool added = store_journal_add(a->j, w);
    a->next += added;
    storage_write_free(&w);
    return added;
}

/* A batch of one write, which takes this many sectors. */
static void batch(struct alone *a, size_t n_sectors)
{
    size_t before = store_journal_used(a->j);
    assert_true(add(a, (n_sectors - 1) * CONTENT + 1));
    assert_int_equal(store_journal_write(a->j), 0);
    assert_int_equal(store_journal_used(a->j), before + n_sectors * SECTOR);
}

static void load_file(struct alone *a)
{
    char path[96];
    path_of(a, path);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, a->file, SMALL), SMALL);
    close(fd);
}

static void store_file(struct alone *a)
{
    char path[96];
    path_of(a, path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(write(fd, a->file, SMALL), SMALL);
    close(fd);
}

/* Visits writes of one entry each; counts them. */
static int count(void *ctx, const struct storage_write *w)
{
    uint64_t *next = ctx;
    assert_int_equal(w->n_entries, 1);
    const struct raft_entry *e = w->entries[0];
    assert_int_equal(e->pos.index, *next);
    assert_int_equal(e->pos.term, 5);
    for (uint32_t i = 0; i < e->len; i++)
        assert_int_equal(e->data[i], (uint8_t)*next);
    assert_true(w->seq != 0);
    assert_int_equal(w->hard_state.commit, *next);
    assert_true(uuid_equal(w->hard_state.vote, (struct uuid){7, 9}));
    ++*next;
    return 0;
}

/* Opens it again and reads it; *ret_n: writes found, the first of them that of index `first`. */
static int scan(struct alone *a, uint64_t after, uint64_t first, uint64_t *ret_n)
{
    uint64_t next = first;
    store_journal_close(&a->j);
    buf_clear(&a->reason);
    assert_int_equal(store_journal_open(a->dir, &a->j, &a->reason), 0);
    int err = store_journal_scan(a->j, after, count, &next, &a->reason);
    *ret_n = next - first;
    return err;
}

static void assert_scan(struct alone *a, uint64_t after, uint64_t first, uint64_t n)
{
    uint64_t found;
    if (scan(a, after, first, &found) != 0)
        fail_msg("%s", buf_str(&a->reason));
    assert_int_equal(found, n);
}

static void test_new_one_is_empty(void **state)
{
    struct alone *a = *state;
    assert_scan(a, 0, 1, 0);
    assert_int_equal(store_journal_used(a->j), 0);
    assert_int_equal(store_journal_first_index(a->j), UINT64_MAX);
}

static void test_batches_are_read_in_order(void **state)
{
    struct alone *a = *state;
    batch(a, 1);
    batch(a, 3);
    for (unsigned i = 0; i < 5; i++)
        assert_true(add(a, 10)); /* of one batch */
    assert_int_equal(store_journal_write(a->j), 0);
    batch(a, 2);
    assert_int_equal(store_journal_seq(a->j), 4);
    assert_int_equal(store_journal_first_index(a->j), 1);
    assert_scan(a, 0, 1, 8);
    assert_int_equal(store_journal_seq(a->j), 4);
}

static void test_what_was_settled_is_left_out(void **state)
{
    struct alone *a = *state;
    batch(a, 1);
    batch(a, 2);
    batch(a, 1);
    store_journal_begin(a->j, 3, 0); /* and the power fails before another batch */
    assert_scan(a, 3, 4, 0);
    store_journal_begin(a->j, 3, 0);
    a->next = 4;
    batch(a, 1); /* over the first of the old ones, and others follow */
    assert_scan(a, 3, 4, 1);
}

static void test_write_of_everything_comes_back(void **state)
{
    struct alone *a = *state;
    struct storage_write *w = storage_write_new(0);
    w->truncate_from = 77;
    assert_true(store_journal_add(a->j, w));
    assert_int_equal(store_journal_write(a->j), 0);
    assert_int_equal(store_journal_first_index(a->j), 77);
    storage_write_free(&w);
    a->next = 80;
    batch(a, 1);
    assert_int_equal(store_journal_first_index(a->j), 77);
}

static void test_what_only_lmdb_can_do_is_not_taken(void **state)
{
    struct alone *a = *state;
    struct storage_write *w = write_new(1, 1);
    w->has_identity = true;
    assert_false(store_journal_add(a->j, w));
    w->has_identity = false;
    w->base = mem_zalloc(sizeof *w->base);
    assert_false(store_journal_add(a->j, w));
    storage_write_free(&w);
    assert_false(add(a, SMALL / 4));
    assert_true(add(a, 100)); /* and that has left nothing behind */
    assert_false(add(a, SMALL / 4 - 300)); /* alone it would fit */
    assert_int_equal(store_journal_write(a->j), 0);
    assert_scan(a, 0, 1, 1);
}

static void test_due_while_the_largest_batch_fits(void **state)
{
    struct alone *a = *state;
    for (uint64_t mix = 0; mix < 200; mix++) {
        uint64_t first = a->next;
        while (!store_journal_is_due(a->j)) {
            while (add(a, 200))
                ;
            assert_int_equal(store_journal_write(a->j), 0); /* asserts that it fits */
        }
        assert_true(store_journal_used(a->j) >= SMALL / 2);
        assert_true(store_journal_used(a->j) <= SMALL);
        assert_int_equal(store_journal_replay(a->j, count, &first), 0);
        assert_int_equal(first, a->next);
        store_journal_begin(a->j, store_journal_seq(a->j), mix);
    }
}

/* Of the last batch, of three sectors, any were not written: older ones or zeros are there. */
static void test_batch_that_the_power_failed_in_is_the_end(void **state)
{
    struct alone *a = *state;
    uint8_t old[SMALL], new[SMALL];
    for (unsigned older = 0; older < 2; older++) {
        a->next = 1;
        batch(a, 2);
        load_file(a);
        memcpy(old, a->file, SMALL);
        batch(a, 3);
        load_file(a);
        memcpy(new, a->file, SMALL);
        uint64_t seq = store_journal_seq(a->j);
        for (unsigned there = 0; there < 8; there++) {
            memcpy(a->file, old, SMALL);
            for (unsigned i = 0; i < 3; i++)
                if (there & 1u << i)
                    memcpy(a->file + (2 + i) * SECTOR, new + (2 + i) * SECTOR, SECTOR);
            store_file(a);
            assert_scan(a, seq - 2, 1, there == 7 ? 2 : 1);
        }
        store_journal_begin(a->j, STORE_JOURNAL_NEXT_START(seq), 0); /* the file is not empty now */
    }
}

/* The rest of a batch that failed must never become part of one that comes later. */
static void test_rest_of_a_failed_batch_joins_no_later_one(void **state)
{
    struct alone *a = *state;
    uint8_t blank[SECTOR] = {0}, rest[SECTOR];
    batch(a, 2);
    load_file(a);
    memcpy(rest, a->file + SECTOR, SECTOR);
    memcpy(a->file, blank, SECTOR); /* its first sector was lost */
    store_file(a);
    assert_scan(a, 0, 1, 0);
    uint64_t start = STORE_JOURNAL_NEXT_START(store_journal_seq(a->j));
    store_journal_begin(a->j, start, 0);
    a->next = 1;
    batch(a, 2);
    load_file(a);
    memcpy(a->file + SECTOR, rest, SECTOR); /* this one's second sector was lost */
    store_file(a);
    assert_scan(a, start, 1, 0);
}

static void test_any_flipped_bit_is_refused(void **state)
{
    struct alone *a = *state;
    batch(a, 1);
    batch(a, 2);
    batch(a, 1);
    load_file(a);
    for (size_t at = 0; at < 4 * SECTOR; at++) {
        uint64_t n;
        a->file[at] ^= (uint8_t)(1 << at % 8);
        store_file(a);
        assert_int_equal(scan(a, 0, 1, &n), ERR_CORRUPT);
        assert_non_null(strstr(buf_str(&a->reason), "does not match its checksum"));
        a->file[at] ^= (uint8_t)(1 << at % 8);
    }
}

static void test_batch_that_is_missing_before_another_is_refused(void **state)
{
    struct alone *a = *state;
    uint64_t n;
    batch(a, 1);
    load_file(a);
    uint8_t blank[SECTOR] = {0};
    batch(a, 1);
    batch(a, 1);
    load_file(a);
    memcpy(a->file + SECTOR, blank, SECTOR);
    store_file(a);
    assert_int_equal(scan(a, 0, 1, &n), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&a->reason), "is missing"));
    assert_int_equal(scan(a, 5, 1, &n), 0); /* unless all of them are in LMDB */
}

static void test_read_back_of_other_bytes_is_noticed(void **state)
{
    struct alone *a = *state;
    uint64_t next = 1;
    batch(a, 1);
    batch(a, 1);
    load_file(a);
    a->file[SECTOR + 100] ^= 1;
    store_file(a);
    assert_int_equal(store_journal_replay(a->j, count, &next), ERR_CORRUPT);
}

static void test_odd_size_is_refused(void **state)
{
    struct alone *a = *state;
    char path[96];
    path_of(a, path);
    store_journal_close(&a->j);
    assert_int_equal(truncate(path, SMALL - 100), 0);
    assert_int_equal(store_journal_open(a->dir, &a->j, &a->reason), ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_journal_open(a->dir, &a->j, &a->reason), ERR_NOT_FOUND);
}

/* ---- in a store ---- */

static int setup_store(void **state)
{
    int err = store_fixture_setup(state);
    struct store_fixture *f = *state;
    f->options.journal_bytes = 2 * SMALL;
    return err;
}

/* Entries that LMDB has. */
static size_t n_in_lmdb(struct store_fixture *f)
{
    struct store_log *log;
    bool is_new;
    MDB_txn *txn;
    MDB_stat stat;
    assert_int_equal(store_log_open(f->dir, "log", 0, &log, &is_new, &f->reason), 0);
    assert_int_equal(mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_stat(txn, log->entries, &stat), 0);
    mdb_txn_abort(txn);
    store_log_close(&log);
    return stat.ms_entries;
}

/* Appends this many entries one by one, and is killed. */
static void append_and_die(struct store_fixture *f, uint64_t first, unsigned n)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (fixture_try_open(f) != 0 || fixture_scan_on(f, &log_read) != 0)
            _exit(1);
        fixture_start(f);
        for (unsigned i = 0; i < n; i++)
            fixture_append(f, first + i, 1, 1);
        _exit(42);
    }
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void test_killed_store_has_all_that_was_in_the_journal(void **state)
{
    struct store_fixture *f = *state;
    uint64_t n = 0;
    unsigned n_journalled = 0;
    for (unsigned round = 0; round < 12; round++) {
        log_read.n = 0;
        append_and_die(f, n + 1, 7 * round + 1);
        n += 7 * round + 1;
        n_journalled += n_in_lmdb(f) < n;
        if (fixture_try_open(f) != 0)
            fail_msg("%s", buf_str(&f->reason));
        assert_int_equal(fixture_scan(f, &log_read), 0);
        assert_false(log_read.wrong);
        assert_int_equal(log_read.n, n);
        assert_int_equal(log_read.hard_state.commit, n - 1);
        fixture_close(f);
    }
    assert_true(n_journalled >= 10); /* it was not LMDB that had them */
}

static void test_entries_not_settled_yet_are_loaded(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    for (uint64_t next = 1; next < 200; next += 3) {
        fixture_append(f, next, 3, 1);
        struct storage_load *l = fixture_load(f, next > 20 ? next - 20 : 1, 100, SIZE_MAX);
        assert_int_equal(l->n_entries, next > 20 ? 23 : next + 2);
        assert_true(fixture_entry_is_right(l->entries[l->n_entries - 1]));
        storage_load_free(&l);
    }
}

static void test_damaged_journal_is_named_with_the_way_out(void **state)
{
    struct store_fixture *f = *state;
    char path[128];
    log_read.n = 0;
    append_and_die(f, 1, 3);
    snprintf(path, sizeof path, "%s/log/" STORE_JOURNAL_FILE, f->dir);
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, 60), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 60), 1);
    close(fd);
    assert_int_equal(fixture_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "/log/journal is damaged: the sector at offset 0"));
    assert_non_null(strstr(buf_str(&f->reason), "must not vote"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "/log/journal: No such file"));
    assert_non_null(strstr(buf_str(&f->reason), "must not vote"));
}

/* Batches that are whole, and of a later start of the node than its log knows of. */
static void test_journal_of_another_log_is_refused(void **state)
{
    struct store_fixture *f = *state;
    char path[128], other[128];
    for (unsigned i = 0; i < 3; i++) {
        log_read.n = 0;
        append_and_die(f, i + 1, 1);
    }
    snprintf(path, sizeof path, "%s/log/" STORE_JOURNAL_FILE, f->dir);
    snprintf(other, sizeof other, "%s/journal", f->root);
    assert_int_equal(rename(path, other), 0);
    snprintf(f->dir, sizeof f->dir, "%s/other", f->root);
    fixture_open(f);
    fixture_close(f);
    snprintf(path, sizeof path, "%s/log/" STORE_JOURNAL_FILE, f->dir);
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(fixture_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "a batch before the one at offset 0 is missing"));
}

int main(void)
{
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STORE(name) cmocka_unit_test_setup_teardown(name, setup_store, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        ALONE(test_new_one_is_empty),
        ALONE(test_batches_are_read_in_order),
        ALONE(test_what_was_settled_is_left_out),
        ALONE(test_write_of_everything_comes_back),
        ALONE(test_what_only_lmdb_can_do_is_not_taken),
        ALONE(test_due_while_the_largest_batch_fits),
        ALONE(test_batch_that_the_power_failed_in_is_the_end),
        ALONE(test_rest_of_a_failed_batch_joins_no_later_one),
        ALONE(test_any_flipped_bit_is_refused),
        ALONE(test_batch_that_is_missing_before_another_is_refused),
        ALONE(test_read_back_of_other_bytes_is_noticed),
        ALONE(test_odd_size_is_refused),
        STORE(test_killed_store_has_all_that_was_in_the_journal),
        STORE(test_entries_not_settled_yet_are_loaded),
        STORE(test_damaged_journal_is_named_with_the_way_out),
        STORE(test_journal_of_another_log_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
