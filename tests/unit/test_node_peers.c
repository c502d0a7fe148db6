/* SPDX-License-Identifier: MIT
 * node/: what is done with messages that are not meant for this node, or that
 * come late. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

/* What a message claims that is not so. */
enum lie { NO_LIE, OTHER_CLUSTER, OTHER_NODE, OTHER_DISK, SENDER_HAS_OTHER_DISK };

static const struct {
    enum lie lie;
    int code; /* of the refusal */
} lies[] = {
    {OTHER_CLUSTER, ERR_CLUSTER_MISMATCH}, /* 34: a restored backup, or old members of it */
    {OTHER_NODE, ERR_ID_MISMATCH},         /* 59: the address is somebody else's now */
    {OTHER_DISK, ERR_INCARNATION_MISMATCH},
    {SENDER_HAS_OTHER_DISK, ERR_INCARNATION_MISMATCH}, /* 41: it may have voted before */
};

/* A vote of node 1 for a term far ahead, sent to node 0. */
static void encode_vote(const struct world *w, enum lie lie, struct buf *out)
{
    const struct storage_identity *from = &w->nodes[1].disk.identity;
    const struct storage_identity *to = &w->nodes[0].disk.identity;
    struct wire_message m = {.header = {.type = WIRE_VOTE,
                                        .cluster = from->cluster,
                                        .from = from->node,
                                        .to = to->node,
                                        .to_incarnation = to->incarnation,
                                        .from_incarnation = from->incarnation,
                                        .term = 50,
                                        .seq = 1}};
    m.header.cluster.lo ^= lie == OTHER_CLUSTER;
    m.header.to.lo ^= lie == OTHER_NODE;
    m.header.to_incarnation ^= lie == OTHER_DISK;
    m.header.from_incarnation ^= lie == SENDER_HAS_OTHER_DISK;
    m.raft = (struct raft_message){
        .type = RAFT_VOTE, .from = m.header.from, .to = m.header.to, .term = 50, .seq = 1};
    m.raft.to_incarnation = m.header.to_incarnation;
    m.raft.vote.handed_over = true; /* else stickiness refuses it */
    m.raft.vote.last = (struct raft_pos){49, 1000};
    wire_encode(&m, out);
}

/* The code of the refusal; 0: none. */
static int ask_for_vote(struct world *w, enum lie lie)
{
    struct node_request *r = world_request(w, NODE_PEER, 1000);
    r->in.peer.path = TRANSPORT_VOTE;
    encode_vote(w, lie, &r->in.peer.body);
    world_call(w, 0, r);
    struct wire_message answer;
    assert_int_equal(wire_decode(r->ret.reply.body.data, r->ret.reply.body.len, &answer), 0);
    int code = answer.header.type == WIRE_REFUSED ? answer.refused.code : 0;
    wire_message_free(&answer);
    node_request_free(&r);
    return code;
}

static void test_message_meant_for_another_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_run(&w, 1000);
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint64_t term = raft_status(w.nodes[0].driver->raft).term;
        assert_int_equal(ask_for_vote(&w, lies[i].lie), lies[i].code);
        assert_int_equal(raft_status(w.nodes[0].driver->raft).term, term);
    }
    assert_int_equal(ask_for_vote(&w, NO_LIE), 0); /* the same, without any lie, is heard */
    assert_true(raft_status(w.nodes[0].driver->raft).term >= 50);
    world_free(&w);
}

/* 58: whoever slept knows it before it looks at what has piled up. */
static void test_leader_that_slept_gives_way_before_it_hears_anything(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    world_run(&w, 1000);
    unsigned leader = (unsigned)world_leader(&w);
    struct driver *d = w.nodes[leader].driver;
    driver_advance(d, w.now_ms + w.nodes[leader].options.election_min_ms / 2);
    assert_true(driver_is_leader(d));
    driver_advance(d, w.now_ms + 5000);
    assert_false(driver_is_leader(d));
    world_free(&w);
}

static unsigned n_asked(const struct world *w)
{
    unsigned n = 0;
    LIST_FOREACH (it, &w->asked)
        n++;
    return n;
}

/* Time stands still while one is put together: heartbeats go out in between. */
static void test_large_appends_are_sent_one_a_turn(void **state)
{
    (void)state;
    static char value[5 << 20];
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w);
    while (n_asked(&w) > 0)
        world_run(&w, DRIVER_TICK_MS);
    memset(value, 'x', sizeof value - 1);
    struct node_request *r = world_set(&w, "k", value, 5000);
    world_submit(&w, leader, r);
    assert_int_equal(n_asked(&w), 1);
    driver_pump(w.nodes[leader].driver);
    assert_int_equal(n_asked(&w), 2);
    driver_pump(w.nodes[leader].driver);
    assert_int_equal(n_asked(&w), 2);
    world_run(&w, 500);
    assert_true(world_is_done(r));
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_version(&w, i, "k"), 1);
    /* What waits when the node ends is dropped. */
    r = world_set(&w, "k", value, 5000);
    world_submit(&w, leader, r);
    world_kill(&w, leader);
    node_request_free(&r);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_meant_for_another_is_refused_and_changes_nothing),
        cmocka_unit_test(test_leader_that_slept_gives_way_before_it_hears_anything),
        cmocka_unit_test(test_large_appends_are_sent_one_a_turn),
    };
    return cmocka_run_group_tests_name("node peers", tests, NULL, NULL);
}
