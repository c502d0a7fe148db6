/* SPDX-License-Identifier: MIT
 * node/: a command that takes long is applied slice by slice, and the cluster
 * lives on meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

/* One key in a slice, and 20 turns in 10 ms: first as many are counted. */
#define N_KEYS 1200
#define TAKES  (2 * N_KEYS / 2) /* milliseconds */

/* All keys of "many/". */
static struct node_request *remove_many(struct world *w)
{
    struct node_request *r = world_request(w, NODE_WRITE, 30000);
    struct kv_op op = {.type = KV_OP_REMOVE_PREFIX,
                       .key = (const uint8_t *)"many/",
                       .key_len = 5,
                       .max = LIMIT_REMOVE_KEYS};
    kv_body_encode(KV_SINGLE, &op, 1, &r->in.write.body);
    return r;
}

static void set_many(struct world *w, unsigned i)
{
    struct kv_op ops[100];
    char keys[100][16];
    for (unsigned at = 0; at < N_KEYS; at += 100) {
        struct node_request *r = world_request(w, NODE_WRITE, 5000);
        for (unsigned k = 0; k < 100; k++) {
            int len = snprintf(keys[k], sizeof keys[k], "many/%05u", at + k);
            ops[k] = (struct kv_op){.type = KV_OP_SET,
                                    .key = (const uint8_t *)keys[k],
                                    .key_len = (size_t)len,
                                    .value = (const uint8_t *)"v",
                                    .value_len = 1};
        }
        kv_body_encode(KV_BATCH, ops, 100, &r->in.write.body);
        assert_int_equal(world_call(w, i, r)->err, 0);
        node_request_free(&r);
    }
}

/* Three nodes with all the keys, each a slice of its own. */
static unsigned start(struct world *w)
{
    world_cluster(w, 3);
    unsigned leader = (unsigned)world_leader(w);
    set_many(w, leader);
    world_run(w, 500);
    for (unsigned i = 0; i < 3; i++)
        machine_set_sizes(w->nodes[i].driver->machine, 1, 0);
    return leader;
}

static unsigned n_keys(const struct world *w, unsigned i)
{
    struct kv_view *view = machine_view(w->nodes[i].driver->machine);
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    unsigned n = 0;
    for (int err = kv_cursor_seek(c, NULL, 0, &r); err == 0; err = kv_cursor_next(c, &r))
        n++;
    kv_cursor_close(&c);
    kv_view_close(&view);
    return n;
}

static void assert_removed(const struct node_request *r)
{
    const struct buf *answer = &r->ret.write.answer;
    struct bytes_reader bytes = bytes_reader(answer->data, answer->len);
    struct kv_answer_item item;
    assert_int_equal(r->err, 0);
    assert_true(kv_answer_next(&bytes, &item));
    assert_int_equal(item.code, KV_DONE);
    assert_int_equal(item.n_deleted, N_KEYS);
}

static void test_long_command_costs_no_leader_and_is_seen_as_a_whole(void **state)
{
    (void)state;
    struct world w;
    unsigned leader = start(&w), n_turns = 0;
    uint64_t term = raft_status(w.nodes[leader].driver->raft).term;
    struct node_request *removal = remove_many(&w), *set = world_set(&w, "after", "1", 30000);
    world_submit(&w, leader, removal);
    world_submit(&w, (leader + 1) % 3, set);
    while (!world_is_done(removal)) {
        for (unsigned i = 0; i < 3; i++)
            assert_true(n_keys(&w, i) == N_KEYS ||
                        (!driver_is_applying(w.nodes[i].driver) && n_keys(&w, i) <= 1));
        assert_false(world_is_done(set));
        world_run(&w, 10);
        n_turns++;
    }
    assert_in_range(n_turns, TAKES / 10, TAKES / 10 + 100);
    assert_true(TAKES > 2 * w.nodes[0].options.election_max_ms); /* or it would show nothing */
    assert_int_equal(world_leader(&w), (int)leader);
    assert_int_equal(raft_status(w.nodes[leader].driver->raft).term, term);
    assert_removed(removal);
    world_run(&w, 500);
    assert_true(world_is_done(set));
    assert_int_equal(set->err, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(n_keys(&w, i), 1);
    node_request_free(&removal);
    node_request_free(&set);
    world_free(&w);
}

static void test_read_after_a_long_command_waits_for_its_end(void **state)
{
    (void)state;
    struct world w;
    unsigned leader = start(&w), follower = (leader + 1) % 3;
    struct node_request *removal = remove_many(&w);
    world_submit(&w, leader, removal);
    world_run(&w, 100);
    assert_true(driver_is_applying(w.nodes[leader].driver));
    assert_true(driver_is_applying(w.nodes[follower].driver));
    assert_int_equal(world_read(&w, follower, "many/00001", NULL), 0);
    assert_false(driver_is_applying(w.nodes[follower].driver));
    world_run(&w, 100);
    assert_true(world_is_done(removal));
    node_request_free(&removal);
    world_free(&w);
}

static void test_leader_lost_in_a_long_command_is_replaced(void **state)
{
    (void)state;
    struct world w;
    unsigned leader = start(&w), asked = (leader + 1) % 3;
    struct node_request *removal = remove_many(&w);
    world_submit(&w, asked, removal);
    world_run(&w, 100);
    assert_true(driver_is_applying(w.nodes[leader].driver));
    assert_false(world_is_done(removal));
    world_kill(&w, leader);
    world_run(&w, 3000);
    assert_true(world_is_done(removal));
    assert_removed(removal);
    world_start(&w, leader);
    world_run(&w, 2000);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(n_keys(&w, i), 0);
    node_request_free(&removal);
    world_free(&w);
}

static void test_backup_in_a_long_command_is_of_a_whole_state(void **state)
{
    (void)state;
    struct world w;
    unsigned leader = start(&w);
    struct node_request *removal = remove_many(&w);
    struct node_request *open = world_request(&w, NODE_SNAPSHOT_OPEN, 30000);
    world_submit(&w, leader, removal);
    world_run(&w, 100);
    assert_true(driver_is_applying(w.nodes[leader].driver));
    world_submit(&w, leader, open);
    world_run(&w, 100);
    assert_true(driver_is_applying(w.nodes[leader].driver));
    assert_false(world_is_done(open));
    world_run(&w, TAKES + 500);
    assert_true(world_is_done(removal) && world_is_done(open));
    assert_int_equal(open->err, 0);
    assert_int_equal(n_keys(&w, leader), 0);
    node_request_free(&removal);
    node_request_free(&open);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_command_costs_no_leader_and_is_seen_as_a_whole),
        cmocka_unit_test(test_read_after_a_long_command_waits_for_its_end),
        cmocka_unit_test(test_leader_lost_in_a_long_command_is_replaced),
        cmocka_unit_test(test_backup_in_a_long_command_is_of_a_whole_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
