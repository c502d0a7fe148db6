/* SPDX-License-Identifier: MIT
 * node/: what it counts, measures and tells of itself for /metrics.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "node_world.h"

static struct node_status status_of(struct world *w, unsigned i)
{
    struct node_request *r = world_call(w, i, world_request(w, NODE_STATUS, 100));
    struct node_status s = *r->ret.status;
    node_request_free(&r);
    return s;
}

static struct node_figures figures_of(struct world *w, unsigned i)
{
    return status_of(w, i).figures;
}

static struct node_member_status member_of(struct world *w, unsigned at, unsigned who)
{
    struct node_status s = status_of(w, at);
    for (unsigned i = 0; i < s.n_members; i++)
        if (uuid_equal(s.members[i].id, world_id(w, who)))
            return s.members[i];
    fail_msg("node %u is no member", who);
    return (struct node_member_status){0};
}

static uint64_t count(struct world *w, unsigned i, enum node_duration what)
{
    struct node_figures f = figures_of(w, i);
    return histogram_count(&f.duration[what]);
}

static void test_figures_of_writes_and_reads_are_counted_where_they_were_asked(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    world_run(&w, 500);
    uint64_t committed = figures_of(&w, leader).committed;
    uint64_t syncs = count(&w, follower, NODE_TOOK_LOG_SYNC),
             applies = count(&w, follower, NODE_TOOK_APPLY);
    assert_int_equal(count(&w, leader, NODE_TOOK_COMMIT) + count(&w, follower, NODE_TOOK_COMMIT),
                     0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    assert_int_equal(world_write(&w, follower, "k", "v"), 0);
    assert_int_equal(world_read(&w, follower, "k", "v"), 0);
    world_run(&w, 200);
    assert_int_equal(count(&w, leader, NODE_TOOK_COMMIT), 3);
    assert_int_equal(count(&w, follower, NODE_TOOK_COMMIT), 1);
    assert_int_equal(count(&w, leader, NODE_TOOK_READ_INDEX), 0);
    assert_int_equal(count(&w, follower, NODE_TOOK_READ_INDEX), 1);
    assert_int_equal(figures_of(&w, leader).committed, committed + 4);
    assert_int_equal(figures_of(&w, follower).committed, committed + 4);
    assert_in_range(count(&w, follower, NODE_TOOK_LOG_SYNC), syncs + 1, syncs + 4);
    assert_in_range(count(&w, follower, NODE_TOOK_APPLY), applies + 1, applies + 4);
    world_free(&w);
}

static void test_figures_of_a_disk_that_waits_show_for_how_long(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_figures before = figures_of(&w, 0);
    w.nodes[0].disk.stalled = true;
    struct node_request *r = world_set(&w, "k", "v", 5000);
    world_submit(&w, 0, r);
    world_run(&w, 300);
    assert_false(world_is_done(r));
    w.nodes[0].disk.stalled = false;
    world_run(&w, 20);
    assert_true(world_is_done(r));
    node_request_free(&r);
    struct node_figures after = figures_of(&w, 0);
    assert_in_range(after.duration[NODE_TOOK_LOG_SYNC].sum_us -
                        before.duration[NODE_TOOK_LOG_SYNC].sum_us,
                    290000, 320000);
    assert_in_range(after.duration[NODE_TOOK_COMMIT].sum_us -
                        before.duration[NODE_TOOK_COMMIT].sum_us,
                    290000, 320000);
    world_free(&w);
}

static void test_figures_of_failed_writes_are_told_apart(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w);
    world_kill(&w, (leader + 1) % 3);
    world_kill(&w, (leader + 2) % 3);
    struct node_request *r = world_call(&w, leader, world_set(&w, "k", "v", 1000));
    assert_int_equal(r->err, ERR_UNKNOWN);
    node_request_free(&r);
    world_run(&w, 1000); /* by now it leads no more */
    for (unsigned i = 0; i < 2; i++) {
        r = world_call(&w, leader, world_set(&w, "k", "w", 700));
        assert_int_equal(r->err, ERR_NO_LEADER);
        node_request_free(&r);
    }
    assert_int_equal(world_read(&w, leader, "k", "v"), ERR_NO_LEADER);
    struct node_figures f = figures_of(&w, leader);
    assert_int_equal(f.failed[-ERR_UNKNOWN], 1);
    assert_int_equal(f.failed[-ERR_NO_LEADER], 2);
    assert_int_equal(f.slow[NODE_PHASE_COMMIT], 1);
    assert_int_equal(f.slow[NODE_PHASE_QUEUE], 2);
    assert_int_equal(f.slow[NODE_PHASE_READ_INDEX], 1);
    assert_int_equal(f.slow[NODE_PHASE_APPLY], 0);
    world_free(&w);
}

static void test_figures_of_a_first_write_refused_are_counted(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    w.nodes[0].options.auto_init = false;
    world_start(&w, 0);
    assert_int_equal(world_write(&w, 0, "k", "v"), ERR_UNINITIALIZED);
    assert_int_equal(figures_of(&w, 0).failed[-ERR_UNINITIALIZED], 1);
    world_free(&w);
}

static void test_figures_of_a_peer_that_is_gone_show_it(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), gone = (leader + 1) % 3, there = (leader + 2) % 3;
    world_run(&w, 500);
    struct node_member_status m = member_of(&w, leader, gone);
    assert_int_equal(m.send_failures + m.lag, 0);
    assert_true(m.heard);
    assert_in_range(m.heard_us_ago, 0, 200000);
    world_kill(&w, gone);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_run(&w, 2000);
    m = member_of(&w, leader, gone);
    assert_in_range(m.send_failures, 10, 1000);
    assert_int_equal(m.lag, 5);
    assert_in_range(m.heard_us_ago, 1900000, 3000000);
    m = member_of(&w, leader, there);
    assert_int_equal(m.send_failures + m.lag, 0);
    assert_in_range(m.heard_us_ago, 0, 200000);
    m = member_of(&w, there, leader); /* a follower hears it too, and knows no more */
    assert_true(m.heard);
    assert_in_range(m.heard_us_ago, 0, 200000);
    assert_int_equal(m.lag + m.rtt_us, 0);
    world_free(&w);
}

/* The network of this world takes no time: one that does is in the way of the clock. */
static uint64_t false_us;

static uint64_t false_clock(void)
{
    return false_us += 1000;
}

static void test_figures_round_trip_is_measured_by_heartbeats_at_the_leader(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w);
    w.nodes[leader].driver->clock_us = false_clock;
    world_run(&w, 2000);
    assert_in_range(member_of(&w, leader, (leader + 1) % 3).rtt_us, 1, 20000);
    assert_int_equal(member_of(&w, leader, leader).rtt_us, 0);
    world_free(&w);
}

/* ---- checkpoints ---- */

static struct storage_job *asked;

static void take_job(struct storage *s, struct storage_job *j)
{
    (void)s;
    assert_null(asked);
    asked = j;
}

static void test_status_snapshot_is_the_last_durable_checkpoint(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    w.nodes[0].options.checkpoint_entries = 10;
    w.nodes[0].options.checkpoint_bytes = MIB;
    w.nodes[0].options.log_tail_entries = 3;
    w.nodes[0].options.log_tail_bytes = MIB;
    w.nodes[0].disk.storage.work = take_job;
    world_start(&w, 0);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    assert_non_null(asked);
    struct node_status s = status_of(&w, 0);
    assert_int_equal(s.snapshot.index, 0); /* asked for, not durable */
    assert_int_equal(s.base_index, 0);
    assert_false(s.has_disk);
    uint64_t index = asked->frozen->applied.index, term = asked->frozen->applied.term;
    world_run(&w, 400);
    driver_worked(w.nodes[0].driver, asked);
    asked = NULL;
    world_run(&w, 20);
    s = status_of(&w, 0);
    assert_in_range(index, 10, 12);
    assert_int_equal(s.snapshot.index, index);
    assert_int_equal(s.snapshot.term, term);
    assert_true(uuid_equal(s.snapshot.leader, world_id(&w, 0)));
    assert_int_equal(s.base_index, index - 3);
    assert_int_equal(histogram_count(&s.figures.duration[NODE_TOOK_CHECKPOINT]), 1);
    assert_in_range(s.figures.duration[NODE_TOOK_CHECKPOINT].sum_us, 390000, 500000);
    world_free(&w);
    storage_job_free(&asked);
}

/* Nodes that apply the same must not all write checkpoints at the same moment. */
static void test_checkpoints_are_due_at_another_part_of_the_limit_each_time(void **state)
{
    (void)state;
    enum { LIMIT = 1024, CHECKPOINTS = 4 };
    struct world w;
    uint64_t last = 0, least = LIMIT, most = 0;
    world_init(&w, 1);
    w.nodes[0].options.checkpoint_entries = LIMIT;
    w.nodes[0].options.checkpoint_bytes = 64 * MIB;
    w.nodes[0].disk.storage.work = take_job;
    world_start(&w, 0);
    assert_int_equal(world_init_cluster(&w, 0), 0);
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        for (unsigned k = 0; !asked; k++) {
            assert_in_range(k, 0, LIMIT);
            assert_int_equal(world_write(&w, 0, "k", "v"), 0);
        }
        uint64_t n = asked->frozen->applied.index - last;
        last += n;
        assert_in_range(n, LIMIT / 4 * 3, LIMIT);
        least = n < least ? n : least;
        most = n > most ? n : most;
        struct storage_job *j = asked;
        asked = NULL;
        driver_worked(w.nodes[0].driver, j);
        world_run(&w, 20);
    }
    assert_true(least < most);
    world_free(&w);
}

/* One node that makes no checkpoint by itself, with so much in memory. */
static void world_with(struct world *w, unsigned kib)
{
    char value[64 * KIB + 1];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_init(w, 1);
    w->nodes[0].options.checkpoint_entries = 100000;
    w->nodes[0].options.checkpoint_bytes = 100 * MIB;
    w->nodes[0].disk.storage.work = take_job;
    world_start(w, 0);
    assert_int_equal(world_init_cluster(w, 0), 0);
    for (unsigned i = 0; i < kib / 64; i++)
        assert_int_equal(world_write(w, 0, "k", value), 0);
    assert_null(asked);
}

static bool settles(struct world *w)
{
    checkpoint_last(w->nodes[0].driver);
    world_run(w, 20);
    return checkpoint_is_settled(w->nodes[0].driver);
}

static void test_last_checkpoint_is_made_once(void **state)
{
    (void)state;
    struct world w;
    world_with(&w, 2048);
    assert_false(settles(&w));
    assert_non_null(asked);
    uint64_t index = asked->frozen->applied.index;
    assert_int_equal(index, status_of(&w, 0).applied.index);
    assert_false(settles(&w));
    for (unsigned i = 0; i < 100; i++) /* followers still have to take what comes */
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    driver_worked(w.nodes[0].driver, asked);
    asked = NULL;
    assert_true(settles(&w));
    assert_null(asked);
    assert_int_equal(status_of(&w, 0).snapshot.index, index);
    world_free(&w);
}

static void test_last_checkpoint_is_made_of_what_was_replayed(void **state)
{
    (void)state;
    struct world w;
    world_with(&w, 2048);
    world_kill(&w, 0);
    world_start(&w, 0);
    world_run(&w, 1000);
    assert_false(settles(&w));
    assert_non_null(asked);
    driver_worked(w.nodes[0].driver, asked);
    asked = NULL;
    world_free(&w);
}

static void test_last_checkpoint_of_little_is_not_made(void **state)
{
    (void)state;
    struct world w;
    world_with(&w, 512);
    assert_true(settles(&w));
    assert_null(asked);
    world_free(&w);
}

static void test_last_checkpoint_without_room_is_not_waited_for(void **state)
{
    (void)state;
    struct world w;
    world_with(&w, 2048);
    assert_false(settles(&w));
    asked->err = ERR_NO_SPACE;
    driver_worked(w.nodes[0].driver, asked);
    asked = NULL;
    assert_true(settles(&w));
    assert_null(asked);
    world_free(&w);
}

static void test_figures_of_a_snapshot_that_was_made_are_counted(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    assert_int_equal(count(&w, 0, NODE_TOOK_SNAPSHOT_MAKE), 0);
    struct node_request *r = world_call(&w, 0, world_request(&w, NODE_SNAPSHOT_OPEN, 1000));
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    assert_int_equal(count(&w, 0, NODE_TOOK_SNAPSHOT_MAKE), 1);
    world_free(&w);
}

static void tell_stats(struct storage *s, struct storage_stats *ret_stats)
{
    (void)s;
    *ret_stats = (struct storage_stats){.log_bytes = 1, .state_bytes = 2, .disk_free_bytes = 3};
}

static void test_status_disk_is_what_the_storage_says(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    w.nodes[0].disk.storage.stats = tell_stats;
    world_start(&w, 0);
    struct node_status s = status_of(&w, 0);
    assert_true(s.has_disk);
    assert_int_equal(s.log_bytes, 1);
    assert_int_equal(s.state_bytes, 2);
    assert_int_equal(s.disk_free_bytes, 3);
    world_free(&w);
}

/* ---- the digest of the state ---- */

static void test_digest_of_each_member_is_compared_by_the_leader_alone(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), follower = (leader + 1) % 3;
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_run(&w, 1500);
    struct node_digest own = member_of(&w, leader, leader).digest;
    assert_int_equal(own.index, status_of(&w, leader).applied.index);
    assert_int_equal(own.compared, NODE_DIGEST_NOT_COMPARED);
    for (unsigned i = 1; i < 3; i++) {
        struct node_digest theirs = member_of(&w, leader, (leader + i) % 3).digest;
        assert_int_equal(theirs.compared, NODE_DIGEST_SAME);
        assert_int_equal(theirs.index, own.index);
        assert_true(theirs.digest == own.digest && own.digest != 0);
    }
    assert_true(member_of(&w, follower, follower).digest.digest == own.digest);
    assert_int_equal(member_of(&w, follower, leader).digest.index, 0);
    world_free(&w);
}

/* Somebody changes what a member has, and the checksum with it. */
static void alter_log(struct world *w, unsigned i)
{
    struct raft_entry *last = w->nodes[i].disk.log[w->nodes[i].disk.n_log - 1];
    assert_int_equal(last->type, RAFT_ENTRY_COMMAND);
    last->data[last->len - 1] ^= 1;
}

static void test_digest_of_a_member_that_differs_is_told_by_name(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned leader = (unsigned)world_leader(&w), bad = (leader + 1) % 3, good = (leader + 2) % 3;
    assert_int_equal(world_write(&w, leader, "k", "v"), 0);
    world_run(&w, 1500);
    world_kill(&w, bad);
    alter_log(&w, bad);
    world_start(&w, bad);
    world_run(&w, 1500);
    assert_int_equal(world_leader(&w), leader);
    assert_int_equal(member_of(&w, leader, bad).digest.compared, NODE_DIGEST_DIFFERS);
    assert_int_equal(member_of(&w, leader, good).digest.compared, NODE_DIGEST_SAME);
    world_write(&w, leader, "other", "v"); /* differs as long as that key does */
    world_run(&w, 1500);
    assert_int_equal(member_of(&w, leader, bad).digest.compared, NODE_DIGEST_DIFFERS);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_of_writes_and_reads_are_counted_where_they_were_asked),
        cmocka_unit_test(test_figures_of_a_disk_that_waits_show_for_how_long),
        cmocka_unit_test(test_figures_of_failed_writes_are_told_apart),
        cmocka_unit_test(test_figures_of_a_first_write_refused_are_counted),
        cmocka_unit_test(test_figures_of_a_peer_that_is_gone_show_it),
        cmocka_unit_test(test_figures_round_trip_is_measured_by_heartbeats_at_the_leader),
        cmocka_unit_test(test_status_snapshot_is_the_last_durable_checkpoint),
        cmocka_unit_test(test_checkpoints_are_due_at_another_part_of_the_limit_each_time),
        cmocka_unit_test(test_last_checkpoint_is_made_once),
        cmocka_unit_test(test_last_checkpoint_is_made_of_what_was_replayed),
        cmocka_unit_test(test_last_checkpoint_of_little_is_not_made),
        cmocka_unit_test(test_last_checkpoint_without_room_is_not_waited_for),
        cmocka_unit_test(test_figures_of_a_snapshot_that_was_made_are_counted),
        cmocka_unit_test(test_status_disk_is_what_the_storage_says),
        cmocka_unit_test(test_digest_of_each_member_is_compared_by_the_leader_alone),
        cmocka_unit_test(test_digest_of_a_member_that_differs_is_told_by_name),
    };
    return cmocka_run_group_tests_name("node figures", tests, NULL, NULL);
}
