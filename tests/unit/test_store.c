/* SPDX-License-Identifier: MIT
 * store/: the data directory, its identity, writes, loads and group commit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "store/env.h"
#include "store/log.h"
#include "store_fixture.h"

static struct fixture_log log_read; /* large, so not on the stack */

/* Closes, opens again and reads the log; leaves the store open and running. */
static struct fixture_log *reopened(struct store_fixture *f)
{
    fixture_close(f);
    assert_int_equal(fixture_try_open(f), 0);
    int err = fixture_scan(f, &log_read);
    if (err)
        fail_msg("scan: %s", buf_str(&f->reason));
    assert_false(log_read.wrong);
    assert_int_equal(log_read.n_hard_states, 1);
    fixture_start(f);
    return &log_read;
}

/* ---- directory and identity ---- */

static void test_open_of_nothing_makes_directory_parents_and_identity(void **state)
{
    struct store_fixture *f = *state;
    snprintf(f->dir, sizeof f->dir, "%s/a/b/data/", f->root);
    fixture_open(f);
    struct stat st;
    assert_int_equal(stat(f->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_false(uuid_is_zero(f->identity.node));
    assert_int_not_equal(f->identity.incarnation, 0);
    assert_int_equal(f->identity.boot, 1);
    assert_true(uuid_is_zero(f->identity.cluster));
    assert_false(f->identity.contacted);
    assert_false(f->identity.outsider);
    struct fixture_log *log = reopened(f);
    assert_int_equal(log->n, 0);
    assert_int_equal(log->hard_state.term, 0);
}

static void test_identity_stays_and_boots_count_up(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    struct storage_identity first = f->identity;
    struct storage_write *w = storage_write_new(0);
    w->has_identity = true;
    w->identity = first;
    w->identity.cluster = (struct uuid){1, 2};
    w->identity.promised = (struct uuid){3, 4};
    w->identity.contacted = true;
    w->hard_state.term = 99; /* seq 0: not to be written */
    fixture_submit(f, w);
    struct fixture_log *log = reopened(f);
    assert_int_equal(log->hard_state.term, 0);
    for (uint64_t boot = 2; boot < 5; boot++) {
        assert_int_equal(f->identity.boot, boot);
        assert_true(uuid_equal(f->identity.node, first.node));
        assert_int_equal(f->identity.incarnation, first.incarnation);
        assert_true(uuid_equal(f->identity.cluster, (struct uuid){1, 2}));
        assert_true(uuid_equal(f->identity.promised, (struct uuid){3, 4}));
        assert_true(f->identity.contacted);
        reopened(f);
    }
}

static void test_marks_of_an_identity_are_kept_apart(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    for (unsigned marks = 0; marks < 4; marks++) {
        struct storage_write *w = storage_write_new(0);
        w->has_identity = true;
        w->identity = f->identity;
        w->identity.contacted = marks & 1;
        w->identity.outsider = marks & 2;
        fixture_submit(f, w);
        reopened(f);
        assert_int_equal(f->identity.contacted, marks & 1);
        assert_int_equal(f->identity.outsider, marks >> 1);
    }
}

static void test_identities_of_two_directories_differ(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    struct storage_identity first = f->identity;
    fixture_close(f);
    snprintf(f->dir, sizeof f->dir, "%s/other", f->root);
    fixture_open(f);
    assert_false(uuid_equal(f->identity.node, first.node));
    assert_true(f->identity.incarnation != first.incarnation);
}

static void test_open_while_another_process_has_it_is_busy_and_names_it(void **state)
{
    struct store_fixture *f = *state;
    int ready[2], done[2];
    char c;
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30); /* should the parent fail meanwhile */
        int err = fixture_try_open(f);
        if (write(ready[1], &err, 1) != 1 || read(done[0], &c, 1) != 1)
            _exit(1);
        _exit(err ? 1 : 0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(fixture_try_open(f), ERR_BUSY);
    char expected[200];
    snprintf(expected, sizeof expected, "data directory %s is in use by another process (pid %ld)",
             f->dir, (long)pid);
    assert_string_equal(buf_str(&f->reason), expected);
    assert_int_equal(write(done[1], "x", 1), 1);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    fixture_open(f); /* free again */
    assert_int_equal(f->identity.boot, 2);
    close(ready[0]);
    close(ready[1]);
    close(done[0]);
    close(done[1]);
}

static void test_open_of_an_unwritable_directory_is_refused(void **state)
{
    struct store_fixture *f = *state;
    assert_int_equal(mkdir(f->dir, 0555), 0);
    assert_int_equal(chmod(f->root, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        int err = fixture_try_open(f);
        _exit(err == ERR_PERMISSION && strstr(buf_str(&f->reason), f->dir) ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

static void test_open_of_a_file_is_refused(void **state)
{
    struct store_fixture *f = *state;
    FILE *file = fopen(f->dir, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(fixture_try_open(f), ERR_INVALID);
    snprintf(f->dir, sizeof f->dir, "%s/data/below", f->root);
    assert_int_equal(fixture_try_open(f), ERR_INVALID);
}

static void test_open_of_an_unknown_format_is_refused(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    struct store_log *log;
    bool is_new;
    MDB_txn *txn;
    assert_int_equal(store_log_open(f->dir, "log", 0, &log, &is_new, &f->reason), 0);
    assert_int_equal(mdb_txn_begin(log->env, NULL, 0, &txn), 0);
    assert_int_equal(store_put_format(txn, log->records, STORE_FORMAT + 1), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    store_log_close(&log);
    assert_int_equal(fixture_try_open(f), ERR_VERSION);
    assert_non_null(strstr(buf_str(&f->reason), "and this version knows format"));
}

/* ---- writes ---- */

static void test_entries_and_hard_state_are_there_after_reopen(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_append(f, 1, 500, 1);
    fixture_append(f, 501, 1, 2);
    fixture_append(f, 502, 0, 3); /* a vote alone */
    struct fixture_log *log = reopened(f);
    assert_int_equal(log->n, 501);
    assert_int_equal(log->terms[500], 1);
    assert_int_equal(log->terms[501], 2);
    assert_int_equal(log->hard_state.term, 3);
    assert_true(uuid_equal(log->hard_state.vote, (struct uuid){7, 7}));
    assert_int_equal(log->hard_state.commit, 501);
    fixture_append(f, 502, 10, 3);
    assert_int_equal(reopened(f)->n, 511);
}

static void truncate_and_append(struct store_fixture *f, uint64_t from, unsigned n, uint64_t term)
{
    struct storage_write *w = fixture_write_new(f->written + 1, from, n, term);
    w->truncate_from = from;
    uint64_t seq = w->seq;
    fixture_submit(f, w);
    fixture_wait(f, seq);
}

static void test_truncation_and_append_replace_the_end(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_append(f, 1, 1000, 1);
    truncate_and_append(f, 401, 50, 2);
    fixture_append(f, 451, 5, 2);
    struct fixture_log *log = reopened(f);
    assert_int_equal(log->n, 455);
    assert_int_equal(log->terms[400], 1);
    assert_int_equal(log->terms[401], 2);
    truncate_and_append(f, 456, 3, 3); /* nothing is there to truncate */
    truncate_and_append(f, 458, 0, 3);
    assert_int_equal(reopened(f)->n, 457);
    truncate_and_append(f, 1, 0, 4); /* everything */
    assert_int_equal(reopened(f)->n, 0);
    truncate_and_append(f, 1, 7, 5);
    log = reopened(f);
    assert_int_equal(log->n, 7);
    assert_int_equal(log->terms[1], 5);
}

static uint64_t last_txn_id(struct store_fixture *f)
{
    struct store_log *log;
    bool is_new;
    MDB_envinfo info;
    assert_int_equal(store_log_open(f->dir, "log", 0, &log, &is_new, &f->reason), 0);
    assert_int_equal(mdb_env_info(log->env, &info), 0);
    store_log_close(&log);
    return info.me_last_txnid;
}

static void test_queued_writes_complete_in_order_in_one_transaction(void **state)
{
    struct store_fixture *f = *state;
    assert_int_equal(fixture_try_open(f), 0);
    fixture_close(f);
    uint64_t before = last_txn_id(f);
    assert_int_equal(fixture_try_open(f), 0);
    for (unsigned i = 0; i < 1000; i++)
        fixture_submit(f, fixture_write_new(i + 1, i * 3 + 1, 3, 1));
    fixture_start(f);
    store_stop(f->store); /* drains */
    assert_int_equal(f->n_written, 1000);
    assert_int_equal(f->n_disordered, 0);
    fixture_close(f);
    /* one for the boot, one for the thousand */
    assert_int_equal(last_txn_id(f), before + 2);
    assert_int_equal(reopened(f)->n, 3000);
}

static void test_writes_submitted_while_others_commit_complete_in_order(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    for (unsigned i = 0; i < 3000; i++)
        fixture_submit(f, fixture_write_new(i + 1, i + 1, 1, 1));
    fixture_wait(f, 3000);
    assert_int_equal(f->n_written, 3000);
    assert_int_equal(f->n_disordered, 0);
    assert_int_equal(reopened(f)->n, 3000);
}

static struct raft_entry *large_entry(uint64_t index)
{
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){1, index},
                                          (uint32_t)LIMIT_VALUE_BYTES);
    memset(e->data, (int)index, e->len);
    e->data[e->len - 1] = 99;
    return e;
}

static void test_values_of_the_largest_size_are_kept(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    struct storage_write *w = storage_write_new(2);
    w->seq = 1;
    w->hard_state.term = 1;
    for (unsigned i = 0; i < 2; i++)
        w->entries[i] = large_entry(i + 1);
    fixture_submit(f, w);
    fixture_wait(f, 1);
    fixture_close(f);
    fixture_open(f);
    struct storage_load *l = fixture_load(f, 2, 10, 1);
    assert_int_equal(l->n_entries, 1);
    struct raft_entry *right = large_entry(2);
    assert_int_equal(l->entries[0]->len, right->len);
    assert_memory_equal(l->entries[0]->data, right->data, right->len);
    raft_entry_unref(&right);
    storage_load_free(&l);
}

/* ---- loads ---- */

static void test_load_respects_its_limits_and_the_end(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_append(f, 1, 100, 1);
    struct {
        uint64_t first;
        unsigned n_max;
        size_t bytes_max;
        unsigned n;
    } cases[] = {
        {1, 1000, SIZE_MAX, 100}, {1, 10, SIZE_MAX, 10}, {91, 10, SIZE_MAX, 10},
        {92, 10, SIZE_MAX, 9},    {100, 5, SIZE_MAX, 1}, {101, 5, SIZE_MAX, 0},
        {0, 5, SIZE_MAX, 0},      {5, 0, SIZE_MAX, 0},   {UINT64_MAX, 5, SIZE_MAX, 0},
        {1, 100, 0, 1},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct storage_load *l =
            fixture_load(f, cases[i].first, cases[i].n_max, cases[i].bytes_max);
        if (cases[i].bytes_max) {
            assert_int_equal(l->n_entries, cases[i].n);
        } else { /* the first always fits, and empty ones after it */
            assert_true(l->n_entries >= 1);
        }
        for (unsigned j = 0; j < l->n_entries; j++) {
            assert_int_equal(l->entries[j]->pos.index, cases[i].first + j);
            assert_true(fixture_entry_is_right(l->entries[j]));
        }
        storage_load_free(&l);
    }
}

static void test_load_stops_before_bytes_max_is_passed(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_append(f, 1, 100, 1);
    for (size_t bytes_max = 0; bytes_max < 3000; bytes_max += 50) {
        struct storage_load *l = fixture_load(f, 10, 90, bytes_max);
        size_t bytes = 0;
        for (unsigned i = 0; i < l->n_entries; i++)
            bytes += l->entries[i]->len;
        assert_true(bytes <= bytes_max || l->n_entries == 1);
        if (l->n_entries < 90) { /* and not earlier than need be */
            struct raft_entry *next = fixture_entry(10 + l->n_entries, 1);
            assert_true(bytes + next->len > bytes_max);
            raft_entry_unref(&next);
        }
        storage_load_free(&l);
    }
}

static void test_load_after_truncation_sees_the_new_entries(void **state)
{
    struct store_fixture *f = *state;
    fixture_open(f);
    fixture_append(f, 1, 20, 1);
    truncate_and_append(f, 11, 5, 2);
    struct storage_load *l = fixture_load(f, 10, 100, SIZE_MAX);
    assert_int_equal(l->n_entries, 6);
    assert_int_equal(l->entries[0]->pos.term, 1);
    assert_int_equal(l->entries[1]->pos.term, 2);
    storage_load_free(&l);
}

/* ---- failure ---- */

static void test_full_map_is_fatal_and_nothing_more_is_answered(void **state)
{
    struct store_fixture *f = *state;
    f->options.map_bytes = 256 * KIB;
    fixture_open(f);
    for (unsigned i = 0; i < 100; i++)
        fixture_submit(f, fixture_write_new(i + 1, i * 100 + 1, 100, 1));
    store_stop(f->store);
    assert_int_equal(f->n_fatal, 1);
    assert_true(f->n_written < 100);
    assert_non_null(strstr(f->fatal_text, f->dir));
    unsigned n_written = f->n_written;
    fixture_close(f);
    f->options.map_bytes = 0; /* a larger map opens it again, whole */
    assert_int_equal(fixture_try_open(f), 0);
    assert_int_equal(fixture_scan(f, &log_read), 0);
    assert_true(log_read.n == n_written * 100);
}

/* Bytes of address space that this process uses. */
static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void test_open_with_little_address_space_takes_a_smaller_map(void **state)
{
    struct store_fixture *f = *state;
    struct rlimit before, little;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    little = before;
    little.rlim_cur = address_space() + STORE_MAP_BYTES / 4;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    int err = fixture_try_open(f);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    if (err)
        fail_msg("open: %s", buf_str(&f->reason));
    fixture_start(f);
    fixture_append(f, 1, 100, 1);
}

static struct storage_stats stats_of(struct store_fixture *f)
{
    struct storage *s = store_storage(f->store);
    struct storage_stats stats = {0};
    s->stats(s, &stats);
    return stats;
}

static void test_stats_tell_the_disk_space_taken_and_left(void **state)
{
    struct store_fixture *f = *state;
    char path[128];
    struct stat st;
    struct statvfs fs;
    fixture_open(f);
    struct storage_stats before = stats_of(f);
    snprintf(path, sizeof path, "%s/state-1/data.mdb", f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(before.state_bytes, 4096, (uintmax_t)st.st_size);
    struct storage_write *w = fixture_write_new(1, 1, 1, 1);
    raft_entry_unref(&w->entries[0]);
    w->entries[0] = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){1, 1}, 4 << 20);
    memset(w->entries[0]->data, 'x', 4 << 20);
    fixture_submit(f, w);
    fixture_wait(f, 1);
    struct storage_stats after = stats_of(f);
    snprintf(path, sizeof path, "%s/log/data.mdb", f->dir);
    assert_int_equal(stat(path, &st), 0);
    after.log_bytes -= STORE_JOURNAL_BYTES;
    before.log_bytes -= STORE_JOURNAL_BYTES;
    assert_in_range(after.log_bytes, 4 << 20, (uintmax_t)st.st_size);
    assert_true(after.log_bytes <= (uint64_t)st.st_blocks * 512);
    assert_true(after.log_bytes >= before.log_bytes + (4 << 20)); /* not what is kept beyond it */
    assert_int_equal(after.state_bytes, before.state_bytes);
    assert_int_equal(statvfs(f->dir, &fs), 0);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize; /* others write, too */
    assert_in_range(after.disk_free_bytes, free_bytes / 2, free_bytes + (1 << 30));
}

static struct storage_space space_of(struct store_fixture *f)
{
    struct storage *s = store_storage(f->store);
    struct storage_space space = {0};
    s->space(s, &space);
    return space;
}

static void test_space_keeps_blocks_beyond_the_end_of_the_log(void **state)
{
    struct store_fixture *f = *state;
    struct stat st;
    char path[128];
    fixture_open(f);
    fixture_append(f, 1, 10, 1);
    struct storage_space space = space_of(f);
    assert_true(space.reserve >= 8 << 20 && space.reserve <= 128 << 20);
    assert_true(space.log_room > 1 << 20);
    assert_false(space.log_is_full);
    snprintf(path, sizeof path, "%s/log/data.mdb", f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true((off_t)st.st_blocks * 512 >= st.st_size + (2 << 20));
}

/* PITFALLS part 2: MAP_FULL blocks purging too. */
static void test_log_near_the_end_of_its_map_is_full_until_it_was_purged(void **state)
{
    struct store_fixture *f = *state;
    uint64_t next = 1;
    f->options.map_bytes = 4 << 20;
    fixture_open(f);
    while (!space_of(f).log_is_full && next < FIXTURE_ENTRIES_MAX) {
        fixture_append(f, next, 100, 1);
        next += 100;
    }
    assert_true(space_of(f).log_is_full);
    assert_true(space_of(f).log_room > 100 * 1024);
    assert_int_equal(f->n_fatal, 0);
    struct storage_write *w = fixture_write_new(f->written + 1, next, 0, 1);
    w->truncate_from = 100;
    uint64_t seq = w->seq;
    fixture_submit(f, w);
    fixture_wait(f, seq);
    for (unsigned i = 0; space_of(f).log_is_full && i < 40; i++)
        usleep(100 * 1000); /* it looks again now and then */
    assert_false(space_of(f).log_is_full);
    assert_int_equal(f->n_fatal, 0);
}

int main(void)
{
#define STORE_TEST(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_open_of_nothing_makes_directory_parents_and_identity),
        STORE_TEST(test_identity_stays_and_boots_count_up),
        STORE_TEST(test_marks_of_an_identity_are_kept_apart),
        STORE_TEST(test_identities_of_two_directories_differ),
        STORE_TEST(test_open_while_another_process_has_it_is_busy_and_names_it),
        STORE_TEST(test_open_of_an_unwritable_directory_is_refused),
        STORE_TEST(test_open_of_a_file_is_refused),
        STORE_TEST(test_open_of_an_unknown_format_is_refused),
        STORE_TEST(test_entries_and_hard_state_are_there_after_reopen),
        STORE_TEST(test_truncation_and_append_replace_the_end),
        STORE_TEST(test_queued_writes_complete_in_order_in_one_transaction),
        STORE_TEST(test_writes_submitted_while_others_commit_complete_in_order),
        STORE_TEST(test_values_of_the_largest_size_are_kept),
        STORE_TEST(test_load_respects_its_limits_and_the_end),
        STORE_TEST(test_load_stops_before_bytes_max_is_passed),
        STORE_TEST(test_load_after_truncation_sees_the_new_entries),
        STORE_TEST(test_full_map_is_fatal_and_nothing_more_is_answered),
        STORE_TEST(test_space_keeps_blocks_beyond_the_end_of_the_log),
        STORE_TEST(test_log_near_the_end_of_its_map_is_full_until_it_was_purged),
        STORE_TEST(test_stats_tell_the_disk_space_taken_and_left),
        STORE_TEST(test_open_with_little_address_space_takes_a_smaller_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
