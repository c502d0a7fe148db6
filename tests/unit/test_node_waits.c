/* SPDX-License-Identifier: MIT
 * node/: long polls, and reads that ask nobody or want to see a certain
 * revision.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

static uint64_t revision(const struct world *w, unsigned i, const char *key)
{
    return machine_revision(w->nodes[i].driver->machine, key, strlen(key));
}

static uint64_t applied(const struct world *w, unsigned i)
{
    return machine_applied(w->nodes[i].driver->machine).index;
}

static struct node_request *wait_for(struct world *w, unsigned i, const char *key, uint64_t known,
                                     uint32_t timeout_ms)
{
    struct node_request *r = world_request(w, NODE_WAIT_KEY, timeout_ms);
    r->in.wait.revision = known;
    r->in.wait.key_len = strlen(key);
    memcpy(r->in.wait.key, key, strlen(key));
    world_submit(w, i, r);
    return r;
}

/* Done with err, or (1) not yet. Frees it when done. */
static void check(struct node_request *r, int err)
{
    if (err == 1) {
        assert_false(world_is_done(r));
        return;
    }
    assert_true(world_is_done(r));
    assert_int_equal(r->err, err);
    node_request_free(&r);
}

static int operate(struct world *w, unsigned i, const struct kv_op *op)
{
    struct node_request *r = world_request(w, NODE_WRITE, 2000);
    kv_body_encode(KV_SINGLE, op, 1, &r->in.write.body);
    r = world_call(w, i, r);
    int err = r->err;
    node_request_free(&r);
    world_run(w, 200); /* until the followers have it too */
    return err;
}

static struct kv_op op_on(enum kv_op_type type, const char *key)
{
    return (struct kv_op){.type = type,
                          .key = (const uint8_t *)key,
                          .key_len = strlen(key),
                          .value = (const uint8_t *)"v",
                          .value_len = type == KV_OP_PUT ? 1 : 0,
                          .max = 1000};
}

static void write_and_settle(struct world *w, unsigned i, const char *key)
{
    assert_int_equal(world_write(w, i, key, "v"), 0);
    world_run(w, 200);
}

static void test_wait_ends_when_its_key_is_written_at_any_node(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    for (unsigned i = 0; i < 3; i++) {
        write_and_settle(&w, 0, "k");
        struct node_request *a = wait_for(&w, i, "k", revision(&w, i, "k"), 60000);
        struct node_request *b = wait_for(&w, i, "k", revision(&w, i, "k"), 60000);
        struct node_request *other = wait_for(&w, i, "kk", 0, 60000);
        check(a, 1);
        write_and_settle(&w, (i + 1) % 3, "x");
        check(a, 1);
        write_and_settle(&w, (i + 1) % 3, "k");
        check(a, 0);
        check(b, 0);
        check(other, 1);
        write_and_settle(&w, (i + 2) % 3, "kk");
        check(other, 0);
        struct kv_op remove = op_on(KV_OP_REMOVE, "kk");
        assert_int_equal(operate(&w, i, &remove), 0);
    }
    world_free(&w);
}

static void test_wait_for_what_differs_already_ends_at_once(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    check(wait_for(&w, 0, "k", 7, 60000), 0);
    write_and_settle(&w, 0, "k");
    check(wait_for(&w, 0, "k", 0, 60000), 0);
    check(wait_for(&w, 0, "k", revision(&w, 0, "k") - 1, 60000), 0);
    world_free(&w);
}

static void test_wait_ends_at_its_deadline_when_nothing_happens(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    write_and_settle(&w, 0, "k");
    struct node_request *early = wait_for(&w, 0, "k", revision(&w, 0, "k"), 500);
    struct node_request *late = wait_for(&w, 0, "k", revision(&w, 0, "k"), 1000);
    world_run(&w, 480);
    check(early, 1);
    world_run(&w, 40);
    check(early, ERR_TIMEOUT);
    check(late, 1);
    world_run(&w, 500);
    check(late, ERR_TIMEOUT);
    world_free(&w);
}

static void test_wait_is_not_ended_by_a_write_that_changed_nothing(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    write_and_settle(&w, 0, "k");
    struct node_request *r = wait_for(&w, 0, "k", revision(&w, 0, "k"), 60000);
    struct kv_op put = op_on(KV_OP_PUT, "k");
    put.condition.what = KV_IF_ABSENT;
    assert_int_equal(operate(&w, 0, &put), 0);
    check(r, 1);
    put.condition.what = KV_IF_EXISTS;
    assert_int_equal(operate(&w, 0, &put), 0);
    check(r, 0);
    world_free(&w);
}

static void test_wait_ends_when_its_key_is_removed_alone_or_with_its_prefix(void **state)
{
    static const enum kv_op_type types[] = {KV_OP_DELETE, KV_OP_REMOVE, KV_OP_REMOVE_PREFIX};
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    for (unsigned i = 0; i < 3; i++) {
        write_and_settle(&w, 0, "key");
        write_and_settle(&w, 0, "other");
        struct node_request *r = wait_for(&w, i, "key", revision(&w, i, "key"), 60000);
        struct node_request *other = wait_for(&w, i, "other", revision(&w, i, "other"), 60000);
        struct kv_op op = op_on(types[i], types[i] == KV_OP_REMOVE_PREFIX ? "ke" : "key");
        assert_int_equal(operate(&w, 0, &op), 0);
        check(r, 0);
        check(other, 1);
        write_and_settle(&w, 0, "other");
        check(other, 0);
    }
    world_free(&w);
}

static void test_wait_that_begins_while_a_prefix_is_removed_sees_the_end_of_it(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct machine *machine = w.nodes[0].driver->machine;
    machine_set_sizes(machine, 2, 0);
    for (unsigned i = 0; i < 500; i++) {
        char key[8];
        snprintf(key, sizeof key, "p%u", i);
        assert_int_equal(world_write(&w, 0, key, "v"), 0);
    }
    write_and_settle(&w, 0, "other");
    struct kv_op op = op_on(KV_OP_REMOVE_PREFIX, "p");
    struct node_request *remove = world_request(&w, NODE_WRITE, 60000);
    kv_body_encode(KV_SINGLE, &op, 1, &remove->in.write.body);
    world_submit(&w, 0, remove);
    struct node_request *r = wait_for(&w, 0, "p7", revision(&w, 0, "p7"), 60000);
    for (unsigned i = 0; i < 20; i++)
        world_run(&w, 10);
    assert_true(machine_is_applying(machine)); /* and some keys are gone already, unseen */
    struct node_request *late = wait_for(&w, 0, "p0", revision(&w, 0, "p0"), 60000);
    struct node_request *other = wait_for(&w, 0, "other", revision(&w, 0, "other"), 60000);
    check(r, 1);
    check(late, 1);
    world_run(&w, 1000);
    check(remove, 0);
    check(r, 0);
    check(late, 0);
    check(other, 1);
    write_and_settle(&w, 0, "other");
    check(other, 0);
    world_free(&w);
}

/* A snapshot puts another state in place, and tells of no key. */
static void test_wait_looks_again_when_another_state_was_installed(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    write_and_settle(&w, 0, "k");
    struct node_request *k = wait_for(&w, 0, "k", revision(&w, 0, "k"), 60000);
    struct node_request *other = wait_for(&w, 0, "other", 0, 60000);
    machine_on_change(w.nodes[0].driver->machine, NULL, NULL);
    write_and_settle(&w, 1, "k");
    check(k, 1);
    waits_installed(w.nodes[0].driver);
    world_run(&w, 20);
    check(k, 0);
    check(other, 1);
    driver_stop(w.nodes[0].driver);
    check(other, ERR_SHUTDOWN);
    world_free(&w);
}

static void test_waits_end_when_the_node_stops(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_request *r = wait_for(&w, 0, "k", 0, 600000);
    check(r, 1);
    driver_stop(w.nodes[0].driver);
    check(r, ERR_SHUTDOWN);
    world_free(&w);
}

static void test_wait_at_a_node_without_cluster_says_so(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w, 0);
    check(wait_for(&w, 0, "k", 0, 1000), ERR_UNINITIALIZED);
    assert_false(machine_standing(w.nodes[0].driver->machine).member);
    world_free(&w);
}

static struct node_request *read_at(struct world *w, unsigned i, bool stale, uint64_t min_revision,
                                    uint32_t timeout_ms)
{
    struct node_request *r = world_request(w, NODE_READ, timeout_ms);
    r->in.read.stale = stale;
    r->in.read.min_revision = min_revision;
    world_submit(w, i, r);
    return r;
}

static void test_stale_read_asks_nobody(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned follower = ((unsigned)world_leader(&w) + 1) % 3;
    w.nodes[follower].isolated = true;
    world_run(&w, 3000);
    check(read_at(&w, follower, true, 0, 1000), 0);
    struct node_request *r = read_at(&w, follower, false, 0, 1000);
    world_run(&w, 1100);
    check(r, ERR_NO_LEADER);
    world_free(&w);
}

static void test_read_of_a_revision_waits_until_it_is_applied(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    w.nodes[follower].isolated = true;
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    uint64_t wanted = revision(&w, leader, "k");
    assert_true(wanted > applied(&w, follower));
    struct node_request *later = read_at(&w, follower, true, wanted, 60000);
    struct node_request *sooner = read_at(&w, follower, true, wanted - 1, 60000);
    struct node_request *never = read_at(&w, follower, true, wanted + 1000, 5000);
    check(read_at(&w, follower, true, applied(&w, follower), 1000), 0);
    world_run(&w, 500);
    check(later, 1);
    w.nodes[follower].isolated = false;
    world_run(&w, 2000);
    check(later, 0);
    check(sooner, 0);
    check(never, 1);
    world_run(&w, 3000);
    check(never, ERR_TIMEOUT);
    struct node_request *r = read_at(&w, leader, false, wanted + 1000, 60000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(world_write(&w, leader, "x", "v"), 0);
    world_run(&w, 200);
    check(r, 0);
    world_free(&w);
}

static uint64_t age_ms(const struct world *w, unsigned i)
{
    return w->now_ms - machine_standing(w->nodes[i].driver->machine).confirmed_ms;
}

static void test_age_counts_from_the_last_word_of_leader_or_quorum(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    world_run(&w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(machine_standing(w.nodes[i].driver->machine).member);
        assert_in_range(age_ms(&w, i), 0, 300);
    }
    w.nodes[follower].isolated = true;
    world_run(&w, 5000);
    assert_in_range(age_ms(&w, follower), 4900, 5300);
    assert_in_range(age_ms(&w, leader), 0, 300);
    w.nodes[leader].isolated = true;
    world_run(&w, 5000);
    assert_in_range(age_ms(&w, leader), 4900, 5300);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait_ends_when_its_key_is_written_at_any_node),
        cmocka_unit_test(test_wait_for_what_differs_already_ends_at_once),
        cmocka_unit_test(test_wait_ends_at_its_deadline_when_nothing_happens),
        cmocka_unit_test(test_wait_is_not_ended_by_a_write_that_changed_nothing),
        cmocka_unit_test(test_wait_ends_when_its_key_is_removed_alone_or_with_its_prefix),
        cmocka_unit_test(test_wait_that_begins_while_a_prefix_is_removed_sees_the_end_of_it),
        cmocka_unit_test(test_wait_looks_again_when_another_state_was_installed),
        cmocka_unit_test(test_waits_end_when_the_node_stops),
        cmocka_unit_test(test_wait_at_a_node_without_cluster_says_so),
        cmocka_unit_test(test_stale_read_asks_nobody),
        cmocka_unit_test(test_read_of_a_revision_waits_until_it_is_applied),
        cmocka_unit_test(test_age_counts_from_the_last_word_of_leader_or_quorum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
