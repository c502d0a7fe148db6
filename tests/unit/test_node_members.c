/* SPDX-License-Identifier: MIT
 * node/: members one by one, as /v1 has them: added by address, promoted when
 * they have caught up, demoted, removed, and leadership handed over; at the
 * leader and at followers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "node_world.h"

static struct node_request *add(struct world *w, unsigned at, const char *addr, bool voter)
{
    struct node_request *r = world_request(w, NODE_MEMBER_ADD, 3000);
    snprintf(r->in.member_add.addr, sizeof r->in.member_add.addr, "%s", addr);
    r->in.member_add.voter = voter;
    return world_call(w, at, r);
}

static int add_err(struct world *w, unsigned at, const char *addr, bool voter)
{
    struct node_request *r = add(w, at, addr, voter);
    int err = r->err;
    node_request_free(&r);
    return err;
}

static struct node_request *ask(struct world *w, unsigned at, enum node_request_type type,
                                struct uuid id)
{
    struct node_request *r = world_request(w, type, 3000);
    r->in.member.id = id;
    return world_call(w, at, r);
}

static int ask_err(struct world *w, unsigned at, enum node_request_type type, struct uuid id)
{
    struct node_request *r = ask(w, at, type, id);
    int err = r->err;
    node_request_free(&r);
    return err;
}

static unsigned roles_of(const struct world *w, unsigned at, struct uuid id)
{
    const struct raft_member *m = driver_member(w->nodes[at].driver, id);
    return m ? m->roles : 0;
}

static unsigned n_members(const struct world *w, unsigned at)
{
    return raft_config(w->nodes[at].driver->raft, NULL)->n_members;
}

static void start_all(struct world *w, unsigned n, unsigned n_voters)
{
    world_init(w, n);
    for (unsigned i = 0; i < n; i++)
        world_start(w, i);
    assert_int_equal(world_init_cluster(w, 0), 0);
    for (unsigned i = 1; i < n_voters; i++) {
        char addr[32];
        snprintf(addr, sizeof addr, "127.0.0.1:%u", i + 1);
        assert_int_equal(add_err(w, 0, addr, true), 0);
    }
}

/* ---- adding ---- */

static void test_member_add_by_address_makes_voters_one_by_one(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 5, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    struct node_request *r = add(&w, follower, "127.0.0.1:4", true);
    assert_int_equal(r->err, 0);
    assert_true(uuid_equal(r->ret.admin.id, world_id(&w, 3)));
    node_request_free(&r);
    assert_int_equal(roles_of(&w, leader, world_id(&w, 3)), RAFT_VOTER);
    assert_int_equal(add_err(&w, follower, "127.0.0.1:5", false), 0);
    world_run(&w, 1000);
    assert_int_equal(roles_of(&w, leader, world_id(&w, 4)), RAFT_LEARNER); /* and stays one */
    assert_int_equal(world_write(&w, 4, "k", "v"), 0);
    world_free(&w);
}

static void test_member_add_that_fails_leaves_the_cluster_as_it_was(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 4, 2);
    assert_int_equal(world_init_cluster(&w, 3), 0); /* of its own */
    struct raft_pos before, after;
    raft_config(w.nodes[0].driver->raft, &before);
    for (unsigned at = 0; at < 2; at++) {
        assert_int_equal(add_err(&w, at, "127.0.0.1:5", true), ERR_UNREACHABLE);
        struct node_request *r = add(&w, at, "127.0.0.1:4", true);
        assert_int_equal(r->err, ERR_CLUSTER_MISMATCH);
        assert_true(uuid_equal(r->ret.admin.found, w.nodes[3].disk.identity.cluster));
        assert_true(uuid_equal(r->ret.admin.cluster, w.nodes[0].disk.identity.cluster));
        node_request_free(&r);
        for (unsigned member = 0; member < 2; member++) {
            r = add(&w, at, member ? "127.0.0.1:2" : "127.0.0.1:1", member);
            assert_int_equal(r->err, ERR_EXISTS);
            assert_true(uuid_equal(r->ret.admin.id, world_id(&w, member)));
            node_request_free(&r);
        }
    }
    raft_config(w.nodes[0].driver->raft, &after);
    assert_true(raft_pos_equal(before, after));
    assert_int_equal(n_members(&w, 0), 2);
    world_free(&w);
}

/* The mark is in the configuration: whoever leads then promotes, though nobody asks any more. */
static void test_member_add_survives_its_leader(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 4, 3);
    unsigned leader = (unsigned)world_leader(&w);
    w.nodes[3].disk.stalled = true; /* it answers hello, and nothing that must be durable */
    struct node_request *r = world_request(&w, NODE_MEMBER_ADD, 60000);
    snprintf(r->in.member_add.addr, sizeof r->in.member_add.addr, "127.0.0.1:4");
    r->in.member_add.voter = true;
    world_submit(&w, leader, r);
    world_run(&w, 300);
    assert_int_equal(roles_of(&w, leader, world_id(&w, 3)), RAFT_LEARNER | RAFT_VOTER_SOON);
    world_kill(&w, leader);
    assert_true(world_is_done(r)); /* killed with it */
    node_request_free(&r);
    world_wait_for_leader(&w);
    unsigned next = (unsigned)world_leader(&w);
    assert_int_not_equal(next, leader);
    w.nodes[3].disk.stalled = false;
    world_run(&w, 3000);
    assert_int_equal(roles_of(&w, next, world_id(&w, 3)), RAFT_VOTER);
    world_free(&w);
}

/* Asked of a follower, it goes on at the next leader, and is no "member already" there. */
static void test_member_add_at_a_follower_survives_the_leader(void **state)
{
    (void)state;
    for (unsigned delay_ms = 0; delay_ms <= 200; delay_ms += 10) {
        struct world w;
        start_all(&w, 4, 3);
        unsigned leader = (unsigned)world_leader(&w);
        struct node_request *r = world_request(&w, NODE_MEMBER_ADD, 20000);
        snprintf(r->in.member_add.addr, sizeof r->in.member_add.addr, "127.0.0.1:4");
        r->in.member_add.voter = true;
        w.nodes[3].disk.stalled = true; /* it is a member, and no voter yet */
        world_submit(&w, (leader + 1) % 3, r);
        world_run(&w, delay_ms);
        world_kill(&w, leader);
        world_run(&w, 1500);
        w.nodes[3].disk.stalled = false;
        world_run(&w, 10000);
        assert_true(world_is_done(r));
        assert_int_equal(r->err, 0);
        node_request_free(&r);
        assert_int_equal(roles_of(&w, (unsigned)world_leader(&w), world_id(&w, 3)), RAFT_VOTER);
        world_free(&w);
    }
}

static void test_member_add_of_one_that_does_not_catch_up_times_out_and_goes_on(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 2);
    unsigned at =
        1 - (unsigned)world_leader(&w); /* the follower: the leader's answer comes first */
    w.nodes[2].disk.stalled = true;     /* answers hello, and nothing that must be durable */
    struct node_request *r = add(&w, at, "127.0.0.1:3", true);
    assert_int_equal(r->err, ERR_TIMEOUT);
    assert_true(uuid_equal(r->ret.admin.id, world_id(&w, 2)));
    node_request_free(&r);
    assert_int_equal(roles_of(&w, at, world_id(&w, 2)), RAFT_LEARNER | RAFT_VOTER_SOON);
    w.nodes[2].disk.stalled = false;
    world_run(&w, 3000);
    assert_int_equal(roles_of(&w, at, world_id(&w, 2)), RAFT_VOTER);
    world_free(&w);
}

/* Its disk was lost: the newcomer at its address takes its place, in one change. */
static void test_member_add_at_the_address_of_a_lost_disk_replaces_it(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    unsigned leader = (unsigned)world_leader(&w), lost = (leader + 1) % 3;
    char addr[32];
    snprintf(addr, sizeof addr, "127.0.0.1:%u", lost + 1);
    struct uuid old = world_id(&w, lost);
    world_kill(&w, lost);
    world_wipe(&w, lost);
    world_start(&w, lost);
    assert_int_equal(add_err(&w, leader, addr, true), 0);
    assert_int_equal(n_members(&w, leader), 3);
    assert_int_equal(roles_of(&w, leader, old), 0);
    assert_int_equal(roles_of(&w, leader, world_id(&w, lost)), RAFT_VOTER);
    world_free(&w);
}

/* ---- promote and demote ---- */

static void test_member_promote_and_demote_again_and_again(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 2);
    struct uuid id = world_id(&w, 2);
    assert_int_equal(add_err(&w, 0, "127.0.0.1:3", false), 0);
    for (unsigned at = 0; at < 2; at++) {
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_PROMOTE, id), 0);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_PROMOTE, id), 0); /* is one */
        assert_int_equal(roles_of(&w, at, id), RAFT_VOTER);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_DEMOTE, id), 0);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_DEMOTE, id), 0);
        world_run(&w, 500);
        assert_int_equal(roles_of(&w, at, id), RAFT_LEARNER);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_PROMOTE, (struct uuid){5, 5}), ERR_NOT_FOUND);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_DEMOTE, (struct uuid){5, 5}), ERR_NOT_FOUND);
        assert_int_equal(ask_err(&w, at, NODE_MEMBER_REMOVE, (struct uuid){5, 5}), ERR_NOT_FOUND);
    }
    world_free(&w);
}

static void test_member_demote_of_the_leader_hands_over_first(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    world_run(&w, 1500);
    unsigned leader = (unsigned)world_leader(&w);
    assert_int_equal(ask_err(&w, leader, NODE_MEMBER_DEMOTE, world_id(&w, leader)), 0);
    unsigned next = (unsigned)world_leader(&w);
    assert_int_not_equal(next, leader);
    assert_int_equal(roles_of(&w, next, world_id(&w, leader)), RAFT_LEARNER);
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_free(&w);
}

/* A node that is configured as a peer once asked at once to be a voter again. */
static void test_member_demote_of_a_configured_peer_lasts(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    for (unsigned i = 0; i < 3; i++) {
        w.nodes[i].options.n_peers = 3;
        for (unsigned k = 0; k < 3; k++)
            snprintf(w.nodes[i].options.peers[k], sizeof w.nodes[i].options.peers[k],
                     "127.0.0.1:%u", k + 1);
        world_start(&w, i);
    }
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    world_run(&w, 1500);
    unsigned leader = (unsigned)world_leader(&w), other = (leader + 1) % 3;
    assert_int_equal(ask_err(&w, leader, NODE_MEMBER_DEMOTE, world_id(&w, other)), 0);
    world_run(&w, 5000);
    assert_int_equal(roles_of(&w, leader, world_id(&w, other)), RAFT_LEARNER);
    world_free(&w);
}

/* ---- remove ---- */

static void test_member_remove_works_for_dead_nodes(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 2; at++) {
        struct world w;
        start_all(&w, 3, 3);
        unsigned leader = (unsigned)world_leader(&w), dead = (leader + 1) % 3;
        struct uuid id = world_id(&w, dead);
        world_kill(&w, dead);
        world_run(&w, 3000);
        unsigned node = at ? leader : (leader + 2) % 3;
        assert_int_equal(ask_err(&w, node, NODE_MEMBER_REMOVE, id), 0);
        assert_int_equal(n_members(&w, leader), 2);
        assert_int_equal(ask_err(&w, node, NODE_MEMBER_REMOVE, id), ERR_NOT_FOUND);
        world_free(&w);
    }
}

static void test_member_remove_that_would_lose_the_quorum_is_refused_with_figures(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    unsigned leader = (unsigned)world_leader(&w), dead = (leader + 1) % 3;
    unsigned other = (leader + 2) % 3;
    world_kill(&w, dead);
    world_run(&w, 3000);
    leader = (unsigned)world_leader(&w);
    other = 3 - leader - dead;
    for (unsigned i = 0; i < 4; i++) {
        enum node_request_type type = i & 1 ? NODE_MEMBER_DEMOTE : NODE_MEMBER_REMOVE;
        struct node_request *r = ask(&w, i & 2 ? leader : other, type, world_id(&w, other));
        assert_int_equal(r->err, ERR_NO_QUORUM);
        assert_int_equal(r->ret.admin.n_voters, 2);
        assert_int_equal(r->ret.admin.n_alive, 1);
        node_request_free(&r);
    }
    assert_int_equal(n_members(&w, leader), 3);
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_free(&w);
}

/* At once after an election nobody is known to be dead. */
static void test_member_remove_soon_after_an_election_knows_the_dead(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 5, 5);
    unsigned leader = (unsigned)world_leader(&w), mask = 0;
    for (unsigned i = 0, n = 0; n < 2; i++) /* the leader and one more: 3 of 5 are left */
        if (i == leader || n == 0 || (i > leader && !(mask & 1u << i))) {
            mask |= 1u << i;
            n++;
            world_kill(&w, i);
        }
    if (!(mask & 1u << leader)) {
        world_kill(&w, leader);
        mask |= 1u << leader;
    }
    world_wait_for_leader(&w);
    unsigned next = (unsigned)world_leader(&w), other = next;
    for (unsigned i = 0; i < 5; i++)
        if (i != next && w.nodes[i].driver)
            other = i;
    struct node_request *r = ask(&w, next, NODE_MEMBER_REMOVE, world_id(&w, other));
    assert_int_equal(r->err, ERR_NO_QUORUM);
    assert_int_equal(r->ret.admin.n_voters, 4);
    node_request_free(&r);
    world_free(&w);
}

static void test_member_remove_of_the_leader_hands_over_first(void **state)
{
    (void)state;
    for (unsigned at_leader = 0; at_leader < 2; at_leader++) {
        struct world w;
        start_all(&w, 3, 3);
        world_run(&w, 1500);
        unsigned leader = (unsigned)world_leader(&w), at = at_leader ? leader : (leader + 1) % 3;
        struct node_request *write = world_set(&w, "k", "v", 5000);
        struct node_request *r = world_request(&w, NODE_MEMBER_REMOVE, 3000);
        r->in.member.id = world_id(&w, leader);
        world_submit(&w, at, r);
        world_submit(&w, (leader + 1) % 3, write);
        uint64_t from_ms = w.now_ms;
        while (!world_is_done(r) || !world_is_done(write))
            world_run(&w, 10);
        assert_int_equal(r->err, 0);
        assert_int_equal(write->err, 0);
        assert_in_range(w.now_ms - from_ms, 1, 1500);
        node_request_free(&r);
        node_request_free(&write);
        unsigned next = (unsigned)world_leader(&w);
        assert_int_not_equal(next, leader);
        assert_int_equal(roles_of(&w, next, world_id(&w, leader)), 0);
        world_free(&w);
    }
}

static void test_member_remove_of_the_last_voter_is_refused(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 2, 1);
    assert_int_equal(add_err(&w, 0, "127.0.0.1:2", false), 0);
    assert_int_equal(ask_err(&w, 0, NODE_MEMBER_REMOVE, world_id(&w, 0)), ERR_EMPTY);
    assert_int_equal(ask_err(&w, 1, NODE_MEMBER_DEMOTE, world_id(&w, 0)), ERR_EMPTY);
    assert_int_equal(ask_err(&w, 1, NODE_MEMBER_REMOVE, world_id(&w, 1)), 0); /* a learner */
    world_free(&w);
}

static void test_member_commands_without_a_leader_are_not_attempted(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    struct uuid id = world_id(&w, 0);
    world_kill(&w, 0);
    world_kill(&w, 1);
    world_run(&w, 3000);
    assert_int_equal(add_err(&w, 2, "127.0.0.1:4", true), ERR_NO_LEADER);
    assert_int_equal(ask_err(&w, 2, NODE_MEMBER_REMOVE, id), ERR_NO_LEADER);
    assert_int_equal(ask_err(&w, 2, NODE_MEMBER_PROMOTE, id), ERR_NO_LEADER);
    assert_int_equal(ask_err(&w, 2, NODE_MEMBER_DEMOTE, id), ERR_NO_LEADER);
    assert_int_equal(ask_err(&w, 2, NODE_TRANSFER, UUID_ZERO), ERR_NO_LEADER);
    world_free(&w);
}

/* ---- transfer ---- */

static void test_transfer_goes_where_it_is_told(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 4, 3);
    assert_int_equal(add_err(&w, 0, "127.0.0.1:4", false), 0);
    for (unsigned k = 0; k < 8; k++) {
        world_run(&w, 500);
        unsigned leader = (unsigned)world_leader(&w), to = (leader + 1) % 3;
        unsigned at = k % 4;
        bool anybody = k & 4;
        struct node_request *r = ask(&w, at, NODE_TRANSFER, anybody ? UUID_ZERO : world_id(&w, to));
        assert_int_equal(r->err, 0);
        assert_true(uuid_equal(r->ret.admin.id, world_id(&w, (unsigned)world_leader(&w))));
        assert_int_not_equal(world_leader(&w), (int)leader);
        if (!anybody)
            assert_int_equal(world_leader(&w), (int)to);
        node_request_free(&r);
    }
    unsigned leader = (unsigned)world_leader(&w);
    for (unsigned at = 0; at < 4; at++) {
        assert_int_equal(ask_err(&w, at, NODE_TRANSFER, world_id(&w, 3)), ERR_NOT_ALLOWED);
        assert_int_equal(ask_err(&w, at, NODE_TRANSFER, (struct uuid){5, 5}), ERR_NOT_FOUND);
        assert_int_equal(ask_err(&w, at, NODE_TRANSFER, world_id(&w, leader)), 0); /* leads */
    }
    assert_int_equal(world_leader(&w), (int)leader);
    world_free(&w);
}

static void test_transfer_to_the_dead_is_refused_and_writes_go_on(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    unsigned leader = (unsigned)world_leader(&w), dead = (leader + 1) % 3;
    struct uuid id = world_id(&w, dead);
    world_kill(&w, dead);
    world_run(&w, 3000);
    assert_int_equal(ask_err(&w, (leader + 2) % 3, NODE_TRANSFER, id), ERR_UNREACHABLE);
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_free(&w);
    start_all(&w, 1, 1);
    assert_int_equal(ask_err(&w, 0, NODE_TRANSFER, UUID_ZERO), ERR_UNREACHABLE);
    world_free(&w);
}

/* ---- status ---- */

static struct node_request *status(struct world *w, unsigned at)
{
    struct node_request *r = world_request(w, NODE_STATUS, 3000);
    r->in.status.of_leader = true;
    return world_call(w, at, r);
}

static void test_status_is_the_leaders_at_every_node(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    unsigned leader = (unsigned)world_leader(&w), dead = (leader + 1) % 3;
    struct uuid id = world_id(&w, dead);
    world_kill(&w, dead);
    world_run(&w, 3000);
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    for (unsigned at = 0; at < 3; at++) {
        if (at == dead)
            continue;
        struct node_request *r = status(&w, at);
        const struct node_status *s = r->ret.status;
        assert_int_equal(r->err, 0);
        assert_true(s->leader_view);
        assert_int_equal(s->n_members, 3);
        for (unsigned i = 0; i < 3; i++) {
            const struct node_member_status *m = &s->members[i];
            bool is_dead = uuid_equal(m->id, id);
            assert_true(m->voter);
            assert_int_equal(m->alive, !is_dead);
            if (is_dead)
                assert_in_range(m->lag, 1, 10);
            else
                assert_int_equal(m->lag, 0);
        }
        node_request_free(&r);
    }
    world_free(&w);
}

static void test_status_without_a_leader_is_what_the_node_knows(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 3, 3);
    world_kill(&w, 0);
    world_kill(&w, 1);
    world_run(&w, 3000);
    struct node_request *r = status(&w, 2);
    assert_int_equal(r->err, 0);
    assert_false(r->ret.status->leader_view);
    assert_int_equal(r->ret.status->n_members, 3);
    node_request_free(&r);
    world_free(&w);
}

/* A leader that does not answer holds up nobody for long. */
static void test_status_of_a_silent_leader_comes_all_the_same(void **state)
{
    (void)state;
    struct world w;
    start_all(&w, 2, 2);
    unsigned leader = (unsigned)world_leader(&w);
    w.nodes[leader].isolated = true;
    struct node_request *r = status(&w, 1 - leader);
    assert_int_equal(r->err, 0);
    assert_false(r->ret.status->leader_view);
    node_request_free(&r);
    world_free(&w);
}

static void test_status_of_a_node_that_forms_names_the_silent_peer(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    for (unsigned i = 0; i < 3; i++) {
        w.nodes[i].options.n_peers = 3;
        for (unsigned k = 0; k < 3; k++)
            snprintf(w.nodes[i].options.peers[k], sizeof w.nodes[i].options.peers[k],
                     "127.0.0.1:%u", k + 1);
    }
    world_start(&w, 0);
    world_start(&w, 1);
    world_run(&w, 3000);
    for (unsigned at = 0; at < 2; at++) {
        struct node_request *r = status(&w, at);
        const struct node_status *s = r->ret.status;
        assert_int_equal(s->n_forming, 3);
        assert_true(s->forming[at].is_self);
        assert_int_equal(s->forming[1 - at].err, 0);
        assert_int_equal(s->forming[2].err, ERR_UNREACHABLE);
        node_request_free(&r);
    }
    snprintf(w.nodes[2].options.peers[1], sizeof w.nodes[2].options.peers[1], "127.0.0.1:9");
    world_start(&w, 2);
    world_run(&w, 3000);
    struct node_request *r = status(&w, 0);
    assert_int_equal(r->ret.status->forming[1].err, 0);
    assert_int_equal(r->ret.status->forming[2].err, ERR_NOT_ALLOWED); /* its list differs */
    node_request_free(&r);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_member_add_by_address_makes_voters_one_by_one),
        cmocka_unit_test(test_member_add_that_fails_leaves_the_cluster_as_it_was),
        cmocka_unit_test(test_member_add_survives_its_leader),
        cmocka_unit_test(test_member_add_at_a_follower_survives_the_leader),
        cmocka_unit_test(test_member_add_of_one_that_does_not_catch_up_times_out_and_goes_on),
        cmocka_unit_test(test_member_add_at_the_address_of_a_lost_disk_replaces_it),
        cmocka_unit_test(test_member_promote_and_demote_again_and_again),
        cmocka_unit_test(test_member_demote_of_the_leader_hands_over_first),
        cmocka_unit_test(test_member_demote_of_a_configured_peer_lasts),
        cmocka_unit_test(test_member_remove_works_for_dead_nodes),
        cmocka_unit_test(test_member_remove_that_would_lose_the_quorum_is_refused_with_figures),
        cmocka_unit_test(test_member_remove_soon_after_an_election_knows_the_dead),
        cmocka_unit_test(test_member_remove_of_the_leader_hands_over_first),
        cmocka_unit_test(test_member_remove_of_the_last_voter_is_refused),
        cmocka_unit_test(test_member_commands_without_a_leader_are_not_attempted),
        cmocka_unit_test(test_transfer_goes_where_it_is_told),
        cmocka_unit_test(test_transfer_to_the_dead_is_refused_and_writes_go_on),
        cmocka_unit_test(test_status_is_the_leaders_at_every_node),
        cmocka_unit_test(test_status_without_a_leader_is_what_the_node_knows),
        cmocka_unit_test(test_status_of_a_silent_leader_comes_all_the_same),
        cmocka_unit_test(test_status_of_a_node_that_forms_names_the_silent_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
