/* SPDX-License-Identifier: MIT
 * store/state: runs, merging, views, generations, full disks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "state_fixture.h"
#include "store/state_impl.h"

static struct kv_base_view *new_view(struct state_fixture *f)
{
    struct kv_base *base = state_base(f->state);
    return base->ops->view(base);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- runs and merging ---- */

static void test_new_generation_is_empty_at_position_zero(void **state)
{
    struct state_fixture *f = *state;
    fixture_check(f);
    fixture_state_reopen(f);
    fixture_check(f);
    assert_int_equal(state_stats(f->state).n_keys, 0);
}

static void test_run_is_read_when_added_and_after_a_restart(void **state)
{
    struct state_fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fixture_add(f, 0, MODEL_KEYS - 1, 60);
        fixture_check(f);
    }
    assert_true(exists(fixture_state_path(f, "run-3")));
    assert_false(exists(state_run_path(f->state)));
    fixture_state_reopen(f);
    fixture_check(f);
    assert_int_equal(state_stats(f->state).n_runs, 3);
}

/* With other libraries or processors than are known it may find none: then say so here. */
static void test_fetching_ahead_comes_to_every_key_of_lmdb(void **state)
{
    struct state_fixture *f = *state;
    uint8_t names[KV_PREFETCH_MAX][LIMIT_KEY_BYTES];
    struct kv_bytes keys[KV_PREFETCH_MAX];
    unsigned n_found = 0, n_present = 0;
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 70);
    fixture_add(f, 0, MODEL_KEYS - 1, 70);
    fixture_wait_merged(f);
    struct kv_base_view *view = new_view(f);
    for (unsigned i = 0; i < MODEL_KEYS;) {
        unsigned n = 0;
        for (; i < MODEL_KEYS && n < KV_PREFETCH_MAX; i++, n++) {
            const uint8_t *key = fixture_key(i, &keys[n].len);
            keys[n].p = memcpy(names[n], key, keys[n].len);
            n_present += f->model[i].present;
        }
        n_found += state_fetch_ahead(state_view_of(view), keys, n);
    }
    assert_true(n_present > MODEL_KEYS / 2);
    assert_int_equal(n_found, n_present);
    assert_int_equal(state_fetch_ahead(state_view_of(view), keys, 0), 0);
    view->ops->close(view);
}

static void test_empty_run_moves_the_position(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, 10, 0);
    fixture_check(f);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_check(f);
    fixture_state_reopen(f);
    fixture_check(f);
}

static void test_tombstones_delete_here_and_there(void **state)
{
    struct state_fixture *f = *state;
    fixture_add_tombstone(f, 7); /* of nothing */
    fixture_add_value(f, 8, 100);
    fixture_add_value(f, 9, 100000);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_add_tombstone(f, 8);
    fixture_add_tombstone(f, 9);
    fixture_check(f);
    fixture_wait_merged(f);
    fixture_check(f);
    assert_int_equal(state_stats(f->state).n_keys, 0);
    assert_int_equal(state_stats(f->state).bytes, 0);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
}

static void test_large_values_of_all_lengths_come_back(void **state)
{
    struct state_fixture *f = *state;
    static const size_t lens[] = {4050, 4051, 4052, 4080, 4081, 8160, 8161, 100000, 3000000};
    state_start(f->state);
    for (unsigned i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        fixture_add_value(f, i, lens[i]);
        fixture_add_value(f, 20, lens[i]); /* replaced again and again */
        fixture_wait_merged(f);
    }
    fixture_check(f);
    assert_true(f->n_steps[STATE_STEP_SLICE] > 2 * 3000000 / f->options.slice_bytes);
    assert_int_equal(state_scrub(f->state, &f->reason), 0);
    fixture_state_reopen(f);
    fixture_check(f);
}

static void test_ninth_run_waits_until_there_is_room(void **state)
{
    struct state_fixture *f = *state;
    for (int i = 0; i < STATE_RUNS_MAX; i++)
        fixture_add(f, 0, 50, 50);
    fixture_check(f);
    fixture_write_run(f, state_run_path(f->state), 0, 50, 50);
    assert_int_equal(state_add_run(f->state, &f->reason), ERR_OVERLOADED);
    assert_true(exists(state_run_path(f->state)));
    state_start(f->state);
    fixture_wait_merged(f);
    assert_int_equal(state_add_run(f->state, &f->reason), 0);
    fixture_check(f);
}

static void test_run_of_an_earlier_position_is_refused(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, 50, 50);
    f->pos.index -= 101;
    assert_int_equal(fixture_try_add(f, 0, 0, 0), ERR_INVALID);
    f->pos.index += 1; /* the same is allowed */
    f->pos.index -= 100;
    fixture_add(f, 0, 0, 0);
}

/* ---- views ---- */

static void test_view_stays_as_it_was_while_runs_come_and_are_merged(void **state)
{
    struct state_fixture *f = *state;
    enum { N = 6 };
    struct kv_base_view *views[N];
    struct model_key *models[N];
    state_start(f->state);
    for (int i = 0; i < N; i++) {
        fixture_add(f, 0, MODEL_KEYS - 1, 40);
        if (i % 2)
            fixture_wait_merged(f);
        views[i] = new_view(f);
        models[i] = mem_dup(f->model, sizeof f->model);
    }
    fixture_wait_merged(f);
    for (int i = 0; i < N; i++) {
        fixture_check_view(views[i], models[i]);
        views[i]->ops->close(views[i]);
        mem_free(models[i]);
    }
}

static void test_view_outlives_the_state(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, MODEL_KEYS - 1, 40);
    state_start(f->state);
    fixture_wait_merged(f);
    struct kv_base_view *view = new_view(f);
    state_close(&f->state);
    fixture_check_view(view, f->model);
    view->ops->close(view);
}

static void test_view_that_is_too_old_ends_and_cursors_say_so(void **state)
{
    struct state_fixture *f = *state;
    f->options.view_ms_max = 20;
    fixture_state_reopen(f);
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    state_start(f->state);
    fixture_wait_merged(f);
    struct kv_base_view *view = new_view(f);
    struct kv_cursor *c = view->ops->cursor(view), *late = view->ops->cursor(view);
    struct kv_record r;
    struct kv_value v;
    size_t len;
    const uint8_t *key = fixture_key(3, &len);
    assert_int_equal(kv_cursor_seek(c, NULL, 0, &r), 0);
    int err = 0;
    for (int i = 0; i < 5000 && err != ERR_TIMEOUT; i++) {
        usleep(1000);
        err = view->ops->get(view, key, len, &v);
    }
    assert_int_equal(err, ERR_TIMEOUT);
    assert_int_equal(kv_cursor_next(c, &r), ERR_TIMEOUT);
    assert_int_equal(kv_cursor_seek(late, NULL, 0, &r), ERR_TIMEOUT);
    kv_cursor_close(&c);
    kv_cursor_close(&late);
    fixture_check(f); /* its transaction serves another one */
    view->ops->close(view);
    fixture_check(f);
}

/* Until one of another kind has ended, which was made earlier. */
static void wait_for_ends(struct kv_base_view *view)
{
    struct kv_value v;
    int err = 0;
    for (int i = 0; i < 5000 && err != ERR_TIMEOUT; i++) {
        usleep(1000);
        err = view->ops->get(view, "x", 1, &v);
    }
    assert_int_equal(err, ERR_TIMEOUT);
}

static void test_kept_view_does_not_grow_too_old(void **state)
{
    struct state_fixture *f = *state;
    f->options.view_ms_max = 20;
    fixture_state_reopen(f);
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    state_start(f->state);
    fixture_wait_merged(f);
    struct kv_base_view *kept = new_view(f), *other = new_view(f);
    struct model_key then[MODEL_KEYS];
    memcpy(then, f->model, sizeof then);
    kept->ops->keep(kept);
    wait_for_ends(other);
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    fixture_wait_merged(f);
    fixture_check_view(kept, then);
    kept->ops->close(kept);
    other->ops->close(other);
}

static void test_kept_view_ends_when_the_disk_is_full(void **state)
{
    struct state_fixture *f = *state;
    f->options.view_ms_max = 20;
    fixture_state_reopen(f);
    struct kv_base_view *kept = new_view(f), *other = new_view(f);
    kept->ops->keep(kept);
    state_start(f->state);
    wait_for_ends(other);
    struct kv_value v;
    assert_int_equal(kept->ops->get(kept, "x", 1, &v), ERR_NOT_FOUND);
    f->commit_err = ERR_NO_SPACE;
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    wait_for_ends(kept);
    kept->ops->close(kept);
    other->ops->close(other);
}

static unsigned n_steps(struct state_fixture *f, enum state_step step)
{
    pthread_mutex_lock(&f->lock);
    unsigned n = f->n_steps[step];
    pthread_mutex_unlock(&f->lock);
    return n;
}

static void test_merging_waits_for_a_view_from_before_the_slice(void **state)
{
    struct state_fixture *f = *state;
    f->options.await_ms_max = 60000;
    fixture_state_reopen(f);
    fixture_add(f, 0, MODEL_KEYS - 1, 80);
    struct kv_base_view *view = new_view(f);
    state_start(f->state);
    fixture_wait_steps(f, STATE_STEP_SLICE, 1);
    usleep(20000);
    assert_int_equal(n_steps(f, STATE_STEP_COMMIT), 1);
    view->ops->close(view);
    fixture_wait_merged(f);
    assert_true(n_steps(f, STATE_STEP_COMMIT) > 2);
}

static void test_merging_waits_for_a_long_view_once_only(void **state)
{
    struct state_fixture *f = *state;
    f->options.await_ms_max = 500;
    fixture_state_reopen(f);
    fixture_add(f, 0, MODEL_KEYS - 1, 80);
    struct kv_base_view *view = new_view(f);
    uint64_t start_ms = clock_now_ms();
    state_start(f->state);
    fixture_wait_merged(f);
    uint64_t took_ms = clock_now_ms() - start_ms;
    assert_true(took_ms >= 500);
    assert_true(took_ms < 500 * (n_steps(f, STATE_STEP_COMMIT) - 1)); /* if it waited each time */
    view->ops->close(view);
}

static void test_many_views_at_once_are_served(void **state)
{
    struct state_fixture *f = *state;
    enum { N = 500 };
    static struct kv_base_view *views[N];
    fixture_add_value(f, 1, 10);
    state_start(f->state);
    fixture_wait_merged(f);
    size_t len;
    const uint8_t *key = fixture_key(1, &len);
    for (int i = 0; i < N; i++)
        views[i] = new_view(f);
    for (int i = 0; i < N; i++) {
        struct kv_value v;
        assert_int_equal(views[i]->ops->get(views[i], key, len, &v), 0);
    }
    assert_int_equal(state_stats(f->state).n_views, N);
    for (int i = 0; i < N; i++)
        views[i]->ops->close(views[i]);
    assert_int_equal(state_stats(f->state).n_views, 0);
}

/* ---- no room ---- */

static void test_full_disk_is_waited_for(void **state)
{
    struct state_fixture *f = *state;
    f->commit_err = ERR_NO_SPACE;
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    state_start(f->state);
    pthread_mutex_lock(&f->lock);
    while (f->n_commits_failed < 3)
        pthread_cond_wait(&f->more, &f->lock);
    pthread_mutex_unlock(&f->lock);
    assert_true(state_stats(f->state).waits_for_space);
    fixture_check(f);
    pthread_mutex_lock(&f->lock);
    f->commit_err = 0;
    pthread_mutex_unlock(&f->lock);
    fixture_wait_merged(f);
    assert_false(state_stats(f->state).waits_for_space);
    assert_int_equal(f->n_fatal, 0);
    fixture_check(f);
}

static void test_failed_write_ends_the_process(void **state)
{
    struct state_fixture *f = *state;
    f->commit_err = ERR_IO;
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    state_start(f->state);
    fixture_wait_merged(f);
    assert_int_equal(f->n_fatal, 1);
    assert_int_equal(f->n_commits_failed, 1);
}

static void test_map_grows_when_it_is_full_and_ends_long_views(void **state)
{
    struct state_fixture *f = *state;
    state_close(&f->state);
    f->options.map_bytes = MIB;
    f->options.slice_bytes = 4 * MIB;
    fixture_state_open(f);
    fixture_add(f, 0, MODEL_KEYS - 1, 60);
    state_start(f->state);
    fixture_wait_merged(f);
    uint64_t before = state_stats(f->state).map_bytes;
    struct kv_base_view *view = new_view(f), *kept = new_view(f);
    kept->ops->keep(kept);
    for (unsigned i = 0; i < 5; i++)
        fixture_add_value(f, i, 3 * MIB);
    fixture_wait_merged(f);
    struct kv_value v;
    assert_int_equal(view->ops->get(view, "x", 1, &v), ERR_TIMEOUT);
    assert_int_equal(kept->ops->get(kept, "x", 1, &v), ERR_TIMEOUT);
    view->ops->close(view);
    kept->ops->close(kept);
    assert_true(state_stats(f->state).map_bytes > before);
    assert_true(state_stats(f->state).map_bytes >= state_stats(f->state).used_bytes);
    assert_false(state_stats(f->state).waits_for_space);
    fixture_check(f);
    fixture_state_reopen(f);
    fixture_check(f);
}

/* ---- generations ---- */

static void test_generation_is_replaced_whole_and_others_are_removed(void **state)
{
    struct state_fixture *f = *state;
    char path[128], old[128], unfinished[128];
    fixture_add(f, 0, MODEL_KEYS - 1, 50);
    struct kv_base_view *view = new_view(f);
    struct model_key *model = mem_dup(f->model, sizeof f->model);
    memset(f->model, 0, sizeof f->model);
    snprintf(path, sizeof path, "%s/snapshot", f->root);
    snprintf(old, sizeof old, "%s/state-1", f->root);
    snprintf(unfinished, sizeof unfinished, "%s/state-2.new", f->root);
    assert_int_equal(mkdir(unfinished, 0700), 0); /* as a crash leaves it */
    fixture_write_run(f, path, 0, MODEL_KEYS - 1, 70);
    assert_int_equal(state_new_generation(f->root, 2, path, 0, &f->reason), 0);
    assert_false(exists(path));
    assert_false(exists(unfinished));
    state_close(&f->state);
    f->gen = 2;
    fixture_state_open(f);
    assert_int_equal(mkdir(unfinished, 0700), 0);
    assert_int_equal(state_remove_others(f->root, 2, &f->reason), 0);
    assert_false(exists(old));
    assert_false(exists(unfinished));
    fixture_check_view(view, model); /* what is open stays readable */
    view->ops->close(view);
    mem_free(model);
    fixture_check(f);
    state_start(f->state);
    fixture_wait_merged(f);
    fixture_check(f);
}

static void test_generation_that_is_missing_is_not_found(void **state)
{
    struct state_fixture *f = *state;
    state_close(&f->state);
    f->gen = 9;
    assert_int_equal(fixture_state_try_open(f), ERR_NOT_FOUND);
    assert_non_null(strstr(buf_str(&f->reason), "state-9/data.mdb"));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, state_fixture_setup, state_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_generation_is_empty_at_position_zero),
        TEST(test_run_is_read_when_added_and_after_a_restart),
        TEST(test_fetching_ahead_comes_to_every_key_of_lmdb),
        TEST(test_empty_run_moves_the_position),
        TEST(test_tombstones_delete_here_and_there),
        TEST(test_large_values_of_all_lengths_come_back),
        TEST(test_ninth_run_waits_until_there_is_room),
        TEST(test_run_of_an_earlier_position_is_refused),
        TEST(test_view_stays_as_it_was_while_runs_come_and_are_merged),
        TEST(test_view_outlives_the_state),
        TEST(test_view_that_is_too_old_ends_and_cursors_say_so),
        TEST(test_kept_view_does_not_grow_too_old),
        TEST(test_kept_view_ends_when_the_disk_is_full),
        TEST(test_merging_waits_for_a_view_from_before_the_slice),
        TEST(test_merging_waits_for_a_long_view_once_only),
        TEST(test_many_views_at_once_are_served),
        TEST(test_full_disk_is_waited_for),
        TEST(test_failed_write_ends_the_process),
        TEST(test_map_grows_when_it_is_full_and_ends_long_views),
        TEST(test_generation_is_replaced_whole_and_others_are_removed),
        TEST(test_generation_that_is_missing_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
