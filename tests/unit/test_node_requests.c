/* SPDX-License-Identifier: MIT
 * node/: how writes and reads behave while leaders come and go, seen from the
 * requests that api/ makes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

/* ---- writes and reads ---- */

static void test_write_through_any_node_is_read_at_every_other(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    for (unsigned i = 0; i < 9; i++) {
        char value[8];
        snprintf(value, sizeof value, "%u", i);
        assert_int_equal(world_write(&w, i % 3, "k", value), 0);
        assert_int_equal(world_read(&w, (i + 1 + i / 3) % 3, "k", value), 0);
    }
    world_free(&w);
}

static void test_forwarded_write_whose_answer_is_lost_is_applied_once(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    w.drop_replies = 3;
    assert_int_equal(world_write(&w, follower, "k", "v"), 0);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_version(&w, i, "k"), 1);
    world_free(&w);
}

static void test_write_survives_death_of_leader_and_is_applied_once(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    struct node_request *r = world_set(&w, "k", "v", 5000);
    world_submit(&w, follower, r);
    world_kill(&w, leader);
    world_run(&w, 3000);
    assert_true(world_is_done(r));
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    assert_int_equal(world_version(&w, follower, "k"), 1);
    world_start(&w, leader);
    assert_int_equal(world_read(&w, leader, "k", "v"), 0);
    world_free(&w);
}

static void test_write_without_quorum_ends_unknown_at_its_deadline(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w);
    world_kill(&w, (leader + 1) % 3);
    world_kill(&w, (leader + 2) % 3);
    struct node_request *r = world_call(&w, leader, world_set(&w, "k", "v", 1000));
    assert_int_equal(r->err, ERR_UNKNOWN); /* it is in this node's log */
    node_request_free(&r);
    world_run(&w, 1000); /* by now it leads no more */
    r = world_call(&w, leader, world_set(&w, "k", "w", 1000));
    assert_int_equal(r->err, ERR_NO_LEADER); /* never left this node */
    node_request_free(&r);
    assert_int_equal(world_read(&w, leader, "k", "v"), ERR_NO_LEADER);
    world_start(&w, (leader + 1) % 3);
    assert_int_equal(world_write(&w, leader, "k", "x"), 0);
    assert_int_equal(world_read(&w, (leader + 1) % 3, "k", "x"), 0);
    world_free(&w);
}

static void test_isolated_leader_serves_no_read(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned old = (unsigned)world_leader(&w);
    assert_int_equal(world_write(&w, old, "k", "1"), 0);
    w.nodes[old].isolated = true;
    struct node_request *r = world_request(&w, NODE_READ, 4000);
    world_submit(&w, old, r);
    world_run(&w, 2000);
    world_wait_for_leader(&w);
    assert_int_equal(world_write(&w, (unsigned)world_leader(&w), "k", "2"), 0);
    assert_false(world_is_done(r));
    w.nodes[old].isolated = false;
    world_run(&w, 1500);
    assert_true(world_is_done(r));
    assert_int_equal(r->err, 0);
    assert_int_equal(world_read(&w, old, "k", "2"), 0);
    node_request_free(&r);
    world_free(&w);
}

static bool is_read_at_once(struct world *w, unsigned i, bool by_lease)
{
    struct node_request *r = world_request(w, NODE_READ, 100);
    r->in.read.by_lease = by_lease;
    world_submit(w, i, r);
    bool at_once = world_is_done(r) && r->err == 0;
    world_run(w, 1500);
    assert_true(world_is_done(r));
    node_request_free(&r);
    return at_once;
}

/* 46: cut off, it can ask nobody; for less than an election timeout it need not. */
static void test_read_by_lease_is_served_without_asking_as_long_as_the_lease_lasts(void **state)
{
    (void)state;
    for (unsigned isolated_ms = 0; isolated_ms <= 300; isolated_ms += 300) {
        for (unsigned drift_ms = 0; drift_ms <= 20; drift_ms += 20) {
            struct world w;
            world_init(&w, 3);
            for (unsigned i = 0; i < 3; i++) {
                w.nodes[i].options.clock_drift_ms = drift_ms;
                world_start(&w, i);
            }
            assert_int_equal(world_init_cluster(&w, 0), 0);
            for (unsigned i = 1; i < 3; i++)
                assert_int_equal(world_add_learner(&w, 0, i), 0);
            assert_int_equal(world_change(&w, 0, 7), 0);
            world_wait_for_leader(&w);
            unsigned leader = (unsigned)world_leader(&w);
            world_run(&w, 1000);
            w.nodes[leader].isolated = true;
            world_run(&w, isolated_ms);
            bool expected = drift_ms > 0 && isolated_ms == 0;
            assert_int_equal(is_read_at_once(&w, leader, true), expected);
            assert_false(is_read_at_once(&w, leader, false));
            world_free(&w);
        }
    }
}

/* 51: what the old leader had proposed is lost; whoever waits for it must not wait for ever. */
static void test_write_lost_with_its_leader_goes_through_the_next(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned old = (unsigned)world_leader(&w);
    w.nodes[old].isolated = true;
    struct node_request *r = world_set(&w, "k", "v", 20000);
    world_submit(&w, old, r);
    world_run(&w, 2000);
    world_wait_for_leader(&w);
    assert_int_equal(world_write(&w, (unsigned)world_leader(&w), "other", "v"), 0);
    assert_false(world_is_done(r));
    w.nodes[old].isolated = false;
    world_run(&w, 2000);
    assert_true(world_is_done(r));
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_version(&w, i, "k"), 1);
    world_free(&w);
}

static void test_restart_of_all_keeps_everything(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    for (unsigned i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(world_write(&w, i % 3, key, key), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        world_kill(&w, i);
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    for (unsigned i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(world_read(&w, i % 3, key, key), 0);
    }
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_through_any_node_is_read_at_every_other),
        cmocka_unit_test(test_forwarded_write_whose_answer_is_lost_is_applied_once),
        cmocka_unit_test(test_write_survives_death_of_leader_and_is_applied_once),
        cmocka_unit_test(test_write_without_quorum_ends_unknown_at_its_deadline),
        cmocka_unit_test(test_isolated_leader_serves_no_read),
        cmocka_unit_test(test_read_by_lease_is_served_without_asking_as_long_as_the_lease_lasts),
        cmocka_unit_test(test_write_lost_with_its_leader_goes_through_the_next),
        cmocka_unit_test(test_restart_of_all_keeps_everything),
    };
    return cmocka_run_group_tests_name("node requests", tests, NULL, NULL);
}
