/* SPDX-License-Identifier: MIT
 * store/: checkpoints, the log that begins after them, and what does not fit together.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "store/log.h"
#include "store_machine.h"

/* ---- checkpoints ---- */

static void test_checkpoint_is_the_state_after_a_reopen(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_write(m, 20);
    machine_check(m);
    machine_reopen(m);
    assert_int_equal(m->restored, 100);
    assert_int_equal(m->base.pos.index, 0);
    assert_int_equal(m->n_scanned, 120);
    machine_check_at(m, 120);
}

static void test_log_that_begins_after_a_checkpoint_is_replayed_from_there(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 300);
    machine_checkpoint(m);
    machine_compact(m, 290);
    machine_write(m, 5);
    machine_reopen(m);
    assert_int_equal(m->restored, 300);
    assert_int_equal(m->base.pos.index, 290);
    assert_int_equal(m->base.config_pos.index, 1);
    assert_int_equal(m->base.config.n_members, 1);
    assert_int_equal(m->n_scanned, 15);
    machine_check_at(m, 305);
    struct storage_load *l = fixture_load(m->f, 290, 10, 1 << 20);
    assert_int_equal(l->n_entries, 0); /* not there: for a snapshot, or nobody */
    storage_load_free(&l);
    l = fixture_load(m->f, 291, 10, 1 << 20);
    assert_int_equal(l->n_entries, 10);
    assert_true(fixture_entry_is_right(l->entries[0]));
    storage_load_free(&l);
}

static void test_several_checkpoints_and_bases_one_after_the_other(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    for (unsigned i = 1; i <= 12; i++) {
        machine_write(m, 50);
        machine_checkpoint(m);
        machine_compact(m, m->last - i);
        if (i % 4 == 0)
            machine_reopen(m);
        machine_check_at(m, 50 * i);
    }
    assert_int_equal(m->restored, 600);
    assert_int_equal(m->base.pos.index, 588);
}

/* Entries in the table, of any meaning. Closes the store. */
static size_t n_kept(struct store_machine *m)
{
    struct store_log *log;
    struct buf reason = BUF_INIT;
    bool is_new;
    MDB_stat stat;
    MDB_txn *txn;
    machine_close(m);
    assert_int_equal(store_log_open(m->f->dir, "log", 0, &log, &is_new, &reason), 0);
    assert_int_equal(mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_stat(txn, log->entries, &stat), 0);
    mdb_txn_abort(txn);
    store_log_close(&log);
    buf_free(&reason);
    return stat.ms_entries;
}

static void test_entries_before_the_base_go_in_small_steps(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 1000);
    machine_checkpoint(m);
    machine_reopen(m); /* what is appended makes the steps larger */
    machine_compact(m, 990);
    size_t kept = n_kept(m);
    assert_in_range(kept, 1000 - 200, 1000 - 1);
    for (unsigned i = 0; kept > 10 + i; i++) {
        machine_open(m);
        assert_int_equal(m->n_scanned, 10 + i); /* leftovers are of no meaning */
        machine_check_at(m, 1000 + i);
        machine_write(m, 1);
        size_t now = n_kept(m);
        assert_true(now < kept && now + 200 > kept);
        kept = now;
        assert_in_range(i, 0, 100);
    }
    machine_open(m);
    assert_int_equal(m->base.pos.index, 990);
    assert_int_equal(kept, m->last - 990); /* and never one too many */
    machine_check(m);
}

static void test_truncation_down_to_the_base_keeps_the_log_whole(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 500);
    machine_checkpoint(m);
    machine_compact(m, 450);
    uint64_t seq = m->f->written + 1;
    struct storage_write *w = fixture_write_new(seq, 451, 3, 2);
    w->truncate_from = 451;
    fixture_submit(m->f, w);
    fixture_wait(m->f, seq);
    kv_free(&m->kv);
    fixture_close(m->f);
    assert_int_equal(fixture_try_open(m->f), 0);
    struct fixture_log *log = mem_zalloc(sizeof *log);
    log->n = 450;
    assert_int_equal(fixture_scan_on(m->f, log), 0);
    assert_false(log->wrong);
    assert_int_equal(log->n, 453);
    assert_int_equal(log->terms[451], 2);
    mem_free(log);
}

static void test_pages_of_what_was_purged_are_used_again(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    off_t at_first = 0;
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned k = 0; k < 5; k++)
            machine_write(m, 60);
        machine_checkpoint(m);
        machine_compact(m, m->last - 20);
        if (i == 9)
            at_first = fixture_file_size(m->f, "log/data.mdb");
    }
    assert_in_range(fixture_file_size(m->f, "log/data.mdb"), 1, at_first * 3 / 2);
}

static void test_base_beyond_the_log_is_a_bug_of_ours(void **state)
{
    struct store_world *w = *state;
    struct store_machine *m = &w->leader;
    machine_write(m, 10);
    machine_close(m);
    machine_close(&w->follower); /* no threads beside a fork */
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(30);
        if (!freopen("/dev/null", "w", stderr) || machine_try_open(m) != 0)
            _exit(1);
        machine_compact(m, 11);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    machine_open(m);
    assert_int_equal(m->base.pos.index, 0);
    machine_check_at(m, 10);
}

/* ---- what does not fit together ---- */

static void check_refused_open(struct store_machine *m, int err, const char *what)
{
    assert_int_equal(machine_try_open(m), err);
    if (!strstr(buf_str(&m->f->reason), what) || !strstr(buf_str(&m->f->reason), "as a new member"))
        fail_msg("%s", buf_str(&m->f->reason));
}

static void test_missing_state_is_refused_when_the_log_begins_later(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_compact(m, 80);
    machine_close(m);
    fixture_rename(m->f, "state-1", "away");
    check_refused_open(m, ERR_CORRUPT, "state-1 is not there");
    fixture_rename(m->f, "away", "state-1");
    machine_open(m);
    machine_check_at(m, 100);
}

static void test_missing_state_is_made_again_from_a_whole_log(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_close(m);
    fixture_rename(m->f, "state-1", "away");
    machine_open(m);
    assert_int_equal(m->restored, 0);
    machine_check_at(m, 100);
}

static void test_older_state_copied_back_is_refused(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_close(m);
    fixture_copy(m->f, "state-1", "older");
    machine_open(m);
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_compact(m, 150);
    machine_close(m);
    fixture_rename(m->f, "state-1", "newer");
    fixture_rename(m->f, "older", "state-1");
    check_refused_open(m, ERR_CORRUPT, "log begins after entry 150");
    fixture_rename(m->f, "state-1", "older");
    fixture_rename(m->f, "newer", "state-1");
    machine_open(m);
    machine_check_at(m, 200);
}

/* ---- stopping ---- */

static void test_stop_while_a_checkpoint_waits_for_merging_is_a_stop(void **state)
{
    struct store_machine *m = &((struct store_world *)*state)->leader;
    machine_stop_merging(m);
    fixture_work_unanswered(m->f, machine_freeze_nothing(m));
    usleep(100000); /* it waits now */
    machine_close(m);
    assert_int_equal(m->f->n_fatal, 0);
    assert_string_equal(m->f->fatal_text, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_world_setup, store_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_checkpoint_is_the_state_after_a_reopen),
        TEST(test_log_that_begins_after_a_checkpoint_is_replayed_from_there),
        TEST(test_several_checkpoints_and_bases_one_after_the_other),
        TEST(test_entries_before_the_base_go_in_small_steps),
        TEST(test_truncation_down_to_the_base_keeps_the_log_whole),
        TEST(test_pages_of_what_was_purged_are_used_again),
        TEST(test_base_beyond_the_log_is_a_bug_of_ours),
        TEST(test_missing_state_is_refused_when_the_log_begins_later),
        TEST(test_missing_state_is_made_again_from_a_whole_log),
        TEST(test_older_state_copied_back_is_refused),
        TEST(test_stop_while_a_checkpoint_waits_for_merging_is_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
