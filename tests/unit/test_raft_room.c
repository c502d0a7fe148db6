/* SPDX-License-Identifier: MIT
 * raft/: disks that are full (PITFALLS 56): who hears of it, and who leads then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

static struct cluster *led_by_0(unsigned n_nodes, unsigned n_voters)
{
    struct cluster *c = cluster_new(1, n_nodes, n_voters);
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 3);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    return c;
}

static void set_full(struct cluster *c, unsigned nodes_mask)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        raft_set_full(c->nodes[i].core, nodes_mask & 1u << i);
    cluster_run(c, 3 * HEARTBEAT_TICKS);
}

static void assert_all_say(const struct cluster *c, bool full)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        assert_int_equal(cluster_status(c, i).full, full);
}

static void test_full_leader_is_known_to_all_and_so_is_its_end(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    assert_all_say(c, false);
    set_full(c, 1);
    assert_all_say(c, true);
    cluster_write_entries(c, 0, 1); /* the core refuses nothing */
    set_full(c, 0);
    assert_all_say(c, false);
    cluster_free(&c);
}

static void test_full_followers_matter_when_the_others_are_no_quorum(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 4);
    struct raft_change learner = cluster_wish(RAFT_ADD_LEARNER, 4);
    assert_int_equal(cluster_change(c, 0, &learner, 1), 0);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    set_full(c, 1u << 4);
    assert_all_say(c, false);
    set_full(c, 1u << 4 | 1u << 1);
    assert_all_say(c, false);
    set_full(c, 1u << 1 | 1u << 2);
    assert_all_say(c, true);
    set_full(c, 1u << 2);
    assert_all_say(c, false);
    cluster_free(&c);
}

static void test_transfer_to_anybody_takes_one_with_room(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    set_full(c, 1u << 0 | 1u << 1);
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO), 0);
    assert_true(uuid_equal(cluster_status(c, 0).transfer_to, cluster_id(2)));
    cluster_run(c, ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), 2);
    cluster_free(&c);
}

static void test_transfer_to_anybody_when_all_are_full_finds_none(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    set_full(c, 7);
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO), ERR_NOT_FOUND);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    cluster_free(&c);
}

static void test_full_node_refuses_to_take_over(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    raft_set_full(c->nodes[1].core, true); /* the leader does not know yet */
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_true(uuid_is_zero(cluster_status(c, 0).transfer_to));
    assert_int_equal(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_free(&c);
}

static void test_full_nodes_elect_one_of_them(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    set_full(c, 7);
    cluster_kill(c, 0);
    unsigned leader = cluster_elect(c);
    assert_true(leader == 1 || leader == 2);
    cluster_write_entries(c, leader, 1);
    assert_true(cluster_status(c, leader).full);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_leader_is_known_to_all_and_so_is_its_end),
        cmocka_unit_test(test_full_followers_matter_when_the_others_are_no_quorum),
        cmocka_unit_test(test_transfer_to_anybody_takes_one_with_room),
        cmocka_unit_test(test_transfer_to_anybody_when_all_are_full_finds_none),
        cmocka_unit_test(test_full_node_refuses_to_take_over),
        cmocka_unit_test(test_full_nodes_elect_one_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
