/* SPDX-License-Identifier: MIT
 * raft/: elections, as protocol stories. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

static void test_election_of_three_voters_gives_one_leader(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *c = cluster_new(seed, 3, 3);
        unsigned leader = cluster_elect(c);
        cluster_write_entries(c, leader, 50);
        cluster_run(c, 2 * HEARTBEAT_TICKS);
        for (unsigned i = 0; i < 3; i++) {
            assert_true(uuid_equal(cluster_status(c, i).leader, cluster_id(leader)));
            assert_int_equal(cluster_status(c, i).commit, 52);
            assert_int_equal(c->nodes[i].applied, 52);
        }
        cluster_free(&c);
    }
}

static void test_election_single_voter_leads_at_once_and_after_restart(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 1, 1);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_status(c, 0).term, 1); /* as API.md shows it for /init */
    assert_int_equal(cluster_status(c, 0).commit, 2);
    struct raft_config config = {.n_members = 1, .members = {cluster_member(0)}};
    config.members[0].roles = RAFT_VOTER;
    assert_int_equal(raft_bootstrap(c->nodes[0].core, &config), ERR_NOT_ALLOWED);
    cluster_crash(c, 0);
    cluster_restart(c, 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_status(c, 0).term, 2);
    assert_true(cluster_status(c, 0).in_own_term);
    cluster_free(&c);
}

static void test_election_without_configuration_never_begins(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 2, 0);
    cluster_run(c, 10 * ELECTION_TICKS_MAX);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(cluster_status(c, i).role, RAFT_FOLLOWER);
        assert_int_equal(cluster_status(c, i).term, 0);
    }
    cluster_free(&c);
}

/* 1: the vote is durable before it is told, and what was not told may be forgotten. */
static void test_vote_reply_waits_for_disk(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 0);
    c->late_disk[2] = true;
    struct raft_message ask = cluster_message(RAFT_VOTE, 0, 2, 5, 100);
    ask.vote.last = (struct raft_pos){1, 1};
    assert_int_equal(cluster_receive(c, 2, &ask), 0);
    assert_null(cluster_find(c, RAFT_VOTE_REPLY, 2, 0));
    /* A rival of the same term is refused, though nothing is durable yet. */
    struct raft_message rival = cluster_message(RAFT_VOTE, 1, 2, 5, 101);
    rival.vote.last = (struct raft_pos){1, 1};
    assert_int_equal(cluster_receive(c, 2, &rival), 0);
    cluster_write(c, 2, 1);
    const struct raft_message *granted = cluster_find(c, RAFT_VOTE_REPLY, 2, 0);
    assert_true(granted && granted->vote_reply.granted);
    assert_int_equal(granted->seq, 100);
    const struct raft_message *refused = cluster_find(c, RAFT_VOTE_REPLY, 2, 1);
    assert_true(refused && !refused->vote_reply.granted);
    cluster_crash(c, 2);
    cluster_restart(c, 2);
    cluster_drop_all(c);
    rival.seq = 102;
    assert_int_equal(cluster_receive(c, 2, &rival), 0);
    cluster_write(c, 2, 9);
    assert_false(cluster_find(c, RAFT_VOTE_REPLY, 2, 1)->vote_reply.granted);
    cluster_free(&c);
}

/* 2: one voter is one vote, in the round it was given in. */
static void test_vote_repeated_or_of_an_old_round_counts_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 5);
    while (cluster_status(c, 0).role != RAFT_PRE_CANDIDATE)
        cluster_tick(c, 0);
    uint64_t old_seq = cluster_find(c, RAFT_VOTE, 0, 1)->seq;
    cluster_drop_all(c);
    struct raft_message yes = cluster_message(RAFT_VOTE_REPLY, 1, 0, 2, old_seq);
    yes.vote_reply.pre = yes.vote_reply.granted = true;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(cluster_receive(c, 0, &yes), 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_PRE_CANDIDATE);
    do /* the next round: answers to the first one do not count */
        cluster_tick(c, 0);
    while (!cluster_find(c, RAFT_VOTE, 0, 1));
    for (unsigned from = 1; from < 5; from++) {
        yes.from = cluster_id(from);
        assert_int_equal(cluster_receive(c, 0, &yes), 0);
    }
    assert_int_equal(cluster_status(c, 0).role, RAFT_PRE_CANDIDATE);
    for (unsigned from = 1; from < 3; from++) {
        yes.from = cluster_id(from);
        yes.seq = cluster_find(c, RAFT_VOTE, 0, from)->seq;
        assert_int_equal(cluster_receive(c, 0, &yes), 0);
    }
    assert_int_equal(cluster_status(c, 0).role, RAFT_CANDIDATE);
    cluster_free(&c);
}

/* The own term must be durable: or the same term could be won twice with two logs. */
static void test_candidate_leads_only_when_its_own_vote_is_durable(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 5);
    c->late_disk[0] = true;
    for (unsigned i = 0; i < ELECTION_TICKS_MAX; i++)
        cluster_run_node(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).role, RAFT_CANDIDATE);
    uint64_t term = cluster_status(c, 0).term;
    cluster_settle(c);
    for (unsigned i = 1; i < 5; i++)
        assert_true(uuid_equal(c->nodes[i].hard_state.vote, cluster_id(0)));
    assert_int_equal(cluster_status(c, 0).role, RAFT_CANDIDATE);
    cluster_write(c, 0, 9);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_status(c, 0).term, term);
    cluster_free(&c);
}

/* 3: the later term wins, then the longer log. */
static void test_vote_up_to_date_log_is_lexicographic(void **state)
{
    (void)state;
    static const struct {
        struct raft_pos voter, candidate;
        bool granted;
    } cases[] = {
        {{1, 2}, {2, 1}, true},  {{2, 1}, {1, 2}, false}, {{2, 2}, {2, 2}, true},
        {{2, 2}, {2, 1}, false}, {{2, 2}, {2, 3}, true},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cluster *c = cluster_new(1, 2, 0);
        cluster_crash(c, 1);
        cluster_plant(c, 1, cases[i].voter.term, (unsigned)cases[i].voter.index);
        cluster_restart(c, 1);
        struct raft_message ask = cluster_message(RAFT_VOTE, 0, 1, 7, 1);
        ask.vote.last = cases[i].candidate;
        assert_int_equal(cluster_receive(c, 1, &ask), 0);
        assert_int_equal(cluster_find(c, RAFT_VOTE_REPLY, 1, 0)->vote_reply.granted,
                         cases[i].granted);
        cluster_free(&c);
    }
}

/* 4: C is isolated at an old term, the others move on, C heals as the leader dies. */
static void test_pre_vote_across_terms_does_not_deadlock(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *c = cluster_new(seed, 3, 3);
        (void)cluster_elect(c);
        cluster_run(c, 5);
        cluster_cut_off(c, 2);
        for (unsigned i = 0; i < 6; i++)
            cluster_elect_node(c, i % 2);
        unsigned dead = (unsigned)cluster_leader(c);
        assert_true(cluster_status(c, 1 - dead).term > cluster_status(c, 2).term + 3);
        cluster_crash(c, dead);
        cluster_heal(c);
        cluster_run(c, 6 * ELECTION_TICKS_MAX);
        assert_true(cluster_leader(c) >= 0);
        cluster_free(&c);
    }
}

/* 4: neither can win without the other's word: one has the longer log, the other
 * the higher term, and the refusal alone tells the first of it. */
static void test_pre_vote_of_an_old_term_learns_the_higher_one(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    (void)cluster_elect(c);
    cluster_run(c, 5);
    uint64_t term = cluster_status(c, 2).term;
    for (unsigned i = 0; i < 3; i++)
        cluster_crash(c, i);
    cluster_plant(c, 2, term, 1);
    c->nodes[0].hard_state.term = term + 4;
    c->nodes[0].hard_state.vote = UUID_ZERO;
    cluster_restart(c, 0);
    cluster_restart(c, 2);
    cluster_run(c, 10 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), 2);
    cluster_free(&c);
}

/* 5: nothing of the voter changes, not even its timer. */
static void test_pre_vote_granted_changes_nothing(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 3);
    cluster_crash(c, 0);
    struct raft_status before = cluster_status(c, 1);
    struct raft_message ask = cluster_message(RAFT_VOTE, 2, 1, before.term + 1, 77);
    ask.vote.pre = true;
    ask.vote.last = before.last;
    unsigned ticks = 0, granted = 0;
    while (cluster_status(c, 1).role == RAFT_FOLLOWER && ticks < 100) {
        cluster_tick(c, 1);
        ticks++;
        if (cluster_status(c, 1).role != RAFT_FOLLOWER)
            break;
        assert_int_equal(raft_receive(c->nodes[1].core, &ask), 0);
        const struct raft_effects *e = raft_effects(c->nodes[1].core);
        assert_int_equal(e->persist.seq, 0);
        granted += e->n_messages == 1 && e->messages[0].vote_reply.granted;
        assert_int_equal(cluster_status(c, 1).term, before.term);
    }
    assert_true(ticks <= ELECTION_TICKS_MAX);
    assert_true(granted > 0 || ticks == ELECTION_TICKS_MIN);
    cluster_free(&c);
}

/* 6: an answer to a real vote, of a higher term, arrives while a pre-vote is on. */
static void test_vote_reply_of_higher_term_always_steps_up(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    while (cluster_status(c, 0).role != RAFT_PRE_CANDIDATE)
        cluster_tick(c, 0);
    struct raft_message late = cluster_message(RAFT_VOTE_REPLY, 1, 0, 9, 3);
    late.vote_reply.granted = true;
    assert_int_equal(cluster_receive(c, 0, &late), 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 0).term, 9);
    /* A granted pre-vote of a higher term is nobody's term yet. */
    late = cluster_message(RAFT_VOTE_REPLY, 1, 0, 12, 3);
    late.vote_reply.granted = late.vote_reply.pre = true;
    assert_int_equal(cluster_receive(c, 0, &late), 0);
    assert_int_equal(cluster_status(c, 0).term, 9);
    cluster_free(&c);
}

/* 7: a node that got ahead in terms is not ignored for ever, nor does it ignore. */
static void test_stale_leader_is_told_of_the_higher_term(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), ahead = (leader + 1) % 3;
    uint64_t term = cluster_status(c, leader).term;
    struct raft_message news = cluster_message(RAFT_APPEND_REPLY, leader, ahead, term + 7, 1);
    assert_int_equal(cluster_receive(c, ahead, &news), 0);
    assert_int_equal(cluster_status(c, ahead).term, term + 7);
    cluster_run(c, HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, leader).role, RAFT_FOLLOWER);
    cluster_run(c, 6 * ELECTION_TICKS_MAX);
    assert_true(cluster_leader(c) >= 0);
    assert_true(cluster_status(c, ahead).term > term + 7);
    cluster_free(&c);
}

/* 8: the leader can send and hears nobody; the others must find another. */
static void test_leader_that_hears_nobody_steps_down(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    for (unsigned i = 0; i < 3; i++)
        c->cut[i][leader] = true;
    cluster_run(c, ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, leader).role, RAFT_FOLLOWER);
    cluster_run(c, 6 * ELECTION_TICKS_MAX);
    int other = cluster_leader(c);
    assert_true(other >= 0 && other != (int)leader);
    cluster_free(&c);
}

static void test_leader_with_a_quorum_does_not_step_down(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 5);
    unsigned leader = cluster_elect(c);
    uint64_t term = cluster_status(c, leader).term;
    cluster_cut_off(c, (leader + 1) % 5);
    cluster_cut_off(c, (leader + 2) % 5);
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), leader);
    cluster_heal(c); /* and those who come back do not disturb it */
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), leader);
    assert_int_equal(cluster_status(c, leader).term, term);
    cluster_free(&c);
}

/* 9: who was removed and does not know it campaigns in vain. */
static void test_removed_node_does_not_disrupt(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), removed = (leader + 1) % 3;
    cluster_cut_off(c, removed);
    struct raft_change change = cluster_wish(RAFT_REMOVE, removed);
    assert_int_equal(cluster_change(c, leader, &change, 1), 0);
    cluster_run(c, 5);
    cluster_heal(c);
    uint64_t term = cluster_status(c, leader).term;
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), leader);
    assert_int_equal(cluster_status(c, leader).term, term);
    /* Not even with a real vote request of a high term. */
    struct raft_message ask =
        cluster_message(RAFT_VOTE, removed, leader, term + 50, UINT64_C(9) << 40);
    ask.vote.last = (struct raft_pos){term + 49, 1000};
    for (unsigned i = 0; i < 3; i++) {
        if (i == removed)
            continue;
        assert_int_equal(cluster_receive(c, i, &ask), 0);
        assert_int_equal(cluster_status(c, i).term, term);
    }
    cluster_free(&c);
}

/* 10: a learner that does not know of its promotion must vote all the same. */
static void test_vote_granted_whatever_the_own_configuration_says(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 2);
    unsigned leader = cluster_elect(c), other = 1 - leader;
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 2);
    assert_int_equal(cluster_change(c, leader, &add, 1), 0);
    cluster_run(c, 10);
    c->cut[leader][2] = true; /* the promotion does not get there */
    struct raft_change promote = cluster_wish(RAFT_ADD_VOTER, 2);
    assert_int_equal(cluster_change(c, leader, &promote, 1), 0);
    cluster_settle(c);
    cluster_run_node(c, leader, HEARTBEAT_TICKS);
    assert_true(raft_config_is_committed(c->nodes[other].core));
    cluster_crash(c, leader);
    cluster_heal(c);
    struct raft_pos pos;
    assert_int_equal(raft_config_n_voters(raft_config(c->nodes[2].core, &pos)), 2);
    cluster_run(c, 6 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), other);
    cluster_free(&c);
}

/* 11 */
static void test_learner_never_campaigns(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 2, 1);
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 1);
    assert_int_equal(cluster_change(c, 0, &add, 1), 0);
    cluster_run(c, 10);
    assert_int_equal(c->nodes[1].applied, c->nodes[0].applied);
    cluster_crash(c, 0);
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, 1).role, RAFT_FOLLOWER);
    cluster_free(&c);
}

/* Found by the randomised test: the only log that is long enough belongs to who
 * gave up its vote, and that is not committed yet (dissertation 4.2.2). */
static void test_demoted_leader_leads_again_until_that_is_committed(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 2, 2);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    cluster_cut_off(c, 0);
    struct raft_change demote = cluster_wish(RAFT_ADD_LEARNER, 0);
    assert_int_equal(cluster_change(c, 0, &demote, 1), 0);
    cluster_crash(c, 0);
    cluster_drop_all(c);
    cluster_heal(c);
    cluster_restart(c, 0);
    assert_false(raft_config_is_committed(c->nodes[0].core));
    cluster_run(c, 10 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), 1); /* it led, committed, left */
    assert_true(raft_config_is_committed(c->nodes[0].core));
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), 1);
    cluster_free(&c);
}

/* 51: who waits for proposals hears that the role changed. */
static void test_step_down_is_told(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    struct raft *core = c->nodes[leader].core;
    (void)raft_effects(core);
    assert_false(raft_effects(core)->role_changed);
    raft_step_down(core);
    assert_true(raft_effects(core)->role_changed);
    assert_false(raft_effects(core)->role_changed);
    assert_int_equal(raft_status(core).role, RAFT_FOLLOWER);
    assert_true(uuid_is_zero(raft_status(core).leader));
    cluster_free(&c);
}

static void test_message_that_cannot_be_right_is_invalid(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), other = (leader + 1) % 3;
    struct raft_status before = cluster_status(c, leader);
    uint64_t term = before.term;
    struct raft_message m = cluster_message((enum raft_message_type)99, other, leader, 99, 1);
    assert_int_equal(cluster_receive(c, leader, &m), ERR_INVALID);
    m = cluster_message(RAFT_APPEND, leader, leader, 99, 1); /* from itself */
    assert_int_equal(cluster_receive(c, leader, &m), ERR_INVALID);
    m = cluster_message(RAFT_APPEND, other, leader, term, 1); /* two leaders in one term */
    assert_int_equal(cluster_receive(c, leader, &m), ERR_INVALID);
    m = cluster_message(RAFT_VOTE, other, leader, 99, 1);
    m.vote.last = (struct raft_pos){100, 1}; /* a log of the future */
    assert_int_equal(cluster_receive(c, leader, &m), ERR_INVALID);
    assert_int_equal(cluster_status(c, leader).term, term);
    assert_int_equal(cluster_status(c, leader).role, RAFT_LEADER);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election_of_three_voters_gives_one_leader),
        cmocka_unit_test(test_election_single_voter_leads_at_once_and_after_restart),
        cmocka_unit_test(test_election_without_configuration_never_begins),
        cmocka_unit_test(test_vote_reply_waits_for_disk),
        cmocka_unit_test(test_vote_repeated_or_of_an_old_round_counts_once),
        cmocka_unit_test(test_candidate_leads_only_when_its_own_vote_is_durable),
        cmocka_unit_test(test_vote_up_to_date_log_is_lexicographic),
        cmocka_unit_test(test_pre_vote_across_terms_does_not_deadlock),
        cmocka_unit_test(test_pre_vote_of_an_old_term_learns_the_higher_one),
        cmocka_unit_test(test_pre_vote_granted_changes_nothing),
        cmocka_unit_test(test_vote_reply_of_higher_term_always_steps_up),
        cmocka_unit_test(test_stale_leader_is_told_of_the_higher_term),
        cmocka_unit_test(test_leader_that_hears_nobody_steps_down),
        cmocka_unit_test(test_leader_with_a_quorum_does_not_step_down),
        cmocka_unit_test(test_removed_node_does_not_disrupt),
        cmocka_unit_test(test_vote_granted_whatever_the_own_configuration_says),
        cmocka_unit_test(test_learner_never_campaigns),
        cmocka_unit_test(test_demoted_leader_leads_again_until_that_is_committed),
        cmocka_unit_test(test_step_down_is_told),
        cmocka_unit_test(test_message_that_cannot_be_right_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
