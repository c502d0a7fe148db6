/* SPDX-License-Identifier: MIT
 * node/: what a full disk refuses, what goes on, and that it ends (PITFALLS 56).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

static const struct storage_space PLENTY = {
    .disk_free = 1 << 30, .reserve = 8 << 20, .log_room = 1 << 30};
static const struct storage_space LITTLE = {
    .disk_free = 1 << 20, .reserve = 8 << 20, .log_room = 5 << 20};
static const struct storage_space NONE = {.reserve = 8 << 20};

static void give(struct world *w, unsigned nodes_mask, const struct storage_space *space)
{
    for (unsigned i = 0; i < w->n; i++)
        if (nodes_mask & 1u << i)
            w->nodes[i].disk.space = *space;
}

/* Three nodes with room; *ret_leader leads. */
static void start(struct world *w, unsigned *ret_leader)
{
    world_cluster(w, 3);
    give(w, 7, &PLENTY);
    world_run(w, 500);
    *ret_leader = (unsigned)world_leader(w);
    assert_int_equal(world_write(w, *ret_leader, "k", "v"), 0);
}

static int remove_key(struct world *w, unsigned i, const char *key)
{
    struct node_request *r = world_request(w, NODE_WRITE, 5000);
    struct kv_op op = {.type = KV_OP_DELETE, .key = (const uint8_t *)key, .key_len = strlen(key)};
    kv_body_encode(KV_SINGLE, &op, 1, &r->in.write.body);
    int err = world_call(w, i, r)->err;
    node_request_free(&r);
    return err;
}

static void test_full_leader_hands_over_and_no_write_is_refused_after(void **state)
{
    (void)state;
    struct world w;
    unsigned old;
    start(&w, &old);
    give(&w, 1u << old, &LITTLE);
    world_run(&w, 1000);
    assert_int_not_equal(world_leader(&w), (int)old);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_write(&w, i, "k", "w"), 0);
    world_free(&w);
}

static void test_all_full_refuse_sets_at_every_node_and_nothing_else(void **state)
{
    (void)state;
    struct world w;
    unsigned leader;
    start(&w, &leader);
    give(&w, 7, &LITTLE);
    world_run(&w, 1000);
    leader = (unsigned)world_leader(&w);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(world_write(&w, i, "k", "w"), ERR_NO_SPACE);
        assert_int_equal(world_read(&w, i, "k", "v"), 0);
    }
    assert_int_equal(remove_key(&w, (leader + 1) % 3, "k"), 0);
    assert_int_equal(world_read(&w, leader, "k", NULL), 0);
    assert_int_equal(world_change(&w, leader, 1u << leader | 1u << (leader + 1) % 3), 0);
    give(&w, 7, &PLENTY);
    world_run(&w, 1000);
    assert_int_equal(world_write(&w, leader, "k", "w"), 0);
    world_free(&w);
}

static void test_node_with_room_for_nothing_refuses_deletes_and_loses_none(void **state)
{
    (void)state;
    struct world w;
    unsigned leader;
    start(&w, &leader);
    give(&w, 7, &NONE);
    world_run(&w, 1000);
    leader = (unsigned)world_leader(&w);
    assert_int_equal(remove_key(&w, leader, "k"), ERR_NO_SPACE);
    assert_int_equal(world_read(&w, leader, "k", "v"), 0);
    give(&w, 7, &LITTLE);
    world_run(&w, 1000);
    assert_int_equal(remove_key(&w, (unsigned)world_leader(&w), "k"), 0);
    world_free(&w);
}

/* Its disk must not meet what it has no room for; the others go on. */
static void test_follower_without_room_takes_no_entries_until_it_has(void **state)
{
    (void)state;
    struct world w;
    unsigned leader;
    start(&w, &leader);
    unsigned follower = (leader + 1) % 3;
    give(&w, 1u << follower, &NONE);
    world_run(&w, 200);
    unsigned before = w.nodes[follower].disk.n_log;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(world_write(&w, leader, "k", "w"), 0);
    world_run(&w, 1000);
    assert_int_equal(w.nodes[follower].disk.n_log, before);
    assert_int_equal(world_leader(&w), (int)leader); /* and it disturbs nobody */
    give(&w, 1u << follower, &PLENTY);
    world_run(&w, 1000);
    assert_int_equal(world_version(&w, follower, "k"), 6);
    world_free(&w);
}

static void test_room_in_between_does_not_flap(void **state)
{
    (void)state;
    struct world w;
    unsigned leader;
    struct storage_space space = PLENTY;
    start(&w, &leader);
    space.disk_free = space.reserve - (1 << 20);
    give(&w, 7, &space);
    world_run(&w, 1000);
    leader = (unsigned)world_leader(&w);
    assert_int_equal(world_write(&w, leader, "k", "w"), ERR_NO_SPACE);
    space.disk_free = space.reserve + (1 << 20);
    give(&w, 7, &space);
    world_run(&w, 1000);
    assert_int_equal(world_write(&w, leader, "k", "w"), ERR_NO_SPACE);
    space.spare = 8 << 20; /* deletions made room within the state's files */
    give(&w, 7, &space);
    world_run(&w, 1000);
    assert_int_equal(world_write(&w, leader, "k", "w"), 0);
    world_free(&w);
}

static void test_log_that_reached_its_size_is_full(void **state)
{
    (void)state;
    struct world w;
    unsigned leader;
    struct storage_space space = PLENTY;
    start(&w, &leader);
    space.log_is_full = true;
    give(&w, 7, &space);
    world_run(&w, 1000);
    assert_int_equal(world_write(&w, (unsigned)world_leader(&w), "k", "w"), ERR_NO_SPACE);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_leader_hands_over_and_no_write_is_refused_after),
        cmocka_unit_test(test_all_full_refuse_sets_at_every_node_and_nothing_else),
        cmocka_unit_test(test_node_with_room_for_nothing_refuses_deletes_and_loses_none),
        cmocka_unit_test(test_follower_without_room_takes_no_entries_until_it_has),
        cmocka_unit_test(test_room_in_between_does_not_flap),
        cmocka_unit_test(test_log_that_reached_its_size_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
