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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_whose_disk_stalls_steps_down),
        cmocka_unit_test(test_stalled_node_does_not_campaign_until_its_disk_answers),
        cmocka_unit_test(test_stalled_candidate_does_not_go_on),
        cmocka_unit_test(test_leader_whose_disk_is_slow_but_goes_on_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
