/* SPDX-License-Identifier: MIT
 * raft/: changing the membership, as protocol stories. Numbers are items of
 * PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

enum { NODES = 5 };

static const struct raft_config *config_of(const struct cluster *c, unsigned node)
{
    struct raft_pos pos;
    return raft_config(c->nodes[node].core, &pos);
}

static bool has_role(const struct raft_config *config, unsigned node, uint8_t roles)
{
    const struct raft_member *m = raft_config_find(config, cluster_id(node));
    return m && (m->roles & roles);
}

/* The voters as a set of bits. */
static unsigned voters_of(const struct raft_config *config)
{
    unsigned set = 0;
    for (unsigned i = 0; i < NODES; i++)
        set |= has_role(config, i, RAFT_VOTER) ? 1u << i : 0;
    return set;
}

/* The wishes that lead from one set of voters to another. */
static unsigned wishes(unsigned from, unsigned to, struct raft_change changes[])
{
    unsigned n = 0;
    for (unsigned i = 0; i < NODES; i++) {
        unsigned bit = 1u << i;
        if ((to & bit) && !(from & bit))
            changes[n++] = cluster_wish(RAFT_ADD_VOTER, i);
        if ((from & bit) && !(to & bit))
            changes[n++] = cluster_wish(RAFT_REMOVE, i);
    }
    return n;
}

/* All of the voters know that the configuration is uniform and committed. */
static bool is_settled(const struct cluster *c, unsigned voters)
{
    int leader = cluster_leader(c);
    if (leader < 0 || !(voters & 1u << leader))
        return false;
    for (unsigned i = 0; i < NODES; i++)
        if ((voters & 1u << i) &&
            (voters_of(config_of(c, i)) != voters || raft_config_is_joint(config_of(c, i)) ||
             !raft_config_is_committed(c->nodes[i].core) ||
             c->nodes[i].applied != c->nodes[leader].applied))
            return false;
    return true;
}

static void run_until_settled(struct cluster *c, unsigned voters)
{
    for (unsigned i = 0; i < 30 * ELECTION_TICKS_MAX; i++) {
        if (is_settled(c, voters))
            return;
        cluster_run(c, 1);
    }
    fail_msg("voters %x are not reached", voters);
}

/* A cluster whose voters are this set, led by the first of them. */
static struct cluster *with_voters(uint64_t seed, unsigned voters)
{
    struct cluster *c = cluster_new(seed, NODES, 1);
    struct raft_change changes[NODES];
    (void)cluster_elect(c);
    unsigned n = wishes(1, voters, changes);
    if (n > 0)
        assert_int_equal(cluster_change(c, 0, changes, n), 0);
    run_until_settled(c, voters);
    return c;
}

/* ---- every difference ---- */

/* After `steps` messages of the change, the leader dies and comes back later.
 * Either the old or the new voters are left, never something else; whoever it
 * is goes on. Returns whether there were still messages to deliver. */
static bool change_with_crash(unsigned from, unsigned to, unsigned steps)
{
    struct cluster *c = with_voters(1 + steps, from);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change changes[NODES];
    unsigned n = wishes(from, to, changes);
    assert_int_equal(cluster_change(c, leader, changes, n), 0);
    bool delivering = true;
    for (unsigned i = 0; i < steps && delivering; i++) {
        delivering = c->in_flight != NULL;
        if (delivering)
            cluster_deliver(c, 0);
    }
    cluster_crash(c, leader);
    cluster_run(c, 3 * ELECTION_TICKS_MAX);
    cluster_restart(c, leader);
    for (unsigned i = 0; i < 30 * ELECTION_TICKS_MAX; i++) {
        if (is_settled(c, to) || is_settled(c, from))
            break;
        cluster_run(c, 1);
    }
    assert_true(is_settled(c, to) || is_settled(c, from));
    cluster_write_entries(c, (unsigned)cluster_leader(c), 3);
    cluster_free(&c);
    return delivering;
}

static void test_change_of_every_difference_completes(void **state)
{
    (void)state;
    for (unsigned from = 1; from < 1u << NODES; from++) {
        for (unsigned to = 1; to < 1u << NODES; to++) {
            if (from == to)
                continue;
            struct cluster *c = with_voters(from * 64 + to, from);
            unsigned leader = (unsigned)cluster_leader(c);
            struct raft_change changes[NODES];
            unsigned n = wishes(from, to, changes);
            assert_int_equal(cluster_change(c, leader, changes, n), 0);
            assert_true(raft_config_is_joint(config_of(c, leader)));
            run_until_settled(c, to);
            cluster_write_entries(c, (unsigned)cluster_leader(c), 3);
            cluster_free(&c);
        }
    }
}

static void test_change_survives_crash_of_leader_at_every_step(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned from = 1; from < 1u << NODES; from += 3) {
        for (unsigned to = 1; to < 1u << NODES; to += 2) {
            unsigned steps = 0;
            while (from != to && change_with_crash(from, to, steps))
                steps++;
            n += steps;
        }
    }
    print_message("%u crashes\n", n);
    assert_true(n > 1000);
}

/* ---- what is refused ---- */

/* 35, 36: before an entry of its own term is committed, and while another change is open. */
static void test_change_is_refused_before_own_term_commit(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 4, 3);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    struct raft_change add = cluster_wish(RAFT_ADD_VOTER, 3);
    assert_int_equal(cluster_change(c, 1, &add, 1), ERR_NOT_LEADER);
    cluster_crash(c, 0);
    c->late_disk[1] = c->late_disk[2] = true;
    while (cluster_leader(c) < 0) {
        cluster_tick(c, 1);
        cluster_tick(c, 2);
        cluster_settle(c);
        cluster_write(c, 1, 1);
        cluster_write(c, 2, 1);
    }
    unsigned leader = (unsigned)cluster_leader(c);
    assert_false(cluster_status(c, leader).in_own_term);
    assert_int_equal(cluster_change(c, leader, &add, 1), ERR_IN_PROGRESS);
    c->late_disk[1] = c->late_disk[2] = false;
    cluster_write(c, 1, 9);
    cluster_write(c, 2, 9);
    cluster_settle(c);
    assert_int_equal(cluster_change(c, leader, &add, 1), 0);
    cluster_free(&c);
}

static void test_change_is_refused_while_another_is_open(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change two[] = {cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_ADD_VOTER, 4)};
    struct raft_change one = cluster_wish(RAFT_ADD_LEARNER, 3);
    assert_int_equal(cluster_change(c, leader, two, 2), 0);
    for (unsigned i = 0; raft_config_is_joint(config_of(c, leader)) ||
                         !raft_config_is_committed(c->nodes[leader].core);
         i++) {
        assert_int_equal(cluster_change(c, leader, &one, 1), ERR_IN_PROGRESS);
        assert_true(i < 1000);
        if (c->in_flight)
            cluster_deliver(c, 0);
        else
            cluster_tick(c, leader);
    }
    assert_int_equal(voters_of(config_of(c, leader)), 31);
    assert_int_equal(cluster_change(c, leader, &one, 1), 0);
    cluster_free(&c);
}

static void test_change_without_voters_is_refused_and_without_effect_is_nothing(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 3);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change none[] = {cluster_wish(RAFT_REMOVE, 0), cluster_wish(RAFT_REMOVE, 1)};
    assert_int_equal(cluster_change(c, leader, none, 2), ERR_EMPTY);
    struct raft_change same[] = {cluster_wish(RAFT_ADD_VOTER, 0), cluster_wish(RAFT_REMOVE, 4)};
    uint64_t last = cluster_status(c, leader).last.index;
    struct raft_pos pos = {9, 9};
    assert_int_equal(raft_change_config(c->nodes[leader].core, same, 2, &pos), 0);
    assert_int_equal(pos.index, 0);
    assert_int_equal(cluster_status(c, leader).last.index, last);
    cluster_free(&c);
}

/* ---- joint configurations ---- */

/* A majority of all five is not enough: each set needs its own. */
static void test_joint_commit_needs_both_majorities(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 1);
    struct raft_change add[] = {cluster_wish(RAFT_ADD_VOTER, 1), cluster_wish(RAFT_ADD_VOTER, 2),
                                cluster_wish(RAFT_REMOVE, 0)};
    cluster_crash(c, 1);
    assert_int_equal(cluster_change(c, 0, add, 3), 0);
    cluster_run(c, 5);
    assert_true(raft_config_is_joint(config_of(c, 0)));
    assert_false(raft_config_is_committed(c->nodes[0].core)); /* 0 and 2 have it, 1 is needed */
    cluster_restart(c, 1);
    run_until_settled(c, 6);
    cluster_free(&c);
}

/* 37: other entries follow the joint one; the uniform one is proposed once. */
static void test_joint_is_left_once_whatever_follows(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change two[] = {cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_ADD_VOTER, 4)};
    uint64_t before = cluster_status(c, leader).last.index;
    assert_int_equal(cluster_change(c, leader, two, 2), 0);
    struct raft_pos pos;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(cluster_propose(c, leader, &pos), 0);
        for (unsigned k = 0; k < 3 && c->in_flight; k++)
            cluster_deliver(c, 0);
    }
    run_until_settled(c, 31);
    unsigned n_configs = 0;
    for (uint64_t i = before + 1; i <= c->nodes[leader].log_last; i++)
        n_configs += c->nodes[leader].log[i]->type == RAFT_ENTRY_CONFIG;
    assert_int_equal(n_configs, 2);
    cluster_free(&c);
}

/* 38: the leader dies while its change is not committed; the next one has it in
 * its log, and so in force. */
static void test_new_leader_uses_uncommitted_configuration(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    struct raft_change two[] = {cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_ADD_VOTER, 4)};
    c->cut[0][2] = c->cut[0][3] = c->cut[0][4] = c->cut[1][0] = true; /* only 1 gets it */
    assert_int_equal(cluster_change(c, 0, two, 2), 0);
    cluster_settle(c);
    cluster_crash(c, 0);
    cluster_heal(c);
    assert_true(raft_config_is_joint(config_of(c, 1)));
    assert_false(raft_config_is_committed(c->nodes[1].core));
    cluster_elect_node(c, 1);
    cluster_run(c, 10); /* 0 is down all the time */
    assert_int_equal(voters_of(config_of(c, 1)), 31);
    assert_false(raft_config_is_joint(config_of(c, 1)));
    assert_true(raft_config_is_committed(c->nodes[1].core));
    cluster_restart(c, 0);
    run_until_settled(c, 31);
    cluster_free(&c);
}

/* 29: the change was appended, never committed, and is overwritten. */
static void test_overwritten_change_rolls_back(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    cluster_cut_off(c, 0);
    struct raft_change two[] = {cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_ADD_VOTER, 4)};
    assert_int_equal(cluster_change(c, 0, two, 2), 0);
    assert_true(raft_config_is_joint(config_of(c, 0)));
    cluster_run(c, 3 * ELECTION_TICKS_MAX);
    int leader = cluster_leader(c);
    assert_true(leader > 0);
    cluster_write_entries(c, (unsigned)leader, 5);
    cluster_heal(c);
    run_until_settled(c, 7);
    assert_int_equal(voters_of(config_of(c, 0)), 7);
    assert_true(raft_config_is_committed(c->nodes[0].core));
    cluster_free(&c);
}

/* 28: a restart in the middle of it. */
static void test_joint_configuration_survives_restart(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 3);
    unsigned leader = (unsigned)cluster_leader(c), other = 1 - leader;
    struct raft_change demote[] = {cluster_wish(RAFT_ADD_VOTER, 2), cluster_wish(RAFT_ADD_VOTER, 3),
                                   cluster_wish(RAFT_ADD_LEARNER, other)};
    assert_int_equal(cluster_change(c, leader, demote, 3), 0);
    cluster_crash(c, leader);
    cluster_drop_all(c);
    cluster_restart(c, leader);
    const struct raft_config *config = config_of(c, leader);
    assert_true(raft_config_is_joint(config) && config->auto_leave);
    assert_true(has_role(config, other, RAFT_LEARNER_NEXT));
    run_until_settled(c, 1u << leader | 4 | 8);
    assert_true(has_role(config_of(c, leader), other, RAFT_LEARNER));
    cluster_free(&c);
}

/* ---- learners ---- */

static void test_learner_is_added_promoted_demoted_and_removed(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    cluster_write_entries(c, leader, 50);
    struct raft_change change = cluster_wish(RAFT_ADD_LEARNER, 3);
    assert_int_equal(cluster_change(c, leader, &change, 1), 0);
    cluster_run(c, 10); /* gets all with no further write */
    assert_int_equal(c->nodes[3].applied, c->nodes[leader].applied);
    struct raft_peer_status peer;
    assert_int_equal(raft_peer(c->nodes[leader].core, cluster_id(3), &peer), 0);
    assert_int_equal(peer.match, cluster_status(c, leader).last.index);
    change.type = RAFT_ADD_VOTER;
    assert_int_equal(cluster_change(c, leader, &change, 1), 0);
    run_until_settled(c, 15);
    change.type = RAFT_ADD_LEARNER;
    assert_int_equal(cluster_change(c, leader, &change, 1), 0);
    run_until_settled(c, 7);
    change.type = RAFT_REMOVE;
    assert_int_equal(cluster_change(c, leader, &change, 1), 0);
    run_until_settled(c, 7);
    assert_null(raft_config_find(config_of(c, leader), cluster_id(3)));
    assert_int_equal(raft_peer(c->nodes[leader].core, cluster_id(3), &peer), ERR_NOT_FOUND);
    cluster_free(&c);
}

/* A learner's copy is no vote for a commit. */
static void test_learner_does_not_count_for_commit(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change learners[] = {cluster_wish(RAFT_ADD_LEARNER, 3),
                                     cluster_wish(RAFT_ADD_LEARNER, 4)};
    assert_int_equal(cluster_change(c, leader, learners, 2), 0);
    cluster_run(c, 10);
    cluster_crash(c, (leader + 1) % 3);
    cluster_crash(c, (leader + 2) % 3);
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, leader, &pos), 0);
    cluster_settle(c);
    assert_true(c->nodes[3].log_last == pos.index && c->nodes[4].log_last == pos.index);
    assert_true(cluster_status(c, leader).commit < pos.index);
    cluster_run(c, 2 * ELECTION_TICKS_MAX); /* nor for check-quorum */
    assert_int_equal(cluster_leader(c), -1);
    cluster_free(&c);
}

/* ---- the leader itself ---- */

/* 40: it does not count itself, the others hear of the commit before it goes. */
static void test_leader_removing_itself_leaves_after_commit(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change remove = cluster_wish(RAFT_REMOVE, leader);
    uint64_t term = cluster_status(c, leader).term;
    cluster_cut_off(c, (leader + 1) % 3);
    assert_int_equal(cluster_change(c, leader, &remove, 1), 0);
    uint64_t last = cluster_status(c, leader).last.index;
    cluster_settle(c);
    assert_true(cluster_status(c, leader).commit < last); /* itself and one are not two */
    assert_int_equal(cluster_status(c, leader).role, RAFT_LEADER);
    cluster_heal(c);
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, leader, &pos), 0); /* it leads on until then */
    for (unsigned i = 0; i < 20 && cluster_status(c, leader).role == RAFT_LEADER; i++)
        cluster_run_node(c, leader, 1);
    assert_int_equal(cluster_status(c, leader).role, RAFT_FOLLOWER);
    for (unsigned i = 0; i < 3; i++)
        assert_true(cluster_status(c, i).commit >= last);
    /* It has handed over: the clocks of the others stood still. */
    assert_true(cluster_leader(c) >= 0);
    assert_int_equal(cluster_status(c, (unsigned)cluster_leader(c)).term, term + 1);
    run_until_settled(c, 7 & ~(1u << leader));
    cluster_run(c, 10 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, leader).role, RAFT_FOLLOWER);
    assert_false(cluster_leader(c) == (int)leader);
    cluster_free(&c);
}

static bool no_timeout_now(struct cluster *c, const struct raft_message *m)
{
    (void)c;
    return m->type != RAFT_TIMEOUT_NOW;
}

/* 40: without a successor it goes all the same, after one attempt. */
static void test_leader_removing_itself_goes_when_nobody_takes_over(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 7);
    unsigned leader = (unsigned)cluster_leader(c);
    struct raft_change remove = cluster_wish(RAFT_REMOVE, leader);
    uint64_t term = cluster_status(c, leader).term;
    c->filter = no_timeout_now;
    assert_int_equal(cluster_change(c, leader, &remove, 1), 0);
    cluster_settle(c);
    cluster_run_node(c, leader, HEARTBEAT_TICKS);
    assert_false(uuid_is_zero(cluster_status(c, leader).transfer_to));
    cluster_run_node(c, leader, ELECTION_TICKS_MAX + 1);
    assert_int_equal(cluster_status(c, leader).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, leader).term, term);
    run_until_settled(c, 7 & ~(1u << leader));
    cluster_free(&c);
}

/* The leader hands over to two new nodes and goes, all in one change. */
static void test_leader_replaced_with_everybody_else(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 1);
    cluster_write_entries(c, 0, 100);
    struct raft_change all[] = {cluster_wish(RAFT_REMOVE, 0), cluster_wish(RAFT_ADD_VOTER, 2),
                                cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_ADD_VOTER, 4)};
    assert_int_equal(cluster_change(c, 0, all, 4), 0);
    run_until_settled(c, 28);
    cluster_write_entries(c, (unsigned)cluster_leader(c), 10);
    cluster_free(&c);
}

static void test_config_changes_are_told(void **state)
{
    (void)state;
    struct cluster *c = with_voters(1, 1);
    struct raft *core = c->nodes[0].core;
    assert_false(raft_effects(core)->config_changed);
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 1);
    struct raft_pos pos, in_force;
    assert_int_equal(raft_change_config(core, &add, 1, &pos), 0);
    const struct raft_effects *e = raft_effects(core);
    assert_true(e->config_changed);
    (void)raft_config(core, &in_force);
    assert_true(raft_pos_equal(pos, in_force));
    assert_false(raft_config_is_committed(core));
    raft_persisted(core, e->persist.seq);
    assert_true(raft_effects(core)->config_changed);
    assert_true(raft_config_is_committed(core));
    assert_false(raft_effects(core)->config_changed);
    c->by_hand = true; /* its effects were not carried out */
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_of_every_difference_completes),
        cmocka_unit_test(test_change_survives_crash_of_leader_at_every_step),
        cmocka_unit_test(test_change_is_refused_before_own_term_commit),
        cmocka_unit_test(test_change_is_refused_while_another_is_open),
        cmocka_unit_test(test_change_without_voters_is_refused_and_without_effect_is_nothing),
        cmocka_unit_test(test_joint_commit_needs_both_majorities),
        cmocka_unit_test(test_joint_is_left_once_whatever_follows),
        cmocka_unit_test(test_new_leader_uses_uncommitted_configuration),
        cmocka_unit_test(test_overwritten_change_rolls_back),
        cmocka_unit_test(test_joint_configuration_survives_restart),
        cmocka_unit_test(test_learner_is_added_promoted_demoted_and_removed),
        cmocka_unit_test(test_learner_does_not_count_for_commit),
        cmocka_unit_test(test_leader_removing_itself_leaves_after_commit),
        cmocka_unit_test(test_leader_removing_itself_goes_when_nobody_takes_over),
        cmocka_unit_test(test_leader_replaced_with_everybody_else),
        cmocka_unit_test(test_config_changes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
