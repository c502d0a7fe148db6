/* SPDX-License-Identifier: MIT
 * store/: a process killed while it writes; what it was told is durable must be
 * there afterwards, and what is there must be what was written.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rng.h"
#include "store_fixture.h"

#define ROUNDS     25
#define QUEUE      8   /* writes in flight */
#define REPORTS    300 /* before the kill, at most */
#define WRITES_MAX 400 /* of one round, if the kill is late */

static struct fixture_log log_read;

/* What the writer tells after each acknowledged write. */
struct report {
    uint64_t term, last, truncated, n;
};

/* Appends and truncates without end; every write is reported once it is done. */
static _Noreturn void write_until_killed(struct store_fixture *f, uint64_t seed, int fd)
{
    struct rng rng = {seed};
    struct report queue[QUEUE];
    alarm(60); /* should the parent fail meanwhile */
    if (fixture_try_open(f) != 0 || fixture_scan(f, &log_read) != 0)
        _exit(1);
    fixture_start(f);
    uint64_t last = log_read.n, term = log_read.hard_state.term + 1;
    for (uint64_t seq = 1; seq <= WRITES_MAX; seq++) {
        struct report r = {.term = term};
        unsigned n = (unsigned)rng_range(&rng, 0, 6);
        if (rng_range(&rng, 0, 9) == 0 && last > 5) {
            r.term = ++term;
            last -= rng_range(&rng, 0, 5);
            r.truncated = last + 1;
        }
        struct storage_write *w = fixture_write_new(seq, last + 1, n, term);
        w->truncate_from = r.truncated;
        last += n;
        r.last = last;
        r.n = n;
        queue[seq % QUEUE] = r;
        fixture_submit(f, w);
        if (seq < QUEUE)
            continue;
        uint64_t sure = seq - QUEUE + 1;
        fixture_wait(f, sure);
        if (write(fd, &queue[sure % QUEUE], sizeof r) != sizeof r)
            _exit(1);
    }
    pause();
    _exit(1);
}

/* Reads reports until the writer is dead; the last one whole is in *ret_last. */
static unsigned read_reports(int fd, pid_t pid, unsigned n_before_kill, struct report *ret_last)
{
    struct report r;
    unsigned n = 0;
    while (read(fd, &r, sizeof r) == sizeof r) {
        *ret_last = r;
        if (++n == n_before_kill)
            kill(pid, SIGKILL);
    }
    return n;
}

static void test_killed_writer_loses_nothing_acknowledged(void **state)
{
    struct store_fixture *f = *state;
    struct rng rng = {42};
    uint64_t boots = 0;
    unsigned n_reports = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(f, rng_next(&rng) + round, fds[1]);
        rng_next(&rng);
        close(fds[1]);
        struct report last = {0};
        n_reports += read_reports(fds[0], pid, (unsigned)rng_range(&rng, 1, REPORTS), &last);
        close(fds[0]);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        if (fixture_try_open(f) != 0)
            fail_msg("%s", buf_str(&f->reason));
        boots += 2;
        assert_int_equal(f->identity.boot, boots);
        if (fixture_scan(f, &log_read) != 0)
            fail_msg("%s", buf_str(&f->reason));
        assert_false(log_read.wrong);
        assert_true(log_read.hard_state.term >= last.term);
        /* Without a later term nothing was truncated after the last report. */
        if (log_read.hard_state.term == last.term) {
            assert_true(log_read.n >= last.last);
            assert_true(last.n == 0 || log_read.terms[last.last] == last.term);
        }
        /* Each of the writes in flight may truncate 6 at most. */
        assert_true(log_read.n + 6 * QUEUE >= last.last);
        fixture_close(f);
    }
    assert_true(n_reports > ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_writer_loses_nothing_acknowledged,
                                        store_fixture_setup, store_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
