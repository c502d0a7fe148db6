/* SPDX-License-Identifier: MIT
 * node/: how configured peers form a cluster, once and no other.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "node_world.h"

static void forget(struct node_request *r)
{
    node_request_free(&r);
}

static void configure_peers(struct world *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        w->nodes[i].options.n_peers = n;
        for (unsigned k = 0; k < n; k++)
            snprintf(w->nodes[i].options.peers[k], sizeof w->nodes[i].options.peers[k],
                     "127.0.0.1:%u", k + 1);
    }
}

static void test_peers_form_one_cluster_when_all_are_there(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    configure_peers(&w, 3);
    world_start(&w, 0);
    world_start(&w, 2);
    world_run(&w, 3000);
    assert_int_equal(world_leader(&w), -1); /* one is missing: nothing forms */
    world_start(&w, 1);
    assert_int_equal(world_write(&w, 2, "k", "v"), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(world_read(&w, i, "k", "v"), 0);
        assert_true(uuid_equal(w.nodes[i].disk.identity.cluster, w.nodes[0].disk.identity.cluster));
    }
    struct node_request *r = world_call(&w, 1, world_request(&w, NODE_INIT, 1000));
    assert_int_equal(r->err, ERR_NOT_ALLOWED);
    node_request_free(&r);
    world_free(&w);
}

/* The first of the list dies while its disk has not yet what makes the cluster. */
static void test_peers_form_again_when_the_founder_died_first(void **state)
{
    (void)state;
    for (unsigned n_writes = 0; n_writes < 5; n_writes++) {
        struct world w;
        world_init(&w, 3);
        configure_peers(&w, 3);
        w.nodes[0].disk.writes_left = n_writes;
        for (unsigned i = 0; i < 3; i++)
            world_start(&w, i);
        world_run(&w, 3000);
        world_kill(&w, 0);
        w.nodes[0].disk.writes_left = UINT_MAX;
        world_start(&w, 0);
        world_run(&w, 3000);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(world_write(&w, i, "k", "v"), 0);
        world_free(&w);
    }
}

/* Whoever waits for the first in the list asks now and then, and not as fast as it is answered. */
static void test_peers_that_wait_for_the_first_do_not_flood_each_other(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    configure_peers(&w, 3);
    w.nodes[0].disk.writes_left = 0; /* it never gets to ask for promises */
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    world_run(&w, 5000);
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(w.nodes[i].driver->exchanges.id_last, 2, 30);
    world_free(&w);
}

static void test_peers_with_different_lists_form_nothing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    configure_peers(&w, 3);
    snprintf(w.nodes[1].options.peers[0], sizeof w.nodes[1].options.peers[0], "127.0.0.1:2");
    snprintf(w.nodes[1].options.peers[1], sizeof w.nodes[1].options.peers[1], "127.0.0.1:1");
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    world_run(&w, 5000);
    assert_int_equal(world_leader(&w), -1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(uuid_is_zero(w.nodes[i].disk.identity.cluster));
    world_free(&w);
}

/* Two names for one machine: they cannot be two voters. */
static void test_peers_with_a_node_twice_form_nothing_and_say_so(void **state)
{
    (void)state;
    for (unsigned twice = 0; twice < 2; twice++) {
        struct world w;
        world_init(&w, 3);
        configure_peers(&w, 3);
        w.nodes[twice].alias = w.nodes[0].options.peers[2];
        w.n = 2; /* so nobody else lives there */
        world_start(&w, 0);
        world_start(&w, 1);
        world_run(&w, 5000);
        assert_int_equal(world_leader(&w), -1);
        struct node_status *s = mem_zalloc(sizeof *s);
        driver_status(w.nodes[0].driver, s);
        unsigned named = s->forming[2].err ? 2 : 1;
        assert_int_equal(s->forming[named].err, ERR_ID_MISMATCH);
        assert_int_equal(s->forming[3 - named].err, 0);
        mem_free(s);
        world_free(&w);
    }
}

/* One of them was told of the cluster before the last disk was lost. */
static void wipe_all_peers(struct world *w)
{
    world_kill(w, 2);
    world_kill(w, 1);
    world_wipe(w, 1);
    world_run(w, 2000); /* node 0, alone, leads no more */
    world_start(w, 1);
    world_run(w, 1500); /* it answers a HELLO of node 1, which cannot join without node 2 */
    assert_true(uuid_is_zero(w->nodes[1].disk.identity.cluster));
    world_kill(w, 1);
    world_kill(w, 0);
    world_wipe(w, 0);
    world_wipe(w, 2);
    for (unsigned i = 0; i < 3; i++)
        world_start(w, i);
}

static void test_peers_that_lost_all_disks_one_by_one_form_no_second_cluster(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    configure_peers(&w, 3);
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    wipe_all_peers(&w);
    world_run(&w, 5000);
    assert_int_equal(world_leader(&w), -1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(uuid_is_zero(w.nodes[i].disk.identity.cluster));
    assert_true(w.nodes[0].disk.identity.outsider); /* told by node 1, which refuses to promise */
    assert_true(w.nodes[1].disk.identity.outsider);
    world_free(&w);
}

static void test_peers_that_hear_of_another_cluster_form_none(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4);
    configure_peers(&w, 3);
    world_start(&w, 3);
    assert_int_equal(world_init_cluster(&w, 3), 0);
    world_start(&w, 1);
    /* Asked who it is, with another id in mind. */
    struct node_request *r = world_request(&w, NODE_ADD_LEARNER, 2000);
    r->in.add_learner.id = (struct uuid){9, 9};
    snprintf(r->in.add_learner.addr, sizeof r->in.add_learner.addr, "127.0.0.1:2");
    world_call(&w, 3, r);
    node_request_free(&r);
    world_start(&w, 0);
    world_start(&w, 2);
    world_run(&w, 5000);
    for (unsigned i = 0; i < 3; i++)
        assert_true(uuid_is_zero(w.nodes[i].disk.identity.cluster));
    /* It waits to be added. */
    assert_int_equal(world_add_learner(&w, 3, 1), 0);
    assert_true(uuid_equal(w.nodes[1].disk.identity.cluster, w.nodes[3].disk.identity.cluster));
    world_free(&w);
}

static void test_peer_with_wiped_disk_takes_its_place_again(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    configure_peers(&w, 3);
    for (unsigned i = 0; i < 3; i++)
        world_start(&w, i);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    world_kill(&w, 0);
    world_wipe(&w, 0);
    world_start(&w, 0);
    world_run(&w, 8000);
    world_wait_for_leader(&w);
    assert_int_equal(world_read(&w, 0, "k", "v"), 0);
    const struct raft_config *c = raft_config(w.nodes[1].driver->raft, NULL);
    assert_int_equal(c->n_members, 3);
    assert_int_equal(raft_config_n_voters(c), 3);
    assert_non_null(raft_config_find(c, world_id(&w, 0)));
    world_free(&w);
}

static void submit_hello(struct world *w, unsigned to, unsigned from)
{
    struct wire_message m = {
        .header = {.type = WIRE_HELLO, .from = world_id(w, from), .from_incarnation = 1}};
    struct node_request *r = world_request(w, NODE_PEER, 1000);
    r->in.peer.path = TRANSPORT_HELLO;
    r->done = forget;
    wire_encode(&m, &r->in.peer.body);
    driver_request(w->nodes[to].driver, r);
}

/* Both come in one turn, and the disk gets no further than to some of what follows. */
static void test_first_write_beside_a_hello_makes_a_whole_cluster_or_none(void **state)
{
    (void)state;
    for (unsigned n_writes = 0; n_writes < 4; n_writes++) {
        struct world w;
        world_init(&w, 2);
        world_start(&w, 0);
        world_run(&w, 2000);
        w.nodes[0].disk.writes_left = n_writes;
        struct node_request *r = world_set(&w, "k", "v", 5000);
        r->done = forget;
        driver_request(w.nodes[0].driver, r);
        submit_hello(&w, 0, 1);
        driver_pump(w.nodes[0].driver);
        const struct world_disk *disk = &w.nodes[0].disk;
        assert_int_equal(!uuid_is_zero(disk->identity.cluster), disk->n_log > 0);
        world_kill(&w, 0);
        w.nodes[0].disk.writes_left = UINT_MAX;
        world_start(&w, 0);
        bool is_one = disk->n_log > 0; /* else it was contacted, and makes none unasked */
        assert_int_equal(world_init_cluster(&w, 0), is_one ? ERR_NOT_ALLOWED : 0);
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_write_beside_a_hello_makes_a_whole_cluster_or_none),
        cmocka_unit_test(test_peers_form_one_cluster_when_all_are_there),
        cmocka_unit_test(test_peers_form_again_when_the_founder_died_first),
        cmocka_unit_test(test_peers_that_wait_for_the_first_do_not_flood_each_other),
        cmocka_unit_test(test_peers_with_different_lists_form_nothing),
        cmocka_unit_test(test_peers_with_a_node_twice_form_nothing_and_say_so),
        cmocka_unit_test(test_peers_that_lost_all_disks_one_by_one_form_no_second_cluster),
        cmocka_unit_test(test_peers_that_hear_of_another_cluster_form_none),
        cmocka_unit_test(test_peer_with_wiped_disk_takes_its_place_again),
    };
    return cmocka_run_group_tests_name("node form", tests, NULL, NULL);
}
