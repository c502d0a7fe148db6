/* SPDX-License-Identifier: MIT
 * node/: one turn at a time, by the thread or by a guest, and nothing that was
 * left for one is forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "node/turns.h"

#define LONG_MS   20000 /* nothing but a wake-up ends such a sleep in time */
#define LIMIT_MS  8000
#define N_POSTERS 3
#define N_POSTS   5000

struct table {
    struct turns turns;
    unsigned left;    /* by the turns' lock: not yet part of a turn */
    bool stopping;    /* likewise */
    atomic_uint done; /* were part of one */
    atomic_uint n_inside, n_collisions, n_own, n_guests;
    atomic_bool is_over;
};

static void turn(struct table *t, unsigned n, atomic_uint *n_turns)
{
    if (atomic_fetch_add(&t->n_inside, 1) != 0)
        atomic_fetch_add(&t->n_collisions, 1);
    if (atomic_fetch_add(n_turns, 1) % 8 == 0)
        usleep(50); /* long enough for somebody to come in */
    atomic_fetch_add(&t->done, n);
    atomic_fetch_sub(&t->n_inside, 1);
    turns_took(&t->turns, 0);
}

static void *thread(void *arg)
{
    struct table *t = arg;
    for (bool stop = false; !stop;) {
        turns_lock(&t->turns);
        while (turns_await_guest(&t->turns), t->left == 0 && !t->stopping)
            turns_sleep(&t->turns, clock_now_ms() + LONG_MS);
        unsigned n = t->left;
        t->left = 0;
        stop = t->stopping;
        turns_unlock(&t->turns);
        turn(t, n, &t->n_own);
    }
    return NULL;
}

static void post(struct table *t, bool has_time)
{
    unsigned n = 0;
    turns_lock(&t->turns);
    t->left++;
    enum turns_part part = turns_join(&t->turns, has_time);
    if (part == TURNS_GUEST) {
        n = t->left;
        t->left = 0;
    }
    turns_unlock(&t->turns);
    bool wake = part == TURNS_WAKE;
    if (part == TURNS_GUEST) {
        turn(t, n, &t->n_guests);
        turns_lock(&t->turns);
        wake = turns_leave(&t->turns, t->left > 0);
        turns_unlock(&t->turns);
    }
    if (wake)
        turns_wake(&t->turns);
}

/* Everybody posts again when all that was posted is done, so that nobody else's wake-up serves. */
static void *poster(void *arg)
{
    struct table *t = arg;
    for (unsigned i = 0; i < N_POSTS && !atomic_load(&t->is_over); i++) {
        unsigned before = atomic_load(&t->done);
        post(t, i % 4 != 0);
        while (atomic_load(&t->done) == before && !atomic_load(&t->is_over))
            usleep(1);
    }
    return NULL;
}

/* The thread is woken for nothing, too, but not so often that this would do for what was forgotten.
 */
static void *waker(void *arg)
{
    struct table *t = arg;
    while (!atomic_load(&t->is_over)) {
        unsigned before = atomic_load(&t->done);
        turns_wake(&t->turns);
        while (atomic_load(&t->done) < before + 10 && !atomic_load(&t->is_over))
            usleep(1);
    }
    return NULL;
}

static void start(struct table *t)
{
    *t = (struct table){0};
    turns_init(&t->turns);
    turns_took(&t->turns, 0);
}

static void test_nothing_left_for_a_turn_is_forgotten(void **state)
{
    (void)state;
    struct table t;
    pthread_t its, posters[N_POSTERS], wakes;
    start(&t);
    pthread_create(&its, NULL, thread, &t);
    pthread_create(&wakes, NULL, waker, &t);
    for (unsigned i = 0; i < N_POSTERS; i++)
        pthread_create(&posters[i], NULL, poster, &t);
    uint64_t limit_ms = clock_now_ms() + LIMIT_MS;
    while (atomic_load(&t.done) < N_POSTERS * N_POSTS && clock_now_ms() < limit_ms)
        usleep(1000);
    atomic_store(&t.is_over, true);
    for (unsigned i = 0; i < N_POSTERS; i++)
        pthread_join(posters[i], NULL);
    pthread_join(wakes, NULL);
    unsigned done = atomic_load(&t.done);
    turns_lock(&t.turns);
    t.stopping = true;
    turns_unlock(&t.turns);
    turns_wake(&t.turns);
    pthread_join(its, NULL);
    assert_int_equal(done, N_POSTERS * N_POSTS);
    assert_int_equal(t.n_collisions, 0);
    assert_true(t.n_own > 1);
    assert_true(t.n_guests > 1);
    turns_free(&t.turns);
}

static void test_guest_only_while_the_thread_sleeps(void **state)
{
    (void)state;
    struct table t;
    start(&t);
    assert_int_equal(turns_join(&t.turns, true), TURNS_NONE);
    t.turns.asleep = true;
    assert_int_equal(turns_join(&t.turns, true), TURNS_GUEST);
    assert_int_equal(turns_join(&t.turns, true), TURNS_NONE);
    assert_int_equal(turns_join(&t.turns, false), TURNS_NONE);
    turns_free(&t.turns);
}

static void test_no_guest_without_time_or_while_turns_are_long(void **state)
{
    (void)state;
    struct table t;
    start(&t);
    t.turns.asleep = true;
    assert_int_equal(turns_join(&t.turns, false), TURNS_WAKE);
    assert_int_equal(turns_join(&t.turns, true), TURNS_NONE); /* woken once is enough */
    t.turns.asleep = true;
    turns_took(&t.turns, 1000);
    assert_int_equal(turns_join(&t.turns, true), TURNS_WAKE);
    turns_free(&t.turns);
}

static void test_guest_wakes_the_thread_for_what_is_left_or_when_it_waits_for_him(void **state)
{
    (void)state;
    struct table t;
    start(&t);
    t.turns.asleep = true;
    assert_int_equal(turns_join(&t.turns, true), TURNS_GUEST);
    assert_false(turns_leave(&t.turns, false));
    assert_int_equal(turns_join(&t.turns, true), TURNS_GUEST); /* it sleeps on */
    assert_true(turns_leave(&t.turns, true));
    assert_int_equal(turns_join(&t.turns, true), TURNS_NONE);
    t.turns.asleep = true;
    assert_int_equal(turns_join(&t.turns, true), TURNS_GUEST);
    t.turns.awaits_guest = true;
    assert_true(turns_leave(&t.turns, false));
    turns_free(&t.turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_left_for_a_turn_is_forgotten),
        cmocka_unit_test(test_guest_only_while_the_thread_sleeps),
        cmocka_unit_test(test_no_guest_without_time_or_while_turns_are_long),
        cmocka_unit_test(test_guest_wakes_the_thread_for_what_is_left_or_when_it_waits_for_him),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
