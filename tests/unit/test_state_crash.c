/* SPDX-License-Identifier: MIT
 * store/state: killed at every step, by enumeration and at random, and read by
 * threads while all of it goes on. What was added is there, always.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "state_fixture.h"

/* ---- every step ---- */

static void check_after_kill(struct state_fixture *f)
{
    fixture_state_reopen(f);
    fixture_check(f);
    fixture_state_reopen(f); /* opening changed nothing that counts */
    fixture_check(f);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_check(f);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
    assert_int_equal(f->n_fatal + f->n_damaged, 0);
}

/* False: it was killed. */
static bool add_unless_killed(struct state_fixture *f)
{
    int err = fixture_try_add(f, 0, MODEL_KEYS - 1, 60);
    assert_true(!err || (err == ERR_SHUTDOWN && f->killed));
    return !err;
}

/* Over a run that is merged, so many that are merged together, and one that comes meanwhile;
 * killed at the step when it comes for the (after + 1)th time. False: it does not come so often. */
static bool kill_at(struct state_fixture *f, unsigned together, enum state_step step, int after)
{
    memset(f->model, 0, sizeof f->model);
    f->rng.state = 77;
    f->gen++;
    state_close(&f->state);
    assert_int_equal(state_new_generation(f->root, f->gen, NULL, 0, &f->reason), 0);
    f->pos = (struct kv_pos){0, 0};
    fixture_state_reopen(f);
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 90);
    fixture_wait_merged(f);
    fixture_state_reopen(f);
    f->kill_step = (int)step;
    f->kill_after = after;
    bool goes_on = true;
    for (unsigned i = 0; i < together && goes_on; i++)
        goes_on = add_unless_killed(f);
    if (goes_on) {
        memset(f->n_steps, 0, sizeof f->n_steps);
        state_start(f->state);
        fixture_wait_steps(f, STATE_STEP_COMMIT, 1);
        add_unless_killed(f);
        fixture_wait_merged(f);
    }
    state_close(&f->state);
    return f->killed;
}

static void kill_at_every_step(struct state_fixture *f, unsigned together)
{
    unsigned n_killed = 0;
    f->options.slice_bytes = 200 * KIB;
    for (int step = 0; step <= STATE_STEP_COMMIT; step++) {
        int after = 0;
        for (; kill_at(f, together, (enum state_step)step, after); after++)
            check_after_kill(f);
        assert_true(after > 0); /* each step comes */
        n_killed += (unsigned)after;
        check_after_kill(f);
    }
    assert_true(n_killed > 15);
}

static void test_kill_at_every_step_loses_nothing(void **state)
{
    kill_at_every_step(*state, 1);
}

static void test_kill_at_every_step_of_a_merge_of_three_loses_nothing(void **state)
{
    kill_at_every_step(*state, 3);
}

/* ---- at random ---- */

static void kill_later(struct state_fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->kill_step = (int)rng_range(&f->rng, 0, STATE_STEP_COMMIT);
    f->kill_after = (int)rng_range(&f->rng, 0, 20);
    pthread_mutex_unlock(&f->lock);
}

static void add_some(struct state_fixture *f)
{
    unsigned first = (unsigned)rng_range(&f->rng, 0, MODEL_KEYS - 1);
    unsigned last = (unsigned)rng_range(&f->rng, first, MODEL_KEYS - 1);
    if (state_stats(f->state).n_runs == STATE_RUNS_MAX)
        return;
    int err = fixture_try_add(f, first, last, (unsigned)rng_range(&f->rng, 0, 100));
    assert_true(!err || f->killed);
    if (err) /* the run has its name, but this process does not know */
        fixture_state_reopen(f);
}

static void act(struct state_fixture *f)
{
    switch (rng_range(&f->rng, 0, 7)) {
    case 0:
        fixture_state_reopen(f); /* without merging, for now */
        break;
    case 1:
        fixture_state_reopen(f);
        state_start(f->state);
        break;
    case 2:
        kill_later(f);
        break;
    case 3:
        fixture_check(f);
        break;
    default:
        if (!f->killed)
            add_some(f);
    }
}

static void test_random_life_gives_what_was_added(void **state)
{
    struct state_fixture *f = *state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        f->rng.state = seed;
        f->value_bytes_max = seed % 10 ? 12000 : 200000;
        act(f);
        fixture_check(f);
    }
    fixture_state_reopen(f);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_check(f);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
}

/* ---- readers ---- */

#define N_READERS 3
#define N_ROUNDS  40
#define N_GROUP   60

/* In each round every key of the group gets the round's number; a view shows one round. */
struct readers {
    struct state_fixture *f;
    atomic_bool ended;
    atomic_uint added;   /* rounds */
    atomic_uint n_views; /* looked at */
    atomic_uint n_wrong;
    char wrong[200]; /* the first one, once it is counted */
};

/* What one view shows. */
struct reading {
    uint64_t least, most; /* rounds */
    unsigned n;           /* keys */
    int err;              /* of what ended it too soon */
};

static size_t group_key(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "group-%03u", i);
}

static void note_value(struct reading *r, const struct kv_value *v)
{
    uint64_t round = v->len >= 8 ? bytes_get_be(v->data, 8) : 0;
    r->least = r->n == 0 || round < r->least ? round : r->least;
    r->most = r->n == 0 || round > r->most ? round : r->most;
    r->n++;
}

static struct reading read_by_gets(struct kv_base_view *view)
{
    struct reading r = {0};
    for (unsigned i = 0; i < N_GROUP && !r.err; i++) {
        char key[16];
        struct kv_value v;
        size_t len = group_key(i, key);
        r.err = view->ops->get(view, key, len, &v);
        if (!r.err)
            note_value(&r, &v);
    }
    return r;
}

static struct reading read_by_scan(struct kv_base_view *view)
{
    struct kv_cursor *c = view->ops->cursor(view);
    struct kv_record record;
    struct reading r = {0};
    int err = kv_cursor_seek(c, "group-", 6, &record);
    for (; !err; err = kv_cursor_next(c, &record))
        note_value(&r, &record.value);
    kv_cursor_close(&c);
    r.err = err == ERR_NOT_FOUND ? 0 : err;
    return r;
}

static bool is_whole(const struct reading *r)
{
    return r->err == 0 && r->n == N_GROUP && r->least == r->most;
}

static void tell_wrong(struct readers *r, const struct reading *gets, const struct reading *scan,
                       uint64_t at_least, uint64_t before)
{
    char text[sizeof r->wrong];
    snprintf(text, sizeof text,
             "gets: %u keys of rounds %d to %d, %s; scan: %u of %d to %d, %s; at least %d, before "
             "that %d",
             gets->n, (int)gets->least, (int)gets->most, err_text(gets->err), scan->n,
             (int)scan->least, (int)scan->most, err_text(scan->err), (int)at_least, (int)before);
    pthread_mutex_lock(&r->f->lock);
    if (atomic_load(&r->n_wrong) == 0)
        memcpy(r->wrong, text, sizeof text);
    atomic_fetch_add(&r->n_wrong, 1);
    pthread_mutex_unlock(&r->f->lock);
}

static void *read_all_the_time(void *arg)
{
    struct readers *r = arg;
    struct kv_base *base = state_base(r->f->state);
    uint64_t before = 0;
    while (!atomic_load(&r->ended)) {
        unsigned at_least = atomic_load(&r->added);
        if (at_least == 0)
            continue;
        struct kv_base_view *view = base->ops->view(base);
        struct reading gets = read_by_gets(view), scan = read_by_scan(view);
        view->ops->close(view);
        if (!is_whole(&gets) || !is_whole(&scan) || gets.least != scan.least ||
            gets.least < at_least || gets.least < before)
            tell_wrong(r, &gets, &scan, at_least, before);
        else
            before = gets.least;
        atomic_fetch_add(&r->n_views, 1);
    }
    return NULL;
}

static void add_round(struct state_fixture *f, uint64_t round)
{
    struct run_writer *w;
    uint8_t value[6000] = {0}, meta[16] = {0};
    assert_int_equal(run_writer_new(state_run_path(f->state), &w, &f->reason), 0);
    bytes_put_be(value, round, 8);
    for (unsigned i = 0; i < N_GROUP; i++) {
        char key[16];
        size_t len = group_key(i, key), value_len = i % 9 ? 100 : sizeof value;
        struct kv_record r = {.key = (const uint8_t *)key,
                              .key_len = len,
                              .value = {.data = value,
                                        .len = value_len,
                                        .revision = round,
                                        .create_revision = 1,
                                        .version = round}};
        run_writer_put(w, &r);
    }
    bytes_put_be(meta + 8, round, 8);
    assert_int_equal(run_writer_finish(&w, meta, sizeof meta, NULL, &f->reason), 0);
    int err;
    while ((err = state_add_run(f->state, &f->reason)) == ERR_OVERLOADED)
        usleep(1000);
    assert_int_equal(err, 0);
}

static void test_readers_during_merging_see_one_round(void **state)
{
    struct state_fixture *f = *state;
    struct readers r = {.f = f};
    pthread_t threads[N_READERS];
    state_start(f->state);
    for (unsigned i = 0; i < N_READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &r), 0);
    for (unsigned round = 1; round <= N_ROUNDS; round++) {
        add_round(f, round);
        atomic_store(&r.added, round);
        assert_int_equal(state_scrub(f->state, &f->reason), 0);
    }
    fixture_wait_merged(f);
    unsigned seen = atomic_load(&r.n_views); /* some of the merged state alone, too */
    while (atomic_load(&r.n_views) < seen + 2 * N_READERS)
        usleep(1000);
    atomic_store(&r.ended, true);
    for (unsigned i = 0; i < N_READERS; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&r.n_wrong) > 0)
        fail_msg("%u of %u views are wrong, the first: %s", atomic_load(&r.n_wrong),
                 atomic_load(&r.n_views), r.wrong);
    assert_int_equal(f->n_fatal + f->n_damaged, 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, state_fixture_setup, state_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kill_at_every_step_loses_nothing),
        TEST(test_kill_at_every_step_of_a_merge_of_three_loses_nothing),
        TEST(test_random_life_gives_what_was_added),
        TEST(test_readers_during_merging_see_one_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
