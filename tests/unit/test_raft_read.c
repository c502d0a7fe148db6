/* SPDX-License-Identifier: MIT
 * raft/: linearizable reads, as protocol stories. Numbers are items of PITFALLS
 * part 1. That no read ever misses what was committed before it was asked is
 * checked for every result (note_read).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

static struct cluster *three(unsigned *leader)
{
    struct cluster *c = cluster_new(1, 3, 3);
    *leader = cluster_elect(c);
    cluster_write_entries(c, *leader, 3);
    cluster_run(c, 5);
    return c;
}

static void expect_index(const struct cluster *c, unsigned node, uint64_t ctx)
{
    const struct sim_read *read = cluster_read_result(c, node, ctx);
    assert_non_null(read);
    assert_int_equal(read->err, 0);
    assert_true(read->index >= read->at_least);
}

static void expect_error(const struct cluster *c, unsigned node, uint64_t ctx, int err)
{
    const struct sim_read *read = cluster_read_result(c, node, ctx);
    assert_non_null(read);
    assert_int_equal(read->err, err);
}

static void test_read_at_leader_and_follower_gives_commit_index(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t ctx = cluster_read(c, i);
        assert_null(cluster_read_result(c, i, ctx));
        cluster_settle(c);
        expect_index(c, i, ctx);
        assert_int_equal(cluster_read_result(c, i, ctx)->index, cluster_status(c, leader).commit);
    }
    cluster_free(&c);
}

/* The follower is told of the commit index it must reach, without another tick. */
static void test_read_at_follower_right_after_write_can_be_served(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    unsigned follower = (leader + 1) % 3;
    cluster_write_entries(c, leader, 1);
    uint64_t ctx = cluster_read(c, follower);
    cluster_settle(c);
    expect_index(c, follower, ctx);
    assert_true(c->nodes[follower].applied >= cluster_read_result(c, follower, ctx)->index);
    cluster_free(&c);
}

static void test_read_of_single_voter_is_confirmed_at_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 1, 1);
    uint64_t ctx = cluster_read(c, 0);
    expect_index(c, 0, ctx);
    cluster_free(&c);
}

static void test_read_without_leader_fails_at_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    uint64_t ctx = cluster_read(c, 1);
    expect_error(c, 1, ctx, ERR_NO_LEADER);
    cluster_free(&c);
}

/* A learner is asked in no round; it is told all the same. */
static void test_read_at_learner_right_after_write_can_be_served(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 2);
    unsigned leader = cluster_elect(c);
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 2);
    assert_int_equal(cluster_change(c, leader, &add, 1), 0);
    cluster_run(c, 10);
    cluster_write_entries(c, leader, 1);
    uint64_t ctx = cluster_read(c, 2);
    cluster_settle(c);
    expect_index(c, 2, ctx);
    assert_true(c->nodes[2].applied >= cluster_read_result(c, 2, ctx)->index);
    cluster_free(&c);
}

/* Many reads, two rounds: what comes during a round shares the next. */
static void test_reads_share_rounds(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    uint64_t ctx[20];
    for (unsigned i = 0; i < 20; i++)
        ctx[i] = cluster_read(c, leader);
    assert_int_equal(c->n_in_flight, 2);
    for (unsigned i = 0; i < 4; i++)
        cluster_deliver(c, 0); /* two heartbeats, two answers: the next round starts */
    expect_index(c, leader, ctx[0]);
    assert_null(cluster_read_result(c, leader, ctx[1]));
    assert_int_equal(c->n_in_flight, 2);
    cluster_settle(c);
    for (unsigned i = 0; i < 20; i++)
        expect_index(c, leader, ctx[i]);
    cluster_free(&c);
}

/* 43: all restart; the new leader answers only when it has committed something itself. */
static void test_read_waits_for_commit_in_own_term(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    for (unsigned i = 0; i < 3; i++)
        cluster_crash(c, i);
    cluster_drop_all(c);
    for (unsigned i = 0; i < 3; i++)
        cluster_restart(c, i);
    c->late_disk[0] = c->late_disk[1] = c->late_disk[2] = true;
    int elected;
    while ((elected = cluster_leader(c)) < 0) {
        for (unsigned i = 0; i < 3; i++) {
            cluster_tick(c, i);
            cluster_write(c, i, 1);
        }
        if (cluster_leader(c) < 0 && c->in_flight)
            cluster_deliver(c, 0);
    }
    leader = (unsigned)elected;
    uint64_t ctx = cluster_read(c, leader);
    for (unsigned i = 0; i < 5; i++) {
        cluster_tick(c, leader);
        cluster_settle(c); /* heartbeats are answered, nothing is written */
        assert_false(cluster_status(c, leader).in_own_term);
        assert_null(cluster_read_result(c, leader, ctx));
    }
    for (unsigned i = 0; i < 3; i++)
        cluster_write(c, i, 99);
    cluster_settle(c);
    cluster_run_node(c, leader, 1);
    expect_index(c, leader, ctx);
    cluster_free(&c);
}

/* 44: answers to appends that were sent before the read was asked say nothing. */
static void test_read_is_not_confirmed_by_older_answers(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    for (unsigned i = 0; i < HEARTBEAT_TICKS; i++)
        cluster_tick(c, leader);
    while (c->in_flight->m.type == RAFT_APPEND)
        cluster_deliver(c, 0);
    assert_int_equal(c->n_in_flight, 2); /* two old answers */
    uint64_t ctx = cluster_read(c, leader);
    cluster_deliver(c, 0);
    cluster_deliver(c, 0);
    assert_null(cluster_read_result(c, leader, ctx));
    /* Nor by one of them, repeated. */
    const struct raft_message *asked = cluster_find(c, RAFT_APPEND, leader, (leader + 1) % 3);
    struct raft_message old = cluster_message(RAFT_APPEND_REPLY, (leader + 1) % 3, leader,
                                              cluster_status(c, leader).term, asked->seq - 2);
    old.append_reply.success = true;
    assert_int_equal(cluster_receive(c, leader, &old), 0);
    assert_null(cluster_read_result(c, leader, ctx));
    cluster_settle(c);
    expect_index(c, leader, ctx);
    cluster_free(&c);
}

/* The old leader is cut off; the new one commits; then the old one is asked. */
static void test_read_at_deposed_leader_is_never_served(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    cluster_cut_off(c, leader);
    for (unsigned i = 0; i < 100 && cluster_leader(c) == (int)leader; i++)
        for (unsigned k = 0; k < 3; k++) {
            if (k != leader)
                cluster_run_node(c, k, 1);
        }
    unsigned next = (unsigned)cluster_leader(c);
    assert_int_not_equal(next, leader);
    cluster_write_entries(c, next, 5);
    uint64_t ctx = cluster_read(c, leader);
    cluster_run_node(c, leader, ELECTION_TICKS_MAX);
    expect_error(c, leader, ctx, ERR_NOT_LEADER);
    cluster_free(&c);
}

/* 45: leadership lost and won again in the middle of a read. */
static void test_read_does_not_survive_a_change_of_term(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    unsigned follower = (leader + 1) % 3;
    uint64_t here = cluster_read(c, leader);
    uint64_t there = cluster_read(c, follower);
    while (cluster_find(c, RAFT_READ_INDEX, follower, leader))
        cluster_deliver(c, 0);
    raft_step_down(c->nodes[leader].core);
    cluster_pump(c, leader);
    expect_error(c, leader, here, ERR_NOT_LEADER);
    cluster_elect_node(c, leader);
    cluster_settle(c);
    expect_error(c, follower, there, ERR_NOT_LEADER);
    cluster_free(&c);
}

/* 42: learners answer, the voters are cut off. */
static void test_read_is_not_confirmed_by_learners(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 3);
    unsigned leader = cluster_elect(c);
    struct raft_change learners[] = {cluster_wish(RAFT_ADD_LEARNER, 3),
                                     cluster_wish(RAFT_ADD_LEARNER, 4)};
    assert_int_equal(cluster_change(c, leader, learners, 2), 0);
    cluster_run(c, 10);
    for (unsigned i = 0; i < 3; i++)
        c->cut[i][leader] = true;
    uint64_t ctx = cluster_read(c, leader);
    cluster_run_node(c, leader, ELECTION_TICKS_MIN);
    assert_null(cluster_read_result(c, leader, ctx));
    cluster_heal(c);
    cluster_run_node(c, leader, 1);
    expect_index(c, leader, ctx);
    cluster_free(&c);
}

/* 42: while the configuration is joint, both sets must answer. */
static void test_read_in_joint_configuration_needs_both_sets(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 3);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    struct raft_change change[] = {cluster_wish(RAFT_REMOVE, 1), cluster_wish(RAFT_REMOVE, 2),
                                   cluster_wish(RAFT_ADD_VOTER, 3),
                                   cluster_wish(RAFT_ADD_VOTER, 4)};
    c->cut[3][0] = c->cut[4][0] = true; /* the new ones are not heard */
    assert_int_equal(cluster_change(c, 0, change, 4), 0);
    cluster_settle(c);
    uint64_t ctx = cluster_read(c, 0);
    cluster_run_node(c, 0, 3);
    assert_null(cluster_read_result(c, 0, ctx));
    c->cut[3][0] = false;
    cluster_run_node(c, 0, 3);
    expect_index(c, 0, ctx);
    cluster_free(&c);
}

/* Every heartbeat of the round is lost; ticks send more. */
static void test_read_round_lost_is_sent_again(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    uint64_t ctx = cluster_read(c, leader);
    cluster_drop_all(c);
    cluster_run_node(c, leader, 1);
    expect_index(c, leader, ctx);
    cluster_free(&c);
}

/* A question or its answer is lost; in the end the asker hears so. */
static void test_read_question_lost_ends_in_no_leader(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    unsigned follower = (leader + 1) % 3;
    uint64_t ctx = cluster_read(c, follower);
    cluster_drop_all(c);
    cluster_run(c, ELECTION_TICKS_MAX - 1);
    assert_null(cluster_read_result(c, follower, ctx));
    cluster_run(c, 1);
    expect_error(c, follower, ctx, ERR_NO_LEADER);
    cluster_free(&c);
}

static void test_read_question_to_a_follower_is_answered_no(void **state)
{
    (void)state;
    unsigned leader;
    struct cluster *c = three(&leader);
    unsigned follower = (leader + 1) % 3;
    struct raft_message ask = cluster_message(RAFT_READ_INDEX, (leader + 2) % 3, follower,
                                              cluster_status(c, leader).term, 4242);
    assert_int_equal(cluster_receive(c, follower, &ask), 0);
    const struct raft_message *m =
        cluster_find(c, RAFT_READ_INDEX_REPLY, follower, (leader + 2) % 3);
    assert_true(m && !m->read_index_reply.ok && m->seq == 4242);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_at_leader_and_follower_gives_commit_index),
        cmocka_unit_test(test_read_at_follower_right_after_write_can_be_served),
        cmocka_unit_test(test_read_at_learner_right_after_write_can_be_served),
        cmocka_unit_test(test_read_of_single_voter_is_confirmed_at_once),
        cmocka_unit_test(test_read_without_leader_fails_at_once),
        cmocka_unit_test(test_reads_share_rounds),
        cmocka_unit_test(test_read_waits_for_commit_in_own_term),
        cmocka_unit_test(test_read_is_not_confirmed_by_older_answers),
        cmocka_unit_test(test_read_at_deposed_leader_is_never_served),
        cmocka_unit_test(test_read_does_not_survive_a_change_of_term),
        cmocka_unit_test(test_read_is_not_confirmed_by_learners),
        cmocka_unit_test(test_read_in_joint_configuration_needs_both_sets),
        cmocka_unit_test(test_read_round_lost_is_sent_again),
        cmocka_unit_test(test_read_question_lost_ends_in_no_leader),
        cmocka_unit_test(test_read_question_to_a_follower_is_answered_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
