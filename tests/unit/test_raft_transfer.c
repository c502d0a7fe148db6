/* SPDX-License-Identifier: MIT
 * raft/: handing over leadership, as protocol stories. Numbers are items of
 * PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

/* Node 0 leads, all others have everything. */
static struct cluster *led_by_0(unsigned n_nodes, unsigned n_voters)
{
    struct cluster *c = cluster_new(1, n_nodes, n_voters);
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 3);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    return c;
}

static bool is_transferring(const struct cluster *c, unsigned node)
{
    return !uuid_is_zero(cluster_status(c, node).transfer_to);
}

static void test_transfer_makes_the_target_leader_without_a_timeout(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t term = cluster_status(c, 0).term;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    cluster_settle(c); /* not a single tick */
    assert_int_equal(cluster_status(c, 2).role, RAFT_LEADER);
    assert_int_equal(cluster_status(c, 2).term, term + 1);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
    assert_false(is_transferring(c, 0));
    cluster_write_entries(c, 2, 1);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    assert_true(uuid_equal(cluster_status(c, 0).leader, cluster_id(2)));
    assert_int_equal(cluster_status(c, 0).applied, cluster_status(c, 2).last.index);
    cluster_free(&c);
}

/* Two voters: the old leader's own vote is needed. */
static void test_transfer_of_two_voters_takes_the_old_leaders_vote(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(2, 2);
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 1).role, RAFT_LEADER);
    cluster_free(&c);
}

/* 13: while the target lags nothing new is taken, and nobody is told to campaign. */
static void test_transfer_waits_for_the_targets_log_and_takes_no_proposals(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    c->cut[0][2] = c->cut[2][0] = true;
    cluster_write_entries(c, 0, 2); /* 1 has them, 2 has not */
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    struct raft_pos pos;
    struct raft_change remove = cluster_wish(RAFT_REMOVE, 1);
    assert_int_equal(cluster_propose(c, 0, &pos), ERR_IN_PROGRESS);
    assert_int_equal(cluster_change(c, 0, &remove, 1), ERR_IN_PROGRESS);
    cluster_run_node(c, 0, HEARTBEAT_TICKS);
    assert_null(cluster_find(c, RAFT_TIMEOUT_NOW, 0, 2));
    assert_int_equal(cluster_status(c, 2).role, RAFT_FOLLOWER);
    cluster_heal(c);
    cluster_run_node(c, 0, ELECTION_TICKS_MAX - HEARTBEAT_TICKS - 1);
    assert_int_equal(cluster_status(c, 2).role, RAFT_LEADER);
    assert_int_equal(cluster_propose(c, 2, &pos), 0);
    cluster_free(&c);
}

/* 13: a target that does not come up does not hold everybody up. */
static void test_transfer_without_result_ends_after_one_election_timeout(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t term = cluster_status(c, 0).term;
    cluster_crash(c, 2);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    struct raft_pos pos;
    cluster_run_node(c, 0, ELECTION_TICKS_MAX - 1);
    assert_int_equal(cluster_propose(c, 0, &pos), ERR_IN_PROGRESS);
    cluster_run_node(c, 0, 1);
    assert_false(is_transferring(c, 0));
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    assert_int_equal(pos.term, term);
    cluster_free(&c);
}

/* 11: only who may lead is told to. */
static void test_transfer_to_who_cannot_lead_is_refused(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 3);
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 3);
    assert_int_equal(cluster_change(c, 0, &add, 1), 0);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(3)), ERR_NOT_ALLOWED); /* a learner */
    assert_int_equal(cluster_transfer(c, 0, cluster_id(0)), ERR_NOT_ALLOWED); /* itself */
    assert_int_equal(cluster_transfer(c, 0, cluster_id(4)), ERR_NOT_FOUND);   /* no member */
    assert_int_equal(cluster_transfer(c, 1, cluster_id(2)), ERR_NOT_LEADER);
    struct raft_message now =
        cluster_message(RAFT_TIMEOUT_NOW, 0, 3, cluster_status(c, 0).term, 1 << 20);
    assert_int_equal(cluster_receive(c, 3, &now), 0); /* whoever sent it, the learner refuses */
    assert_false(cluster_find(c, RAFT_TIMEOUT_NOW_REPLY, 3, 0)->timeout_now_reply.ok);
    assert_int_equal(cluster_status(c, 3).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), ERR_IN_PROGRESS);
    cluster_free(&c);
}

/* With nobody named: who has most, of those that answer. */
static void test_transfer_to_anybody_finds_the_best_voter(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 3);
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 3);
    assert_int_equal(cluster_change(c, 0, &add, 1), 0);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    c->cut[0][1] = true;
    cluster_write_entries(c, 0, 1); /* 2 and the learner have it */
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO), 0);
    assert_true(uuid_equal(cluster_status(c, 0).transfer_to, cluster_id(2)));
    cluster_free(&c);

    c = led_by_0(3, 3);
    cluster_cut_off(c, 0);
    cluster_run_node(c, 0, ELECTION_TICKS_MIN);
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO),
                     ERR_NOT_FOUND); /* nobody answers any more */
    cluster_free(&c);
}

/* 12: a target whose disk is behind refuses, and the leader leads on at once. */
static void test_transfer_target_that_is_persisting_refuses(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t term = cluster_status(c, 0).term;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    /* The target gets an entry that its disk has not written yet: the leader is not to know. */
    c->late_disk[2] = true;
    struct raft_pos last = cluster_status(c, 2).last;
    struct raft_entry *e =
        raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){term, last.index + 1}, 0);
    struct raft_message append = cluster_message(RAFT_APPEND, 0, 2, term, 1 << 20);
    append.append.prev = last;
    append.append.entries = &e;
    append.append.n_entries = 1;
    assert_int_equal(raft_receive(c->nodes[2].core, &append), 0);
    raft_entry_unref(&e);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 2).term, term);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_false(is_transferring(c, 0));
    cluster_free(&c);
}

static bool vote_of(struct cluster *c, unsigned voter, struct raft_message ask)
{
    static uint64_t seq = 1 << 20;
    ask.seq = ++seq;
    cluster_drop_all(c);
    assert_int_equal(cluster_receive(c, voter, &ask), 0);
    return cluster_find(c, RAFT_VOTE_REPLY, voter, (unsigned)cluster_node(ask.from))
        ->vote_reply.granted;
}

/* 12: that the leader asked for it excuses from nothing but stickiness. */
static void test_vote_for_a_transfer_is_excused_from_stickiness_only(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 5);
    uint64_t term = cluster_status(c, 0).term;
    struct raft_message ask = cluster_message(RAFT_VOTE, 1, 3, term + 1, 0);
    ask.vote.last = cluster_status(c, 1).last;
    assert_false(vote_of(c, 3, ask)); /* there is a leader */
    assert_int_equal(cluster_status(c, 3).term, term);
    ask.vote.handed_over = true;
    ask.vote.last.index--;
    assert_false(vote_of(c, 3, ask)); /* a short log */
    ask.vote.last.index++;
    ask.from = cluster_id(2);
    assert_true(vote_of(c, 3, ask));
    ask.from = cluster_id(1);
    assert_false(vote_of(c, 3, ask)); /* one vote in a term */
    ask.vote.pre = true;
    assert_int_equal(cluster_receive(c, 4, &ask), ERR_INVALID);
    assert_int_equal(cluster_status(c, 4).term, term);
    cluster_free(&c);
}

/* Lost, it is sent again; twice or late, it does no harm. */
static void test_timeout_now_lost_is_repeated_and_stale_is_refused(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t term = cluster_status(c, 0).term;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    assert_non_null(cluster_find(c, RAFT_TIMEOUT_NOW, 0, 1));
    cluster_drop_all(c);
    for (unsigned i = 0; i < HEARTBEAT_TICKS; i++)
        cluster_tick(c, 0);
    assert_non_null(cluster_find(c, RAFT_TIMEOUT_NOW, 0, 1));
    struct raft_message now = *cluster_find(c, RAFT_TIMEOUT_NOW, 0, 1);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 1).role, RAFT_LEADER);
    assert_int_equal(cluster_receive(c, 1, &now), 0);
    const struct raft_message *answer = cluster_find(c, RAFT_TIMEOUT_NOW_REPLY, 1, 0);
    assert_false(answer->timeout_now_reply.ok);
    assert_int_equal(answer->term, term + 1);
    assert_int_equal(cluster_status(c, 1).role, RAFT_LEADER);
    now.to = cluster_id(2); /* of the old leader to another follower */
    assert_int_equal(cluster_receive(c, 2, &now), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 2).term, term + 1);
    cluster_free(&c);
}

/* Who is not the leader cannot make anybody campaign; refusals of others end no transfer. */
static void test_timeout_now_of_another_than_the_leader_is_refused(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t term = cluster_status(c, 0).term;
    struct raft_message now = cluster_message(RAFT_TIMEOUT_NOW, 2, 1, term, 1 << 20);
    assert_int_equal(cluster_receive(c, 1, &now), 0);
    assert_false(cluster_find(c, RAFT_TIMEOUT_NOW_REPLY, 1, 2)->timeout_now_reply.ok);
    now.term = term + 1; /* nor can a later term that nobody leads here */
    assert_int_equal(cluster_receive(c, 1, &now), 0);
    assert_int_equal(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_free(&c);

    c = led_by_0(3, 3);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    struct raft_message no = cluster_message(RAFT_TIMEOUT_NOW_REPLY, 2, 0, term,
                                             cluster_find(c, RAFT_TIMEOUT_NOW, 0, 1)->seq);
    assert_int_equal(cluster_receive(c, 0, &no), 0);
    assert_true(is_transferring(c, 0));
    no.from = cluster_id(1);
    no.seq--; /* an older question */
    assert_int_equal(cluster_receive(c, 0, &no), 0);
    assert_true(is_transferring(c, 0));
    cluster_free(&c);
}

/* The log stands still during a transfer, so a joint configuration is left after it. */
static void test_transfer_holds_changes_back_until_it_is_over(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 3);
    struct raft_change changes[2] = {cluster_wish(RAFT_ADD_VOTER, 3),
                                     cluster_wish(RAFT_ADD_VOTER, 4)};
    assert_int_equal(cluster_change(c, 0, changes, 2), 0);
    uint64_t joint = cluster_status(c, 0).last.index;
    c->cut[0][2] = true;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    cluster_settle(c);
    cluster_run_node(c, 0, ELECTION_TICKS_MAX - 1);
    assert_int_equal(cluster_status(c, 0).commit, joint);
    assert_int_equal(cluster_status(c, 0).last.index, joint);
    assert_int_equal(cluster_change(c, 0, changes, 1), ERR_IN_PROGRESS);
    cluster_run_node(c, 0, 2);
    assert_false(is_transferring(c, 0));
    assert_int_equal(cluster_status(c, 0).commit, joint + 1);
    assert_false(raft_config_is_joint(raft_config(c->nodes[0].core, NULL)));
    cluster_free(&c);
}

/* Elections go on as ever when the target fails after it was told. */
static void test_transfer_target_that_crashes_leaves_a_working_cluster(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    cluster_deliver(c, 0);
    assert_int_equal(cluster_status(c, 1).role, RAFT_CANDIDATE);
    cluster_drop_all(c);
    cluster_crash(c, 1);
    unsigned leader = cluster_elect(c);
    cluster_run(c, 2 * ELECTION_TICKS_MAX);
    cluster_write_entries(c, leader, 1);
    cluster_restart(c, 1);
    cluster_run(c, 4 * ELECTION_TICKS_MAX);
    assert_true(cluster_leader(c) >= 0);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transfer_makes_the_target_leader_without_a_timeout),
        cmocka_unit_test(test_transfer_of_two_voters_takes_the_old_leaders_vote),
        cmocka_unit_test(test_transfer_waits_for_the_targets_log_and_takes_no_proposals),
        cmocka_unit_test(test_transfer_without_result_ends_after_one_election_timeout),
        cmocka_unit_test(test_transfer_to_who_cannot_lead_is_refused),
        cmocka_unit_test(test_transfer_to_anybody_finds_the_best_voter),
        cmocka_unit_test(test_transfer_target_that_is_persisting_refuses),
        cmocka_unit_test(test_vote_for_a_transfer_is_excused_from_stickiness_only),
        cmocka_unit_test(test_timeout_now_lost_is_repeated_and_stale_is_refused),
        cmocka_unit_test(test_timeout_now_of_another_than_the_leader_is_refused),
        cmocka_unit_test(test_transfer_holds_changes_back_until_it_is_over),
        cmocka_unit_test(test_transfer_target_that_crashes_leaves_a_working_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
