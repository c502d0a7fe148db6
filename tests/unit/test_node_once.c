/* SPDX-License-Identifier: MIT
 * node/: writes with a name of the client's, through any node, and the clock by
 * which the names are forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kv/idempotency.h"
#include "node_world.h"

#define S 1000u

static struct node_request *named(struct world *w, const char *name, const char *value,
                                  uint32_t timeout_ms)
{
    struct node_request *r = world_request(w, NODE_WRITE, timeout_ms);
    struct kv_once once = {.name = (const uint8_t *)name, .name_len = strlen(name)};
    struct kv_op op = {.type = KV_OP_SET,
                       .key = (const uint8_t *)"k",
                       .key_len = 1,
                       .value = (const uint8_t *)value,
                       .value_len = strlen(value)};
    once.fingerprint[0] = (uint8_t)value[0];
    kv_once_encode(&once, &r->in.write.body);
    kv_body_encode(KV_SINGLE, &op, 1, &r->in.write.body);
    return r;
}

/* Its log index, or its error. */
static int64_t write_named(struct world *w, unsigned i, const char *name, const char *value)
{
    struct node_request *r = world_call(w, i, named(w, name, value, 5 * S));
    int64_t result = r->err ? r->err : (int64_t)r->ret.write.log_id.index;
    node_request_free(&r);
    return result;
}

static struct kv_stats stats(const struct world *w, unsigned i)
{
    return machine_stats(w->nodes[i].driver->machine);
}

static uint64_t last_index(const struct world *w, unsigned i)
{
    return raft_status(w->nodes[i].driver->raft).last.index;
}

static void test_once_repeated_at_every_node_is_applied_once(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    int64_t first = write_named(&w, 0, "a", "v");
    assert_true(first > 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_named(&w, i, "a", "v"), first);
    assert_int_equal(world_version(&w, 0, "k"), 1);
    world_free(&w);
}

static void test_once_client_of_a_leader_that_died_asks_another(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), other = (leader + 1) % 3;
    struct node_request *r = named(&w, "a", "v", 20 * S);
    w.nodes[leader].disk.stalled = true; /* the others have it, the client has no answer */
    world_submit(&w, leader, r);
    world_run(&w, 50);
    w.nodes[leader].disk.stalled = false;
    world_kill(&w, leader);
    node_request_free(&r);
    world_wait_for_leader(&w);
    world_run(&w, S);
    assert_int_equal(world_version(&w, other, "k"), 1);
    assert_true(write_named(&w, other, "a", "v") > 0);
    assert_int_equal(world_version(&w, other, "k"), 1);
    world_start(&w, leader);
    world_run(&w, S);
    assert_true(write_named(&w, leader, "a", "v") > 0);
    assert_int_equal(world_version(&w, leader, "k"), 1);
    world_free(&w);
}

static void test_once_other_request_is_refused_at_once_at_every_node(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    assert_true(write_named(&w, 0, "a", "v") > 0);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t start_ms = w.now_ms;
        assert_int_equal(write_named(&w, i, "a", "w"), ERR_CONFLICT);
        assert_true(w.now_ms - start_ms < S);
    }
    assert_int_equal(world_read(&w, 1, "k", "v"), 0);
    world_free(&w);
}

static void test_clock_is_told_while_something_waits_for_it(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    world_run(&w, 60 * S);
    uint64_t index = last_index(&w, 0);
    assert_int_equal(write_named(&w, 0, "a", "v"), index + 1);
    world_run(&w, 20 * S);
    assert_in_range(last_index(&w, 0), index + 3, index + 4);
    world_run(&w, KV_ONCE_KEEP_MS - 40 * S);
    assert_int_equal(stats(&w, 0).n_once, 1);
    world_run(&w, 40 * S);
    assert_int_equal(stats(&w, 0).n_once, 0);
    index = last_index(&w, 0);
    world_run(&w, 60 * S);
    assert_int_equal(last_index(&w, 0), index);
    world_free(&w);
}

/* What passed before a node led is nothing to it, and what a deposed one counted is lost. */
static void test_clock_counts_what_the_leaders_led_and_no_more(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    uint64_t start_ms = w.now_ms;
    assert_true(write_named(&w, 0, "a", "v") > 0);
    for (unsigned round = 0; round < 4; round++) {
        unsigned leader = (unsigned)world_leader(&w);
        uint64_t before = stats(&w, leader).clock_ms;
        world_run(&w, 25 * S);
        assert_in_range(stats(&w, leader).clock_ms, before + 20 * S, before + 36 * S);
        world_kill(&w, leader);
        world_run(&w, 10 * S);
        world_start(&w, leader);
    }
    assert_true(stats(&w, (unsigned)world_leader(&w)).clock_ms <= w.now_ms - start_ms);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_repeated_at_every_node_is_applied_once),
        cmocka_unit_test(test_once_client_of_a_leader_that_died_asks_another),
        cmocka_unit_test(test_once_other_request_is_refused_at_once_at_every_node),
        cmocka_unit_test(test_clock_is_told_while_something_waits_for_it),
        cmocka_unit_test(test_clock_counts_what_the_leaders_led_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
