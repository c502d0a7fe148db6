/* SPDX-License-Identifier: MIT
 * node/: how a cluster comes to be, changes and finds its members again, seen
 * from the requests that api/ makes.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

/* ---- first contact ---- */

static void test_first_write_alone_makes_cluster_after_a_while(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w, 0);
    struct node_request *r = world_set(&w, "k", "v", 5000);
    world_submit(&w, 0, r);
    world_run(&w, DRIVER_FIRST_WRITE_MS - 100);
    assert_false(world_is_done(r));
    world_run(&w, 300);
    assert_true(world_is_done(r));
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    assert_int_equal(world_read(&w, 0, "k", "v"), 0);
    world_free(&w);
}

static void test_first_write_after_contact_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2);
    world_start(&w, 0);
    world_start(&w, 1);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    /* Node 1 is asked who it is, with another id in mind: that alone is contact. */
    struct node_request *r = world_request(&w, NODE_ADD_LEARNER, 2000);
    r->in.add_learner.id = (struct uuid){9, 9};
    snprintf(r->in.add_learner.addr, sizeof r->in.add_learner.addr, "127.0.0.1:2");
    world_call(&w, 0, r);
    assert_int_equal(r->err, ERR_ID_MISMATCH);
    assert_true(uuid_equal(r->ret.admin.found, world_id(&w, 1)));
    node_request_free(&r);
    world_run(&w, 2000);
    assert_int_equal(world_write(&w, 1, "k", "v"), ERR_UNINITIALIZED);
    world_free(&w);
}

static void test_reads_never_make_a_cluster(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w, 0);
    world_run(&w, 3000);
    assert_int_equal(world_read(&w, 0, "k", NULL), ERR_UNINITIALIZED);
    struct node_request *r = world_call(&w, 0, world_request(&w, NODE_STATUS, 1000));
    assert_int_equal(r->ret.status->n_members, 0);
    assert_int_equal(r->ret.status->term, 0);
    assert_int_equal(r->ret.status->state, NODE_STATE_LEARNER);
    node_request_free(&r);
    world_free(&w);
}

static void test_wiped_member_written_to_stays_without_cluster(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_kill(&w, 2);
    world_wipe(&w, 2);
    world_start(&w, 2);
    /* At once: the leader's messages, meant for the old id, come well before the wait is over. */
    assert_int_equal(world_write(&w, 2, "k", "v"), ERR_UNINITIALIZED);
    assert_true(uuid_is_zero(w.nodes[2].disk.identity.cluster));
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    world_free(&w);
}

/* A write that waited for the first election was once proposed twice. */
static void test_write_waiting_for_election_is_logged_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w, 0);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    assert_int_equal(w.nodes[0].disk.n_log, 3); /* configuration, no-op, write */
    world_free(&w);
}

/* ---- init and membership ---- */

static void test_init_second_time_is_not_allowed(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_request *r = world_call(&w, 0, world_request(&w, NODE_INIT, 1000));
    assert_int_equal(r->err, ERR_NOT_ALLOWED);
    assert_true(r->ret.admin.log_id.index >= 2);
    assert_true(uuid_equal(r->ret.admin.vote, world_id(&w, 0)));
    assert_true(r->ret.admin.vote_committed);
    node_request_free(&r);
    world_free(&w);
}

/* Whatever was durable when it died, the node is a member of a working cluster or can be made one.
 */
static void test_init_cut_short_by_a_crash_can_be_done_again(void **state)
{
    (void)state;
    for (unsigned n_writes = 0; n_writes < 4; n_writes++) {
        struct world w;
        world_init(&w, 1);
        world_start(&w, 0);
        w.nodes[0].disk.writes_left = n_writes;
        struct node_request *r = world_request(&w, NODE_INIT, 1000);
        world_submit(&w, 0, r);
        world_run(&w, 2000);
        node_request_free(&r);
        world_kill(&w, 0);
        w.nodes[0].disk.writes_left = UINT_MAX;
        world_start(&w, 0);
        int err = world_init_cluster(&w, 0);
        assert_true(err == 0 || err == ERR_NOT_ALLOWED);
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
        world_free(&w);
    }
}

static void test_add_learner_of_other_cluster_is_mismatch(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2);
    world_start(&w, 0);
    world_start(&w, 1);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    assert_int_equal(world_init_cluster(&w, 1), 0);
    assert_int_equal(world_add_learner(&w, 0, 1), ERR_CLUSTER_MISMATCH);
    assert_int_equal(world_add_learner(&w, 1, 0), ERR_CLUSTER_MISMATCH);
    world_free(&w);
}

static void test_add_learner_dead_address_is_unreachable(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2);
    world_start(&w, 0);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    assert_int_equal(world_add_learner(&w, 0, 1), ERR_UNREACHABLE);
    world_free(&w);
}

static void test_change_membership_errors_name_their_node(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 2);
    assert_int_equal(world_change(&w, 0, 0), ERR_EMPTY);
    struct node_request *r = world_request(&w, NODE_CHANGE_MEMBERSHIP, 2000);
    r->in.change_membership.ids[0] = (struct uuid){5, 5};
    r->in.change_membership.n_ids = 1;
    world_call(&w, 1, r); /* through the follower */
    assert_int_equal(r->err, ERR_NOT_FOUND);
    assert_true(uuid_equal(r->ret.admin.id, (struct uuid){5, 5}));
    node_request_free(&r);
    world_free(&w);
}

/* Just after the election there was no sample to compare with, and whoever lacked the last entry
 * counted as lagging, though it had caught up a moment before. */
static void test_change_membership_soon_after_election_takes_learner_one_entry_behind(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    assert_int_equal(world_add_learner(&w, 0, 1), 0);
    assert_int_equal(world_add_learner(&w, 0, 2), 0);
    w.nodes[1].isolated = true;
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    assert_int_equal(world_change(&w, 0, 7), 0);
    world_free(&w);
}

/* One that is far behind is lagging, however new the leader. */
static void test_change_membership_of_a_learner_far_behind_is_lagging(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2);
    for (unsigned i = 0; i < 2; i++)
        world_start(&w, i);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    assert_int_equal(world_add_learner(&w, 0, 1), 0);
    w.nodes[1].isolated = true;
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
        world_run(&w, 100);
    }
    struct node_request *r = world_request(&w, NODE_CHANGE_MEMBERSHIP, 2000);
    r->in.change_membership.ids[0] = world_id(&w, 0);
    r->in.change_membership.ids[1] = world_id(&w, 1);
    r->in.change_membership.n_ids = 2;
    world_call(&w, 0, r);
    assert_int_equal(r->err, ERR_LAGGING);
    assert_int_equal(r->ret.admin.distance, 30);
    assert_true(uuid_equal(r->ret.admin.id, world_id(&w, 1)));
    node_request_free(&r);
    world_free(&w);
}

static void test_change_membership_removing_leader_goes_on(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w);
    assert_int_equal(world_write(&w, leader, "k", "1"), 0);
    assert_int_equal(world_change(&w, leader, 7u & ~(1u << leader)), 0);
    world_run(&w, 1500);
    world_wait_for_leader(&w);
    unsigned other = (leader + 1) % 3;
    assert_int_not_equal(world_leader(&w), (int)leader);
    assert_int_equal(world_write(&w, other, "k", "2"), 0);
    assert_int_equal(world_read(&w, (leader + 2) % 3, "k", "2"), 0);
    world_free(&w);
}

static void test_membership_every_size_through_a_follower(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 5);
    static const unsigned masks[] = {0x03, 0x01};
    assert_int_equal(world_change(&w, 3, 0x07), 0);
    world_run(&w, 1000);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(world_change(&w, 1 - i, masks[i]), 0);
        world_run(&w, 1000);
        world_wait_for_leader(&w);
    }
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    world_free(&w);
}

/* ---- a member at a new address ---- */

/* 50: who was refused knows for certain that nothing was attempted. */
static void test_change_that_a_stranger_refused_was_not_attempted(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    world_kill(&w, (leader + 2) % 3);
    world_kill(&w, leader);
    world_wipe(&w, leader);
    world_start(&w, leader); /* another node at the leader's address */
    assert_true(!uuid_is_zero(raft_status(w.nodes[follower].driver->raft).leader));
    assert_int_equal(world_change(&w, follower, 1u << follower), ERR_NO_LEADER);
    world_free(&w);
}

/* 41: the id of a member on a disk that is not the member's. */
static void test_member_on_another_disk_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), stranger = (leader + 1) % 3;
    uint64_t incarnation = w.nodes[stranger].disk.identity.incarnation;
    struct uuid id = world_id(&w, stranger);
    world_kill(&w, stranger);
    world_wipe(&w, stranger);
    w.nodes[stranger].disk.identity.node = id;
    snprintf(w.nodes[stranger].options.addr, sizeof w.nodes[stranger].options.addr, "127.0.0.1:9");
    world_start(&w, stranger);
    assert_int_equal(world_add_learner(&w, leader, stranger), ERR_INCARNATION_MISMATCH);
    world_run(&w, 1000);
    assert_int_equal(raft_status(w.nodes[stranger].driver->raft).last.index, 0);
    assert_int_equal(driver_member(w.nodes[leader].driver, id)->incarnation, incarnation);
    world_free(&w);
}

static void test_member_that_comes_up_elsewhere_is_found_again(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned follower = ((unsigned)world_leader(&w) + 1) % 3;
    world_kill(&w, follower);
    snprintf(w.nodes[follower].options.addr, sizeof w.nodes[follower].options.addr, "127.0.0.1:77");
    world_start(&w, follower);
    assert_int_equal(world_write(&w, (unsigned)world_leader(&w), "k", "v"), 0);
    assert_int_equal(world_read(&w, follower, "k", "v"), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_string_equal(driver_member(w.nodes[i].driver, world_id(&w, follower))->addr,
                            "127.0.0.1:77");
    world_free(&w);
}

/* Nobody can lead without the mover's vote, and the mover itself has the shorter log. */
static void test_member_that_comes_up_elsewhere_is_found_for_its_vote(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 2);
    unsigned leader = (unsigned)world_leader(&w), other = 1 - leader;
    world_kill(&w, other);
    struct node_request *r = world_set(&w, "k", "v", 100);
    world_call(&w, leader, r);
    assert_int_equal(r->err, ERR_UNKNOWN); /* in one log only */
    node_request_free(&r);
    world_run(&w, 2000);
    assert_int_equal(world_leader(&w), -1);
    snprintf(w.nodes[other].options.addr, sizeof w.nodes[other].options.addr, "127.0.0.1:77");
    world_start(&w, other);
    assert_int_equal(world_write(&w, other, "k2", "v2"), 0);
    world_run(&w, 1000);
    assert_string_equal(driver_member(w.nodes[leader].driver, world_id(&w, other))->addr,
                        "127.0.0.1:77");
    world_free(&w);
}

/* As a leader it wrote its new address into its own log and nowhere else; then others lead. */
static void test_member_whose_new_address_is_not_committed_is_found_again(void **state)
{
    (void)state;
    for (unsigned n_writes = 1; n_writes < 6; n_writes++) {
        struct world w;
        world_cluster(&w, 3);
        unsigned mover = (unsigned)world_leader(&w), b = (mover + 1) % 3, c = (mover + 2) % 3;
        for (unsigned i = 0; i < 3; i++)
            world_kill(&w, i);
        snprintf(w.nodes[mover].options.addr, sizeof w.nodes[mover].options.addr, "127.0.0.1:77");
        world_start(&w, mover);
        w.nodes[b].disk.writes_left = n_writes;
        world_start(&w, b);
        world_run(&w, 3000);
        world_kill(&w, mover);
        world_kill(&w, b);
        w.nodes[b].disk.writes_left = UINT_MAX;
        world_start(&w, b);
        world_start(&w, c);
        world_run(&w, 3000);
        world_start(&w, mover);
        assert_int_equal(world_write(&w, b, "k", "v"), 0);
        assert_int_equal(world_read(&w, mover, "k", "v"), 0);
        world_run(&w, 1000);
        assert_string_equal(driver_member(w.nodes[b].driver, world_id(&w, mover))->addr,
                            "127.0.0.1:77");
        world_free(&w);
    }
}

static void test_removed_node_at_a_new_address_does_not_come_back(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), gone = (leader + 1) % 3;
    world_kill(&w, gone);
    assert_int_equal(world_change(&w, leader, 7u & ~(1u << gone)), 0);
    snprintf(w.nodes[gone].options.addr, sizeof w.nodes[gone].options.addr, "127.0.0.1:77");
    world_start(&w, gone);
    world_run(&w, 5000);
    world_wait_for_leader(&w);
    assert_null(driver_member(w.nodes[world_leader(&w)].driver, world_id(&w, gone)));
    world_free(&w);
}

static void test_single_node_at_a_new_address_says_so(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    world_kill(&w, 0);
    snprintf(w.nodes[0].options.addr, sizeof w.nodes[0].options.addr, "127.0.0.1:77");
    world_start(&w, 0);
    world_run(&w, 2000);
    assert_string_equal(driver_member(w.nodes[0].driver, world_id(&w, 0))->addr, "127.0.0.1:77");
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_write_alone_makes_cluster_after_a_while),
        cmocka_unit_test(test_first_write_after_contact_is_refused),
        cmocka_unit_test(test_reads_never_make_a_cluster),
        cmocka_unit_test(test_wiped_member_written_to_stays_without_cluster),
        cmocka_unit_test(test_write_waiting_for_election_is_logged_once),
        cmocka_unit_test(test_init_second_time_is_not_allowed),
        cmocka_unit_test(test_init_cut_short_by_a_crash_can_be_done_again),
        cmocka_unit_test(test_add_learner_of_other_cluster_is_mismatch),
        cmocka_unit_test(test_add_learner_dead_address_is_unreachable),
        cmocka_unit_test(test_change_membership_errors_name_their_node),
        cmocka_unit_test(test_change_membership_soon_after_election_takes_learner_one_entry_behind),
        cmocka_unit_test(test_change_membership_of_a_learner_far_behind_is_lagging),
        cmocka_unit_test(test_change_membership_removing_leader_goes_on),
        cmocka_unit_test(test_membership_every_size_through_a_follower),
        cmocka_unit_test(test_change_that_a_stranger_refused_was_not_attempted),
        cmocka_unit_test(test_member_on_another_disk_is_refused),
        cmocka_unit_test(test_member_that_comes_up_elsewhere_is_found_again),
        cmocka_unit_test(test_member_that_comes_up_elsewhere_is_found_for_its_vote),
        cmocka_unit_test(test_member_whose_new_address_is_not_committed_is_found_again),
        cmocka_unit_test(test_removed_node_at_a_new_address_does_not_come_back),
        cmocka_unit_test(test_single_node_at_a_new_address_says_so),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
