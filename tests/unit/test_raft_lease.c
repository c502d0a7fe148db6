/* SPDX-License-Identifier: MIT
 * raft/: reads by lease, as protocol stories and under random faults with
 * clocks that agree. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "raft_cluster.h"

enum { DRIFT_TICKS = 2, LEASE_TICKS = ELECTION_TICKS_MIN - 2 - DRIFT_TICKS };

static struct raft_options lease_options(void)
{
    struct raft_options o = cluster_default_options();
    o.clock_drift_ticks = DRIFT_TICKS;
    return o;
}

/* Node 0 leads and all have answered it in this very tick. */
static struct cluster *led_by_0(unsigned n_nodes, unsigned n_voters)
{
    struct raft_options o = lease_options();
    struct cluster *c = cluster_new_with(1, n_nodes, n_voters, &o);
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    return c;
}

/* Whether the leader answers without hearing anybody. */
static bool reads_alone(struct cluster *c, unsigned node)
{
    uint64_t ctx = cluster_read_lease(c, node);
    const struct sim_read *read = cluster_read_result(c, node, ctx);
    bool by_lease = read && read->err == 0 && read->lease_ticks > 0;
    assert_true(!by_lease || read->index == cluster_status(c, node).commit);
    assert_true(!by_lease || read->lease_ticks == cluster_status(c, node).lease_ticks);
    return by_lease;
}

/* The candidate's log is the longest of all. */
static bool grants(struct cluster *c, unsigned voter, unsigned candidate, bool pre)
{
    static uint64_t seq = 1 << 20;
    struct raft_message ask = cluster_message(RAFT_VOTE, candidate, voter, 1000, ++seq);
    ask.vote.last = (struct raft_pos){1000, 1000};
    ask.vote.pre = pre;
    cluster_drop_all(c);
    assert_int_equal(cluster_receive(c, voter, &ask), 0);
    return cluster_find(c, RAFT_VOTE_REPLY, voter, candidate)->vote_reply.granted;
}

static void test_lease_is_off_unless_the_drift_is_known(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, leader).lease_ticks, 0);
    uint64_t ctx = cluster_read_lease(c, leader);
    assert_null(cluster_read_result(c, leader, ctx));
    cluster_settle(c);
    assert_int_equal(cluster_read_result(c, leader, ctx)->err, 0);
    assert_int_equal(cluster_read_result(c, leader, ctx)->lease_ticks, 0);
    cluster_free(&c);
}

static void test_lease_read_asks_nobody_and_ends_before_the_promises(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    assert_true(reads_alone(c, 0));
    assert_int_equal(c->n_in_flight, 0);
    assert_false(reads_alone(c, 1)); /* a follower asks the leader */
    cluster_settle(c);
    cluster_tick(c, 0);
    cluster_tick(c, 0); /* at least one of them sent heartbeats */
    cluster_settle(c);
    uint64_t left = cluster_status(c, 0).lease_ticks;
    assert_in_range(left, LEASE_TICKS - HEARTBEAT_TICKS, LEASE_TICKS);
    cluster_cut_off(c, 0);
    while (left-- > 1) {
        cluster_tick(c, 0);
        assert_int_equal(cluster_status(c, 0).lease_ticks, left);
        assert_true(reads_alone(c, 0));
    }
    cluster_tick(c, 0);
    assert_false(reads_alone(c, 0));
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER); /* it does not know better yet */
    cluster_free(&c);
}

/* 46: what counts is when the question was sent, not when the answer came. */
static void test_lease_begins_when_the_append_was_sent(void **state)
{
    (void)state;
    enum { LATE = 3 };
    struct cluster *c = led_by_0(3, 3);
    while (!cluster_find(c, RAFT_APPEND, 0, 1))
        cluster_tick(c, 0);
    for (unsigned n = c->n_in_flight; n > 0; n--)
        cluster_deliver(c, 0);
    unsigned answers = c->n_in_flight;
    for (unsigned i = 0; i < LATE; i++)
        cluster_tick(c, 0);
    while (answers-- > 0)
        cluster_deliver(c, 0);
    assert_int_equal(cluster_status(c, 0).lease_ticks, LEASE_TICKS - LATE);
    cluster_free(&c);
}

/* 46: a node that was started a moment ago may have promised something. */
static void test_node_grants_no_vote_for_a_while_after_its_start(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    cluster_crash(c, 1);
    cluster_restart(c, 1);
    assert_false(grants(c, 1, 2, true));
    assert_false(grants(c, 1, 2, false));
    for (unsigned i = 0; i < ELECTION_TICKS_MIN - 1; i++)
        cluster_tick(c, 1);
    assert_false(grants(c, 1, 2, false));
    cluster_tick(c, 1);
    assert_true(grants(c, 1, 2, false));
    cluster_free(&c);
}

/* A lone voter may have been one of several a moment ago; a new one was nothing. */
static void test_single_voter_waits_after_a_restart_only(void **state)
{
    (void)state;
    struct raft_options o = lease_options();
    struct cluster *c = cluster_new_with(1, 1, 1, &o);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_int_equal(cluster_status(c, 0).term, 1);
    assert_true(reads_alone(c, 0));
    cluster_crash(c, 0);
    cluster_restart(c, 0);
    for (unsigned i = 0; i < ELECTION_TICKS_MIN; i++) {
        assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
        cluster_tick(c, 0);
    }
    cluster_run(c, ELECTION_TICKS_MAX);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    cluster_free(&c);
}

/* 46: a promise is to be kept also when the leader is forgotten for a higher term. */
static void test_promise_outlives_the_knowledge_of_the_leader(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_message news =
        cluster_message(RAFT_READ_INDEX_REPLY, 2, 1, cluster_status(c, 1).term + 1, 1 << 20);
    assert_int_equal(cluster_receive(c, 1, &news), 0);
    assert_true(uuid_is_zero(cluster_status(c, 1).leader));
    assert_false(grants(c, 1, 2, true));
    assert_false(grants(c, 1, 2, false));
    for (unsigned i = 0; i < ELECTION_TICKS_MIN; i++)
        cluster_tick(c, 1);
    assert_true(grants(c, 1, 2, false));
    cluster_free(&c);
}

/* 46, 47: the target campaigns at once, past all promises. */
static void test_lease_ends_for_the_term_with_timeout_now(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    c->cut[0][2] = c->cut[2][0] = true;
    cluster_write_entries(c, 0, 1);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    assert_true(reads_alone(c, 0)); /* the target lags and was not told */
    cluster_run_node(c, 0, ELECTION_TICKS_MAX);
    assert_true(reads_alone(c, 0));
    cluster_heal(c);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    assert_non_null(cluster_find(c, RAFT_TIMEOUT_NOW, 0, 2));
    cluster_drop_all(c);
    assert_false(reads_alone(c, 0));
    c->cut[0][2] = true;
    cluster_run_node(c, 0, ELECTION_TICKS_MAX);
    assert_true(uuid_is_zero(cluster_status(c, 0).transfer_to));
    cluster_run_node(c, 0, 4 * HEARTBEAT_TICKS);
    assert_false(reads_alone(c, 0)); /* it may still arrive */
    cluster_heal(c);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    for (unsigned i = 0; i < 2; i++) { /* there and back: a new term */
        assert_int_equal(cluster_transfer(c, i, cluster_id(1 - i)), 0);
        cluster_run(c, 4 * HEARTBEAT_TICKS);
    }
    assert_true(reads_alone(c, 0));
    cluster_free(&c);
}

/* 42: learners promise nothing that counts. */
static void test_lease_counts_voters_only(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(5, 3);
    struct raft_change adds[2] = {cluster_wish(RAFT_ADD_LEARNER, 3),
                                  cluster_wish(RAFT_ADD_LEARNER, 4)};
    assert_int_equal(cluster_change(c, 0, adds, 2), 0);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    cluster_cut_off(c, 1);
    cluster_cut_off(c, 2);
    cluster_run(c, ELECTION_TICKS_MIN);
    assert_int_equal(cluster_status(c, 0).role, RAFT_LEADER);
    assert_false(reads_alone(c, 0));
    cluster_free(&c);
}

/* 43: a new leader does not know yet what is committed. */
static void test_lease_needs_an_entry_of_the_own_term(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    c->late_disk[0] = c->late_disk[2] = true;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(1)), 0);
    cluster_settle(c);
    cluster_write(c, 2, 1); /* its vote, but no entry */
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 1).role, RAFT_LEADER);
    cluster_run_node(c, 1, 2 * HEARTBEAT_TICKS);
    assert_false(cluster_status(c, 1).in_own_term);
    assert_int_equal(cluster_status(c, 1).lease_ticks, 0);
    cluster_free(&c);
}

/* 46: promises of others count for no longer than one's own would. */
static void test_lease_is_not_longer_than_the_own_promise(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    while (!cluster_find(c, RAFT_APPEND, 0, 1))
        cluster_tick(c, 0);
    struct raft_message answer = cluster_message(RAFT_APPEND_REPLY, 1, 0, cluster_status(c, 0).term,
                                                 cluster_find(c, RAFT_APPEND, 0, 1)->seq);
    answer.append_reply.success = true;
    answer.append_reply.promise_ticks = 100 * ELECTION_TICKS_MIN;
    assert_int_equal(cluster_receive(c, 0, &answer), 0);
    assert_in_range(cluster_status(c, 0).lease_ticks, 1, LEASE_TICKS);
    cluster_cut_off(c, 0);
    cluster_run_node(c, 0, LEASE_TICKS);
    assert_int_equal(cluster_status(c, 0).lease_ticks, 0);
    cluster_free(&c);
}

/* ---- random faults, clocks in step ---- */

static unsigned pick(struct cluster *c, unsigned n)
{
    return (unsigned)rng_range(&c->rng, 0, n - 1);
}

static void fault(struct cluster *c, unsigned paused[], unsigned missed[])
{
    unsigned node = pick(c, c->n_nodes);
    int leader = cluster_leader(c);
    switch (pick(c, 40)) {
    case 0:
    case 1:
        cluster_cut_off(c, leader >= 0 && pick(c, 2) ? (unsigned)leader : node);
        break;
    case 2:
    case 3:
    case 4:
        cluster_heal(c);
        break;
    case 5:
        c->cut[node][pick(c, c->n_nodes)] = true;
        break;
    case 6:
        if (c->nodes[node].core)
            cluster_crash(c, node);
        break;
    case 7:
        if (leader >= 0)
            (void)cluster_transfer(c, (unsigned)leader, UUID_ZERO);
        break;
    case 8:
        paused[node] = pick(c, 3 * ELECTION_TICKS_MAX);
        break;
    default:
        if (!c->nodes[node].core && pick(c, 4) == 0) {
            cluster_restart(c, node);
            paused[node] = missed[node] = 0;
        }
    }
}

/* One tick of time: a paused node makes up for it before it hears anything. */
static void pass_tick(struct cluster *c, unsigned paused[], unsigned missed[])
{
    for (unsigned i = 0; i < c->n_nodes; i++) {
        missed[i]++;
        if (paused[i] > 0 && --paused[i] > 0)
            continue;
        for (; missed[i] > 0; missed[i]--)
            cluster_tick(c, i);
    }
    for (unsigned n = c->n_in_flight; n > 0 && c->in_flight; n--) {
        unsigned k = pick(c, c->n_in_flight);
        const struct sim_message *m = c->in_flight;
        for (unsigned i = 0; i < k; i++)
            m = m->next;
        if (paused[cluster_node(m->m.to)] == 0 && pick(c, 3) > 0)
            cluster_deliver(c, k);
    }
}

static unsigned run_seed(uint64_t seed)
{
    struct raft_options o = lease_options();
    struct cluster *c = cluster_new_with(seed, 5, seed % 2 ? 5 : 3, &o);
    unsigned by_lease = 0, paused[CLUSTER_NODES] = {0}, missed[CLUSTER_NODES] = {0};
    (void)cluster_elect(c);
    for (unsigned i = 0; i < 1500; i++) {
        struct raft_pos pos;
        fault(c, paused, missed);
        pass_tick(c, paused, missed);
        for (unsigned k = 0; k < c->n_nodes; k++) {
            if (!c->nodes[k].core || paused[k] || cluster_status(c, k).role != RAFT_LEADER)
                continue;
            by_lease += reads_alone(c, k); /* raft_cluster.c compares with what is committed */
            (void)cluster_propose(c, k, &pos);
        }
        while (c->n_in_flight > 100)
            cluster_drop(c, 0);
    }
    cluster_free(&c);
    return by_lease;
}

static uint64_t running; /* seed; 0: none */

static int name_failed_seed(void **state)
{
    (void)state;
    if (running)
        print_message("failed: RAFT_SEED=%llu\n", (unsigned long long)running);
    return 0;
}

static void test_lease_reads_under_random_faults_are_never_stale(void **state)
{
    (void)state;
    const char *one = getenv("RAFT_SEED"), *many = getenv("RAFT_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = one ? 1 : many ? strtoull(many, NULL, 10) : 100;
    uint64_t by_lease = 0;
    for (uint64_t seed = first; seed < first + n; seed++) {
        running = seed;
        by_lease += run_seed(seed);
    }
    running = 0;
    print_message("%llu reads by lease\n", (unsigned long long)by_lease);
    assert_true(by_lease > 100 * n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_is_off_unless_the_drift_is_known),
        cmocka_unit_test(test_lease_read_asks_nobody_and_ends_before_the_promises),
        cmocka_unit_test(test_lease_begins_when_the_append_was_sent),
        cmocka_unit_test(test_node_grants_no_vote_for_a_while_after_its_start),
        cmocka_unit_test(test_single_voter_waits_after_a_restart_only),
        cmocka_unit_test(test_promise_outlives_the_knowledge_of_the_leader),
        cmocka_unit_test(test_lease_ends_for_the_term_with_timeout_now),
        cmocka_unit_test(test_lease_counts_voters_only),
        cmocka_unit_test(test_lease_needs_an_entry_of_the_own_term),
        cmocka_unit_test(test_lease_is_not_longer_than_the_own_promise),
        cmocka_unit_test_teardown(test_lease_reads_under_random_faults_are_never_stale,
                                  name_failed_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
