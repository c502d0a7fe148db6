/* SPDX-License-Identifier: MIT
 * node/: how leadership is given up: at an orderly stop, by transfer, by a disk
 * that stalls. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

static void test_stopping_leader_does_not_lead_again(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned old = (unsigned)world_leader(&w);
    struct node_request *r = world_set(&w, "k", "v", 5000);
    world_submit(&w, old, r);
    driver_stop(w.nodes[old].driver);
    world_run(&w, 3000);
    assert_int_not_equal(world_leader(&w), (int)old);
    assert_true(world_is_done(r)); /* carried through by the next leader */
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    assert_int_equal(world_version(&w, (old + 1) % 3, "k"), 1);
    r = world_call(&w, old, world_set(&w, "k", "w", 1000));
    assert_int_equal(r->err, ERR_SHUTDOWN);
    node_request_free(&r);
    world_kill(&w, (old + 1) % 3);
    world_kill(&w, (old + 2) % 3);
    world_run(&w, 2000);
    assert_int_equal(raft_status(w.nodes[old].driver->raft).role, RAFT_FOLLOWER); /* nor tries */
    world_free(&w);
}

/* 13: sooner than any election timeout, and what was under way goes through the next leader. */
static void test_stopping_leader_hands_over_without_a_gap(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned old = (unsigned)world_leader(&w), other = (old + 1) % 3;
    world_run(&w, 1000);
    struct node_request *own = world_set(&w, "own", "v", 5000);
    struct node_request *forwarded = world_set(&w, "forwarded", "v", 5000);
    world_submit(&w, other, forwarded);
    world_submit(&w, old, own);
    driver_stop(w.nodes[old].driver);
    assert_false(driver_is_idle(w.nodes[old].driver));
    world_run(&w, 50);
    assert_int_not_equal(world_leader(&w), (int)old);
    assert_int_not_equal(world_leader(&w), -1);
    world_run(&w, 100);
    assert_true(world_is_done(own) && own->err == 0);
    assert_true(world_is_done(forwarded) && forwarded->err == 0);
    assert_true(driver_is_idle(w.nodes[old].driver));
    node_request_free(&own);
    node_request_free(&forwarded);
    assert_int_equal(world_version(&w, other, "own"), 1);
    assert_int_equal(world_version(&w, other, "forwarded"), 1);
    world_free(&w);
}

/* Handing over alone refuses nobody: what comes meanwhile goes to the next leader. */
static void test_leader_hands_over_and_serves_on(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_run(&w, 1000);
    unsigned old = (unsigned)world_leader(&w);
    driver_hand_over(w.nodes[old].driver);
    assert_true(driver_is_handing_over(w.nodes[old].driver));
    assert_int_equal(world_write(&w, old, "k", "v"), 0);
    assert_int_equal(world_read(&w, old, "k", "v"), 0);
    assert_false(driver_is_handing_over(w.nodes[old].driver));
    assert_int_not_equal(world_leader(&w), (int)old);
    driver_hand_over(w.nodes[old].driver); /* there is nothing to hand over */
    assert_false(driver_is_handing_over(w.nodes[old].driver));
    world_free(&w);
}

/* Two voters: the one that stops must stay long enough for its vote to arrive. */
static void test_stopping_leader_of_two_votes_for_its_successor(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 2);
    world_run(&w, 1000);
    unsigned old = (unsigned)world_leader(&w);
    driver_stop(w.nodes[old].driver);
    while (!driver_is_idle(w.nodes[old].driver))
        world_run(&w, DRIVER_TICK_MS);
    world_kill(&w, old);
    assert_int_equal(world_leader(&w), (int)(1 - old));
    world_free(&w);
}

static void test_stopping_leader_that_nobody_can_follow_gives_up(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 2);
    world_run(&w, 1000);
    unsigned old = (unsigned)world_leader(&w);
    world_kill(&w, 1 - old);
    driver_stop(w.nodes[old].driver);
    world_run(&w, 2 * w.nodes[old].options.election_max_ms);
    assert_int_equal(raft_status(w.nodes[old].driver->raft).role, RAFT_FOLLOWER);
    assert_true(driver_is_idle(w.nodes[old].driver));
    world_free(&w);
}

/* 13, 50: during a transfer writes wait, also those of other nodes, and fail nobody. */
static void test_writes_wait_until_a_transfer_is_over(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_run(&w, 1000);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    unsigned target = (leader + 2) % 3;
    w.nodes[target].isolated = true;
    assert_int_equal(world_write(&w, leader, "k", "v"), 0); /* the target lacks it */
    assert_int_equal(raft_transfer(w.nodes[leader].driver->raft, world_id(&w, target)), 0);
    struct node_request *own = world_set(&w, "own", "v", 5000);
    struct node_request *forwarded = world_set(&w, "forwarded", "v", 5000);
    world_submit(&w, leader, own);
    world_submit(&w, follower, forwarded);
    world_run(&w, 100);
    assert_false(world_is_done(own));
    assert_false(world_is_done(forwarded));
    assert_int_equal(w.nodes[follower].driver->writes.forwards_in_flight, 1); /* asks once */
    world_run(&w, 500);
    assert_int_equal(world_leader(&w), (int)leader);
    assert_true(world_is_done(own) && own->err == 0);
    assert_true(world_is_done(forwarded) && forwarded->err == 0);
    node_request_free(&own);
    node_request_free(&forwarded);
    assert_int_equal(world_version(&w, leader, "forwarded"), 1);
    world_free(&w);
}

/* 14: its heartbeats would go on for ever, and no write would. */
static void test_leader_whose_disk_stalls_gives_way(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_run(&w, 1000);
    unsigned old = (unsigned)world_leader(&w);
    w.nodes[old].disk.stalled = true;
    struct node_request *r = world_set(&w, "k", "v", 10000);
    world_submit(&w, old, r);
    world_run(&w, 800);
    assert_int_equal(world_leader(&w), (int)old); /* not at once */
    world_run(&w, 2000);
    assert_int_not_equal(world_leader(&w), (int)old);
    assert_int_not_equal(world_leader(&w), -1);
    assert_int_equal(world_write(&w, (old + 1) % 3, "other", "v"), 0);
    w.nodes[old].disk.stalled = false;
    world_run(&w, 1000);
    assert_true(world_is_done(r) && r->err == 0);
    node_request_free(&r);
    assert_int_equal(world_version(&w, old, "k"), 1);
    world_free(&w);
}

/* A node with more in memory than it may have while its checkpoint lasts. */
static void let_checkpoint_fall_behind(struct world *w, unsigned leader)
{
    static char value[100 * 1024];
    memset(value, 'x', sizeof value - 1);
    w->nodes[leader].disk.jobs_last = true;
    for (unsigned i = 0; i < 20 && !checkpoint_is_behind(w->nodes[leader].driver); i++)
        assert_int_equal(world_write(w, leader, "k", value), 0);
    assert_true(checkpoint_is_behind(w->nodes[leader].driver));
}

/* A FORWARD of node `from` with one command, for the leader; the answer is this test's to read. */
static struct node_request *forward_new(struct world *w, unsigned from, unsigned leader)
{
    const struct storage_identity *f = &w->nodes[from].disk.identity;
    const struct storage_identity *to = &w->nodes[leader].disk.identity;
    struct node_request *r = world_request(w, NODE_PEER, 10000);
    struct wire_bytes command = {(const uint8_t *)"any", 3};
    struct wire_message m = {.header = {.type = WIRE_FORWARD,
                                        .cluster = to->cluster,
                                        .from = f->node,
                                        .to = to->node,
                                        .to_incarnation = to->incarnation,
                                        .from_incarnation = f->incarnation,
                                        .seq = 1}};
    m.header.term = raft_status(w->nodes[leader].driver->raft).term;
    m.forward.commands = &command;
    m.forward.n_commands = 1;
    r->in.peer.path = TRANSPORT_FORWARD;
    wire_encode(&m, &r->in.peer.body);
    return r;
}

/* 51: found by the simulator, seed 21764. The deadline is far, the checkpoint never ends. */
static void test_forward_held_behind_a_checkpoint_is_answered_at_step_down(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), other = (leader + 1) % 3;
    w.nodes[leader].driver->o.checkpoint_entries = 1;
    w.nodes[leader].driver->o.checkpoint_bytes = 1024;
    let_checkpoint_fall_behind(&w, leader);
    struct node_request *r = forward_new(&w, other, leader);
    world_submit(&w, leader, r);
    world_run(&w, 100);
    assert_true(driver_is_leader(w.nodes[leader].driver));
    assert_false(world_is_done(r)); /* held */
    w.nodes[leader].isolated = true;
    world_run(&w, 1000);
    assert_false(driver_is_leader(w.nodes[leader].driver));
    assert_true(checkpoint_is_behind(w.nodes[leader].driver));
    assert_true(world_is_done(r));
    struct wire_message answer;
    assert_int_equal(wire_decode(r->ret.reply.body.data, r->ret.reply.body.len, &answer), 0);
    assert_int_equal(answer.header.type, WIRE_FORWARD_REPLY);
    assert_int_equal(answer.forward_reply.n_results, 1);
    assert_int_equal(answer.forward_reply.results[0].err, ERR_NOT_LEADER);
    wire_message_free(&answer);
    node_request_free(&r);
    world_free(&w);
}

/* Three voters, and a learner that has caught up. */
static void start_with_learner(struct world *w)
{
    world_init(w, 5);
    for (unsigned i = 0; i < 5; i++)
        world_start(w, i);
    assert_int_equal(world_init_cluster(w, 0), 0);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(world_add_learner(w, 0, i), 0);
    assert_int_equal(world_change(w, 0, 7), 0);
}

/* Its change was replaced in the log by those of another leader, of which it hears all at once. */
static void test_paused_leader_does_not_take_another_change_for_its_own(void **state)
{
    (void)state;
    struct world w;
    start_with_learner(&w);
    unsigned old = (unsigned)world_leader(&w);
    struct node_request *r = world_request(&w, NODE_CHANGE_MEMBERSHIP, 20000);
    r->in.change_membership.n_ids = 4;
    for (unsigned i = 0; i < 4; i++)
        r->in.change_membership.ids[i] = world_id(&w, i);
    w.nodes[old].isolated = true;
    world_submit(&w, old, r);
    world_run(&w, 20);
    w.nodes[old].isolated = false;
    w.nodes[old].paused = true;
    world_wait_for_leader(&w);
    unsigned next = (unsigned)world_leader(&w);
    assert_int_equal(world_add_learner(&w, next, 4), 0);
    world_run(&w, 1000);
    w.nodes[old].paused = false;
    while (!world_is_done(r))
        world_run(&w, DRIVER_TICK_MS);
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    const struct raft_member *m = driver_member(w.nodes[next].driver, world_id(&w, 3));
    assert_int_equal(m->roles, RAFT_VOTER); /* it was changed, under the next leader */
    world_free(&w);
}

static struct node_request *about(struct world *w, unsigned at, enum node_request_type type,
                                  unsigned who)
{
    struct node_request *r = world_request(w, type, 10000);
    if (type == NODE_ADD_LEARNER)
        r->in.add_learner.id = world_id(w, who);
    else
        r->in.member.id = world_id(w, who);
    if (type == NODE_ADD_LEARNER)
        memcpy(r->in.add_learner.addr, w->nodes[who].options.addr, sizeof r->in.add_learner.addr);
    world_submit(w, at, r);
    return r;
}

/* What the leader alone has in its log may never come to be. */
static void test_leader_answers_nothing_by_a_change_that_is_not_committed(void **state)
{
    (void)state;
    static const enum node_request_type types[] = {NODE_ADD_LEARNER, NODE_MEMBER_REMOVE};
    static const int second_errs[] = {0, ERR_NOT_FOUND};
    for (unsigned k = 0; k < 2; k++) {
        struct world w;
        start_with_learner(&w);
        unsigned leader = (unsigned)world_leader(&w), who = types[k] == NODE_ADD_LEARNER ? 4 : 3;
        world_run(&w, 2000);
        for (unsigned i = 0; i < 5; i++)
            w.nodes[i].disk.stalled = i != leader;
        struct node_request *first = about(&w, leader, types[k], who);
        world_run(&w, 100);
        struct node_request *second = about(&w, leader, types[k], who);
        world_run(&w, 200);
        assert_false(world_is_done(first) || world_is_done(second));
        for (unsigned i = 0; i < 5; i++)
            w.nodes[i].disk.stalled = false;
        world_run(&w, 5000);
        assert_true(world_is_done(first) && first->err == 0);
        assert_true(world_is_done(second) && second->err == second_errs[k]);
        node_request_free(&first);
        node_request_free(&second);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopping_leader_does_not_lead_again),
        cmocka_unit_test(test_stopping_leader_hands_over_without_a_gap),
        cmocka_unit_test(test_leader_hands_over_and_serves_on),
        cmocka_unit_test(test_stopping_leader_of_two_votes_for_its_successor),
        cmocka_unit_test(test_stopping_leader_that_nobody_can_follow_gives_up),
        cmocka_unit_test(test_writes_wait_until_a_transfer_is_over),
        cmocka_unit_test(test_leader_whose_disk_stalls_gives_way),
        cmocka_unit_test(test_forward_held_behind_a_checkpoint_is_answered_at_step_down),
        cmocka_unit_test(test_paused_leader_does_not_take_another_change_for_its_own),
        cmocka_unit_test(test_leader_answers_nothing_by_a_change_that_is_not_committed),
    };
    return cmocka_run_group_tests_name("node leader", tests, NULL, NULL);
}
