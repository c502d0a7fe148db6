/* SPDX-License-Identifier: MIT
 * raft/: disks that stall or forget, as protocol stories. Numbers are items of
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

/* ---- stalls ---- */

/* 14: followers hear heartbeats and would wait for ever. */
static void test_leader_whose_disk_stalls_steps_down(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_pos pos;
    c->late_disk[0] = true;
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    cluster_run_node(c, 0, DISK_STALL_TICKS);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_false(cluster_status(c, 0).disk_stalled);
    cluster_run_node(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
    assert_true(cluster_status(c, 0).disk_stalled);
    cluster_run(c, 4 * ELECTION_TICKS_MAX);
    assert_true(cluster_leader(c) > 0);
    cluster_write_entries(c, (unsigned)cluster_leader(c), 1);
    cluster_free(&c);
}

/* 14: nor does it come back before the disk does, though nobody else campaigns. */
static void test_stalled_node_does_not_campaign_until_its_disk_answers(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_pos pos;
    c->late_disk[0] = true;
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    cluster_run_node(c, 0, DISK_STALL_TICKS + 4 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 0).term, pos.term);
    c->late_disk[0] = false;
    cluster_write(c, 0, UINT32_MAX);
    assert_false(cluster_status(c, 0).disk_stalled);
    cluster_tick(c, 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_PRE_CANDIDATE);
    cluster_free(&c);
}

/* A pre-vote that comes home after the disk stalled begins no election. */
static void test_stalled_candidate_does_not_go_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), node = (leader + 1) % 3, other = (leader + 2) % 3;
    uint64_t term = cluster_status(c, node).term, seq = 0;
    c->late_disk[node] = true;
    cluster_write_entries(c, leader, 1);
    while (!cluster_status(c, node).disk_stalled) {
        cluster_tick(c, node);
        if (cluster_find(c, RAFT_VOTE, node, other))
            seq = cluster_find(c, RAFT_VOTE, node, other)->seq;
        cluster_drop_all(c);
    }
    assert_int_equal(cluster_status(c, node).role, RAFT_PRE_CANDIDATE);
    struct raft_message yes = cluster_message(RAFT_VOTE_REPLY, other, node, term + 1, seq);
    yes.vote_reply.pre = yes.vote_reply.granted = true;
    assert_int_equal(cluster_receive(c, node, &yes), 0);
    assert_int_equal(cluster_status(c, node).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, node).term, term);
    cluster_free(&c);
}

/* Slow is not stalled: as long as records are completed, the leader stays. */
static void test_leader_whose_disk_is_slow_but_goes_on_stays(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_pos pos;
    c->late_disk[0] = true;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(cluster_propose(c, 0, &pos), 0);
    for (unsigned i = 0; i < 8; i++) {
        cluster_run_node(c, 0, DISK_STALL_TICKS - 1);
        assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
        cluster_write(c, 0, 1);
    }
    cluster_run_node(c, 0, 2 * DISK_STALL_TICKS); /* idle: nothing is owed */
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    cluster_run_node(c, 0, DISK_STALL_TICKS - 1);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER); /* time counts from the record on */
    cluster_free(&c);
}

/* ---- disks that forget ---- */

static bool has_lost_data(const struct cluster *c, unsigned node)
{
    struct raft_peer_status peer;
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(node), &peer), 0);
    assert_true(!peer.lost_data || (peer.match == 0 && peer.in_flight == 0));
    return peer.lost_data;
}

/* Node 1's disk is set back by n entries, as by an old image of it. */
static struct cluster *with_1_set_back(unsigned n)
{
    struct cluster *c = led_by_0(3, 3);
    cluster_crash(c, 1);
    cluster_roll_back(c, 1, n);
    cluster_restart(c, 1);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    return c;
}

/* 41: what it acknowledged may be committed because of it. */
static void test_follower_set_back_counts_in_no_quorum(void **state)
{
    (void)state;
    struct cluster *c = with_1_set_back(1);
    struct raft_pos pos;
    assert_true(has_lost_data(c, 1));
    assert_false(has_lost_data(c, 2));
    cluster_write_entries(c, 0, 3); /* with 2 */
    uint64_t commit = cluster_status(c, 0).commit;
    assert_int_equal(commit, cluster_status(c, 0).last.index);
    assert_true(cluster_status(c, 1).last.index < commit - 3);
    assert_true(has_lost_data(c, 1)); /* it gets nothing any more */
    c->cut[0][2] = c->cut[2][0] = true;
    uint64_t ctx = cluster_read(c, 0);
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    cluster_run_node(c, 0, 2 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, 0).commit, commit);
    assert_null(cluster_read_result(c, 0, ctx));
    cluster_run_node(c, 0, ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER); /* no quorum is in contact */
    cluster_free(&c);
}

/* 41: nor does anybody hand over to it. */
static void test_follower_set_back_takes_nothing_over(void **state)
{
    (void)state;
    struct cluster *c = with_1_set_back(2);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), ERR_NOT_ALLOWED);
    assert_int_equal(cluster_transfer(c, 0, UUID_ZERO), 0);
    assert_true(uuid_equal(cluster_status(c, 0).transfer_to, cluster_id(2)));
    cluster_free(&c);

    c = led_by_0(3, 3); /* found out while it is the target */
    cluster_crash(c, 1);
    cluster_roll_back(c, 1, 1);
    cluster_write_entries(c, 0, 1);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    cluster_restart(c, 1);
    cluster_run_node(c, 0, 2 * HEARTBEAT_TICKS);
    assert_true(has_lost_data(c, 1));
    assert_null(cluster_find(c, RAFT_TIMEOUT_NOW, 0, 1));
    cluster_run_node(c, 0, ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    cluster_free(&c);
}

/* The news comes as an effect, once. */
static void test_follower_set_back_is_told_once(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    cluster_crash(c, 1);
    cluster_roll_back(c, 1, 1);
    cluster_restart(c, 1);
    while (!cluster_find(c, RAFT_APPEND_REPLY, 1, 0)) {
        cluster_tick(c, 0);
        for (unsigned n = c->n_in_flight; n > 0; n--)
            cluster_deliver(c, 0);
    }
    struct raft_message refusal = *cluster_find(c, RAFT_APPEND_REPLY, 1, 0);
    assert_false(refusal.append_reply.success);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(raft_receive(c->nodes[0].core, &refusal), 0);
        assert_int_equal(raft_effects(c->nodes[0].core)->peer_lost_data, i == 0);
    }
    cluster_free(&c);
}

/* An honest disk loses only what it never acknowledged; old refusals are old news. */
static void test_follower_with_an_honest_disk_is_not_suspected(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    c->late_disk[1] = true;
    cluster_write_entries(c, 0, 3);
    cluster_crash(c, 1); /* the three are lost, or some */
    cluster_restart(c, 1);
    c->late_disk[1] = false;
    cluster_write_entries(c, 0, 1);
    cluster_run(c, 8 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, 1).commit, cluster_status(c, 0).commit);
    assert_false(has_lost_data(c, 1));

    cluster_crash(c, 1); /* it misses two entries and refuses what comes after them */
    cluster_write_entries(c, 0, 2);
    cluster_restart(c, 1);
    struct raft_pos pos;
    struct raft_message refusal = {.type = RAFT_APPEND};
    while (refusal.type != RAFT_APPEND_REPLY || refusal.append_reply.success) {
        (void)cluster_propose(c, 0, &pos);
        cluster_tick(c, 0);
        for (unsigned n = c->n_in_flight; n > 0; n--)
            cluster_deliver(c, 0);
        if (cluster_find(c, RAFT_APPEND_REPLY, 1, 0))
            refusal = *cluster_find(c, RAFT_APPEND_REPLY, 1, 0);
    }
    cluster_run(c, 8 * HEARTBEAT_TICKS);
    struct raft_peer_status peer;
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(1), &peer), 0);
    assert_true(refusal.append_reply.rejected <= peer.match);
    assert_int_equal(cluster_receive(c, 0, &refusal), 0);
    assert_false(has_lost_data(c, 1));
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_whose_disk_stalls_steps_down),
        cmocka_unit_test(test_stalled_node_does_not_campaign_until_its_disk_answers),
        cmocka_unit_test(test_stalled_candidate_does_not_go_on),
        cmocka_unit_test(test_leader_whose_disk_is_slow_but_goes_on_stays),
        cmocka_unit_test(test_follower_set_back_counts_in_no_quorum),
        cmocka_unit_test(test_follower_set_back_takes_nothing_over),
        cmocka_unit_test(test_follower_set_back_is_told_once),
        cmocka_unit_test(test_follower_with_an_honest_disk_is_not_suspected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
