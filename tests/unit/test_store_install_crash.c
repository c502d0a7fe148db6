/* SPDX-License-Identifier: MIT
 * store/: processes killed around checkpoints and installs; the reopen is right,
 * and what they left is gone.
 */
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
#include "store_machine.h"

#define ROUNDS    25
#define TURNS_MAX 4000 /* of one round, if the kill is late */

/* Closed: whoever opens them has a process of its own. */
static int setup(void **state)
{
    int rc = store_world_setup(state);
    struct store_world *w = *state;
    if (rc == 0) {
        machine_close(&w->leader);
        machine_close(&w->follower);
    }
    return rc;
}

/* Runs it in a process that ends in the middle of everything, when it returns. */
static void killed_after(void (*fn)(struct store_world *w), struct store_world *w)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        machine_open(&w->leader);
        machine_open(&w->follower);
        fn(w);
        _exit(42);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void check_nothing_left(const struct store_machine *m)
{
    struct fixture_files files = fixture_files(m->f);
    assert_int_equal(files.n_states, 1);
    assert_int_equal(files.n_snapshots, 0);
}

/* ---- between every two steps ---- */

static struct raft_snapshot *prepare(struct store_world *w)
{
    machine_write(&w->follower, 40);
    machine_checkpoint(&w->follower);
    machine_write(&w->follower, 5);
    machine_write(&w->leader, 200);
    return machine_snapshot(&w->leader, 6);
}

static void made(struct store_world *w)
{
    (void)prepare(w);
}

static void half_received(struct store_world *w)
{
    struct raft_snapshot *s = prepare(w);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size / 2), 0);
}

static void complete(struct store_world *w)
{
    struct raft_snapshot *s = prepare(w);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
}

static void installed(struct store_world *w)
{
    struct raft_snapshot *s = prepare(w);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
    machine_install(&w->follower, s);
}

static void test_killed_before_the_install_is_as_before(void **state)
{
    void (*const kills[])(struct store_world *) = {made, half_received, complete};
    struct store_world *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t at = 45 * (i + 1); /* each of them writes more */
        killed_after(kills[i], w);
        machine_open(&w->leader);
        check_nothing_left(&w->leader);
        machine_check_at(&w->leader, 200 * (i + 1));
        machine_close(&w->leader);
        machine_open(&w->follower);
        check_nothing_left(&w->follower);
        assert_int_equal(w->follower.restored, at - 5);
        machine_check_at(&w->follower, at);
        machine_close(&w->follower);
    }
}

static void test_killed_after_the_install_has_all_of_it(void **state)
{
    struct store_world *w = *state;
    killed_after(installed, w);
    machine_open(&w->follower);
    check_nothing_left(&w->follower);
    assert_int_equal(w->follower.restored, 200);
    assert_int_equal(w->follower.base.pos.index, 200);
    machine_check_at(&w->follower, 200);
    machine_write(&w->follower, 10);
    machine_reopen(&w->follower);
    machine_check_at(&w->follower, 210);
}

static void test_old_generation_that_was_not_deleted_goes_at_the_open(void **state)
{
    struct store_world *w = *state;
    machine_open(&w->leader);
    machine_open(&w->follower);
    machine_write(&w->follower, 40);
    machine_checkpoint(&w->follower);
    machine_close(&w->follower);
    fixture_copy(w->follower.f, "state-1", "kept");
    machine_open(&w->follower);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 6);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
    machine_install(&w->follower, s);
    machine_close(&w->follower);
    fixture_rename(w->follower.f, "kept", "state-1");
    machine_open(&w->follower);
    check_nothing_left(&w->follower);
    machine_check_at(&w->follower, 200);
    /* The next one is not in the way of anything either. */
    raft_snapshot_unref(&s);
    machine_write(&w->leader, 50);
    s = machine_snapshot(&w->leader, 7);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
    machine_install(&w->follower, s);
    machine_reopen(&w->follower);
    machine_check_at(&w->follower, 250);
    raft_snapshot_unref(&s);
}

static void test_leftovers_of_all_kinds_go_at_the_open(void **state)
{
    static const char *const files[] = {"snapshot/0000000000000001", "snapshot/ffffffffffffffff",
                                        "snapshot/0000000000000001.new", "state-1/run.new"};
    static const char *const states[] = {"state-2", "state-3.new", "state-1.new", "state-77"};
    struct store_world *w = *state;
    struct store_machine *m = &w->leader;
    machine_open(m);
    machine_write(m, 100);
    machine_checkpoint(m);
    machine_compact(m, 90);
    machine_close(m);
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
        fixture_file_make(m->f, files[i], "left", 4);
    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++)
        fixture_copy(m->f, "state-1", states[i]);
    machine_open(m);
    check_nothing_left(m);
    machine_check_at(m, 100);
    assert_int_equal(m->n_scanned, 10);
}

/* ---- at random moments ---- */

/* What a follower has acknowledged. */
struct report {
    uint64_t last, installed, base;
};

static void tell(int fd, const struct report *r)
{
    if (write(fd, r, sizeof *r) != sizeof *r)
        _exit(1);
}

/* The leader is a few entries ahead of the follower, which begins anew with its snapshot. */
static void catch_up(struct store_world *w, struct rng *rng)
{
    static uint64_t id;
    struct store_machine *to = &w->follower;
    while (w->leader.last <= to->last)
        machine_write(&w->leader, (unsigned)rng_range(rng, 1, 80));
    struct raft_snapshot *s = machine_snapshot(&w->leader, ++id);
    if (rng_range(rng, 0, 2) == 0)
        (void)machine_transfer(&w->leader, to, s, s->size / 2);
    if (machine_transfer(&w->leader, to, s, s->size) != 0)
        _exit(1);
    machine_install(to, s);
    machine_drop(&w->leader, s->id);
    raft_snapshot_unref(&s);
}

static _Noreturn void live_until_killed(struct store_world *w, uint64_t seed, int fd)
{
    struct rng rng = {seed};
    struct store_machine *m = &w->follower;
    machine_open(&w->leader);
    machine_open(m);
    struct report r = {.last = m->last, .installed = m->restored, .base = m->base.pos.index};
    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        alarm(120); /* should the parent fail meanwhile; a busy disk takes its time */
        uint64_t kind = rng_range(&rng, 0, 9);
        if (kind == 0) {
            catch_up(w, &rng);
            r.installed = r.base = m->last;
        } else if (kind <= 2) {
            machine_checkpoint(m);
            if (m->checkpointed > r.base + 3)
                machine_compact(m, r.base = m->checkpointed - 3);
        } else {
            machine_write(m, (unsigned)rng_range(&rng, 1, 30));
        }
        r.last = m->last;
        tell(fd, &r);
    }
    pause();
    _exit(1);
}

static unsigned read_reports(int fd, pid_t pid, unsigned n_before_kill, unsigned delay_us,
                             struct report *ret_last)
{
    struct report r;
    unsigned n = 0;
    while (read(fd, &r, sizeof r) == sizeof r) {
        *ret_last = r;
        if (++n == n_before_kill) {
            usleep(delay_us);
            kill(pid, SIGKILL);
        }
    }
    return n;
}

static void test_killed_at_random_moments_loses_nothing_acknowledged(void **state)
{
    struct store_world *w = *state;
    struct rng rng = {7};
    for (unsigned round = 0; round < ROUNDS; round++) {
        int fds[2], status;
        assert_int_equal(pipe(fds), 0);
        uint64_t seed = rng_next(&rng);
        pid_t pid = fork();
        if (pid == 0)
            live_until_killed(w, seed, fds[1]);
        close(fds[1]);
        struct report last = {0};
        unsigned n = (unsigned)rng_range(&rng, 1, 60);
        unsigned delay_us = (unsigned)rng_range(&rng, 0, 4000);
        unsigned n_reports = read_reports(fds[0], pid, n, delay_us, &last);
        close(fds[0]);
        waitpid(pid, &status, 0);
        if (n_reports < n)
            print_message("round %u: status %#x after %u of %u reports\n", round, (unsigned)status,
                          n_reports, n);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(n_reports >= n);

        machine_open(&w->follower);
        check_nothing_left(&w->follower);
        assert_true(w->follower.last >= last.last);
        assert_true(w->follower.restored >= last.installed);
        assert_true(w->follower.base.pos.index >= last.base);
        machine_check(&w->follower);
        machine_close(&w->follower);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed_before_the_install_is_as_before),
        TEST(test_killed_after_the_install_has_all_of_it),
        TEST(test_old_generation_that_was_not_deleted_goes_at_the_open),
        TEST(test_leftovers_of_all_kinds_go_at_the_open),
        TEST(test_killed_at_random_moments_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
